"""Quotas of users: waiting jobs, and bytes of files. They are off unless a setting or an administrator sets them.

They apply on servers for several users, where jobs and files have owners. What is admitted counts at once, so that
requests that come at the same time share what is left.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import msgspec

from .config import Config
from .db import assets
from .db.connection import Database
from .errors import JobQuotaError, StorageQuotaError
from .host.base import Host
from .login.store import UNLIMITED, UserRecord

_MAX_ENTRIES = 200_000  # of a user's folder that are counted


class Quota(msgspec.Struct, frozen=True):
    """Limits of a user: waiting jobs, and bytes; None for no limit."""

    jobs: int | None = None
    size: int | None = None


class QuotaUse(msgspec.Struct, frozen=True):
    """The waiting jobs and the bytes of a user now, and their quota."""

    jobs: int
    size: int
    quota: Quota


class Quotas:
    """The quotas of users by their ids of the host.

    ``users`` returns the users of the login by key, ``waiting`` the number of a user's jobs that wait, and ``store``
    the library's store, None while it is not open: then only files outside it count.
    """

    def __init__(
        self,
        host: Host,
        config: Config,
        users: Callable[[str], UserRecord | None],
        waiting: Callable[[str], int],
        store: Callable[[], Database | None],
    ) -> None:
        self._host = host
        self._default = Quota(config.user_max_jobs, config.user_max_size)
        self._users = users
        self._waiting = waiting
        self._store = store
        self._keys: dict[str, str] = {}
        self._submitting: Counter[str] = Counter()
        self._storing: Counter[str] = Counter()

    def know(self, user: str, key: str) -> None:
        """Remember that a user of the host is that of the login with this key."""
        self._keys[user] = key

    def of(self, user: str) -> Quota:
        """Return the quota of a user; jobs and files of nobody have none."""
        if not user or not self._host.is_multi_user():
            return Quota()
        record = self._users(self._keys.get(user, ""))
        return self._default if record is None else self._of(record)

    async def use_of(self, record: UserRecord) -> QuotaUse | None:
        """Return the use of a user of the login; None on a host for one user, where quotas do not apply."""
        if not self._host.is_multi_user():
            return None
        user = await asyncio.to_thread(self._host.user_named, record.name)
        if user is None:  # who has never come to this host has nothing on it
            return QuotaUse(0, 0, self._of(record))
        return QuotaUse(self._waiting(user), await self.used(user), self._of(record))

    def _of(self, record: UserRecord) -> Quota:
        return Quota(_limit(record.max_jobs, self._default.jobs), _limit(record.max_bytes, self._default.size))

    @contextmanager
    def submitting(self, user: str) -> Iterator[None]:
        """Admit a job that is submitted within the block. Raises JobQuotaError."""
        limit = self.of(user).jobs
        if limit is None:
            yield
            return
        waiting = self._waiting(user) + self._submitting[user]
        if waiting >= limit:
            raise JobQuotaError(
                f"{waiting:,} of your jobs wait already, and {limit:,} may.",
                details={"quota": "jobs", "limit": limit, "used": waiting},
            )
        self._submitting[user] += 1
        try:
            yield
        finally:
            self._submitting[user] -= 1

    @asynccontextmanager
    async def storing(self, user: str, size: int) -> AsyncIterator[None]:
        """Admit bytes that are stored within the block; 0 for an unknown number. Raises StorageQuotaError."""
        limit = self.of(user).size
        if limit is None:
            yield
            return
        used = await self.used(user) + self._storing[user]
        if used >= limit or used + size > limit:
            raise StorageQuotaError(
                f"Your files take {used:,} of {limit:,} bytes: {size:,} more have no room. Delete some, also from the"
                " trash.",
                details={"quota": "storage", "limit": limit, "used": used, "needed": size},
            )
        self._storing[user] += size
        try:
            yield
        finally:
            self._storing[user] -= size

    async def check_room(self, user: str, size: int) -> None:
        """Raise StorageQuotaError if a user has no room for so many bytes."""
        async with self.storing(user, size):
            pass

    def limits_storage(self, user: str) -> bool:
        """Return whether the user's bytes are limited."""
        return self.of(user).size is not None

    async def used(self, user: str) -> int:
        """Return the bytes of a user's files, settings and workflow files included."""
        store = self._store()
        stored = 0 if store is None else await assets.bytes_of_user(store, user)
        return stored + await asyncio.to_thread(_size_of, self._host.user_directory(user))


def _limit(own: int | None, default: int | None) -> int | None:
    if own is None:
        return default
    return None if own == UNLIMITED else own


def _size_of(folder: Path) -> int:
    """Return the bytes of the files in a folder. Blocks."""
    total, left = 0, _MAX_ENTRIES
    for base, _, names in os.walk(folder):
        for name in names[:left]:
            try:
                total += os.lstat(os.path.join(base, name)).st_size  # noqa: PTH118 - thousands of files
            except OSError:  # removed meanwhile
                continue
        left -= len(names)
        if left <= 0:
            break
    return total
