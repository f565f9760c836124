"""Output of the commands: lines, tables, progress, errors in words, and the formats of values.

Control characters are escaped in all output, so that a file name cannot control the terminal.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from types import TracebackType
from typing import Any, NamedTuple, TextIO

from ..logs import escaped

UNNAMED = "(unnamed)"
_MAX_LINES = 200  # of a list on a terminal
_UNITS = ("B", "kB", "MB", "GB", "TB")
_BAR_WIDTH = 24
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_GAP = "  "  # between the columns of a table


class OutputClosed(Exception):
    """The program that reads the output has closed it, as ``head`` does after its lines."""


def say(*lines: object, to: TextIO | None = None, end: str = "\n") -> None:
    """Print lines with control characters escaped. Commands print with this function only.

    Raises OutputClosed if nobody reads them any more.
    """
    out = sys.stdout if to is None else to
    try:
        for line in lines:
            print(escaped(str(line)), end=end, file=out, flush=True)
    except OSError as error:
        if is_closed_pipe(error):
            raise OutputClosed from error
        raise


def say_json(value: object) -> None:
    """Print a value as one line of JSON."""
    say(json.dumps(value))


def without_none(members: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members of a JSON object whose values are known."""
    return {name: value for name, value in members.items() if value is not None}


def complain(*lines: object) -> None:
    """Print lines to standard error."""
    say(*lines, to=sys.stderr)


def is_closed_pipe(error: OSError) -> bool:
    """Return whether an error of writing means that the other end of the pipe is closed."""
    # Windows reports it as an invalid argument.
    return isinstance(error, BrokenPipeError) or (sys.platform == "win32" and error.errno == errno.EINVAL)


class Column(NamedTuple):
    """A column of a table: its head, and whether it holds numbers, which are aligned to the right."""

    head: str
    is_number: bool = False


def print_table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
    """Print rows under the heads of their columns; nothing without rows.

    On a terminal ``rich`` draws the table if it is installed. The content is the same.
    """
    cells = [[escaped(cell) for cell in row] for row in rows]
    if not cells or (_is_terminal() and _print_with_rich(columns, cells)):
        return
    lines = [[column.head for column in columns], *cells]
    widths = [max(len(line[number]) for line in lines) for number in range(len(columns))]
    for line in lines:
        parts = (
            cell.rjust(width) if column.is_number else cell.ljust(width)
            for column, width, cell in zip(columns, widths, line, strict=True)
        )
        say(_GAP.join(parts).rstrip())


def _is_terminal() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


def _print_with_rich(columns: Sequence[Column], cells: Iterable[Sequence[str]]) -> bool:
    """Print a table of escaped cells with ``rich``; return False if it is not installed."""
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return False
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, len(_GAP), 0, 0))
    for number, column in enumerate(columns):
        is_last = number == len(columns) - 1
        # Only the last column, which has the names, may take several lines: ids are to be copied.
        table.add_column(
            column.head, justify="right" if column.is_number else "left", no_wrap=not is_last, overflow="fold"
        )
    for row in cells:
        table.add_row(*map(Text, row))  # not markup: names may have brackets
    Console(file=sys.stdout, highlight=False).print(table)
    return True


