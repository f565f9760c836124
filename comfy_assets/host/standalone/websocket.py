"""The route /ws, and messages to open pages. A page first receives the state of the queue."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
from aiohttp import web

from .http import RouteTable

# Returns the (event, data) pairs for a page that has just connected, by session id.
Greeting = Callable[[str], list[tuple[str, Mapping[str, Any]]]]


class WebSocketRoute:
    """Connects pages. Pages may share a session id, as duplicated browser tabs do; each receives all its messages."""

    def __init__(self, hub: MessageHub, greeting: Greeting, features: Mapping[str, Any]) -> None:
        self._hub = hub
        self._features = features
        self._greeting = greeting

    def routes(self) -> RouteTable:
        return [("GET", "/ws", self._connect)]

    async def _connect(self, request: web.Request) -> web.WebSocketResponse:
        """Serve ``GET /ws?clientId=…`` until the page disconnects."""
        socket = web.WebSocketResponse(heartbeat=HEARTBEAT_S, timeout=CLOSE_TIMEOUT_S)
        await socket.prepare(request)
        sid = request.query.get("clientId") or uuid.uuid4().hex
        page = PageConnection(sid, socket, _abort_of(request))
        for event, data in self._greeting(sid):
            page.send(event, data)
        self._hub.connect(page)
        try:
            await self._listen(page)
        finally:
            await self._hub.disconnect(page)
        return socket

    async def _listen(self, page: PageConnection) -> None:
        """Read all messages. Only the first has a meaning: the exchange of feature flags."""
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
    """Return a function that closes a request's connection at once, without waiting for the other side."""
    transport = request.transport

    def abort() -> None:
        if transport is not None:
            transport.abort()

    return abort


MAX_WAITING_MESSAGES = 2048  # a page that is this far behind has stopped reading
HEARTBEAT_S = 30.0  # finds pages whose machine is gone
CLOSE_TIMEOUT_S = 0.3


def encode_message(event: str, data: Mapping[str, Any]) -> str:
    """Encode a websocket message; values that are not JSON are written as their ``str``."""
    return json.dumps({"type": event, "data": data}, default=str)


class PageConnection:
    """An open web socket with the messages to be written to it.

    Each has an outbox and a task of its own, so that a slow page delays no other.
    """

    def __init__(self, sid: str, socket: web.WebSocketResponse, abort: Callable[[], None]) -> None:
        self.sid = sid
        self.socket = socket
        self._abort = abort
        self._outbox: asyncio.Queue[str] = asyncio.Queue(MAX_WAITING_MESSAGES)
        self._writer = asyncio.create_task(self._write(), name=f"page {sid}")

    def send(self, event: str, data: Mapping[str, Any]) -> None:
        """Queue a message for this page only."""
        self.post(encode_message(event, data))

    def post(self, text: str) -> None:
        """Queue an encoded message. A page that has stopped reading is disconnected; it reconnects when it wakes."""
        try:
            self._outbox.put_nowait(text)
        except asyncio.QueueFull:
            self._writer.cancel()
            self._abort()

    async def stop_writing(self) -> None:
        self._writer.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._writer

    async def close(self) -> None:
        """Close the socket, and the connection if the other side does not respond in time."""
        with contextlib.suppress(asyncio.TimeoutError, ConnectionError):
            goodbye = self.socket.close(code=aiohttp.WSCloseCode.GOING_AWAY, message=b"server stops")
            await asyncio.wait_for(goodbye, CLOSE_TIMEOUT_S)
        self._abort()

    async def _write(self) -> None:
        with contextlib.suppress(ConnectionError, aiohttp.ClientError):
            while True:
                await self.socket.send_str(await self._outbox.get())


class MessageHub:
    """All open pages. ``send`` may be called from any thread, even before and after the server runs."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pages: list[PageConnection] = []

    def start(self) -> None:
        """Deliver messages from now on, on the running event loop."""
        self._loop = asyncio.get_running_loop()

    async def stop(self) -> None:
        """Close every page and stop delivering."""
        self._loop = None
        pages = list(self._pages)
        await asyncio.gather(*(page.close() for page in pages))

    def send(self, event: str, data: Mapping[str, Any], sid: str | None = None) -> None:
        """Send ``{"type": event, "data": data}`` to the pages of one session, or to every page."""
        loop = self._loop
        if loop is None or not self._pages:
            return
        text = encode_message(event, data)
        with contextlib.suppress(RuntimeError):  # another thread has just closed the loop
            loop.call_soon_threadsafe(self._deliver, text, sid)

    def is_connected(self, sid: str) -> bool:
        """Return whether a session has an open page."""
        return any(page.sid == sid for page in tuple(self._pages))

    def connect(self, page: PageConnection) -> None:
        self._pages.append(page)

    async def disconnect(self, page: PageConnection) -> None:
        self._pages.remove(page)
        await page.stop_writing()

    def _deliver(self, text: str, sid: str | None) -> None:
        for page in self._pages:
            if sid is None or page.sid == sid:
                page.post(text)
