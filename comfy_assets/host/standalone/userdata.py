"""``/userdata``: a user's own files over HTTP, as ComfyUI's page reads and writes them. Errors are plain text."""

from __future__ import annotations

import asyncio
import functools
import mimetypes
import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from ...fs.atomic import is_temp_name, temp_name
from ...names import UnsafeName, check_leads_nowhere, relative_parts
from ...store_guard import is_protected
from ..base import UnknownUserError
from .http import json_answer
from .users import Users
from .view import OPAQUE, passive_type


class FileRefused(Exception):
    """What is asked of a user's files cannot be done: the status, and a sentence for the client."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class UserFiles:
    """The files below one user's folder. Everything blocks; names are relative, with forward slashes.

    Every method raises FileRefused: 403 for a name that leads out of the folder, also through a link, 400 for one
    that no system could store, 404 for what is not there, 409 for what is there already.
    """

    def __init__(self, root: Path, lock: threading.Lock) -> None:
        self.root = root
        self._lock = lock

    def path(self, name: str) -> Path:
        """Where a file of this name is, or would be."""
        try:
            parts = relative_parts(name)
        except UnsafeName as error:
            raise FileRefused(403 if _leads_away(name) else 400, f"The name is refused: {error}.") from error
        path = self.root.joinpath(*parts)
        if not self._is_inside(path) or is_protected(path):
            raise FileRefused(403, "The name leads out of the user's folder.")
        return path

    def directory(self, name: str) -> Path:
        """Like ``path``, for a folder: a final slash is allowed, and ``.`` is the user's folder itself."""
        bare = name.rstrip("/") if name.strip("/") else name
        return self.root if bare in ("", ".") else self.path(bare)

    def existing(self, name: str) -> Path:
        """The path of a file that is there."""
        path = self.path(name)
        if not path.is_file():
            raise FileRefused(404, "There is no such file.")
        return path

    def files_in(self, name: str, *, deep: bool) -> list[tuple[str, Path]]:
        """The files of a folder, each with its name in that folder; hidden ones are left out."""
        directory = self.directory(name)
        if not directory.is_dir():
            raise FileRefused(404, "There is no such folder.")
        found = ((path.relative_to(directory).as_posix(), path) for path in self._walk(directory, deep=deep))
        return sorted((each, path) for each, path in found if path.is_file())

    def entries_in(self, name: str) -> list[dict[str, Any]]:
        """Everything below a folder, folders first, as /v2/userdata tells it; nothing while the user has no folder."""
        directory = self.directory(name)
        if directory == self.root and not directory.exists():
            return []
        if not directory.exists():
            raise FileRefused(404, "There is no such folder.")
        if not directory.is_dir():
            raise FileRefused(400, "That is not a folder.")
        entries = [self._entry(path) for path in self._walk(directory, deep=True, hidden=True)]
        return sorted(entries, key=lambda entry: (entry["type"] != "directory", entry["name"].lower()))

    def store(self, name: str, content: bytes, *, overwrite: bool) -> Path:
        """Write a file, whole or not at all; one that had this name is replaced in one step."""
        path = self.path(name)
        self._make_room(path)
        draft = path.with_name(temp_name())
        try:
            draft.write_bytes(content)
            with self._lock:
                self._check_free(path, overwrite=overwrite)
                self._replace(draft, path)
        except OSError as error:
            raise FileRefused(400, f"The file cannot be written: {error.strerror or error}.") from error
        finally:
            draft.unlink(missing_ok=True)
        return path

    def move(self, name: str, new_name: str, *, overwrite: bool) -> Path:
        """Rename a file, into a new folder as well."""
        source, target = self.existing(name), self.path(new_name)
        self._make_room(target)
        with self._lock:
            self._check_free(target, overwrite=overwrite)
            self._replace(source, target)
        return target

    def delete(self, name: str) -> None:
        """Remove a file."""
        path = self.existing(name)
        try:
            path.unlink()
        except FileNotFoundError as error:
            raise FileRefused(404, "There is no such file.") from error
        except OSError as error:
            raise FileRefused(400, f"The file cannot be removed: {error.strerror or error}.") from error

    def describe(self, path: Path, relative_to: Path) -> dict[str, Any]:
        """A file as lists with full_info tell it; times in milliseconds."""
        status = path.stat()
        return {
            "path": path.relative_to(relative_to).as_posix(),
            "size": status.st_size,
            "modified": int(status.st_mtime * 1000),
            "created": int(status.st_ctime * 1000),
        }

    def _is_inside(self, path: Path) -> bool:
        return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(self.root))

    def _make_room(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileRefused(400, "A file is where a folder of this name would have to be.") from error

    def _check_free(self, path: Path, *, overwrite: bool) -> None:
        if path.is_dir():
            raise FileRefused(409 if not overwrite else 400, "A folder has this name.")
        if not overwrite and path.exists():
            raise FileRefused(409, "File already exists")

    def _replace(self, source: Path, target: Path) -> None:
        try:
            source.replace(target)
        except FileNotFoundError as error:
            raise FileRefused(404, "There is no such file.") from error
        except OSError as error:
            raise FileRefused(400, f"The file cannot have this name: {error.strerror or error}.") from error

    def _walk(self, directory: Path, *, deep: bool, hidden: bool = False) -> Iterator[Path]:
        """What is below a folder; links are not followed into folders, and those that lead away are left out."""
        for parent, folders, names in os.walk(directory):
            shown = [*folders, *names] if hidden else [name for name in [*folders, *names] if name[0] != "."]
            paths = [Path(parent, name) for name in shown if not is_temp_name(name)]
            yield from (path for path in paths if not path.is_symlink() or self._is_inside(path))
            if not hidden:
                folders[:] = [name for name in folders if name[0] != "."]
            if not deep:
                return

    def _entry(self, path: Path) -> dict[str, Any]:
        entry: dict[str, Any] = {"name": path.name, "path": path.relative_to(self.root).as_posix(), "type": "directory"}
        if not path.is_dir():
            entry["type"] = "file"
            try:
                status = path.stat()
            except OSError:  # gone in the meantime: told with what is known, as the stock server does
                return entry
            entry.update(size=status.st_size, modified=status.st_mtime)
        return entry


def _leads_away(name: str) -> bool:
    """Whether a name that is refused is so for leading out of the folder."""
    try:
        check_leads_nowhere(name)
    except UnsafeName:
        return "\0" not in name
    return False


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
