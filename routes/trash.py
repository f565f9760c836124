"""Deletion of assets, what uses them, and the trash."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from ..comfy_assets.assets.media.decoders import can_show
from ..comfy_assets.assets.media.thumbnail_service import ThumbnailRequest
from ..comfy_assets.assets.trash import RestoredAsset, TrashEntry
from ..comfy_assets.errors import (
    AssetInUseError,
    AssetNotFoundError,
    FileMissingError,
    ImageTooLargeError,
    ImageUnreadableError,
    InvalidCursorError,
    NoThumbnailError,
    StorageError,
    TrashForbiddenError,
)
from ..comfy_assets.ids import canonical_id, hash_text, now_ms
from ..comfy_assets.models import TaskState, TrashFilter
from .asset_body import AssetBody, asset_body
from .assets import ASSET_ID, by_any_id
from .context import NoQuery, RequestContext, endpoint, json_response, utc_time
from .files import held_by, thumbnail_body
from .operations import BINARY, Operation, RequestBody, Response, Route
from .params import (
    HASH,
    HASH_PATTERN,
    After,
    Id,
    Offset,
    PageLimit,
    Text,
    decode_cursor,
    doc,
    encode_cursor,
    parse_body,
)

_SORT, _ORDER = "deleted_at", "desc"  # as cursors name it
_DAY_MS = 86_400_000
_PREVIEW_RES = 512  # longer side in pixels
_MOST_IDS = 10_000
_KIND = (
    "`trashed`: its file is in the trash; `removed`: its record was removed, and its file stayed in its place; "
    "`left_out`: the same, but nothing of the record is left"
)


class DeleteAssetQuery(msgspec.Struct, frozen=True):
    """Query of deleteAsset. All of it is an extension."""

    action: Annotated[
        Literal["remove", "trash"] | None,
        doc(
            "`remove` removes the asset from the library and keeps its file, `trash` moves its file to the trash. "
            "Without it, the file of an upload moves to the trash, and any other stays."
        ),
    ] = None
    force: Annotated[bool, doc("Whether to delete it although workflows, shares or jobs of the same user use it.")] = (
        False
    )


class ListTrash(msgspec.Struct, frozen=True, kw_only=True):
    """Query of listTrash."""

    kind: Annotated[
        Literal["trashed", "removed", "left_out"] | None,
        doc(f"Only assets of this kind. {_KIND}. Without it, all but the last."),
    ] = None
    name_contains: Annotated[Text, doc("Only assets whose name contains this text; case does not matter.")] = ""
    can_delete: Annotated[bool, doc("Whether to list only those that this user can remove for good.")] = False
    limit: PageLimit = 50
    offset: Offset = 0
    after: After | None = None


class TrashThumbnailQuery(msgspec.Struct, frozen=True):
    """Query of getTrashThumbnail."""

    res: Annotated[int, msgspec.Meta(ge=64, le=1024), doc("Its longer side in pixels.")] = _PREVIEW_RES


class TrashEntryBody(msgspec.Struct, kw_only=True):
    """A deleted asset."""

    id: Annotated[str, doc("The asset's id, which it has again when it is restored.", format="uuid")]
    name: Annotated[str, doc("The asset's name.")]
    kind: Annotated[Literal["trashed", "removed", "left_out"], doc(f"{_KIND}.")]
    mime_type: Annotated[str, doc("Media type of the content.")]
    size: Annotated[int, doc("Size of the content in bytes.", format="int64")]
    deleted_at: Annotated[datetime, doc("Time of its deletion.")]
    deleted_by: Annotated[str | UnsetType, doc("The user who deleted it, if that is known.")] = UNSET
    file_path: Annotated[
        str | UnsetType, doc("The place of its file, or the one that it had: `output/b.png`. Omitted without one.")
    ] = UNSET
    is_missing: Annotated[bool, doc("Whether a file that stayed in its place is gone from there.")] = False
    hash: Annotated[str | UnsetType, doc(HASH, pattern=HASH_PATTERN)] = UNSET
    thumbnail_url: Annotated[
        str | UnsetType, doc("URL of a thumbnail, relative to the server's root.", format="uri-reference")
    ] = UNSET
    can_delete: Annotated[bool, doc("Whether this user can remove it for good.")]


class ListTrashResponse(msgspec.Struct, omit_defaults=True):
    """A page of deleted assets."""

    entries: Annotated[list[TrashEntryBody], doc("The deleted assets, the latest first.")]
    total: Annotated[int, doc("Number of deleted assets that match the filters.")]
    size: Annotated[int, doc("Bytes of their files that are in the trash.", format="int64")]
    has_more: Annotated[bool, doc("Whether another page follows.")]
    next_cursor: Annotated[str | None, doc("The `after` of the next page; omitted on the last page.")] = None


class RestoredAssetResponse(msgspec.Struct, kw_only=True):
    """A restored asset."""

    asset: Annotated[AssetBody, doc("The asset, with everything that it had.")]
    is_renamed: Annotated[
        bool, doc("Whether the file has another path than before: that was taken, or is no part of the library.")
    ]


class EmptyTrashRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Body of emptyTrash."""

    kinds: Annotated[
        tuple[Literal["trashed", "removed"], ...],
        msgspec.Meta(min_length=1, max_length=2),
        doc("The kinds to remove: assets whose files are in the trash, and those whose records were removed."),
    ] = ("trashed", "removed")
    older_than_days: Annotated[
        Annotated[int, msgspec.Meta(ge=0, le=36_500)] | None, doc("Only assets that were deleted longer ago.")
    ] = None
    ids: Annotated[
        Annotated[tuple[Id, ...], msgspec.Meta(min_length=1, max_length=_MOST_IDS)] | None,
        doc("Only deleted assets with these ids. Ids of others are ignored."),
    ] = None


