"""Passwords: their hashes, and the checks at sign-ins, throttled and with nothing that tells who is a user.

Hashes are argon2id's where the package ``argon2-cffi`` is installed, else those of scrypt of the standard library.
Parameters are stored with each hash, in the form of PHC strings, so that they can change: a password is hashed again
when its user signs in. Hashing takes tens of MiB and a part of a second, so few threads of their own do it.

A hash of argon2id cannot be verified by a Python without the package. So commands, whose Python may be another one than
the server's, hash with scrypt; a server with the package replaces that hash when the user signs in.

A few wrong passwords are free, then each makes the next one wait longer. Attempts are counted per address and per user.
A browser that the user has signed in with before is counted on its own instead, so that nobody can lock users out by
guessing at their names (OWASP: device cookies). An attempt counts before the password is looked at, so that many at
once gain nothing, and one that is refused does not count.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import importlib
import ipaddress
import logging
import math
import os
import re
import sys
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, NamedTuple

import msgspec

from ..errors import BusyError, InvalidBodyError, PasswordCheckUnavailableError, SignInFailedError, TooManyAttemptsError
from . import keys
from .store import LoginState, LoginStore, UserRecord

log = logging.getLogger("comfy_assets.login")

MIN_PASSWORD = 8
MAX_PASSWORD = 1024  # characters
_THREADS = 2
_MAX_WAITING = 16
_SALT, _KEY = 16, 32  # bytes
_SCRYPT = re.compile(r"\$scrypt\$ln=([0-9]{1,2}),r=([0-9]{1,2}),p=([0-9]{1,2})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)")
_MAX_SCRYPT_BYTES = 512 << 20
_NO_ARGON2 = "they were hashed with argon2id, and the package argon2-cffi is not installed in the Python of this server"
_UNREADABLE = "their hashes cannot be read"

# Throttling of sign-ins.
FREE_ATTEMPTS = 5  # without a delay
_FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 300.0
FORGET_S = 3600.0  # after this time without an attempt, nothing is remembered
MAX_KEYS = 10_000
_IPV6_NETWORK = 64  # bits that one customer of a provider usually has to themselves
_OBSTACLE = (
    "%d of %d passwords of users cannot be checked, so that nobody can sign in with them: %s. Run"
    " %s -m pip install argon2-cffi and restart the server, or set the passwords again with comfy-assets users passwd."
)


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


class _Attempts(msgspec.Struct):
    """The failed attempts of a key, and the monotonic time of the next one that is allowed."""

    count: int = 0
    next_at: float = 0.0
    last_at: float = 0.0


class SignInThrottle:
    """Delays of sign-ins by key. Not for several threads."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._attempts: OrderedDict[str, _Attempts] = OrderedDict()

    def __len__(self) -> int:
        return len(self._attempts)

    def begin(self, keys: Iterable[str]) -> float:
        """Count an attempt and return 0, or count nothing and return the seconds to wait."""
        now, chosen = self._now(), tuple(keys)
        wait = max((self._waiting(key, now) for key in chosen), default=0.0)
        if wait > 0:
            return wait
        for key in chosen:
            self._count(key, now)
        return 0.0

    def succeeded(self, keys: Iterable[str], shared: Iterable[str] = ()) -> None:
        """Forget the attempts of keys, and of ``shared`` ones that last: others may be guessing from there."""
        for key in keys:
            self._attempts.pop(key, None)
        for key in shared:
            attempts = self._attempts.get(key)
            if attempts is not None:
                attempts.count -= 1
                attempts.next_at = 0.0 if attempts.count < FREE_ATTEMPTS else attempts.next_at
                if attempts.count <= 0:
                    del self._attempts[key]

    def _waiting(self, key: str, now: float) -> float:
        attempts = self._attempts.get(key)
        if attempts is None:
            return 0.0
        if now - attempts.last_at >= FORGET_S:
            del self._attempts[key]
            return 0.0
        return max(0.0, attempts.next_at - now)

    def _count(self, key: str, now: float) -> None:
        attempts = self._attempts.pop(key, None) or _Attempts()
        attempts.count += 1
        attempts.last_at = now
        if attempts.count >= FREE_ATTEMPTS:
            doublings = min(attempts.count - FREE_ATTEMPTS, 30)
            attempts.next_at = now + min(LONGEST_DELAY_S, _FIRST_DELAY_S * 2.0**doublings)
        self._attempts[key] = attempts  # at the end: the least recently used are at the beginning
        while len(self._attempts) > MAX_KEYS:
            self._attempts.popitem(last=False)


