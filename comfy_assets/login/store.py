"""The files of the login beside the library's store: ``login.json`` with the users and sign-ins, and the audit log.

Only the server's user can read ``login.json``. Every change reads, changes and replaces the whole file under a lock, so
that commands and servers can change it at the same time. A server looks for changes of others before requests.

No record holds a password, a token or a session id that could be used: only hashes of them. Times are ms since 1970.
The audit log has one JSON object a line, and no secrets.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec
from filelock import FileLock, Timeout

from ..errors import InvalidNameError, LoginUnavailableError
from ..fs import shared_files
from ..fs.atomic import make_private, replace_private

log = logging.getLogger("comfy_assets.login")

T = TypeVar("T")

Role = Literal["admin", "member", "guest"]
Scope = Literal["read", "write", "run", "admin"]

ROLES: tuple[Role, ...] = ("admin", "member", "guest")
SCOPES: tuple[Scope, ...] = ("read", "write", "run", "admin")
ALL_SCOPES: frozenset[Scope] = frozenset(SCOPES)
ROLE_SCOPES: dict[Role, frozenset[Scope]] = {
    "admin": ALL_SCOPES,
    "member": frozenset({"read", "write", "run"}),
    "guest": frozenset({"read"}),
}
MAX_NAME = 100
UNLIMITED = -1  # as a quota
_RESERVED = "__"  # folders of the server beside those of its users begin with it
FILE_NAME = "login.json"
MAX_FILE = 16 << 20  # bytes
_LOCK_S = 10.0
AUDIT_FILE_NAME = "login-audit.jsonl"
KEPT_AUDITS = 4  # older files
_MAX_AUDIT = 1 << 20  # bytes of a file
_MAX_AUDIT_TEXT = 200  # characters of a value
_Mark = tuple[int, int, int]  # size, time of the last change, file number


class UserRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """A user. ``key`` is the name as it is compared; ``password`` is an encoded hash, "" without a password.

    ``max_jobs`` and ``max_bytes`` are the user's own quotas, None for those of the settings.
    """

    key: str
    name: str
    role: Role
    created_at: int
    password: str = ""
    is_disabled: bool = False
    max_jobs: int | None = None
    max_bytes: int | None = None

    def __repr__(self) -> str:
        return f"UserRecord({self.name!r}, {self.role!r})"


class TokenRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """A token of a program. ``lookup`` is the part of it that finds it, ``digest`` the salted hash of the rest."""

    id: str
    user: str
    name: str
    lookup: str
    salt: str
    digest: str
    scopes: tuple[Scope, ...]
    created_at: int
    expires_at: int | None = None
    used_at: int | None = None

    def __repr__(self) -> str:
        return f"TokenRecord({self.id!r}, {self.user!r})"


class SessionRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """A session of a browser, found by the hash of its id in the cookie. ``id`` is its public id."""

    id: str
    user: str
    digest: str
    created_at: int
    used_at: int
    expires_at: int
    client: str = ""
    address: str = ""

    def __repr__(self) -> str:
        return f"SessionRecord({self.id!r}, {self.user!r})"


class LinkRecord(msgspec.Struct, frozen=True):
    """A link that signs a user in once."""

    user: str
    digest: str
    expires_at: int

    def __repr__(self) -> str:
        return f"LinkRecord({self.user!r})"


class LoginFile(msgspec.Struct, frozen=True, omit_defaults=True):
    """All of the login. ``instance`` tells the cookies of several servers apart; ``device_key`` signs known devices."""

    version: int = 1
    is_enabled: bool = False
    instance: str = ""
    device_key: str = ""
    users: tuple[UserRecord, ...] = ()
    tokens: tuple[TokenRecord, ...] = ()
    sessions: tuple[SessionRecord, ...] = ()
    links: tuple[LinkRecord, ...] = ()

    def __repr__(self) -> str:
        return f"LoginFile({len(self.users)} users)"


def name_key(name: str) -> str:
    """Return a name as names are compared: in one Unicode form, without regard to case and outer spaces."""
    return unicodedata.normalize("NFKC", name).strip().casefold()


def checked_name(name: str) -> str:
    """Return the name of a new user or token. Raises InvalidNameError."""
    stripped = unicodedata.normalize("NFC", name).strip()
    if not 0 < len(stripped) <= MAX_NAME or not stripped.isprintable() or stripped.startswith(_RESERVED):
        raise InvalidNameError(
            f"A name has 1 to {MAX_NAME} printable characters and does not begin with {_RESERVED}.",
            details={"field": "name"},
        )
    return stripped


def sorted_scopes(scopes: Iterable[Scope]) -> tuple[Scope, ...]:
    """Return scopes once each, in the usual order."""
    chosen = set(scopes)
    return tuple(scope for scope in SCOPES if scope in chosen)


class LoginState(NamedTuple):
    """The file's content with indexes: users by key, tokens by lookup, sessions and links by digest."""

    file: LoginFile
    users: Mapping[str, UserRecord]
    tokens: Mapping[str, TokenRecord]
    sessions: Mapping[str, SessionRecord]
    links: Mapping[str, LinkRecord]

    @classmethod
    def of(cls, file: LoginFile) -> LoginState:
        """Index the content of a file."""
        return cls(
            file,
            {each.key: each for each in file.users},
            {each.lookup: each for each in file.tokens},
            {each.digest: each for each in file.sessions},
            {each.digest: each for each in file.links},
        )

    def usable(self, key: str) -> UserRecord | None:
        """Return the user of a key, None for one who is unknown or disabled."""
        user = self.users.get(key)
        return None if user is None or user.is_disabled else user


