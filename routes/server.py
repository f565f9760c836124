"""The server itself: health, features, the log subscription, and the description of its API."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from ..comfy_assets.app import Services
from ..comfy_assets.errors import InvalidBodyError, StoreBusyError
from ..comfy_assets.host.access import is_beyond_this_machine
from ..comfy_assets.page_flags import page_flags
from .context import RequestContext, endpoint, json_response
from .file_response import is_held
from .interceptors import ErrorMapping, Interceptor
from .params import NoQuery, object_body
from .router import Route, is_missing_at_host

if TYPE_CHECKING:
    from .openapi.page import DocsPage

_STORE_TIMEOUT_S = 2.0  # shorter than the timeout of common health checks


def _unavailable(status: int, code: str, message: str, details: dict[str, Any] | None) -> web.Response:
    """Make the text that health checks look for, with the reason if the store is open but fails."""
    text = f"Service Unavailable\n{code}: {message}" if status == StoreBusyError.status else "Service Unavailable"
    return web.Response(status=503, text=text)


@endpoint(requires_store=False, allow_anonymous=True, failure=_unavailable)
async def health(call: RequestContext[NoQuery]) -> web.Response:
    """Return whether the store works, as plain text for health checks (getHealth)."""
    try:
        await asyncio.wait_for(call.services.check_store(), _STORE_TIMEOUT_S)
    except asyncio.TimeoutError:
        raise StoreBusyError("The store does not respond in time.") from None
    return web.Response(text="OK")


async def features(request: web.Request, pass_on: Handler, services: Services) -> web.StreamResponse:
    """Add the contract's features to those of the host (getFeatures); the host's value of a feature counts."""
    ours = {
        **page_flags(services.config),
        "max_upload_size": services.config.max_upload_size or request.client_max_size,
        "supports_preview_metadata": False,
        # Whether other machines can reach the server, which has no login: the panel warns of it.
        "open_to_network": is_beyond_this_machine(services.host.network().listening),
    }
    if is_missing_at_host(request, services):
        return json_response(ours)
    response = await pass_on(request)
    if response.status != 200 or not isinstance(response, web.Response):
        return response
    theirs = json.loads(response.text or "{}")
    if not isinstance(theirs, dict) or ours.keys() <= theirs.keys():
        return response
    return json_response({**ours, **theirs})


async def _check_subscription(call: RequestContext[NoQuery]) -> None:
    body = await object_body(call.request)
    for name, kind in (("clientId", str), ("enabled", bool)):
        if not isinstance(body.get(name), kind):
            raise InvalidBodyError(f"{name} is missing or of the wrong type.", details={"field": name})


@dataclass(frozen=True)
class StaticContent:
    """A body that does not change while the program runs, with its entity tag."""

    body: bytes
    etag: str


def description_routes(others: Sequence[Route]) -> list[Route]:
    """Make the routes of the OpenAPI document and its page, which describe these other routes and themselves."""

    @cache
    def document() -> StaticContent:
        from . import openapi  # on the first request: loading its texts would slow the server's start

        return _static(msgspec.json.encode(openapi.document(routes)))

    @endpoint(requires_store=False, allow_anonymous=True)
    async def get_document(call: RequestContext[NoQuery]) -> web.Response:
        """Return the OpenAPI document (getOpenApiDocument, an extension)."""
        return await _respond(call.request, document, {"Content-Type": "application/json"})

    @endpoint(requires_store=False, allow_anonymous=True)
    async def get_page(call: RequestContext[NoQuery]) -> web.Response:
        """Return the page that displays the document (getApiPage, an extension)."""
        page = await asyncio.to_thread(_page)
        headers = {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": page.policy}
        return await _respond(call.request, lambda: _static(page.html), headers)

    own = [
        Route("GET", "/api/openapi.json", "getOpenApiDocument", get_document),
        Route("GET", "/api/docs", "getApiPage", get_page),
    ]
    routes = [*others, *own]
    return own


def _page() -> DocsPage:
    from .openapi import page

    return page.read()


def _static(body: bytes) -> StaticContent:
    return StaticContent(body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')


async def _respond(request: web.Request, make: Callable[[], StaticContent], headers: dict[str, str]) -> web.Response:
    content = await asyncio.to_thread(make)
    headers |= {"ETag": content.etag, "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
    if is_held(request, content.etag):
        return web.Response(status=304, headers=headers)
    return web.Response(body=content.body, headers=headers)


ROUTES = [Route("GET", "/health", "getHealth", health)]
INTERCEPTORS = [
    Interceptor("GET", "/api/features", features),
    Interceptor("PATCH", "/internal/logs/subscribe", ErrorMapping(_check_subscription), media="json"),
]
