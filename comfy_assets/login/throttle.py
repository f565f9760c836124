"""Throttling of sign-ins: a few wrong passwords are free, then each makes the next one wait longer.

Attempts are counted per address and per user. A browser that the user has signed in with before is counted on its own
instead, so that nobody can lock users out by guessing at their names (OWASP: device cookies). An attempt counts before
the password is looked at, so that many at once gain nothing, and one that is refused does not count.
"""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable

import msgspec

FREE = 5  # attempts without a delay
FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 300.0
FORGET_S = 3600.0  # after this time without an attempt, nothing is remembered
MAX_KEYS = 10_000
_IPV6_NETWORK = 64  # bits that one customer of a provider usually has to themselves


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
