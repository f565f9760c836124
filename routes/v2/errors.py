"""The error envelope of Comfy API v2, and the header that names a request.

Handlers, the access checks, the login, the router and the server refuse requests each in their own form. One middleware
around all of them turns every such response below /api/v2 into the envelope.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from ...comfy_assets.app import Services
from ...comfy_assets.errors import ApiError
from ..context import json_response
from ..operations import Record, mapping, nullable, object_with, string
from .addresses import note_root
from .mount import is_below, request_key

log = logging.getLogger("comfy_assets.http")

REQUEST_ID = "X-Comfy-Request-Id"
_RETRY_AFTER_S = 1
_REQUEST_ID_KEY = request_key("comfy_assets_request_id", str)
_INVALID = "invalid_request"
_NOT_FOUND = "not_found"

# The status (None: the same) and code in Comfy API v2 of errors that are not called there what they are called here.
_TRANSLATIONS: Mapping[str, tuple[int | None, str]] = {
    "ASSET_CONTENT_MISSING": (None, _NOT_FOUND),
    "ASSET_NOT_FOUND": (None, _NOT_FOUND),
    "HASH_MISMATCH": (409, "hash_mismatch"),
    "HOST_NOT_ALLOWED": (None, "forbidden"),
    "INTERNAL_ERROR": (None, "upstream_error"),
    "INVALID_BODY": (None, _INVALID),
    "INVALID_HASH": (None, _INVALID),
    "INVALID_NAME": (None, _INVALID),
    "INVALID_QUERY": (None, _INVALID),
    "INVALID_TAGS": (None, _INVALID),
    "JOB_FORBIDDEN": (None, "forbidden"),
    "JOB_NOT_FOUND": (None, _NOT_FOUND),
    "NOT_PERMITTED": (None, "forbidden"),
    "ORIGIN_NOT_ALLOWED": (None, "forbidden"),
    "RESERVED_TAG": (None, _INVALID),
    "SIGN_IN_FAILED": (None, "unauthorized"),
    "SIGN_IN_REQUIRED": (None, "unauthorized"),
    "STORE_UNAVAILABLE": (503, "store_unavailable"),
    "TOO_MANY_ATTEMPTS": (None, "rate_limited"),
}
# Of responses without a code of this project: those of the router, the server and other node packs.
_BY_STATUS: Mapping[int, str] = {
    400: _INVALID,
    401: "unauthorized",
    403: "forbidden",
    404: _NOT_FOUND,
    405: "method_not_allowed",
    413: "body_too_large",
    415: "unsupported_media_type",
    422: _INVALID,
    429: "rate_limited",
    500: "upstream_error",
    501: "not_implemented",
    503: "store_unavailable",
}
# Members of details that would tell more than this API does.
_WITHOUT_DETAILS = frozenset({"asset_in_use", "upstream_error"})
_OF_THE_BODY = (hdrs.CONTENT_LENGTH, hdrs.CONTENT_TYPE, hdrs.CONTENT_ENCODING, hdrs.CONTENT_DISPOSITION)

ENVELOPE = Record(
    "ErrorEnvelope",
    "The reason for which a request failed.",
    {
        "error": object_with(
            {
                "code": string("A stable code for programs."),
                "message": string("A sentence for people."),
                "details": nullable(mapping(True, "Details for programs: the field, the limit; null without any.")),
            }
        )
    },
)


class _FlatError(msgspec.Struct, frozen=True):
    """The error body of the other API of this project."""

    code: str
    message: str
    details: dict[str, Any] | None = None


def error_members(code: str, message: str, details: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the envelope of an error."""
    return {"error": {"code": code, "message": message, "details": details}}


def translated(error: type[ApiError]) -> tuple[int, str]:
    """Return the status and the code that an error has in Comfy API v2."""
    return _translated(error.status, error.code)


def _translated(status: int, code: str) -> tuple[int, str]:
    new_status, name = _TRANSLATIONS.get(code, (None, code.lower()))
    # Input that is refused is 422 there, never 400.
    return new_status or (422 if status == 400 else status), name


def request_id_of(request: web.Request) -> str:
    """Return the id of a request. A handler that begins its response itself sends it in ``REQUEST_ID``."""
    found: str | None = request.get(_REQUEST_ID_KEY)
    return found if found is not None else uuid.uuid4().hex


def middleware(services: Services) -> Middleware:
    """Make the middleware that gives errors below /api/v2 their form, around the access checks and all others."""

    @web.middleware
    async def comfy_assets_v2(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not is_below(request, services):
            return await handler(request)
        request[_REQUEST_ID_KEY] = uuid.uuid4().hex
        note_root(request, services.proxies)
        response = await _response_of(request, handler)
        if response.prepared:
            return response
        if response.status >= HTTPStatus.BAD_REQUEST:
            response = _enveloped(request, response)
        response.headers[REQUEST_ID] = request_id_of(request)
        return response

    return comfy_assets_v2


async def _response_of(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Return the response of a handler, or that of its exception."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status >= HTTPStatus.BAD_REQUEST:
            return error
        raise  # a redirection
    except Exception:
        # The path is logged as it was sent: decoded, it could forge lines of the log.
        log.exception("%s %s failed (%s)", request.method, request.rel_url.raw_path, request_id_of(request))
        return web.Response(status=500)


def _enveloped(request: web.Request, response: web.StreamResponse) -> web.Response:
    flat = _flat_error(response)
    if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.warning("%s has failed as request %s", request.rel_url.raw_path[:200], request_id_of(request))
    if flat is not None:
        status, code = _translated(response.status, flat.code)
        made = _envelope(status, code, flat.message, _details(code, flat))
    else:
        code = _BY_STATUS.get(response.status, f"http_{response.status}")
        made = _envelope(response.status, code, _phrase(response.status), None)
    for name, value in response.headers.items():
        if name not in _OF_THE_BODY and name not in made.headers:
            made.headers.add(name, value)
    return made


def _flat_error(response: web.StreamResponse) -> _FlatError | None:
    if not isinstance(response, web.Response) or not isinstance(response.body, bytes):
        return None
    try:
        return msgspec.json.decode(response.body, type=_FlatError)
    except (msgspec.DecodeError, RecursionError):
        return None


def _details(code: str, flat: _FlatError) -> dict[str, Any] | None:
    if code in _WITHOUT_DETAILS:
        return None
    details = dict(flat.details or {})
    if code != flat.code.lower():
        details["reason"] = flat.code  # one code here stands for several of the other API
    return details or None


def _phrase(status: int) -> str:
    try:
        return f"{HTTPStatus(status).phrase}."
    except ValueError:
        return f"The request failed with status {status}."


def _envelope(status: int, code: str, message: str, details: dict[str, Any] | None) -> web.Response:
    made = json_response(error_members(code, message, details), status)
    if status in (429, 503):
        wait = (details or {}).get("retry_after")
        # Whole seconds: the clients read nothing else.
        made.headers[hdrs.RETRY_AFTER] = str(max(1, int(wait)) if isinstance(wait, int | float) else _RETRY_AFTER_S)
    made.headers[hdrs.CACHE_CONTROL] = "no-store"
    return made
