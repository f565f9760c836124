"""The base directory of a command: named by an option or a variable, found around the current folder, or the default.

Commands other than ``serve`` refuse a folder that is no ComfyUI folder: they would create a library in it.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from ..app import STORE_NAME
from ..config import BASE_DIRECTORY, base_directory_setting
from ..host.standalone import EXTRA_PATHS_FILES
from ..host.standalone.folders import DATA_DIRECTORY
from .command import CommandError

_FOLDERS = ("models", "input", "output")
_PORTABLE = "ComfyUI"  # the folder in that of the portable version for Windows


def existing_base(options: argparse.Namespace) -> Path:
    """Return the base directory. Raises CommandError if there is none, or if it is no ComfyUI folder."""
    named = _named(options)
    if named is not None:
        if not named.is_dir():
            raise CommandError(f"the folder {named} does not exist" if not named.exists() else f"{named} is no folder")
        _refuse_other_folders(named)
        return named
    base = found_base()
    if base is None:
        raise CommandError(
            "no ComfyUI folder was found. Run the command inside one, name it with --base-directory, or set"
            f" {BASE_DIRECTORY}."
        )
    return base


def base_to_serve(options: argparse.Namespace) -> tuple[Path, bool]:
    """Return the base directory, which need not exist, and whether it is the default for users without a ComfyUI.

    Any folder that is named will do, as for ComfyUI: the server creates the folders in it. Raises CommandError.
    """
    named = _named(options)
    if named is not None:
        if named.exists() and not named.is_dir():
            raise CommandError(f"{named} is no folder")
        return named, False
    around = _around(Path.cwd())
    return (around, False) if around is not None else (default_base_directory(), True)


def found_base() -> Path | None:
    """Return the ComfyUI folder around the current folder, or else the default one; None if there is neither."""
    around = _around(Path.cwd())
    if around is not None:
        return around
    default = default_base_directory()
    return default if default.is_dir() else None


def default_base_directory() -> Path:
    """Return the folder for application data of the platform, where ``serve`` keeps a library of its own."""
    if sys.platform == "win32":
        root = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        root = Path.home() / "Library" / "Application Support"
    else:
        root = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return root / "comfy-assets"


def _named(options: argparse.Namespace) -> Path | None:
    named = options.base_directory or base_directory_setting()
    return Path(named).expanduser().absolute() if named else None


def _around(folder: Path) -> Path | None:
    """Return the nearest ComfyUI folder: this one, one that it is in, or one of the portable version."""
    return next((each for each in _candidates(folder) if _is_comfyui(each)), None)


def _candidates(folder: Path) -> Iterator[Path]:
    for each in (folder, *folder.parents):
        yield each
        yield each / _PORTABLE


def _is_comfyui(folder: Path) -> bool:
    """Return whether nothing but a base directory of ComfyUI can look like this folder."""
    return _has_code(folder) or _has_library(folder) or all((folder / name).is_dir() for name in _FOLDERS)


def _has_code(folder: Path) -> bool:
    return (folder / "main.py").is_file() and (folder / "comfy").is_dir()


def _has_library(folder: Path) -> bool:
    return (folder / "user" / DATA_DIRECTORY / STORE_NAME).is_file()


def _may_be_comfyui(folder: Path) -> bool:
    """Return whether a folder that a user names has a part of a base directory."""
    return (
        _has_code(folder)
        or _has_library(folder)
        or any((folder / name).is_dir() for name in (*_FOLDERS, "custom_nodes"))
        or any((folder / name).is_file() for name in EXTRA_PATHS_FILES)
    )


def _refuse_other_folders(folder: Path) -> None:
    if _may_be_comfyui(folder):
        return
    around = _around(folder)
    hint = f" Did you mean {around}?" if around is not None else ""
    raise CommandError(f"{folder} is no ComfyUI folder: it has no folder models, input or output.{hint}")
