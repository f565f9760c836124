"""Find files that may have moved, have ``match`` pair them, and give the assets their files.

Each function here gathers the candidates of one occasion: the end of a scan, new files while the disk is followed,
contents that have just been read. All of them end in ``apply``. ``user_data`` tells what a user has set on an asset,
``add_new`` makes new assets of files that are none so far.
"""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from ..db import files, moves, tags
from ..db.connection import Database, Transaction
from ..db.files import FileGroup, NewFileRow, Position
from ..db.moves import MoveCandidate
from ..db.tags import TagSet
from ..fs.paths import path_state
from ..ids import now_ms
from ..models import AssetEdit, FileStat
from ..names import split_suffix
from .media.mime import guess_mime
from .move_matching import Match, identity, match
from .roots import Place, Roots, present_names

# The folder, below the one it was in, of a missing file whose path another file has now. No walk enters hidden folders.
_REPLACED_FOLDER = ".replaced"


class ChangedPath(NamedTuple):
    """A known path, by the id of its asset, where a file of another size or time lies than before."""

    id: int
    was: FileStat
    now: FileStat


@dataclass
class MoveResult:
    """Result of applying matches.

    ``moved`` assets have the file of a new asset now, and those ``arrived`` (ids) a file at a path that was another
    asset's. ``changed`` files were written over, ``created`` ones are new at known paths, and ``missing`` ones have
    lost their path to another file. ``undecided`` are paths that must be examined together before they can be matched.
    """

    moved: int = 0
    arrived: list[int] = field(default_factory=list)
    changed: int = 0
    created: int = 0
    missing: int = 0
    undecided: list[str] = field(default_factory=list)


async def match_listed(
    tx: Transaction, changed: Sequence[ChangedPath], after_id: int, gone: Iterable[int], roots: Roots
) -> MoveResult:
    """Match missing files, and the former files of changed paths, with what a scan has found.

    The store has the rows of new files by now, added after ``after_id``, and the missing marks of those ``gone`` (ids)
    since the last scan. What a user deleted stays deleted at its new path.
    """
    known = await moves.by_id(tx, [path.id for path in changed]) if changed else []
    alike = await moves.of_look(tx, (stat for path in changed for stat in (path.was, path.now))) if changed else []
    olds, news = await moves.missing_and_new(tx, after_id) if await files.any_missing(tx) else ([], [])
    if not (known or olds):
        return MoveResult()
    recent = frozenset(gone)

    def work() -> tuple[list[Match], list[MoveCandidate], list[str]]:
        sides = _Sides(changed, known, after_id, recent, roots)
        sides.add((*alike, *olds, *news))
        return match(sides.gone.values(), sides.new.values()), sides.changed, sides.undecided

    # A renamed folder moves thousands of files: too much to work through on the event loop.
    matches, paths, undecided = await asyncio.to_thread(work)
    result = await apply(tx, matches, roots, paths)
    result.undecided = undecided
    return result


class _Sides:
    """The candidates of both sides at the end of a scan, by id. Blocks."""

    def __init__(
        self,
        changed: Iterable[ChangedPath],
        known: Iterable[MoveCandidate],
        after_id: int,
        recent: frozenset[int],
        roots: Roots,
    ) -> None:
        rows = {file.id: file for file in known}
        # Leave out paths to whose rows a job or an upload has written meanwhile.
        self._paths = {p.id: p for p in changed if p.id in rows and rows[p.id].stat == p.was}
        self._after_id, self._recent = after_id, recent
        self._has_vanished = _absence(roots)
        self.undecided: list[str] = []
        self.gone = {i: _former(rows[i]) for i in self._paths}
        # Negative ids are those of files without a row: what is at a known path now has none yet.
        self.new = {-i: _present(rows[i], path.now) for i, path in self._paths.items()}

    @property
    def changed(self) -> list[MoveCandidate]:
        """The files that are at known paths now."""
        return [file for file in self.new.values() if file.replaces is not None]

    def add(self, found: Iterable[MoveCandidate]) -> None:
        """Add missing and new files, and those that have vanished from a path that was not examined."""
        # What is at a changed path now may be a file that had another path until a moment ago.
        at = {identity(path.now) for path in self._paths.values()} - {None}
        waiting: list[MoveCandidate] = []
        for file in found:
            if file.id in self._paths:
                continue
            if file.is_missing:
                self.gone[file.id] = _gone(file, is_recent=file.id in self._recent)
            elif identity(file.stat) in at and (is_gone := self._is_gone(file)) is not False:
                if is_gone:
                    self.gone[file.id] = _gone(file, is_recent=True)
                else:
                    waiting.append(file)
            elif file.id > self._after_id and user_data(file).is_empty:
                self.new[file.id] = file
        self._defer(waiting)

    def _is_gone(self, file: MoveCandidate) -> bool | None:
        """Return whether a file is gone from its path; None if that holds another one now."""
        if self._has_vanished(file):
            return True
        look = path_state(os.path.join(file.folder, file.name))  # noqa: PTH118
        return False if look in (file.stat, None) else None  # None: out of reach, so nothing is known of it

    def _defer(self, waiting: Iterable[MoveCandidate]) -> None:
        """Leave out changed paths that hold a file of a path that has changed as well, but was not examined.

        Paths that hold the former file of one left out are left out too.
        """
        queue = [(identity(file.stat), file.folder, file.name) for file in waiting]
        for look, folder, name in queue:
            for i in [i for i, path in self._paths.items() if identity(path.now) == look]:
                del self._paths[i]
                del self.new[-i]
                file = self.gone.pop(i)
                self.undecided += [os.path.join(file.folder, file.name), os.path.join(folder, name)]  # noqa: PTH118
                queue.append((identity(file.stat), file.folder, file.name))


