"""Rows of assets: lists, single assets, adding and editing; and aliases of their ids."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from msgspec.structs import asdict, replace

from ..models import (
    REFERENCE,
    Asset,
    AssetEdit,
    AssetFilter,
    CursorKey,
    FileStat,
    Page,
    PageRequest,
    Preview,
)
from . import contents, files, sidecars, tags
from .connection import Database, Transaction
from .contents import LOCATION, Facts, location_of, stand_ins
from .files import HASHED, NEW, FolderRow
from .listing.filters import RowSelection, Selection, select
from .listing.pages import ordering, page_of, sort_key, stacked
from .sidecars import Sidecar
from .sql import Columns, Row, insert_into, json_array

# The column of each field of ``Asset``. Tags are made of three, and the locations of several; these follow.
_FIELDS = {
    "row_id": "a.id",
    "id": "a.uuid",
    "owner": "s.owner",
    "name": "a.name",
    "mime_type": "a.mime_type",
    "size": "a.size",
    "tags": "s.tags",
    "created_at": "a.created_at",
    "updated_at": "a.updated_at",
    "last_access_at": "a.last_access_at",
    "hash": "c.hash",
    "metadata": "c.metadata",
    "thumbnail_failure": "c.thumbnail_failure",
    "user_metadata": "a.user_metadata",
    "job_id": "a.job_id",
    "origin": "a.origin",
    "preview_id": "p.uuid",
}
if tuple(_FIELDS) != Asset.__struct_fields__[: len(_FIELDS)]:  # rows are read by position, which is fastest
    raise TypeError("the columns of assets are not in the order of the fields")
_TAGS_AT = tuple(_FIELDS).index("tags")
# The expressions of the values that users can edit. ``edit`` writes them to the columns of the same names.
EDITABLE = Columns(
    AssetEdit,
    name="a.name",
    mime_type="a.mime_type",
    user_metadata="a.user_metadata",
    preview_id="(SELECT p.uuid FROM assets p WHERE p.id = a.preview_id)",
)
# The columns of the table that users do not edit. A test compares them with the table: whatever merges assets keeps
# the editable columns, so a new column that is in neither list would be lost there.
OTHER_COLUMNS = frozenset(
    {
        "id",
        "uuid",
        "tag_set_id",  # the owner and the tags of the path; users' tags are in a table of their own
        "content_id",
        "name_key",  # made from the name
        "size",
        "created_at",
        "updated_at",
        "last_access_at",
        "origin",
        "job_id",
        "folder_id",  # triggers on files set it
    }
)
_COLUMNS = ", ".join((*_FIELDS.values(), "s.missing", tags.USER_TAGS, LOCATION.sql))
_JOINS = """
    JOIN tag_sets s ON s.id = a.tag_set_id
    LEFT JOIN contents c ON c.id = a.content_id
    LEFT JOIN files f ON f.id = a.id
    LEFT JOIN folders d ON d.id = f.folder_id
    LEFT JOIN assets p ON p.id = a.preview_id
"""
# The number of files that are there with the content of the asset, as far as a user may see them. The bound keeps pages
# of empty files short, of which there may be thousands.
_COPIES = f"""(SELECT count(*) FROM (
    SELECT 1 FROM assets b JOIN files f ON f.id = b.id AND f.missing = 0 JOIN tag_sets s ON s.id = b.tag_set_id
    WHERE b.content_id = a.content_id AND {tags.VISIBLE} LIMIT 100
))"""


async def list_page(db: Database, wanted: AssetFilter, page: PageRequest) -> Page[Asset]:
    """Return one page of the assets that pass the filter, and the total number of them."""
    selection, stacks = await select(db, wanted), None
    if wanted.is_stacked:
        selection, stacks = await stacked(db, selection)
    total = await _total(db, selection)
    rows = await _page_rows(db, selection, page, wanted.owner) if total else []
    items = await _complete(db, [_with_copies(_asset(row), row[-2]) for row in rows[: page.limit]])
    if stacks is not None:
        items = [replace(a, stack_count=stacks.count_of(a.row_id)) if a.job_id is not None else a for a in items]
    has_more = len(rows) > page.limit
    next_key = CursorKey(rows[page.limit - 1][-1], items[-1].row_id) if has_more else None
    return Page(items, total, has_more, next_key)


async def _total(db: Database, selection: Selection) -> int:
    if not isinstance(selection, RowSelection):
        return selection.total
    if selection.total is not None:
        return selection.total
    row = await db.fetch_one(f"SELECT count(*) FROM {selection.source} WHERE {selection.where}", selection.parameters)
    return int(row[0]) if row else 0


async def _page_rows(db: Database, selection: Selection, page: PageRequest, owner: str) -> list[Row]:
    """Return the page's rows and one more, each with the number of its copies and its sort value at the end."""
    ids, parameters = await page_of(db, selection, page)
    return await db.fetch_all(
        f"SELECT {_COLUMNS}, {_COPIES}, {sort_key(page)} FROM ({ids}) listed JOIN assets a ON a.id = listed.id {_JOINS}"
        f" {ordering(page)}",
        (owner, *parameters),
    )


