"""Whose request it is: one user for everybody, or the users of ``user/users.json``."""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Mapping
from pathlib import Path

from ..base import UnknownUserError

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
