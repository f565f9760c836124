"""The type that a request body must have. Forms and plain text are what a page of any origin can send unasked."""

from __future__ import annotations

from typing import Literal

from aiohttp import hdrs, web

from ..comfy_assets.errors import UnsupportedContentError
from .context import error_response

# "json": JSON alone; "any": the operation looks at the type itself, or takes whatever comes.
Media = Literal["json", "any"]

_SIMPLE = frozenset({"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"})


def refusal(request: web.Request, media: Media) -> web.Response | None:
    """The response to a request whose body is not of this type, or has no type; None where all is well.

    A request without a body needs no type.
    """
    if media == "any" or not has_body(request) or request.method in ("GET", "HEAD"):
        return None
    essence = _essence(request)
    is_json = essence == "application/json" or (essence.startswith("application/") and essence.endswith("+json"))
    return None if is_json else _refused(essence)


def refusal_for_host(request: web.Request, media: Media) -> web.Response | None:
    """The same for an operation that stays the host's, which programs may send JSON to under any type or none.

    ComfyUI's own example scripts and ``curl -d`` call it a form. Only browsers, which say so by their headers, are
    held to the type: scripts of other origins can send none but these without asking first.
    """
    if media == "any" or not has_body(request) or request.method in ("GET", "HEAD"):
        return None
    is_browser = hdrs.ORIGIN in request.headers or "Sec-Fetch-Site" in request.headers
    essence = _essence(request)
    return _refused(essence) if is_browser and essence in _SIMPLE else None


def has_body(request: web.Request) -> bool:
    """Return whether the request has a body, also where that has been read already."""
    return request.headers.get(hdrs.CONTENT_LENGTH, "0") != "0" or hdrs.TRANSFER_ENCODING in request.headers


def _essence(request: web.Request) -> str:
    return request.headers.get(hdrs.CONTENT_TYPE, "").partition(";")[0].strip().lower()


def _refused(essence: str) -> web.Response:
    given = essence[:100] or "none"
    error = UnsupportedContentError(
        f"The body must be sent as application/json; the Content-Type is {given}.",
        details={"field": "Content-Type", "content_type": given},
    )
    return error_response(error.status, error.code, error.message, error.details)