async def with_copies(db: Database, asset: Asset, owner: str) -> Asset:
    """Return the asset with the number of files that have its content."""
    if asset.hash is None:
        return asset
    row = await db.fetch_one(f"SELECT {_COPIES} FROM assets a WHERE a.id = ?", (owner, asset.row_id))
    return asset if row is None else _with_copies(asset, row[0])


def _with_copies(asset: Asset, count: int) -> Asset:
    return replace(asset, copies=count) if count > 1 else asset


async def get(db: Database | Transaction, asset_id: str, owner: str) -> Asset | None:
    """Return the asset with this id or alias if it is public or the owner's, or None."""
    selected = f"SELECT {_COLUMNS} FROM assets a {_JOINS}"
    rows = await db.fetch_all(f"{selected} WHERE a.uuid = ? AND {tags.FOUND}", (asset_id, owner))
    if not rows:
        rows = await db.fetch_all(
            f"{selected} WHERE a.id = (SELECT asset_id FROM asset_aliases WHERE alias = ?) AND {tags.FOUND}",
            (asset_id, owner),
        )
    found = await _complete(db, [_asset(row) for row in rows])
    return found[0] if found else None


async def get_many(db: Database | Transaction, asset_ids: Sequence[str]) -> dict[str, Asset]:
    """Return assets of all owners by id. Unknown ids are left out."""
    rows = await db.fetch_all(
        f"SELECT {_COLUMNS} FROM assets a {_JOINS} WHERE a.uuid IN (SELECT value FROM json_each(?))",
        (json_array(asset_ids),),
    )
    return {asset.id: asset for asset in await _complete(db, [_asset(row) for row in rows])}


async def visible(db: Database | Transaction, ids: Sequence[str], owner: str) -> dict[str, Asset]:
    """Return the owner's and the public assets by the ids, or aliases, that were given. Others are left out."""
    # In this order: SQLite would begin with the tags of users, and compare all of their assets with each id.
    rows = await db.fetch_all(
        "SELECT j.value, a.uuid FROM json_each(?) j CROSS JOIN assets a ON a.id = coalesce("
        "(SELECT id FROM assets WHERE uuid = j.value), (SELECT asset_id FROM asset_aliases WHERE alias = j.value))"
        f" CROSS JOIN tag_sets s ON s.id = a.tag_set_id WHERE {tags.FOUND}",
        (json_array(ids), owner),
    )
    found = await get_many(db, sorted({row[1] for row in rows}))
    return {row[0]: found[row[1]] for row in rows if row[1] in found}


async def of_content(
    db: Database | Transaction, digest: bytes, owner: str, *, own: bool, previews: bool = False
) -> list[Asset]:
    """Return the owner's assets of this content (``own``), or the public ones; oldest first.

    With ``previews``, only those that are previews of other assets; otherwise none of these.
    """
    hidden = f"s.hidden = {tags.PREVIEW if previews else 0}"
    condition = f"s.owner = ? AND {hidden}" if own else f"s.owner = '' AND {hidden} AND ? IS NOT NULL"
    rows = await db.fetch_all(
        f"SELECT {_COLUMNS} FROM contents k JOIN assets a ON a.content_id = k.id {_JOINS}"
        f" WHERE k.hash = ? AND {condition} ORDER BY a.id",
        (digest, owner),
    )
    return await _complete(db, [_asset(row) for row in rows])


async def _complete(db: Database | Transaction, found: list[Asset]) -> list[Asset]:
    """Add rare members: the location of a reference, which is another asset's file, sidecars, and previews."""
    if any(asset.origin == REFERENCE for asset in found):
        places = await stand_ins(db, [a.hash for a in found if a.origin == REFERENCE and a.hash])
        found = [
            replace(a, location=places.get(a.hash)) if a.origin == REFERENCE and a.hash and a.location is None else a
            for a in found
        ]
    models = [a.row_id for a in found if a.location is not None and a.location.kind == "models"]
    if models:
        found = _with_sidecars(found, await sidecars.of_models(db, models))
    if any(asset.preview_id for asset in found):
        previews = await _previews(db, [a.preview_id for a in found if a.preview_id])
        found = [replace(a, preview=previews.get(a.preview_id)) if a.preview_id else a for a in found]
    return found


