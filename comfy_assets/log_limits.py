"""A limit on equal records in the log, so that no client can fill a disk with warnings."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

# Every logger of the project; a filter of a logger sees no records of the loggers below it.
LOGGERS = (
    "comfy_assets",
    "comfy_assets.access",
    "comfy_assets.db",
    "comfy_assets.http",
    "comfy_assets.jobs",
    "comfy_assets.library",
    "comfy_assets.packs",
    "comfy_assets.standalone",
    "comfy_assets.tasks",
    "comfy_assets.workflows",
)
# What a server of our own logs besides: errors of the event loop, such as those of accepting connections.
SERVER_LOGGERS = ("asyncio", "aiohttp.server", "aiohttp.web", "aiohttp.internal")

_AT_ONCE = 20
_PERIOD_S = 60.0
_MAX_KINDS = 1000


@dataclass
class _Kind:
    """Records of one statement in the current period."""

    since: float
    count: int = 0
    dropped: int = 0


class RepeatLimit(logging.Filter):
    """Lets pass 20 records a minute of each statement that logs, and says later how many it has dropped."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now = now
        self._lock = threading.Lock()
        self._kinds: dict[tuple[str, int, str], _Kind] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is logged."""
        with self._lock:
            kind = self._kind_of(record)
            kind.count += 1
            if kind.count > _AT_ONCE:
                kind.dropped += 1
                return False
            dropped, kind.dropped = kind.dropped, 0
        if dropped:
            record.msg = f"{record.getMessage()} ({dropped} more like this were left out)"
            record.args = ()
        return True

    def _kind_of(self, record: logging.LogRecord) -> _Kind:
        now, key = self._now(), (record.pathname, record.lineno, str(record.msg)[:200])
        kind = self._kinds.get(key)
        if kind is None:
            if len(self._kinds) >= _MAX_KINDS:
                self._kinds.clear()
            kind = self._kinds[key] = _Kind(now)
        elif now - kind.since >= _PERIOD_S:
            kind.since, kind.count = now, 0
        return kind


_limit = RepeatLimit()


def limit_repeats(names: tuple[str, ...] = LOGGERS) -> None:
    """Limit the records of these loggers. Doing so again changes nothing."""
    for name in names:
        logging.getLogger(name).addFilter(_limit)
