"""Match files that are gone with files that are new: each pair is one file that has moved or changed. Pure.

``match`` is the only place that decides which asset a file belongs to. A rename, an exchange of names, a move to
another drive and a file that was written over differ only in the key that matches. docs/library.md states the rules for
users. A known path that holds another file than before takes part on both sides: its former file is gone, and its
present file is new.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from pathlib import PurePath
from typing import NamedTuple

from ..db.moves import MoveCandidate
from ..models import FileStat
from ..names import folded

_SECOND_NS = 1_000_000_000


class Match(NamedTuple):
    """A file that was ``gone`` and the ``new`` one that it is."""

    gone: MoveCandidate
    new: MoveCandidate

    @property
    def is_in_place(self) -> bool:
        """Whether the file has changed at its path, rather than moved."""
        return self.gone.id == self.new.replaces

    @property
    def is_certain(self) -> bool:
        """Whether the content is that of the file that was gone, so that it need not be read again."""
        if self.new.content_id is not None:
            return True
        if self.gone.stat != self.new.stat:
            return False
        if self.gone.inode:
            return True
        return self.new.replaces is None and folded(self.gone.name) == folded(self.new.name)


Pairing = Callable[[Sequence[MoveCandidate], Sequence[MoveCandidate]], list[Match]]


def match(gone: Iterable[MoveCandidate], new: Iterable[MoveCandidate]) -> list[Match]:
    """Return pairs of files; each file is in one pair at most.

    The keys are tried in the order of ``KEYS``, each on the files that are left. Keys other than the path in place and
    the content pair files only where there is one of the key on both sides.
    """
    olds, news = list(gone), list(new)
    found: list[Match] = []
    for key in KEYS:
        if not olds or not news:
            break
        if pairs := key(olds, news):
            olds, news = _left(olds, news, pairs)
            found += pairs
    return found


def identity(stat: FileStat) -> FileStat | None:
    """Return a key that only this file has: with its inode, or else with a time that is finer than seconds."""
    return stat if stat[2] or stat[1] % _SECOND_NS else None


def _by_identity(olds: Sequence[MoveCandidate], news: Sequence[MoveCandidate]) -> list[Match]:
    """Pair the very same files, wherever they are now."""
    found = _unique(olds, news, lambda file: identity(file.stat))
    found += _several_names(*_left(olds, news, found))
    if all(file.replaces is None for file in news):  # no known path holds another file
        return found
    return _without_taken_back(_without_backups(found, news), olds)


def _several_names(olds: Sequence[MoveCandidate], news: Sequence[MoveCandidate]) -> list[Match]:
    """Pair the names of files that have several: hard links, and files in a folder that is linked into categories.

    The order is: same name, any; each the nearest first by the folders that they are in, as far as these tell them
    apart. There must be as many on both sides: otherwise they may as well be copies on several drives, whose inodes are
    equal by chance.
    """
    found: list[Match] = []
    for key in (_name, _anything):

        def same_file(file: MoveCandidate, key: Callable[[MoveCandidate], Hashable] = key) -> Hashable:
            # Without an inode, files of the same size and time may be copies.
            return (file.stat, key(file)) if file.inode else None

        for some_olds, some_news in list(_by_key(olds, news, same_file)):
            is_possible = all(_is_possible(old, new) for old in some_olds for new in some_news)
            if is_possible and len(some_olds) == len(some_news):
                found += _in_nearest_folders(some_olds, some_news)
        olds, news = _left(olds, news, found)
    return found


def _in_nearest_folders(olds: Sequence[MoveCandidate], news: Sequence[MoveCandidate]) -> list[Match]:
    """Pair files that are the only ones below the innermost folder that both are in, however deep."""
    parts = {file.id: parts_of(file.folder)[::-1] for file in (*olds, *news)}
    found: list[Match] = []
    for length in range(max(map(len, parts.values())), -1, -1):

        def above(file: MoveCandidate, length: int = length) -> Hashable:
            return parts[file.id][:length]

        pairs = [Match(*a, *b) for a, b in list(_by_key(olds, news, above)) if len(a) == len(b) == 1]
        found += pairs
        olds, news = _left(olds, news, pairs)
    return found


def _without_backups(found: list[Match], news: Iterable[MoveCandidate]) -> list[Match]:
    """Drop pairs of a file and the backup that a program made of it when it wrote the file again.

    The asset keeps its path, unless another known file has come to that.
    """
    changed = {file.replaces for file in news if file.replaces is not None}
    changed -= {m.new.replaces for m in found}
    return [m for m in found if m.gone.id not in changed or not _is_backup(m.new, m.gone)]


def _is_backup(copy: MoveCandidate, file: MoveCandidate) -> bool:
    """Return whether a file is named as programs name a backup: ``a.png~`` or ``a.bak`` beside ``a.png``."""
    if copy.folder != file.folder:
        return False
    return copy.name.startswith(file.name) or PurePath(copy.name).stem == PurePath(file.name).stem


def _without_taken_back(found: list[Match], olds: Iterable[MoveCandidate]) -> list[Match]:
    """Drop pairs in which an unmarked file was written over a marked one that is nowhere else: the marks stay there."""
    placed = {m.gone.id for m in found}
    bereft = {file.id for file in olds if file.is_marked and file.keeps_path and file.id not in placed}
    return [m for m in found if m.gone.is_marked or m.new.replaces not in bereft]


def _in_place(olds: Sequence[MoveCandidate], news: Sequence[MoveCandidate]) -> list[Match]:
    """Pair what was at a known path with what is there now."""
    at = {file.id: file for file in olds if file.keeps_path}
    return [Match(at[file.replaces], file) for file in news if file.replaces in at]


def _by_path(olds: Sequence[MoveCandidate], news: Sequence[MoveCandidate]) -> list[Match]:
    """Pair files of the same size, time and path below the roots: a copy on another drive."""
    return _unique(olds, news, lambda file: (file.size, file.mtime_ns, file.logical, file.name))


def _by_name(olds: Sequence[MoveCandidate], news: Sequence[MoveCandidate]) -> list[Match]:
    """Pair files of the same size, time and name: a copy in another folder.

    Times in whole seconds may come from an archive or a download, and be those of several files. So they count for
    files that have just gone alone.
    """

    def key(file: MoveCandidate) -> Hashable:
        return file.size, file.mtime_ns, folded(file.name)

    return _unique([file for file in olds if file.is_recent or file.mtime_ns % _SECOND_NS], news, key)


def _by_time(olds: Sequence[MoveCandidate], news: Sequence[MoveCandidate]) -> list[Match]:
    """Pair files of the same size and time in whole seconds, where there are no inodes: a rename on such a drive."""
    recent = [file for file in olds if file.is_recent]
    return _unique(recent, news, lambda file: None if file.inode else file.stat[:2])


def _by_content(olds: Sequence[MoveCandidate], news: Sequence[MoveCandidate]) -> list[Match]:
    """Pair files of the same content, as many as there are, the nearest first; users' own files before public ones."""
    found: list[Match] = []
    left = {file.id: file for file in olds}
    for owner in sorted({file.owner for file in news}, key=lambda owner: owner == ""):
        mine = [file for file in news if file.owner == owner and file.is_decided]
        for some_olds, some_news in _by_key(left.values(), mine, lambda file: file.content_id):
            found += _nearest([file for file in some_olds if _may_own(file, some_news[0])], some_news)
        for m in found:
            left.pop(m.gone.id, None)
    return found


