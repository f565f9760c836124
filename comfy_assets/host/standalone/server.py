"""The routes of the server, each under its plain path and under /api."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from aiohttp import web

from ..base import RewritePrompt
from .catalogue import CatalogueRoutes
from .executor import Executor
from .files import UploadRoutes, ViewRoute
from .folders import BaseFolders
from .frontend import WebFiles
from .http import (
    Refusal,
    json_response,
    large_json_response,
    query_integer,
    read_object,
    refusal_response,
    strings,
    text_or_none,
)
from .internal import InternalRoutes, LogBuffer
from .nodes import NodeRegistry, describe
from .prompts import PromptRoute
from .queue import PromptQueue
from .system import statistics
from .userdata import UserdataRoutes
from .users import SettingsRoutes, UserRefused, Users
from .websocket import MessageHub, WebSocketRoute

RouteHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class ServerParts:
    """What the routes show and change."""

    folders: BaseFolders
    users: Users
    queue: PromptQueue
    hub: MessageHub
    registry: NodeRegistry
    executor: Executor
    features: Mapping[str, Any]
    rewrite: RewritePrompt
    log_buffer: LogBuffer
    web: WebFiles


class ServerRoutes:
    """All routes. Those of a few lines are methods here; the others have modules of their own."""

    def __init__(self, parts: ServerParts) -> None:
        self._parts = parts
        self._queue = parts.queue

    def add_to(self, app: web.Application) -> None:
        socket = WebSocketRoute(self._parts.hub, self._greeting, self._parts.features)
        submission = PromptRoute(self._parts.registry, self._queue, self._parts.rewrite)
        uploads = UploadRoutes(self._parts.folders)
        table: list[tuple[str, str, RouteHandler]] = [
            ("GET", "/ws", socket.connect),
            ("POST", "/prompt", submission.submit),
            ("GET", "/view", ViewRoute(self._parts.folders).show),
            ("POST", "/upload/image", uploads.receive_image),
            ("POST", "/upload/mask", uploads.receive_mask),
            *self._short_routes(),
            *self._userdata_routes(),
            *self._catalogue_routes(),
        ]
        for method, path, handler in table:
            _add(app, method, path, handler)
            _add(app, method, f"/api{path}", handler)
        for method, path, handler in self._internal_routes():
            _add(app, method, f"/internal{path}", handler)
        self._parts.web.add_to(app)

    def _userdata_routes(self) -> list[tuple[str, str, RouteHandler]]:
        userdata = UserdataRoutes(self._parts.folders.user, self._parts.users)
        return [
            ("GET", "/userdata", userdata.list_files),
            ("GET", "/v2/userdata", userdata.list_entries),
            ("GET", "/userdata/{file}", userdata.download),
            ("POST", "/userdata/{file}", userdata.store),
            ("DELETE", "/userdata/{file}", userdata.delete),
            ("POST", "/userdata/{file}/move/{dest}", userdata.move),
        ]

    def _catalogue_routes(self) -> list[tuple[str, str, RouteHandler]]:
        catalogue = CatalogueRoutes(self._parts.folders, self._parts.web.packs.values())
        settings = SettingsRoutes(self._parts.folders.user, self._parts.users)
        return [
            ("GET", "/i18n", catalogue.translations),
            ("GET", "/workflow_templates", catalogue.templates),
            ("GET", "/workflow_templates/{pack}/{file:.+}", catalogue.template),
            ("GET", "/global_subgraphs", catalogue.subgraphs),
            ("GET", "/global_subgraphs/{id}", catalogue.subgraph),
            ("GET", "/node_replacements", catalogue.node_replacements),
            ("GET", "/experiment/models", catalogue.model_folders),
            ("GET", "/experiment/models/{folder}", catalogue.models_in_folder),
            ("GET", "/settings", settings.list_all),
            ("POST", "/settings", settings.update),
            ("GET", "/settings/{id}", settings.get),
            ("POST", "/settings/{id}", settings.set),
        ]

    def _internal_routes(self) -> list[tuple[str, str, RouteHandler]]:
        internal = InternalRoutes(self._parts.folders, self._parts.log_buffer)
        return [
            ("GET", "/logs", internal.logs),
            ("GET", "/logs/raw", internal.raw_logs),
            ("PATCH", "/logs/subscribe", internal.subscribe),
            ("GET", "/folder_paths", internal.folder_paths),
            ("GET", "/files/{directory_type}", internal.files),
        ]

    def _short_routes(self) -> list[tuple[str, str, RouteHandler]]:
        return [
            ("GET", "/prompt", self._queue_state),
            ("GET", "/queue", self._list_queue),
            ("POST", "/queue", self._change_queue),
            ("GET", "/history", self._list_history),
            ("POST", "/history", self._change_history),
            ("GET", "/history/{prompt_id}", self._one_of_history),
            ("POST", "/interrupt", self._interrupt),
            ("POST", "/free", self._free),
            ("GET", "/object_info", self._all_nodes),
            ("GET", "/object_info/{class_type}", self._one_node),
            ("GET", "/system_stats", self._system_stats),
            ("GET", "/features", self._features),
            ("GET", "/embeddings", self._embeddings),
            ("GET", "/models", self._categories),
            ("GET", "/models/{category}", self._models),
            ("GET", "/users", self._list_users),
            ("POST", "/users", self._add_user),
            ("GET", "/extensions", self._extensions),
        ]

    def _greeting(self, sid: str) -> list[tuple[str, Mapping[str, Any]]]:
        node_id = self._parts.executor.current_node(sid)
        running = [] if node_id is None else [("executing", {"node": node_id})]
        return [("status", {"status": self._state(), "sid": sid}), *running]

    def _state(self) -> dict[str, Any]:
        return {"exec_info": {"queue_remaining": self._queue.remaining()}}

    async def _queue_state(self, request: web.Request) -> web.Response:
        return json_response(self._state())

    async def _list_queue(self, request: web.Request) -> web.Response:
        running, waiting = self._queue.prompts()
        return await large_json_response(
            {
                "queue_running": [prompt.as_json() for prompt in running],
                "queue_pending": [prompt.as_json() for prompt in waiting],
            }
        )

    async def _change_queue(self, request: web.Request) -> web.Response:
        body = await read_object(request)
        unwanted = strings(body, "delete")
        if body.get("clear"):
            self._queue.clear()
        if unwanted:
            self._queue.drop_many(unwanted)
        return web.Response()

    async def _list_history(self, request: web.Request) -> web.Response:
        count, offset = query_integer(request, "max_items"), query_integer(request, "offset")
        return await large_json_response(self._queue.history(count, -1 if offset is None else offset))

    async def _one_of_history(self, request: web.Request) -> web.Response:
        prompt_id = request.match_info["prompt_id"]
        entry = self._queue.finished(prompt_id)
        return await large_json_response({} if entry is None else {prompt_id: entry})

    async def _change_history(self, request: web.Request) -> web.Response:
        body = await read_object(request)
        unwanted = strings(body, "delete")
        if body.get("clear"):
            self._queue.forget(None)
        if unwanted:
            self._queue.forget(unwanted)
        return web.Response()

    async def _interrupt(self, request: web.Request) -> web.Response:
        body = await read_object(request, empty_allowed=True)
        self._queue.interrupt(text_or_none(body, "prompt_id") or None)
        return web.Response()

    async def _free(self, request: web.Request) -> web.Response:
        body = await read_object(request, empty_allowed=True)
        self._queue.free(unload_models=bool(body.get("unload_models")), free_memory=bool(body.get("free_memory")))
        return web.Response()

    async def _all_nodes(self, request: web.Request) -> web.Response:
        registry = self._parts.registry
        names = list(registry)
        return json_response(await asyncio.to_thread(lambda: {name: describe(name, registry[name]) for name in names}))

    async def _one_node(self, request: web.Request) -> web.Response:
        name = request.match_info["class_type"]
        node = self._parts.registry.get(name)
        return json_response({} if node is None else {name: await asyncio.to_thread(describe, name, node)})

    async def _system_stats(self, request: web.Request) -> web.Response:
        return json_response(await asyncio.to_thread(statistics))

    async def _features(self, request: web.Request) -> web.Response:
        return json_response(self._parts.features)

    async def _categories(self, request: web.Request) -> web.Response:
        return json_response(self._parts.folders.categories())

    async def _models(self, request: web.Request) -> web.Response:
        category = request.match_info["category"]
        if category not in self._parts.folders.categories():
            raise Refusal("There is no such category.", status=404)
        return json_response(await asyncio.to_thread(self._parts.folders.model_names, category))

    async def _embeddings(self, request: web.Request) -> web.Response:
        names = await asyncio.to_thread(self._parts.folders.model_names, "embeddings")
        return json_response([PurePosixPath(name).with_suffix("").as_posix() for name in names])

    async def _list_users(self, request: web.Request) -> web.Response:
        users = self._parts.users
        if users.multi_user:
            return json_response({"storage": "server", "users": users.names()})
        return json_response({"storage": "server", "migrated": users.has_directory()})

    async def _add_user(self, request: web.Request) -> web.Response:
        body = await read_object(request)
        if not self._parts.users.multi_user:
            raise Refusal("This server was started for a single user.")
        try:
            name = text_or_none(body, "username") or ""
            return json_response(await asyncio.to_thread(self._parts.users.add, name))
        except UserRefused as error:
            raise Refusal(str(error)) from error

    async def _extensions(self, request: web.Request) -> web.Response:
        return json_response(await self._parts.web.scripts())


def _add(app: web.Application, method: str, path: str, handler: RouteHandler) -> None:
    if method == "GET":
        app.router.add_get(path, _with_refusals(handler))
    else:
        app.router.add_route(method, path, _with_refusals(handler))


def _with_refusals(handler: RouteHandler) -> RouteHandler:
    """Wrap a handler so that a Refusal becomes its response."""

    async def respond(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except Refusal as error:
            return refusal_response(error)

    return respond
