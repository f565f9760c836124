"""The ids of websocket clients while the login is on: each user has a namespace of their own.

Servers send the messages of a prompt to the client whose id came with it, and let anyone connect with any id. So the
id of a connection and that of a prompt get a prefix by their user: a client that connects with another user's id gets
a different one. An id that has a prefix already gets the user's own in its place, as pages use the id that the server
has sent.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_PREFIX = re.compile(r"[0-9a-f]{16}\.", re.ASCII)
_LENGTH = 17  # of a namespace, with the dot at its end
_current: ContextVar[str] = ContextVar("comfy_assets_client_namespace", default="")


def namespace_of(user_key: str) -> str:
    """Return the prefix of a user's client ids. It is no secret: the gate alone chooses it."""
    return f"{hashlib.sha256(user_key.encode()).hexdigest()[: _LENGTH - 1]}."


def namespace_in(client_id: object) -> str:
    """Return the prefix of a client id, "" for an id without one."""
    return client_id[:_LENGTH] if isinstance(client_id, str) and _PREFIX.match(client_id) else ""


def own_id(namespace: str, client_id: object) -> str:
    """Return the id of a client in a namespace; a random one for a client without an id."""
    text = "" if client_id is None else str(client_id)
    return f"{namespace}{_PREFIX.sub('', text, count=1) or uuid.uuid4().hex}"


@contextmanager
def speaking_for(namespace: str) -> Iterator[None]:
    """Let prompts that are submitted within the block be those of a namespace."""
    token = _current.set(namespace)
    try:
        yield
    finally:
        _current.reset(token)


def current_namespace() -> str:
    """Return the namespace of the request that runs in this context, "" while the login is off."""
    return _current.get()


def claim(extra_data: MutableMapping[str, Any]) -> None:
    """Give the extra data of a prompt a client id in the namespace of the request, if it has one."""
    if namespace := _current.get():
        extra_data["client_id"] = own_id(namespace, extra_data.get("client_id"))
