"""Who asks, and what they have to say."""

from __future__ import annotations

import asyncio
from datetime import datetime, timezone
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web

from ..comfy_assets.errors import InvalidBodyError
from ._credentials import without_credentials
from .context import Call, endpoint, json_response
from .params import Members, NoQuery, parse_body
from .router import Route

_MAX_METADATA_BYTES = 64 << 10


class FeedbackBody(msgspec.Struct, frozen=True, kw_only=True):
    """Body of submitFeedback."""

    type: Literal["missing_nodes", "general", "missing_models"]
    content: Annotated[str, msgspec.Meta(max_length=20_000)] = ""
    rating: Annotated[int, msgspec.Meta(ge=1, le=5)] | None = None
    metadata: Members = {}


@endpoint()
async def get_user(call: Call[NoQuery]) -> dict[str, Any]:
    """The request's user (getUser); with one user that is the host's own name for them."""
    return {"id": call.user, "status": "active"}


@endpoint()
async def submit_feedback(call: Call[NoQuery]) -> web.Response:
    """Write feedback down on this machine (submitFeedback)."""
    body = await parse_body(FeedbackBody, call.request)
    entry = msgspec.to_builtins(body)
    if len(msgspec.json.encode(body.metadata)) > _MAX_METADATA_BYTES:
        message = f"metadata takes more than {_MAX_METADATA_BYTES} bytes."
        raise InvalidBodyError(message, details={"field": "metadata"})
    about = {"time": datetime.now(timezone.utc), "user": call.user}
    await asyncio.to_thread(call.services.feedback.append, {**about, **without_credentials(call.request, entry)})
    return json_response({}, 201)


ROUTES = [
    Route("GET", "/api/user", "getUser", get_user),
    Route("POST", "/api/feedback", "submitFeedback", submit_feedback),
]
