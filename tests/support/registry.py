"""The archive of the Comfy registry, made as ``comfy node pack`` makes it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

IGNORE_FILE = ".comfyignore"


def archive_files(clone: Path) -> list[str]:
    """The files of the archive: those that git tracks, without those that the patterns of ``.comfyignore`` match.

    Git has the same language of patterns as the package that comfy-cli reads them with.
    """
    tracked = _listed(clone)
    left_out = set(_listed(clone, "--cached", "--ignored", f"--exclude-from={clone / IGNORE_FILE}"))
    return [name for name in tracked if name not in left_out and (clone / name).is_file()]


def _listed(clone: Path, *options: str) -> list[str]:
    command = ["git", "-C", str(clone), "ls-files", "-z", *options]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True).stdout.split("\0")[:-1]


def unpack(clone: Path, folder: Path) -> None:
    """Put the files of the archive into a folder, as installing from the registry does."""
    for name in archive_files(clone):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(clone / name, folder / name)
