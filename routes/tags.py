"""Tags: of one asset, of all assets, and of those that match filters."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from ..comfy_assets.assets.fields import normalize_tags
from ..comfy_assets.errors import AssetNotFoundError, InvalidTagFilterError, InvalidTagsError, ReservedTagError
from ..comfy_assets.models import TagOrder, TagRequest
from .asset_filters import FolderQuery, asset_filter
from .assets import ASSET_ID, FILTER_ERRORS, by_any_id
from .context import NoQuery, RequestContext, endpoint
from .operations import Operation, Record, RequestBody, Response, Route, array, boolean, integer, mapping, string
from .params import Offset, TagLimit, Tags, Text, doc, parse_body


class TagHistogramQuery(FolderQuery, frozen=True, kw_only=True):
    """Query of getAssetTagHistogram."""

    limit: TagLimit = 100


class ListTags(msgspec.Struct, frozen=True, kw_only=True):
    """Query of listTags."""

    prefix: Annotated[Text, doc("Only tags that begin with this text.")] = ""
    limit: TagLimit = 100
    offset: Offset = 0
    order: Annotated[TagOrder, doc("By the number of assets, the highest first, or by name.")] = "count_desc"
    include_zero: Annotated[bool, doc("Whether to include tags that no asset has any more.")] = False
    include_public: Annotated[bool, doc("Whether to count assets that belong to no user.")] = True


@endpoint(query=ListTags)
async def list_tags(call: RequestContext[ListTags]) -> dict[str, Any]:
    """Return a page of tags with the number of assets of each (listTags)."""
    query = call.query
    page = await call.services.assets.list_tags(
        TagRequest(
            call.user,
            include_public=query.include_public,
            prefix=query.prefix,
            include_zero=query.include_zero,
            order=query.order,
            limit=query.limit,
            offset=query.offset,
        )
    )
    return {
        "tags": [{"name": tag.name, "count": tag.count} for tag in page.items],
        "total": page.total,
        "has_more": page.has_more,
    }


class TagsRequest(msgspec.Struct, frozen=True):
    """Body of addAssetTags and removeAssetTags."""

    tags: Annotated[Tags, doc("At least one tag.")]


@endpoint()
@by_any_id
async def add_tags(call: RequestContext[NoQuery]) -> dict[str, Any]:
    """Add tags to an asset (addAssetTags)."""
    body = await parse_body(TagsRequest, call.request)
    change = await call.services.assets.add_tags(call.path["id"], normalize_tags(body.tags), call.user)
    return {"added": change.changed, "already_present": change.unchanged, "total_tags": change.total}


@endpoint()
@by_any_id
async def remove_tags(call: RequestContext[NoQuery]) -> dict[str, Any]:
    """Remove tags from an asset (removeAssetTags)."""
    body = await parse_body(TagsRequest, call.request)
    change = await call.services.assets.remove_tags(call.path["id"], normalize_tags(body.tags), call.user)
    return {"removed": change.changed, "not_present": change.unchanged, "total_tags": change.total}


@endpoint(query=TagHistogramQuery)
async def tag_histogram(call: RequestContext[TagHistogramQuery]) -> dict[str, Any]:
    """Count the tags of the assets that match the filters (getAssetTagHistogram)."""
    counts = await call.services.assets.histogram(asset_filter(call.query, call.user), call.query.limit)
    # The order is part of the response: members keep it in JSON, the largest count first.
    return {"tag_counts": {tag.name: tag.count for tag in counts}}


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
_TAG_CHANGE = Record(
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

ROUTES = [
    Route(
        "GET",
        "/api/assets/tags/refine",
        tag_histogram,
        Operation(
            "getAssetTagHistogram",
            "Assets",
            "Count the tags of the assets that match the filters",
            {200: Response("The counts.", _HISTOGRAM)},
            errors=(InvalidTagFilterError, *FILTER_ERRORS),
        ),
    ),
    Route(
        "POST",
        "/api/assets/{id}/tags",
        add_tags,
        Operation(
            "addAssetTags",
            "Assets",
            "Add tags to an asset",
            {200: Response("The result.", _TAG_CHANGE)},
            parameters=ASSET_ID,
            body=RequestBody(TagsRequest, example={"tags": ["portrait"]}),
            errors=(InvalidTagsError, ReservedTagError, AssetNotFoundError),
        ),
    ),
    Route(
        "DELETE",
        "/api/assets/{id}/tags",
        remove_tags,
        Operation(
            "removeAssetTags",
            "Assets",
            "Remove tags from an asset",
            {200: Response("The result.", _TAG_CHANGE)},
            parameters=ASSET_ID,
            body=RequestBody(TagsRequest, example={"tags": ["portrait"]}),
            errors=(InvalidTagsError, ReservedTagError, AssetNotFoundError),
        ),
    ),
    Route(
        "GET",
        "/api/tags",
        list_tags,
        Operation("listTags", "Tags", "List tags", {200: Response("The page.", _TAG_LIST)}),
    ),
]
