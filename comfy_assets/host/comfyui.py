"""The ComfyUI host: the pack in ``custom_nodes``, and the validation of prompts that return to ComfyUI's queue.

Only this module imports modules of ComfyUI. Tested with ComfyUI 0.3.64, 0.8.0, 0.18.1, 0.29.0 and
0.33.0.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import logging
import threading
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from aiohttp import web
from msgspec.structs import replace
from yarl import URL

from ..ignored_files import NO_PATTERNS, ExcludePatterns
from .base import EmitListener, HostFolders, LibraryFolder, Network, Plugin, UnknownUserError, declared_choices
from .comfyui_queue import ComfyUIQueue
from .execution import PromptHooks, PromptListener, RewritePrompt, SubmittedPrompt
from .guard import protect
from .prompt_problems import CheckedPrompt, as_sent, depth_problem, refusal, type_problem

log = logging.getLogger("comfy_assets")

DATA_FOLDER = "__comfy_assets"  # ComfyUI's userdata routes refuse user folders whose names begin with __
_WEB = Path(__file__).resolve().parents[2] / "web"
_WEB_NAME = "comfy-assets"  # in addresses, where the name of the pack's folder cannot be used
_CLAIM = "comfy_assets_attached"
_CODE_CATEGORY = "custom_nodes"
_LISTENING_POLL_S = 0.05
_LISTENING_TIMEOUT_S = 30.0
_VALIDATION_S = 3.0  # for all prompts of a start; a queue of hundreds must not delay it
_ASSET_MODULE = "app.assets.services"
_MAX_IDS = 1000  # of a call; each takes a query

NodeTypes = Callable[[], Mapping[str, Any]]
Validate = Callable[..., Any]
Replace = Callable[[MutableMapping[str, Any]], object]


class ConfiguredFolders(NamedTuple):
    """The folders as ``folder_paths`` has them; packs change them at any time.

    ``categories`` gives the folders and the file name suffixes of each category of models.
    """

    input: str
    output: str
    models: str
    temp: str
    user: str
    categories: list[tuple[str, tuple[Any, ...], frozenset[Any]]]

    def to_host_folders(self, patterns: ExcludePatterns = NO_PATTERNS) -> HostFolders:
        """Make the folders of the library from them."""
        folders = [
            LibraryFolder("input", Path(self.input)),
            LibraryFolder("output", Path(self.output)),
            LibraryFolder("models", Path(self.models)),
        ]
        excluded = [Path(self.user), Path(self.temp)]
        for category, bases, extensions in self.categories:
            if category == _CODE_CATEGORY:
                excluded.extend(Path(base) for base in bases)
                continue
            suffixes = frozenset(str(suffix).lower() for suffix in extensions)
            folders.extend(LibraryFolder("models", Path(base), category, suffixes) for base in bases)
        return HostFolders(tuple(folders), tuple(excluded), Path(self.temp), patterns)


class ComfyUIHost:
    """Implements ``Host`` over the running ``PromptServer``."""

    def __init__(self) -> None:
        self._server: Any = importlib.import_module("server").PromptServer.instance
        self._folder_paths = importlib.import_module("folder_paths")
        self._arguments: Any = importlib.import_module("comfy.cli_args").args
        self._asset_index = ComfyUIAssetIndex()
        self._background: set[asyncio.Task[None]] = set()
        self._patterns = NO_PATTERNS
        configured = self._configured_folders()
        self._folders = configured, configured.to_host_folders(self._patterns)
        self._hooks = PromptHooks()
        self._emit_listeners: list[EmitListener] = []
        self._users_lock = threading.Lock()
        self.lists_jobs = any(getattr(route, "path", None) == "/api/jobs" for route in self._server.routes)
        nodes, execution = importlib.import_module("nodes"), importlib.import_module("execution")
        room = 0 if self.lists_jobs else execution.MAXIMUM_HISTORY_SIZE
        self.execution = ComfyUIQueue(
            self._server,
            lambda: nodes.interrupt_processing(),  # looked up at each call: packs may replace it
            self._hooks.notify,
            room,
            PromptValidator(
                lambda: nodes.NODE_CLASS_MAPPINGS,
                lambda *arguments: execution.validate_prompt(*arguments),
                self._replace_nodes,
            ),
        )

    def _replace_nodes(self, graph: MutableMapping[str, Any]) -> None:
        """Replace renamed node types, on servers that have replacements."""
        manager = getattr(self._server, "node_replace_manager", None)
        if manager is not None:
            manager.apply_replacements(graph)

    def network(self) -> Network:
        listening = tuple(address.strip() for address in str(self._arguments.listen).split(","))
        origin = str(self._arguments.enable_cors_header or "").strip().lower().rstrip("/")
        return Network(listening, frozenset({origin} if origin else ()), self._url())

    def _url(self) -> str:
        """Return the address of the page, "" before the server has its port."""
        if not hasattr(self._server, "port"):
            return ""
        scheme = "https" if self._arguments.tls_keyfile and self._arguments.tls_certfile else "http"
        address = str(self._server.address)
        if address in ("0.0.0.0", "::", ""):
            address = "127.0.0.1"
        return f"{scheme}://{f'[{address}]' if ':' in address else address}:{self._server.port}"

    def folders(self) -> HostFolders:
        # Each submitted prompt asks for them, and making some fifty paths costs more than all else done for it.
        configured = self._configured_folders()
        known, folders = self._folders
        if known != configured:
            folders = configured.to_host_folders(self._patterns)
            self._folders = configured, folders
        return folders

    def exclude(self, patterns: ExcludePatterns) -> None:
        self._patterns = patterns
        configured = self._configured_folders()
        self._folders = configured, configured.to_host_folders(patterns)

    def _configured_folders(self) -> ConfiguredFolders:
        paths = self._folder_paths
        return ConfiguredFolders(
            str(paths.get_input_directory()),
            str(paths.get_output_directory()),
            str(paths.models_dir),
            str(paths.get_temp_directory()),
            str(paths.get_user_directory()),
            [
                (category, tuple(bases), frozenset(extensions))
                for category, (bases, extensions, *_) in list(paths.folder_names_and_paths.items())
            ],
        )

    def data_directory(self) -> Path:
        return Path(self._folder_paths.get_user_directory()) / DATA_FOLDER

    def user_directory(self, user: str) -> Path:
        return Path(self._folder_paths.get_user_directory()) / user

    def pack_folders(self) -> Sequence[Path]:
        return [Path(folder) for folder in self._folder_paths.get_folder_paths(_CODE_CATEGORY)]

    def web_path(self) -> str:
        served = importlib.import_module("nodes").EXTENSION_WEB_DIRS
        names = (name for name, folder in served.items() if Path(folder).resolve() == _WEB)
        return f"extensions/{quote(next(names, _WEB.parent.name))}"

    def user_ids(self) -> Sequence[str]:
        return list(self._server.user_manager.users)

    def user_of(self, request: web.Request) -> str:
        try:
            return str(self._server.user_manager.get_request_user_id(request))
        except KeyError as error:
            raise UnknownUserError(str(error)) from error

    def user_named(self, name: str) -> str | None:
        known = dict(self._server.user_manager.users)
        return next((str(user) for user, each in known.items() if each == name), None)

    def ensure_user(self, name: str) -> str:
        users = self._server.user_manager
        if not self.is_multi_user():
            return str(next(iter(users.users)))
        with self._users_lock:
            found = self.user_named(name)
            return str(users.add_user(name)) if found is None else found

    def is_multi_user(self) -> bool:
        return bool(self._arguments.multi_user)

    def is_executing(self) -> bool:
        return self.execution.is_executing()

    def on_prompt(self, rewrite: RewritePrompt) -> None:
        self._server.add_on_prompt_handler(rewrite)

    def on_finished(self, listener: PromptListener) -> None:
        self.execution.wrap()
        self._hooks.listeners.append(listener)

    def choices(self, class_type: str, input_name: str) -> Sequence[Any] | None:
        node = self._node(class_type)
        if node is None:
            return None
        try:
            return declared_choices(node.INPUT_TYPES(), input_name)
        except Exception:  # code of a node pack
            log.exception("INPUT_TYPES of %s failed", class_type)
            return None

    def is_output_node(self, class_type: str) -> bool:
        return getattr(self._node(class_type), "OUTPUT_NODE", False) is True

    def _node(self, class_type: str) -> Any:
        return importlib.import_module("nodes").NODE_CLASS_MAPPINGS.get(class_type)

    def asset_files(self, ids: Sequence[str]) -> Mapping[str, Path]:
        return self._asset_index.files(ids)

    def add_features(self, features: Mapping[str, Any]) -> None:
        try:
            flags = importlib.import_module("comfy_api.feature_flags").SERVER_FEATURE_FLAGS
        except (ImportError, AttributeError):
            log.info("This server sends its page no feature flags.")
            return
        chosen = {str(each).partition("=")[0].strip() for each in getattr(self._arguments, "feature_flag", None) or ()}
        flags.update({name: value for name, value in features.items() if name not in chosen})

    def index_option(self) -> str | None:
        arguments = self._arguments
        if hasattr(arguments, "disable_assets"):  # since 0.40, where the index runs unless it is turned off
            return None if arguments.disable_assets else "start it with --disable-assets"
        return "start it without --enable-assets" if getattr(arguments, "enable_assets", False) else None

    def emit(self, event: str, data: Mapping[str, Any]) -> None:
        self._server.send_sync(event, dict(data))
        for listener in self._emit_listeners:
            listener(event, data)

    def on_emit(self, listener: EmitListener) -> None:
        self._emit_listeners.append(listener)

    async def _revalidate_panel(self, request: web.Request, response: web.StreamResponse) -> None:
        """Have browsers ask for newer versions of the panel's files.

        ComfyUI says so of scripts with the suffix .js alone. Browsers keep the others for a tenth of their age, and
        would run old modules with new ones after an update of the pack.
        """
        if response.status != 101 and request.path.startswith(self._panel_path):
            response.headers.setdefault("Cache-Control", "no-cache")

    @cached_property
    def _panel_path(self) -> str:
        return f"/{unquote(self.web_path())}/"

    def attach(self, plugin: Plugin) -> None:
        app: web.Application = self._server.app
        app.middlewares.append(plugin.middleware)
        protect(app, plugin.access, plugin.gate, plugin.outer)
        app.on_response_prepare.append(self._revalidate_panel)
        if plugin.gate is not None:
            plugin.gate.keep_first(app)

        async def start(_: web.Application) -> None:
            task = asyncio.create_task(self._when_listening(plugin), name="comfy-assets start")
            self._background.add(task)
            task.add_done_callback(self._ended)

        async def stop(_: web.Application) -> None:
            await plugin.on_stop()

        app.on_startup.append(start)
        app.on_cleanup.append(stop)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("comfy-assets could not start; ComfyUI goes on without it.", exc_info=error)

    async def _when_listening(self, plugin: Plugin) -> None:
        """Start when the server has its port, so that none of our work delays the first response."""
        deadline = asyncio.get_running_loop().time() + _LISTENING_TIMEOUT_S
        while not hasattr(self._server, "port") and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110 - the server offers no event
            await asyncio.sleep(_LISTENING_POLL_S)
        self.execution.wrap_worker()  # now around the wrappers of packs that were loaded after this one
        await plugin.on_serving()


def claim() -> bool:
    """Return whether this is the first copy of the pack in the server; mark the server as claimed."""
    server = importlib.import_module("server").PromptServer.instance
    if getattr(server, _CLAIM, False):
        log.warning("comfy-assets is installed twice; this copy stays idle. Remove one from custom_nodes.")
        return False
    setattr(server, _CLAIM, True)
    return True


def serve_panel() -> bool:
    """Register the panel with ComfyUI if the pack's folder has a name that aiohttp cannot serve files under.

    aiohttp finds no static files at a path that it has to encode, such as that of "comfy-assets - Copy". Return
    whether the panel is registered, so that ComfyUI must not do so by the name of the folder.
    """
    name = _WEB.parent.name
    if URL.build(path=f"/{name}").raw_path == f"/{name}":
        return False
    importlib.import_module("nodes").EXTENSION_WEB_DIRS.setdefault(_WEB_NAME, str(_WEB))
    return True


class PromptValidator:
    """Find problems for which the server would reject a new prompt.

    ``validate`` is the server's ``validate_prompt``; ``replace`` replaces renamed node types. Both run code of node
    packs, so they run in a thread of their own, for a few seconds in all. Depth and node types, which can crash the
    server, are checked for every prompt.
    """

    def __init__(
        self, node_types: NodeTypes, validate: Validate, replace: Replace, budget_s: float = _VALIDATION_S
    ) -> None:
        self._node_types = node_types
        self._validate = validate
        self._replace = replace
        self._left_s = budget_s

    def __call__(self, prompts: Sequence[SubmittedPrompt]) -> list[CheckedPrompt]:
        """Return the prompts with their problems. Blocks."""
        checked = [self._fundamentals(prompt) for prompt in prompts]
        sound = [each.prompt for each in checked if each.problem is None]
        verdicts = self._validated(sound)
        return [verdicts.get(each.prompt.prompt_id, each) if each.problem is None else each for each in checked]

    def _fundamentals(self, prompt: SubmittedPrompt) -> CheckedPrompt:
        """Check for problems that would crash the server's worker."""
        problem = depth_problem(prompt.graph, prompt.extra_data)
        if problem is None and (problem := type_problem(prompt.graph, self._is_known)) is not None:
            prompt = self._with_replacements(prompt)
            problem = type_problem(prompt.graph, self._is_known)
        return CheckedPrompt(prompt, problem)

    def _is_known(self, class_type: str) -> bool:
        return self._node_types().get(class_type) is not None

    def _with_replacements(self, prompt: SubmittedPrompt) -> SubmittedPrompt:
        graph = {node_id: _copied(node) for node_id, node in prompt.graph.items()}
        try:
            self._replace(graph)
        except Exception:  # code of node packs
            log.exception("Node types of the job %s could not be replaced", prompt.prompt_id)
            return prompt
        return replace(prompt, graph=graph)

    def _validated(self, prompts: Sequence[SubmittedPrompt]) -> dict[str, CheckedPrompt]:
        """Return the results of the server's own validation, for as many prompts as there is time for."""
        if not prompts or self._left_s <= 0:
            return {}
        verdicts: dict[str, CheckedPrompt] = {}
        started = time.monotonic()
        deadline = started + self._left_s
        thread = threading.Thread(
            target=lambda: asyncio.run(self._validate_until(deadline, prompts, verdicts)),
            name="comfy-assets prompt checks",
            daemon=True,  # a node pack that never returns must not keep the process alive
        )
        thread.start()
        thread.join(self._left_s)
        self._left_s = 0.0 if thread.is_alive() else self._left_s - (time.monotonic() - started)
        found = dict(verdicts)  # a copy: an abandoned thread may still add to it
        if len(found) < len(prompts):
            log.warning(
                "%d jobs return to the queue with only their node types checked: validation takes too long.",
                len(prompts) - len(found),
            )
        return found

    async def _validate_until(
        self, deadline: float, prompts: Sequence[SubmittedPrompt], verdicts: dict[str, CheckedPrompt]
    ) -> None:
        for prompt in prompts:
            if time.monotonic() > deadline:
                return
            try:
                verdicts[prompt.prompt_id] = await self._verdict(prompt)
            except Exception:  # code of node packs; its failure says nothing about the prompt
                log.exception("The job %s could not be validated; it returns to the queue", prompt.prompt_id)
                verdicts[prompt.prompt_id] = CheckedPrompt(prompt)

    async def _verdict(self, prompt: SubmittedPrompt) -> CheckedPrompt:
        answer = self._validate(prompt.prompt_id, as_sent(prompt.graph), list(prompt.outputs) or None)
        valid, error, good, node_errors, *_ = await answer if inspect.isawaitable(answer) else answer
        if not valid:
            return CheckedPrompt(prompt, refusal(error, node_errors, prompt.graph))
        outputs = [output for output in prompt.outputs if output in good]
        if len(outputs) < len(prompt.outputs):
            left_out = [output for output in prompt.outputs if output not in good]
            log.warning(
                "The job %s is executed without its outputs %s, which are not valid.", prompt.prompt_id, left_out
            )
        return CheckedPrompt(replace(prompt, outputs=outputs or prompt.outputs))


