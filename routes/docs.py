"""The project's own description over HTTP: an OpenAPI document, and a page that shows it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from .context import Call, endpoint
from .file_response import is_held
from .params import NoQuery
from .router import Route

if TYPE_CHECKING:
    from .openapi.page import Page


@dataclass(frozen=True)
class Kept:
    """An answer that stays the same as long as the program does."""

    body: bytes
    etag: str


def routes_for(others: Sequence[Route]) -> list[Route]:
    """The routes that describe these others, and themselves."""

    @cache
    def document() -> Kept:
        from . import openapi  # when somebody asks: all its words would take a share of the server's start

        return _kept(msgspec.json.encode(openapi.document(routes)))

    @endpoint(is_probe=True)
    async def get_document(call: Call[NoQuery]) -> web.Response:
        """The OpenAPI document (an extension)."""
        return await _answer(call.request, document, {"Content-Type": "application/json"})

    @endpoint(is_probe=True)
    async def get_page(call: Call[NoQuery]) -> web.Response:
        """The page that shows it (an extension)."""
        shown = await asyncio.to_thread(_page)
        headers = {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": shown.policy}
        return await _answer(call.request, lambda: _kept(shown.html), headers)

    own = [
        Route("GET", "/api/openapi.json", "getOpenApiDocument", get_document),
        Route("GET", "/api/docs", "getApiPage", get_page),
    ]
    routes = [*others, *own]
    return own


def _page() -> Page:
    from .openapi import page

    return page.read()


def _kept(body: bytes) -> Kept:
    return Kept(body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')


async def _answer(request: web.Request, make: Callable[[], Kept], headers: dict[str, str]) -> web.Response:
    kept = await asyncio.to_thread(make)
    headers |= {"ETag": kept.etag, "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
    if is_held(request, kept.etag):
        return web.Response(status=304, headers=headers)
    return web.Response(body=kept.body, headers=headers)
