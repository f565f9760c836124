"""Whose request it is: one user for everybody, or the users of ``user/users.json``."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import threading
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from ...fs.atomic import replace_file
from ..base import UnknownUserError
from .http import Refusal, json_answer, read_json, read_object

USER_HEADER = "comfy-user"
DEFAULT_USER = "default"
SYSTEM_PREFIX = "__"
MAX_NAME_CHARACTERS = 100


class UserRefused(ValueError):
    """A new user cannot be added; the message says why."""


class Users:
    """The users of a server. Without ``multi_user`` everybody is "default"."""

    def __init__(self, directory: Path, *, multi_user: bool) -> None:
        self.multi_user = multi_user
        self._directory = directory
        self._file = directory / "users.json"
        self._lock = threading.Lock()
        self._names = self._read() if multi_user else {DEFAULT_USER: DEFAULT_USER}

    def names(self) -> dict[str, str]:
        """Every user: id -> name."""
        with self._lock:
            return dict(self._names)

    def identify(self, headers: Mapping[str, str]) -> str:
        """The id of the user that a request's headers name. Raises UnknownUserError."""
        if not self.multi_user:
            return DEFAULT_USER
        user = headers.get(USER_HEADER, DEFAULT_USER)
        if user.startswith(SYSTEM_PREFIX) or user not in self._names:
            raise UnknownUserError(user)
        return user

    def has_directory(self) -> bool:
        """Whether the single user has stored anything here yet."""
        return (self._directory / DEFAULT_USER).is_dir()

    def add(self, name: str) -> str:
        """Add a user and return the new id. Raises UserRefused for a name that is taken or not allowed."""
        name = name.strip()
        if not name or len(name) > MAX_NAME_CHARACTERS:
            raise UserRefused(f"A user name has 1 to {MAX_NAME_CHARACTERS} characters.")
        slug = re.sub(r"[^a-zA-Z0-9_-]+", "-", name)
        if name.startswith(SYSTEM_PREFIX) or slug.startswith(SYSTEM_PREFIX):
            raise UserRefused(f"User names beginning with {SYSTEM_PREFIX} are reserved.")
        with self._lock:
            if name in self._names.values():
                raise UserRefused("There is a user of this name already.")
            user = f"{slug}_{uuid.uuid4()}"
            self._write({**self._names, user: name})
            self._names[user] = name
        return user

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
        self._file.parent.mkdir(parents=True, exist_ok=True)
        draft = self._file.with_name(self._file.name + ".new")
        draft.write_text(json.dumps(users), encoding="utf-8")
        draft.replace(self._file)


log = logging.getLogger("comfy_assets.standalone")

FILE_NAME = "comfy.settings.json"


class Settings:
    """Answers /settings. A file that is not a JSON object counts as empty, and is set aside before it is replaced."""

    def __init__(self, directory: Path, users: Users) -> None:
        self._directory = directory
        self._users = users
        self._lock = threading.Lock()

    async def list_all(self, request: web.Request) -> web.Response:
        return json_answer(await asyncio.to_thread(_read, self._file(request)))

    async def get(self, request: web.Request) -> web.Response:
        """The bare value, null when it was never set: that is what the page reads."""
        settings = await asyncio.to_thread(_read, self._file(request))
        return json_answer(settings.get(request.match_info["id"]))

    async def update(self, request: web.Request) -> web.Response:
        """Change the settings that the body names."""
        file = self._file(request)
        return json_answer(await asyncio.to_thread(self._merge, file, await read_object(request)))

    async def set(self, request: web.Request) -> web.Response:
        """Change one setting to the value that the body is."""
        file, value = self._file(request), await read_json(request)
        await asyncio.to_thread(self._merge, file, {request.match_info["id"]: value})
        return json_answer({"value": value})

    def _file(self, request: web.Request) -> Path:
        try:
            return self._directory / self._users.identify(request.headers) / FILE_NAME
        except UnknownUserError as error:
            raise Refusal("The server does not know this user.", status=401) from error

    def _merge(self, file: Path, changes: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            settings = {**_read(file), **changes}
            _set_aside_if_broken(file)
            _write(file, settings)
        return settings


def _parse(file: Path) -> Any:
    """What the file holds, an empty object when there is none. Raises ValueError or RecursionError."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
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
        file.replace(kept)
        log.warning("The broken settings were kept as %s.", kept)


def _write(file: Path, settings: dict[str, Any]) -> None:
    replace_file(file, json.dumps(settings, indent=4).encode())
