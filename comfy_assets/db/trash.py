"""Deleted assets: hidden from all lists, with what is needed to restore them."""

from __future__ import annotations

from dataclasses import dataclass

from . import tags
from .connection import Database, Transaction


@dataclass(frozen=True)
class DeletedAsset:
    """A deleted asset. ``stored`` is its file in the trash, from ``folder`` and ``name``; None for no file."""

    row_id: int
    id: str
    owner: str
    name: str
    size: int
    deleted_at: int
    stored: str | None
    folder: str | None
    file_name: str | None


@dataclass(frozen=True)
class TrashedFile:
    """A file that was moved into the trash folder as ``stored``, from ``folder`` and ``name``."""

    stored: str
    folder: str
    name: str


async def hide(tx: Transaction, row_id: int, now: int, taken: TrashedFile | None) -> None:
    """Delete an asset at ``now`` (ms) but keep its row. The row of a file that was moved to the trash is deleted."""
    await tags.move_assets(tx, [row_id], lambda s: s._replace(hidden=s.hidden | tags.DELETED))
    # With the content at this time: a file that has another one later is not what the user has deleted.
    await tx.execute(
        "INSERT INTO trash (asset_id, deleted_at, content_id, stored, folder, name)"
        " VALUES (?1, ?2, (SELECT content_id FROM assets WHERE id = ?1), ?3, ?4, ?5)",
        (row_id, now, *((taken.stored, taken.folder, taken.name) if taken else (None, None, None))),
    )
    if taken:
        await tx.execute("DELETE FROM files WHERE id = ?", (row_id,))


async def reveal(tx: Transaction, row_id: int) -> None:
    """Restore a deleted asset."""
    await tags.move_assets(tx, [row_id], lambda s: s._replace(hidden=s.hidden & ~tags.DELETED))
    await tx.execute("DELETE FROM trash WHERE asset_id = ?", (row_id,))


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
        "SELECT t.asset_id FROM trash t JOIN assets a ON a.id = t.asset_id WHERE a.content_id <> t.content_id"
    )
    for (row_id,) in rows:
        await reveal(tx, row_id)


async def reveal_rewritten(tx: Transaction, ids: str) -> None:
    """Restore those of the files (a JSON array of ids) with a new size or time whose content is sure to be another.

    That is so if the content was never known, and if the file had been missing: whatever is there now is new.
    """
    rows = await tx.fetch_all(
        "SELECT t.asset_id FROM trash t JOIN files f ON f.id = t.asset_id"
        " WHERE t.asset_id IN (SELECT value FROM json_each(?)) AND (t.content_id IS NULL OR f.missing = 1)",
        (ids,),
    )
    for (row_id,) in rows:
        await reveal(tx, row_id)


_SELECT = """
    SELECT t.asset_id, a.uuid, s.owner, a.name, a.size, t.deleted_at, t.stored, t.folder, t.name
    FROM trash t JOIN assets a ON a.id = t.asset_id JOIN tag_sets s ON s.id = a.tag_set_id
"""


async def entries(db: Database | Transaction) -> list[DeletedAsset]:
    """Return all deleted assets, the latest first."""
    rows = await db.fetch_all(f"{_SELECT} ORDER BY t.deleted_at DESC, t.asset_id DESC")
    return [DeletedAsset(*row) for row in rows]


async def forgettable(db: Database | Transaction) -> list[DeletedAsset]:
    """Return the deleted assets that have no file in the library any more."""
    rows = await db.fetch_all(
        f"{_SELECT} WHERE NOT EXISTS (SELECT 1 FROM files f WHERE f.id = t.asset_id) ORDER BY t.deleted_at, t.asset_id"
    )
    return [DeletedAsset(*row) for row in rows]


async def find(db: Database | Transaction, uuid: str) -> DeletedAsset | None:
    """Return the deleted asset with this id or alias, or None."""
    rows = await db.fetch_all(
        f"{_SELECT} WHERE a.uuid = ?1 OR a.id = (SELECT asset_id FROM asset_aliases WHERE alias = ?1)"
        " ORDER BY a.uuid = ?1 DESC",
        (uuid,),
    )
    return DeletedAsset(*rows[0]) if rows else None


async def forget(tx: Transaction, row_id: int) -> None:
    """Delete a deleted asset for good."""
    # The second condition spares an asset that was restored meanwhile.
    await tx.execute("DELETE FROM assets WHERE id = ? AND id IN (SELECT asset_id FROM trash)", (row_id,))