# From the surest to the weakest. The first is the same file; the second the same path; the next three look alike; the
# last is known only once files have been read.
KEYS: tuple[Pairing, ...] = (_by_identity, _in_place, _by_path, _by_name, _by_time, _by_content)


def _is_possible(gone: MoveCandidate, new: MoveCandidate) -> bool:
    """Return whether a new file may be the one that was gone: it is no older, and not known to hold something else."""
    is_later = new.id < 0 or gone.id < new.id
    is_equal = None in (gone.content_id, new.content_id) or gone.content_id == new.content_id
    return is_later and is_equal and _may_own(gone, new)


def _may_own(gone: MoveCandidate, new: MoveCandidate) -> bool:
    """Return whether the owner allows it: a user's own file becomes nobody else's asset, nor a public one."""
    return new.owner in ("", gone.owner)


def _unique(
    olds: Sequence[MoveCandidate], news: Sequence[MoveCandidate], key: Callable[[MoveCandidate], Hashable]
) -> list[Match]:
    """Pair the files of a key of which there is one on both sides; first among those that have just gone."""
    recent = [file for file in olds if file.is_recent]
    found = _singles(recent, news, key) if recent else []
    if len(found) < min(len(olds), len(news)):
        found += _singles(*_left(olds, news, found), key) if found else _singles(olds, news, key)
    return found


