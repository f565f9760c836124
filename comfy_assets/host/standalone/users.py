"""The users of ``user/users.json``, or a single one, and ``/settings``: their settings of the page."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from ...fs import shared_files
from ...fs.atomic import LEFTOVER_AGE_S, remove_leftovers, remove_leftovers_below, replace_file
from ..base import UnknownUserError
from .http import Refusal, RouteTable, json_response, read_json, read_object, text_or_none

log = logging.getLogger("comfy_assets.standalone")

USER_HEADER = "comfy-user"
DEFAULT_USER = "default"
SYSTEM_PREFIX = "__"  # folders of the system beside those of users, such as ours
MAX_NAME_CHARACTERS = 100
_SETTINGS_FILE = "comfy.settings.json"


class UserRefused(ValueError):
    """Refuses a new user; the message is the reason."""


class Users:
    """The users of a server. Without ``multi_user`` everybody is "default"."""

    def __init__(self, directory: Path, *, multi_user: bool) -> None:
        self.multi_user = multi_user
        self._directory = directory
        self._file = directory / "users.json"
        self._lock = threading.Lock()
        self._names = self._read() if multi_user else {DEFAULT_USER: DEFAULT_USER}

    def names(self) -> dict[str, str]:
        """Return the names of the users by id."""
        with self._lock:
            return dict(self._names)

    def identify(self, headers: Mapping[str, str]) -> str:
        """Return the id of the user in a request's headers. Raise UnknownUserError."""
        if not self.multi_user:
            return DEFAULT_USER
        user = headers.get(USER_HEADER, DEFAULT_USER)
        # The prefix is checked although ``add`` refuses it: users.json may have been edited.
        if user.startswith(SYSTEM_PREFIX) or user not in self._names:
            raise UnknownUserError(user)
        return user

    def has_directory(self) -> bool:
        """Return whether the single user has a folder."""
        return (self._directory / DEFAULT_USER).is_dir()

    def add(self, name: str) -> str:
        """Add a user and return the id. Raise UserRefused for a name that is taken or not allowed."""
        name = name.strip()
        if not name or len(name) > MAX_NAME_CHARACTERS:
            raise UserRefused(f"A user name has 1 to {MAX_NAME_CHARACTERS} characters.")
        # The id is the name of a folder, so it has only characters that every system allows.
        slug = re.sub(r"[^a-zA-Z0-9_-]+", "-", name)
        if name.startswith(SYSTEM_PREFIX) or slug.startswith(SYSTEM_PREFIX):
            raise UserRefused(f"User names beginning with {SYSTEM_PREFIX} are reserved.")
        with self._lock:
            if name in self._names.values():
                raise UserRefused("A user of this name already exists.")
            user = f"{slug}_{uuid.uuid4()}"
            self._write({**self._names, user: name})
            self._names[user] = name  # only now: a user that could not be saved would be gone at the next start
        return user

    def remove_leftovers(self) -> None:
        """Remove incomplete files of a killed server from the folders of all users, and beside them. Blocks."""
        before = time.time() - LEFTOVER_AGE_S
        remove_leftovers([self._directory], before)
        for user in self.names():
            remove_leftovers_below(self._directory / user, before)

    def named(self, name: str) -> str | None:
        """Return the id of the user of this name, or None. Blocks."""
        return next((user for user, known in self.names().items() if known == name), None)

    def ensure(self, name: str) -> str:
        """Return the id of the user of this name, who is added if there is none. Raise UserRefused, OSError. Blocks."""
        name = name.strip()
        for _ in range(2):  # another request may add them meanwhile
            found = self.named(name)
            if found is not None or not self.multi_user:
                return found or DEFAULT_USER
            try:
                return self.add(name)
            except UserRefused:
                if name not in self.names().values():
                    raise
        raise UserRefused("The user cannot be added.")

    def _read(self) -> dict[str, str]:
        try:
            users = json.loads(self._file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise ValueError(f"{self._file} is not valid JSON: {error}") from error
        if not isinstance(users, dict) or not all(isinstance(name, str) for name in users.values()):
            raise ValueError(f"{self._file} must hold an object of user ids and names")
        return users

    def _write(self, users: Mapping[str, str]) -> None:
        replace_file(self._file, json.dumps(users).encode())


class UserRoutes:
    """The route /users."""

    def __init__(self, users: Users) -> None:
        self._users = users

    def routes(self) -> RouteTable:
        return [("GET", "/users", self._list), ("POST", "/users", self._add)]

    async def _list(self, request: web.Request) -> web.Response:
        if self._users.multi_user:
            return json_response({"storage": "server", "users": self._users.names()})
        return json_response({"storage": "server", "migrated": self._users.has_directory()})

    async def _add(self, request: web.Request) -> web.Response:
        body = await read_object(request)
        if not self._users.multi_user:
            raise Refusal("This server was started for a single user.")
        try:
            name = text_or_none(body, "username") or ""
            return json_response(await asyncio.to_thread(self._users.add, name))
        except UserRefused as error:
            raise Refusal(str(error)) from error
        except OSError as error:
            raise _storage_failed(error) from error


class SettingsRoutes:
    """The routes below /settings. A file that is not a JSON object counts as empty; a copy is kept."""

    def __init__(self, directory: Path, users: Users) -> None:
        self._directory = directory
        self._users = users
        self._lock = threading.Lock()  # a change reads and replaces the whole file

    def routes(self) -> RouteTable:
        return [
            ("GET", "/settings", self._list),
            ("POST", "/settings", self._update),
            ("GET", "/settings/{id}", self._get),
            ("POST", "/settings/{id}", self._set),
        ]

    async def _list(self, request: web.Request) -> web.Response:
        return json_response(await asyncio.to_thread(self._current, self._file(request)))

    async def _get(self, request: web.Request) -> web.Response:
        """Return the value itself, null if it was never set, as the page reads it."""
        settings = await asyncio.to_thread(self._current, self._file(request))
        return json_response(settings.get(request.match_info["id"]))

    async def _update(self, request: web.Request) -> web.Response:
        """Change the settings in the body."""
        file = self._file(request)
        return json_response(await asyncio.to_thread(self._merge, file, await read_object(request)))

    async def _set(self, request: web.Request) -> web.Response:
        """Change one setting to the value in the body."""
        file, value = self._file(request), await read_json(request)
        await asyncio.to_thread(self._merge, file, {request.match_info["id"]: value})
        return json_response({"value": value})

    def _file(self, request: web.Request) -> Path:
        try:
            return self._directory / self._users.identify(request.headers) / _SETTINGS_FILE
        except UnknownUserError as error:
            raise Refusal("The server does not know this user.", status=401) from error

    def _current(self, file: Path) -> dict[str, Any]:
        with self._lock, _as_refusal():  # Windows cannot replace a file that is being read
            return _read(file)

    def _merge(self, file: Path, changes: dict[str, Any]) -> dict[str, Any]:
        with self._lock, _as_refusal():
            settings = {**_read(file), **changes}
            _set_aside_if_broken(file)
            _write(file, settings)
        return settings


@contextlib.contextmanager
def _as_refusal() -> Iterator[None]:
    """Turn the error of a file that another program holds, or of the disk, into a Refusal."""
    try:
        yield
    except shared_files.FileHeldError as error:
        raise Refusal("Another program has the file of the settings open. Try again later.", status=409) from error
    except OSError as error:
        raise _storage_failed(error) from error


def _storage_failed(error: OSError) -> Refusal:
    log.warning("A file of a user could not be read or written: %s", error)
    return Refusal(f"The disk says: {error.strerror or type(error).__name__}.", status=500, code="STORAGE_FAILED")


def _parse(file: Path) -> Any:
    """Return the content of the file, {} if it does not exist. Raise ValueError or RecursionError."""
    try:
        return json.loads(shared_files.read_shared(file))
    except FileNotFoundError:
        return {}


def _is_broken(file: Path) -> bool:
    try:
        return not isinstance(_parse(file), dict)
    except (ValueError, RecursionError):
        return True


def _read(file: Path) -> dict[str, Any]:
    if _is_broken(file):
        log.warning("The settings in %s are not valid JSON; they count as empty.", file)
        return {}
    settings: dict[str, Any] = _parse(file)
    return settings


def _set_aside_if_broken(file: Path) -> None:
    if _is_broken(file):
        kept = file.with_name(f"{file.name}.broken-{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}")
        shared_files.replace(file, kept)
        log.warning("The broken settings were kept as %s.", kept)


def _write(file: Path, settings: dict[str, Any]) -> None:
    replace_file(file, json.dumps(settings, indent=4).encode())
