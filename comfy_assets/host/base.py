"""The interface to the server around us.

``comfyui.ComfyUIHost`` (the pack in ComfyUI) and ``standalone.StandaloneHost`` (a server of our own) implement ``Host``
in production, ``testing.MemoryHost`` in tests.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec
from aiohttp import web
from aiohttp.typedefs import Middleware

from ..ignored_files import NO_PATTERNS, ExcludePatterns
from .access import AccessRules
from .execution import ExecutionQueue, PromptListener, RewritePrompt
from .login_gate import LoginGate

RootKind = Literal["models", "input", "output", "temp"]

_CHOICE = "COMBO"  # the type of an input with a list of values


class UnknownUserError(Exception):
    """The request names no known user (in multi-user mode)."""


class LibraryFolder(msgspec.Struct, frozen=True):
    """A folder of the library.

    ``category`` is the loader category of a models folder ("loras"); None for the models directory itself, input and
    output. ``extensions`` are the lower-case suffixes (".safetensors") that the category's loaders accept; an empty set
    means any.
    """

    kind: RootKind
    path: Path
    category: str | None = None
    extensions: frozenset[str] = frozenset()


class HostFolders(msgspec.Struct, frozen=True):
    """The folders of the library, and the folders excluded from it.

    ``excluded`` subtrees are never indexed, even inside a library folder: the user directory (with our own store),
    temporary files, and program code. ``temp`` is never indexed either, but users may upload into it. ``patterns`` are
    those of ``Host.exclude``.
    """

    folders: tuple[LibraryFolder, ...]
    excluded: tuple[Path, ...] = ()
    temp: Path | None = None
    patterns: ExcludePatterns = NO_PATTERNS


class Network(msgspec.Struct, frozen=True):
    """The addresses that the server listens on, and the origins that its own options allow, ``*`` for all.

    ``url`` is the address of its page on this machine, "" until it is known.
    """

    listening: tuple[str, ...] = ()
    origins: frozenset[str] = frozenset()
    url: str = ""


EmitListener = Callable[[str, Mapping[str, Any]], None]


class Plugin(msgspec.Struct, frozen=True):
    """Our part of a host: a middleware in front of its routes, access rules, and callbacks.

    ``outer`` is a middleware around everything, the access checks and the login included. ``on_serving`` is awaited
    once, as a background task, after the server has begun to accept connections; ``on_stop`` when it shuts down in
    order. ``access`` decides which requests the server accepts, and ``gate`` whose.
    """

    middleware: Middleware
    on_serving: Callable[[], Awaitable[None]]
    on_stop: Callable[[], Awaitable[None]]
    access: AccessRules = msgspec.field(default_factory=AccessRules)
    gate: LoginGate | None = None
    outer: Middleware | None = None


class Host(Protocol):
    """The server around us. Methods may be called from any thread unless they have a request as an argument."""

    def network(self) -> Network:
        """Return the server's addresses, as far as they are known yet, and the origins it allows."""

    def folders(self) -> HostFolders:
        """Return the folders as configured now. Categories may share folders, and folders may be nested."""

    def exclude(self, patterns: ExcludePatterns) -> None:
        """Let ``folders`` return these patterns, of what the user leaves out of the library. Called once, at first."""

    def data_directory(self) -> Path:
        """Return our folder for the store and caches, under the host's user directory."""

    def user_directory(self, user: str) -> Path:
        """Return the folder of the user's workflows and settings. It may not exist yet."""

    def pack_folders(self) -> Sequence[Path]:
        """Return the folders in which node packs are installed."""

    def web_path(self) -> str:
        """Return the path below the server's root at which it serves our folder ``web``, quoted for URLs."""

    def user_ids(self) -> Sequence[str]:
        """Return the ids of all users."""

    def user_of(self, request: web.Request) -> str:
        """Return the id of the request's user. Raises UnknownUserError."""

    def user_named(self, name: str) -> str | None:
        """Return the id of the user of this name on a host for several users, or None. Blocks."""

    def ensure_user(self, name: str) -> str:
        """Return the id of the user of this name, who is added if there is none, on a host for several users. Blocks.

        Raises OSError, ValueError for a name that the host does not take.
        """

    def is_multi_user(self) -> bool:
        """Return whether there are several users; else ``user_of`` returns the same id for every request."""

    @property
    def execution(self) -> ExecutionQueue:
        """The execution queue."""

    @property
    def lists_jobs(self) -> bool:
        """True if the server itself, and therefore its page, knows ``/api/jobs``."""

    def is_executing(self) -> bool:
        """Return whether a prompt is running. Must be cheap: called for every file and every chunk."""

    def on_prompt(self, rewrite: RewritePrompt) -> None:
        """Pass every submitted body through ``rewrite`` before it is validated, in the task of its request."""

    def on_finished(self, listener: PromptListener) -> None:
        """Call ``listener`` for every executed prompt, on the worker's thread: it must return quickly.

        It is called once the prompt is in the server's history. Its exceptions are logged.
        """

    def choices(self, class_type: str, input_name: str) -> Sequence[Any] | None:
        """Return the values of a node's combo input; None for any other input. May read folders."""

    def is_output_node(self, class_type: str) -> bool:
        """Return whether nodes of this type are output nodes."""

    def asset_files(self, ids: Sequence[str]) -> Mapping[str, Path]:
        """Return the files to which the server's own asset feature gave these ids; unknown ids are left out. Blocks.

        The mapping is empty on servers without the feature.
        """

    def add_features(self, features: Mapping[str, Any]) -> None:
        """Add feature flags to those that pages receive when they connect. Called once, before any page does.

        A flag that the user has set in the server's own options keeps its value.
        """

    def index_option(self) -> str | None:
        """Return advice for turning off the server's own index of assets, as a clause; None if it does not run."""

    def emit(self, event: str, data: Mapping[str, Any]) -> None:
        """Send a websocket message ``{"type": event, "data": data}`` to every open page."""

    def on_emit(self, listener: EmitListener) -> None:
        """Call ``listener`` after every message that ``emit`` sends, on its thread: it must return quickly."""

    def attach(self, plugin: Plugin) -> None:
        """Add the plugin to the server. Called once, before the server starts."""


class EmittedEvent(msgspec.Struct, frozen=True):
    """A message sent to pages, as ``testing.MemoryHost`` keeps it."""

    type: str
    data: Mapping[str, Any] = msgspec.field(default_factory=dict)


def declared_choices(input_types: Mapping[str, Any], input_name: str) -> Sequence[Any] | None:
    """Return the values of a combo input: ``([a, b], …)`` or ``("COMBO", {"options": [a, b]})``; None for others."""
    # Hidden inputs are left out: the server sets them, not the user.
    for group in ("required", "optional"):
        declared = (input_types.get(group) or {}).get(input_name)
        if isinstance(declared, (list, tuple)) and declared:
            return _choices(declared[0], declared[1] if len(declared) > 1 else {})
    return None


def _choices(kind: object, options: object) -> Sequence[Any] | None:
    found = options.get("options") if kind == _CHOICE and isinstance(options, Mapping) else kind
    return found if isinstance(found, (list, tuple)) else None
