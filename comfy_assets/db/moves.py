"""Files that may have moved: candidates for the matcher, and giving assets the files they were matched with."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ..models import SCANNED, AssetEdit, FileStat
from . import tags
from .assets import EDITABLE
from .connection import Transaction
from .files import CHANGED, HASHED, NEW
from .sql import Row, json_array


class MoveCandidate(NamedTuple):
    """A file that is gone from its path or new at it, with what its asset carries.

    ``id`` is the row of the asset; a new file without a row has a negative id of its own. ``logical`` is the folder's
    path below the roots ("output/2024"), ``content_id`` None while the content is not known, ``content_type`` the media
    type that it shows. ``members`` are the values that users can edit. ``user_tags`` and ``categories`` (of the folder,
    at the last scan) are JSON arrays. ``is_collected``: the asset is in a collection, or the cover of one.
    ``is_made``: a job wrote the file. ``is_used``: a workflow version or a share refers to the asset.

    The other members are set by the callers of the matcher. ``is_recent``: the file was there until the present scan.
    ``is_marked``: the asset must not be lost, as it has data of a user or is used. ``keeps_path``: what is at the path
    now may be this file, written over. ``is_decided``: no unread file can have the same content. A new file whose path
    is known ``replaces`` the asset there, which may or may not be its own.
    """

    id: int
    size: int
    mtime_ns: int
    inode: int
    folder: str
    logical: str
    name: str
    content_id: int | None = None
    owner: str = ""
    user_tags: str | None = None
    categories: str = "[]"
    content_type: str | None = None
    members: AssetEdit = AssetEdit()
    is_made: bool = False
    is_used: bool = False
    is_missing: bool = False
    is_collected: bool = False
    is_recent: bool = False
    is_marked: bool = False
    keeps_path: bool = True
    is_decided: bool = False
    replaces: int | None = None

    @property
    def asset_name(self) -> str:
        """The displayed name of the asset."""
        return self.members.name or ""

    @property
    def mime_type(self) -> str:
        """The media type of the asset."""
        return self.members.mime_type or ""

    @property
    def stat(self) -> FileStat:
        """Size, time and inode of the file when it was last examined."""
        return self.size, self.mtime_ns, self.inode


_COLUMNS = f"""
    {EDITABLE.sql},
    f.id, f.size, f.mtime_ns, f.inode, d.path, d.logical, f.name, a.content_id, s.owner, {tags.USER_TAGS}, d.categories,
    (SELECT mime_type FROM contents WHERE id = a.content_id),
    a.job_id IS NOT NULL, EXISTS (SELECT 1 FROM asset_uses u WHERE u.asset_id = a.id), f.missing,
    EXISTS (SELECT 1 FROM collection_members m WHERE m.asset_id = a.id)
    OR EXISTS (SELECT 1 FROM collections o WHERE o.cover_id = a.id)
"""
_JOINED = """
    JOIN folders d ON d.id = f.folder_id JOIN assets a ON a.id = f.id JOIN tag_sets s ON s.id = a.tag_set_id