def _with_sidecars(found: list[Asset], sidecars_of: dict[int, list[Sidecar]]) -> list[Asset]:
    """Add the facts of sidecars to those of their models, and the first picture as the preview if none is chosen."""
    return [_with_own_sidecars(a, sidecars_of[a.row_id]) if a.row_id in sidecars_of else a for a in found]


def _with_own_sidecars(asset: Asset, own: list[Sidecar]) -> Asset:
    metadata = asset.metadata
    if metadata is not None:
        descriptions = [each.metadata for each in own if not each.is_picture and each.metadata is not None]
        metadata = sidecars.merged(metadata, descriptions, [(each.id, each.name) for each in own])
    picture = next((each.id for each in own if each.is_picture), None)
    return replace(asset, metadata=metadata, preview_id=asset.preview_id or picture)


async def _previews(db: Database | Transaction, ids: Sequence[str]) -> dict[str, Preview]:
    """Return the files of previews by id. A reference shows another asset's file; a deleted asset shows none."""
    rows = await db.fetch_all(
        "SELECT a.uuid, a.mime_type, c.hash, c.metadata, c.thumbnail_failure,"
        f" {LOCATION.sql} FROM assets a JOIN tag_sets s ON s.id = a.tag_set_id"
        " LEFT JOIN contents c ON c.id = a.content_id LEFT JOIN files f ON f.id = a.id"
        " LEFT JOIN folders d ON d.id = f.folder_id"
        f" WHERE a.uuid IN (SELECT value FROM json_each(?)) AND NOT s.hidden & {tags.DELETED}",
        (json_array(ids),),
    )
    places = await stand_ins(db, list({row[2] for row in rows if row[2] is not None and row[5] is None}))
    found: dict[str, Preview] = {}
    for uuid, mime_type, digest, metadata, failure, *where in rows:
        location = location_of(where) if where[0] is not None else places.get(digest)
        if location is not None:
            found[uuid] = Preview(mime_type, digest, metadata, failure, location)
    return found


async def has_name(tx: Transaction, name: str, owner: str) -> bool:
    """Return whether the owner can see an asset of this name."""
    rows = await tx.fetch_all(
        "SELECT 1 FROM assets a JOIN tag_sets s ON s.id = a.tag_set_id"
        f" WHERE a.name_key = ? AND a.name = ? AND {tags.VISIBLE} LIMIT 1",
        (name.casefold(), name, owner),
    )
    return bool(rows)


async def count(db: Database) -> int:
    """Return the number of assets of all owners, without deleted ones."""
    row = await db.fetch_one("SELECT coalesce(sum(asset_count), 0) FROM tag_sets WHERE hidden = 0")
    return int(row[0]) if row else 0


async def newest_row(db: Database) -> int:
    """Return the highest row id of an asset, or 0."""
    row = await db.fetch_one("SELECT coalesce(max(id), 0) FROM assets")
    return int(row[0]) if row else 0


async def bytes_of_user(db: Database, owner: str) -> int:
    """Return the bytes of a user's uploads and outputs, those in the trash and downloads that run included.

    Assets that refer to content have no file of their own, and files that are missing take no space.
    """
    rows = await db.fetch_all(
        "SELECT coalesce(sum(a.size), 0) FROM tag_sets s JOIN assets a ON a.tag_set_id = s.id"
        " LEFT JOIN files f ON f.id = a.id LEFT JOIN trash t ON t.asset_id = a.id"
        f" WHERE s.owner = ?1 AND a.origin <> {REFERENCE}"
        " AND (t.stored IS NOT NULL OR f.missing = 0)"  # the file of a deleted asset may have stayed in its place
        " UNION ALL SELECT coalesce(sum(json_extract(source, '$.size')), 0) FROM downloads"
        " WHERE owner = ?1 AND is_active = 1",
        (owner,),
    )
    return sum(int(row[0]) for row in rows)


@dataclass(frozen=True)
class DrawableContent:
    """A content that may have a thumbnail. ``has_picture``: the file contains a picture of itself."""

    hash: bytes
    mime_type: str
    has_picture: bool


