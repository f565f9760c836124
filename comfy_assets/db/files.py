"""Rows of folders and of the files in them: the state of the disk as it was last seen, and how it changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import NamedTuple

import msgspec

from ..ids import new_ids
from ..models import FileStat, Pending
from . import sidecars, tags, trash
from .connection import Database, Transaction
from .sql import Row, Statement, insertion, json_array, statements

NEW, HASHED, CHANGED, UNREADABLE = range(4)
# Files that one transaction may mark or move. That takes some tens of milliseconds, for which other writers wait.
BATCH = 500


class FolderRow(msgspec.Struct, frozen=True):
    """A folder of the library; see ``assets.roots.Place`` for the fields. ``categories`` is a JSON array.

    ``mtime_ns`` is the time of the folder at its last complete listing, if it is known. ``loader_prefixes`` is a JSON
    object, or None if there is only one prefix.
    """

    path: str
    kind: str
    logical: str
    loader_prefix: str | None
    categories: str
    place_key: str
    fingerprint: bytes | None
    mtime_ns: int | None = None
    loader_prefixes: str | None = None


def _described(rows: Iterable[FolderRow]) -> list[tuple[str | None, ...]]:
    """Return the fields without the fingerprint and the time, which only a listing sets."""
    return [(*msgspec.structs.astuple(row)[:6], row.loader_prefixes) for row in rows]


async def known_folders(db: Database | Transaction, only: Sequence[str] | None = None) -> list[FolderRow]:
    """Return all known folders, or those with these paths."""
    rows = await db.fetch_all(
        "SELECT path, kind, logical, loader_prefix, categories, place_key, fingerprint, mtime_ns, loader_prefixes"
        " FROM folders"
        " WHERE ?1 IS NULL OR path IN (SELECT value FROM json_each(?1))",
        (None if only is None else json_array(only),),
    )
    return [FolderRow(*row) for row in rows]


_INSERT_FOLDER = """
    INSERT INTO folders (path, kind, logical, loader_prefix, categories, place_key, loader_prefixes)
    VALUES (?, ?, ?, ?, ?, ?, ?)
