"""A user's workflows folder on disk. Everything here blocks."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from blake3 import blake3

from ..fs import atomic, partial_file
from ..fs.stat import fresh_for_ns
from ..store_guard import check_found
from .paths import is_workflow, key_of

UNSURE = -1
_MAX_DEPTH = 32


class Stamp(NamedTuple):
    """Size in bytes, time of change in ns; UNSURE where the file may have changed since without a sign."""

    size: int
    mtime_ns: int


class Text(NamedTuple):
    """What a file holds, the hash of it, and the file's stamp from before it was read."""

    content: bytes
    hash: bytes
    stamp: Stamp


@dataclass
class Listing:
    """The files that may be workflows, by path; and the folders that could not be looked into ("": all of it)."""

    files: dict[str, Stamp] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)

    def knows(self, path: str) -> bool:
        """Whether it would tell of a file at this path."""
        return not any(folder == "" or path.startswith(f"{folder}/") for folder in self.unknown)


class Folder:
    """The folder at ``root``, which may not be there."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def exists(self) -> bool:
        """Whether it is there."""
        return self._root.is_dir()

    def listing(self) -> Listing:
        """List its content. Links are skipped, as they may lead out; folders that lie too deep are unknown."""
        found = Listing()
        waiting = [("", 0)]
        while waiting:
            folder, depth = waiting.pop()
            try:
                with os.scandir(self._root / folder) as entries:
                    below = self._take(folder, entries, found)
            except OSError:
                found.unknown.append(folder)
            else:
                if depth < _MAX_DEPTH:
                    waiting += [(each, depth + 1) for each in below]
                else:
                    found.unknown += below
        return found

    @staticmethod
    def _take(folder: str, entries: Iterable[os.DirEntry[str]], found: Listing) -> list[str]:
        """Note a folder's files; answers the folders in it."""
        below: list[str] = []
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.name.startswith(".") or not _is_text(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                below.append(path)
            elif is_workflow(entry.name) and entry.is_file(follow_symlinks=False):
                with suppress(FileNotFoundError):
                    info = entry.stat(follow_symlinks=False)
                    found.files[path] = Stamp(info.st_size, info.st_mtime_ns)
        return below

    def stamp(self, path: str) -> Stamp | None:
        """The stamp of a file; None where there is none. Raises OSError where that cannot be told."""
        try:
            info = os.stat(self._root / path, follow_symlinks=False)  # noqa: PTH116
        except (FileNotFoundError, NotADirectoryError):
            return None
        return Stamp(info.st_size, info.st_mtime_ns) if stat.S_ISREG(info.st_mode) else None

    def read(self, path: str, limit: int) -> Text | None:
        """What a file holds; None where there is none, or it has more than ``limit`` bytes. Raises OSError."""
        before = self.stamp(path)
        if before is None or before.size > limit:
            return None
        check_found(str(self._root / path))
        content = (self._root / path).read_bytes()
        if self.stamp(path) != before or len(content) != before.size:
            before = Stamp(len(content), UNSURE)
        return Text(content, blake3(content).digest(), settled(before))

    def on_disk(self, path: str) -> str | None:
        """The path as the folder has it, where the file system takes names of other case or form for it.

        None where there is no such file, or a link leads to it.
        """
        found = ""
        for part in path.split("/"):
            name = self._named(found, part)
            if name is None:
                return None
            found = f"{found}/{name}" if found else name
        return found

    def _named(self, folder: str, part: str) -> str | None:
        try:
            names = os.listdir(self._root / folder)  # noqa: PTH208
            if part in names:
                return None if (self._root / folder / part).is_symlink() else part
            alike = [name for name in names if key_of(name) == key_of(part)]
            for name in alike:
                if os.path.samefile(self._root / folder / name, self._root / folder / part):  # noqa: PTH121
                    return name
        except OSError:
            return None
        return None

    def names_in(self, folder: str) -> set[str]:
        """Keys of the paths of what is in a folder, whatever it is."""
        try:
            return {key_of(f"{folder}/{name}" if folder else name) for name in os.listdir(self._root / folder)}  # noqa: PTH208
        except OSError:
            return set()

    def write(self, path: str, content: bytes, *, replaces: bytes | None) -> Stamp | None:
        """Write a file, whole or not at all, in the place of the one whose text has the hash ``replaces``.

        Answers None, and writes nothing, where that one is not there any more. Raises OSError: FileExistsError where
        there is a file and none is to be replaced.
        """
        target = self._root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic.temp_file(target) as temporary:
            atomic.write_new(temporary, lambda stream: stream.write(content))
            info = temporary.stat()
            if replaces is None:
                atomic.move_no_replace(temporary, target)
            elif self._holds(path, replaces):
                temporary.replace(target)
            else:
                return None
        return settled(Stamp(info.st_size, info.st_mtime_ns))

    def _holds(self, path: str, text: bytes) -> bool:
        """Whether a file has the text of this hash, at this moment. Raises OSError."""
        try:
            check_found(str(self._root / path))
            return blake3((self._root / path).read_bytes()).digest() == text
        except FileNotFoundError:
            return False

    def rename(self, path: str, new: str) -> None:
        """Give a file another path. Raises OSError: FileExistsError where there is a file already."""
        source, target = self._root / path, self._root / new
        if target.exists() and target.samefile(source):  # another case of the same name
            source.rename(target)
        else:
            atomic.move_no_replace(source, target)

    def remove(self, path: str, text: bytes) -> None:
        """Remove a file if it has the text of this hash. Raises OSError."""
        if self._holds(path, text):
            (self._root / path).unlink(missing_ok=True)

    def remove_leftovers(self, before: float) -> None:
        """Remove what a killed server was writing, last written before this time (s since 1970)."""
        below = (Path(folder) for folder, _, _ in os.walk(self._root))
        partial_file.remove_leftovers(below, before)


def settled(stamp: Stamp) -> Stamp:
    """The stamp, unsure where the file has changed so lately that another change might not show."""
    return Stamp(stamp.size, UNSURE) if fresh_for_ns(stamp.mtime_ns) else stamp


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
