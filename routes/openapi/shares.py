"""Descriptions of the operations on published workflows."""

from __future__ import annotations

from ...comfy_assets.errors import (
    AssetContentMissingError,
    AssetNotFoundError,
    ImageTooLargeError,
    ImageUnreadableError,
    NoThumbnailError,
    PublishedTooLargeError,
    ShareNotFoundError,
    UnknownAssetsError,
    UnshareableAssetsError,
    WorkflowForbiddenError,
    WorkflowNotFoundError,
)
from ..operations import BINARY, Operation, Record, RequestBody, Response, array
from ..shares import (
    AssetInfo,
    ImportPublishedAssetsRequest,
    PublishedWorkflowDetail,
    PublishWorkflowAssetsRequest,
    WorkflowApiAssetsRequest,
    WorkflowPublishInfo,
)

_IMPORTED = Record(
    "ImportPublishedAssetsResponse", "The imported assets.", {"assets": array(AssetInfo, "The assets of the library.")}
)

_FILE = {"file": "The workflow's path among the user's files, such as `workflows%2Fportrait.json`."}
_ID = {"share_id": "The id that it is published under."}
_OF_USER = (WorkflowNotFoundError, WorkflowForbiddenError)

OPERATIONS = [
    Operation(
        "getUserdataFilePublish",
        "Sharing",
        "Get the publication of a workflow",
        {200: Response("The publication.", WorkflowPublishInfo)},
        parameters=_FILE,
        errors=_OF_USER,
    ),
    Operation(
        "postUserdataFilePublish",
        "Sharing",
        "Publish a workflow",
        {200: Response("The publication.", WorkflowPublishInfo)},
        "A publication never changes; publishing again replaces it under the same id.",
        parameters=_FILE,
        body=RequestBody(PublishWorkflowAssetsRequest, example={"asset_ids": []}),
        errors=(*_OF_USER, UnknownAssetsError, UnshareableAssetsError),
    ),
    Operation(
        "deleteUserdataFilePublish",
        "Sharing",
        "Withdraw the publication of a workflow",
        {204: Response("It is no longer published.")},
        parameters=_FILE,
        errors=(*_OF_USER, ShareNotFoundError),
    ),
    Operation(
        "getPublishedWorkflow",
        "Sharing",
        "Get a published workflow",
        {200: Response("The workflow and its assets.", PublishedWorkflowDetail)},
        parameters=_ID,
        errors=(ShareNotFoundError, PublishedTooLargeError),
    ),
    Operation(
        "getPublishedAssetContent",
        "Sharing",
        "Get the content of a published asset, or a thumbnail",
        {
            200: Response("The content; with `res` a JPEG.", BINARY, "*/*"),
            206: Response("The part that the request's `Range` selects.", BINARY, "*/*"),
            304: Response("The client's copy is up to date."),
            412: Response("A condition of the request is not met."),
            416: Response("The requested range does not exist."),
        },
        "Knowledge of the share's id is enough: no user is needed.",
        parameters={
            **_ID,
            "asset_id": "The asset's id in the share.",
        },
        errors=(
            ShareNotFoundError,
            AssetNotFoundError,
            AssetContentMissingError,
            NoThumbnailError,
            ImageTooLargeError,
            ImageUnreadableError,
        ),
        is_open=True,
    ),
    Operation(
        "postAssetsFromWorkflow",
        "Sharing",
        "List the assets that a workflow needs",
        {200: Response("The assets of the library.", _IMPORTED)},
        "Pages ask before they publish a workflow.",
        body=RequestBody(WorkflowApiAssetsRequest),
    ),
    Operation(
        "importPublishedAssets",
        "Sharing",
        "Import the assets of a published workflow",
        {200: Response("The assets of the library.", _IMPORTED)},
        "Content that the user already has is not stored twice.",
        body=RequestBody(ImportPublishedAssetsRequest),
        errors=(ShareNotFoundError, UnknownAssetsError, AssetContentMissingError),
    ),
]