class EmptyTrashResponse(msgspec.Struct, kw_only=True):
    """The task that empties the trash."""

    task_id: Annotated[
        str, doc("The task, see getTask. Its result has `total`, `done`, `freed` (bytes) and `failed`.", format="uuid")
    ]
    status: Annotated[TaskState, doc("State of the task.")]


class AssetUseBody(msgspec.Struct, omit_defaults=True):
    """A use of an asset. A use by another user has only its kind and the user."""

    kind: Annotated[
        Literal["workflow_version", "share", "job", "reference", "preview"],
        doc(
            "A saved version of a workflow, a published share, a waiting or running job, an asset whose only content "
            "is in this asset's file, or an asset that has this one as its preview."
        ),
    ]
    id: Annotated[str | None, doc("The id of what uses it.")] = None
    owner: Annotated[str | None, doc("The other user.")] = None
    name: Annotated[str | None, doc("The name of the workflow, share or asset.")] = None
    workflow_id: Annotated[str | None, doc("The workflow.", format="uuid")] = None
    version: Annotated[int | None, doc("The version of the workflow.")] = None
    is_latest: Annotated[bool | None, doc("Whether it is the latest version of the workflow.")] = None
    is_running: Annotated[bool | None, doc("Whether the job runs, rather than waits.")] = None


class AssetUsesResponse(msgspec.Struct):
    """The uses of an asset."""

    uses: Annotated[list[AssetUseBody], doc("Up to 100 uses of each kind, those of other users first.")]
    has_more: Annotated[bool, doc("Whether there are more.")]


@endpoint(query=DeleteAssetQuery)
@by_any_id
async def delete_asset(call: RequestContext[DeleteAssetQuery]) -> web.Response:
    """Delete an asset, with or without its file (deleteAsset)."""
    query = call.query
    await call.services.trash.delete(call.path["id"], call.user, query.action or "default", force=query.force)
    return web.Response(status=204)


@endpoint()
@by_any_id
async def restore_asset(call: RequestContext[NoQuery]) -> AssetBody:
    """Restore a deleted asset and return it (restoreAsset, an extension)."""
    return asset_body((await call.services.trash.restore(call.path["id"], call.user)).asset)