async def newest_contents(db: Database, count: int, version: str) -> list[DrawableContent]:
    """Return the contents of the assets that were created last, at most ``count``, the newest first.

    Hidden assets, contents without a hash, and those of which decoders of this version can make no thumbnail are left
    out.
    """
    rows = await db.fetch_all(
        "SELECT c.hash, a.mime_type, instr(c.metadata, '\"has_picture\":true') > 0"
        " FROM assets a JOIN tag_sets s ON s.id = a.tag_set_id JOIN contents c ON c.id = a.content_id"
        " WHERE s.hidden = 0 AND s.missing = 0 AND c.hash IS NOT NULL AND c.thumbnail_failure IS NOT ?"
        " ORDER BY a.created_at DESC, a.id DESC LIMIT ?",
        (version, count),
    )
    return [DrawableContent(digest, mime_type, bool(has_picture)) for digest, mime_type, has_picture in rows]


async def are_first(db: Database, after: int, head: int) -> bool:
    """Return whether the assets above a row id are the latest by creation, or at least among the ``head`` latest."""
    row = await db.fetch_one(
        "WITH oldest AS (SELECT min(created_at) AS at FROM assets WHERE id > ?1) SELECT"
        " NOT EXISTS (SELECT 1 FROM assets WHERE created_at >= (SELECT at FROM oldest) AND id <= ?1)"
        " OR (SELECT count(*) FROM (SELECT 1 FROM assets WHERE created_at >= (SELECT at FROM oldest) LIMIT ?2 + 1))"
        " <= ?2",
        (after, head),
    )
    return row is not None and bool(row[0])


async def models_above(db: Database, after: int) -> bool:
    """Return whether an asset above a row id is a model."""
    row = await db.fetch_one(
        "SELECT EXISTS (SELECT 1 FROM assets a JOIN tag_set_tags l ON l.tag_set_id = a.tag_set_id"
        " WHERE a.id > ? AND l.tag_id = (SELECT id FROM tags WHERE name = 'models'))",
        (after,),
    )
    return row is not None and bool(row[0])


async def record_access(tx: Transaction, times: dict[int, int]) -> None:
    """Set the last access time (ms) of assets by row id. A later time that is stored stays."""
    await tx.execute_many(
        "UPDATE assets SET last_access_at = ?2 WHERE id = ?1 AND coalesce(last_access_at, 0) < ?2",
        list(times.items()),
    )


def _asset(row: Row) -> Asset:
    fields = [*row[: len(_FIELDS)]]
    missing, user, *where = row[len(_FIELDS) :]
    if missing or user is not None:  # few assets: decoding and sorting would cost more than all else here
        fields[_TAGS_AT] = tags.combined(fields[_TAGS_AT], user, missing=bool(missing))
    fields.append(location_of(where) if where[0] is not None else None)
    return Asset(*fields)


async def set_jobs(tx: Transaction, jobs: Sequence[tuple[int, str]]) -> None:
    """Set the jobs that made files: pairs of row id and job id."""
    await tx.execute_many("UPDATE assets SET job_id = ?2 WHERE id = ?1", jobs)


@dataclass(frozen=True)
class NewAsset:
    """A new asset. ``uuid`` is canonical, times are in ms, ``user_metadata`` is a JSON object or None."""

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
    is_preview: bool = False


@dataclass(frozen=True)
class AssetFile:
    """The file of an asset. ``categories`` (a JSON array) claimed its folder in the last scan."""

    folder: str
    name: str
    missing: bool
    categories: str
    content_id: int | None


async def add(tx: Transaction, entry: NewAsset, size: int, facts: Facts | None) -> int:
    """Add an asset without a file; return its row id."""
    place, user = tags.split(entry.tags)
    set_id = await tags.intern(tx, entry.owner, place, hidden=tags.PREVIEW if entry.is_preview else 0)
    content_id = await contents.put(tx, facts) if facts is not None else None
    preview = "SELECT id FROM assets WHERE uuid = ?"
    values = {
        "uuid": entry.uuid,
        "tag_set_id": set_id,
        "content_id": content_id,
        "name": entry.name,
        "name_key": entry.name.casefold(),
        "mime_type": entry.mime_type,
        "size": size,
        "created_at": entry.created_at,
        "updated_at": entry.created_at,
        "user_metadata": entry.user_metadata,
        "origin": entry.origin,
        "job_id": entry.job_id,
        "preview_id": await tx.fetch_value(preview, (entry.preview_uuid,)) if entry.preview_uuid is not None else None,
    }
    await tx.execute(*insert_into("assets", values))
    row_id = int(await tx.fetch_value("SELECT last_insert_rowid()"))
    await tags.retag(tx, [row_id], add=user)
    return row_id


