"""Deletion of assets: when it is due, and the deleted ones, hidden from all lists, with what restores them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from ..models import REFERENCE, CursorKey, DeletionKind, TrashFilter
from . import tags
from .connection import Database, Transaction
from .sql import Row, after_key, order_by


@dataclass(frozen=True)
class DeletedAsset:
    """A deleted asset.

    ``stored`` is its file in the trash: a path below the trash folder, or an absolute one on another volume. The file
    came from ``folder`` and ``file_name``. Without one in the trash these are the position of the file that stayed in
    its place, None if there is none; ``is_missing``: it is gone from there. ``restoring`` is the path to which the file
    is being restored. ``is_note``: nothing is kept but that the file is left out. ``mime_type``, ``hash`` and
    ``facts`` (a JSON object, of the content) are those of the asset.
    """

    row_id: int
    id: str
    owner: str
    name: str
    size: int
    deleted_at: int
    deleted_by: str
    stored: str | None
    folder: str | None
    file_name: str | None
    is_missing: bool
    restoring: str | None
    is_note: bool
    mime_type: str
    hash: bytes | None
    facts: str | None

    @property
    def kind(self) -> DeletionKind:
        """Where the file is: in the trash, or in its place, with all of the record or a note of it."""
        if self.stored is not None:
            return "trashed"
        return "left_out" if self.is_note else "removed"


@dataclass(frozen=True)
class TrashedFile:
    """A file that was moved into the trash folder as ``stored``, from ``folder`` and ``name``."""

    stored: str
    folder: str
    name: str


async def hide(
    tx: Transaction, row_id: int, now: int, taken: TrashedFile | None, user: str = "", *, is_kept: bool = False
) -> None:
    """Delete an asset at ``now`` (ms) but keep its row. The row of a file that was moved to the trash is deleted.

    ``is_kept``: its file stays in its place only because other assets need its content.
    """
    await tags.move_assets(tx, [row_id], lambda s: s._replace(hidden=s.hidden | tags.DELETED))
    # With the content at this time: a file that has another one later is not what the user has deleted.
    await tx.execute(
        "INSERT INTO trash (asset_id, deleted_at, content_id, deleted_by, stored, folder, name, kept_for_others)"
        " VALUES (?1, ?2, (SELECT content_id FROM assets WHERE id = ?1), ?3, ?4, ?5, ?6, ?7)",
        (row_id, now, user, *((taken.stored, taken.folder, taken.name) if taken else (None, None, None)), is_kept),
    )
    if taken:
        await tx.execute("DELETE FROM files WHERE id = ?", (row_id,))
    # If it is restored, it is meant to stay.
    await tx.execute("DELETE FROM asset_expirations WHERE asset_id = ?", (row_id,))


async def reveal(tx: Transaction, row_id: int) -> None:
    """Restore a deleted asset."""
    await tags.move_assets(tx, [row_id], lambda s: s._replace(hidden=s.hidden & ~tags.DELETED))
    await tx.execute("DELETE FROM trash WHERE asset_id = ?", (row_id,))


async def set_deletion(
    tx: Transaction,
    row_id: int,
    deleted_at: int,
    deleted_by: str,
    place: tuple[str | None, str | None],
    *,
    is_note: bool,
) -> None:
    """Give an asset that was just deleted the time (ms), user and former place of an earlier deletion."""
    await tx.execute(
        "UPDATE trash SET deleted_at = ?2, deleted_by = ?3, is_note = ?4, folder = iif(stored IS NULL, NULL, ?5),"
        " name = iif(stored IS NULL, NULL, ?6) WHERE asset_id = ?1",
        (row_id, deleted_at, deleted_by, is_note, *place),
    )


async def own_preview(tx: Transaction, row_id: int) -> str | None:
    """Return the id of the preview that belongs to an asset and to no other that is not deleted, or None."""
    rows = await tx.fetch_all(
        "SELECT p.uuid FROM assets a JOIN assets p ON p.id = a.preview_id AND p.id <> a.id"
        f" JOIN tag_sets s ON s.id = p.tag_set_id WHERE a.id = ? AND s.hidden = {tags.PREVIEW} AND NOT EXISTS ("
        " SELECT 1 FROM assets o JOIN tag_sets t ON t.id = o.tag_set_id WHERE o.preview_id = p.id AND o.id <> a.id"
        f" AND NOT t.hidden & {tags.DELETED})",
        (row_id,),
    )
    return rows[0][0] if rows else None


async def deleted_preview(tx: Transaction, row_id: int) -> str | None:
    """Return the id of an asset's preview that was deleted with it, or None."""
    rows = await tx.fetch_all(
        "SELECT p.uuid FROM assets a JOIN assets p ON p.id = a.preview_id JOIN tag_sets s ON s.id = p.tag_set_id"
        f" WHERE a.id = ? AND s.hidden = {tags.PREVIEW | tags.DELETED}",
        (row_id,),
    )
    return rows[0][0] if rows else None


