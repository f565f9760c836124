"""Turn a function of a RequestContext into an aiohttp handler: parse, call, encode; errors become JSON."""

from __future__ import annotations

import functools
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from http import HTTPStatus
from typing import Any, Generic, TypeVar

import msgspec
from aiohttp import web

from ..comfy_assets import json_text
from ..comfy_assets.app import Services
from ..comfy_assets.errors import ApiError, UnauthorizedError
from ..comfy_assets.host.base import UnknownUserError
from ..comfy_assets.host.login_gate import OUTSIDER
from .params import parse_query
from .request_body import check_headers

log = logging.getLogger("comfy_assets.http")

Q = TypeVar("Q", bound=msgspec.Struct)
RequestHandler = Callable[[web.Request, Mapping[str, str], Services], Awaitable[web.StreamResponse]]
# The error of the request that is handled in this context: several requests of a connection share a context.
_failure: ContextVar[ApiError | None] = ContextVar("comfy_assets_failure", default=None)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_encoder = msgspec.json.Encoder(decimal_format="number")


class NoQuery(msgspec.Struct, frozen=True):
    """Query of an operation without parameters."""


@dataclass(frozen=True)
class RequestContext(Generic[Q]):
    """A request with its checked query, decoded path parameters and user ("" if anonymous)."""

    services: Services
    query: Q
    path: Mapping[str, str]
    user: str
    request: web.Request


Function = Callable[[RequestContext[Any]], Awaitable[Any]]
GuardedFunction = Callable[[web.Request, Mapping[str, str], Services], Awaitable[Any]]
# Makes the error response of a status, a code, a message and details.
Failure = Callable[[int, str, str, dict[str, Any] | None], web.Response]
_PARAMETERS: dict[RequestHandler, frozenset[str]] = {}


def endpoint(
    query: type[msgspec.Struct] = NoQuery,
    *,
    requires_store: bool = True,
    allow_anonymous: bool = False,
    failure: Failure | None = None,
    has_more_parameters: bool = False,
) -> Callable[[Function], RequestHandler]:
    """Make a handler of a function that returns a response, or a value to encode as JSON.

    The handler never raises: errors become responses of ``failure``, by default of ``error_response``.
    ``allow_anonymous`` passes the user "" if the host does not know the request's user. Browsers, for example, send no
    user header with the images of a page. Without ``requires_store`` the handler does not wait for the store to open.
    ``has_more_parameters``: the function also reads parameters that ``query`` does not have.
    """
    guard = guarded(query, requires_store=requires_store, allow_anonymous=allow_anonymous, failure=failure)

    def decorate(function: Function) -> RequestHandler:
        @functools.wraps(function)
        async def respond(call: RequestContext[Any]) -> web.StreamResponse:
            result = await function(call)
            return result if isinstance(result, web.StreamResponse) else json_response(result)

        handler = guard(respond)
        if not has_more_parameters:
            _PARAMETERS[handler] = frozenset(query.__struct_fields__)
        return handler

    return decorate


def parameters_of(handler: RequestHandler) -> frozenset[str] | None:
    """Return the names of the query parameters of an endpoint, or None if it may use any."""
    return _PARAMETERS.get(handler)


def guarded(
    query: type[msgspec.Struct] = NoQuery,
    *,
    requires_store: bool = True,
    allow_anonymous: bool = False,
    failure: Failure | None = None,
) -> Callable[[Function], GuardedFunction]:
    """Like ``endpoint``, for a step of a handler: return the function's result as it is, or an error response."""
    fail = failure or error_response

    def decorate(function: Function) -> GuardedFunction:
        @functools.wraps(function)
        async def handler(request: web.Request, path: Mapping[str, str], services: Services) -> Any:
            try:
                check_headers(request)  # first: refused by its headers, a body is not even read
                user = _user_of(request, services, allow_anonymous=allow_anonymous)
                parsed = parse_query(query, request.query)
                if requires_store:
                    await services.ready()
                return await function(RequestContext(services, parsed, path, user, request))
            except ApiError as error:
                _failure.set(error)
                return error_of(error, fail)
            except Exception:
                # The path is logged as it was sent: decoded, it could forge lines of the log.
                log.exception("%s %s failed", request.method, request.rel_url.raw_path)
                return fail(500, "INTERNAL_ERROR", "Something went wrong; the server's log says what.", None)

        return handler

    return decorate


async def call(
    handler: RequestHandler, request: web.Request, path: Mapping[str, str], services: Services
) -> tuple[web.StreamResponse, ApiError | None]:
    """Call a handler; return its response, and the error that the response was made of, if any."""
    _failure.set(None)
    response = await handler(request, path, services)
    return response, _failure.get()


def is_outsider(request: web.Request) -> bool:
    """Return whether nobody has signed in for a request, which the login has let through to an open share."""
    return bool(request.get(OUTSIDER, False))


def known_user(request: web.Request, services: Services) -> str | None:
    """Return the request's user, None if the host does not know them."""
    if is_outsider(request):
        return None
    try:
        return services.host.user_of(request)
    except UnknownUserError:
        return None


def _user_of(request: web.Request, services: Services, *, allow_anonymous: bool) -> str:
    user = known_user(request, services)
    if user is None and not allow_anonymous:
        raise UnauthorizedError("The server does not know this user.")
    return user or ""


def encoded(value: Any) -> msgspec.Raw:
    """Return a value as the JSON that it has in responses."""
    return msgspec.Raw(_encoder.encode(value))


def json_response(value: Any, status: int = 200) -> web.Response:
    """Encode the value as a JSON response."""
    try:
        body = _encoder.encode(value)
    except UnicodeEncodeError:
        if status < HTTPStatus.BAD_REQUEST:
            raise
        body = json_text.encode(value).encode()  # errors quote texts of clients, which may have lone surrogates
    return web.Response(body=body, status=status, content_type="application/json")


def utc_time(milliseconds: int) -> datetime:
    """Return the time of milliseconds since 1970, in UTC, which is encoded with a Z."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


def error_response(status: int, code: str, message: str, details: dict[str, Any] | None = None) -> web.Response:
    """Make the contract's ErrorResponse."""
    body: dict[str, Any] = {"code": code, "message": message}
    if details:
        body["details"] = details
    return json_response(body, status)


def error_of(error: ApiError, fail: Failure = error_response) -> web.Response:
    """Make the response of an ApiError."""
    return fail(error.status, error.code, error.message, error.details)
