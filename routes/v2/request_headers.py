"""Headers of requests that several operations of Comfy API v2 read."""

from __future__ import annotations

from aiohttp import web

from ...comfy_assets.errors import InvalidBodyError
from ..operations import Schema, string

_IDEMPOTENCY_KEY = "Idempotency-Key"
_LONGEST = 255

IDEMPOTENCY: dict[str, Schema] = {
    _IDEMPOTENCY_KEY: string(
        "A text that no other request has, such as a UUID. For a day, a later request with it is refused, whatever its "
        "body. It can be used again after a request that certainly made nothing.",
        minLength=1,
        maxLength=_LONGEST,
    )
}


def idempotency_key(request: web.Request) -> str | None:
    """Return the idempotency key of a request, None if it has none. Raise InvalidBodyError for a malformed one."""
    key = request.headers.get(_IDEMPOTENCY_KEY)
    if key is None:
        return None
    if not 0 < len(key) <= _LONGEST or not all(" " <= character <= "~" for character in key):
        raise InvalidBodyError(
            f"It has 1 to {_LONGEST} printable characters of ASCII.", details={"field": _IDEMPOTENCY_KEY}
        )
    return key
