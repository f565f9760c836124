"""Feedback of users, appended to a local file with one JSON object a line. Nothing is sent anywhere."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import msgspec

from .errors import StorageError

NAME = "feedback.jsonl"
_MAX_BYTES = 8 << 20  # of the file; a full one replaces the file of older feedback


class FeedbackFile:
    """The file of this process. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._lock = threading.Lock()

    def append(self, entry: dict[str, Any]) -> None:
        """Append an entry. Blocks: call it in a worker thread. Raises StorageError."""
        line = msgspec.json.encode(entry) + b"\n"
        try:
            with self._lock:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._make_room(len(line))
                with self._path.open("ab") as file:
                    file.write(line)
        except OSError as error:
            raise StorageError("The feedback could not be written.") from error

    def _make_room(self, size: int) -> None:
        if self._path.exists() and self._path.stat().st_size + size > _MAX_BYTES:
            self._path.replace(self._path.with_name(f"{NAME}.old"))
