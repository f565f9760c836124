"""Terminal output of the commands. Control characters are escaped, so that a file name cannot control the terminal."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any, TextIO

from ..logs import escaped

_BAR_WIDTH = 24
_CLEAR_LINE = "\r\x1b[K"


def say(*lines: object, to: TextIO | None = None, end: str = "\n") -> None:
    """Print lines with control characters escaped. Commands print with this function only."""
    out = sys.stdout if to is None else to
    for line in lines:
        print(escaped(str(line)), end=end, file=out, flush=True)


def complain(*lines: object) -> None:
    """Print lines to standard error."""
    say(*lines, to=sys.stderr)


class Parser(argparse.ArgumentParser):
    """An argument parser that escapes its messages, because they repeat the arguments."""

    def _print_message(self, message: str, file: Any = None) -> None:
        super()._print_message("\n".join(map(escaped, message.split("\n"))), file)


class ProgressBar:
    """A line of progress on a terminal, cleared at the end. Shows nothing if ``out`` is no terminal."""

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
            self._out.write(_CLEAR_LINE)
            self._out.flush()

    def show(self, status: Mapping[str, Any]) -> None:
        """Show a status with the members that ``Indexer.status`` returns."""
        if self._enabled:
            # A full line would wrap, and the next one could not replace it.
            columns = shutil.get_terminal_size().columns
            self._out.write(_CLEAR_LINE + progress_line(status)[: columns - 1])
            self._out.flush()
            self._shown = True


def progress_line(status: Mapping[str, Any]) -> str:
    """Return a status as one line."""
    if status.get("phase") != "hashing":
        return f"Listing: {status.get('scanned', 0):,} files"
    done, total = status.get("bytes_hashed", 0), status.get("bytes_total", 0)
    share = done / total if total else 1.0
    filled = round(min(share, 1.0) * _BAR_WIDTH)  # a file that grows meanwhile can make the share exceed 1
    rate = status.get("bytes_per_second", 0)
    left = f", {(total - done) / rate:,.0f} s left" if rate and total > done else ""
    pause = " (paused: a prompt is running)" if status.get("paused") else ""
    return (
        f"Reading [{'#' * filled}{'.' * (_BAR_WIDTH - filled)}] {share:4.0%}"
        f" {status.get('hashed', 0):,}/{status.get('total', 0):,} files,"
        f" {rate / 1e6:,.0f} MB/s{left}{pause}"
    )