def _copied(node: Any) -> Any:
    if not isinstance(node, Mapping) or not isinstance(node.get("inputs"), Mapping):
        return node
    return {**node, "inputs": dict(node["inputs"])}


class ComfyUIAssetIndex:
    """Reads the table of ComfyUI's own asset feature (0.33 and newer), with the function of ``GET /api/assets/{id}``.

    Its messages, history and uploads name files by ids of that table, and pages send them to that operation, which is
    ours. ComfyUI may change that function at any time. If it fails, an id only stays unknown.
    """

    def files(self, ids: Sequence[str]) -> dict[str, Path]:
        """Return the files of these ids. Blocks: reads ComfyUI's database."""
        try:
            find = importlib.import_module(_ASSET_MODULE).get_asset_detail
        except (ImportError, AttributeError):
            return {}  # a server without the feature
        found = {asset_id: _file_of(find, asset_id) for asset_id in ids[:_MAX_IDS]}
        return {asset_id: path for asset_id, path in found.items() if path is not None}


def _file_of(find: Callable[..., Any], asset_id: str) -> Path | None:
    try:
        detail = find(reference_id=asset_id)
        path = None if detail is None else detail.ref.file_path
    except Exception as error:  # noqa: BLE001 - of another program, whose feature may be off
        log.debug("The server's own asset feature cannot be asked for %s: %r", asset_id, error)
        return None
    return Path(path) if isinstance(path, str) and path else None
