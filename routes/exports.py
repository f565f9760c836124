"""Exports: archives of several assets, and their download."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from aiohttp import hdrs, web
from msgspec import UNSET, UnsetType

from ..comfy_assets.assets.export_selection import MAX_FILES, ExportSelection, NamingStrategy
from ..comfy_assets.errors import (
    CollectionNotFoundError,
    ExportNotFoundError,
    InvalidBodyError,
    InvalidTagFilterError,
    SearchNotReadyError,
    SearchUnavailableError,
    SelectionTooLargeError,
    TooManyExportsError,
)
from ..comfy_assets.ids import canonical_id
from ..comfy_assets.models import TaskState
from .batches import SelectionFilter, selection_filter
from .context import NoQuery, RequestContext, endpoint, json_response, utc_time
from .file_response import content_response
from .operations import BINARY, Operation, RequestBody, Response, Route
from .params import Id, Text, doc, parse_body

_MOST_IDS = 10_000
_ARCHIVE = "application/zip"
_IdList = Annotated[list[Id], msgspec.Meta(max_length=_MOST_IDS)]
_Names = Annotated[list[Text], msgspec.Meta(min_length=1, max_length=_MOST_IDS)]


class CreateAssetExportRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Body of createAssetExport: assets, jobs for their outputs, a collection, a search, or several of these."""

    asset_ids: Annotated[_IdList, doc("Ids of assets.")] = []
    job_ids: Annotated[_IdList, doc("Ids of jobs, for all their outputs.")] = []
    collection_id: Annotated[Id | UnsetType, doc("A collection, for all its assets.")] = UNSET
    filter: Annotated[
        SelectionFilter | UnsetType,
        doc(f"A search, such as a folder, for all assets that pass these filters now, up to {MAX_FILES:,}."),
    ] = UNSET
    naming_strategy: Annotated[
        NamingStrategy,
        doc(
            "Names in the archive: `preserve` keeps the folders and names of the library, `asset_id` has the ids of "
            "the assets, the others have a folder for each job, named by its id or its time (UTC)."
        ),
    ] = "group_by_job_time"
    job_asset_name_filters: Annotated[
        dict[Id, _Names],
        msgspec.Meta(max_length=_MOST_IDS),
        doc("For some of the jobs, the names, paths or hashes of the only outputs to export."),
    ] = {}
    include_previews: Annotated[bool, doc("Whether to include the temporary files that the jobs showed.")] = False
    announce: Annotated[
        bool,
        doc(
            "Whether to send pages the event `asset_export` (an extension). Each open page of ComfyUI downloads every "
            "export that it announces."
        ),
    ] = True


class AssetExportResponse(msgspec.Struct, kw_only=True):
    """A task that was started."""

    task_id: Annotated[str, doc("The task, see getTask. Its result has the `export_name`.", format="uuid")]
    status: Annotated[TaskState, doc("State of the task.")]
    message: Annotated[str, doc("A sentence for people.")]


class ExportDownloadResponse(msgspec.Struct, kw_only=True):
    """The place of an archive."""

    url: Annotated[
        str, doc("URL of the archive, relative to the server's root. It needs no user.", format="uri-reference")
    ]
    expires_at: Annotated[datetime, doc("Time at which the archive is removed.")]


class ExportContentQuery(msgspec.Struct, frozen=True):
    """Query of downloadExportContent."""

    token: Annotated[Id, doc("The token in the URL of downloadExport; without it, only the owner has access.")] = ""


@endpoint()
async def create_export(call: RequestContext[NoQuery]) -> web.Response:
    """Start an export (createAssetExport)."""
    body = await parse_body(CreateAssetExportRequest, call.request)
    members: list[str] = []
    if body.collection_id is not UNSET:
        members += await call.services.collections.asset_ids(body.collection_id, call.user, MAX_FILES + 1)
    if body.filter is not UNSET:
        members += await call.services.assets.ids(selection_filter(body.filter, call.user), MAX_FILES)
    selection = await asyncio.to_thread(_selection, body, members)  # thousands of ids may have to be parsed
    task = await call.services.exports.start(selection, call.user)
    message = "The export has started; its task reports the progress."
    return json_response(AssetExportResponse(task_id=str(task.id), status="created", message=message), 202)


