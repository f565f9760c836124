"""Files: what the store knows of the disk, and bringing it up to date."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from ..models import MISSING_TAG, Pending
from . import tags, trash
from .connection import Database, Transaction
from .connection_pool import Row

NEW, HASHED, CHANGED, UNREADABLE = range(4)


class NewFiles(NamedTuple):
    """Files of one folder that become assets of their own, with equal tags and type.

    ``files`` is JSON: an array of ``[name, size, mtime_ns, inode, uuid]``.
    """

    folder_id: int
    tag_set_id: int
    mime_type: str
    files: str


def _ids(values: Iterable[int]) -> str:
    return msgspec.json.encode(list(values)).decode()


def _texts(values: Iterable[str]) -> str:
    return msgspec.json.encode(list(values)).decode()


async def known_files(db: Database | Transaction, paths: Sequence[str]) -> list[Row]:
    """Rows ``(folder path, name, size, mtime_ns, inode, id, missing)`` of the files in these folders."""
    return await db.fetch_all(
        "SELECT d.path, f.name, f.size, f.mtime_ns, f.inode, f.id, f.missing"
        " FROM folders d JOIN files f ON f.folder_id = d.id"
        " WHERE d.path IN (SELECT value FROM json_each(?))",
        (_texts(paths),),
    )


@dataclass(frozen=True)
class Known:
    """A file as it was last looked at."""

    file_id: int
    size: int
    mtime_ns: int


async def stat_at(tx: Transaction, folder: str, name: str) -> Known | None:
    """The file of this name in a folder."""
    rows = await tx.fetch_all(
        "SELECT f.id, f.size, f.mtime_ns FROM folders d JOIN files f ON f.folder_id = d.id"
        " WHERE d.path = ? AND f.name = ?",
        (folder, name),
    )
    return Known(*rows[0]) if rows else None


_NEW_FILES_TABLE = """
    CREATE TEMP TABLE IF NOT EXISTS new_files (
        id INTEGER PRIMARY KEY, folder_id, tag_set_id, mime_type, name, size, mtime_ns, inode, uuid
    )
"""
_STAGE_NEW_FILES = """
    INSERT INTO new_files
    SELECT NULL, ?1, ?2, ?3, json_extract(value, '$[0]'), json_extract(value, '$[1]'),
           json_extract(value, '$[2]'), json_extract(value, '$[3]'), json_extract(value, '$[4]')
    FROM json_each(?4)
"""


async def insert_new(tx: Transaction, groups: Sequence[NewFiles], now: int) -> None:
    """Add files and their assets, created when the file was last written, between 1970 and ``now`` (ms).

    A group's files go in as one JSON text, so that SQLite works through them without the interpreter lock:
    faster than binding row by row beside threads that walk, and nothing for the event loop to wait for. ``OR
    ROLLBACK`` spares SQLite a savepoint a row; a conflict ends the whole transaction, which is what a failed
    transaction does here anyway.
    """
    await tx.execute(_NEW_FILES_TABLE)
    await tx.execute("DELETE FROM new_files")
    await tx.execute_many(_STAGE_NEW_FILES, groups)
    first = int(await tx.fetch_value("SELECT coalesce(max(id), 0) FROM assets"))
    await tx.execute(
        "INSERT OR ROLLBACK INTO assets"
        " (id, uuid, tag_set_id, name, name_key, mime_type, size, created_at, updated_at)"
        " SELECT ?1 + id, uuid, tag_set_id, name, lower(name), mime_type, size,"
        " max(0, min(mtime_ns / 1000000, ?2)), max(0, min(mtime_ns / 1000000, ?2)) FROM new_files",
        (first, now),
    )
    await tx.execute(
        "INSERT OR ROLLBACK INTO files (id, folder_id, name, size, mtime_ns, inode)"
        " SELECT ?1 + id, folder_id, name, size, mtime_ns, inode FROM new_files",
        (first,),
    )
    await _fold_names(tx, first)


async def _fold_names(tx: Transaction, after_id: int) -> None:
    """SQLite folds ASCII alone; the keys of other names are set here."""
    rows = await tx.fetch_all("SELECT id, name FROM new_files WHERE name GLOB ?", ("*[^\x01-\x7f]*",))
    if rows:
        await tx.execute_many(
            "UPDATE assets SET name_key = ?2 WHERE id = ?1",
            [(after_id + row_id, name.casefold()) for row_id, name in rows],
        )


async def mark_changed(tx: Transaction, rows: Sequence[tuple[int, int, int, int]], now: int) -> None:
    """Note the new ``(id, size, mtime_ns, inode)`` of files; what was known of their content is void."""
    await tx.execute_many(
        "UPDATE files SET size = ?2, mtime_ns = ?3, inode = ?4, error = NULL,"
        f" state = CASE state WHEN {NEW} THEN {NEW} ELSE {CHANGED} END WHERE id = ?1",
        rows,
    )
    await tx.execute_many(
        "UPDATE assets SET content_id = NULL, size = ?2, updated_at = ?3 WHERE id = ?1",
        [(row[0], row[1], now) for row in rows],
    )
    await trash.reveal_rewritten(tx, _ids(row[0] for row in rows))


async def renumber(tx: Transaction, inodes: Sequence[tuple[int, int]]) -> None:
    """Note the new ``(id, inode)`` of files that are otherwise as they were."""
    await tx.execute_many("UPDATE files SET inode = ?2 WHERE id = ?1", inodes)


async def mark_present(tx: Transaction, ids: Sequence[int]) -> None:
    """Take the missing mark off files that are there again."""
    await tx.execute(
        "UPDATE files SET missing = 0 WHERE missing = 1 AND id IN (SELECT value FROM json_each(?))",
        (_ids(ids),),
    )
    await retag(tx, ids, remove=(MISSING_TAG,))


async def mark_missing(tx: Transaction, ids: Sequence[int]) -> int:
    """Mark files as missing; their assets keep everything and gain the tag. Answers how many were not yet."""
    changed = await tx.execute(
        "UPDATE files SET missing = 1 WHERE missing = 0 AND id IN (SELECT value FROM json_each(?))",
        (_ids(ids),),
    )
    await retag(tx, ids, add=(MISSING_TAG,))
    return changed


async def retag(tx: Transaction, ids: Sequence[int], *, add: Iterable[str] = (), remove: Iterable[str] = ()) -> None:
    """Change the same tags on many assets: once for each tag set they have."""
    wanted = _ids(ids)
    rows = await tx.fetch_all(
        "SELECT DISTINCT tag_set_id FROM assets WHERE id IN (SELECT value FROM json_each(?))", (wanted,)
    )
    for (set_id,) in rows:
        target = await tags.with_tag_changes(tx, set_id, add, remove)
        await _move_to_set(tx, wanted, set_id, target)


async def replace_place_tags(
    tx: Transaction, ids: Sequence[int], former_categories: Iterable[str], wanted: Iterable[str]
) -> None:
    """Replace the tags that files had by their place with those they have now; the users' tags stay."""
    wanted_set = set(wanted)
    text = _ids(ids)
    rows = await tx.fetch_all(
        "SELECT DISTINCT s.id, s.tags FROM assets a JOIN tag_sets s ON s.id = a.tag_set_id"
        " WHERE a.id IN (SELECT value FROM json_each(?))",
        (text,),
    )
    for set_id, present in rows:
        former = tags.place_tags(msgspec.json.decode(present, type=list[str]), former_categories)
        target = await tags.with_tag_changes(tx, set_id, wanted_set, former - wanted_set)
        await _move_to_set(tx, text, set_id, target)


