"""Hashing of passwords: argon2id where the package ``argon2-cffi`` is installed, else scrypt of the standard library.

Parameters are stored with each hash, in the form of PHC strings, so that they can change: a password is hashed again
when its user signs in. Hashing takes tens of MiB and a part of a second, so few threads of their own do it.

A hash of argon2id cannot be verified by a Python without the package. So commands, whose Python may be another one than
the server's, hash with scrypt; a server with the package replaces that hash when the user signs in.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import importlib
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, NamedTuple

import msgspec

from ..errors import BusyError, InvalidBodyError, PasswordCheckUnavailableError

MIN_PASSWORD = 8
MAX_PASSWORD = 1024  # characters
_THREADS = 2
_MAX_WAITING = 16
_SALT, _KEY = 16, 32  # bytes
_SCRYPT = re.compile(r"\$scrypt\$ln=([0-9]{1,2}),r=([0-9]{1,2}),p=([0-9]{1,2})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)")
_MAX_SCRYPT_BYTES = 512 << 20
_NO_ARGON2 = "they were hashed with argon2id, and the package argon2-cffi is not installed in the Python of this server"
_UNREADABLE = "their hashes cannot be read"


class ScryptCost(msgspec.Struct, frozen=True):
    """Parameters of scrypt (RFC 7914): it takes 128 * r * 2**log2_n bytes. The defaults are OWASP's for 32 MiB."""

    log2_n: int = 15
    r: int = 8
    p: int = 3

    @property
    def memory(self) -> int:
        """The memory that one hash takes, in bytes."""
        return 128 * self.r * (1 << self.log2_n)


def check_password(password: str) -> None:
    """Raise InvalidBodyError for a password that is too short or too long for a new one."""
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise InvalidBodyError(
            f"A password has {MIN_PASSWORD} to {MAX_PASSWORD:,} characters.", details={"field": "password"}
        )


class Argon2(NamedTuple):
    """The hasher of ``argon2-cffi``, whose defaults are those of RFC 9106, and the errors of a wrong password."""

    hasher: Any
    refusals: tuple[type[Exception], ...]


def installed_argon2() -> Argon2 | None:
    """Return argon2 if its package is installed."""
    try:
        module: Any = importlib.import_module("argon2")
    except (ImportError, OSError):  # OSError: its library does not load
        return None
    return Argon2(module.PasswordHasher(), (module.exceptions.VerificationError, module.exceptions.InvalidHash))


def is_argon2(encoded: str) -> bool:
    """Return whether a hash was made with argon2."""
    return encoded.startswith("$argon2")


class PasswordHasher:
    """Hashes and verifies passwords. The methods without ``async`` block for a part of a second.

    ``find_argon2`` is called when argon2 is needed for the first time; without argon2, scrypt is used.
    """

    def __init__(
        self, find_argon2: Callable[[], Argon2 | None] = installed_argon2, scrypt: ScryptCost | None = None
    ) -> None:
        self._find_argon2 = find_argon2
        self._cost = scrypt or ScryptCost()
        self._pool = ThreadPoolExecutor(_THREADS, "comfy-assets passwords")
        # Those who are known do not wait behind the guesses of others.
        self._known_pool = ThreadPoolExecutor(1, "comfy-assets known passwords")
        self._waiting = 0

    @cached_property
    def _argon2(self) -> Argon2 | None:
        return self._find_argon2()

    def close(self) -> None:
        """Let the threads end after their present work."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._known_pool.shutdown(wait=False, cancel_futures=True)

    async def hash(self, password: str) -> str:
        """Return the encoded hash of a password, of somebody who has signed in."""
        return await asyncio.get_running_loop().run_in_executor(self._known_pool, lambda: self.hash_now(password))

    async def verify(self, encoded: str, password: str, *, is_known: bool = False) -> bool:
        """Return whether a password has this hash. ``is_known``: of somebody who has signed in.

        Raises BusyError, PasswordCheckUnavailableError.
        """
        loop = asyncio.get_running_loop()
        if is_known:
            return await loop.run_in_executor(self._known_pool, lambda: self.verify_now(encoded, password))
        if self._waiting >= _MAX_WAITING:
            raise BusyError("Too many people sign in at this moment. Try again in a few seconds.")
        self._waiting += 1
        try:
            return await loop.run_in_executor(self._pool, lambda: self.verify_now(encoded, password))
        finally:
            self._waiting -= 1

    def hash_now(self, password: str) -> str:
        """Return the encoded hash of a password. Blocks."""
        if self._argon2 is not None:
            return str(self._argon2.hasher.hash(_bytes(password)))
        salt, cost = os.urandom(_SALT), self._cost
        key = _scrypt(password, salt, cost)
        return f"$scrypt$ln={cost.log2_n},r={cost.r},p={cost.p}${_encoded(salt)}${_encoded(key)}"

    def verify_now(self, encoded: str, password: str) -> bool:
        """Return whether a password has this hash. Blocks.

        Raises PasswordCheckUnavailableError if ``obstacle`` returns a reason for the hash.
        """
        if self.obstacle(encoded):
            raise PasswordCheckUnavailableError("The server cannot check this password. The reason is in its log.")
        if self._argon2 is not None and is_argon2(encoded):
            try:
                return bool(self._argon2.hasher.verify(encoded, _bytes(password)))
            except self._argon2.refusals:  # a wrong password, or a hash that is none
                return False
        parsed = _parse_scrypt(encoded)
        assert parsed is not None  # else there is an obstacle
        cost, salt, key = parsed
        return hmac.compare_digest(_scrypt(password, salt, cost), key)

    def obstacle(self, encoded: str) -> str:
        """Return why no password can be compared with this hash, "" if one can. Blocks."""
        if is_argon2(encoded):
            return _NO_ARGON2 if self._argon2 is None else ""
        return _UNREADABLE if _parse_scrypt(encoded) is None else ""

    def is_outdated(self, encoded: str) -> bool:
        """Return whether a hash was made with another algorithm or other parameters than new ones."""
        if self._argon2 is not None:
            return not encoded.startswith("$argon2id$") or bool(self._argon2.hasher.check_needs_rehash(encoded))
        parsed = _parse_scrypt(encoded)
        return parsed is None or parsed[0] != self._cost


def portable_hasher() -> PasswordHasher:
    """Return a hasher whose hashes every Python can verify."""
    return PasswordHasher(lambda: None)


def _bytes(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")


def _scrypt(password: str, salt: bytes, cost: ScryptCost) -> bytes:
    most = 2 * cost.memory + (1 << 20)
    return hashlib.scrypt(_bytes(password), salt=salt, n=1 << cost.log2_n, r=cost.r, p=cost.p, dklen=_KEY, maxmem=most)


def _parse_scrypt(encoded: str) -> tuple[ScryptCost, bytes, bytes] | None:
    match = _SCRYPT.fullmatch(encoded)
    if match is None:
        return None
    cost = ScryptCost(int(match[1]), int(match[2]), int(match[3]))
    if not (0 < cost.log2_n < 32 and cost.r and cost.p and cost.memory <= _MAX_SCRYPT_BYTES):
        return None
    try:
        return cost, _decoded(match[4]), _decoded(match[5])
    except ValueError:
        return None


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
