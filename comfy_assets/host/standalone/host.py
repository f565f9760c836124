"""``StandaloneHost``: connects the folders, users, queue, worker and routes of the server."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aiohttp import web

from ...ignored_files import ExcludePatterns
from ...logs import SERVER_LOGGERS, escape_records, limit_repeats
from ..access import AccessRules
from ..base import EmitListener, HostFolders, Network, Plugin, declared_choices
from ..execution import PromptHooks, PromptListener, RewritePrompt
from ..guard import protect
from .connections import ConnectionLimits, Connections, listen, url_of
from .executor import Executor, Worker
from .files import ModelPreviewRoute, UploadRoutes, ViewRoute
from .folders import DATA_DIRECTORY, BaseFolders, ExtraFolder, ModelRoutes
from .frontend import WEB_PATH, PackRoutes, WebFiles
from .http import add_routes, respond_to_preflight
from .nodes import NodeRegistry, NodeRoutes, register_image_nodes
from .prompts import PromptRoute, prompt_check
from .queue import PromptQueue, QueueRoutes
from .system import MAX_UPLOAD_BYTES, InternalRoutes, LogBuffer, SystemRoutes, default_features
from .templates import TemplateRoutes
from .userdata import UserdataRoutes
from .users import SettingsRoutes, UserRoutes, Users
from .websocket import MessageHub, WebSocketRoute

log = logging.getLogger("comfy_assets.standalone")

SHUTDOWN_S = 0.3  # the longest that the server waits for requests and the running node at its end
_BACKLOG = 128


class StandaloneHost:
    """Implements ``Host`` with a server of its own. Nothing is written before the application starts.

    ``nodes`` is the registry of node types; ``features`` is what /features and the websocket's handshake send. Both
    can be extended at any time. ``extra_folders``: model folders in other places; ``directories``: other places of
    input, output, temp and user. ``web_files``: the frontend.
    """

    def __init__(
        self,
        base_directory: Path,
        *,
        multi_user: bool = False,
        extra_folders: Sequence[ExtraFolder] = (),
        directories: Mapping[str, Path] | None = None,
        web_files: WebFiles | None = None,
        connection_limits: ConnectionLimits | None = None,
    ) -> None:
        self._folders = BaseFolders(base_directory, extra_folders, directories or {})
        self._users = Users(self._folders.user, multi_user=multi_user)
        self._hub = MessageHub()
        self._log_buffer = LogBuffer(self._hub)
        self._web_files = web_files or WebFiles()
        self.nodes = NodeRegistry(self._folders)
        register_image_nodes(self.nodes)
        self._queue = self.execution = PromptQueue(self._queue_changed, prompt_check(self.nodes))
        self.lists_jobs = True
        self.features: dict[str, Any] = default_features()
        self._executor = Executor(self.nodes, self._send, self._queue.progress_listeners.previewed)
        self._hooks = PromptHooks()
        self._emit_listeners: list[EmitListener] = []
        self._worker = Worker(self._queue, self._executor, self._hub.send, self._hooks.notify)
        self._plugin: Plugin | None = None
        self._plugin_task: asyncio.Task[None] | None = None
        self._built = False
        self._connections = Connections(connection_limits)
        self._listening: tuple[str, ...] = ()
        self._url = ""

    def network(self) -> Network:
        return Network(self._listening, url=self._url)

    def folders(self) -> HostFolders:
        return self._folders.library()

    def exclude(self, patterns: ExcludePatterns) -> None:
        self._folders.patterns = patterns

    def data_directory(self) -> Path:
        return self._folders.user / DATA_DIRECTORY

    def user_directory(self, user: str) -> Path:
        return self._folders.user / user

    def pack_folders(self) -> Sequence[Path]:
        return self._folders.code

    def web_path(self) -> str:
        return WEB_PATH

    def user_ids(self) -> Sequence[str]:
        return list(self._users.names())

    def user_of(self, request: web.Request) -> str:
        return self._users.identify(request.headers)

    def user_named(self, name: str) -> str | None:
        return self._users.named(name.strip())

    def ensure_user(self, name: str) -> str:
        return self._users.ensure(name)

    def is_multi_user(self) -> bool:
        return self._users.multi_user

    def is_executing(self) -> bool:
        return self._queue.busy()

    def on_prompt(self, rewrite: RewritePrompt) -> None:
        self._hooks.rewrites.append(rewrite)

    def on_finished(self, listener: PromptListener) -> None:
        self._hooks.listeners.append(listener)

    def choices(self, class_type: str, input_name: str) -> Sequence[Any] | None:
        node = self.nodes.get(class_type)
        return None if node is None else declared_choices(node.input_types(), input_name)

    def is_output_node(self, class_type: str) -> bool:
        node = self.nodes.get(class_type)
        return node is not None and node.output_node

    def asset_files(self, ids: Sequence[str]) -> Mapping[str, Path]:
        return {}

    def add_features(self, features: Mapping[str, Any]) -> None:
        self.features.update(features)

    def index_option(self) -> str | None:
        return None

    def emit(self, event: str, data: Mapping[str, Any]) -> None:
        self._hub.send(event, data)
        for listener in self._emit_listeners:
            listener(event, data)

    def on_emit(self, listener: EmitListener) -> None:
        self._emit_listeners.append(listener)

    def attach(self, plugin: Plugin) -> None:
        """Put the plugin in front of the routes. Raise RuntimeError after the application has been built."""
        if self._built or self._plugin is not None:
            raise RuntimeError("attach one plugin, before the application is built")
        self._plugin = plugin

    def application(self) -> web.Application:
        """Return the server as an aiohttp application, which starts the plugin at its own start."""
        app = self._build()
        app.on_startup.append(self._start_plugin)
        return app

    async def serve(self, host: str, port: int, on_ready: Callable[[str], None] | None = None) -> None:
        """Serve until cancelled; call ``on_ready`` with the URL. Raise OSError if the address is not available.

        The address is bound first, so that a second server on the same address ends without touching the folder.
        """
        limit_repeats(SERVER_LOGGERS)
        escape_records("aiohttp")  # its records quote malformed requests
        listening = await listen(host, port)
        self._listening = tuple(name.strip() for name in host.split(","))
        self._url = url_of(listening[0])
        runner = web.AppRunner(self._build(), access_log=None, shutdown_timeout=SHUTDOWN_S)
        servers: list[asyncio.Server] = []
        try:
            await runner.setup()
            if runner.server is None:
                raise RuntimeError("the runner has no server")
            protocol = self._connections.protocol(runner.server)
            for each in listening:
                servers.append(await asyncio.get_running_loop().create_server(protocol, sock=each, backlog=_BACKLOG))
            await self._start_plugin(runner.app)
            if on_ready is not None:
                on_ready(self._url)
            await asyncio.Event().wait()
        finally:
            for server in servers:
                server.close()
            await runner.cleanup()
            for each in listening:
                each.close()

    def _build(self) -> web.Application:
        self._built = True
        plugin = [] if self._plugin is None else [self._plugin.middleware]
        access = AccessRules() if self._plugin is None else self._plugin.access
        access.own_names.update(name.lower() for name in self._listening)
        # The plugin comes last, as in ComfyUI, whose own middlewares run before those of packs.
        app = web.Application(middlewares=[respond_to_preflight, *plugin], client_max_size=MAX_UPLOAD_BYTES)
        gate = None if self._plugin is None else self._plugin.gate
        protect(app, access, gate, None if self._plugin is None else self._plugin.outer)
        self._connections.add_to(app)
        if gate is not None:
            gate.keep_first(app)
        self._add_routes(app)
        app.on_startup.append(self._start)
        app.on_shutdown.append(self._close_pages)
        app.on_cleanup.append(self._stop)
        return app

    def _add_routes(self, app: web.Application) -> None:
        """Add every route under its plain path and under /api, except those of the page."""
        tables = [
            WebSocketRoute(self._hub, self._greeting, self.features).routes(),
            PromptRoute(self.nodes, self._queue, self._hooks.rewrite).routes(),
            QueueRoutes(self._queue).routes(),
            NodeRoutes(self.nodes).routes(),
            ModelRoutes(self._folders).routes(),
            ViewRoute(self._folders).routes(),
            ModelPreviewRoute(self._folders).routes(),
            UploadRoutes(self._folders).routes(),
            UserRoutes(self._users).routes(),
            SettingsRoutes(self._folders.user, self._users).routes(),
            UserdataRoutes(self._folders.user, self._users).routes(),
            PackRoutes(self._folders, self._web_files).routes(),
            TemplateRoutes(self._folders, self.nodes).routes(),
            SystemRoutes(self.features).routes(),
        ]
        for table in tables:
            add_routes(app, table, ("", "/api"))
        add_routes(app, InternalRoutes(self._folders, self._log_buffer).routes(), ("/internal",))
        self._web_files.add_to(app)  # last: the page's files may have any path

    def _greeting(self, sid: str) -> list[tuple[str, Mapping[str, Any]]]:
        """Return the messages for a page that has just connected."""
        node_id = self._executor.current_node(sid)
        running = [] if node_id is None else [("executing", {"node": node_id})]
        return [("status", {"status": self._queue.state(), "sid": sid}), *running]

    async def _start(self, app: web.Application) -> None:
        await asyncio.to_thread(self._folders.prepare)
        await asyncio.to_thread(self._folders.empty_temp)
        await asyncio.to_thread(self._users.remove_leftovers)
        self._hub.start()
        self._log_buffer.open()
        self._worker.start()

    async def _start_plugin(self, app: web.Application) -> None:
        # A task: the server responds while the store is opened and the folders are scanned.
        if self._plugin is not None:
            self._plugin_task = asyncio.create_task(self._run_plugin(self._plugin), name="plugin")

    async def _run_plugin(self, plugin: Plugin) -> None:
        """Run the plugin; log its failure, and continue without it."""
        try:
            await plugin.on_serving()
        except Exception:  # foreign code: whatever it raises must not end the server
            log.exception("the plugin failed after the server had started")

    async def _close_pages(self, app: web.Application) -> None:
        await self._hub.stop()

    async def _stop(self, app: web.Application) -> None:
        self._log_buffer.shut()
        if not await asyncio.to_thread(self._worker.stop, SHUTDOWN_S):
            log.warning("a node did not stop in time and is left behind")
        if self._plugin_task is not None:
            self._plugin_task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._plugin_task
            self._plugin_task = None
        if self._plugin is not None:
            await self._plugin.on_stop()

    def _send(self, event: str, data: Mapping[str, Any], sid: str | None) -> None:
        """Send a message about a prompt to pages, and report the outputs of its nodes to the queue's listeners."""
        if event == "execution_success":
            self._queue.notify_completing(data["prompt_id"])  # first: a page asks for the outputs at once
        self._hub.send(event, data, sid)
        if event == "executed" and isinstance(data["output"], Mapping):
            self._queue.notify_output(data["prompt_id"], data["node"], data["output"])
        elif event == "execution_cached":
            self._queue.progress_listeners.cached(data["prompt_id"], data["nodes"])
        elif event == "progress_state":
            self._queue.progress_listeners.progressed(data["prompt_id"], data["nodes"])

    def _queue_changed(self) -> None:
        self._hub.send("status", {"status": self._queue.state()})
