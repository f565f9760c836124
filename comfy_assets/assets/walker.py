"""Phase one's eyes: walk folders and report, folder by folder, what lies in them.

Synchronous; runs in a thread. Nothing here raises for what a disk can hold: problems are counted and told of.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from pathlib import Path

from ..models import FileStat
from ..tasks.cancel import CancelToken

MAX_TOLD_PROBLEMS = 50
_INT64 = (1 << 63) - 1
# What operating systems, download tools and ComfyUI itself leave behind; never something to load or look at.
_IGNORED_NAMES = frozenset({"thumbs.db", "desktop.ini"})
_IGNORED_SUFFIXES = (".tmp", ".part", ".partial", ".crdownload", ".aria2", ".incomplete")
# What the names and suffixes above end with: most files are let through by a glance at one character.
_LITTER_ENDS = frozenset("".join(end[-1] + end[-1].upper() for end in (*_IGNORED_NAMES, *_IGNORED_SUFFIXES)))


@dataclass(frozen=True)
class FolderListing:
    """The regular files directly in one folder, by name. ``unknown`` could not be looked at."""

    path: str
    files: dict[str, FileStat]
    unknown: tuple[str, ...] = ()


@dataclass
class WalkReport:
    """What went wrong. Of ``unreachable`` folders the contents could not be learnt, so nothing is known."""

    problems: int = 0
    told: list[str] = field(default_factory=list)
    unreachable: list[str] = field(default_factory=list)

    def tell(self, path: str, reason: str) -> None:
        """Count a problem and keep the first ones for the user."""
        self.problems += 1
        if len(self.told) < MAX_TOLD_PROBLEMS:
            self.told.append(f"{_printable(path)}: {reason}")


def walk(
    roots: list[Path],
    is_barred: Callable[[str], bool],
    report: WalkReport,
    token: CancelToken,
    before_folder: Callable[[], None] = lambda: None,
) -> Iterator[FolderListing]:
    """List every folder below the roots, following links but entering no folder twice below one root.

    Real folders are entered before linked ones, and those in the order of their names, so that what is listed
    does not depend on the order in which a disk tells names. Raises Cancelled when the token is set.
    """
    for root in roots:
        if not _is_unicode(*os.path.split(root), report):
            report.unreachable.append(str(root))
            continue
        entered: set[tuple[int, int]] = set()
        pending, linked = [str(root)], list[str]()
        while pending or linked:
            token.check()
            before_folder()
            path = pending.pop() if pending else heappop(linked)
            if _enter(path, entered, report, is_root=path == str(root)):
                listing = _list(path, is_barred, report, pending, linked)
                if listing is not None:
                    yield listing


def _enter(path: str, entered: set[tuple[int, int]], report: WalkReport, *, is_root: bool) -> bool:
    """Whether to list this folder: not if it cannot be read, nor if it has been listed under another name."""
    try:
        info = os.stat(extended(path))  # noqa: PTH116
    except FileNotFoundError:
        if is_root:
            # A drive that is away; a folder that never was has no rows to freeze.
            report.unreachable.append(path)
        return False
    except OSError as error:
        report.unreachable.append(path)
        report.tell(path, _reason(error))
        return False
    if not stat.S_ISDIR(info.st_mode):
        if is_root:
            report.unreachable.append(path)
        return False
    identity = (info.st_dev, info.st_ino)
    if info.st_ino and identity in entered:
        report.tell(path, "links to a folder that is already indexed")
        return False
    entered.add(identity)
    return True


def _list(
    path: str,
    is_barred: Callable[[str], bool],
    report: WalkReport,
    pending: list[str],
    linked: list[str],
) -> FolderListing | None:
    """The folder's files; its subfolders are added to ``pending``, linked ones to the heap ``linked``."""
    files: dict[str, FileStat] = {}
    unknown: list[str] = []
    try:
        with os.scandir(extended(path)) as entries:
            for entry in entries:
                name = entry.name
                if name[0] == "." or (not name.isascii() and not _is_unicode(path, name, report)):
                    continue
                try:
                    if entry.is_dir():
                        child = os.path.join(path, name)  # noqa: PTH118
                        if not is_barred(child):
                            if entry.is_symlink():
                                heappush(linked, child)
                            else:
                                pending.append(child)
                        continue
                    info = entry.stat()
                except OSError as error:
                    if _tell_unreadable(entry, path, error, report):
                        unknown.append(name)
                    continue
                if stat.S_ISREG(info.st_mode) and not is_ignored(name, info.st_size):
                    files[name] = file_stat(info)
    except FileNotFoundError:
        return None  # it vanished while we walked: the same as if it had never been there
    except OSError as error:
        report.unreachable.append(path)
        report.tell(path, _reason(error))
        return None
    return FolderListing(path, files, tuple(sorted(unknown)))


def file_stat(info: os.stat_result) -> FileStat:
    """What is compared to see whether a file is still the same; times and inodes that SQLite can hold."""
    mtime_ns = info.st_mtime_ns
    if not -_INT64 <= mtime_ns <= _INT64:
        mtime_ns = _INT64 if mtime_ns > 0 else -_INT64
    return info.st_size, mtime_ns, info.st_ino & _INT64


def _tell_unreadable(entry: os.DirEntry[str], folder: str, error: OSError, report: WalkReport) -> bool:
    """Report an entry that cannot be looked at; answers whether a file may be there all the same.

    A broken link is no file, but it may have been a folder of files on a drive that is away.
    """
    path = os.path.join(folder, entry.name)  # noqa: PTH118
    if isinstance(error, FileNotFoundError) and not entry.is_symlink():
        return False  # vanished between listing and looking
    report.unreachable.append(path)
    report.tell(path, _reason(error))
    return not isinstance(error, FileNotFoundError)


def is_gone(folder: str, root: Path | None, unreachable: list[str]) -> bool:
    """Whether a folder that was not listed is surely gone, rather than out of reach for the time being.

    It is out of reach below an unreachable folder, below a link whose target is away, or when its root is
    away.
    """
    path = Path(folder)
    if any(path.is_relative_to(base) for base in unreachable):
        return False
    for ancestor in (path, *path.parents):
        if root is not None and not ancestor.is_relative_to(root):
            return False
        try:
            info = os.stat(extended(str(ancestor)))  # noqa: PTH116
        except (FileNotFoundError, NotADirectoryError):
            if ancestor.is_symlink():
                return False
        except OSError:
            return False
        else:
            return ancestor != root or stat.S_ISDIR(info.st_mode)
    return False


def is_ignored(name: str, size: int) -> bool:
    """Whether a file is litter: system files, unfinished downloads, ComfyUI's empty "put_…_here" markers."""
    if size and name[-1] not in _LITTER_ENDS:
        return False
    lowered = name.lower()
    if lowered in _IGNORED_NAMES or lowered.endswith(_IGNORED_SUFFIXES):
        return True
    return size == 0 and lowered.startswith("put_") and "_here" in lowered


def extended(path: str) -> str:
    """The path in the form that Windows accepts beyond 260 characters; unchanged elsewhere."""
    if os.name != "nt" or len(path) < 240 or path.startswith("\\\\?\\"):
        return path
    if path.startswith("\\\\"):
        return "\\\\?\\UNC\\" + path[2:]
    return "\\\\?\\" + path


def _is_unicode(folder: str, name: str, report: WalkReport) -> bool:
    path = os.path.join(folder, name)  # noqa: PTH118
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        report.tell(path, "the name is not valid Unicode")
        return False
    return True


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__


def _printable(path: str) -> str:
    return path.encode("utf-8", "backslashreplace").decode("utf-8")
