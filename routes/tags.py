"""Tags over HTTP."""

from __future__ import annotations

from typing import Any

import msgspec

from ..comfy_assets.assets.tag_rules import normalized
from ..comfy_assets.models import TagOrder, TagRequest
from .context import Call, endpoint
from .params import NoQuery, Offset, TagLimit, Tags, Text, parse_body
from .router import Route


class ListTags(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of listTags."""

    prefix: Text = ""
    limit: TagLimit = 100
    offset: Offset = 0
    order: TagOrder = "count_desc"
    include_zero: bool = False
    include_public: bool = True


@endpoint(query=ListTags)
async def list_tags(call: Call[ListTags]) -> dict[str, Any]:
    """The tags in use, with the number of assets that carry each (listTags)."""
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


class TagsBody(msgspec.Struct, frozen=True):
    """Body of addAssetTags and removeAssetTags."""

    tags: Tags


@endpoint()
async def add_tags(call: Call[NoQuery]) -> dict[str, Any]:
    """Give an asset tags (addAssetTags)."""
    body = await parse_body(TagsBody, call.request)
    change = await call.services.assets.add_tags(call.path["id"], normalized(body.tags), call.user)
    return {"added": change.changed, "already_present": change.unchanged, "total_tags": change.total}


@endpoint()
async def remove_tags(call: Call[NoQuery]) -> dict[str, Any]:
    """Take tags from an asset (removeAssetTags)."""
    body = await parse_body(TagsBody, call.request)
    change = await call.services.assets.remove_tags(call.path["id"], normalized(body.tags), call.user)
    return {"removed": change.changed, "not_present": change.unchanged, "total_tags": change.total}


ROUTES = [
    Route("GET", "/api/tags", "listTags", list_tags),
    Route("POST", "/api/assets/{id}/tags", "addAssetTags", add_tags),
    Route("DELETE", "/api/assets/{id}/tags", "removeAssetTags", remove_tags),
]
