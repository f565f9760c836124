"""The records of the login: users, tokens, sessions, links, and the file that holds them. Times are ms since 1970.

No record holds a password, a token or a session id that could be used: only hashes of them.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Literal

import msgspec

from ..errors import InvalidNameError

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
