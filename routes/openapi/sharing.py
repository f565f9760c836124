"""Published workflows in words."""

from __future__ import annotations

from ...comfy_assets.errors import AssetNotFoundError, WorkflowNotFoundError
from .operation import Answer, Body, Operation
from .shapes import Record, array, flag, mapping, members, nullable, text, time

_INFO = Record(
    "AssetInfo",
    "An asset that a published workflow needs.",
    {
        "id": text("The asset's id in the share."),
        "name": text("Its name."),
        "preview_url": text("Where a preview is, from the server's root; empty where there is none."),
        "storage_url": text("Where its content is, from the server's root; empty where it cannot be fetched."),
        "model": flag("Whether it is a model."),
        "public": flag("Whether it belongs to no user."),
        "in_library": flag("Whether the caller has its content."),
    },
)
_PUBLISHED = Record(
    "WorkflowPublishInfo",
    "How a workflow is published.",
    {
        "workflow_id": text("The workflow's id."),
        "share_id": text("The id it is published under; empty if it never was."),
        "publish_time": nullable(time("When it was last published; null if it never was.")),
        "listed": flag("Whether others find it without its id."),
        "assets": array(_INFO, "What was published with it."),
    },
    optional=("publish_time",),
)
_SHARE = Record(
    "PublishedWorkflowDetail",
    "A published workflow.",
    {
        "share_id": text("The id it is published under."),
        "workflow_id": text("The workflow's id."),
        "name": text("Its name."),
        "listed": flag("Whether others find it without its id."),
        "publish_time": nullable(time("When it was last published.")),
        "workflow_json": mapping(True, "The workflow as it was when it was published."),
        "assets": array(_INFO, "What it needs, as judged for the caller."),
    },
    optional=("publish_time",),
)
_PUBLISH = Record(
    "PublishWorkflowAssetsRequest",
    "What to publish with a workflow.",
    {"asset_ids": array({"type": "string"}, "Ids of assets of the library.")},
)
_IMPORT = members(
    {"published_asset_ids": array({"type": "string"}, "Which of the share's assets.")},
    share_id=text("The share they belong to."),
)

_FILE = {"file": "The workflow's path among the user's files, such as `workflows/portrait.json`, percent-encoded."}

OPERATIONS = [
    Operation(
        "getUserdataFilePublish",
        "Sharing",
        "How a workflow of the user's files is published",
        {200: Answer("Whether and how.", _PUBLISHED)},
        parameters=_FILE,
        errors=(WorkflowNotFoundError,),
    ),
    Operation(
        "postUserdataFilePublish",
        "Sharing",
        "Publish a workflow of the user's files",
        {200: Answer("How it is published now.", _PUBLISHED)},
        "What is published never changes; publishing again replaces it under the same id.",
        parameters=_FILE,
        body=Body(_PUBLISH, example={"asset_ids": []}),
        errors=(WorkflowNotFoundError, AssetNotFoundError),
    ),
    Operation(
        "getPublishedWorkflow",
        "Sharing",
        "A published workflow",
        {200: Answer("The workflow, and what it needs.", _SHARE)},
        parameters={"share_id": "The id it is published under."},
        errors=(WorkflowNotFoundError,),
    ),
    Operation(
        "importPublishedAssets",
        "Sharing",
        "Take over what a published workflow needs",
        {200: Answer("What became of each.", mapping())},
        body=Body(_IMPORT),
        errors=(WorkflowNotFoundError, AssetNotFoundError),
    ),
]