def _selection(body: CreateAssetExportRequest, members: Sequence[str]) -> ExportSelection:
    if not body.asset_ids and not body.job_ids and not members:
        if body.collection_id is not UNSET:
            raise InvalidBodyError("The collection has no assets.", details={"field": "collection_id"})
        if body.filter is not UNSET:
            raise InvalidBodyError("No asset passes the filter.", details={"field": "filter"})
        raise InvalidBodyError("Give asset_ids, job_ids, collection_id or filter.", details={"field": "asset_ids"})
    wrong = [asset_id for asset_id in body.asset_ids if canonical_id(asset_id) is None]
    if wrong:
        details = {"field": "asset_ids", "ids": wrong[:100]}
        raise InvalidBodyError("asset_ids must be UUIDs.", details=details)
    return ExportSelection(
        asset_ids=tuple(dict.fromkeys([*(_spelled(asset_id) for asset_id in body.asset_ids), *members])),
        job_ids=tuple(dict.fromkeys(_spelled(job_id) for job_id in body.job_ids)),
        naming_strategy=body.naming_strategy,
        job_asset_name_filters={
            _spelled(job_id): tuple(sorted(set(names))) for job_id, names in body.job_asset_name_filters.items()
        },
        include_previews=body.include_previews,
        announce=body.announce,
    )


def _spelled(text: str) -> str:
    """Return an id as it is stored. Older servers let clients choose any text as the id of a job."""
    return canonical_id(text) or text


@endpoint()
async def get_export(call: RequestContext[NoQuery]) -> ExportDownloadResponse | web.StreamResponse:
    """Return where an archive can be downloaded (downloadExport), or the archive itself if the request says so."""
    name = call.path["export_name"]
    if _wants_content(call.request):
        return _response(await call.services.exports.content(name, owner=call.user), name)
    archive = await call.services.exports.find(name, call.user)
    url = f"/api/assets/exports/{name}/content?token={quote(archive.token, safe='')}"
    return ExportDownloadResponse(url=url, expires_at=utc_time(archive.expires_at))


def _wants_content(request: web.Request) -> bool:
    """Return whether a request asks for a file, rather than for JSON as pages do."""
    return hdrs.RANGE in request.headers or _ARCHIVE in request.headers.get(hdrs.ACCEPT, "").lower()


@endpoint(query=ExportContentQuery, allow_anonymous=True)
async def get_content(call: RequestContext[ExportContentQuery]) -> web.StreamResponse:
    """Return an archive, whole or a range of it (downloadExportContent, an extension)."""
    name = call.path["export_name"]
    path = await call.services.exports.content(name, owner=call.user, token=call.query.token)
    return _response(path, name)


def _response(path: Any, name: str) -> web.StreamResponse:
    response = content_response(path, name, _ARCHIVE, is_inline=False)
    response.headers[hdrs.CONTENT_TYPE] = _ARCHIVE
    return response


_EXPORT_NAME = {"export_name": {"description": "Name of the archive.", "pattern": "^[a-zA-Z0-9_-]+\\.zip$"}}
_CONDITIONAL = {
    304: Response("The client's copy is up to date."),
    412: Response("A condition of the request is not met."),
    416: Response("The requested range does not exist."),
}

_EXPORT = "/api/assets/exports/{export_name}"
# A newer server has exports of its own.
_SHARED = (ExportNotFoundError,)
ROUTES = [
    Route(
        "POST",
        "/api/assets/export",
        create_export,
        Operation(
            "createAssetExport",
            "Assets",
            "Export several assets as an archive",
            {202: Response("The export has started, or runs already.", AssetExportResponse)},
            "The archive is a zip file. The task's result names it, and the assets that are not in it. Pages get the "
            "event `asset_export` meanwhile, unless `announce` is false.",
            body=RequestBody(
                CreateAssetExportRequest,
                example={"asset_ids": ["0b6a5ad4-0f0c-4c57-9b35-7c0c5f1d2a11"], "naming_strategy": "preserve"},
            ),
            errors=(
                InvalidTagFilterError,
                SelectionTooLargeError,
                CollectionNotFoundError,
                TooManyExportsError,
                SearchUnavailableError,
                SearchNotReadyError,
            ),
        ),
    ),
    Route(
        "GET",
        _EXPORT,
        get_export,
        Operation(
            "downloadExport",
            "Assets",
            "Get the URL of an exported archive",
            {
                200: Response("The URL.", ExportDownloadResponse),
                206: Response("A part of the archive, for a request with `Range`.", BINARY, _ARCHIVE),
                **_CONDITIONAL,
            },
            "Only the owner gets it. A request with `Range` or `Accept: application/zip` gets the archive itself.",
            parameters=_EXPORT_NAME,
            errors=(ExportNotFoundError,),
        ),
        shared=_SHARED,
    ),
    Route(
        "GET",
        f"{_EXPORT}/content",
        get_content,
        Operation(
            "downloadExportContent",
            "Assets",
            "Download an exported archive",
            {
                200: Response("The archive.", BINARY, _ARCHIVE),
                206: Response("The part that the request's `Range` selects.", BINARY, _ARCHIVE),
                **_CONDITIONAL,
            },
            "Archives are removed after a day.",
            parameters=_EXPORT_NAME,
            errors=(ExportNotFoundError,),
        ),
        shared=_SHARED,
    ),
]
