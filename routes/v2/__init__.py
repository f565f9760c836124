"""Comfy API v2: the operations of the official SDKs, over the same services as the other API, and their document."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import msgspec
from aiohttp import web
from aiohttp.typedefs import Middleware

from ...comfy_assets.app import Services
from ..context import NoQuery, RequestContext, endpoint
from ..operations import Operation, Response, Route, mapping
from ..server import StaticContent, static_content, static_response
from . import assets, events, jobs, protocol

_DESCRIPTION = """\
The API of the official SDKs (`comfy-sdk` in Python, `@comfyorg/sdk` in TypeScript), over the same library, queue and
jobs as the other API of this server.

**Errors** are `{"error": {"code", "message", "details"}}`. Where one code stands for several errors of the other API,
`details.reason` is the code there. Refusals before an operation have the same form: 401 and 403 of the login and of the
access checks, 404 and 405 for a path or method that does not exist.

**Authorization** is optional while the login of the server is off. While it is on, a token of the login is sent as
`Authorization: Bearer`.

**Times** are RFC 3339 in UTC. **Addresses** are absolute, made from the host that the request names; a reverse proxy on
the same machine, or one in the settings, may say otherwise with `X-Forwarded-Host`, `X-Forwarded-Proto` and
`X-Forwarded-Prefix`.
"""
_TAGS = {
    "Assets": "Records of content: uploads, outputs, models.",
    "Jobs": "Executions of workflows.",
    "Server": "The description of this API.",
}
_SECURITY = {
    "Bearer": {"type": "http", "scheme": "bearer", "description": "A token, if the login is on."},
    "User": {"type": "apiKey", "in": "header", "name": "comfy-user", "description": "The id of a user of this server."},
}


def description_routes(others: Sequence[Route]) -> list[Route]:
    """Make the route of the document, which describes these operations and itself."""

    @cache
    def content() -> StaticContent:
        return static_content(msgspec.json.encode(document(routes)))

    @endpoint(requires_store=False, allow_anonymous=True)
    async def get_document(call: RequestContext[NoQuery]) -> web.Response:
        """Return the OpenAPI document of Comfy API v2 (getOpenApiV2Document, an extension)."""
        return await static_response(call.request, content, {"Content-Type": "application/json"})

    own = Route(
        "GET",
        "/api/v2/openapi.json",
        get_document,
        Operation(
            "getOpenApiV2Document",
            "Server",
            "Get this document",
            {
                200: Response("The document.", mapping(), headers={"ETag": "Entity tag of the document."}),
                304: Response("The client's copy is up to date."),
            },
            is_open=True,
        ),
        when=protocol.is_served,
    )
    routes = [*others, own]
    return [own]


def document(routes: Sequence[Route]) -> dict[str, object]:
    """Build the document of these routes."""
    from .. import openapi  # on the first request: most servers are never asked for the document

    style = openapi.DocumentStyle(
        title="Comfy API v2",
        description=_DESCRIPTION,
        tags=_TAGS,
        security=_SECURITY,
        error=protocol.ENVELOPE,
        refusal=protocol.translated,
        example=lambda code, message: {"error": {"code": code, "message": message, "details": None}},
        unexpected="`upstream_error`: an unexpected error; the server's log has the details.",
        headers={protocol.REQUEST_ID: "The id of the request."},
    )
    return openapi.document(routes, [], style)


ROUTES: list[Route] = [*assets.ROUTES, *jobs.ROUTES, *events.ROUTES]
ROUTES += description_routes(ROUTES)
refuse_unknown = protocol.refusing(ROUTES)


def error_middleware(services: Services) -> Middleware:
    """Make the middleware that gives every error below /api/v2 the form of this API."""
    return protocol.middleware(services)
