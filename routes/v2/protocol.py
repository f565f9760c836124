"""The protocol of Comfy API v2 around its operations: its paths, absolute addresses, keys of requests, error envelopes.

ComfyUI and its manager have other routes below the same prefix, such as /api/v2/userdata, which stay theirs.

Handlers, the access checks, the login, the router and the server refuse requests each in their own form. One middleware
around all of them turns every such response below /api/v2 into the envelope.
"""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote
from weakref import WeakKeyDictionary

import msgspec
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from ...comfy_assets.app import Services
from ...comfy_assets.errors import ApiError, InvalidBodyError
from ...comfy_assets.host.access import TrustedProxies, parse_authority
from ...comfy_assets.ids import now_ms
from ..context import error_response, json_response, utc_time
from ..operations import Record, Route, Schema, mapping, nullable, object_with, string
from ..router import matched_path

log = logging.getLogger("comfy_assets.http")


def request_key(name: str, kind: type) -> Any:
    """Return a key of requests. Newer versions of aiohttp warn of keys that are texts, older ones have no others."""
    return web.RequestKey(name, kind) if hasattr(web, "RequestKey") else name


PREFIX = "/api/v2/"
_OURS = frozenset({"assets", "jobs", "openapi.json"})
# Routes are complete when a server begins to accept requests, so the first request reads them.
_host_segments: WeakKeyDictionary[web.Application, frozenset[str]] = WeakKeyDictionary()
_ROOT_KEY = request_key("comfy_assets_root", str)
_PATH_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+)*", re.ASCII)
# Content stays at its address. A client fetches the asset again after this time for a fresh one, which is the same.
_PROMISED_MS = 24 * 3600 * 1000

_IDEMPOTENCY_KEY = "Idempotency-Key"
_LONGEST_KEY = 255

IDEMPOTENCY: dict[str, Schema] = {
    _IDEMPOTENCY_KEY: string(
        "A text that no other request has, such as a UUID. For a day, a later request with it is refused, whatever its "
        "body. It can be used again after a request that certainly made nothing.",
        minLength=1,
        maxLength=_LONGEST_KEY,
    )
}

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


def is_served(request: web.Request, services: Services) -> bool:
    """Return whether this project serves Comfy API v2 (a condition for ``Route.when``).

    By default it does unless the server, or another node pack, has routes of that API. The setting decides otherwise.
    """
    if services.config.api_v2 is not None:
        return services.config.api_v2
    return not any(each in _OURS or each.startswith("{") or not each for each in _segments(request.app))


def is_below(request: web.Request, services: Services) -> bool:
    """Return whether a request is for Comfy API v2 as this project serves it, even if it has no such path."""
    path = request.path
    if not path.startswith(PREFIX):
        return False
    segment = path.removeprefix(PREFIX).partition("/")[0]
    return is_served(request, services) and (segment in _OURS or segment not in _segments(request.app))


def refusing(routes: Iterable[Route]) -> Callable[[web.Request, Services], web.Response | None]:
    """Make the function that refuses requests below the prefix for which there is no route.

    They are not passed on: the server looks for a file of its page at every path.
    """
    paths: dict[re.Pattern[str], set[str]] = {}
    for route in routes:
        pattern = re.compile("[^/]+".join(map(re.escape, re.split(r"\{\w+\}", route.path))))
        paths.setdefault(pattern, set()).update(route.methods)

    def refuse(request: web.Request, services: Services) -> web.Response | None:
        if not is_below(request, services):
            return None
        path = matched_path(request.rel_url)
        allowed = sorted({name for pattern, methods in paths.items() if pattern.fullmatch(path) for name in methods})
        if not allowed:
            return error_response(404, "NOT_FOUND", "Comfy API v2 has no such path.")
        text = f"{request.method} is not a method of this path."
        response = error_response(405, "METHOD_NOT_ALLOWED", text, {"allowed": allowed})
        response.headers[hdrs.ALLOW] = ", ".join(allowed)
        return response

    return refuse


def _segments(app: web.Application) -> frozenset[str]:
    """Return the first segments below the prefix for which a server has routes; "" stands for all of them."""
    found = _host_segments.get(app)
    if found is None:
        paths = [resource.canonical for resource in app.router.resources()]
        below = [f"{path}/".removeprefix(PREFIX) for path in paths if f"{path}/".startswith(PREFIX)]
        found = _host_segments[app] = frozenset(path.partition("/")[0] for path in below)
    return found


def asset_url(request: web.Request, asset_id: str) -> str:
    """Return the address of an asset's content."""
    return api_url(request, f"assets/{quote(asset_id, safe='')}/content")


def api_url(request: web.Request, path: str) -> str:
    """Return the absolute address of a path below /api/v2/."""
    return f"{request[_ROOT_KEY]}{PREFIX}{path}"


def url_expires_at() -> datetime:
    """Return the time until which an address in a response is promised to work."""
    return utc_time(now_ms() + _PROMISED_MS)


def note_root(request: web.Request, proxies: TrustedProxies) -> None:
    """Keep the address of the server's root, as the client knows it, with a request, for the functions above.

    A reverse proxy says where it is reached, by X-Forwarded-Host, -Proto and -Prefix. It is believed if it is on the
    same machine, or named in the settings.
    """
    authority, prefix, scheme = request.host, "", request.scheme
    if proxies.is_near(request.remote or ""):
        forwarded = _forwarded(request, "Host")
        if parse_authority(forwarded) is not None:
            authority = forwarded
        wanted = _forwarded(request, "Prefix").rstrip("/")
        prefix = wanted if _PATH_PREFIX.fullmatch(wanted) else ""
        scheme = "https" if _forwarded(request, "Proto").lower() == "https" else scheme
    request[_ROOT_KEY] = f"{scheme}://{authority}{prefix}"


def _forwarded(request: web.Request, name: str) -> str:
    """Return what the client's end says, the first entry of a header to which each proxy appends."""
    return request.headers.get(f"X-Forwarded-{name}", "").partition(",")[0].strip()


def idempotency_key(request: web.Request) -> str | None:
    """Return the idempotency key of a request, None if it has none. Raise InvalidBodyError for a malformed one."""
    key = request.headers.get(_IDEMPOTENCY_KEY)
    if key is None:
        return None
    if not 0 < len(key) <= _LONGEST_KEY or not all(" " <= character <= "~" for character in key):
        raise InvalidBodyError(
            f"It has 1 to {_LONGEST_KEY} printable characters of ASCII.", details={"field": _IDEMPOTENCY_KEY}
        )
    return key


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
