"""What the services need from the server around them.

Two production hosts implement ``Host``: ``comfyui.ComfyUIHost`` (the pack dropped into a ComfyUI) and
``standalone.StandaloneHost`` (our own small server). ``memory.MemoryHost`` is for tests.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from aiohttp import web
from aiohttp.typedefs import Middleware

from .access import AccessRules
from .execution import ExecutionQueue, FinishedPrompt

RootKind = Literal["models", "input", "output", "temp"]

_CHOICE = "COMBO"  # the type of an input with a list of values


class UnknownUserError(Exception):
    """The request names no user of this host (multi-user mode)."""


@dataclass(frozen=True)
class LibraryFolder:
    """A folder whose files belong to the library.

    ``category`` is the loader category of a models folder ("loras"), or None for the models directory itself
    and for input and output. ``extensions`` are the lower-case suffixes (".safetensors") the category's loaders
    accept; an empty set means any.
    """

    kind: RootKind
    path: Path
    category: str | None = None
    extensions: frozenset[str] = frozenset()


@dataclass(frozen=True)
class HostFolders:
    """The library's folders, and the folders inside them that are not part of it.

    ``excluded`` are subtrees that are never indexed even if a library folder contains them: the user directory
    (our own store is there), temporary files, and program code. ``temp`` is never indexed either, but a user may
    upload into it.
    """

    folders: tuple[LibraryFolder, ...]
    excluded: tuple[Path, ...] = ()
    temp: Path | None = None


@dataclass(frozen=True)
class Network:
    """The addresses that the server listens on, and the origins whose pages its own options admit, ``*`` for all."""

    listening: tuple[str, ...] = ()
    origins: frozenset[str] = frozenset()


RewritePrompt = Callable[[dict[str, Any]], dict[str, Any]]
PromptListener = Callable[[FinishedPrompt], None]


@dataclass(frozen=True)
class Plugin:
    """What a host runs for us: a middleware in front of its routes, and what to do around serving.

    ``on_serving`` is awaited once, as a background task, after the server has begun to accept connections;
    ``on_stop`` when it stops in an orderly way. ``access`` decides which requests the server accepts.
    """

    middleware: Middleware
    on_serving: Callable[[], Awaitable[None]]
    on_stop: Callable[[], Awaitable[None]]
    access: AccessRules = field(default_factory=AccessRules)


class Host(Protocol):
    """The server the library lives in. Methods may be called from any thread unless they take a request."""

    def network(self) -> Network:
        """Where the server listens, as far as that is known now, and which other origins it admits."""

    def folders(self) -> HostFolders:
        """The library's folders as configured now; categories may share folders and folders may nest."""

    def data_directory(self) -> Path:
        """Where the store and caches are kept: a folder of ours under the host's user directory."""

    def user_directory(self, user: str) -> Path:
        """Where the user's own files are, workflows and settings among them; it may not exist yet."""

    def pack_folders(self) -> Sequence[Path]:
        """The folders in which node packs are installed."""

    def user_ids(self) -> Sequence[str]:
        """The ids of all users that there are."""

    def user_of(self, request: web.Request) -> str:
        """The id of the request's user. Raises UnknownUserError when the host knows no such user."""

    def is_multi_user(self) -> bool:
        """Whether users are told apart; else ``user_of`` answers the same for everybody."""

    @property
    def execution(self) -> ExecutionQueue:
        """The execution queue: what is told of prompts, and what can be done to them."""

    @property
    def lists_jobs(self) -> bool:
        """Whether the server itself, and so its page, knows ``/api/jobs``."""

    def is_executing(self) -> bool:
        """Whether a prompt is being executed at this moment. Cheap: asked for every file and chunk hashed."""

    def on_prompt(self, rewrite: RewritePrompt) -> None:
        """Have every submitted body pass through ``rewrite`` before it is checked, in the task of its request."""

    def on_finished(self, listener: PromptListener) -> None:
        """Tell ``listener`` of every prompt that has been executed, on the worker's thread: it must be quick.

        It is told once the prompt is in the history. What it raises is logged and disturbs nobody.
        """

    def choices(self, class_type: str, input_name: str) -> Sequence[Any] | None:
        """The values that an input of a node offers now; None when it is no choice. May look at the disk."""

    def is_output_node(self, class_type: str) -> bool:
        """Whether nodes of this kind are executed for their own sake."""

    def emit(self, event: str, data: Mapping[str, Any]) -> None:
        """Send a websocket message ``{"type": event, "data": data}`` to every open page."""

    def attach(self, plugin: Plugin) -> None:
        """Put the plugin into the server. Called once, before the server starts."""


@dataclass(frozen=True)
class EmittedEvent:
    """A message sent to pages, as the in-memory host keeps it."""

    type: str
    data: Mapping[str, Any] = field(default_factory=dict)


def declared_choices(input_types: Mapping[str, Any], input_name: str) -> Sequence[Any] | None:
    """The values that an input offers: ``([a, b], …)`` or ``("COMBO", {"options": [a, b]})``; None for all others."""
    for group in ("required", "optional"):
        declared = (input_types.get(group) or {}).get(input_name)
        if isinstance(declared, (list, tuple)) and declared:
            return _choices(declared[0], declared[1] if len(declared) > 1 else {})
    return None


def _choices(kind: object, options: object) -> Sequence[Any] | None:
    found = options.get("options") if kind == _CHOICE and isinstance(options, Mapping) else kind
    return found if isinstance(found, (list, tuple)) else None