async def _move_to_set(tx: Transaction, ids: str, source: int, target: int) -> None:
    if target != source:
        await tx.execute(
            "UPDATE assets SET tag_set_id = ? WHERE +tag_set_id = ? AND id IN (SELECT value FROM json_each(?))",
            (target, source, ids),
        )


async def missing_count(db: Database | Transaction) -> int:
    """How many files are marked missing."""
    rows = await db.fetch_all("SELECT count(*) FROM files WHERE missing = 1")
    return int(rows[0][0])


async def last_id(db: Database | Transaction) -> int:
    """The highest file id so far."""
    rows = await db.fetch_all("SELECT coalesce(max(id), 0) FROM files")
    return int(rows[0][0])


async def pending(db: Database, *, after_id: int, small_below: int, small: bool, limit: int) -> list[Pending]:
    """Files whose content is to be read, by id; the small ones or the others."""
    rows = await db.fetch_all(
        "SELECT f.id, d.path, f.name, f.size, f.mtime_ns, f.state"
        " FROM files f JOIN folders d ON d.id = f.folder_id"
        f" WHERE f.id > ? AND f.state <> {HASHED} AND f.missing = 0 AND (f.size < ?) = ?"
        " ORDER BY f.id LIMIT ?",
        (after_id, small_below, small, limit),
    )
    return [Pending(*row) for row in rows]


async def present_among(db: Database, ids: Sequence[int]) -> list[Pending]:
    """Those of the files that are not marked missing, be their content known or not."""
    rows = await db.fetch_all(
        "SELECT f.id, d.path, f.name, f.size, f.mtime_ns, f.state FROM files f JOIN folders d ON d.id = f.folder_id"
        " WHERE f.missing = 0 AND f.id IN (SELECT value FROM json_each(?))",
        (_ids(ids),),
    )
    return [Pending(*row) for row in rows]


async def pending_totals(db: Database) -> tuple[int, int]:
    """How many files are to be hashed, and their bytes."""
    row = await db.fetch_one(
        f"SELECT count(*), coalesce(sum(size), 0) FROM files WHERE state <> {HASHED} AND missing = 0"
    )
    return (int(row[0]), int(row[1])) if row else (0, 0)


async def present_in(db: Database, folder: str) -> list[tuple[int, str]]:
    """Ids and names of the files in a folder that are not marked missing."""
    rows = await db.fetch_all(
        "SELECT f.id, f.name FROM files f JOIN folders d ON d.id = f.folder_id WHERE d.path = ? AND f.missing = 0",
        (folder,),
    )
    return [(row[0], row[1]) for row in rows]


async def names_like(tx: Transaction, folder: str, stem: str) -> list[str]:
    """The names, in a folder, of known files that begin like this, whether they are there or not."""
    rows = await tx.fetch_all(
        "SELECT f.name FROM folders d JOIN files f ON f.folder_id = d.id WHERE d.path = ? AND f.name BETWEEN ? AND ?",
        (folder, stem, stem + "\U0010ffff"),
    )
    return [row[0] for row in rows]