"""


async def put_folders(tx: Transaction, rows: Sequence[FolderRow]) -> dict[str, int]:
    """Store folders as they are described now; return their ids by path. For scans, which also tag the files again."""
    await tx.execute_many(
        f"{_INSERT_FOLDER} ON CONFLICT (path) DO UPDATE"
        " SET kind = excluded.kind, logical = excluded.logical, loader_prefix = excluded.loader_prefix,"
        " categories = excluded.categories, place_key = excluded.place_key, loader_prefixes = excluded.loader_prefixes",
        _described(rows),
    )
    return await _folder_ids(tx, rows)


async def add_folders(tx: Transaction, rows: Sequence[FolderRow]) -> dict[str, int]:
    """Store unknown folders, to put files into; return the ids of all by path.

    A known folder keeps its description, from which the next scan sees whether its files need other tags. Its
    fingerprint is removed, so that this scan compares the files: if a file is added now and removed again, the listing
    would look unchanged.
    """
    await tx.execute_many(
        f"{_INSERT_FOLDER} ON CONFLICT (path) DO UPDATE SET fingerprint = NULL",
        _described(rows),
    )
    return await _folder_ids(tx, rows)


async def _folder_ids(tx: Transaction, rows: Sequence[FolderRow]) -> dict[str, int]:
    found = await tx.fetch_all(
        "SELECT path, id FROM folders WHERE path IN (SELECT value FROM json_each(?))",
        (json_array(r.path for r in rows),),
    )
    return dict(found)


async def categories_of(tx: Transaction, folder: str) -> list[str]:
    """Return the categories that claimed a folder in the last scan."""
    text = await tx.fetch_value("SELECT categories FROM folders WHERE path = ?", (folder,))
    return msgspec.json.decode(text, type=list[str]) if text is not None else []


async def set_fingerprints(tx: Transaction, fingerprints: Sequence[tuple[str, bytes | None, int | None]]) -> None:
    """Store each folder's listing fingerprint and time, or None if its file rows may be incomplete.

    The former time stays then: a file that has come since must not look older than the listing that gave it its row.
    """
    await tx.execute_many(
        "UPDATE folders SET fingerprint = ?2, mtime_ns = CASE WHEN ?2 IS NULL THEN mtime_ns ELSE ?3 END"
        " WHERE path = ?1",
        fingerprints,
    )


async def set_folder_times(tx: Transaction, times: Sequence[tuple[str, int]]) -> None:
    """Store the times of folders (path, ns) whose rows match their present listings."""
    await tx.execute_many("UPDATE folders SET mtime_ns = ?2 WHERE path = ?1", times)


async def folder_times(tx: Transaction, paths: Sequence[str]) -> dict[str, int]:
    """Return the times (ns) of folders at their last complete listing, by path. Unknown ones are left out."""
    rows = await tx.fetch_all(
        "SELECT path, mtime_ns FROM folders WHERE mtime_ns IS NOT NULL AND path IN (SELECT value FROM json_each(?))",
        (json_array(paths),),
    )
    return {row[0]: row[1] for row in rows}


class FileGroup(NamedTuple):
    """Row ids of the folder and the tag set that new files share, and their media type."""

    folder_id: int
    tag_set_id: int
    mime_type: str


# A new file: the index of its group, its name, the name case-folded, size, mtime_ns and inode.
NewFileRow = tuple[int, str, str, int, int, int]


async def known_files(db: Database | Transaction, paths: Sequence[str]) -> list[Row]:
    """Return rows ``(folder path, name, size, mtime_ns, inode, id, missing)`` of the files in these folders."""
    return await db.fetch_all(
        "SELECT d.path, f.name, f.size, f.mtime_ns, f.inode, f.id, f.missing"
        " FROM folders d JOIN files f ON f.folder_id = d.id"
        " WHERE d.path IN (SELECT value FROM json_each(?))",
        (json_array(paths),),
    )


@dataclass(frozen=True)
class StoredStat:
    """Size and time of a file when it was last seen."""

    file_id: int
    size: int
    mtime_ns: int


async def stat_at(tx: Transaction, folder: str, name: str) -> StoredStat | None:
    """Return the stored size and time of the file of this name in a folder, or None."""
    rows = await tx.fetch_all(
        "SELECT f.id, f.size, f.mtime_ns FROM folders d JOIN files f ON f.folder_id = d.id"
        " WHERE d.path = ? AND f.name = ?",
        (folder, name),
    )
    return StoredStat(*rows[0]) if rows else None


_NEW_FILES_TABLES = (
    "CREATE TEMP TABLE IF NOT EXISTS new_groups (id INTEGER PRIMARY KEY, folder_id, tag_set_id, mime_type)",
    "CREATE TEMP TABLE IF NOT EXISTS new_files ("
    " id INTEGER PRIMARY KEY, group_id, name, name_key, size, mtime_ns, inode, uuid)",
    "DELETE FROM new_groups",
    "DELETE FROM new_files",
)
_NEW_FILES = "new_files (group_id, name, name_key, size, mtime_ns, inode, uuid)"
_GROUPED_FILES = "new_files f CROSS JOIN new_groups g ON g.id = f.group_id"


class _NewFiles(NamedTuple):
    """Files to insert, with the ids of their assets; ``first`` is the highest row id before them, ``now`` in ms."""

    groups: Sequence[FileGroup]
    rows: Sequence[NewFileRow]
    ids: Sequence[str]
    first: int
    now: int


async def insert_new(
    tx: Transaction,
    groups: Sequence[FileGroup],
    rows: Sequence[NewFileRow],
    now: int,
    ids: Sequence[str] | None = None,
) -> None:
    """Add files and their assets. An asset is created when its file was last written, between 1970 and ``now`` (ms).

    ``ids`` are those of the assets, if they were made before. Rows in the order of their times and ids go to the ends
    of most indexes, which is fastest.
    """
    ids = new_ids(len(rows)) if ids is None else ids
    await sidecars.note_folders(tx, {group.folder_id for group in groups})
    # A file has the id of its asset, so the ids are chosen here.
    first = int(await tx.fetch_value("SELECT coalesce(max(id), 0) FROM assets"))
    new = _NewFiles(groups, rows, ids, first, now)
    await (_insert_few if len(rows) < tags.FEW_CHANGES else _insert_many)(tx, new)


_INSERT_ASSETS = """
    INSERT OR ROLLBACK INTO assets
    (id, uuid, tag_set_id, name, name_key, mime_type, size, created_at, updated_at, folder_id)