async def put_file(tx: Transaction, row_id: int, folder: FolderRow, name: str, stat: FileStat) -> None:
    """Add the file of an asset. It is read later if the asset's content is not known."""
    folder_id = (await files.add_folders(tx, [folder]))[folder.path]
    await tx.execute(
        "INSERT INTO files (id, folder_id, name, size, mtime_ns, inode, state)"
        f" SELECT id, ?2, ?3, ?4, ?5, ?6, CASE WHEN content_id IS NULL THEN {NEW} ELSE {HASHED} END"
        " FROM assets WHERE id = ?1",
        (row_id, folder_id, name, *stat),
    )
    if folder.kind == "models":
        await sidecars.link_folder(tx, folder_id)


async def file_of(tx: Transaction, row_id: int) -> AssetFile | None:
    """Return the asset's own file, or None."""
    rows = await tx.fetch_all(
        "SELECT d.path, f.name, f.missing, d.categories, a.content_id FROM files f"
        " JOIN folders d ON d.id = f.folder_id JOIN assets a ON a.id = f.id WHERE f.id = ?",
        (row_id,),
    )
    return AssetFile(rows[0][0], rows[0][1], bool(rows[0][2]), rows[0][3], rows[0][4]) if rows else None


async def edit(tx: Transaction, row_id: int, change: AssetEdit, now: int) -> None:
    """Change an asset at ``now`` (ms). Members that are None stay as they are."""
    values = {**asdict(change), "name_key": change.name.casefold() if change.name is not None else None}
    preview_id = values.pop("preview_id")  # stored as the row of the asset
    changes = "".join(f"{name} = coalesce(?, {name}), " for name in values)
    await tx.execute(
        f"UPDATE assets SET {changes} preview_id = coalesce((SELECT id FROM assets WHERE uuid = ?), preview_id),"
        " updated_at = ? WHERE id = ?",
        (*values.values(), preview_id, now, row_id),
    )


async def touch(tx: Transaction, row_id: int, now: int) -> None:
    """Set the time (ms) of an asset's last change."""
    await tx.execute("UPDATE assets SET updated_at = ? WHERE id = ?", (now, row_id))


@dataclass(frozen=True)
class IdHolder:
    """The asset that has an id, of any owner."""

    row_id: int
    owner: str
    deleted: bool


async def holder_of(tx: Transaction, uuid: str) -> IdHolder | None:
    """Return the asset that has this id, or None."""
    rows = await tx.fetch_all(
        "SELECT a.id, s.owner, s.hidden FROM assets a JOIN tag_sets s ON s.id = a.tag_set_id WHERE a.uuid = ?", (uuid,)
    )
    return IdHolder(rows[0][0], rows[0][1], bool(rows[0][2] & tags.DELETED)) if rows else None


async def change_id(tx: Transaction, row_id: int, uuid: str) -> None:
    """Give an asset another id."""
    await tx.execute("UPDATE assets SET uuid = ? WHERE id = ?", (uuid, row_id))


class AliasedFile(NamedTuple):
    """A file by its folder and name, and its alias: the id (a canonical UUID) that the server gave to it."""

    alias: str
    folder: str
    name: str


# An id of our own is never an alias. The server gives a file that replaces another at its path the same id, so the
# alias moves on to the new asset, but never from one user's asset to another's.
_ADD_ALIAS = """
    INSERT INTO asset_aliases (alias, asset_id)
    SELECT ?1, f.id FROM folders d JOIN files f ON f.folder_id = d.id AND f.name = ?3
    WHERE d.path = ?2 AND NOT EXISTS (SELECT 1 FROM assets WHERE uuid = ?1)
    ON CONFLICT (alias) DO UPDATE SET asset_id = excluded.asset_id WHERE EXISTS (
        SELECT 1 FROM assets a JOIN tag_sets s ON s.id = a.tag_set_id,
        assets b JOIN tag_sets t ON t.id = b.tag_set_id
        WHERE a.id = asset_aliases.asset_id AND b.id = excluded.asset_id AND s.owner IN ('', t.owner)
    )
"""


async def add_aliases(tx: Transaction, found: Sequence[AliasedFile]) -> None:
    """Store the aliases of files. Files without an asset are skipped."""
    await tx.execute_many(_ADD_ALIAS, found)


async def unknown_ids(db: Database, ids: Collection[str]) -> list[str]:
    """Return those of the ids that no asset has, not even as an alias. Deleted assets and those of all owners count."""
    rows = await db.fetch_all(
        "SELECT j.value FROM json_each(?) j WHERE NOT EXISTS (SELECT 1 FROM assets WHERE uuid = j.value)"
        " AND NOT EXISTS (SELECT 1 FROM asset_aliases WHERE alias = j.value)",
        (json_array(ids),),
    )
    return [row[0] for row in rows]
