"""Walk folders and yield a listing of each. Blocks: for worker threads.

Nothing on a disk makes this raise: problems are counted and reported.
"""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from pathlib import Path
from typing import NamedTuple

from ...background.interruption import CancelToken
from ...fs.atomic import is_temp_name
from ...fs.paths import Identity, extended, file_stat, fresh_for_ns, identity_at, is_junction
from ...ignored_files import is_ignored
from ...models import FileStat
from .exclusions import LISTED_ALREADY, NAME_NOT_UNICODE, Exclusions, Namespace, Obstacle, ScanProblem, unreadable

FolderKey = tuple[Namespace, Identity]

MAX_TOLD = 50  # a drive with broken links has thousands, and all of them are sent to pages


class FolderStamp(NamedTuple):
    """Identity of a folder and its own mtime (ns), which changes with the names in it.

    ``is_fresh``: a change after the listing may have left the mtime as it is.
    """

    identity: Identity
    mtime_ns: int
    is_link: bool
    namespace: Namespace = ""
    is_fresh: bool = False

    @property
    def listed_ns(self) -> int:
        """The mtime as of the listing, or less if it is fresh: then it differs from that of any later look."""
        return self.mtime_ns - self.is_fresh


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
    """Problems of a walk. The contents of ``unreachable`` folders are unknown.

    ``respelled`` are former paths of folders that have changed in case alone, or in how letters are composed.
    ``temporary`` are files that are not complete, or that a killed process left.
    """

    problems: int = 0
    first: list[ScanProblem] = field(default_factory=list)
    unreachable: list[str] = field(default_factory=list)
    respelled: list[str] = field(default_factory=list)
    temporary: list[str] = field(default_factory=list)

    def add(self, path: str, obstacle: Obstacle) -> None:
        """Count a problem and keep the first ones for the user."""
        self.problems += 1
        if len(self.first) < MAX_TOLD:
            self.first.append(ScanProblem(_printable(path), obstacle))


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
    """Lists folders, following links but entering no folder twice for the same namespace below one root.

    So a folder that is linked into two model categories is listed in both. ``entered`` are folders below the same root
    that have been listed before. The methods raise Cancelled when the token is set.
    """

    def __init__(
        self,
        exclusions: Exclusions,
        report: WalkReport,
        token: CancelToken,
        before_folder: Callable[[], None] = lambda: None,
        entered: Mapping[FolderKey, str] | None = None,
    ) -> None:
        self._exclusions = exclusions
        self._report = report
        self._token = token
        self._before_folder = before_folder
        self._entered = dict(entered or {})
        self._pending: list[tuple[str, Namespace]] = []
        self._linked: list[tuple[str, Namespace]] = []  # a heap

    def tree(self, top: str, *, is_root: bool) -> Iterator[FolderListing]:
        """List a folder and all below it.

        Real folders are entered before linked ones, and these in the order of their names, so that the result does not
        depend on the order of the disk.
        """
        if not _is_unicode(*os.path.split(top), self._report):
            self._report.unreachable.append(top)
            return
        yield from self._list(top, self._exclusions.namespace_of(top), is_root=is_root)
        yield from self._rest()

    def folder(
        self, path: str, only: frozenset[str] | None, is_known: Callable[[str], bool]
    ) -> Iterator[FolderListing]:
        """List a folder, or some names in it, and all below those that are folders.

        If the whole folder is listed, known folders in it are not entered.
        """
        yield from self._list(path, self._exclusions.namespace_of(path), only=only)
        if only is None:
            self._pending = [child for child in self._pending if not is_known(child[0])]
            self._linked = [child for child in self._linked if not is_known(child[0])]
        yield from self._rest()

    def _rest(self) -> Iterator[FolderListing]:
        while self._pending or self._linked:
            if self._pending:
                yield from self._list(*self._pending.pop())
            else:
                yield from self._list(*heappop(self._linked), is_link=True)

    def _list(
        self,
        path: str,
        namespace: Namespace,
        *,
        is_root: bool = False,
        is_link: bool = False,
        only: frozenset[str] | None = None,
    ) -> Iterator[FolderListing]:
        self._token.check()
        self._before_folder()
        stamp = self._enter(path, namespace, is_root=is_root, is_link=is_link)
        if stamp is None:
            return
        listing = self._read(path, stamp, only)
        if listing is not None:
            yield listing

    def _enter(self, path: str, namespace: Namespace, *, is_root: bool, is_link: bool) -> FolderStamp | None:
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
            self._report.add(path, unreadable(error))
            return None
        if not stat.S_ISDIR(info.st_mode):
            if is_root:
                self._report.unreachable.append(path)
            return None
        identity = (info.st_dev, info.st_ino)
        if self._exclusions.is_excluded_root(identity, path, namespace):
            return None
        # Without inodes, as on some network drives, a folder that is linked twice is listed twice.
        other = self._entered.get((namespace, identity), path) if info.st_ino else path
        if other != path and identity_at(other) == identity:
            if not _is_former_spelling(other, path):
                self._report.add(path, LISTED_ALREADY)
                return None
            self._report.respelled.append(other)
        self._entered[namespace, identity] = path
        return FolderStamp(identity, info.st_mtime_ns, is_link, namespace, fresh_for_ns(info.st_mtime_ns) > 0)

    def _read(self, path: str, stamp: FolderStamp, only: frozenset[str] | None) -> FolderListing | None:
        """Return a folder's files, and queue its subfolders."""
        files: dict[str, FileStat] = {}
        unknown: list[str] = []
        report = self._report
        leaves_out = self._exclusions.files_in(path)
        try:
            with os.scandir(extended(path)) as entries:
                for entry in entries:
                    name = entry.name
                    if only is not None and name not in only:
                        continue
                    # Hidden files are not the library's; a name that is not Unicode cannot be stored or sent.
                    if name[0] == "." or (not name.isascii() and not _is_unicode(path, name, report)):
                        if is_temp_name(name):
                            report.temporary.append(os.path.join(path, name))  # noqa: PTH118
                        continue
                    try:
                        if entry.is_dir():
                            self._add(path, name, stamp.namespace, is_link=_is_link(entry))
                            continue
                        info = entry.stat()
                    except OSError as error:
                        if _tell_unreadable(entry, path, error, report):
                            unknown.append(name)
                        continue
                    if not stat.S_ISREG(info.st_mode) or is_ignored(name, info.st_size):
                        continue
                    if leaves_out is not None and leaves_out(name):
                        continue
                    is_link = entry.is_symlink()
                    if (is_link or info.st_nlink > 1) and self._excludes_file(path, name, info, is_link=is_link):
                        continue
                    files[name] = file_stat(info)
        except FileNotFoundError:
            return None  # removed during the walk, as if it had never been there
        except OSError as error:
            report.unreachable.append(path)
            report.add(path, unreadable(error))
            return None
        return FolderListing(path, files, tuple(sorted(unknown)), stamp, only)

    def _excludes_file(self, folder: str, name: str, info: os.stat_result, *, is_link: bool) -> bool:
        return self._exclusions.excludes_file(os.path.join(folder, name), info, is_link=is_link)  # noqa: PTH118

    def _add(self, parent: str, name: str, namespace: Namespace, *, is_link: bool) -> None:
        folder = os.path.join(parent, name)  # noqa: PTH118
        exclusions = self._exclusions
        if exclusions.excludes(folder) or exclusions.leaves_out_folder(folder, name):
            return
        namespace = exclusions.namespace_in(namespace, folder)
        if not is_link:
            self._pending.append((folder, namespace))
        elif not exclusions.excludes_link(folder):
            self._add_link(folder, namespace)

    def _add_link(self, folder: str, namespace: Namespace) -> None:
        # A folder of the library may be a link: its user has chosen the target.
        refusal = None if self._exclusions.is_chosen(folder) else self._exclusions.refusal(folder, namespace)
        if refusal is None:
            heappush(self._linked, (folder, namespace))
        else:
            self._report.add(folder, refusal)


def _is_former_spelling(other: str, path: str) -> bool:
    """Return whether a path leads to a folder although listings have another spelling of it.

    So it is where the case of names does not count, after a name has changed in case alone. Blocks.
    """
    top, *others = Path(other).parts
    # By their letters: to commonpath, names on Windows are equal in any case.
    pairs = zip(others, Path(path).parts[1:], strict=False)
    shared = [name for name, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)]
    folder = os.path.join(top, *shared)  # noqa: PTH118
    for name in others[len(shared) :]:
        try:
            with os.scandir(extended(folder)) as entries:
                if all(entry.name != name for entry in entries):
                    return True
        except OSError:
            return False
        folder = os.path.join(folder, name)  # noqa: PTH118
    return False


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
    report.add(path, unreadable(error))
    return not isinstance(error, FileNotFoundError)


def _is_unicode(folder: str, name: str, report: WalkReport) -> bool:
    path = os.path.join(folder, name)  # noqa: PTH118
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        report.add(path, NAME_NOT_UNICODE)
        return False
    return True


def _printable(path: str) -> str:
    return path.encode("utf-8", "backslashreplace").decode("utf-8")
