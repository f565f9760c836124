"""The library in words."""

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
from ..assets import ListAssetsResponse, SeedBody, TagsBody, UpdateAssetBody
from ..uploads import AssetCreated, FromHashBody
from .operation import BYTES, FORM, Answer, Body, Operation
from .schema import BINARY, Record, Words, array, flag, integer, mapping, members, number, text, time

_HASH = "The blake3 hash of the content: `blake3:` and 64 hexadecimal digits."
_TAGS = {"type": "array", "items": {"type": "string"}}
_FREE = {"type": "object", "additionalProperties": True}

ASSET = Words(
    AssetBody,
    "Asset",
    "An entry of the library: a file, or a reference to content that is there already.",
    {
        "id": {"description": "A UUID, which stays the same when the file moves.", "format": "uuid"},
        "name": "The name that is shown; a file's own name unless it was changed.",
        "display_name": "The same as `name`.",
        "size": {"description": "Bytes of the content.", "format": "int64"},
        "mime_type": "The type of the content, such as `image/png`.",
        "tags": {"description": "The tags, in alphabetical order.", **_TAGS},
        "user_metadata": {"description": "What users have noted about it.", **_FREE},
        "created_at": "When it came into the library.",
        "updated_at": "When something of it was changed.",
        "is_immutable": "Whether it cannot be changed or deleted; false for files of the user.",
        "hash": {"description": f"{_HASH} Left out until the file was read.", "pattern": "^blake3:[0-9a-f]{64}$"},
        "metadata": {
            "description": "What was found in the file. Listings leave out large texts; where they are more than 8 MiB"
            " together, `left_out` names those that do not fit.",
            **_FREE,
        },
        "file_path": "Where the file lies, from the kind of its folder: `models/loras/a.safetensors`, `output/b.png`.",
        "loader_path": "Of a model: the name that a loader node takes.",
        "preview_id": {"description": "The asset that shows what this one is: often itself.", "format": "uuid"},
        "preview_url": {"description": "Where a preview is, from the server's root.", "format": "uri-reference"},
        "job_id": {"description": "The job that made it.", "format": "uuid"},
        "last_access_time": "When its content was last asked for.",
    },
)
_CREATED = Words(
    AssetCreated,
    "AssetCreated",
    "An asset, and whether there is one more now.",
    {"created_new": "False when the user had this content already: the answer is the asset there was."},
)
_LIST = Words(
    ListAssetsResponse,
    "ListAssetsResponse",
    "A page of assets.",
    {
        "assets": "The assets, in the order asked for.",
        "total": "How many assets pass the filters.",
        "has_more": "Whether there is a page after this one.",
        "next_cursor": "What to give as `after` for the next page; not on the last one, nor in orders without cursors.",
    },
)
_UPDATE = Words(
    UpdateAssetBody,
    "UpdateAssetRequest",
    "What to change of an asset; at least one member.",
    {
        "name": "A new name. The file keeps its own.",
        "mime_type": "The type of the content, such as `image/png`.",
        "preview_id": {"description": "The asset to be shown for this one.", "format": "uuid"},
        "user_metadata": "Replaces what was noted before: up to 64 KiB, 32 levels deep.",
    },
)
_FROM_HASH = Words(
    FromHashBody,
    "CreateAssetFromHashRequest",
    "What to make an asset of.",
    {
        "hash": {"description": _HASH, "pattern": "^blake3:[0-9a-f]{64}$"},
        "tags": "Tags of the new asset.",
        "name": "Its name; that of the content's file when left out.",
        "mime_type": "The type of the content; what the file tells when left out.",
        "user_metadata": "What is to be noted about it.",
    },
)
_TAGS_BODY = Words(TagsBody, "TagsRequest", "Tags to add or to take away.", {"tags": "At least one tag."})
_SEED = Words(
    SeedBody,
    "SeedAssetsRequest",
    "What to scan.",
    {"roots": "`models`, `input`, `output`, or model categories; all when left out."},
)
WORDS = [ASSET, _CREATED, _LIST, _UPDATE, _FROM_HASH, _TAGS_BODY, _SEED]