def address_key(address: str) -> str:
    """Return the key of an address: itself for IPv4, its network for IPv6, as one client has many addresses."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return f"address {address[:100]}"
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return f"address {parsed.ipv4_mapped}"
        return f"address {ipaddress.ip_network((int(parsed), _IPV6_NETWORK), strict=False)}"
    return f"address {parsed}"


class PasswordChecks:
    """Checks passwords of the users in the file of the login."""

    def __init__(self, store: LoginStore, hasher: PasswordHasher, throttle: SignInThrottle) -> None:
        self.hasher = hasher
        self._store = store
        self._throttle = throttle
        self._decoy = ""
        self._looked_at: LoginState | None = None  # by find_obstacles
        self._unchecked: dict[str, str] = {}  # why hashes of passwords cannot be verified

    def find_obstacles(self) -> None:
        """Find out which passwords cannot be checked, and log their number when they have changed. Blocks."""
        state = self._store.state
        if state is self._looked_at:
            return
        passwords = [each.password for each in state.file.users if each.password and not each.is_disabled]
        found = {each: reason for each in passwords if (reason := self.hasher.obstacle(each))}
        if found != self._unchecked:
            for reason, count in Counter(found.values()).items():
                log.error(_OBSTACLE, count, len(passwords), reason, sys.executable)
        self._looked_at, self._unchecked = state, found

    async def find_user(self, key: str, password: str, address: str, device: str) -> UserRecord | None:
        """Return the user of a key who has this password, None if there is none.

        ``device`` is the cookie of a browser that the user has signed in with before. Raises TooManyAttemptsError,
        BusyError.
        """
        known = keys.known_device(self._store.state.file.device_key, key, device) if device else None
        # A name is hashed here, so that it may be of any length and is found in no memory dump beside passwords.
        own = (f"user {keys.secret_digest(key)}",) if known is None else (f"device {known}",)
        shared = (address_key(address),) if known is None else ()
        self._begin((*own, *shared))
        if self._store.state is not self._looked_at:
            await asyncio.to_thread(self.find_obstacles)
        user = self._store.state.usable(key)
        try:
            is_right = await self._has_password(user, key, password, is_known=known is not None)
        except BusyError:
            self._throttle.succeeded((), (*own, *shared))
            raise
        if user is None or not is_right:
            return None
        self._throttle.succeeded(own, shared)
        return user

    def _begin(self, attempts: Iterable[str]) -> None:
        """Count an attempt for each key. Raises TooManyAttemptsError."""
        if wait := self._throttle.begin(attempts):
            seconds = math.ceil(wait)
            raise TooManyAttemptsError(
                f"There were too many wrong passwords. Wait {seconds} seconds.", details={"retry_after": seconds}
            )

    def refusal(self) -> SignInFailedError | PasswordCheckUnavailableError:
        """Return the error of a sign-in, the same for all users, so that it does not tell who is one."""
        if not self._unchecked:
            return SignInFailedError("The name or the password is wrong.")
        return PasswordCheckUnavailableError(
            "The name or the password is wrong, or the server cannot check the password. If you are sure of them, ask"
            " its administrator: the reason is in the server's log."
        )

    async def _has_password(self, user: UserRecord | None, key: str, password: str, *, is_known: bool) -> bool:
        """Verify a password. It takes as long for a user without one, or whose hash is of no use, with another hash."""
        if user is not None and user.password and user.password not in self._unchecked:
            return await self.hasher.verify(user.password, password, is_known=is_known)
        await self.hasher.verify(await self._decoy_of(key), password, is_known=is_known)
        return False

    async def _decoy_of(self, key: str) -> str:
        """Return the hash of one of the users, always the same for a name: its parameters decide on the time."""
        every = (each.password for each in self._store.state.file.users)
        hashes = [each for each in every if each and not self.hasher.obstacle(each)]
        if hashes:
            chosen = hmac.digest(bytes.fromhex(self._store.state.file.device_key), key.encode(), "sha256")
            return hashes[int.from_bytes(chosen[:8], "big") % len(hashes)]
        if not self._decoy:
            self._decoy = await self.hasher.hash("no user has this password")
        return self._decoy

    async def is_current(self, user: UserRecord, password: str) -> bool:
        """Return whether a signed-in user has this password.

        Raises TooManyAttemptsError, BusyError, PasswordCheckUnavailableError.
        """
        own = (f"change {user.key}",)
        self._begin(own)
        try:
            is_right = len(password) <= MAX_PASSWORD and await self.hasher.verify(
                user.password, password, is_known=True
            )
        except PasswordCheckUnavailableError:
            self._throttle.succeeded((), own)
            raise
        if is_right:
            self._throttle.succeeded(own)
        return is_right
