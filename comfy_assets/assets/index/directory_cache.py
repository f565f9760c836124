"""Cache of the folders' identities and times at their last listing, to find changed folders cheaply.

A folder's own time changes whenever an entry is added, removed or renamed, on every file system. A check costs one stat
call for each folder, however many files there are.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from ...background.interruption import CancelToken
from ...fs.paths import Identity, extended, identity_at
from .walker import FolderKey, FolderListing, FolderStamp

_UNSURE = -1  # equals no time, so the folder counts as changed at the next look


@dataclass
class DirectoryChanges:
    """``trees`` are back after being out of reach, ``folders`` have changed, ``gone`` ones have been removed.

    Folders below a root, or behind a link, that is out of reach are in none of them.
    """

    trees: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)


class DirectoryCache:
    """The folders that walks have listed, by path. One thread at a time."""

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
