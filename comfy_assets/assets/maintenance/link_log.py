"""The undo log of links: one line of JSON for each copy, on the disk before the copy is replaced."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import msgspec

from ...fs.atomic import fsync_folder


class LinkedCopy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A copy that was, or was about to be, replaced by a link to ``linked_to``.

    ``hash`` (blake3, hexadecimal), ``mtime_ns`` and ``mode`` (permission bits) are those of the copy;
    ``linked_mtime_ns`` and ``linked_inode`` are what the file shows since.
    """

    path: str
    size: int
    hash: str
    mtime_ns: int
    mode: int
    linked_to: str
    linked_mtime_ns: int
    linked_inode: int


class LogFailed(Exception):
    """The log could not be written, so that nothing more may be replaced."""


class LinkLog:
    """Writes a log, whose file is made with the first entry. Blocks: for worker threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stream: BinaryIO | None = None
        self.path: Path | None = None

    def __enter__(self) -> LinkLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._stream is not None:
            self._stream.close()

    def note(self, entry: LinkedCopy) -> None:
        """Add an entry; it is on the disk when this returns. Raises LogFailed."""
        try:
            stream = self._stream or self._create()
            line = msgspec.json.encode(entry) + b"\n"
            if stream.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(stream.fileno())
        except OSError as error:
            raise LogFailed(f"The undo log cannot be written: {error}") from error

    def _create(self) -> BinaryIO:
        stamp = time.strftime("%Y%m%d-%H%M%S")
        number = 1
        while self._stream is None:
            path = self._folder / f"duplicates-{stamp}{f'-{number}' if number > 1 else ''}.jsonl"
            try:
                self._stream = path.open("xb", buffering=0)
            except FileExistsError:
                number += 1
            else:
                self.path = path
        fsync_folder(self._folder)
        return self._stream


def read(path: Path) -> list[LinkedCopy]:
    """The entries of a log. Raises OSError, and ValueError for what is no log.

    A last line that was cut off stands for a copy that was not replaced.
    """
    entries: list[LinkedCopy] = []
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):
        try:
            entries.append(msgspec.json.decode(line, type=LinkedCopy))
        except msgspec.MsgspecError as error:
            raise ValueError(f"line {number} of {path} is no entry of an undo log: {error}") from error
    return entries