"""
_INSERT_FILES = "INSERT OR ROLLBACK INTO files (id, folder_id, name, size, mtime_ns, inode)"


async def _insert_few(tx: Transaction, new: _NewFiles) -> None:
    """Insert row by row, as after a job: that takes few statements, and triggers count."""
    groups, rows, ids, first, now = new
    numbered = [
        (first + at, *groups[row[0]], *row[1:], max(0, min(row[4] // 1_000_000, now)), uuid)
        for at, (row, uuid) in enumerate(zip(rows, ids, strict=True), 1)
    ]
    await tx.execute_many(f"{_INSERT_ASSETS} VALUES (?1, ?11, ?3, ?5, ?6, ?4, ?7, ?10, ?10, ?2)", numbered)
    await tx.execute_many(
        f"{_INSERT_FILES} VALUES (?, ?, ?, ?, ?, ?)", [(row[0], row[1], row[4], *row[6:9]) for row in numbered]
    )


async def _insert_many(tx: Transaction, new: _NewFiles) -> None:
    groups, rows, ids, first, now = new

    def all_statements() -> Iterator[Statement]:  # in the connection's thread, as there are thousands of rows
        created_at = "max(0, min(mtime_ns / 1000000, ?2))"
        sizes = Counter(map(itemgetter(0), rows))
        yield from statements(*_NEW_FILES_TABLES)
        yield from insertion("new_groups", [(number, *group) for number, group in enumerate(groups)])
        yield from insertion(_NEW_FILES, rows, column=ids)
        yield from tags.starting_to_count(first + 1)
        yield Statement(
            f"{_INSERT_ASSETS} SELECT ?1 + f.id, uuid, tag_set_id, name, name_key, mime_type, size,"
            f" {created_at}, {created_at}, folder_id FROM {_GROUPED_FILES}",
            (first, now),
        )
        yield Statement(
            f"{_INSERT_FILES} SELECT ?1 + f.id, folder_id, name, size, mtime_ns, inode FROM {_GROUPED_FILES}",
            (first,),
        )
        yield from insertion("count_changes", [(*groups[number][:2], size) for number, size in sizes.items()])
        yield from tags.FINISH_COUNTING

    await tx.execute_all(all_statements())


async def mark_changed(tx: Transaction, rows: Sequence[tuple[int, int, int, int]], now: int) -> None:
    """Store the new ``(id, size, mtime_ns, inode)`` of files, and forget their contents."""
    # A file that was never read stays NEW: it may have any content, which the matcher of moves has to know.
    await tx.execute_many(
        "UPDATE files SET size = ?2, mtime_ns = ?3, inode = ?4, error = NULL,"
        f" state = CASE state WHEN {NEW} THEN {NEW} ELSE {CHANGED} END WHERE id = ?1",
        rows,
    )
    await tx.execute_many(
        "UPDATE assets SET content_id = NULL, size = ?2, updated_at = ?3 WHERE id = ?1",
        [(row[0], row[1], now) for row in rows],
    )
    await trash.reveal_rewritten(tx, json_array(row[0] for row in rows))


async def renumber(tx: Transaction, inodes: Sequence[tuple[int, int]]) -> None:
    """Store the new ``(id, inode)`` of files that are otherwise unchanged."""
    await tx.execute_many("UPDATE files SET inode = ?2 WHERE id = ?1", inodes)


async def mark_present(tx: Transaction, ids: Sequence[int]) -> None:
    """Mark files as present again."""
    await tx.execute(
        "UPDATE files SET missing = 0 WHERE missing = 1 AND id IN (SELECT value FROM json_each(?))",
        (json_array(ids),),
    )
    await tags.set_missing(tx, ids, missing=False)


async def mark_missing(tx: Transaction, ids: Sequence[int]) -> int:
    """Mark files as missing; their assets keep everything. Return how many were present before.

    The transaction pauses after every ``BATCH`` files.
    """
    marked = 0
    for first in range(0, len(ids), BATCH):
        if first:
            await tx.pause()
        batch = ids[first : first + BATCH]
        marked += await tx.execute(
            "UPDATE files SET missing = 1 WHERE missing = 0 AND id IN (SELECT value FROM json_each(?))",
            (json_array(batch),),
        )
        async with tags.counted_together(tx, batch):
            await tags.set_missing(tx, batch, missing=True)
    return marked


async def missing_count(db: Database | Transaction) -> int:
    """Return the number of files that are marked missing."""
    rows = await db.fetch_all("SELECT count(*) FROM files WHERE missing = 1")
    return int(rows[0][0])


async def any_missing(tx: Transaction) -> bool:
    """Return whether a file is marked missing."""
    return bool(await tx.fetch_value("SELECT EXISTS (SELECT 1 FROM files WHERE missing = 1)"))


async def last_id(db: Database | Transaction) -> int:
    """Return the highest file id so far."""
    rows = await db.fetch_all("SELECT coalesce(max(id), 0) FROM files")
    return int(rows[0][0])


async def pending(db: Database, *, after_id: int, small_below: int, small: bool, limit: int) -> list[Pending]:
    """Return files whose content has to be read, by id: the small files or the others."""
    rows = await db.fetch_all(
        "SELECT f.id, d.path, f.name, f.size, f.mtime_ns, f.state"
        " FROM files f JOIN folders d ON d.id = f.folder_id"
        f" WHERE f.id > ? AND f.state <> {HASHED} AND f.missing = 0 AND (f.size < ?) = ?"
        " ORDER BY f.id LIMIT ?",
        (after_id, small_below, small, limit),
    )
    return [Pending(*row) for row in rows]


async def present_among(db: Database, ids: Sequence[int]) -> list[Pending]:
    """Return the files, of these, that are not marked missing."""
    rows = await db.fetch_all(
        "SELECT f.id, d.path, f.name, f.size, f.mtime_ns, f.state FROM files f JOIN folders d ON d.id = f.folder_id"
        " WHERE f.missing = 0 AND f.id IN (SELECT value FROM json_each(?))",
        (json_array(ids),),
    )
    return [Pending(*row) for row in rows]


async def pending_totals(db: Database) -> tuple[int, int]:
    """Return the number of files whose content has to be read, and their bytes."""
    row = await db.fetch_one(
        f"SELECT count(*), coalesce(sum(size), 0) FROM files WHERE state <> {HASHED} AND missing = 0"
    )
    return (int(row[0]), int(row[1])) if row else (0, 0)


async def totals_of_kinds(db: Database) -> list[tuple[str, int, int]]:
    """Return the kinds of folders with the numbers and the bytes of the files in them, without missing ones."""
    rows = await db.fetch_all(
        "SELECT d.kind, count(*), sum(f.size) FROM files f JOIN folders d ON d.id = f.folder_id"
        " WHERE f.missing = 0 GROUP BY d.kind ORDER BY d.kind"
    )
    return [(row[0], row[1], row[2]) for row in rows]


async def present_in(db: Database, folder: str) -> list[tuple[int, str]]:
    """Return ids and names of the files in a folder that are not marked missing."""
    rows = await db.fetch_all(
        "SELECT f.id, f.name FROM files f JOIN folders d ON d.id = f.folder_id WHERE d.path = ? AND f.missing = 0",
        (folder,),
    )
    return [(row[0], row[1]) for row in rows]


async def names_like(tx: Transaction, folder: str, stem: str) -> list[str]:
    """Return the names of known files in a folder that begin with ``stem``, missing files included."""
    # Unlike LIKE, BETWEEN uses the index and has no wildcards; the upper bound ends in the highest character.
    rows = await tx.fetch_all(
        "SELECT f.name FROM folders d JOIN files f ON f.folder_id = d.id WHERE d.path = ? AND f.name BETWEEN ? AND ?",
        (folder, stem, stem + "\U0010ffff"),
    )
    return [row[0] for row in rows]


async def named_alike(tx: Transaction, folder: str, names: Iterable[str]) -> list[str]:
    """Return the names of known files in a folder that differ from one of these in the case of ASCII letters alone.

    Missing files are included.
    """
    rows = await tx.fetch_all(
        "SELECT f.name FROM folders d JOIN files f ON f.folder_id = d.id WHERE d.path = ?"
        " AND lower(f.name) IN (SELECT lower(value) FROM json_each(?))",
        (folder, json_array(names)),
    )
    return [row[0] for row in rows]


async def rename(tx: Transaction, names: Sequence[tuple[int, str]]) -> None:
    """Give files, by id, new names in their folders. No file may have the new name of another."""
    await tx.execute_many("UPDATE files SET name = ?2 WHERE id = ?1", names)


Position = tuple[str, str]  # a folder's path and a file's name


class StoredFile(NamedTuple):
    """The row of a file. ``is_read``: its content is known; ``is_stale``: it has changed since it was read."""

    id: int
    stat: FileStat
    missing: bool
    is_read: bool
    is_stale: bool
    job_id: str | None


async def by_position(db: Database | Transaction, positions: Sequence[Position]) -> dict[Position, StoredFile]:
    """Return the rows of files by folder and name. Files without a row are left out."""
    found: dict[Position, StoredFile] = {}
    # A folder may have a hundred thousand files: the event loop serves requests between the parts.
    for first in range(0, len(positions), BATCH):
        rows = await db.fetch_all(
            "SELECT d.path, f.name, f.id, f.size, f.mtime_ns, f.inode, f.missing, f.state, a.job_id FROM json_each(?) j"
            " CROSS JOIN folders d ON d.path = json_extract(j.value, '$[0]')"
            " JOIN files f ON f.folder_id = d.id AND f.name = json_extract(j.value, '$[1]')"
            " JOIN assets a ON a.id = f.id",
            (json_array(positions[first : first + BATCH]),),
        )
        for row in rows:
            found[row[0], row[1]] = StoredFile(
                row[2], (row[3], row[4], row[5]), bool(row[6]), row[7] == HASHED, row[7] == CHANGED, row[8]
            )
    return found


async def owner_at(db: Database, folder: str, name: str) -> str | None:
    """Return the owner of the file at this position, even of a deleted asset, or None if there is no row."""
    row = await db.fetch_one(
        "SELECT s.owner FROM folders d JOIN files f ON f.folder_id = d.id JOIN assets a ON a.id = f.id"
        " JOIN tag_sets s ON s.id = a.tag_set_id WHERE d.path = ? AND f.name = ?",
        (folder, name),
    )
    return str(row[0]) if row else None


async def owners_in(tx: Transaction, folder: str) -> dict[str, str]:
    """Return the owners of the files in a folder that belong to users, by name."""
    rows = await tx.fetch_all(
        "SELECT f.name, s.owner FROM folders d JOIN files f ON f.folder_id = d.id JOIN assets a ON a.id = f.id"
        " JOIN tag_sets s ON s.id = a.tag_set_id WHERE d.path = ? AND s.owner <> ''",
        (folder,),
    )
    return dict(rows)


async def names_of_others(db: Database, folder: str, user: str) -> set[str]:
    """Return the names of the files in a folder that belong to other users."""
    rows = await db.fetch_all(
        "SELECT f.name FROM folders d JOIN files f ON f.folder_id = d.id JOIN assets a ON a.id = f.id"
        " JOIN tag_sets s ON s.id = a.tag_set_id WHERE d.path = ? AND s.owner NOT IN ('', ?)",
        (folder, user),
    )
    return {row[0] for row in rows}


@dataclass(frozen=True)
class LastSeen:
    """A file in a folder that a scan has listed; all None if the folder has no row for it.

    ``hash`` is the blake3 digest of the file of this size and time, or None if it has not been read.
    """

    size: int | None
    mtime_ns: int | None
    hash: bytes | None


async def last_seen(db: Database | Transaction, folder: str, name: str) -> LastSeen | None:
    """Return the stored state of a file, or None if no scan has ever listed the folder."""
    rows = await db.fetch_all(
        "SELECT f.size, f.mtime_ns, c.hash FROM folders d"
        " LEFT JOIN files f ON f.folder_id = d.id AND f.name = ?2 LEFT JOIN assets a ON a.id = f.id"
        " LEFT JOIN contents c ON c.id = a.content_id WHERE d.path = ?1",
        (folder, name),
    )
    return LastSeen(*rows[0]) if rows else None


Slot = tuple[int, str]  # a folder's id and a file's name


async def vacate(tx: Transaction, ids: Sequence[int]) -> dict[int, Slot]:
    """Take files out of their folders so that others can have their names; return the former slots by file id."""
    text = json_array(ids)
    rows = await tx.fetch_all(
        "SELECT id, folder_id, name FROM files WHERE id IN (SELECT value FROM json_each(?))", (text,)
    )
    # No file has a name with a slash in it.
    await tx.execute("UPDATE files SET name = '/' || id WHERE id IN (SELECT value FROM json_each(?))", (text,))
    return {row[0]: (row[1], row[2]) for row in rows}


async def park(tx: Transaction, folder: FolderRow, names: Mapping[int, str]) -> int:
    """Keep files (by id) that are gone and have lost their slots under their names in a folder that does not exist.

    Return how many of them were not marked missing yet.
    """
    folder_id = (await add_folders(tx, [folder]))[folder.path]
    rows = await tx.fetch_all("SELECT name FROM files WHERE folder_id = ?", (folder_id,))
    used = {row[0] for row in rows}
    changes: list[tuple[int, int, str]] = []
    for file_id, name in names.items():
        free = name if name not in used else f"{file_id} {name}"  # as unique as the id
        used.add(free)
        changes.append((file_id, folder_id, free))
    await tx.execute_many("UPDATE files SET folder_id = ?2, name = ?3 WHERE id = ?1", changes)
    return await mark_missing(tx, list(names))


class HashedFile(msgspec.Struct, frozen=True, gc=False):
    """A file that is present, as it was when it was read. ``hash`` is the blake3 digest of its content then.

    ``listed_ns`` is the time of its folder at the last complete listing, if it is known.
    """

    id: int
    folder: str
    name: str
    size: int
    mtime_ns: int
    hash: bytes
    inode: int = 0
    listed_ns: int | None = None


_HASHED_COLUMNS = "f.id, d.path, f.name, f.size, f.mtime_ns, c.hash, f.inode, d.mtime_ns"
_HASHED_TABLES = """
    files f JOIN folders d ON d.id = f.folder_id JOIN assets a ON a.id = f.id JOIN contents c ON c.id = a.content_id