async def reveal_changed(tx: Transaction) -> None:
    """Restore deleted assets whose files have other content than when they were deleted.

    If the content was unknown then, it is the first one that is read from the file, which has not changed since.
    """
    await tx.execute(
        "UPDATE trash SET content_id = (SELECT content_id FROM assets WHERE id = asset_id) WHERE content_id IS NULL"
    )
    rows = await tx.fetch_all(
        # In this order: SQLite would begin with all assets whose content is known.
        "SELECT t.asset_id FROM trash t CROSS JOIN assets a ON a.id = t.asset_id WHERE a.content_id <> t.content_id"
    )
    for (row_id,) in rows:
        await reveal(tx, row_id)


async def reveal_rewritten(tx: Transaction, ids: str) -> None:
    """Restore those of the files (a JSON array of ids) with a new size or time whose content is certainly new.

    That is so if the former content was never known, or if the file had been missing.
    """
    rows = await tx.fetch_all(
        "SELECT t.asset_id FROM trash t JOIN files f ON f.id = t.asset_id"
        " WHERE t.asset_id IN (SELECT value FROM json_each(?)) AND (t.content_id IS NULL OR f.missing = 1)",
        (ids,),
    )
    for (row_id,) in rows:
        await reveal(tx, row_id)


_SELECT = """
    SELECT t.asset_id, a.uuid, s.owner, a.name, a.size, t.deleted_at, t.deleted_by, t.stored,
        coalesce(t.folder, d.path), coalesce(t.name, f.name), coalesce(f.missing, 0), t.restoring, t.is_note,
        a.mime_type, c.hash, c.metadata
    FROM trash t JOIN assets a ON a.id = t.asset_id JOIN tag_sets s ON s.id = a.tag_set_id
    LEFT JOIN contents c ON c.id = a.content_id LEFT JOIN files f ON f.id = a.id
    LEFT JOIN folders d ON d.id = f.folder_id
"""
# What was deleted with another asset, and returns with it, is no entry of its own: its preview, sidecars of a model.
_IS_FOLLOWER = f"""
    (s.hidden & {tags.PREVIEW} AND EXISTS (
        SELECT 1 FROM assets o JOIN trash x ON x.asset_id = o.id WHERE o.preview_id = a.id AND o.id <> a.id))
    OR (s.hidden & {tags.SIDECAR} AND EXISTS (
        SELECT 1 FROM sidecars l JOIN trash x ON x.asset_id = l.model_id WHERE l.asset_id = a.id))
"""
_IS_MISSING, _IS_NOTE = 10, 12  # columns with flags
_OF_KIND: dict[DeletionKind, str] = {
    "trashed": "t.stored IS NOT NULL",
    "removed": "(t.stored IS NULL AND t.is_note = 0)",
    "left_out": "t.is_note = 1",
}


def _deleted(row: Row) -> DeletedAsset:
    values = [*row]
    for flag in (_IS_MISSING, _IS_NOTE):
        values[flag] = bool(values[flag])
    return DeletedAsset(*values)


async def entries(db: Database | Transaction) -> list[DeletedAsset]:
    """Return all deleted assets of all owners, the latest first."""
    rows = await db.fetch_all(f"{_SELECT} ORDER BY t.deleted_at DESC, t.asset_id DESC")
    return [_deleted(row) for row in rows]


def _where(wanted: TrashFilter) -> tuple[str, list[str | int]]:
    """Return the condition of a filter, and its parameters."""
    conditions = [f"({' OR '.join(_OF_KIND[kind] for kind in wanted.kinds)})", f"NOT ({_IS_FOLLOWER})"]
    parameters: list[str | int] = []
    if wanted.owner is not None:
        conditions.append("s.owner = ?" if wanted.only_own else "s.owner IN ('', ?)")
        parameters.append(wanted.owner)
    if wanted.name:
        conditions.append("instr(a.name_key, ?) > 0")
        parameters.append(wanted.name.casefold())
    if wanted.before is not None:
        conditions.append("t.deleted_at < ?")
        parameters.append(wanted.before)
    if wanted.ids is not None:
        conditions.append("a.uuid IN (SELECT value FROM json_each(?))")
        parameters.append(msgspec.json.encode(wanted.ids).decode())
    return " AND ".join(conditions), parameters


