"""Single assets: adding one with all that is known of it, and changing what users may change."""

from __future__ import annotations

from dataclasses import dataclass

from ..models import AssetEdit, FileStat
from . import contents, folders, tags
from .connection import Transaction
from .contents import Facts
from .files import HASHED, NEW
from .folders import FolderRow
from .shares import DELETED_USE as DELETED_SHARE
from .shares import USE as SHARE
from .workflow_trash import DELETED_USE


@dataclass(frozen=True)
class NewEntry:
    """An asset to be added. ``uuid`` is canonical; times are ms; ``user_metadata`` is a JSON object or None."""

    uuid: str
    owner: str
    name: str
    mime_type: str
    tags: tuple[str, ...]
    origin: int
    created_at: int
    user_metadata: str | None = None
    job_id: str | None = None
    preview_uuid: str | None = None


@dataclass(frozen=True)
class FileRow:
    """Where an asset's file lies; ``categories`` (a JSON array) claimed the folder when it was last scanned."""

    folder: str
    name: str
    missing: bool
    categories: str
    content_id: int | None


async def add(tx: Transaction, entry: NewEntry, size: int, facts: Facts | None) -> int:
    """Add an asset without a file; answers its row id."""
    set_id = await tags.intern(tx, entry.owner, entry.tags)
    content_id = await contents.put(tx, facts) if facts is not None else None
    await tx.execute(
        "INSERT INTO assets (uuid, tag_set_id, content_id, name, name_key, mime_type, size, created_at, updated_at,"
        " user_metadata, origin, job_id, preview_id)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8, ?9, ?10, ?11, (SELECT id FROM assets WHERE uuid = ?12))",
        (
            entry.uuid,
            set_id,
            content_id,
            entry.name,
            entry.name.casefold(),
            entry.mime_type,
            size,
            entry.created_at,
            entry.user_metadata,
            entry.origin,
            entry.job_id,
            entry.preview_uuid,
        ),
    )
    return int(await tx.fetch_value("SELECT last_insert_rowid()"))


async def put_file(tx: Transaction, row_id: int, folder: FolderRow, name: str, stat: FileStat) -> None:
    """Record where an asset's file lies. It is read later if the asset's content is not known."""
    folder_id = (await folders.add(tx, [folder]))[folder.path]
    await tx.execute(
        "INSERT INTO files (id, folder_id, name, size, mtime_ns, inode, state)"
        f" SELECT id, ?2, ?3, ?4, ?5, ?6, CASE WHEN content_id IS NULL THEN {NEW} ELSE {HASHED} END"
        " FROM assets WHERE id = ?1",
        (row_id, folder_id, name, *stat),
    )


async def file_of(tx: Transaction, row_id: int) -> FileRow | None:
    """The asset's own file."""
    rows = await tx.fetch_all(
        "SELECT d.path, f.name, f.missing, d.categories, a.content_id FROM files f"
        " JOIN folders d ON d.id = f.folder_id JOIN assets a ON a.id = f.id WHERE f.id = ?",
        (row_id,),
    )
    return FileRow(rows[0][0], rows[0][1], bool(rows[0][2]), rows[0][3], rows[0][4]) if rows else None


async def edit(tx: Transaction, row_id: int, change: AssetEdit, now: int) -> None:
    """Change an asset at ``now`` (ms)."""
    await tx.execute(
        "UPDATE assets SET name = coalesce(?2, name), name_key = coalesce(?3, name_key),"
        " mime_type = coalesce(?4, mime_type), user_metadata = coalesce(?5, user_metadata),"
        " preview_id = coalesce((SELECT id FROM assets WHERE uuid = ?6), preview_id), updated_at = ?7 WHERE id = ?1",
        (
            row_id,
            change.name,
            change.name.casefold() if change.name is not None else None,
            change.mime_type,
            change.user_metadata,
            change.preview_id,
            now,
        ),
    )


async def touch(tx: Transaction, row_id: int, now: int) -> None:
    """Note that an asset was changed at ``now`` (ms)."""
    await tx.execute("UPDATE assets SET updated_at = ? WHERE id = ?", (now, row_id))


@dataclass(frozen=True)
class Use:
    """What keeps an asset from being deleted. Of a share, also whose it is, and the name it was published under."""

    kind: str
    id: str
    owner: str | None = None
    name: str | None = None


async def uses_of(tx: Transaction, row_id: int) -> list[Use]:
    """What keeps an asset from being deleted."""
    rows = await tx.fetch_all(
        "SELECT u.kind, u.used_by, w.owner, s.name FROM asset_uses u"
        f" LEFT JOIN shares s ON s.share_id = u.used_by AND u.kind = '{SHARE}'"
        " LEFT JOIN workflows w ON w.id = s.workflow_id"
        f" WHERE u.asset_id = ? AND u.kind NOT IN ('{DELETED_USE}', '{DELETED_SHARE}') ORDER BY 1, 2",
        (row_id,),
    )
    return [Use(*row) for row in rows]


@dataclass(frozen=True)
class Holder:
    """The asset that has an id, whoever's it is."""

    row_id: int
    owner: str
    deleted: bool


async def holder_of(tx: Transaction, uuid: str) -> Holder | None:
    """Which asset, if any, has this id."""
    rows = await tx.fetch_all(
        "SELECT a.id, s.owner, s.hidden FROM assets a JOIN tag_sets s ON s.id = a.tag_set_id WHERE a.uuid = ?", (uuid,)
    )
    return Holder(rows[0][0], rows[0][1], bool(rows[0][2])) if rows else None


async def change_id(tx: Transaction, row_id: int, uuid: str) -> None:
    """Give an asset another id."""
    await tx.execute("UPDATE assets SET uuid = ? WHERE id = ?", (uuid, row_id))
