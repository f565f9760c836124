"""The tree of folders that assets lie in."""

from __future__ import annotations

from typing import Annotated

import msgspec

from ..comfy_assets.assets.fields import folder_path
from ..comfy_assets.errors import (
    CollectionNotFoundError,
    InvalidCursorError,
    InvalidTagFilterError,
    SearchNotReadyError,
    SearchUnavailableError,
)
from ..comfy_assets.models import CursorKey, FolderCount, FolderTreeRequest
from .asset_filters import AssetQuery, asset_filter
from .context import RequestContext, endpoint
from .operations import Operation, Response, Route
from .params import After, Text, decode_cursor, doc, encode_cursor

_SORT, _ORDER = "path", "asc"  # as cursors name it
_MAX_DEPTH = 1000  # no file system has paths with more parts that are found by their names


class ListFolders(AssetQuery, frozen=True, kw_only=True):
    """Query of listAssetFolders."""

    prefix: Annotated[
        Text, doc("Only this folder and those in it, named from its root: `output/2026-01`, `models/loras/style`.")
    ] = ""
    depth: Annotated[
        Annotated[int, msgspec.Meta(ge=0, le=_MAX_DEPTH)] | None,
        doc("How many levels below `prefix`, or of the whole tree: 1 lists the roots. All if omitted."),
    ] = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000), doc("Maximum number of entries on a page.")] = 500
    after: After | None = None


class FolderBody(msgspec.Struct):
    """A folder of the library, by its path from the root on."""

    path: Annotated[str, doc("The path: `models/loras/style`. As `folder` it selects the folder's assets.")]
    name: Annotated[str, doc("The last part of the path.")]
    asset_count: Annotated[int, doc("Number of assets in the folder itself.")]
    total_count: Annotated[int, doc("Number of assets in the folder and in all folders in it.")]
    has_folders: Annotated[bool, doc("Whether folders in it have any of these assets.")]


class ListFoldersResponse(msgspec.Struct, omit_defaults=True):
    """A page of the tree of folders."""

    folders: Annotated[
        list[FolderBody], doc("The folders that have such assets, each before those in it, else by their names.")
    ]
    has_more: Annotated[bool, doc("Whether another page follows.")]
    next_cursor: Annotated[str | None, doc("The `after` of the next page; omitted on the last page.")] = None


@endpoint(query=ListFolders)
async def list_folders(call: RequestContext[ListFolders]) -> ListFoldersResponse:
    """Return a page of the tree of folders with the numbers of assets in them (listAssetFolders, an extension)."""
    query = call.query
    wanted = asset_filter(query, call.user)
    request = FolderTreeRequest(
        folder_path(query.prefix, "prefix") if query.prefix else "", query.depth, query.limit, _after(query)
    )
    await call.services.outputs_recorded()
    folders, has_more = await call.services.assets.folders(wanted, request)
    cursor = encode_cursor(CursorKey(folders[-1].path, 0), _SORT, _ORDER) if has_more else None
    return ListFoldersResponse([_folder_body(folder) for folder in folders], has_more, cursor)


def _after(query: ListFolders) -> str | None:
    return str(decode_cursor(query.after, _SORT, _ORDER).value) if query.after is not None else None


def _folder_body(folder: FolderCount) -> FolderBody:
    name = folder.path.rpartition("/")[2]
    return FolderBody(folder.path, name, folder.direct, folder.total, folder.total > folder.direct)


ROUTES = [
    Route(
        "GET",
        "/api/assets/folders",
        list_folders,
        Operation(
            "listAssetFolders",
            "Assets",
            "List the folders of the library",
            {200: Response("The page.", ListFoldersResponse)},
            errors=(
                CollectionNotFoundError,
                InvalidCursorError,
                InvalidTagFilterError,
                SearchUnavailableError,
                SearchNotReadyError,
            ),
        ),
    ),
]