@endpoint()
@by_any_id
async def list_uses(call: RequestContext[NoQuery]) -> AssetUsesResponse:
    """List what uses an asset (listAssetUses, an extension)."""
    uses, has_more = await call.services.asset_uses.list(call.path["id"], call.user)
    return AssetUsesResponse([AssetUseBody(**use) for use in uses], has_more)


@endpoint(query=ListTrash)
async def list_trash(call: RequestContext[ListTrash]) -> ListTrashResponse:
    """Return a page of deleted assets, the latest first (listTrash, an extension)."""
    query = call.query
    only_own = query.can_delete and call.services.host.is_multi_user()
    wanted = TrashFilter(call.user, name=query.name_contains, only_own=only_own)
    if query.kind is not None:
        wanted = msgspec.structs.replace(wanted, kinds=(query.kind,))
    after = decode_cursor(query.after, _SORT, _ORDER) if query.after is not None else None
    page, totals = await call.services.trash.list(wanted, query.limit, after, 0 if after else query.offset)
    return ListTrashResponse(
        [_entry_body(call, entry) for entry in page.items],
        totals.assets,
        totals.size,
        page.has_more,
        encode_cursor(page.next_key, _SORT, _ORDER) if page.next_key is not None else None,
    )


def _entry_body(call: RequestContext[Any], entry: TrashEntry) -> TrashEntryBody:
    deleted = entry.deleted
    body = TrashEntryBody(
        id=deleted.id,
        name=deleted.name,
        kind=deleted.kind,
        mime_type=deleted.mime_type,
        size=deleted.size,
        deleted_at=utc_time(deleted.deleted_at),
        deleted_by=deleted.deleted_by or UNSET,
        file_path=entry.file_path or UNSET,
        is_missing=deleted.is_missing,
        hash=hash_text(deleted.hash) if deleted.hash is not None else UNSET,
        can_delete=not call.services.host.is_multi_user() or deleted.owner == call.user,
    )
    if not deleted.is_missing and deleted.folder is not None and can_show(deleted.mime_type, deleted.facts):
        body.thumbnail_url = f"/api/trash/{deleted.id}/thumbnail?res={_PREVIEW_RES}"
    return body


# Browsers send no user header with the images of a page. Anonymous, they get those of public assets.
@endpoint(query=TrashThumbnailQuery, allow_anonymous=True)
async def get_thumbnail(call: RequestContext[TrashThumbnailQuery]) -> web.Response:
    """Return a thumbnail of a deleted asset (getTrashThumbnail, an extension)."""
    deleted, path = await call.services.trash.file(call.path["id"], call.user)
    wanted = ThumbnailRequest("output", "", deleted.file_name or deleted.name, call.query.res, "flat")
    # The content that is recorded may be older than a file in its place, which other programs can change.
    content = deleted.hash if deleted.stored is not None else None
    thumbnail = await call.services.thumbnails.of_file(path, content, wanted, held_by(call.request))
    return thumbnail_body(thumbnail)


@endpoint()
async def restore_entry(call: RequestContext[NoQuery]) -> RestoredAssetResponse:
    """Restore a deleted asset; return whether its file has another name now (restoreTrashEntry, an extension)."""
    return _restored_body(await call.services.trash.restore(call.path["id"], call.user))


def _restored_body(restored: RestoredAsset) -> RestoredAssetResponse:
    return RestoredAssetResponse(asset=asset_body(restored.asset), is_renamed=restored.is_renamed)


@endpoint()
async def delete_entry(call: RequestContext[NoQuery]) -> web.Response:
    """Remove a deleted asset for good (deleteTrashEntry, an extension)."""
    await call.services.trash_purge.purge(call.path["id"], call.user)
    return web.Response(status=204)


