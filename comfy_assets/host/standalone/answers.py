"""JSON in and out of the routes, and what a bad request is told."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from aiohttp import web


class BadRequest(Exception):
    """The client's mistake. ``error`` is the JSON body of the answer."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__(str(error))
        self.error = error


def plain_error(text: str) -> BadRequest:
    """A mistake described in a sentence: ``{"error": "…"}``."""
    return BadRequest({"error": text})


async def read_object(request: web.Request, *, empty_allowed: bool = False) -> dict[str, Any]:
    """The request's body as a JSON object. Raises BadRequest when it is anything else."""
    raw = await request.read()
    if empty_allowed and not raw.strip():
        return {}
    try:
        body = json.loads(raw, parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise plain_error("The request's body is not valid JSON.") from error
    if not isinstance(body, dict):
        raise plain_error("The request's body must be a JSON object.")
    return body


def json_answer(data: object, status: int = 200) -> web.Response:
    """A JSON response."""
    return web.json_response(data, status=status, dumps=lambda value: json.dumps(value, default=str))


def query_integer(request: web.Request, name: str) -> int | None:
    """An integer of the query string, None when it is absent. Raises BadRequest."""
    text = request.query.get(name)
    if text is None:
        return None
    try:
        return int(text)
    except ValueError as error:
        raise plain_error(f"{name} must be an integer.") from error


def strings(body: Mapping[str, Any], name: str) -> list[str]:
    """A list of strings in a body, empty when it is absent. Raises BadRequest."""
    value = body.get(name) or []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise plain_error(f"{name} must be a list of strings.")
    return value


def _no_constant(word: str) -> float:
    raise ValueError(f"{word} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number
