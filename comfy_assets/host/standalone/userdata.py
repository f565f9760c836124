"""``/userdata``: the files of a user, such as workflows and templates of the page. Errors are plain text."""

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

from ...fs import shared_files
from ...fs.atomic import is_fault_of_disk, is_temp_name, make_folder, temp_file
from ...fs.paths import extended_path, is_link, plain, real_path, unlimited
from ...names import UnsafeName, check_leads_nowhere, relative_parts
from ...store_guard import is_protected
from ..base import UnknownUserError
from ..shared_file_response import SharedFileResponse
from .files import OPAQUE, passive_type
from .http import RouteTable, json_response
from .users import Users


class FileRefused(Exception):
    """Refuses an operation on a user's files, with a status and a sentence for the client."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class UserFiles:
    """The files below a user's folder. All methods block; names are relative, with forward slashes.

    Every method raises FileRefused: 403 for a name that leads out of the folder, even through a link, 400 for a name
    that cannot be stored, 404 for a missing file, 409 for an existing one, 500 if the disk is full or fails.
    """

    def __init__(self, root: Path, lock: threading.Lock) -> None:
        self.root = root
        self._lock = lock

    def path(self, name: str) -> Path:
        """Return the path of a file, which need not exist."""
        try:
            parts = relative_parts(name)
        except UnsafeName as error:
            raise FileRefused(403 if _leads_outside(name) else 400, f"The name is refused: {error}.") from error
        path = self.root.joinpath(*parts)
        if not self._is_inside(path) or is_protected(path):
            raise FileRefused(403, "The name leads out of the user's folder.")
        return path

    def directory(self, name: str) -> Path:
        """Return the path of a folder. A final slash is allowed; ``.`` is the user's folder itself."""
        bare = name.rstrip("/") if name.strip("/") else name
        return self.root if bare in ("", ".") else self.path(bare)

    def existing(self, name: str) -> Path:
        """Return the path of an existing file."""
        path = self.path(name)
        if not extended_path(path).is_file():
            raise FileRefused(404, "There is no such file.")
        return path

    def files_in(self, name: str, *, deep: bool) -> list[tuple[str, Path]]:
        """List the files of a folder with their names relative to it, without hidden ones."""
        directory = self.directory(name)
        if not extended_path(directory).is_dir():
            raise FileRefused(404, "There is no such folder.")
        found = ((path.relative_to(directory).as_posix(), path) for path in self._walk(directory, deep=deep))
        return sorted((each, path) for each, path in found if extended_path(path).is_file())

    def entries_in(self, name: str) -> list[dict[str, Any]]:
        """List everything below a folder, folders first, in the form of /v2/userdata; [] if the user has no folder."""
        directory = self.directory(name)
        if directory == self.root and not extended_path(directory).exists():
            return []
        if not extended_path(directory).exists():
            raise FileRefused(404, "There is no such folder.")
        if not extended_path(directory).is_dir():
            raise FileRefused(400, "That is not a folder.")
        entries = [self._entry(path) for path in self._walk(directory, deep=True, hidden=True)]
        return sorted(entries, key=lambda entry: (entry["type"] != "directory", entry["name"].lower()))

    def store(self, name: str, content: bytes, *, overwrite: bool) -> Path:
        """Write a file atomically, replacing an existing one."""
        path = self.path(name)
        self._make_room(path)
        try:
            with temp_file(path) as temporary:
                temporary.write_bytes(content)
                with self._lock:  # without it, two uploads that may not overwrite could both find the name free
                    self._check_free(path, overwrite=overwrite)
                    self._replace(temporary, path)
        except OSError as error:
            raise _refusal(error, "The file cannot be written") from error
        return path

    def move(self, name: str, new_name: str, *, overwrite: bool) -> Path:
        """Rename a file; its new folder is created if needed."""
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
            shared_files.remove(path)
        except FileNotFoundError as error:  # another request was faster
            raise FileRefused(404, "There is no such file.") from error
        except OSError as error:
            raise _refusal(error, "The file cannot be removed") from error

    def describe(self, path: Path, relative_to: Path) -> dict[str, Any]:
        """Return a file in the form of lists with ``full_info``; times in milliseconds."""
        status = extended_path(path).stat()
        return {
            "path": path.relative_to(relative_to).as_posix(),
            "size": status.st_size,
            "modified": int(status.st_mtime * 1000),
            "created": int(status.st_ctime * 1000),
        }

    def _is_inside(self, path: Path) -> bool:
        # Both resolved: the user's folder itself may be a link, and so may any folder in it.
        return real_path(path).is_relative_to(real_path(self.root))

    def _make_room(self, path: Path) -> None:
        try:
            make_folder(path.parent)
        except (FileExistsError, NotADirectoryError) as error:
            raise FileRefused(400, "A file is where a folder of this name would have to be.") from error
        except OSError as error:
            raise _refusal(error, "The folder cannot be created") from error

    def _check_free(self, path: Path, *, overwrite: bool) -> None:
        if extended_path(path).is_dir():
            raise FileRefused(409 if not overwrite else 400, "A folder has this name.")
        if not overwrite and extended_path(path).exists():
            raise FileRefused(409, "File already exists")

    def _replace(self, source: Path, target: Path) -> None:
        try:
            shared_files.replace(source, target)
        except FileNotFoundError as error:
            raise FileRefused(404, "There is no such file.") from error
        except OSError as error:
            raise _refusal(error, "The file cannot have this name") from error

    def _walk(self, directory: Path, *, deep: bool, hidden: bool = False) -> Iterator[Path]:
        """Yield everything below a folder. Links to folders are not followed; links that lead outside are left out."""
        for parent, folders, names in os.walk(unlimited(directory)):
            shown = [*folders, *names] if hidden else [name for name in [*folders, *names] if name[0] != "."]
            paths = [Path(plain(parent), name) for name in shown if not is_temp_name(name)]
            yield from (path for path in paths if not is_link(str(path)) or self._is_inside(path))
            if not hidden:
                folders[:] = [name for name in folders if name[0] != "."]
            if not deep:
                return

    def _entry(self, path: Path) -> dict[str, Any]:
        entry: dict[str, Any] = {"name": path.name, "path": path.relative_to(self.root).as_posix(), "type": "directory"}
        if not extended_path(path).is_dir():
            entry["type"] = "file"
            try:
                status = extended_path(path).stat()
            except OSError:  # removed in the meantime: listed without size and time, as the stock server does
                return entry
            entry.update(size=status.st_size, modified=status.st_mtime)
        return entry