def _singles(
    olds: Sequence[MoveCandidate], news: Sequence[MoveCandidate], key: Callable[[MoveCandidate], Hashable]
) -> list[Match]:
    return [
        Match(some_olds[0], some_news[0])
        for some_olds, some_news in _by_key(olds, news, key)
        if len(some_olds) == len(some_news) == 1 and _is_possible(some_olds[0], some_news[0])
    ]


def _nearest(olds: Sequence[MoveCandidate], news: Sequence[MoveCandidate]) -> list[Match]:
    """Pair files of equal content, as many as there are on both sides.

    The order is: same path below the roots, same path ignoring case, same name, same name ignoring case, any.
    """
    found: list[Match] = []
    for key in (_path, _folded_path, _name, _folded_name, _anything):
        for some_olds, some_news in list(_by_key(olds, news, key)):
            found += _by_suffix(some_olds, some_news)
        olds, news = _left(olds, news, found)
    return found


def _path(file: MoveCandidate) -> Hashable:
    return file.logical, file.name


def _folded_path(file: MoveCandidate) -> Hashable:
    return folded(file.logical), folded(file.name)


def _name(file: MoveCandidate) -> Hashable:
    return file.name


def _folded_name(file: MoveCandidate) -> Hashable:
    return folded(file.name)


def _anything(_: MoveCandidate) -> Hashable:
    return ()


def _by_suffix(olds: Sequence[MoveCandidate], news: Sequence[MoveCandidate]) -> list[Match]:
    """Pair files by the longest common suffix of their folders' paths, until there is nothing left on one side."""
    if len(olds) == len(news) == 1:
        return [Match(olds[0], news[0])]
    parts = {file.id: parts_of(file.folder) for file in (*olds, *news)}
    found: list[Match] = []
    deepest = min(max(len(parts[file.id]) for file in side) for side in (olds, news))
    for length in range(deepest, -1, -1):

        def suffix(file: MoveCandidate, length: int = length) -> Hashable:
            return parts[file.id][:length]

        def order(file: MoveCandidate, length: int = length) -> tuple[object, ...]:
            # If one folder is inside the other, the deeper file has moved from the deeper place.
            depth = -len(parts[file.id]) if length else 0
            return depth, not file.is_marked, parts[file.id][::-1], file.name, file.id

        for some_olds, some_news in list(_by_key(olds, news, suffix)):
            # One side may have more.
            found += map(Match, sorted(some_olds, key=order), sorted(some_news, key=order))
        olds, news = _left(olds, news, found)
        if not olds or not news:
            break
    return found


def parts_of(folder: str) -> tuple[str, ...]:
    """Return the parts of a folder's path on any system, case-folded, the innermost first."""
    return tuple(reversed(re.split(r"[\\/]", folded(folder))))


def _left(
    olds: Sequence[MoveCandidate], news: Sequence[MoveCandidate], found: Iterable[Match]
) -> tuple[list[MoveCandidate], list[MoveCandidate]]:
    taken = {file.id for pair in found for file in pair}
    return [file for file in olds if file.id not in taken], [file for file in news if file.id not in taken]


def _by_key(
    olds: Iterable[MoveCandidate], news: Iterable[MoveCandidate], key: Callable[[MoveCandidate], Hashable]
) -> Iterator[tuple[list[MoveCandidate], list[MoveCandidate]]]:
    """Yield the files of each key that both sides have; a file whose key is None is left out."""
    by_key: defaultdict[Hashable, tuple[list[MoveCandidate], list[MoveCandidate]]] = defaultdict(lambda: ([], []))
    for side, files in enumerate((olds, news)):
        for file in files:
            by_key[key(file)][side].append(file)
    return (sides for value, sides in by_key.items() if value is not None and all(sides))
