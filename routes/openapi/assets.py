"""Descriptions of the operations on assets, tags and scans."""

from __future__ import annotations

from ...comfy_assets.errors import (
    AssetContentMissingError,
    AssetInUseError,
    AssetNotFoundError,
    FileTooLargeError,
    HashMismatchError,
    InvalidBodyError,
    InvalidCursorError,
    InvalidHashError,
    InvalidIdError,
    InvalidNameError,
    InvalidPreviewError,
    InvalidTagsError,
    ReservedTagError,
    SearchNotReadyError,
    SearchUnavailableError,
    StorageError,
    UnsupportedContentError,
)
from ..asset_body import AssetBody
from ..assets import ListAssetsResponse, SeedAssetsRequest, TagsRequest, UpdateAssetRequest
from ..operations import (
    BINARY,
    BYTES,
    FORM,
    Operation,
    Record,
    RequestBody,
    Response,
    array,
    boolean,
    integer,
    mapping,
    number,
    object_with,
    string,
    timestamp,
)
from ..params import HASH, HASH_PATTERN
from ..uploads import AssetCreated, CreateAssetFromHashRequest

_HISTOGRAM = Record(
    "AssetTagHistogramResponse",
    "Number of assets with each tag.",
    {"tag_counts": mapping({"type": "integer"}, "Counts by tag, the largest first.")},
)
_TAG = Record(
    "TagInfo", "A tag in use.", {"name": string("The tag."), "count": integer("Number of assets with the tag.")}
)
_TAG_LIST = Record(
    "ListTagsResponse",
    "A page of tags.",
    {
        "tags": array(_TAG, "The tags, in the requested order."),
        "total": integer("Number of tags."),
        "has_more": boolean("Whether another page follows."),
    },
)
_CHANGE = Record(
    "TagsModificationResponse",
    "The result of a change of an asset's tags.",
    {
        "total_tags": array({"type": "string"}, "All tags of the asset after the change."),
        "added": array({"type": "string"}, "Added tags."),
        "already_present": array({"type": "string"}, "Tags that the asset already had."),
        "removed": array({"type": "string"}, "Removed tags."),
        "not_present": array({"type": "string"}, "Tags that the asset did not have."),
    },
    optional=("added", "already_present", "removed", "not_present"),
)
_COUNTS = {
    "scanned": integer("Files seen."),
    "total": integer("Files to see."),
    "folders": integer("Folders seen."),
    "created": integer("New files."),
    "changed": integer("Changed files."),
    "missing": integer("Missing files."),
    "returned": integer("Files that are no longer missing."),
    "moved": integer("Files found at another path."),
    "problems": integer("Folders and files that could not be accessed."),
    "hashed": integer("Files hashed."),
    "unreadable": integer("Files that could not be read."),
    "bytes_hashed": integer("Bytes hashed."),
    "bytes_total": integer("Bytes to hash."),
    "bytes_per_second": integer("Speed of hashing."),
    "errors": array(True, "The first problems."),
    "error_message": string("Reason of the failure."),
    "started_at": timestamp("Time of its start."),
}
_PROGRESS = Record(
    "SeedStatus",
    "The progress of the latest scan and of the hash run that follows it.",
    {
        "status": string(
            "State of the scan; `idle` if there was none yet.",
            enum=["idle", "running", "completed", "failed", "cancelled"],
        ),
        "phase": string("The current phase.", enum=["idle", "listing", "hashing"]),
        "paused": boolean("Whether it waits for running prompts, or is paused."),
        "on_hold": boolean("Whether a user has paused background work."),
        **_COUNTS,
    },
    optional=("paused", *_COUNTS),
)
_FORM = object_with(
    {"file": {**BINARY, "description": "The file. It must come last in the form if tags choose its folder."}},
    tags=string(
        "A JSON array of tags. `input`, `output`, or `models` with a category choose the folder.",
        contentMediaType="application/json",
    ),
    name=string("The displayed name; the file's own if omitted."),
    mime_type=string("Media type of the content; guessed by the server if omitted."),
    user_metadata=string("A JSON object: metadata of the user.", contentMediaType="application/json"),
    hash=string(
        "The expected hash of the content; the upload is refused if it differs.",
        pattern="^(blake3|sha256):[0-9a-f]{64}$",
    ),
    id=string("The UUID of the new asset.", format="uuid"),
    preview_id=string("The asset to use as the preview.", format="uuid"),
)

_SEARCH = (SearchUnavailableError, SearchNotReadyError)
_ID = {"id": {"description": "The asset's id.", "format": "uuid"}}
_STATUS = "status"

