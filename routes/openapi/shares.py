"""Published workflows in words."""

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
from ..shares import AssetInfo, ImportBody, PublishBody, PublishedBody, PublishInfo
from .operation import Answer, Body, Operation
from .schema import BINARY, Record, Words, array

_ASSET = Words(
    AssetInfo,
    "AssetInfo",
    "An asset that a published workflow needs, or what became of it in the library.",
    {
        "id": "Its id in the share, or in the library.",
        "name": "Its name.",
        "preview_url": "Where a preview is, from the server's root; empty where there is none.",
        "storage_url": "Where its bytes are, from the server's root.",
        "model": "Whether it is a model.",
        "public": "Whether a platform provides it: never here.",
        "in_library": "Whether the caller has its content.",
    },
)
_WORDS = {
    "share_id": "The id it is published under; empty if it is not.",
    "workflow_id": "The workflow's id.",
    "listed": "Whether others find it without its id.",
    "publish_time": "When it was last published; null if it is not.",
    "assets": "What was published with it, as judged for the caller.",
}
_INFO = Words(PublishInfo, "WorkflowPublishInfo", "How a workflow is published.", _WORDS)
_SHARE = Words(
    PublishedBody,
    "PublishedWorkflowDetail",
    "A published workflow.",
    {
        **_WORDS,
        "name": "Its name.",
        "workflow_json": {
            "description": "The workflow as it was when it was published.",
            "type": "object",
            "additionalProperties": True,
        },
    },
)
_PUBLISH = Words(
    PublishBody,
    "PublishWorkflowAssetsRequest",
    "What to publish with a workflow.",
    {"asset_ids": "Assets of the library."},
)
_IMPORT = Words(
    ImportBody,
    "ImportPublishedAssetsRequest",
    "What to take over.",
    {"published_asset_ids": "Ids of assets in the share.", "share_id": "The share."},
)
WORDS = [_ASSET, _INFO, _SHARE, _PUBLISH, _IMPORT]

_IMPORTED = Record(
    "ImportPublishedAssetsResponse", "What was taken over.", {"assets": array(AssetInfo, "The assets of the library.")}
)

_FILE = {"file": "The workflow's path among the user's files, such as `workflows%2Fportrait.json`."}
_ID = {"share_id": "The id it is published under."}
_OF_USER = (WorkflowNotFoundError, WorkflowForbiddenError)

OPERATIONS = [
    Operation(
        "getUserdataFilePublish",
        "Sharing",
        "How a workflow of the user's files is published",
        {200: Answer("Whether and how.", PublishInfo)},
        parameters=_FILE,
        errors=_OF_USER,
    ),
    Operation(
        "postUserdataFilePublish",
        "Sharing",
        "Publish a workflow of the user's files",
        {200: Answer("How it is published now.", PublishInfo)},
        "What is published never changes; publishing again puts another in its place, under the same id.",
        parameters=_FILE,
        body=Body(PublishBody, example={"asset_ids": []}),
        errors=(*_OF_USER, UnknownAssetsError, UnshareableAssetsError),
    ),
    Operation(
        "deleteUserdataFilePublish",
        "Sharing",
        "Take back what is published of a workflow",
        {204: Answer("It is not published any more.")},
        parameters=_FILE,
        errors=(*_OF_USER, ShareNotFoundError),
    ),
    Operation(
        "getPublishedWorkflow",
        "Sharing",
        "A published workflow",
        {200: Answer("The workflow, and what it needs.", PublishedBody)},
        parameters=_ID,
        errors=(ShareNotFoundError, PublishedTooLargeError),
    ),
    Operation(
        "getPublishedAssetContent",
        "Sharing",
        "The bytes of an asset of a share, or a thumbnail",
        {
            200: Answer("The bytes; with `res` a JPEG.", BINARY, "*/*"),
            206: Answer("The part that the request's `Range` names.", BINARY, "*/*"),
            304: Answer("What the client holds is still the same."),
            412: Answer("It is not what the request's conditions want."),
            416: Answer("There is no such part."),
        },
        "For whoever knows the share's id.",
        parameters={
            **_ID,
            "asset_id": "The asset's id in the share.",
            "disposition": "Whether browsers save it or show it; what may hold scripts is never shown.",
            "res": "The longer side of a thumbnail.",
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
        "importPublishedAssets",
        "Sharing",
        "Take over what a published workflow needs",
        {200: Answer("The assets, as they are in the library now.", _IMPORTED)},
        "Content that the user has already is not stored twice.",
        body=Body(ImportBody),
        errors=(ShareNotFoundError, UnknownAssetsError, AssetContentMissingError),
    ),
]
