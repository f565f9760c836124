"""JSON in and out of the routes, and what a bad request is told."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from ... import json_limits, json_text

_PARSED_AT_ONCE = 64 << 10  # bytes; more are read in a thread
_CODES = {401: "UNAUTHORIZED", 403: "FORBIDDEN", 404: "NOT_FOUND", 413: "BODY_TOO_LARGE"}


class Refusal(Exception):
    """A request that is not carried out: the status, and a sentence for the client."""

    def __init__(self, text: str, status: int = 400, *, code: str | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.status = status
        self.code = code or _CODES.get(status, "INVALID_REQUEST")


async def read_json(request: web.Request) -> Any:
    """The request's body as a JSON value. Raises Refusal when it is none."""
    return await _parsed(await request.read())


async def read_object(request: web.Request, *, empty_allowed: bool = False) -> dict[str, Any]:
    """The request's body as a JSON object. Raises Refusal when it is anything else."""
    raw = await request.read()
    if empty_allowed and not raw.strip():
        return {}
    body = await _parsed(raw)
    if not isinstance(body, dict):
        raise Refusal("The request's body must be a JSON object.")
    return body


async def _parsed(raw: bytes) -> Any:
    return _parse(raw) if len(raw) <= _PARSED_AT_ONCE else await asyncio.to_thread(_parse, raw)


def _parse(raw: bytes) -> Any:
    decoder = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite)
    try:
        return json_text.decode_in_steps(raw, json_limits.shape_of(raw).values, decoder)
    except (ValueError, RecursionError) as error:
        raise Refusal("The request's body is not valid JSON.") from error


def refusal_answer(refusal: Refusal) -> web.Response:
    """The body is the contract's; ``error`` is where ComfyUI's own clients look."""
    body = {"code": refusal.code, "message": refusal.text, "error": refusal.text}
    return json_answer(body, status=refusal.status)


def json_answer(data: object, status: int = 200) -> web.Response:
    """A JSON response; what JSON does not know is written as its ``str``."""
    return web.json_response(data, status=status, dumps=lambda value: json.dumps(value, default=str))


async def large_answer(data: Mapping[str, Any]) -> web.Response:
    """Return a JSON response that may be large: it is made in a thread, in steps, and sent in pieces."""
    pieces = await asyncio.to_thread(json_text.encoded_pieces, data)
    body = pieces[0] if len(pieces) == 1 else _in_pieces(pieces)
    return web.Response(body=body, content_type="application/json", charset="utf-8")


async def _in_pieces(pieces: Sequence[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def query_integer(request: web.Request, name: str) -> int | None:
    """An integer of the query string, None when it is absent. Raises Refusal."""
    text = request.query.get(name)
    if text is None:
        return None
    try:
        return int(text)
    except ValueError as error:
        raise Refusal(f"{name} must be an integer.") from error


def strings(body: Mapping[str, Any], name: str) -> list[str] | None:
    """A list of strings in a body, None when it is absent or null. Raises Refusal."""
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise Refusal(f"{name} must be a list of strings.")
    return value


def text_or_none(body: Mapping[str, Any], name: str) -> str | None:
    """A string in a body, None when it is absent or null. Raises Refusal."""
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
async def answer_options(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Return an empty response to preflight requests: it has no headers that would grant anything."""
    if request.method == "OPTIONS":
        return web.Response()
    return await handler(request)