_HISTOGRAM = Record(
    "AssetTagHistogramResponse",
    "How many assets carry each tag.",
    {"tag_counts": mapping({"type": "integer"}, "Counts by tag, the largest first.")},
)
_TAG = Record("TagInfo", "A tag in use.", {"name": text("The tag."), "count": integer("How many assets carry it.")})
_TAG_LIST = Record(
    "ListTagsResponse",
    "A page of tags.",
    {
        "tags": array(_TAG, "The tags, in the order asked for."),
        "total": integer("How many tags there are in all."),
        "has_more": flag("Whether there is a page after this one."),
    },
)
_CHANGE = Record(
    "TagsModificationResponse",
    "What became of an asset's tags.",
    {
        "total_tags": array({"type": "string"}, "All tags of the asset now."),
        "added": array({"type": "string"}, "Tags that were not there."),
        "already_present": array({"type": "string"}, "Tags that were there already."),
        "removed": array({"type": "string"}, "Tags that were taken away."),
        "not_present": array({"type": "string"}, "Tags that were not there to be taken away."),
    },
    optional=("added", "already_present", "removed", "not_present"),
)
_COUNTS = {
    "scanned": integer("Files seen."),
    "total": integer("Files to be seen."),
    "folders": integer("Folders seen."),
    "created": integer("Files that were new."),
    "changed": integer("Files that were not as they had been."),
    "missing": integer("Files that were gone."),
    "returned": integer("Files that were back."),
    "moved": integer("Files that were found in another place."),
    "problems": integer("Folders and files that could not be looked at."),
    "hashed": integer("Files read."),
    "unreadable": integer("Files that could not be read."),
    "bytes_hashed": integer("Bytes read."),
    "bytes_total": integer("Bytes to be read."),
    "bytes_per_second": integer("How fast."),
    "errors": array(True, "The first of the problems."),
    "error_message": text("Why it failed."),
    "started_at": time("When it began."),
}
_PROGRESS = Record(
    "SeedStatus",
    "How far the latest scan is, and the hash run that followed it.",
    {
        "status": text("`idle` when there was none yet.", enum=["idle", "running", "completed", "failed", "cancelled"]),
        "phase": text("What is being done.", enum=["idle", "listing", "hashing"]),
        "paused": flag("Whether it waits for prompts to be executed, or rests."),
        "on_hold": flag("Whether upkeep was paused by hand."),
        **_COUNTS,
    },
    optional=("paused", *_COUNTS),
)
_FORM = members(
    {"file": {**BINARY, "description": "The file, last in the form where its tags are to say its folder."}},
    tags=text(
        "A JSON array of tags: `input`, `output`, or `models` and a category tell the folder.",
        contentMediaType="application/json",
    ),
    name=text("The name to be shown; the file's own when left out."),
    mime_type=text("The type of the content; the server guesses when left out."),
    user_metadata=text("A JSON object to be noted about it.", contentMediaType="application/json"),
    hash=text("What the content's hash should be: another is refused.", pattern="^(blake3|sha256):[0-9a-f]{64}$"),
    id=text("The UUID the new asset is to have.", format="uuid"),
    preview_id=text("The asset to be shown for this one.", format="uuid"),
)

_FILTERS = {
    "include_tags": "Only assets that carry all of these tags.",
    "exclude_tags": "Only assets that carry none of these tags.",
    "name_contains": "Only assets whose name holds this text, in capitals or not.",
    "metadata_filter": "A JSON object: fields of the metadata, and the value, or a list of values, each may have.",
    "include_public": "Whether assets that belong to no user are among them.",
}
_SEARCH = (SearchUnavailableError, SearchNotReadyError)
_ID = {"id": {"description": "The asset's id.", "format": "uuid"}}
_STATUS = "status"

