"""Random secrets of the login: tokens, session ids, links and devices, and their stored forms.

They have at least 160 random bits, so that a fast hash is enough, unlike for passwords. Links and sessions are found by
the hash of the whole secret, tokens by a part that is no secret, and both are compared in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import NamedTuple

TOKEN_PREFIX = "comfyui-"
LINK_PREFIX = "comfyui-link-"
MAX_SECRET_CHARACTERS = 200  # of a credential that is looked at
_LOOKUP, _SECRET = 12, 40  # hexadecimal digits
_TOKEN = re.compile(rf"comfyui-([0-9a-f]{{{_LOOKUP}}})([0-9a-f]{{{_SECRET}}})", re.ASCII)
_DEVICE = re.compile(r"([0-9a-f]{32})\.([0-9a-f]{64})", re.ASCII)


class NewToken(NamedTuple):
    """A token as its user gets it once, and the parts that are stored."""

    text: str
    lookup: str
    salt: str
    digest: str


class TokenParts(NamedTuple):
    """The part of a token that finds its record, and the secret part."""

    lookup: str
    secret: str


def new_token() -> NewToken:
    """Return a new token, such as ``comfyui-0123456789ab…``."""
    lookup, secret, salt = secrets.token_hex(_LOOKUP // 2), secrets.token_hex(_SECRET // 2), secrets.token_hex(16)
    return NewToken(f"{TOKEN_PREFIX}{lookup}{secret}", lookup, salt, token_digest(secret, salt))


def parse_token(text: str) -> TokenParts | None:
    """Return the parts of a token, None for any other text."""
    match = _TOKEN.fullmatch(text)
    return None if match is None else TokenParts(match[1], match[2])


def token_digest(secret: str, salt: str) -> str:
    """Return the salted SHA-256 of a token's secret part, in hexadecimal."""
    return hashlib.sha256(bytes.fromhex(salt) + secret.encode()).hexdigest()


def is_same(left: str, right: str) -> bool:
    """Compare digests in constant time."""
    return hmac.compare_digest(left.encode(), right.encode())


def new_session() -> str:
    """Return a new session id with 256 random bits."""
    return secrets.token_urlsafe(32)


def new_link() -> str:
    """Return the secret of a new link."""
    return f"{LINK_PREFIX}{secrets.token_urlsafe(32)}"


def secret_digest(secret: str) -> str:
    """Return the stored form of a session id or a link: its SHA-256 in hexadecimal."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def new_id() -> str:
    """Return a public id of a token or session."""
    return secrets.token_hex(8)


def user_id(user_key: str) -> str:
    """Return a public id of a user, for addresses: names may have any characters."""
    return hashlib.sha256(f"user {user_key}".encode()).hexdigest()[:16]


def new_device(device_key: str, user_key: str) -> str:
    """Return a text by which a browser is recognized that this user has signed in with."""
    device = secrets.token_hex(16)
    return f"{device}.{_device_mac(device_key, user_key, device)}"


def known_device(device_key: str, user_key: str, text: str) -> str | None:
    """Return the id of a browser that this user has signed in with before, None if the text proves none."""
    match = _DEVICE.fullmatch(text)
    if match is None or not is_same(match[2], _device_mac(device_key, user_key, match[1])):
        return None
    return match[1]


def _device_mac(device_key: str, user_key: str, device: str) -> str:
    return hmac.new(bytes.fromhex(device_key), f"{device}.{user_key}".encode(), hashlib.sha256).hexdigest()
