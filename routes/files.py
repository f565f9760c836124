"""Files of the host's folders over HTTP, as far as the host does not answer for them itself: thumbnails."""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web

from ..comfy_assets.app import Services
from ..comfy_assets.assets.media.thumbnail_service import Wanted
from ..comfy_assets.errors import InvalidQueryError
from ..comfy_assets.models import Plane
from ..comfy_assets.names import FileType
from .context import Call, endpoint
from .file_response import disposition, is_held
from .params import Text, check_encoding
from .router import Route

_PLANES: dict[str | None, Plane] = {None: "flat", "rgb": "rgb", "a": "alpha", "alpha": "alpha"}


class ViewFile(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of viewFile, as far as they say something about a thumbnail."""

    filename: Text = ""
    subfolder: Text = ""
    type: FileType = "output"
    res: Annotated[int, msgspec.Meta(ge=64, le=1024)]
    channel: Literal["rgb", "a", "alpha"] | None = None


@endpoint(query=ViewFile, is_for_anybody=True)
async def view_file(call: Call[ViewFile]) -> web.Response:
    """A thumbnail of a picture or video (viewFile with ``res``)."""
    query = call.query
    check_encoding(call.request.rel_url.raw_query_string)
    if not query.filename:
        raise InvalidQueryError("filename is missing.", details={"field": "filename"})
    wanted = Wanted(query.type, query.subfolder, query.filename, query.res, _PLANES[query.channel])
    return await thumbnail(call, wanted, call.user)


async def thumbnail(call: Call[Any], wanted: Wanted, owner: str) -> web.Response:
    """The thumbnail of a file that the owner can see, unless the client has it."""
    answer = await call.services.previews.get(wanted, owner, lambda key: is_held(call.request, _etag(key)))
    headers = {"ETag": _etag(answer.key), "Cache-Control": "private, no-cache", "X-Content-Type-Options": "nosniff"}
    if answer.body is None:
        return web.Response(status=304, headers=headers)
    headers["Content-Disposition"] = disposition("inline", f"{PurePath(answer.name).stem}.jpg")
    return web.Response(body=answer.body, content_type="image/jpeg", headers=headers)


def _etag(key: str) -> str:
    return f'"{key}"'


def _wants_thumbnail(request: web.Request, _: Services) -> bool:
    return "res" in request.query


ROUTES = [Route("GET", "/api/view", "viewFile", view_file, when=_wants_thumbnail)]