"""


async def _candidates(tx: Transaction, sql: str, parameters: Sequence[Any] = ()) -> list[MoveCandidate]:
    rows = await tx.fetch_all(sql, parameters)
    # A folder may hold thousands: too many to go through on the event loop.
    return await asyncio.to_thread(lambda: [_candidate(row) for row in rows])


def _candidate(row: Row) -> MoveCandidate:
    *columns, is_made, is_used, is_missing, is_collected = row[EDITABLE.count :]
    values = [*columns, EDITABLE.read(row), *map(bool, (is_made, is_used, is_missing, is_collected))]
    return MoveCandidate(*values)


async def by_id(tx: Transaction, ids: Iterable[int]) -> list[MoveCandidate]:
    """Return the files of these assets."""
    return await _candidates(
        tx,
        f"SELECT {_COLUMNS} FROM files f {_JOINED} WHERE f.id IN (SELECT value FROM json_each(?))",
        (json_array(ids),),
    )


async def missing_and_new(tx: Transaction, after_id: int) -> tuple[list[MoveCandidate], list[MoveCandidate]]:
    """Return missing files, and the files added after ``after_id`` that have the size and time of one of them."""
    news = await _candidates(
        tx,
        f"SELECT {_COLUMNS} FROM files f {_JOINED} WHERE f.id > ? AND f.missing = 0 AND EXISTS (SELECT 1 FROM files o"
        " WHERE o.missing = 1 AND o.size = f.size AND o.mtime_ns = f.mtime_ns AND o.id < f.id)",
        (after_id,),
    )
    looks = await asyncio.to_thread(lambda: json_array({file.stat[:2] for file in news}))
    olds = await _candidates(
        tx,
        f"SELECT {_COLUMNS} FROM json_each(?) j CROSS JOIN files f ON f.missing = 1"
        f" AND f.size = json_extract(j.value, '$[0]') AND f.mtime_ns = json_extract(j.value, '$[1]') {_JOINED}",
        (looks,),
    )
    return olds, news


async def of_look(tx: Transaction, stats: Iterable[FileStat]) -> list[MoveCandidate]:
    """Return all files that have the size and time of one of these, missing or not."""

    def parts() -> tuple[set[tuple[int, int]], str, str]:
        looks = {stat[:2] for stat in stats}
        return looks, json_array({mtime_ns for _, mtime_ns in looks}), json_array({size for size, _ in looks})

    looks, *parameters = await asyncio.to_thread(parts)
    # SQLite compares times and sizes one by one; which pairs belong together is decided below.
    found = await _candidates(
        tx,
        f"SELECT {_COLUMNS} FROM files f {_JOINED} WHERE f.mtime_ns IN (SELECT value FROM json_each(?))"
        " AND f.size IN (SELECT value FROM json_each(?))",
        parameters,
    )
    return await asyncio.to_thread(lambda: [file for file in found if file.stat[:2] in looks])


async def read_again(tx: Transaction, ids: Sequence[int]) -> None:
    """Have files read again whose content is likely, but not certain, to be the recorded one."""
    await tx.execute_many(f"UPDATE files SET state = {CHANGED} WHERE id = ? AND state = {HASHED}", [(i,) for i in ids])


async def read_unknown_again(tx: Transaction, ids: Iterable[int]) -> None:
    """Have the contents of assets that have other names now read again if nothing is known of them.

    The new name may tell more, and they are not hashed again.
    """
    await tx.execute(
        "UPDATE contents SET reader_version = 0 WHERE metadata = '{}' AND reader_version > 0 AND id IN"
        " (SELECT content_id FROM assets WHERE id IN (SELECT value FROM json_each(?)))",
        (json_array(ids),),
    )


async def never_hashed(tx: Transaction, ids: Sequence[int]) -> list[int]:
    """Return the files, of these, whose content was never known."""
    rows = await tx.fetch_all(
        f"SELECT id FROM files WHERE state = {NEW} AND id IN (SELECT value FROM json_each(?))", (json_array(ids),)
    )
    return [row[0] for row in rows]


async def scanned_since(tx: Transaction, after_id: int) -> list[int]:
    """Return the files added after ``after_id`` that were found on disk, rather than uploaded or made by a job."""
    rows = await tx.fetch_all(
        f"SELECT id FROM assets WHERE id > ? AND origin = {SCANNED} AND job_id IS NULL", (after_id,)
    )
    return [row[0] for row in rows]


_MOST_AT_ONCE = 1000  # contents that are decided in one transaction, for which others who write have to wait
_IS_DELETED = "EXISTS (SELECT 1 FROM trash WHERE asset_id = a.id)"


async def note_pending(tx: Transaction, ids: Sequence[int]) -> None:
    """Store the files, of these, that have the content of a missing asset as pending matches.

    The table is ``newcomers``. They are matched once every file of the same size has been read.
    """
    await tx.execute(
        "WITH held AS (SELECT DISTINCT content_id FROM assets"
        " WHERE id IN (SELECT value FROM json_each(?1)) AND content_id IS NOT NULL),"
        " wanted AS (SELECT content_id FROM held h WHERE EXISTS (SELECT 1 FROM assets a JOIN files f ON f.id = a.id"
        " WHERE a.content_id = h.content_id AND f.missing = 1))"
        " INSERT OR IGNORE INTO newcomers (asset_id, size) SELECT id, size FROM assets"
        " WHERE id IN (SELECT value FROM json_each(?1)) AND content_id IN (SELECT content_id FROM wanted)",
        (json_array(ids),),
    )


async def decidable(tx: Transaction, read: Sequence[int]) -> list[int]:
    """Return the contents of pending matches that no unread file can have, now that these files have been read.

    A file that was never read may have any content of its size.
    """
    sizes = await tx.fetch_all(
        "SELECT DISTINCT size FROM files WHERE id IN (SELECT value FROM json_each(?))"
        " AND size IN (SELECT size FROM newcomers)",
        (json_array(read),),
    )
    if not sizes:
        return []
    unread = await tx.fetch_all(
        f"SELECT DISTINCT size FROM files WHERE state = {NEW} AND missing = 0"
        " AND size IN (SELECT value FROM json_each(?))",
        (json_array(row[0] for row in sizes),),
    )
    rows = await tx.fetch_all(
        "SELECT DISTINCT a.content_id FROM newcomers n JOIN assets a ON a.id = n.asset_id"
        " WHERE n.size IN (SELECT value FROM json_each(?)) AND a.content_id IS NOT NULL LIMIT ?",
        (json_array({row[0] for row in sizes} - {row[0] for row in unread}), _MOST_AT_ONCE),
    )
    return [row[0] for row in rows]


async def pending_contents(tx: Transaction) -> list[int]:
    """Return the contents of pending matches, some at a time."""
    rows = await tx.fetch_all(
        "SELECT DISTINCT a.content_id FROM newcomers n JOIN assets a ON a.id = n.asset_id"
        " WHERE a.content_id IS NOT NULL LIMIT ?",
        (_MOST_AT_ONCE,),
    )
    return [row[0] for row in rows]


async def of_contents(tx: Transaction, contents: Sequence[int]) -> tuple[list[MoveCandidate], list[MoveCandidate]]:
    """Return the missing files and the pending matches that have these contents, without deleted assets."""
    text = json_array(contents)
    held = "a.content_id IN (SELECT value FROM json_each(?))"
    olds = await _candidates(
        tx, f"SELECT {_COLUMNS} FROM files f {_JOINED} WHERE {held} AND f.missing = 1 AND NOT {_IS_DELETED}", (text,)
    )
    news = await _candidates(
        tx,
        f"SELECT {_COLUMNS} FROM newcomers n JOIN files f ON f.id = n.asset_id {_JOINED}"
        f" WHERE {held} AND f.missing = 0 AND NOT {_IS_DELETED}",
        (text,),
    )
    return olds, news


async def drop_pending(tx: Transaction, contents: Sequence[int]) -> None:
    """Remove the pending matches of these contents, which have been matched."""
    await tx.execute(
        "DELETE FROM newcomers WHERE asset_id IN (SELECT n.asset_id FROM newcomers n JOIN assets a ON a.id = n.asset_id"
        " WHERE a.content_id IN (SELECT value FROM json_each(?)))",
        (json_array(contents),),
    )


async def drop_all_pending(tx: Transaction) -> None:
    """Remove all pending matches: the content of the remaining ones is not known any more."""
    await tx.execute("DELETE FROM newcomers")


_ADOPTIONS_TABLE = """
    CREATE TEMP TABLE IF NOT EXISTS adoptions (
        new_id INTEGER PRIMARY KEY, old_id INTEGER NOT NULL UNIQUE,
        folder_id, name, size, mtime_ns, inode, state, content_id INTEGER, job_id
    )