def _gone(file: MoveCandidate, *, is_recent: bool) -> MoveCandidate:
    return file._replace(is_recent=is_recent, is_marked=_is_marked(file))


def _former(file: MoveCandidate) -> MoveCandidate:
    """Return the former file of a changed path. One that was missing before is not what has come to its name."""
    return file._replace(is_recent=not file.is_missing, is_marked=_is_marked(file), keeps_path=not file.is_missing)


def _present(file: MoveCandidate, now: FileStat) -> MoveCandidate:
    """Return the file that is at a known path now, of which nothing is known."""
    size, mtime_ns, inode = now
    return MoveCandidate(-file.id, size, mtime_ns, inode, file.folder, file.logical, file.name, replaces=file.id)


def _is_marked(file: MoveCandidate) -> bool:
    return file.is_used or not user_data(file).is_empty


def _absence(roots: Roots) -> Callable[[MoveCandidate], bool]:
    """Return a function that tells whether a file is definitely not at its path any more."""
    walk_roots = roots.walk_roots()
    names_in = lru_cache(maxsize=None)(lambda folder: present_names(folder, roots, walk_roots))

    def is_gone(file: MoveCandidate) -> bool:
        names = names_in(file.folder)
        return names is not None and file.name not in names

    return is_gone


async def match_written(
    tx: Transaction,
    changed: Sequence[ChangedPath],
    roots: Roots,
    keeps_path: Callable[[MoveCandidate], bool] = lambda _: True,
) -> set[int]:
    """Match the former files of paths that were just written with the present ones; return the assets that stay (ids).

    ``keeps_path`` tells of a former file, whose marks are known, whether the present one may be that, written over.
    """
    if not changed:
        return set()
    known = {file.id: file for file in await moves.by_id(tx, [path.id for path in changed])}

    def work() -> tuple[list[Match], list[MoveCandidate]]:
        gone = [_former(file) for file in known.values()]
        new = [_present(known[path.id], path.now) for path in changed if path.id in known]
        return match([file._replace(keeps_path=keeps_path(file)) for file in gone], new), new

    matches, paths = await asyncio.to_thread(work)
    await apply(tx, matches, roots, paths)
    return {m.gone.id for m in matches if m.is_in_place}


async def match_upload(tx: Transaction, lost: Sequence[int], file: MoveCandidate) -> Match | None:
    """Match an uploaded file, which has no row yet, with assets (ids) of its content whose files are missing."""
    if not lost:
        return None
    gone = [_gone(each, is_recent=False) for each in await moves.by_id(tx, lost)]
    new = [file._replace(content_id=each.content_id, is_decided=True) for each in gone[:1]]
    return next(iter(match(gone, new)), None)


async def match_unlisted(
    tx: Transaction, new: Mapping[Position, tuple[Place, FileStat]], roots: Roots
) -> dict[Position, Match]:
    """Match new files that have no rows yet with files that have just gone, before anybody sees these missing."""
    if not new:
        return {}
    alike = await moves.of_look(tx, (stat for _, stat in new.values()))

    def work() -> dict[Position, Match]:
        is_gone = _absence(roots)
        gone = [_gone(file, is_recent=True) for file in alike if not file.is_missing and is_gone(file)]
        if not gone:
            return {}
        found = {
            -number: MoveCandidate(-number, *stat, folder, place.logical, name)
            for number, ((folder, name), (place, stat)) in enumerate(new.items(), 1)
        }
        return {(m.new.folder, m.new.name): m for m in match(gone, found.values())}

    return await asyncio.to_thread(work)


async def apply_listed(tx: Transaction, matches: Mapping[Position, Match], roots: Roots) -> int:
    """Apply matches of files that had no rows and have some now; return their number."""
    if not matches:
        return 0
    rows = await files.by_position(tx, list(matches))
    found = [matches[at]._replace(new=matches[at].new._replace(id=row.id)) for at, row in rows.items()]
    return (await apply(tx, found, roots)).moved


