"""``/userdata``: a user's own files over HTTP, as ComfyUI's page reads and writes them. Errors are plain text."""

from __future__ import annotations

import asyncio
import functools
import mimetypes
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from ..base import UnknownUserError
from .http import json_answer
from .user_files import FileRefused, UserFiles
from .users import Users
from .view import OPAQUE, passive_type

STYLE_SHEET = "user.css"

Answer = Callable[["Userdata", web.Request, UserFiles], Awaitable[web.StreamResponse]]
Handler = Callable[["Userdata", web.Request], Awaitable[web.StreamResponse]]


def _of_user(answer: Answer) -> Handler:
    """A handler that is given the user's files, and whose refusals are answered as plain text."""

    @functools.wraps(answer)
    async def handle(self: Userdata, request: web.Request) -> web.StreamResponse:
        try:
            return await answer(self, request, self.files_of(request))
        except UnknownUserError:
            return web.Response(status=401, text="The server does not know this user.")
        except FileRefused as error:
            return web.Response(status=error.status, text=error.text)

    return handle


class Userdata:
    """Answers /userdata and /v2/userdata from the folders below the user directory."""

    def __init__(self, directory: Path, users: Users) -> None:
        self._directory = directory
        self._users = users
        self._lock = threading.Lock()

    def files_of(self, request: web.Request) -> UserFiles:
        """The files of the request's user. Raises UnknownUserError."""
        return UserFiles(self._directory / self._users.identify(request.headers), self._lock)

    @_of_user
    async def list_files(self, request: web.Request, files: UserFiles) -> web.StreamResponse:
        """The files of the folder ``dir``: their names, or with ``split`` their parts, or ``full_info``."""
        name = request.query.get("dir", "")
        if not name:
            raise FileRefused(400, "Directory not provided")
        found = await asyncio.to_thread(_list, files, _decoded(name), request)
        return json_answer(found)

    @_of_user
    async def list_entries(self, request: web.Request, files: UserFiles) -> web.StreamResponse:
        """All files and folders below the folder ``path``."""
        return json_answer(await asyncio.to_thread(files.entries_in, _decoded(request.query.get("path", ""))))

    @_of_user
    async def download(self, request: web.Request, files: UserFiles) -> web.StreamResponse:
        """A file; never shown in place by a browser, as it could be a page with scripts."""
        path = await asyncio.to_thread(files.existing, _named(request))
        guessed = mimetypes.guess_type(path.name)[0] or OPAQUE
        content_type = guessed if passive_type(path.name) != OPAQUE else OPAQUE
        headers = {"Content-Type": content_type, "Content-Disposition": "attachment"}
        if path == files.root / STYLE_SHEET:
            headers = {"Content-Type": "text/css", "Content-Disposition": "inline"}
        return web.FileResponse(path, headers={**headers, "X-Content-Type-Options": "nosniff"})

    @_of_user
    async def store(self, request: web.Request, files: UserFiles) -> web.StreamResponse:
        """Write the body to a file, whole or not at all."""
        name, overwrite = _named(request), _may_overwrite(request)
        path = await asyncio.to_thread(files.store, name, await request.read(), overwrite=overwrite)
        return await _written(request, files, path)

    @_of_user
    async def move(self, request: web.Request, files: UserFiles) -> web.StreamResponse:
        """Rename a file."""
        names = _named(request), _named(request, "dest")
        path = await asyncio.to_thread(files.move, *names, overwrite=_may_overwrite(request))
        return await _written(request, files, path)

    @_of_user
    async def delete(self, request: web.Request, files: UserFiles) -> web.StreamResponse:
        """Remove a file."""
        await asyncio.to_thread(files.delete, _named(request))
        return web.Response(status=204)


def _list(files: UserFiles, name: str, request: web.Request) -> list[Any]:
    found = files.files_in(name, deep=_is_true(request, "recurse"))
    if _is_true(request, "full_info"):
        directory = files.directory(name)
        return [files.describe(path, directory) for _, path in found]
    if _is_true(request, "split"):
        return [[each, *each.split("/")] for each, _ in found]
    return [each for each, _ in found]


async def _written(request: web.Request, files: UserFiles, path: Path) -> web.Response:
    if not _is_true(request, "full_info"):
        return json_answer(path.relative_to(files.root).as_posix())
    return json_answer(await asyncio.to_thread(files.describe, path, files.root))


def _named(request: web.Request, parameter: str = "file") -> str:
    return _decoded(request.match_info[parameter])


def _decoded(name: str) -> str:
    """A name as ComfyUI understands it: some clients encode what a path or query has encoded already."""
    return unquote(name)


def _may_overwrite(request: web.Request) -> bool:
    return request.query.get("overwrite", "true") != "false"


def _is_true(request: web.Request, name: str) -> bool:
    return request.query.get(name, "").lower() == "true"
