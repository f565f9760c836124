"""Walk folders and yield a listing of each. Blocks: for worker threads.

Nothing on a disk makes this raise: problems are counted and reported.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from pathlib import Path
from typing import NamedTuple

from ... import store_guard
from ...background.cancel import CancelToken
from ...fs.paths import Identity, extended, file_stat, identity_at, is_junction
from ...models import FileStat
from ..roots import is_ignored

MAX_MESSAGES = 50  # a drive with broken links has thousands, and all of them are sent to pages


class FolderStamp(NamedTuple):
    """Identity of a folder and its own mtime (ns), which changes with the names in it."""

    identity: Identity
    mtime_ns: int
    is_link: bool


@dataclass(frozen=True)
class FolderListing:
    """The regular files directly in a folder, by name. ``unknown`` ones could not be examined.

    With ``only``, other names were left out.
    """

    path: str
    files: dict[str, FileStat]
    unknown: tuple[str, ...]
    stamp: FolderStamp
    only: frozenset[str] | None = None


@dataclass
class WalkReport:
    """Problems of a walk. The contents of ``unreachable`` folders are unknown."""

    problems: int = 0
    messages: list[str] = field(default_factory=list)
    unreachable: list[str] = field(default_factory=list)

    def add(self, path: str, reason: str) -> None:
        """Count a problem and keep the first ones for the user."""
        self.problems += 1
        if len(self.messages) < MAX_MESSAGES:
            self.messages.append(f"{_printable(path)}: {reason}")


class Exclusions:
    """Keeps walks out of excluded subtrees, under their own paths and through links."""

    def __init__(self, excluded: Iterable[Path] = ()) -> None:
        paths = [str(path) for path in excluded]
        self._named = {os.path.normcase(path) for path in paths}
        self._real = {os.path.normcase(os.path.realpath(path)) for path in paths}
        # By identity as well, because an excluded folder may be reached under another path, as by a bind mount.
        self._tops = {identity for path in paths if (identity := identity_at(path)) is not None}

    def excludes(self, path: str) -> bool:
        """Return whether an excluded subtree begins at this folder."""
        return os.path.normcase(path) in self._named

    def excludes_link(self, path: str) -> bool:
        """Return whether a path leads into an excluded subtree through a link."""
        real = Path(os.path.normcase(os.path.realpath(path)))
        return not self._real.isdisjoint(map(str, (real, *real.parents)))

    def excludes_file(self, path: str, info: os.stat_result, *, is_link: bool) -> bool:
        """Return whether a file is one of the store's, by a link or as a hard link."""
        return (is_link or info.st_nlink != 1) and store_guard.is_protected(path)

    def is_excluded_root(self, identity: Identity) -> bool:
        """Return whether a folder is the top of an excluded subtree, under whatever path."""
        return identity in self._tops


def walk(
    roots: list[Path],
    exclusions: Exclusions,
    report: WalkReport,
    token: CancelToken,
    before_folder: Callable[[], None] = lambda: None,
) -> Iterator[FolderListing]:
    """List every folder below the roots. Raises Cancelled when the token is set."""
    for root in roots:
        yield from Walk(exclusions, report, token, before_folder).tree(str(root), is_root=True)


