"""Walk folders and yield a listing of each, and find those that have changed since. Blocks: for worker threads.

Nothing on a disk makes a walk raise: problems are counted and reported. A folder's own time changes whenever an entry
is added, removed or renamed, on every file system. So a look for changes costs one stat call for each folder, however
many files there are.
"""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
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
_UNSURE = -1  # equals no time, so the folder counts as changed at the next look


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


@dataclass
class DirectoryChanges:
    """``trees`` are back after being out of reach, ``folders`` have changed, ``gone`` ones have been removed.

    Folders below a root, or behind a link, that is out of reach are in none of them.
    """

    trees: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)


class DirectoryCache:
    """The folders that walks have listed, by path, with their identities and times then. One thread at a time."""

    def __init__(self) -> None:
        self._stamps: dict[str, FolderStamp] = {}
        self._paths: dict[Identity, str] = {}
        self._links: set[str] = set()
        self._away: set[str] = set()

    def __contains__(self, path: str) -> bool:
        return path in self._stamps

    @property
    def links(self) -> frozenset[str]:
        """Links to folders that have been listed; their targets may be out of reach."""
        return frozenset(self._links)

    def store(self, listings: Iterable[FolderListing]) -> None:
        """Store listings of whole folders; a listing of some names says nothing about the others."""
        for listing in listings:
            if listing.only is not None:
                continue
            stamp = listing.stamp
            # An entry added after the listing, in the same tick of the clock, leaves the folder's time as it is. The
            # tick may have passed by now, as listings are written to the database first.
            if stamp.is_fresh:
                stamp = stamp._replace(mtime_ns=_UNSURE)
            self._stamps[listing.path] = stamp
            self._paths[stamp.identity] = listing.path
            if stamp.is_link:
                self._links.add(listing.path)

    def forget(self, path: str) -> None:
        """Remove a folder, but not those below it."""
        self._links.discard(path)
        stamp = self._stamps.pop(path, None)
        if stamp is not None and self._paths.get(stamp.identity) == path:
            del self._paths[stamp.identity]

    def below(self, top: str) -> list[str]:
        """Return the cached folders at and below a path."""
        inside = top.rstrip(os.sep) + os.sep
        return [path for path in self._stamps if path == top or path.startswith(inside)]

    def entered_below(self, root: str) -> dict[FolderKey, str]:
        """Return the cached folders at and below a root by namespace and identity."""
        stamps = ((path, self._stamps[path]) for path in self.below(root))
        return {(stamp.namespace, stamp.identity): path for path, stamp in stamps}

    def as_listed(self, folder: str) -> str:
        """Return the path under which scans list a folder, of the several that links may give it. Blocks."""
        if not self._links and folder.isascii():  # macOS may report letters that are composed in another way
            return folder
        top, below = folder, ""
        while top not in self._stamps:
            identity = identity_at(top)
            listed = self._paths.get(identity) if identity is not None else None
            # Asked again, because the cached folder may have been replaced since.
            if listed is not None and identity_at(listed) == identity:
                return os.path.join(listed, below) if below else listed  # noqa: PTH118
            parent, name = os.path.split(top)
            if parent == top:
                break
            top, below = parent, os.path.join(name, below) if below else name  # noqa: PTH118
        return folder

    def changes(self, roots: Collection[str], token: CancelToken) -> DirectoryChanges:
        """Return the changes since the last listing. Blocks, with one stat call per folder. Raises Cancelled."""
        # A drive that is away must not look like removed folders.
        places = [*roots, *(link for link in self._links if os.path.lexists(extended(link)))]
        away = {place for place in places if not _is_folder(place)}
        found = DirectoryChanges([p for p in places if p not in away and (p in self._away or p not in self._stamps)])
        self._away = away
        for path, stamp in list(self._stamps.items()):
            token.check()
            if away and any(path == place or path.startswith(place + os.sep) for place in away):
                continue
            try:
                info = os.stat(extended(path))  # noqa: PTH116
            except (FileNotFoundError, NotADirectoryError):
                found.gone.append(path)
            except OSError:
                continue  # out of reach: its state is unknown
            else:
                if (info.st_dev, info.st_ino) != stamp.identity or info.st_mtime_ns != stamp.mtime_ns:
                    found.folders.append(path)
        found.gone = _tops(found.gone)
        return found


def _tops(paths: Iterable[str]) -> list[str]:
    """Return the paths that are not below another one."""
    tops: list[str] = []
    for path in sorted(paths):
        if not tops or not path.startswith(tops[-1] + os.sep):
            tops.append(path)
    return tops


def _is_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(extended(path)).st_mode)  # noqa: PTH116
    except OSError:
        return False
