"""Copies of requests with other headers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

R = TypeVar("R", bound=web.BaseRequest)


def with_headers(request: R, headers: Mapping[str, str], rel_url: URL | None = None) -> R:
    """Return the request with these headers, and another address if one is given.

    aiohttp decodes headers as UTF-8, with a lone surrogate for every other byte, but cannot encode these for a copy.
    Such a header is decoded as ISO-8859-1 instead: it stays different from all others, and is no ASCII.
    """
    changes: dict[str, Any] = {} if rel_url is None else {"rel_url": rel_url}
    readable = CIMultiDict((name, _unicode(text)) for name, text in headers.items())
    return cast(R, request.clone(headers=readable, **changes))  # aiohttp does not annotate that the class stays


def _unicode(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape").decode("iso-8859-1")
    return text
