"""A host and a queue for tests, without a server: a test sets folders, users and the state of execution."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aiohttp import web
from msgspec.structs import replace

from ..ignored_files import NO_PATTERNS, ExcludePatterns
from .base import (
    EmitListener,
    EmittedEvent,
    HostFolders,
    Network,
    Plugin,
    UnknownUserError,
)
from .execution import (
    FinishedPrompt,
    ProgressListener,
    ProgressListeners,
    PromptHooks,
    PromptListener,
    QueueListener,
    QueueListeners,
    QueueListing,
    RewritePrompt,
    SubmittedPrompt,
)
from .prompt_problems import depth_problem, failed_prompt, type_problem

USER_HEADER = "comfy-user"
DEFAULT_USER = "default"


class MemoryHost:
    """Implements ``Host``. ``attach`` only keeps the plugin; ``is_busy`` is what ``is_executing`` returns."""

    def __init__(self, data_directory: Path, folders: HostFolders, users: frozenset[str] | None = None) -> None:
        self._data_directory = data_directory
        self.current_folders = folders
        self.patterns = NO_PATTERNS
        self.users = users
        self.is_busy = False
        self.events: list[EmittedEvent] = []
        self.plugin: Plugin | None = None
        self.current_choices: dict[tuple[str, str], Sequence[Any]] = {}
        self.output_nodes: set[str] = set()
        self.hooks = PromptHooks()
        self.execution = MemoryQueue()
        self.lists_jobs = True
        self.ids_of_files: dict[str, Path] = {}
        self.current_network = Network(("127.0.0.1",))
        self.features: dict[str, Any] = {}
        self.emit_listeners: list[EmitListener] = []

    def network(self) -> Network:
        return self.current_network

    def folders(self) -> HostFolders:
        return replace(self.current_folders, patterns=self.patterns)

    def exclude(self, patterns: ExcludePatterns) -> None:
        self.patterns = patterns

    def data_directory(self) -> Path:
        return self._data_directory

    def user_directory(self, user: str) -> Path:
        return self._data_directory.parent / user

    def pack_folders(self) -> Sequence[Path]:
        return [self._data_directory.parent.parent / "custom_nodes"]

    def user_ids(self) -> Sequence[str]:
        return [DEFAULT_USER] if self.users is None else sorted(self.users)

    def user_of(self, request: web.Request) -> str:
        if self.users is None:
            return DEFAULT_USER
        user = request.headers.get(USER_HEADER, DEFAULT_USER)
        if user not in self.users:
            raise UnknownUserError(user)
        return user

    def user_named(self, name: str) -> str | None:
        return name if self.users is not None and name in self.users else None

    def ensure_user(self, name: str) -> str:
        if self.users is None:
            return DEFAULT_USER
        self.users = self.users | {name}
        return name

    def web_path(self) -> str:
        return "extensions/comfy-assets"

    def is_multi_user(self) -> bool:
        return self.users is not None

    def is_executing(self) -> bool:
        return self.is_busy

    def on_prompt(self, rewrite: RewritePrompt) -> None:
        self.hooks.rewrites.append(rewrite)

    def on_finished(self, listener: PromptListener) -> None:
        self.hooks.listeners.append(listener)

    def choices(self, class_type: str, input_name: str) -> Sequence[Any] | None:
        return self.current_choices.get((class_type, input_name))

    def is_output_node(self, class_type: str) -> bool:
        return class_type in self.output_nodes

    def asset_files(self, ids: Sequence[str]) -> Mapping[str, Path]:
        return {each: self.ids_of_files[each] for each in ids if each in self.ids_of_files}

    def add_features(self, features: Mapping[str, Any]) -> None:
        self.features.update(features)

    def index_option(self) -> str | None:
        return None

    def emit(self, event: str, data: Mapping[str, Any]) -> None:
        self.events.append(EmittedEvent(event, dict(data)))
        for listener in self.emit_listeners:
            listener(event, data)

    def on_emit(self, listener: EmitListener) -> None:
        self.emit_listeners.append(listener)

    def attach(self, plugin: Plugin) -> None:
        self.plugin = plugin


class MemoryQueue:
    """Implements ``ExecutionQueue``: prompts start and end when a test says so.

    ``interrupted`` and ``freed`` hold the arguments of the calls. ``is_known`` decides which node types a prompt of an
    earlier run may have.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()  # reentrant: a listener may ask the queue that notifies it
        self._listeners = QueueListeners()
        self.progress_listeners = ProgressListeners()
        self.waiting: list[SubmittedPrompt] = []
        self.running: SubmittedPrompt | None = None
        self.history: dict[str, Mapping[str, Any]] = {}
        self.room = 0
        self.is_known: Callable[[str], bool] = lambda class_type: True
        self.interrupted: list[str] = []
        self.freed: list[tuple[bool, bool]] = []
        self.announced = 0

    def submit(self, prompt: SubmittedPrompt) -> None:
        """Put a prompt into the queue."""
        if not self._listeners.is_free(prompt.prompt_id):
            prompt = replace(prompt, prompt_id=str(uuid.uuid4()))
        self._listeners.submitted(prompt)
        self._insert(prompt)

    def start(self) -> SubmittedPrompt:
        """Start the next prompt."""
        with self._lock:
            self.running = self.waiting.pop(0)
            self._listeners.started(self.running.prompt_id)
        return self.running

    def show(self, node_id: str, output: Mapping[str, Any]) -> None:
        """Report output of a node of the running prompt."""
        assert self.running is not None
        self._listeners.shown(self.running.prompt_id, node_id, output)

    def complete(self) -> None:
        """Report that every node of the running prompt has run."""
        assert self.running is not None
        self._listeners.completing(self.running.prompt_id)

    def finish(
        self, outputs: Mapping[str, Any], status: Mapping[str, Any] | None, meta: Mapping[str, Any] | None = None
    ) -> None:
        """End the running prompt."""
        with self._lock:
            assert self.running is not None
            self._listeners.finished(FinishedPrompt(self.running.prompt_id, outputs, meta or {}, status))
            self.running = None

    def watch(self, listener: QueueListener) -> None:
        self._listeners.add(listener)

    def watch_progress(self, listener: ProgressListener) -> None:
        self.progress_listeners.add(listener)

    def listing(self) -> QueueListing:
        with self._lock:
            return QueueListing([] if self.running is None else [self.running], list(self.waiting))

    def cancel(self, prompt_id: str) -> bool:
        return bool(self.cancel_many([prompt_id]))

    def cancel_many(self, prompt_ids: Iterable[str]) -> list[str]:
        wanted = list(dict.fromkeys(prompt_ids))
        with self._lock:
            found = self._drop(set(wanted))
            if self.running is not None and self.running.prompt_id in wanted:
                self._listeners.interrupting(self.running.prompt_id)
                self.interrupted.append(self.running.prompt_id)
                found.add(self.running.prompt_id)
        return [prompt_id for prompt_id in wanted if prompt_id in found]

    def drop_many(self, prompt_ids: Iterable[str]) -> list[str]:
        wanted = list(dict.fromkeys(prompt_ids))
        with self._lock:
            found = self._drop(set(wanted))
        return [prompt_id for prompt_id in wanted if prompt_id in found]

    def clear(self) -> list[str]:
        """Drop all waiting prompts, as a client of the server's own routes can; return their ids."""
        with self._lock:
            return sorted(self._drop({prompt.prompt_id for prompt in self.waiting}))

    def _drop(self, prompt_ids: set[str]) -> set[str]:
        dropped = [prompt.prompt_id for prompt in self.waiting if prompt.prompt_id in prompt_ids]
        self.waiting = [prompt for prompt in self.waiting if prompt.prompt_id not in prompt_ids]
        self._listeners.dropped(dropped)
        return set(dropped)

    def restore(self, prompts: Iterable[SubmittedPrompt]) -> list[str]:
        refused = []
        for prompt in prompts:
            problem = depth_problem(prompt.graph, prompt.extra_data) or type_problem(prompt.graph, self.is_known)
            if problem is None:
                self._insert(prompt)
            else:
                self._listeners.finished(failed_prompt(prompt.prompt_id, problem))
                refused.append(prompt.prompt_id)
        return refused

    def _insert(self, prompt: SubmittedPrompt) -> None:
        with self._lock:
            self.waiting = sorted([*self.waiting, prompt], key=lambda each: each.number)

    def history_room(self) -> int:
        return self.room

    def remember(self, history: Mapping[str, Mapping[str, Any]]) -> None:
        self.history = {**history, **self.history}

    def forget(self, prompt_ids: Iterable[str] | None) -> None:
        for prompt_id in list(self.history) if prompt_ids is None else prompt_ids:
            self.history.pop(prompt_id, None)

    def free(self, *, unload_models: bool, free_memory: bool) -> None:
        self.freed.append((unload_models, free_memory))

    def announce(self) -> None:
        self.announced += 1