class Walk:
    """Lists folders, following links but entering no folder twice below one root.

    ``entered`` are folders below the same root that have been listed before, by identity. The methods raise Cancelled
    when the token is set.
    """

    def __init__(
        self,
        exclusions: Exclusions,
        report: WalkReport,
        token: CancelToken,
        before_folder: Callable[[], None] = lambda: None,
        entered: Mapping[Identity, str] | None = None,
    ) -> None:
        self._exclusions = exclusions
        self._report = report
        self._token = token
        self._before_folder = before_folder
        self._entered = dict(entered or {})
        self._pending: list[str] = []
        self._linked: list[str] = []  # a heap

    def tree(self, top: str, *, is_root: bool) -> Iterator[FolderListing]:
        """List a folder and all below it.

        Real folders are entered before linked ones, and these in the order of their names, so that the result does not
        depend on the order of the disk.
        """
        if not _is_unicode(*os.path.split(top), self._report):
            self._report.unreachable.append(top)
            return
        yield from self._list(top, is_root=is_root)
        yield from self._rest()

    def folder(
        self, path: str, only: frozenset[str] | None, is_known: Callable[[str], bool]
    ) -> Iterator[FolderListing]:
        """List a folder, or some names in it, and all below those that are folders.

        If the whole folder is listed, known folders in it are not entered.
        """
        yield from self._list(path, only=only)
        if only is None:
            self._pending = [child for child in self._pending if not is_known(child)]
            self._linked = [child for child in self._linked if not is_known(child)]
        yield from self._rest()

    def _rest(self) -> Iterator[FolderListing]:
        while self._pending or self._linked:
            if self._pending:
                yield from self._list(self._pending.pop())
            else:
                yield from self._list(heappop(self._linked), is_link=True)

    def _list(
        self, path: str, *, is_root: bool = False, is_link: bool = False, only: frozenset[str] | None = None
    ) -> Iterator[FolderListing]:
        self._token.check()
        self._before_folder()
        stamp = self._enter(path, is_root=is_root, is_link=is_link)
        if stamp is None:
            return
        listing = self._read(path, stamp, only)
        if listing is not None:
            yield listing

    def _enter(self, path: str, *, is_root: bool, is_link: bool) -> FolderStamp | None:
        """Return the stamp of a folder; None if it cannot be read, or was listed under another path."""
        try:
            info = os.stat(extended(path))  # noqa: PTH116
        except FileNotFoundError:
            if is_root:
                # The drive may be away. For a folder that never existed this has no effect: it has no rows.
                self._report.unreachable.append(path)
            return None
        except OSError as error:
            self._report.unreachable.append(path)
            self._report.add(path, _reason(error))
            return None
        if not stat.S_ISDIR(info.st_mode):
            if is_root:
                self._report.unreachable.append(path)
            return None
        identity = (info.st_dev, info.st_ino)
        if self._exclusions.is_excluded_root(identity):
            return None
        # Without inodes, as on some network drives, a folder that is linked twice is listed twice.
        other = self._entered.get(identity, path) if info.st_ino else path
        if other != path and identity_at(other) == identity:
            self._report.add(path, "links to a folder that is already indexed")
            return None
        self._entered[identity] = path
        return FolderStamp(identity, info.st_mtime_ns, is_link)

    def _read(self, path: str, stamp: FolderStamp, only: frozenset[str] | None) -> FolderListing | None:
        """Return a folder's files, and queue its subfolders."""
        files: dict[str, FileStat] = {}
        unknown: list[str] = []
        report = self._report
        try:
            with os.scandir(extended(path)) as entries:
                for entry in entries:
                    name = entry.name
                    if only is not None and name not in only:
                        continue
                    # Hidden files are not the library's; a name that is not Unicode cannot be stored or sent.
                    if name[0] == "." or (not name.isascii() and not _is_unicode(path, name, report)):
                        continue
                    try:
                        if entry.is_dir():
                            self._add(os.path.join(path, name), is_link=_is_link(entry))  # noqa: PTH118
                            continue
                        info = entry.stat()
                    except OSError as error:
                        if _tell_unreadable(entry, path, error, report):
                            unknown.append(name)
                        continue
                    if not stat.S_ISREG(info.st_mode) or is_ignored(name, info.st_size):
                        continue
                    is_link = entry.is_symlink()
                    if (is_link or info.st_nlink > 1) and self._excludes_file(path, name, info, is_link=is_link):
                        continue
                    files[name] = file_stat(info)
        except FileNotFoundError:
            return None  # removed during the walk, as if it had never been there
        except OSError as error:
            report.unreachable.append(path)
            report.add(path, _reason(error))
            return None
        return FolderListing(path, files, tuple(sorted(unknown)), stamp, only)

    def _excludes_file(self, folder: str, name: str, info: os.stat_result, *, is_link: bool) -> bool:
        return self._exclusions.excludes_file(os.path.join(folder, name), info, is_link=is_link)  # noqa: PTH118

    def _add(self, folder: str, *, is_link: bool) -> None:
        if self._exclusions.excludes(folder):
            return
        if not is_link:
            self._pending.append(folder)
        elif not self._exclusions.excludes_link(folder):
            heappush(self._linked, folder)


def _is_link(entry: os.DirEntry[str]) -> bool:
    return entry.is_symlink() or (os.name == "nt" and is_junction(entry.stat(follow_symlinks=False)))


def _tell_unreadable(entry: os.DirEntry[str], folder: str, error: OSError, report: WalkReport) -> bool:
    """Report an entry that cannot be examined; return whether it may be a file.

    A broken link is no file, but it may have been a folder of files on a drive that is away.
    """
    path = os.path.join(folder, entry.name)  # noqa: PTH118
    if isinstance(error, FileNotFoundError) and not entry.is_symlink():
        return False  # removed since it was listed
    report.unreachable.append(path)
    report.add(path, _reason(error))
    return not isinstance(error, FileNotFoundError)


def _is_unicode(folder: str, name: str, report: WalkReport) -> bool:
    path = os.path.join(folder, name)  # noqa: PTH118
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        report.add(path, "the name is not valid Unicode")
        return False
    return True


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__


def _printable(path: str) -> str:
    return path.encode("utf-8", "backslashreplace").decode("utf-8")
