"""Shared parts of the routes: their tables, JSON bodies, refusals, and responses to preflight requests."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from ... import json_limits, json_text

RouteHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]
# Routes as (method, path, handler). A GET route handles HEAD as well.
RouteTable = Sequence[tuple[str, str, RouteHandler]]

_PARSED_INLINE = 64 << 10  # bytes; larger bodies are parsed in a thread
_NO_JSON = "The request's body is not valid JSON."
_CODES = {401: "UNAUTHORIZED", 403: "FORBIDDEN", 404: "NOT_FOUND", 413: "BODY_TOO_LARGE"}


class Refusal(Exception):
    """Refuses a request with a status, a code and a sentence for the client."""

    def __init__(self, text: str, status: int = 400, *, code: str | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.status = status
        self.code = code or _CODES.get(status, "INVALID_REQUEST")


def add_routes(app: web.Application, table: RouteTable, prefixes: Iterable[str]) -> None:
    """Add every route below each of the prefixes, with its Refusals turned into responses."""
    for method, path, handler in table:
        for prefix in prefixes:
            if method == "GET":
                app.router.add_get(f"{prefix}{path}", _with_refusals(handler))
            else:
                app.router.add_route(method, f"{prefix}{path}", _with_refusals(handler))


def _with_refusals(handler: RouteHandler) -> RouteHandler:
    async def respond(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except Refusal as error:
            return _refusal_response(error)
        except web.RequestPayloadError:  # it is not what its Content-Encoding or Transfer-Encoding says
            return _refusal_response(Refusal("The request's body could not be read."))

    return respond


async def read_json(request: web.Request) -> Any:
    """Return the request's body as a JSON value. Raise Refusal if it is not JSON."""
    return await _parse_body(await request.read())


async def read_object(request: web.Request, *, empty_allowed: bool = False) -> dict[str, Any]:
    """Return the request's body as a JSON object. Raise Refusal for anything else."""
    raw = await request.read()
    if empty_allowed and not raw.strip():
        return {}
    body = await _parse_body(raw)
    if not isinstance(body, dict):
        raise Refusal("The request's body must be a JSON object.")
    return body


async def _parse_body(raw: bytes) -> Any:
    decoded = json_limits.decoded_before(raw)
    if decoded is not None:  # the plugin has decoded a prompt to check it
        if not decoded.is_finite:
            raise Refusal(_NO_JSON)
        return decoded.value
    return _parse(raw) if len(raw) <= _PARSED_INLINE else await asyncio.to_thread(_parse, raw)


def _parse(raw: bytes) -> Any:
    # Python's JSON has NaN and infinities, which would reach nodes as numbers.
    decoder = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite)
    try:
        return json_text.decode_in_steps(raw, json_limits.shape_of(raw).values, decoder)
    except (ValueError, RecursionError) as error:
        raise Refusal(_NO_JSON) from error


def _refusal_response(refusal: Refusal) -> web.Response:
    """Make the contract's error response, with the member ``error`` that ComfyUI's own clients read."""
    body = {"code": refusal.code, "message": refusal.text, "error": refusal.text}
    return json_response(body, status=refusal.status)


def json_response(data: object, status: int = 200) -> web.Response:
    """Make a JSON response; values that are not JSON are written as their ``str``."""
    return web.json_response(data, status=status, dumps=lambda value: json.dumps(value, default=str))


async def large_json_response(data: Mapping[str, Any]) -> web.Response:
    """Make a JSON response that may be large: encoded in a thread, in steps, and sent in pieces."""
    pieces = await asyncio.to_thread(json_text.encoded_pieces, data)
    body = pieces[0] if len(pieces) == 1 else _in_pieces(pieces)
    return web.Response(body=body, content_type="application/json", charset="utf-8")


async def _in_pieces(pieces: Sequence[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def query_integer(request: web.Request, name: str) -> int | None:
    """Return an integer of the query, None if it is absent. Raise Refusal."""
    text = request.query.get(name)
    if text is None:
        return None
    try:
        return int(text)
    except ValueError as error:
        raise Refusal(f"{name} must be an integer.") from error


def strings(body: Mapping[str, Any], name: str) -> list[str] | None:
    """Return a list of strings of a body, None if it is absent or null. Raise Refusal."""
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise Refusal(f"{name} must be a list of strings.")
    return value


def text_or_none(body: Mapping[str, Any], name: str) -> str | None:
    """Return a string of a body, None if it is absent or null. Raise Refusal."""
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise Refusal(f"{name} must be a string.")
    return value


def _no_constant(word: str) -> float:
    raise ValueError(f"{word} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


@web.middleware
async def respond_to_preflight(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Return an empty response to preflight requests: without CORS headers, no page of another origin gets access."""
    if request.method == "OPTIONS":
        return web.Response()
    return await handler(request)
