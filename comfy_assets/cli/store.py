"""The library of a command: the host on its base directory, the open store without a server, and ids in it."""

from __future__ import annotations

import argparse
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from ..app import STORE_NAME
from ..background.tasks import TaskRunner, TaskStore
from ..config import exclude_patterns
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
from ..ids import canonical_id
from ..ignored_files import ExcludePatterns
from .base_directory import existing_base
from .command import CommandError

_SHORT = re.compile(rf"[0-9A-Fa-f][0-9A-Fa-f-]{{{lookup.SHORT_ID - 1},}}")
_SHOWN = 4  # ids of an ambiguous one that the message lists


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
