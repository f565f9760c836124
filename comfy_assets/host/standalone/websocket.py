"""The route /ws: a page connects, is told the state of the queue, and then hears what happens."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
from aiohttp import web

from .messages import CLOSE_TIMEOUT_S, HEARTBEAT_S, MessageHub, Page

# (event, data) pairs that bring a page that has just connected up to date.
Greeting = Callable[[str], list[tuple[str, Mapping[str, Any]]]]


class WebSocketRoute:
    """Serves pages. Pages may share a session id (a duplicated browser tab does); each hears everything."""

    def __init__(self, hub: MessageHub, greeting: Greeting, features: Mapping[str, Any]) -> None:
        self._hub = hub
        self._features = features
        self._greeting = greeting

    async def connect(self, request: web.Request) -> web.WebSocketResponse:
        """Answer ``GET /ws?clientId=…`` until the page goes away."""
        socket = web.WebSocketResponse(heartbeat=HEARTBEAT_S, timeout=CLOSE_TIMEOUT_S)
        await socket.prepare(request)
        sid = request.query.get("clientId") or uuid.uuid4().hex
        page = Page(sid, socket, _abort_of(request))
        for event, data in self._greeting(sid):
            page.send(event, data)
        self._hub.connect(page)
        try:
            await self._listen(page)
        finally:
            await self._hub.disconnect(page)
        return socket

    async def _listen(self, page: Page) -> None:
        """Read to the end. Only the first message means something: the exchange of feature flags."""
        first = True
        async for message in page.socket:
            if first and message.type == aiohttp.WSMsgType.TEXT and _is_handshake(message.data):
                page.send("feature_flags", self._features)
            first = False


def _is_handshake(text: str) -> bool:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(message, dict) and message.get("type") == "feature_flags"


def _abort_of(request: web.Request) -> Callable[[], None]:
    """What cuts a request's connection at once, without waiting for the other side."""
    transport = request.transport

    def abort() -> None:
        if transport is not None:
            transport.abort()

    return abort
