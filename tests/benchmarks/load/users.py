"""The users of a run, and the marks by which data of one is recognized in an answer to another."""

from __future__ import annotations

from collections.abc import Mapping

NAMES = ("ann", "bob", "cyd", "dan")
EVERYBODY = ""  # the single user of a server without users


def users_of(count: int) -> tuple[str, ...]:
    """Return the ids of so many users; a single one stands for a server without users."""
    return NAMES[:count] if count > 1 else (EVERYBODY,)


def headers_of(user: str) -> Mapping[str, str]:
    """Return the headers that say who asks."""
    return {} if user == EVERYBODY else {"Comfy-User": user}


def mark_of(user: str) -> str:
    """Return the text that every name, workflow and prompt of the user's clients contains; none without users."""
    return "" if user == EVERYBODY else f"of-{user}-"


def foreign_marks(user: str, users: tuple[str, ...], body: bytes) -> list[str]:
    """Return the marks of other users that an answer to the user contains."""
    return [mark for other in users if other != user and (mark := mark_of(other)).encode() in body]


def without(names: set[str], body: bytes) -> bytes:
    """Return the answer without these names."""
    for name in names:
        body = body.replace(name.encode(), b"")
    return body