@endpoint()
async def empty_trash(call: RequestContext[NoQuery]) -> web.Response:
    """Start to remove deleted assets for good (emptyTrash, an extension)."""
    body = await parse_body(EmptyTrashRequest, call.request)
    before = None if body.older_than_days is None else now_ms() - body.older_than_days * _DAY_MS
    ids = None if body.ids is None else tuple(filter(None, map(canonical_id, body.ids)))
    task = await call.services.trash_purge.start_emptying(TrashFilter(call.user, body.kinds, before=before, ids=ids))
    return json_response(EmptyTrashResponse(task_id=str(task.id), status="created"), 202)


_DELETED_ID = {"id": {"description": "The deleted asset's id.", "format": "uuid"}}
_THUMBNAIL_ERRORS = (FileMissingError, NoThumbnailError, ImageTooLargeError, ImageUnreadableError)
ROUTES = [
    Route(
        "DELETE",
        "/api/assets/{id}",
        delete_asset,
        Operation(
            "deleteAsset",
            "Assets",
            "Delete an asset",
            {204: Response("It is in the trash, or removed from the library, and can be restored.")},
            "Its sidecars and its own preview go with it.",
            parameters=ASSET_ID,
            errors=(AssetNotFoundError, AssetInUseError, StorageError),
        ),
    ),
    Route(
        "POST",
        "/api/assets/{id}/restore",
        restore_asset,
        Operation(
            "restoreAsset",
            "Assets",
            "Restore a deleted asset",
            {200: Response("The changed asset.", AssetBody)},
            "Its file returns to its path, or to a new name if the path is taken.",
            parameters=ASSET_ID,
            errors=(AssetNotFoundError, StorageError),
        ),
    ),
    Route(
        "GET",
        "/api/assets/{id}/uses",
        list_uses,
        Operation(
            "listAssetUses",
            "Assets",
            "List what uses an asset",
            {200: Response("The uses.", AssetUsesResponse)},
            parameters=ASSET_ID,
            errors=(AssetNotFoundError,),
        ),
    ),
    Route(
        "GET",
        "/api/trash",
        list_trash,
        Operation(
            "listTrash",
            "Trash",
            "List deleted assets",
            {200: Response("The page.", ListTrashResponse)},
            "What was deleted with an asset, such as the sidecars of a model, is no entry of its own.",
            errors=(InvalidCursorError,),
        ),
    ),
    Route(
        "POST",
        "/api/trash/empty",
        empty_trash,
        Operation(
            "emptyTrash",
            "Trash",
            "Remove deleted assets for good",
            {202: Response("The task has started, or runs already.", EmptyTrashResponse)},
            "Files that stayed in their places stay there, and stay out of the library. On a server with several "
            "users, those of the user's own assets are removed.",
            body=RequestBody(EmptyTrashRequest, example={"kinds": ["trashed"], "older_than_days": 30}),
        ),
    ),
    Route(
        "GET",
        "/api/trash/{id}/thumbnail",
        get_thumbnail,
        Operation(
            "getTrashThumbnail",
            "Trash",
            "Get a thumbnail of a deleted asset",
            {
                200: Response("A JPEG image, or an SVG file.", BINARY, "image/jpeg"),
                304: Response("The client's copy is up to date."),
            },
            parameters=_DELETED_ID,
            errors=(AssetNotFoundError, *_THUMBNAIL_ERRORS),
        ),
    ),
    Route(
        "POST",
        "/api/trash/{id}/restore",
        restore_entry,
        Operation(
            "restoreTrashEntry",
            "Trash",
            "Restore a deleted asset",
            {200: Response("The asset.", RestoredAssetResponse)},
            "Its file returns to its path, or to a numbered name beside it if the path is taken.",
            parameters=_DELETED_ID,
            errors=(AssetNotFoundError, StorageError),
        ),
    ),
    Route(
        "DELETE",
        "/api/trash/{id}",
        delete_entry,
        Operation(
            "deleteTrashEntry",
            "Trash",
            "Remove a deleted asset for good",
            {204: Response("It is gone.")},
            "A file that stayed in its place stays there, and stays out of the library.",
            parameters=_DELETED_ID,
            errors=(AssetNotFoundError, TrashForbiddenError, StorageError),
        ),
    ),
]
