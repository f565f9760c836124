"""Places of files that others take: a place belongs to one file alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from ..models import FileStat
from . import files, folders
from .connection import Transaction
from .folders import FolderRow

Place = tuple[int, str]  # a folder's id and a file's name


async def vacate(tx: Transaction, ids: Sequence[int]) -> dict[int, Place]:
    """Take files out of their places, which others are about to take; answers the places by file."""
    text = msgspec.json.encode(ids).decode()
    rows = await tx.fetch_all(
        "SELECT id, folder_id, name FROM files WHERE id IN (SELECT value FROM json_each(?))", (text,)
    )
    # No file has a name with a slash in it.
    await tx.execute("UPDATE files SET name = '/' || id WHERE id IN (SELECT value FROM json_each(?))", (text,))
    return {row[0]: (row[1], row[2]) for row in rows}


async def take(tx: Transaction, taken: Mapping[int, tuple[Place, FileStat]]) -> None:
    """Put files (by id) into places that are free, where they look like this."""
    await tx.execute_many(
        "UPDATE files SET folder_id = ?2, name = ?3, size = ?4, mtime_ns = ?5, inode = ?6 WHERE id = ?1",
        [(file_id, *place, *stat) for file_id, (place, stat) in taken.items()],
    )
    await files.mark_present(tx, list(taken))


async def leave(tx: Transaction, folder: FolderRow, names: Mapping[int, str]) -> int:
    """Remember files, by id, that are gone and have no place any more, under their names in a folder that is not there.

    Answers how many of them were not marked as missing yet.
    """
    folder_id = (await folders.add(tx, [folder]))[folder.path]
    rows = await tx.fetch_all("SELECT name FROM files WHERE folder_id = ?", (folder_id,))
    used = {row[0] for row in rows}
    changes: list[tuple[int, int, str]] = []
    for file_id, name in names.items():
        free = name if name not in used else f"{file_id} {name}"
        used.add(free)
        changes.append((file_id, folder_id, free))
    await tx.execute_many("UPDATE files SET folder_id = ?2, name = ?3 WHERE id = ?1", changes)
    return await files.mark_missing(tx, list(names))
