"""The library of a command: its base directory, the host on that, the open store without a server, and ids in it."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from ..app import STORE_NAME
from ..background.tasks import TaskRunner, TaskStore
from ..config import BASE_DIRECTORY, base_directory_setting, exclude_patterns
from ..db import lookup
from ..db.connection import Database
from ..db.lookup import Subject
from ..errors import StoreError
from ..host.standalone import (
    EXTRA_PATHS_FILES,
    ExtraFolder,
    ExtraPaths,
    StandaloneHost,
    WebFiles,
    read_base_paths,
    read_extra_folders,
)
from ..host.standalone.folders import DATA_DIRECTORY
from ..ids import canonical_id
from ..ignored_files import ExcludePatterns
from .command import CommandError

_FOLDERS = ("models", "input", "output")
_PORTABLE = "ComfyUI"  # the folder in that of the portable version for Windows
_SHORT = re.compile(rf"[0-9A-Fa-f][0-9A-Fa-f-]{{{lookup.SHORT_ID - 1},}}")
_SHOWN = 4  # ids of an ambiguous one that the message lists


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


def extra_folders(options: argparse.Namespace) -> list[ExtraFolder] | None:
    """Return the model folders of the files that are named, or None for a command that needs no model folders.

    Raises OSError, ValueError for unreadable files.
    """
    if "extra_model_paths_config" not in options:
        return None
    return [folder for file in options.extra_model_paths_config for folder in read_extra_folders(file)]


def host_on(
    base: Path,
    extra: Sequence[ExtraFolder] | None = None,
    *,
    multi_user: bool = False,
    web_files: WebFiles | None = None,
) -> StandaloneHost:
    """Return a host on a base directory, with the folders that the file of paths in it names, and ``extra`` ones.

    With None the command needs no model folders, only the store, which an old file of paths cannot move: that file is
    not read. Raises OSError, ValueError if the file is unreadable.
    """
    is_read = extra is not None or (base / EXTRA_PATHS_FILES[0]).is_file()
    # ComfyUI reads the file beside its main.py, which is usually this one.
    paths = read_base_paths(base) if is_read else ExtraPaths()
    host = StandaloneHost(
        base,
        multi_user=multi_user,
        extra_folders=[*paths.folders, *(extra or ())],
        directories=paths.directories,
        web_files=web_files,
    )
    host.exclude(ExcludePatterns(exclude_patterns()))
    return host


@dataclass(frozen=True)
class Library:
    """An open store without the services of a server. ``tasks`` records tasks in it."""

    base: Path
    host: StandaloneHost
    db: Database
    tasks: TaskRunner


@asynccontextmanager
async def open_library(options: argparse.Namespace) -> AsyncIterator[Library]:
    """Open the store of the base directory that a command is for.

    Does not recover or clean up as a server does when it starts, because a server may be using the same store.
    Raises CommandError without a base directory, StoreError if it has no store.
    """
    base = existing_base(options)
    host = host_on(base, extra_folders(options))
    path = host.data_directory() / STORE_NAME
    if not path.exists():  # opening it would create an empty store in a folder that may be the wrong one
        raise StoreError(f"{base} has no library yet. Run comfy-assets scan or serve first.")
    db = await Database.open(path)
    tasks = TaskRunner(TaskStore(db))
    try:
        yield Library(base, host, db, tasks)
    finally:
        await tasks.close()
        await db.close()


async def full_id(db: Database, subject: Subject, text: str) -> str:
    """Return the id that a text shortens; the canonical form of a UUID, and any other text, as it is.

    Raises CommandError if several ids begin with the text.
    """
    canonical = canonical_id(text)
    if canonical is not None or not _SHORT.fullmatch(text):
        return canonical or text
    found = await lookup.beginning_with(db, subject, text.lower(), _SHOWN + 1)
    if not found or text in found:  # clients may choose ids of jobs that are no UUIDs
        return text
    if len(found) > 1:
        listed = ", ".join(found[:_SHOWN]) + (", …" if len(found) > _SHOWN else "")
        raise CommandError(f"{text} is ambiguous: several {subject}s have ids that begin with it: {listed}")
    return found[0]