EMPTY = LoginState.of(LoginFile())


class LoginStore:
    """Reads and changes the file. All methods but ``state`` block."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME
        self._lock = threading.Lock()
        self._mark: _Mark | None = None
        self._was_there = False
        self.state: LoginState = EMPTY

    def refresh(self) -> LoginState:
        """Read the file again if it has changed, and return its content.

        Raises LoginUnavailableError if it cannot be read, is damaged, or was there before: nobody may take that for a
        login that is off.
        """
        with self._lock:
            self._refresh()
            return self.state

    def _refresh(self) -> None:
        try:
            mark = _mark_of(self._path)
            if mark == self._mark:
                return
            content = shared_files.read_shared(self._path, MAX_FILE + 1)
            make_private(self._path)
        except (FileNotFoundError, NotADirectoryError):
            if self._was_there:
                raise LoginUnavailableError(f"The file {FILE_NAME} of the login has vanished.") from None
            self._mark, self.state = None, EMPTY
            return
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise LoginUnavailableError(f"The file {FILE_NAME} of the login cannot be read: {reason}.") from error
        self.state, self._mark, self._was_there = LoginState.of(_parsed(content)), mark, True

    def change(self, change: Callable[[LoginState], tuple[LoginFile, T]]) -> T:
        """Replace the content with the one that ``change`` returns, and return its result.

        If the content stays the same, nothing is written. Raises LoginUnavailableError, and what ``change`` raises.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._lock, FileLock(self._path.with_suffix(".lock"), timeout=_LOCK_S):
                self._refresh()
                file, result = change(self.state)
                if file is not self.state.file:
                    self._write(file)
                return result
        except (OSError, Timeout) as error:
            raise LoginUnavailableError(f"The login cannot be changed: {type(error).__name__}.") from error

    def _write(self, file: LoginFile) -> None:
        if not file.instance:  # the first change
            file = msgspec.structs.replace(file, instance=secrets.token_hex(4), device_key=secrets.token_hex(32))
        content = msgspec.json.format(msgspec.json.encode(file), indent=1)
        if len(content) > MAX_FILE:
            raise LoginUnavailableError(f"The file {FILE_NAME} of the login would be larger than {MAX_FILE >> 20} MiB.")
        replace_private(self._path, content)
        self.state, self._mark, self._was_there = LoginState.of(file), _mark_of(self._path), True


def _mark_of(path: Path) -> _Mark:
    info = path.stat()
    return info.st_size, info.st_mtime_ns, info.st_ino


def _parsed(content: bytes) -> LoginFile:
    """Decode the file. The cause of a failure is dropped, as it may quote the file."""
    try:
        file = msgspec.json.decode(content, type=LoginFile) if len(content) <= MAX_FILE else None
        if file is not None and file.version == 1 and len(bytes.fromhex(file.device_key)) == 32 and file.instance:
            return file
    except (msgspec.DecodeError, ValueError):
        pass
    raise LoginUnavailableError(f"The file {FILE_NAME} of the login is damaged, or of a newer version.") from None


class AuditLog:
    """The audit log in a folder, which is rotated. A failure to write is logged and stops nobody from signing in."""

    def __init__(self, folder: Path, max_bytes: int = _MAX_AUDIT) -> None:
        self._path = folder / AUDIT_FILE_NAME
        self._max_bytes = max_bytes
        self._lock = threading.Lock()

    def write(self, event: str, **facts: Any) -> None:
        """Append an event with its time; None and "" are left out. Blocks."""
        time = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        short = {name: _short(value) for name, value in facts.items() if value not in (None, "")}
        line = msgspec.json.encode({"time": time, "event": event, **short}) + b"\n"
        try:
            with self._lock:
                self._rotate(len(line))
                self._append(line)
        except OSError as error:
            log.error("The audit log of the login cannot be written: %s", error)

    def _append(self, line: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        handle = os.open(self._path, flags, 0o600)
        with os.fdopen(handle, "ab") as stream:
            stream.write(line)

    def _rotate(self, more: int) -> None:
        """Rename the files to older ones if the next line does not fit."""
        try:
            size = self._path.stat().st_size
        except FileNotFoundError:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            return
        if size + more <= self._max_bytes:
            return
        for number in range(KEPT_AUDITS, 0, -1):
            source = self._path if number == 1 else self._older(number - 1)
            if source.exists():
                shared_files.replace(source, self._older(number))

    def _older(self, number: int) -> Path:
        return self._path.with_name(f"{AUDIT_FILE_NAME}.{number}")


def _short(value: Any) -> Any:
    return value[:_MAX_AUDIT_TEXT] if isinstance(value, str) else value
