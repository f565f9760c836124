"""Tags over HTTP."""

from __future__ import annotations

from typing import Any

import msgspec

from ..comfy_assets.models import TagOrder, TagRequest
from ._dispatch import Route
from ._endpoint import Call, endpoint
from ._params import Offset, TagLimit


class ListTags(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of listTags."""

    prefix: str = ""
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


ROUTES = [Route("GET", "/api/tags", "listTags", list_tags)]
