"""The last lines of the log: kept for pages that ask, and sent to those that want each as it comes."""

from __future__ import annotations

import logging
import shutil
import threading
from collections import deque
from datetime import datetime
from typing import Any

from .messages import MessageHub

CAPACITY = 300


class LogBook(logging.Handler):
    """Takes part in logging between ``open`` and ``shut``. The entries are ``{"t": time, "m": text}``."""

    def __init__(self, hub: MessageHub) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("[%(levelname)s] %(message)s\n"))
        self._hub = hub
        self._entries: deque[dict[str, str]] = deque(maxlen=CAPACITY)
        self._readers: set[str] = set()
        self._guard = threading.Lock()

    def open(self) -> None:
        logging.getLogger().addHandler(self)

    def shut(self) -> None:
        logging.getLogger().removeHandler(self)

    def entries(self) -> list[dict[str, str]]:
        with self._guard:
            return list(self._entries)

    def subscribe(self, sid: str, *, enabled: bool) -> None:
        """Whether the pages of a session are sent every new entry."""
        with self._guard:
            (self._readers.add if enabled else self._readers.discard)(sid)

    def emit(self, record: logging.LogRecord) -> None:
        entry = {"t": datetime.fromtimestamp(record.created).isoformat(), "m": self.format(record)}
        with self._guard:
            self._entries.append(entry)
            self._readers = {sid for sid in self._readers if self._hub.is_connected(sid)}
            readers = list(self._readers)
        for sid in readers:
            self._hub.send("logs", {"entries": [entry], "size": None}, sid)


def terminal_size() -> dict[str, Any]:
    """The terminal that the server was started in; 80 x 24 where there is none."""
    size = shutil.get_terminal_size()
    return {"cols": size.columns, "rows": size.lines}