async def match_contents(tx: Transaction, read: Sequence[int], roots: Roots) -> int:
    """Match missing files with files that were ``read`` for the first time; return the number of matches.

    Files that an unread file of their size might equal become pending matches.
    """
    await moves.note_pending(tx, read)
    return await _match_decided(tx, await moves.decidable(tx, read), roots)


async def match_pending(db: Database, roots: Roots) -> int:
    """Match all pending files, once everything has been read; return the number of matches."""
    moved = 0
    while True:
        # A transaction for each batch, between which other writers get their turn.
        async with db.transaction() as tx:
            contents = await moves.pending_contents(tx)
            if not contents:
                await moves.drop_all_pending(tx)
                return moved
            moved += await _match_decided(tx, contents, roots)


async def _match_decided(tx: Transaction, contents: Sequence[int], roots: Roots) -> int:
    if not contents:
        return 0
    olds, news = await moves.of_contents(tx, contents)

    def work() -> list[Match]:
        gone = [_gone(file, is_recent=False) for file in olds]
        return match(gone, [file._replace(is_decided=True) for file in news if user_data(file).is_empty])

    result = await apply(tx, await asyncio.to_thread(work), roots)
    await moves.drop_pending(tx, contents)
    return result.moved


async def apply(
    tx: Transaction, matches: Sequence[Match], roots: Roots, changed: Iterable[MoveCandidate] = ()
) -> MoveResult:
    """Give assets the files that they were matched with. ``changed`` are all the new files at known paths.

    An asset keeps its id, tags and metadata. The tags of its path follow the file, and so does its name unless a user
    has set another. A file at a known path that is not the former one, written over, becomes a new asset first.
    """
    in_place = [m for m in matches if m.is_in_place]
    elsewhere = [m for m in matches if not m.is_in_place]
    staying = {m.new.replaces for m in in_place}
    displaced = [file for file in changed if file.replaces not in staying]
    # First, because a file at a known path needs a row of its own before another asset can adopt it.
    rows = await _add_displacing(tx, displaced, roots)
    await _adopt(tx, [(m.gone, m.new._replace(id=rows.get(m.new.id, m.new.id))) for m in elsewhere], roots)
    # A match by name or time alone may be another file of the same look, so its content is read to be sure.
    await moves.read_again(tx, [m.gone.id for m in elsewhere if not m.is_certain])
    if in_place:
        await files.mark_changed(tx, [(m.gone.id, *m.new.stat) for m in in_place], now_ms())
        await files.mark_present(tx, [m.gone.id for m in in_place if m.gone.is_missing])
    found = {m.gone.id for m in elsewhere}
    missing = await _park(tx, [file for file in displaced if file.replaces not in found], roots)
    arrived = [m.gone.id for m in elsewhere if m.new.replaces is not None]
    return MoveResult(len(elsewhere) - len(arrived), arrived, len(in_place), len(displaced) - len(arrived), missing)


async def _add_displacing(tx: Transaction, files_at: Sequence[MoveCandidate], roots: Roots) -> dict[int, int]:
    """Make assets of files at the paths of others, which lose these; return the rows' ids by those of the files."""
    if not files_at:
        return {}
    slots = await files.vacate(tx, [file.replaces for file in files_at if file.replaces is not None])
    await add_new(
        tx, [NewFile(*slots[f.replaces], _place(f.folder, roots), f.stat) for f in files_at if f.replaces is not None]
    )
    rows = await files.by_position(tx, [(file.folder, file.name) for file in files_at])
    return {file.id: rows[file.folder, file.name].id for file in files_at}


class NewFile(NamedTuple):
    """A file whose content is not known yet, in a folder given by its row id."""

    folder_id: int
    name: str
    place: Place
    stat: FileStat


async def add_new(tx: Transaction, found: Iterable[NewFile]) -> None:
    """Add files as new assets. There must be no rows at their paths yet."""
    tagged = [(file, TagSet("", file.place.tags_of(file.name))) for file in found]
    sets = await tags.intern_all(tx, {wanted for _, wanted in tagged})
    groups: dict[FileGroup, int] = {}
    rows: list[NewFileRow] = []
    for file, wanted in tagged:
        group = FileGroup(file.folder_id, sets[wanted], guess_mime(file.name))
        at = groups.setdefault(group, len(groups))
        rows.append((at, file.name, file.name.casefold(), *file.stat))
    if rows:
        await files.insert_new(tx, list(groups), rows, now_ms())


async def _park(tx: Transaction, displaced: Iterable[MoveCandidate], roots: Roots) -> int:
    """Mark assets missing that have lost their paths to other files; return how many were not marked yet."""
    missing = 0
    by_folder: dict[Path, dict[int, str]] = {}
    for file in displaced:
        if file.replaces is not None:
            by_folder.setdefault(Path(file.folder) / _REPLACED_FOLDER, {})[file.replaces] = file.name
    for folder, names in by_folder.items():
        missing += await files.park(tx, _place(folder, roots).folder_row(folder), names)
    return missing


