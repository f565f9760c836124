"""The project's logs: no record can forge a line or control a terminal, and equal records cannot fill a disk."""

from __future__ import annotations

import logging
import re
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

ROOT = "comfy_assets"

# Every logger of the project: a filter of a logger does not see the records of its children.
LOGGERS = (
    "comfy_assets",
    "comfy_assets.access",
    "comfy_assets.db",
    "comfy_assets.downloads",
    "comfy_assets.http",
    "comfy_assets.jobs",
    "comfy_assets.library",
    "comfy_assets.login",
    "comfy_assets.packs",
    "comfy_assets.standalone",
    "comfy_assets.tasks",
    "comfy_assets.workflows",
)
# Further loggers of the standalone host: errors of the event loop, such as failures to accept connections.
SERVER_LOGGERS = ("asyncio", "aiohttp.server", "aiohttp.web", "aiohttp.internal")

_PER_PERIOD = 20
_PERIOD_S = 60.0
_MAX_STATEMENTS = 1000

# Control characters (C0, C1), line separators, characters that change the direction of text, lone surrogates.
_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]|[\ud800-\udfff]"
)
_INDENT = "  "


def escaped(text: str) -> str:
    """Return the text on one line, with control characters as escape sequences."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def escape_records(name: str = ROOT) -> None:
    """Escape the records of a logger and its children before any other handler writes them."""
    logger = logging.getLogger(name)
    if not any(isinstance(handler, EscapingHandler) for handler in logger.handlers):
        logger.addHandler(EscapingHandler())


class EscapingHandler(logging.Handler):
    """Escape a record in place, before it reaches the handlers of the root logger. Writes nothing itself.

    A filter would not do: a logger applies its filters only to its own records, not to those of its children.
    """

    def emit(self, record: logging.LogRecord) -> None:
        try:
            record.msg, record.args = escaped(record.getMessage()), ()
            if record.exc_info and record.exc_info[1] is not None:
                record.exc_text = _indented("".join(traceback.format_exception(record.exc_info[1])))
        except Exception:  # noqa: BLE001 - arguments may be any objects; logging reports the failure
            self.handleError(record)
        if not logging.getLogger().handlers and logging.lastResort is not None:
            self._write(record, logging.lastResort)

    @staticmethod
    def _write(record: logging.LogRecord, last: logging.Handler) -> None:
        """Write the record to stderr, as Python does for a logger without handlers."""
        if record.levelno >= last.level:
            last.handle(record)


def _indented(text: str) -> str:
    """Return the text with every line escaped and indented: an exception may quote a request."""
    return "\n".join(_INDENT + escaped(line) for line in text.rstrip("\n").split("\n"))


@dataclass
class _RecordCount:
    """The records of one logging statement in the current period."""

    since: float
    count: int = 0
    dropped: int = 0


class RepeatLimit(logging.Filter):
    """Pass 20 records a minute of each logging statement, and append the number of dropped ones to a later record."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now = now
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, int, str], _RecordCount] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is logged."""
        with self._lock:
            entry = self._count_of(record)
            entry.count += 1
            if entry.count > _PER_PERIOD:
                entry.dropped += 1
                return False
            dropped, entry.dropped = entry.dropped, 0
        if dropped:
            record.msg = f"{record.getMessage()} ({dropped} more like this were left out)"
            record.args = ()
        return True

    def _count_of(self, record: logging.LogRecord) -> _RecordCount:
        now, key = self._now(), (record.pathname, record.lineno, str(record.msg)[:200])
        entry = self._counts.get(key)
        if entry is None:
            if len(self._counts) >= _MAX_STATEMENTS:
                self._counts.clear()
            entry = self._counts[key] = _RecordCount(now)
        elif now - entry.since >= _PERIOD_S:
            entry.since, entry.count = now, 0
        return entry


_limit = RepeatLimit()


def limit_repeats(names: tuple[str, ...] = LOGGERS) -> None:
    """Limit the records of these loggers. A second call changes nothing."""
    for name in names:
        logging.getLogger(name).addFilter(_limit)
