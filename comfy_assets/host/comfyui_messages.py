"""ComfyUI's messages to its pages: the pages that each may reach, and the progress in them.

While the login is on, messages of a prompt reach the pages of its user alone. All of them pass ``send_sync`` on the
thread that executes prompts, whether a page is connected or not.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from .client_ids import namespace_in
from .execution import NodePreview, ProgressListeners

WORKER = "(prompt_worker)"  # the end of the worker's name: Python names a thread after its function
_FOR_ALL = "status"  # the length of the queue
# Numbers of binary messages (``BinaryEventTypes`` of ComfyUI's protocol.py), which are part of its protocol. The first
# is sent to pages that do not understand the second, and says neither the prompt nor the node.
_PREVIEW, _PREVIEW_OF_NODE = 2, 4
_PROGRESS, _CACHED = "progress_state", "execution_cached"


class MessagesOfPrompts:
    """Sends messages with ``send``, the server's ``send_sync`` or a wrapper of it.

    Nodes of packs send messages to everybody: previews, names of files, texts. Such a message of a node, which the
    thread of prompts sends, goes to the clients of the user whose prompt runs. The server names the client of that
    prompt; its id has no namespace if nobody had signed in for it.
    """

    def __init__(self, server: Any, send: Callable[..., Any]) -> None:
        self._server = server
        self._send = send

    def send(self, *args: Any, **kwargs: Any) -> Any:
        """Send a message as ``send_sync(event, data, sid=None)`` does; without ``sid`` to whom it may concern."""
        event = args[0] if args else kwargs.get("event")
        sid = args[2] if len(args) > 2 else kwargs.get("sid")
        namespace = "" if sid is not None or event == _FOR_ALL else self._namespace()
        if not namespace:
            return self._send(*args, **kwargs)
        data = args[1] if len(args) > 1 else kwargs.get("data")
        for client_id in list(self._server.sockets):
            if namespace_in(client_id) == namespace:
                self._send(event, data, client_id)
        return None

    def _namespace(self) -> str:
        """Return the namespace of the prompt that runs in this thread, "" in any other thread."""
        is_worker = threading.current_thread().name.endswith(WORKER)
        return namespace_in(getattr(self._server, "client_id", None)) if is_worker else ""


class ProgressMessages:
    """Reports progress, cached nodes and previews in messages to ``listeners``. ``server`` is the ``PromptServer``.

    Only messages of a known shape are reported; anything else is the server's own business.
    """

    def __init__(self, server: Any) -> None:
        self.listeners = ProgressListeners()
        self._server = server
        self._readers = {
            _PROGRESS: self._read_progress,
            _CACHED: self._read_cached,
            _PREVIEW: self._read_preview,
            _PREVIEW_OF_NODE: self._read_preview_of_node,
        }

    def read(self, event: Any, data: Any) -> None:
        """Report a message, if it is about progress."""
        try:
            reader = self._readers.get(event)
        except TypeError:  # packs may send events that cannot be keys
            return
        if reader is not None:
            reader(data)

    def _read_progress(self, data: Any) -> None:
        if isinstance(data, Mapping) and isinstance(data.get("nodes"), Mapping):
            self.listeners.progressed(str(data.get("prompt_id")), data["nodes"])

    def _read_cached(self, data: Any) -> None:
        if isinstance(data, Mapping) and isinstance(data.get("nodes"), (list, tuple)):
            self.listeners.cached(str(data.get("prompt_id")), list(map(str, data["nodes"])))

    def _read_preview(self, data: Any) -> None:
        prompt_id = getattr(self._server, "last_prompt_id", None)
        node_id = getattr(self._server, "last_node_id", None)
        if prompt_id is not None:
            self._report_picture(str(prompt_id), "" if node_id is None else str(node_id), data)

    def _read_preview_of_node(self, data: Any) -> None:
        if not isinstance(data, (list, tuple)) or len(data) != 2 or not isinstance(data[1], Mapping):
            return
        picture, about = data
        node_id = about.get("display_node_id") or about.get("node_id") or ""
        self._report_picture(str(about.get("prompt_id")), str(node_id), picture)

    def _report_picture(self, prompt_id: str, node_id: str, data: Any) -> None:
        """Report a picture, which is (format, image of Pillow, largest edge or None)."""
        if not isinstance(data, (list, tuple)) or len(data) < 2 or not hasattr(data[1], "save"):
            return
        edge = data[2] if len(data) > 2 and isinstance(data[2], int) else None
        self.listeners.previewed(prompt_id, NodePreview(node_id, data[1], edge))
