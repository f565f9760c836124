"""A line of progress on a terminal; nothing where the output is no terminal."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from types import TracebackType
from typing import Any, TextIO

_WIDTH = 24


class ProgressBar:
    """Rewrites one line of ``out``; clears it at the end."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._enabled = out.isatty()
        self._shown = False

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._shown:
            self._out.write("\r\x1b[K")
            self._out.flush()

    def show(self, status: Mapping[str, Any]) -> None:
        """Show a status as ``Indexer.status`` answers it."""
        if self._enabled:
            columns = shutil.get_terminal_size().columns
            self._out.write("\r\x1b[K" + describe(status)[: columns - 1])
            self._out.flush()
            self._shown = True


def describe(status: Mapping[str, Any]) -> str:
    """The status in a line."""
    if status.get("phase") != "hashing":
        return f"Listing: {status.get('scanned', 0):,} files"
    done, total = status.get("bytes_hashed", 0), status.get("bytes_total", 0)
    share = done / total if total else 1.0
    filled = round(min(share, 1.0) * _WIDTH)
    rate = status.get("bytes_per_second", 0)
    left = f", {(total - done) / rate:,.0f} s left" if rate and total > done else ""
    pause = " (paused: a prompt is running)" if status.get("paused") else ""
    return (
        f"Reading [{'#' * filled}{'.' * (_WIDTH - filled)}] {share:4.0%}"
        f" {status.get('hashed', 0):,}/{status.get('total', 0):,} files,"
        f" {rate / 1e6:,.0f} MB/s{left}{pause}"
    )