OPERATIONS = [
    Operation(
        "listAssets",
        "Assets",
        "List assets",
        {200: Response("The page.", ListAssetsResponse)},
        errors=(InvalidCursorError, *_SEARCH),
    ),
    Operation(
        "getAssetTagHistogram",
        "Assets",
        "Count the tags of the assets that match the filters",
        {200: Response("The counts.", _HISTOGRAM)},
        errors=_SEARCH,
    ),
    Operation(
        "createAsset",
        "Assets",
        "Upload a file",
        {
            200: Response("The existing asset: the user already had this content.", AssetCreated),
            201: Response("The new asset.", AssetCreated),
        },
        "The file is hashed while it is received. Without tags it is stored as an input.",
        body=RequestBody(_FORM, FORM),
        errors=(
            InvalidBodyError,
            InvalidNameError,
            InvalidTagsError,
            InvalidHashError,
            InvalidIdError,
            InvalidPreviewError,
            HashMismatchError,
            FileTooLargeError,
            UnsupportedContentError,
            StorageError,
        ),
    ),
    Operation(
        "createAssetFromHash",
        "Assets",
        "Create an asset from existing content",
        {
            200: Response("The existing asset: the user already had this content.", AssetCreated),
            201: Response("The new asset.", AssetCreated),
        },
        body=RequestBody(CreateAssetFromHashRequest, example={"hash": "blake3:" + "0" * 64, "tags": ["input"]}),
        errors=(InvalidNameError, InvalidTagsError, InvalidHashError, AssetNotFoundError),
    ),
    Operation(
        "checkAssetByHash",
        "Assets",
        "Check whether content exists",
        {200: Response("It exists."), 404: Response("It does not exist.")},
        parameters={"hash": {"description": HASH, "pattern": HASH_PATTERN}},
        errors=(InvalidHashError,),
    ),
    Operation(
        "getAssetById",
        "Assets",
        "Get an asset",
        {200: Response("The asset, with all metadata.", AssetBody)},
        parameters=_ID,
        errors=(AssetNotFoundError,),
    ),
    Operation(
        "updateAsset",
        "Assets",
        "Change an asset's name, type, preview or metadata",
        {200: Response("The changed asset.", AssetBody)},
        parameters=_ID,
        body=RequestBody(UpdateAssetRequest, example={"name": "Portrait, second try.png"}),
        errors=(InvalidNameError, InvalidPreviewError, AssetNotFoundError),
    ),
    Operation(
        "deleteAsset",
        "Assets",
        "Delete an asset",
        {204: Response("It is in the trash and can be restored.")},
        "The file is moved to the trash with the last asset that uses it.",
        parameters=_ID,
        errors=(AssetNotFoundError, AssetInUseError, StorageError),
    ),
    Operation(
        "restoreAsset",
        "Assets",
        "Restore a deleted asset",
        {200: Response("The changed asset.", AssetBody)},
        "Its file returns to its path, or to a new name if the path is taken.",
        parameters=_ID,
        errors=(AssetNotFoundError, StorageError),
    ),
    Operation(
        "getAssetContent",
        "Assets",
        "Get an asset's content",
        {
            200: Response("The bytes.", BINARY, BYTES, {"Content-Disposition": "The name to save it under."}),
            206: Response(
                "The part that the request's `Range` selects.", BINARY, BYTES, {"Content-Range": "The returned range."}
            ),
            304: Response("The client's copy is up to date."),
            412: Response("A condition of the request is not met."),
            416: Response("The requested range does not exist."),
        },
        parameters=_ID,
        errors=(AssetNotFoundError, AssetContentMissingError),
    ),
    Operation(
        "addAssetTags",
        "Assets",
        "Add tags to an asset",
        {200: Response("The result.", _CHANGE)},
        parameters=_ID,
        body=RequestBody(TagsRequest, example={"tags": ["portrait"]}),
        errors=(InvalidTagsError, ReservedTagError, AssetNotFoundError),
    ),
    Operation(
        "removeAssetTags",
        "Assets",
        "Remove tags from an asset",
        {200: Response("The result.", _CHANGE)},
        parameters=_ID,
        body=RequestBody(TagsRequest, example={"tags": ["portrait"]}),
        errors=(InvalidTagsError, ReservedTagError, AssetNotFoundError),
    ),
    Operation(
        "listTags",
        "Tags",
        "List tags",
        {200: Response("The page.", _TAG_LIST)},
    ),
    Operation(
        "seedAssets",
        "Assets",
        "Start a scan of the folders unless one is running",
        {
            200: Response(
                "The scan.",
                object_with(
                    {_STATUS: string("Result.", enum=["started", "already_running"])},
                    task_id=string("The scan's task.", format="uuid"),
                ),
            )
        },
        body=RequestBody(SeedAssetsRequest, is_required=False, example={"roots": ["models"]}),
    ),
    Operation(
        "getAssetSeedStatus",
        "Assets",
        "Get the progress of the latest scan",
        {200: Response("The progress.", _PROGRESS)},
    ),
    Operation(
        "pauseAssetSeed",
        "Assets",
        "Pause scans, hashing and watching",
        {200: Response("The progress.", _PROGRESS)},
        "They stay paused until they are resumed or the server restarts.",
    ),
    Operation(
        "resumeAssetSeed",
        "Assets",
        "Resume scans, hashing and watching",
        {200: Response("The progress.", _PROGRESS)},
    ),
    Operation(
        "cancelAssetSeed",
        "Assets",
        "Cancel the running scan",
        {
            200: Response(
                "Whether one was running.", object_with({_STATUS: string("Result.", enum=["cancelling", "idle"])})
            )
        },
    ),
    Operation(
        "pruneAssets",
        "Assets",
        "Mark the assets whose files no longer exist",
        {
            200: Response(
                "The result.",
                object_with(
                    {
                        _STATUS: string("Result.", enum=["completed"]),
                        "marked": number("Number of assets marked as missing."),
                    }
                ),
            )
        },
        "No asset is deleted: a file that returns has its tags again.",
    ),
]