class TrashTotals(NamedTuple):
    """The number of deleted assets, and the bytes of their files in the trash."""

    assets: int
    size: int


async def totals(db: Database | Transaction, wanted: TrashFilter) -> TrashTotals:
    """Return the totals of the deleted assets that pass the filter."""
    where, parameters = _where(wanted)
    rows = await db.fetch_all(
        "SELECT count(*), coalesce(sum(CASE WHEN t.stored IS NULL THEN 0 ELSE a.size END), 0)"
        f" FROM trash t JOIN assets a ON a.id = t.asset_id JOIN tag_sets s ON s.id = a.tag_set_id WHERE {where}",
        parameters,
    )
    return TrashTotals(*rows[0])


async def list_page(
    db: Database | Transaction, wanted: TrashFilter, limit: int, after: CursorKey | None = None, offset: int = 0
) -> list[DeletedAsset]:
    """Return deleted assets after a cursor (the time of deletion in ms), or after so many, the latest first."""
    where, parameters = _where(wanted)
    start, bound = after_key("t.deleted_at", "t.asset_id", "desc", after)
    rows = await db.fetch_all(
        f"{_SELECT} WHERE {where}{start} {order_by('t.deleted_at', 't.asset_id', 'desc')} LIMIT ? OFFSET ?",
        [*parameters, *bound, limit, offset],
    )
    return [_deleted(row) for row in rows]


async def followers(db: Database | Transaction, row_id: int) -> list[DeletedAsset]:
    """Return what was deleted with an asset and belongs to no other: its preview, and the sidecars of a model."""
    rows = await db.fetch_all(
        f"{_SELECT} WHERE t.asset_id IN (SELECT preview_id FROM assets WHERE id = ?1 AND preview_id <> id"
        f" UNION SELECT asset_id FROM sidecars WHERE model_id = ?1) AND ({_IS_FOLLOWER})"
        " AND NOT EXISTS (SELECT 1 FROM assets o WHERE o.preview_id = a.id AND o.id NOT IN (?1, a.id))"
        " AND NOT EXISTS (SELECT 1 FROM sidecars l WHERE l.asset_id = a.id AND l.model_id <> ?1)",
        (row_id,),
    )
    return [_deleted(row) for row in rows]


async def find(db: Database | Transaction, uuid: str) -> DeletedAsset | None:
    """Return the deleted asset with this id or alias, or None."""
    rows = await db.fetch_all(
        f"{_SELECT} WHERE a.uuid = ?1 OR a.id = (SELECT asset_id FROM asset_aliases WHERE alias = ?1)"
        " ORDER BY a.uuid = ?1 DESC",
        (uuid,),
    )
    return _deleted(rows[0]) if rows else None


async def set_restoring(tx: Transaction, row_id: int, path: str | None) -> None:
    """Store the path to which a file is about to be restored; None: nothing is under way."""
    await tx.execute("UPDATE trash SET restoring = ? WHERE asset_id = ?", (path, row_id))


async def restoring(db: Database) -> list[DeletedAsset]:
    """Return the deleted assets whose files were being restored."""
    rows = await db.fetch_all(f"{_SELECT} WHERE t.restoring IS NOT NULL ORDER BY t.asset_id")
    return [_deleted(row) for row in rows]


async def stored_names(db: Database) -> set[str]:
    """Return ``stored`` of all files in the trash."""
    return {row[0] for row in await db.fetch_all("SELECT stored FROM trash WHERE stored IS NOT NULL")}


async def forget(tx: Transaction, row_id: int) -> None:
    """Delete a deleted asset for good. Of a file that is in its place, a note remains that it is left out."""
    # A file without any row would be found by the next scan, as a new asset.
    noted = await tx.execute(
        "UPDATE trash SET is_note = 1, deleted_by = '' WHERE asset_id = ?1"
        " AND EXISTS (SELECT 1 FROM files WHERE id = ?1 AND missing = 0)",
        (row_id,),
    )
    if noted:
        await _strip(tx, row_id)
        return
    # The second condition spares an asset that was restored meanwhile.
    await tx.execute("DELETE FROM assets WHERE id = ? AND id IN (SELECT asset_id FROM trash)", (row_id,))


