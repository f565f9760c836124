"""``/internal``: what ComfyUI's page alone asks for."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from aiohttp import web

from .folders import BaseFolders
from .http import Refusal, json_answer, read_object
from .log_book import LogBook, terminal_size


class Internal:
    """Answers /internal/…"""

    def __init__(self, folders: BaseFolders, book: LogBook) -> None:
        self._folders = folders
        self._book = book

    async def logs(self, request: web.Request) -> web.Response:
        """The log as one string."""
        return json_answer("".join(f"{entry['t']} - {entry['m']}" for entry in self._book.entries()))

    async def raw_logs(self, request: web.Request) -> web.Response:
        return json_answer({"entries": self._book.entries(), "size": terminal_size()})

    async def subscribe(self, request: web.Request) -> web.Response:
        """Begin or end to send the log to a page: ``{"clientId": …, "enabled": …}``."""
        body = await read_object(request)
        sid, enabled = body.get("clientId"), body.get("enabled")
        if not isinstance(sid, str) or not isinstance(enabled, bool):
            raise Refusal("clientId must be a string and enabled true or false.")
        self._book.subscribe(sid, enabled=enabled)
        return web.Response()

    async def folder_paths(self, request: web.Request) -> web.Response:
        folders = {name: self._folders.category_paths(name) for name in self._folders.categories()}
        folders["custom_nodes"] = tuple(self._folders.code)
        return json_answer({name: [str(path) for path in paths] for name, paths in folders.items()})

    async def files(self, request: web.Request) -> web.Response:
        """The files right in the input, output or temp folder, the latest first."""
        kind = request.match_info["directory_type"]
        folder = self._folders.of_type(kind)
        if folder is None:
            raise Refusal("Invalid directory type")
        return json_answer([f"{name} [{kind}]" for name in await asyncio.to_thread(_latest_first, folder)])


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
