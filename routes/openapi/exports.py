"""Descriptions of the operations on exports."""

from __future__ import annotations

from ...comfy_assets.errors import ExportNotFoundError, TooManyExportsError
from ..exports import AssetExportResponse, CreateAssetExportRequest, ExportDownloadResponse
from ..operations import BINARY, Operation, RequestBody, Response

_ARCHIVE = "application/zip"
_NAME = {"export_name": {"description": "Name of the archive.", "pattern": "^[a-zA-Z0-9_-]+\\.zip$"}}

_CONDITIONAL = {
    304: Response("The client's copy is up to date."),
    412: Response("A condition of the request is not met."),
    416: Response("The requested range does not exist."),
}

OPERATIONS = [
    Operation(
        "createAssetExport",
        "Assets",
        "Export several assets as an archive",
        {202: Response("The export has started, or runs already.", AssetExportResponse)},
        "The archive is a zip file. The task's result names it, and the assets that are not in it. Pages get the event "
        "`asset_export` meanwhile.",
        body=RequestBody(
            CreateAssetExportRequest,
            example={"asset_ids": ["0b6a5ad4-0f0c-4c57-9b35-7c0c5f1d2a11"], "naming_strategy": "preserve"},
        ),
        errors=(TooManyExportsError,),
    ),
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
        parameters=_NAME,
        errors=(ExportNotFoundError,),
    ),
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
        parameters=_NAME,
        errors=(ExportNotFoundError,),
    ),
]
