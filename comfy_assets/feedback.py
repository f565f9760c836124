"""What users say of the server: kept in a file of its own, one JSON object a line. Nothing leaves the machine."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import msgspec

from .errors import StorageError

NAME = "feedback.jsonl"
_MAX_BYTES = 8 << 20  # of a file; when it is full it becomes the older of two


class FeedbackFile:
    """Appends to the file, whoever of this process does."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._lock = threading.Lock()

    def append(self, entry: dict[str, Any]) -> None:
        """Write the entry down. Blocks: for worker threads. Raises StorageError."""
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
