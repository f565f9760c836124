"""Credentials that clients of the hosted service send along: they mean nothing here, and must not be written down."""

from __future__ import annotations

from typing import Any

from aiohttp import hdrs, web

from ..comfy_assets.jobs.redaction import Redaction

_HEADERS = ("X-API-Key", hdrs.AUTHORIZATION)


def credentials_of(request: web.Request) -> list[str]:
    """The secrets in a request's headers and cookies."""
    headers = [text for name in _HEADERS for text in request.headers.getall(name, [])]
    tokens = [text.partition(" ")[2].strip() for text in headers]
    return [text for text in (*headers, *tokens, *request.cookies.values()) if text]


def without_credentials(request: web.Request, value: Any) -> Any:
    """The value with the request's secrets taken out of every text in it."""
    redaction = Redaction()
    redaction.learn("", credentials_of(request))
    return redaction.of("")(value)
