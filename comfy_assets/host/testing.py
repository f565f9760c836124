"""A host for tests: folders, users and an execution state that a test sets as it likes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aiohttp import web

from .base import (
    EmittedEvent,
    HostFolders,
    HostInfo,
    Network,
    Plugin,
    PromptListener,
    QueueSnapshot,
    RewritePrompt,
    UnknownUserError,
)
from .listeners import PromptHooks
from .memory_queue import MemoryQueue

USER_HEADER = "comfy-user"
DEFAULT_USER = "default"


class MemoryHost:
    """Implements ``Host`` without a server of its own: ``attach`` only remembers the plugin."""

    def __init__(self, data_directory: Path, folders: HostFolders, users: frozenset[str] | None = None) -> None:
        self._data_directory = data_directory
        self.current_folders = folders
        self.users = users
        self.current_queue = QueueSnapshot()
        self.events: list[EmittedEvent] = []
        self.plugin: Plugin | None = None
        self.current_choices: dict[tuple[str, str], Sequence[Any]] = {}
        self.output_nodes: set[str] = set()
        self.hooks = PromptHooks()
        self.execution = MemoryQueue()
        self.lists_jobs = True
        self.current_network = Network(("127.0.0.1",))

    def info(self) -> HostInfo:
        return HostInfo("memory", "0")

    def network(self) -> Network:
        return self.current_network

    def folders(self) -> HostFolders:
        return self.current_folders

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

    def is_multi_user(self) -> bool:
        return self.users is not None

    def queue(self) -> QueueSnapshot:
        return self.current_queue

    def is_executing(self) -> bool:
        return bool(self.current_queue.running)

    def on_prompt(self, rewrite: RewritePrompt) -> None:
        self.hooks.rewrites.append(rewrite)

    def on_finished(self, listener: PromptListener) -> None:
        self.hooks.listeners.append(listener)

    def choices(self, class_type: str, input_name: str) -> Sequence[Any] | None:
        return self.current_choices.get((class_type, input_name))

    def is_output_node(self, class_type: str) -> bool:
        return class_type in self.output_nodes

    def emit(self, event: str, data: Mapping[str, Any]) -> None:
        self.events.append(EmittedEvent(event, dict(data)))

    def attach(self, plugin: Plugin) -> None:
        self.plugin = plugin