def _place(folder: Path | str, roots: Roots) -> Place:
    place = roots.place(Path(folder))
    if place is None:
        raise LookupError("a folder that was listed is no part of the library")
    return place


async def _adopt(tx: Transaction, pairs: Sequence[tuple[MoveCandidate, MoveCandidate]], roots: Roots) -> None:
    """Give old assets the files of new ones, with the tags, names and types that these paths ask for."""
    place_of = lru_cache(maxsize=None)(lambda folder: roots.place(Path(folder)))
    pairs = sorted(pairs, key=lambda pair: pair[1].id)  # neighbours in the store: each batch writes few pages
    # While paths are exchanged, some files have no name: all in one batch then.
    size = len(pairs) if any(new.replaces for _, new in pairs) else files.BATCH
    for first in range(0, len(pairs), size or 1):
        if first:
            await tx.pause()  # a renamed folder: other writers get in between
        await _adopt_batch(tx, pairs[first : first + size], place_of)


async def _adopt_batch(
    tx: Transaction, pairs: Sequence[tuple[MoveCandidate, MoveCandidate]], place_of: Callable[[str], Place | None]
) -> None:
    await moves.adopt_files(tx, {new.id: old.id for old, new in pairs})
    updates = await asyncio.to_thread(_Updates, pairs, place_of)
    for (former, wanted), ids in updates.tags.items():
        await tags.replace_place_tags(tx, ids, msgspec.json.decode(former, type=list[str]), wanted)
    await moves.rename_assets(tx, updates.names)
    await moves.set_types(tx, updates.types)
    if updates.with_other_suffix:
        await moves.read_unknown_again(tx, updates.with_other_suffix)


class _Updates:
    """Changes to assets whose files have moved: ids by former categories (JSON) and new tags, new names, new types.

    The type of a file ``with_other_suffix`` (ids) may have been unknown because of its former name.
    """

    def __init__(
        self, pairs: Iterable[tuple[MoveCandidate, MoveCandidate]], place_of: Callable[[str], Place | None]
    ) -> None:
        self.tags: dict[tuple[str, tuple[str, ...]], list[int]] = defaultdict(list)
        self.names: list[tuple[int, str]] = []
        self.types: list[tuple[int, str]] = []
        self.with_other_suffix: list[int] = []
        for old, new in pairs:
            place = place_of(new.folder)
            self.tags[old.categories, place.tags_of(new.name) if place else ()].append(old.id)
            if old.asset_name == old.name != new.name:
                self.names.append((old.id, new.name))
            if (mime_type := _type_at(old, new)) != old.mime_type:
                self.types.append((old.id, mime_type))
            if split_suffix(old.name)[1].lower() != split_suffix(new.name)[1].lower():
                self.with_other_suffix.append(old.id)


def _type_at(old: MoveCandidate, new: MoveCandidate) -> str:
    """Return the type of a file that has moved: given by its content, by a user, or else by its name."""
    if new.content_id is not None and old.content_id not in (None, new.content_id):
        return new.mime_type
    is_guessed = old.content_type is None and old.mime_type == guess_mime(old.name)
    if not is_guessed:
        return old.mime_type
    return new.mime_type if new.content_id is not None and old.content_id is None else guess_mime(new.name)


class UserData(NamedTuple):
    """The edit that gives another asset the same data, and the tags that users have added.

    ``is_collected``: a user has put the asset into a collection, where ``db.moves.adopt_files`` gives its place to
    another one.
    """

    edit: AssetEdit
    tags: frozenset[str]
    is_collected: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether no user has set anything."""
        return self.edit == AssetEdit() and not self.tags and not self.is_collected


def user_data(row: MoveCandidate) -> UserData:
    """Return what users have set on an asset. A name or a type that comes from the file does not count.

    Whatever merges or drops rows of assets must ask this first, so that nothing a user made is lost with a row.
    """
    edit = row.members
    if edit.name == row.name:
        edit = replace(edit, name=None)
    # Once the content is known, the type may come from that instead of the name.
    if row.content_id is not None or edit.mime_type == guess_mime(row.name):
        edit = replace(edit, mime_type=None)
    given = frozenset[str]() if row.user_tags is None else _given_tags(row.user_tags, row.categories)
    return UserData(edit, given, row.is_collected)


def _given_tags(user_tags: str, categories: str) -> frozenset[str]:
    """Return the users' tags (a JSON array) without categories of the path, which the migration may have left there."""
    found = msgspec.json.decode(user_tags, type=frozenset[str])
    return found - tags.place_tags(found, msgspec.json.decode(categories, type=list[str]))
