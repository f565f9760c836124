"""The audit log of the login: one JSON object a line, in a file that is rotated. It holds no secrets.

Blocks: for worker threads.
"""

from __future__ import annotations

import logging
import os
import threading
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec

from ..fs import shared_files

log = logging.getLogger("comfy_assets.login")

FILE_NAME = "login-audit.jsonl"
MAX_BYTES = 1 << 20
KEPT = 4  # older files
_MAX_TEXT = 200  # characters of a value


class AuditLog:
    """Appends events to the file of a folder. A failure to write is logged and stops nobody from signing in."""

    def __init__(self, folder: Path, max_bytes: int = MAX_BYTES) -> None:
        self._path = folder / FILE_NAME
        self._max_bytes = max_bytes
        self._lock = threading.Lock()

    def write(self, event: str, **facts: Any) -> None:
        """Append an event with its time; None and "" are left out. Blocks."""
        time = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        short = {name: _short(value) for name, value in facts.items() if value not in (None, "")}
        line = msgspec.json.encode({"time": time, "event": event, **short}) + b"\n"
        try:
            with self._lock:
                self._rotate(len(line))
                self._append(line)
        except OSError as error:
            log.error("The audit log of the login cannot be written: %s", error)

    def _append(self, line: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        handle = os.open(self._path, flags, 0o600)
        with os.fdopen(handle, "ab") as stream:
            stream.write(line)

    def _rotate(self, more: int) -> None:
        """Rename the files to older ones if the next line does not fit."""
        try:
            size = self._path.stat().st_size
        except FileNotFoundError:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            return
        if size + more <= self._max_bytes:
            return
        for number in range(KEPT, 0, -1):
            source = self._path if number == 1 else self._older(number - 1)
            if source.exists():
                shared_files.replace(source, self._older(number))

    def _older(self, number: int) -> Path:
        return self._path.with_name(f"{FILE_NAME}.{number}")


def _short(value: Any) -> Any:
    return value[:_MAX_TEXT] if isinstance(value, str) else value