async def _strip(tx: Transaction, row_id: int) -> None:
    """Remove everything that users gave to an asset, and what refers to it."""
    for table in (
        "asset_tags",
        "asset_uses",
        "asset_aliases",
        "job_outputs",
        "job_inputs",
        "asset_batch_items",
        "collection_members",
    ):
        await tx.execute(f"DELETE FROM {table} WHERE asset_id = ?", (row_id,))
    await tx.execute("UPDATE assets SET preview_id = NULL WHERE ? IN (id, preview_id)", (row_id,))
    await tx.execute("UPDATE collections SET cover_id = NULL WHERE cover_id = ?", (row_id,))
    name = await tx.fetch_value("SELECT name FROM files WHERE id = ?", (row_id,))
    await tx.execute(
        "UPDATE assets SET name = ?2, name_key = ?3, user_metadata = NULL, job_id = NULL, last_access_at = NULL"
        " WHERE id = ?1",
        (row_id, name, name.casefold()),
    )


class LeftFile(NamedTuple):
    """A file that stayed in its place for other assets, all of which are gone."""

    row_id: int
    folder: str
    name: str
    size: int
    mtime_ns: int


async def left_files(db: Database | Transaction, digest: bytes) -> list[LeftFile]:
    """Return the files of a content that no asset needs any more, deleted ones included, and whose records are gone."""
    rows = await db.fetch_all(
        "SELECT a.id, d.path, f.name, f.size, f.mtime_ns FROM contents c JOIN assets a ON a.content_id = c.id"
        " JOIN trash t ON t.asset_id = a.id AND t.is_note = 1 AND t.kept_for_others = 1"
        " JOIN files f ON f.id = a.id AND f.missing = 0 JOIN folders d ON d.id = f.folder_id WHERE c.hash = ?"
        f" AND NOT EXISTS (SELECT 1 FROM assets r WHERE r.content_id = c.id AND r.origin = {REFERENCE})",
        (digest,),
    )
    return [LeftFile(*row) for row in rows]


async def forget_left_file(tx: Transaction, row_id: int) -> None:
    """Delete the note of a file that was removed."""
    await tx.execute("DELETE FROM assets WHERE id = ? AND id IN (SELECT asset_id FROM trash WHERE is_note)", (row_id,))


async def forget_notes_of_missing(tx: Transaction) -> None:
    """Delete the notes of files that are gone."""
    await tx.execute(
        "DELETE FROM assets WHERE id IN (SELECT t.asset_id FROM trash t JOIN files f ON f.id = t.asset_id"
        " WHERE t.is_note = 1 AND f.missing = 1)"
    )


class DueAsset(NamedTuple):
    """An asset whose time is over. ``is_kept``: a collection has it, another asset has it as its preview, or a user has
    rated, marked or described it.
    """

    row_id: int
    id: str
    owner: str
    is_kept: bool


async def put_expiration(tx: Transaction, row_id: int, expires_at: int | None) -> None:
    """Set the time (ms) at which an asset is deleted; None: it is kept."""
    if expires_at is None:
        await tx.execute("DELETE FROM asset_expirations WHERE asset_id = ?", (row_id,))
    else:
        await tx.execute(
            "INSERT OR REPLACE INTO asset_expirations (asset_id, expires_at, due) VALUES (?1, ?2, ?2)",
            (row_id, expires_at),
        )


async def expiration_of(db: Database | Transaction, row_id: int) -> int | None:
    """Return the time (ms) at which an asset is deleted, or None."""
    rows = await db.fetch_all("SELECT expires_at FROM asset_expirations WHERE asset_id = ?", (row_id,))
    return rows[0][0] if rows else None


async def due_assets(db: Database, now: int, limit: int) -> list[DueAsset]:
    """Return assets whose time is over at ``now`` (ms), the longest overdue first."""
    rows = await db.fetch_all(
        "SELECT a.id, a.uuid, s.owner, EXISTS (SELECT 1 FROM collection_members m WHERE m.asset_id = a.id) OR EXISTS"
        " (SELECT 1 FROM assets o JOIN tag_sets t ON t.id = o.tag_set_id WHERE o.preview_id = a.id AND o.id <> a.id"
        f" AND NOT t.hidden & {tags.DELETED}) OR coalesce(a.user_metadata, '{{}}') <> '{{}}'"
        " FROM asset_expirations e JOIN assets a ON a.id = e.asset_id JOIN tag_sets s ON s.id = a.tag_set_id"
        " WHERE e.due <= ? ORDER BY e.due, a.id LIMIT ?",
        (now, limit),
    )
    return [DueAsset(row[0], row[1], row[2], bool(row[3])) for row in rows]


async def postpone_expiration(tx: Transaction, row_id: int, due: int) -> None:
    """Look at an asset again at a time (ms)."""
    await tx.execute("UPDATE asset_expirations SET due = ? WHERE asset_id = ?", (due, row_id))