OPERATIONS = [
    Operation(
        "listAssets",
        "Assets",
        "A page of the library",
        {200: Answer("The page.", ListAssetsResponse)},
        parameters={
            **_FILTERS,
            "sort": "What to sort by.",
            "hash": "Only assets with this content. What is no hash finds nothing.",
        },
        errors=(InvalidCursorError, *_SEARCH),
    ),
    Operation(
        "getAssetTagHistogram",
        "Assets",
        "The tags of the assets that pass the filters, with counts",
        {200: Answer("The counts.", _HISTOGRAM)},
        parameters=_FILTERS,
        errors=_SEARCH,
    ),
    Operation(
        "createAsset",
        "Assets",
        "Upload a file",
        {
            200: Answer("The user had this content: nothing was added.", AssetCreated),
            201: Answer("The new asset.", AssetCreated),
        },
        "The file is hashed while it is received. Without tags it becomes an input.",
        body=Body(_FORM, FORM),
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
        "Make an asset of content that is there",
        {
            200: Answer("The user had this content: nothing was added.", AssetCreated),
            201: Answer("The new asset.", AssetCreated),
        },
        body=Body(FromHashBody, example={"hash": "blake3:" + "0" * 64, "tags": ["input"]}),
        errors=(InvalidNameError, InvalidTagsError, InvalidHashError, AssetNotFoundError),
    ),
    Operation(
        "checkAssetByHash",
        "Assets",
        "Whether content is there",
        {200: Answer("It is."), 404: Answer("It is not.")},
        parameters={"hash": {"description": _HASH, "pattern": "^blake3:[0-9a-f]{64}$"}},
        errors=(InvalidHashError,),
    ),
    Operation(
        "getAssetById",
        "Assets",
        "An asset",
        {200: Answer("The asset, with all metadata.", AssetBody)},
        parameters=_ID,
        errors=(AssetNotFoundError,),
    ),
    Operation(
        "updateAsset",
        "Assets",
        "Change an asset's name, type, preview or notes",
        {200: Answer("The asset as it is now.", AssetBody)},
        parameters=_ID,
        body=Body(UpdateAssetBody, example={"name": "Portrait, second try.png"}),
        errors=(InvalidNameError, InvalidPreviewError, AssetNotFoundError),
    ),
    Operation(
        "deleteAsset",
        "Assets",
        "Delete an asset",
        {204: Answer("It is in the trash, and can be brought back from there.")},
        "The file goes with the last asset that is made of it.",
        parameters=_ID,
        errors=(AssetNotFoundError, AssetInUseError, StorageError),
    ),
    Operation(
        "restoreAsset",
        "Assets",
        "Bring back a deleted asset",
        {200: Answer("The asset as it is now.", AssetBody)},
        "Its file goes where it was, or beside what is there now.",
        parameters=_ID,
        errors=(AssetNotFoundError, StorageError),
    ),
    Operation(
        "getAssetContent",
        "Assets",
        "An asset's bytes",
        {
            200: Answer("The bytes.", BINARY, BYTES, {"Content-Disposition": "The name to save it under."}),
            206: Answer("The part that the request's `Range` names.", BINARY, BYTES, {"Content-Range": "Which part."}),
            304: Answer("What the client holds is still the same."),
            412: Answer("It is not what the request's conditions want."),
            416: Answer("There is no such part."),
        },
        parameters={
            **_ID,
            "disposition": "Whether browsers save it or show it; what may hold scripts is never shown.",
        },
        errors=(AssetNotFoundError, AssetContentMissingError),
    ),
    Operation(
        "addAssetTags",
        "Assets",
        "Give an asset tags",
        {200: Answer("What was added.", _CHANGE)},
        parameters=_ID,
        body=Body(TagsBody, example={"tags": ["portrait"]}),
        errors=(InvalidTagsError, ReservedTagError, AssetNotFoundError),
    ),
    Operation(
        "removeAssetTags",
        "Assets",
        "Take tags from an asset",
        {200: Answer("What was taken away.", _CHANGE)},
        parameters=_ID,
        body=Body(TagsBody, example={"tags": ["portrait"]}),
        errors=(InvalidTagsError, ReservedTagError, AssetNotFoundError),
    ),
    Operation(
        "listTags",
        "Tags",
        "The tags in use",
        {200: Answer("A page of them.", _TAG_LIST)},
        parameters={
            "prefix": "Only tags that begin with this text.",
            "order": "The most used first, or by name.",
            "include_zero": "Whether tags that no asset carries any more are among them.",
            "include_public": "Whether assets that belong to no user are counted.",
        },
    ),
    Operation(
        "seedAssets",
        "Assets",
        "Start a scan of the folders, unless one runs",
        {
            200: Answer(
                "Whether it has begun.",
                members(
                    {_STATUS: text("What happened.", enum=["started", "already_running"])},
                    task_id=text("The scan's task.", format="uuid"),
                ),
            )
        },
        body=Body(SeedBody, is_required=False, example={"roots": ["models"]}),
    ),
    Operation(
        "getAssetSeedStatus",
        "Assets",
        "How far the latest scan is",
        {200: Answer("Its progress.", _PROGRESS)},
    ),
    Operation(
        "pauseAssetSeed",
        "Assets",
        "Let scans, hashing and following rest",
        {200: Answer("How far they are.", _PROGRESS)},
        "Until they are resumed, or the server starts anew.",
    ),
    Operation(
        "resumeAssetSeed",
        "Assets",
        "Let them go on",
        {200: Answer("How far they are.", _PROGRESS)},
    ),
    Operation(
        "cancelAssetSeed",
        "Assets",
        "Stop the scan that runs",
        {200: Answer("Whether one ran.", members({_STATUS: text("What happened.", enum=["cancelling", "idle"])}))},
    ),
    Operation(
        "pruneAssets",
        "Assets",
        "Mark the assets whose files are gone",
        {
            200: Answer(
                "How many were marked.",
                members(
                    {_STATUS: text("What happened.", enum=["completed"]), "marked": number("Assets marked as missing.")}
                ),
            )
        },
        "None is deleted: a file that comes back is known again, with its tags.",
    ),
]