"""
_STAGE_ADOPTIONS = """
    INSERT INTO adoptions
    SELECT json_extract(j.value, '$[0]'), json_extract(j.value, '$[1]'),
        f.folder_id, f.name, f.size, f.mtime_ns, f.inode, f.state, a.content_id, a.job_id
    FROM json_each(?) j LEFT JOIN files f ON f.id = json_extract(j.value, '$[0]') LEFT JOIN assets a ON a.id = f.id
"""
_OLD_OF = "(SELECT old_id FROM adoptions WHERE new_id = {})"
_IS_NEW = "{} IN (SELECT new_id FROM adoptions)"
_ADOPT = (
    # Where the old asset has the same use already, the row stays with the new asset and is deleted with it.
    *(
        f"UPDATE OR IGNORE {table} SET asset_id = {_OLD_OF.format('asset_id')} WHERE {_IS_NEW.format('asset_id')}"
        for table in (
            "asset_uses",
            "job_inputs",
            "job_outputs",
            "asset_aliases",
            "collection_members",
            "asset_batch_items",
        )
    ),
    f"UPDATE collections SET cover_id = {_OLD_OF.format('cover_id')} WHERE {_IS_NEW.format('cover_id')}",
    f"UPDATE assets SET preview_id = {_OLD_OF.format('preview_id')} WHERE {_IS_NEW.format('preview_id')}",
    "UPDATE assets SET job_id = (SELECT job_id FROM adoptions WHERE old_id = assets.id) WHERE job_id IS NULL"
    " AND id IN (SELECT old_id FROM adoptions WHERE job_id IS NOT NULL)",
    # Deleted before the old assets get the files: no two files of a folder may have the same name.
    f"DELETE FROM assets WHERE {_IS_NEW.format('id')}",
    "UPDATE files SET (folder_id, name, size, mtime_ns, inode, missing, error, state) = ("
    f"SELECT folder_id, name, size, mtime_ns, inode, 0, NULL, CASE state WHEN {HASHED} THEN {HASHED} ELSE files.state"
    " END FROM adoptions WHERE old_id = files.id)"
    " WHERE id IN (SELECT old_id FROM adoptions WHERE folder_id IS NOT NULL)",
    "UPDATE assets SET content_id = (SELECT content_id FROM adoptions WHERE old_id = assets.id)"
    " WHERE id IN (SELECT o.old_id FROM adoptions o JOIN assets a ON a.id = o.old_id"
    " WHERE o.content_id IS NOT NULL AND a.content_id IS NOT o.content_id)",
)


async def adopt_files(tx: Transaction, old_of: Mapping[int, int]) -> None:
    """Give old assets the files and the content of new ones, which are deleted; the mapping is from new to old.

    References to a new asset then lead to the old one.
    """
    await tx.execute(_ADOPTIONS_TABLE)
    await tx.execute("DELETE FROM adoptions")
    await tx.execute(_STAGE_ADOPTIONS, (json_array(old_of.items()),))
    async with tags.counted_together(tx, [*old_of, *old_of.values()]):
        for statement in _ADOPT:
            await tx.execute(statement)
        # Not those whose new file has vanished since it was matched.
        found = await tx.fetch_all("SELECT old_id FROM adoptions WHERE folder_id IS NOT NULL")
        await tags.set_missing(tx, [row[0] for row in found], missing=False)


async def set_types(tx: Transaction, types: Sequence[tuple[int, str]]) -> None:
    """Set the MIME types of assets, by id."""
    await tx.execute_many("UPDATE assets SET mime_type = ?2 WHERE id = ?1", types)


async def rename_assets(tx: Transaction, names: Sequence[tuple[int, str]]) -> None:
    """Rename assets, by id."""
    await tx.execute_many(
        "UPDATE assets SET name = ?2, name_key = ?3 WHERE id = ?1",
        ((asset_id, name, name.casefold()) for asset_id, name in names),
    )
