"""From a function that answers a call to an aiohttp handler: parse, call, answer; and errors into JSON."""

from __future__ import annotations

import functools
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec
from aiohttp import web

from ..comfy_assets.app import Services
from ..comfy_assets.errors import ApiError, UnauthorizedError
from ..comfy_assets.host.base import UnknownUserError
from .params import NoQuery, parse_query
from .request_body import check_headers

log = logging.getLogger("comfy_assets.http")

Q = TypeVar("Q", bound=msgspec.Struct)
RequestHandler = Callable[[web.Request, Mapping[str, str], Services], Awaitable[web.StreamResponse]]
_encoder = msgspec.json.Encoder(decimal_format="number")


@dataclass(frozen=True)
class Call(Generic[Q]):
    """One request: its checked query, path parameters, user, and what it is answered with."""

    services: Services
    query: Q
    path: Mapping[str, str]
    user: str
    request: web.Request


Function = Callable[[Call[Any]], Awaitable[Any]]
GuardedFunction = Callable[[web.Request, Mapping[str, str], Services], Awaitable[Any]]
Failure = Callable[[int, str, str, dict[str, Any] | None], web.Response]


def endpoint(
    query: type[msgspec.Struct] = NoQuery,
    *,
    is_probe: bool = False,
    is_for_anybody: bool = False,
    needs_store: bool = True,
    failure: Failure | None = None,
) -> Callable[[Function], RequestHandler]:
    """Make a handler of a function that takes a Call and answers a response, or a value to be sent as JSON.

    The handler never raises: whatever goes wrong is answered with ``failure``, or as JSON. A probe is
    called as the user "", and does not wait for the store to be open. What is for anybody is called as the user
    "" where the host knows no user of the request: browsers send no header along for pictures in a page. What needs no
    store does not wait for it either.
    """
    guard = guarded(query, is_probe=is_probe, is_for_anybody=is_for_anybody, needs_store=needs_store, failure=failure)

    def decorate(function: Function) -> RequestHandler:
        @functools.wraps(function)
        async def answered(call: Call[Any]) -> web.StreamResponse:
            answer = await function(call)
            return answer if isinstance(answer, web.StreamResponse) else json_response(answer)

        return guard(answered)

    return decorate


def guarded(
    query: type[msgspec.Struct] = NoQuery,
    *,
    is_probe: bool = False,
    is_for_anybody: bool = False,
    needs_store: bool = True,
    failure: Failure | None = None,
) -> Callable[[Function], GuardedFunction]:
    """Like ``endpoint``, for a part of an answer: what the function answers is handed on, errors are responses."""
    fail = failure or error_response

    def decorate(function: Function) -> GuardedFunction:
        @functools.wraps(function)
        async def handler(request: web.Request, path: Mapping[str, str], services: Services) -> Any:
            try:
                check_headers(request)
                user = "" if is_probe else _user_of(request, services, "" if is_for_anybody else None)
                parsed = parse_query(query, request.query)
                if needs_store and not is_probe:
                    await services.ready()
                return await function(Call(services, parsed, path, user, request))
            except ApiError as error:
                return fail(error.status, error.code, error.message, error.details)
            except Exception:
                log.exception("%s %s failed", request.method, request.rel_url.raw_path)
                return fail(500, "INTERNAL_ERROR", "Something went wrong; the server's log says what.", None)

        return handler

    return decorate


def _user_of(request: web.Request, services: Services, otherwise: str | None) -> str:
    try:
        return services.host.user_of(request)
    except UnknownUserError:
        if otherwise is not None:
            return otherwise
        raise UnauthorizedError("The server does not know this user.") from None


def json_response(value: Any, status: int = 200) -> web.Response:
    """The value as a JSON response."""
    return web.Response(body=_encoder.encode(value), status=status, content_type="application/json")


def error_response(status: int, code: str, message: str, details: dict[str, Any] | None = None) -> web.Response:
    """An error as the contract's ErrorResponse."""
    body: dict[str, Any] = {"code": code, "message": message}
    if details:
        body["details"] = details
    return json_response(body, status)
