"""ComfyUI's messages to its pages: while the login is on, those of a prompt reach the pages of its user alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from .client_ids import namespace_in

WORKER = "(prompt_worker)"  # the end of the worker's name: Python names a thread after its function
_FOR_ALL = "status"  # the length of the queue


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
