"""Checks of the passwords of sign-ins: throttled, and with nothing that tells who is a user of the server.

A few wrong passwords are free, then each makes the next one wait longer. Attempts are counted per address and per user.
A browser that the user has signed in with before is counted on its own instead, so that nobody can lock users out by
guessing at their names (OWASP: device cookies). An attempt counts before the password is looked at, so that many at
once gain nothing, and one that is refused does not count.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import logging
import math
import sys
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable

import msgspec

from ..errors import BusyError, PasswordCheckUnavailableError, SignInFailedError, TooManyAttemptsError
from . import keys
from .passwords import MAX_PASSWORD, PasswordHasher
from .store import LoginState, LoginStore, UserRecord

log = logging.getLogger("comfy_assets.login")

FREE = 5  # attempts without a delay
FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 300.0
FORGET_S = 3600.0  # after this time without an attempt, nothing is remembered
MAX_KEYS = 10_000
_IPV6_NETWORK = 64  # bits that one customer of a provider usually has to themselves
_OBSTACLE = (
    "%d of %d passwords of users cannot be checked, so that nobody can sign in with them: %s. Run"
    " %s -m pip install argon2-cffi and restart the server, or set the passwords again with comfy-assets users passwd."
)


class Attempts(msgspec.Struct):
    """The failed attempts of a key, and the monotonic time of the next one that is allowed."""

    count: int = 0
    next_at: float = 0.0
    last_at: float = 0.0


class SignInThrottle:
    """Delays of sign-ins by key. Not for several threads."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._attempts: OrderedDict[str, Attempts] = OrderedDict()

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
                attempts.next_at = 0.0 if attempts.count < FREE else attempts.next_at
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
        attempts = self._attempts.pop(key, None) or Attempts()
        attempts.count += 1
        attempts.last_at = now
        if attempts.count >= FREE:
            attempts.next_at = now + min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(attempts.count - FREE, 30))
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