class ProgressBar:
    """A line of progress on a terminal, cleared at the end. Shows nothing if ``out`` is no terminal."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._enabled = out.isatty()
        self._shown = False
        self._width = 0  # of the line on the terminal

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._shown:
            self._write("")
            self._out.write("\r")
            self._out.flush()

    def show(self, status: Mapping[str, Any]) -> None:
        """Show a status with the members that ``Indexer.status`` returns."""
        line = progress_line(status)
        if self._enabled and line:
            # A full line would wrap, and the next one could not replace it.
            columns = shutil.get_terminal_size().columns
            self._write(line[: columns - 1])
            self._out.flush()
            self._shown = True

    def _write(self, line: str) -> None:
        """Write a line over the one before. Escape codes would do so too, but older Windows consoles print them."""
        self._out.write("\r" + line.ljust(self._width))
        self._width = len(line)


def progress_line(status: Mapping[str, Any]) -> str:
    """Return a status as one line; an empty one if nothing is being done."""
    pause = " (paused: a prompt is running)" if status.get("paused") else ""
    if status.get("phase") == "listing":
        return f"Listing: {status.get('scanned', 0):,} files{pause}"
    if status.get("phase") != "hashing":
        return ""
    done, total = status.get("bytes_hashed", 0), status.get("bytes_total", 0)
    if not total:  # not counted yet, or nothing but empty files
        return f"Reading{pause}"
    files, all_files = status.get("hashed", 0) + status.get("unreadable", 0), status.get("total", 0)
    # A file that grows meanwhile can make the share exceed 1, and reading is not all: results are recorded after it.
    share = min(done / total, 1.0 if files >= all_files else 0.99)
    filled = int(share * _BAR_WIDTH)
    rate = status.get("bytes_per_second", 0)
    left = f", {(total - done) / rate:,.0f} s left" if rate and total > done else ""
    return (
        f"Reading [{'#' * filled}{'.' * (_BAR_WIDTH - filled)}] {int(share * 100):3d}%"
        f" {files:,}/{all_files:,} files, {rate / 1e6:,.0f} MB/s{left}{pause}"
    )


def print_some(lines: Iterable[str]) -> None:
    """Print the first lines and the number of the others."""
    rest = 0
    for number, line in enumerate(lines):
        if number < _MAX_LINES:
            say(line)
        else:
            rest += 1
    if rest:
        say(f"… and {counted(rest, 'more line')} (--json prints all)")


# What the system says of a file, by the number of the error. {} is its name.
_REASONS = {
    errno.ENOENT: "{} does not exist",
    errno.ENOTDIR: "{} does not exist: a part of its path is a file",
    errno.EISDIR: "{} is a folder, not a file",
    errno.EEXIST: "{} exists already",
    errno.EACCES: "{} cannot be opened: permission denied",
    errno.EPERM: "{} cannot be changed: not permitted",
    errno.EROFS: "{} cannot be written: its disk is read-only",
    errno.ENOSPC: "{} cannot be written: its disk is full",
    errno.EDQUOT if hasattr(errno, "EDQUOT") else -1: "{} cannot be written: your quota is used up",
    errno.EIO: "{} cannot be read or written: the disk reports an error",
    errno.ENAMETOOLONG: "{} is too long for the name of a file",
    errno.EBUSY: "{} is in use by another program",
}


def in_words(error: BaseException) -> str:
    """Return an error for people: without the numbers and the names of the system's calls."""
    if isinstance(error, OSError) and error.errno is not None:
        file = next((str(each) for each in (error.filename, error.filename2) if each not in (None, "")), None)
        if file is not None and error.errno in _REASONS:
            return _REASONS[error.errno].format(file)
        reason = error.strerror or "the system reports an error"
        return f"{file}: {_uncapitalized(reason)}" if file is not None else _uncapitalized(reason)
    if isinstance(error, sqlite3.Error):
        return f"the library's store cannot be used: {error}"
    return str(error)


def _uncapitalized(text: str) -> str:
    """Return a sentence as it goes on after a colon. Names in capitals stay."""
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def written_size(count: int) -> str:
    """Format a number of bytes as in ``6.46 GB``."""
    value = float(count)
    for unit in _UNITS:
        if value < 999.5 or unit == _UNITS[-1]:
            break
        value /= 1000
    return f"{count} B" if unit == "B" else f"{value:.3g} {unit}"


def written_time(milliseconds: int) -> str:
    """Format a time (ms since 1970) for programs, as in ``2026-11-24T12:00:00Z``."""
    return _utc(milliseconds).isoformat().removesuffix("+00:00") + "Z"


def local_time(milliseconds: int) -> str:
    """Format a time (ms since 1970) for people, in their time zone, as in ``2026-11-24 13:00:00+01:00``.

    In UTC where the system knows no local time, as Windows does before 1970 and after 3000.
    """
    time = _utc(milliseconds)
    with suppress(OSError, OverflowError, ValueError):
        time = time.astimezone()
    return time.isoformat(" ", "seconds")


def _utc(milliseconds: int) -> datetime:
    """Return a time, or the nearest one that Python can express. Windows converts none before 1970 and after 3000."""
    try:
        return _EPOCH + timedelta(seconds=milliseconds // 1000)
    except OverflowError:
        return (datetime.max if milliseconds > 0 else datetime.min).replace(microsecond=0, tzinfo=timezone.utc)


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Format a number with a noun, as in ``1 file`` or ``2,000 files``."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