"""
_IS_HASHED = f"f.missing = 0 AND f.state = {HASHED}"


async def with_equal_content(db: Database) -> list[HashedFile]:
    """Return all files that share their content with others, grouped by content, without empty files."""
    rows = await db.fetch_all(
        f"SELECT {_HASHED_COLUMNS} FROM {_HASHED_TABLES} WHERE {_IS_HASHED} AND a.content_id IN"
        " (SELECT a.content_id FROM assets a JOIN files f ON f.id = a.id"
        f" WHERE {_IS_HASHED} AND f.size > 0 AND a.content_id IS NOT NULL GROUP BY a.content_id HAVING count(*) > 1)"
        " ORDER BY a.content_id, d.path, f.name"
    )
    return [HashedFile(*row) for row in rows]


async def with_equal_identity(db: Database, ids: Sequence[int]) -> list[HashedFile]:
    """Return the hashed files that have the size, time and inode of one of these: probably its other names."""
    # By way of the assets, which have an index of sizes.
    rows = await db.fetch_all(
        f"SELECT {_HASHED_COLUMNS} FROM files p JOIN assets a ON a.size = p.size AND a.id <> p.id"
        " JOIN files f ON f.id = a.id AND f.mtime_ns = p.mtime_ns AND f.inode = p.inode"
        " JOIN folders d ON d.id = f.folder_id JOIN contents c ON c.id = a.content_id"
        f" WHERE p.id IN (SELECT value FROM json_each(?)) AND p.inode <> 0 AND {_IS_HASHED}",
        (json_array(ids),),
    )
    return [HashedFile(*row) for row in rows]


async def hashed_page(db: Database, after_id: int, limit: int) -> list[HashedFile]:
    """Return hashed files after an id, by id."""
    rows = await db.fetch_all(
        f"SELECT {_HASHED_COLUMNS} FROM {_HASHED_TABLES} WHERE f.id > ? AND {_IS_HASHED} ORDER BY f.id LIMIT ?",
        (after_id, limit),
    )
    return [HashedFile(*row) for row in rows]


async def hashed_totals(db: Database) -> tuple[int, int]:
    """Return the number of hashed files, and their bytes."""
    row = await db.fetch_one(f"SELECT count(*), coalesce(sum(f.size), 0) FROM {_HASHED_TABLES} WHERE {_IS_HASHED}")
    return (int(row[0]), int(row[1])) if row else (0, 0)


async def update_stat(tx: Transaction, folder: str, name: str, before_mtime_ns: int, stat: FileStat) -> None:
    """Store the new time and inode of a file with unchanged content, unless its row has changed meanwhile.

    An inode of 0 stays, as scans compare none there.
    """
    size, mtime_ns, inode = stat
    await tx.execute(
        "UPDATE files SET mtime_ns = ?, inode = CASE inode WHEN 0 THEN 0 ELSE ? END"
        " WHERE folder_id = (SELECT id FROM folders WHERE path = ?)"
        f" AND name = ? AND size = ? AND mtime_ns = ? AND state = {HASHED}",
        (mtime_ns, inode, folder, name, size, before_mtime_ns),
    )