def _refusal(error: OSError, problem: str) -> FileRefused:
    if shared_files.is_in_use(error):
        return FileRefused(409, "Another program has the file open. Close it there, or try again later.")
    status = 500 if is_fault_of_disk(error) else 400
    return FileRefused(status, f"{problem}: {error.strerror or error}.")


def _leads_outside(name: str) -> bool:
    """Return whether a refused name leads out of the folder."""
    try:
        check_leads_nowhere(name)
    except UnsafeName:
        return "\0" not in name  # no system can store such a name, so it leads nowhere: 400, as in ComfyUI
    return False


STYLE_SHEET = "user.css"  # loaded by the page, so it is sent as what it is

UserFilesHandler = Callable[["UserdataRoutes", web.Request, UserFiles], Awaitable[web.StreamResponse]]
Handler = Callable[["UserdataRoutes", web.Request], Awaitable[web.StreamResponse]]


def _with_user_files(function: UserFilesHandler) -> Handler:
    """Pass the user's files to a handler, and turn its refusals into plain text."""

    @functools.wraps(function)
    async def handle(self: UserdataRoutes, request: web.Request) -> web.StreamResponse:
        try:
            return await function(self, request, self.files_of(request))
        except UnknownUserError:
            return web.Response(status=401, text="The server does not know this user.")
        except FileRefused as error:
            return web.Response(status=error.status, text=error.text)

    return handle


class UserdataRoutes:
    """The routes /userdata and /v2/userdata."""

    def __init__(self, directory: Path, users: Users) -> None:
        self._directory = directory
        self._users = users
        self._lock = threading.Lock()

    def routes(self) -> RouteTable:
        return [
            ("GET", "/userdata", self._list_files),
            ("GET", "/v2/userdata", self._list_entries),
            ("GET", "/userdata/{file}", self._download),
            ("POST", "/userdata/{file}", self._store),
            ("DELETE", "/userdata/{file}", self._delete),
            ("POST", "/userdata/{file}/move/{dest}", self._move),
        ]

    def files_of(self, request: web.Request) -> UserFiles:
        """Return the files of the request's user. Raise UnknownUserError."""
        return UserFiles(self._directory / self._users.identify(request.headers), self._lock)

    @_with_user_files
    async def _list_files(self, request: web.Request, files: UserFiles) -> web.StreamResponse:
        """List the files of the folder ``dir``: names, their parts (``split``), or sizes and times (``full_info``)."""
        name = request.query.get("dir", "")
        if not name:
            raise FileRefused(400, "Directory not provided")
        found = await asyncio.to_thread(_list, files, _decoded(name), request)
        return json_response(found)

    @_with_user_files
    async def _list_entries(self, request: web.Request, files: UserFiles) -> web.StreamResponse:
        """List all files and folders below the folder ``path``."""
        return json_response(await asyncio.to_thread(files.entries_in, _decoded(request.query.get("path", ""))))

    @_with_user_files
    async def _download(self, request: web.Request, files: UserFiles) -> web.StreamResponse:
        """Send a file. Browsers never display it, as it could be a page with scripts."""
        path = await asyncio.to_thread(files.existing, _named(request))
        guessed = mimetypes.guess_type(path.name)[0] or OPAQUE
        content_type = guessed if passive_type(path.name) != OPAQUE else OPAQUE
        headers = {"Content-Type": content_type, "Content-Disposition": "attachment"}
        if path == files.root / STYLE_SHEET:
            headers = {"Content-Type": "text/css", "Content-Disposition": "inline"}
        return SharedFileResponse(path, {**headers, "X-Content-Type-Options": "nosniff"})

    @_with_user_files
    async def _store(self, request: web.Request, files: UserFiles) -> web.StreamResponse:
        """Write the body to a file."""
        name, overwrite = _named(request), _may_overwrite(request)
        path = await asyncio.to_thread(files.store, name, await request.read(), overwrite=overwrite)
        return await _written(request, files, path)

    @_with_user_files
    async def _move(self, request: web.Request, files: UserFiles) -> web.StreamResponse:
        """Rename a file."""
        names = _named(request), _named(request, "dest")
        path = await asyncio.to_thread(files.move, *names, overwrite=_may_overwrite(request))
        return await _written(request, files, path)

    @_with_user_files
    async def _delete(self, request: web.Request, files: UserFiles) -> web.StreamResponse:
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
        return json_response(path.relative_to(files.root).as_posix())
    return json_response(await asyncio.to_thread(files.describe, path, files.root))


def _named(request: web.Request, parameter: str = "file") -> str:
    return _decoded(request.match_info[parameter])


def _decoded(name: str) -> str:
    """Decode a name once more, as ComfyUI does: some clients encode names twice."""
    return unquote(name)


def _may_overwrite(request: web.Request) -> bool:
    return request.query.get("overwrite", "true") != "false"


def _is_true(request: web.Request, name: str) -> bool:
    return request.query.get(name, "").lower() == "true"
