"""``/internal``: routes for ComfyUI's own page, with the log that it displays."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import threading
from collections import deque
from datetime import datetime
from pathlib import Path
from typing import Any

from aiohttp import web

from .folders import BaseFolders
from .http import Refusal, json_response, read_object
from .websocket import MessageHub


class InternalRoutes:
    """The routes below /internal."""

    def __init__(self, folders: BaseFolders, book: LogBuffer) -> None:
        self._folders = folders
        self._book = book

    async def logs(self, request: web.Request) -> web.Response:
        """Return the log as one string."""
        return json_response("".join(f"{entry['t']} - {entry['m']}" for entry in self._book.entries()))

    async def raw_logs(self, request: web.Request) -> web.Response:
        return json_response({"entries": self._book.entries(), "size": terminal_size()})

    async def subscribe(self, request: web.Request) -> web.Response:
        """Start or stop sending the log to a session: ``{"clientId": …, "enabled": …}``."""
        body = await read_object(request)
        sid, enabled = body.get("clientId"), body.get("enabled")
        if not isinstance(sid, str) or not isinstance(enabled, bool):
            raise Refusal("clientId must be a string and enabled true or false.")
        self._book.subscribe(sid, enabled=enabled)
        return web.Response()

    async def folder_paths(self, request: web.Request) -> web.Response:
        folders = {name: self._folders.category_paths(name) for name in self._folders.categories()}
        folders["custom_nodes"] = tuple(self._folders.code)
        return json_response({name: [str(path) for path in paths] for name, paths in folders.items()})

    async def files(self, request: web.Request) -> web.Response:
        """List the files directly in the input, output or temp folder, the latest first."""
        kind = request.match_info["directory_type"]
        folder = self._folders.of_type(kind)
        if folder is None:
            raise Refusal("Invalid directory type")
        return json_response([f"{name} [{kind}]" for name in await asyncio.to_thread(_latest_first, folder)])


def _latest_first(folder: Path) -> list[str]:
    found = []
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return []
    for entry in entries:
        try:
            if entry.is_file() and not entry.name.startswith("."):
                found.append((-entry.stat().st_mtime, entry.name))
        except OSError:  # gone in the meantime
            continue
    return [name for _, name in sorted(found)]


CAPACITY = 300  # records, as in ComfyUI


class LogBuffer(logging.Handler):
    """Keeps the last log records between ``open`` and ``shut``, as ``{"t": time, "m": text}``."""

    def __init__(self, hub: MessageHub) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("[%(levelname)s] %(message)s\n"))
        self._hub = hub
        self._entries: deque[dict[str, str]] = deque(maxlen=CAPACITY)
        self._readers: set[str] = set()
        self._guard = threading.Lock()

    def open(self) -> None:
        logging.getLogger().addHandler(self)

    def shut(self) -> None:
        logging.getLogger().removeHandler(self)

    def entries(self) -> list[dict[str, str]]:
        with self._guard:
            return list(self._entries)

    def subscribe(self, sid: str, *, enabled: bool) -> None:
        """Start or stop sending every new entry to the pages of a session."""
        with self._guard:
            (self._readers.add if enabled else self._readers.discard)(sid)

    def emit(self, record: logging.LogRecord) -> None:
        entry = {"t": datetime.fromtimestamp(record.created).isoformat(), "m": self.format(record)}
        with self._guard:
            self._entries.append(entry)
            # Pages that disconnected without unsubscribing.
            self._readers = {sid for sid in self._readers if self._hub.is_connected(sid)}
            readers = list(self._readers)
        for sid in readers:
            self._hub.send("logs", {"entries": [entry], "size": None}, sid)


def terminal_size() -> dict[str, Any]:
    """Return the size of the server's terminal; 80 x 24 without one."""
    size = shutil.get_terminal_size()
    return {"cols": size.columns, "rows": size.lines}
