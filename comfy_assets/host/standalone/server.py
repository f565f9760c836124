"""The routes of the server, each under its plain path and under /api."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from .answers import BadRequest, json_answer, plain_error, query_integer, read_object, strings
from .folders import BaseFolders
from .messages import MessageHub
from .page import show_page
from .queue import PromptQueue
from .system import features, statistics
from .users import Users
from .websocket import WebSocketRoute

RouteHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Routes:
    """What the routes need, and the routes that are a few lines each."""

    def __init__(self, folders: BaseFolders, users: Users, queue: PromptQueue, hub: MessageHub) -> None:
        self._folders = folders
        self._users = users
        self._queue = queue
        self._socket = WebSocketRoute(hub, self._greeting)

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/", show_page)
        for method, path, handler in self._table():
            for prefix in ("", "/api"):
                app.router.add_route(method, prefix + path, _answering(handler))
                if method == "GET" and path != "/ws":
                    app.router.add_route("HEAD", prefix + path, _answering(handler))

    def _table(self) -> list[tuple[str, str, RouteHandler]]:
        return [
            ("GET", "/ws", self._socket.connect),
            ("GET", "/prompt", self._queue_state),
            ("GET", "/queue", self._list_queue),
            ("GET", "/system_stats", self._system_stats),
            ("GET", "/features", self._features),
        ]

    def _greeting(self, sid: str) -> list[tuple[str, Mapping[str, Any]]]:
        return [("status", {"status": self._state(), "sid": sid})]

    def _state(self) -> dict[str, Any]:
        return {"exec_info": {"queue_remaining": self._queue.remaining()}}

    async def _queue_state(self, request: web.Request) -> web.Response:
        return json_answer(self._state())

    async def _list_queue(self, request: web.Request) -> web.Response:
        running, waiting = self._queue.listing()
        return json_answer(
            {
                "queue_running": [prompt.as_json() for prompt in running],
                "queue_pending": [prompt.as_json() for prompt in waiting],
            }
        )

    async def _system_stats(self, request: web.Request) -> web.Response:
        return json_answer(statistics())

    async def _features(self, request: web.Request) -> web.Response:
        return json_answer(features())


def _answering(handler: RouteHandler) -> RouteHandler:
    """The handler, with a client's mistake turned into a 400."""

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except BadRequest as error:
            return json_answer(error.error, status=400)

    return answer
