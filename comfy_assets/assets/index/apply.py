"""Compare folder listings with the store, and apply the differences.

``reconcile`` and ``defer_unstable`` decide for one folder and are pure. ``write`` does so for many, in a transaction of
its caller.
"""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from blake3 import blake3

from ...db import files, sidecars, tags
from ...db.connection import Transaction
from ...db.files import FileGroup, FolderRow, NewFileRow, Position
from ...db.sql import Row
from ...db.tags import TagSet
from ...fs.paths import COARSE_TICK_NS, extended_path, is_replaced
from ...ids import new_ids, now_ms
from ...models import FileStat
from ..media.mime import guess_mime
from ..move_matching import Match
from ..moves import ChangedPath, apply_listed, match_unlisted
from ..roots import Place, Roots, present_names
from .walker import FolderListing, WalkReport

# Sorted: the fingerprint of a folder must not depend on the order in which the disk lists its files.
_encoder = msgspec.msgpack.Encoder(order="deterministic")

# Tells whether a path is stable in this state, or in its absence (None).
StabilityCheck = Callable[[str, FileStat | None], bool]


class KnownFile(NamedTuple):
    """A file row: id, recorded stat, missing mark, and ``name`` for callers that need it."""

    id: int
    stat: FileStat
    missing: bool
    name: str = ""


@dataclass
class FileChanges:
    """Changes that bring the rows of a folder in step with the disk.

    ``new`` files by name; ``changed`` ones have another size or time than recorded, or have been replaced by a file
    that has another inode alone; ``back`` ones were missing and match their record; ``renumbered`` ones differ in inode
    only; ``gone`` ones are not on the disk any more.
    """

    new: dict[str, FileStat] = field(default_factory=dict)
    changed: list[tuple[KnownFile, FileStat]] = field(default_factory=list)
    back: list[tuple[KnownFile, FileStat]] = field(default_factory=list)
    renumbered: list[tuple[KnownFile, FileStat]] = field(default_factory=list)
    gone: list[KnownFile] = field(default_factory=list)


_Known = dict[str, dict[str, KnownFile]]  # by folder and name


@dataclass
class ScanProgress:
    """Progress of a scan; counts of files unless noted."""

    scanned: int = 0
    created: int = 0
    changed: int = 0
    missing: int = 0
    returned: int = 0
    moved: int = 0
    folders: int = 0
    problems: int = 0
    problem_details: list[dict[str, str]] = field(default_factory=list)
    deferred: list[str] = field(default_factory=list)  # paths to be scanned again, together

    def tell(self, report: WalkReport) -> None:
        """Take over what could not be listed."""
        self.problems = report.problems
        self.problem_details = [problem.as_dict() for problem in report.first]

    def as_dict(self) -> dict[str, Any]:
        """Return JSON members."""
        return {name: value for name, value in vars(self).items() if name != "deferred"}

    def differences(self) -> dict[str, int]:
        """Return the numbers of changed assets as JSON members; a moved one counts only as moved."""
        counts = {
            "created": self.created - self.moved,
            "changed": self.changed,
            "missing": self.missing,
            "returned": self.returned,
            "moved": self.moved,
        }
        return {name: count for name, count in counts.items() if count > 0}


@dataclass
class ScanFindings:
    """Changes that are decided at the end of a scan: ``gone`` files, and known paths that hold another file.

    ``changed_names`` are the names of the latter by folder.
    """

    gone: list[GoneFile] = field(default_factory=list)
    changed: list[ChangedPath] = field(default_factory=list)
    changed_names: dict[str, set[str]] = field(default_factory=dict)


class GoneFile(NamedTuple):
    """A file that has a row but was not seen in its folder."""

    folder: str
    name: str
    id: int


@dataclass(frozen=True)
class FolderUpdate:
    """A folder that may differ from the store. ``former`` are its categories before, if they have changed."""

    listing: FolderListing
    place: Place
    row: FolderRow
    former: tuple[str, ...] | None
    is_known: bool


class NewGroup(NamedTuple):
    """A folder, tags and media type that new files share."""

    folder: str
    tags: tuple[str, ...]
    mime_type: str


class NewFiles(NamedTuple):
    """New files in the order of their times, the groups that they name by index, and the ids of their assets."""

    groups: list[NewGroup]
    rows: list[NewFileRow]
    ids: list[str]


class FolderUpdates(NamedTuple):
    """Folders of a batch that may differ from the store.

    ``new`` are all files of those that are not known, made ready to insert while the folders before are written. They
    hold only if the store has none of the files by then.
    """

    folders: list[FolderUpdate]
    new: NewFiles


def changed_folders(batch: list[FolderListing], roots: Roots, described: dict[str, FolderRow]) -> FolderUpdates:
    """Return the folders of a batch that differ from the store, or may do so."""
    work: list[FolderUpdate] = []
    for listing in batch:
        place = roots.place(Path(listing.path))
        if place is None:
            continue
        row = _row(listing, place)
        before = described.get(listing.path)
        if listing.only is not None:
            work.append(FolderUpdate(listing, place, row, None, is_known=True))
        elif before is None or before != msgspec.structs.replace(row, mtime_ns=before.mtime_ns):
            moved = before is None or before.place_key != row.place_key
            former = _former(before) if moved else None
            work.append(FolderUpdate(listing, place, row, former, is_known=before is not None))
    return FolderUpdates(work, _new_files((item, item.listing.files) for item in work if not item.is_known))


def _row(listing: FolderListing, place: Place) -> FolderRow:
    if listing.only is not None:
        return place.folder_row(listing.path)
    fingerprint = blake3(_encoder.encode((listing.files, listing.unknown))).digest(16)
    return msgspec.structs.replace(place.folder_row(listing.path, fingerprint), mtime_ns=listing.stamp.listed_ns)


def _former(before: FolderRow | None) -> tuple[str, ...] | None:
    return None if before is None else tuple(msgspec.json.decode(before.categories, type=list[str]))


def reconcile(known: dict[str, KnownFile], seen: dict[str, FileStat]) -> FileChanges:
    """Return the changes that turn ``known`` rows into ``seen`` files."""
    changes = FileChanges()
    if not known:
        changes.new.update(seen)
        return changes
    for name, stat in seen.items():
        row = known.get(name)
        if row is None:
            changes.new[name] = stat
        elif row.stat[:2] != stat[:2]:
            changes.changed.append((row, stat))
        elif row.missing:
            changes.back.append((row, stat))
        elif row.stat[2] != stat[2]:
            changes.renumbered.append((row, stat))
    changes.gone = [row for name, row in known.items() if name not in seen and not row.missing]
    return changes


def defer_unstable(changes: FileChanges, is_stable: StabilityCheck) -> bool:
    """Remove changes that are not stable yet; return whether there were any. ``is_stable`` gets the files' names."""
    new = {name: stat for name, stat in changes.new.items() if is_stable(name, stat)}
    changed = [(row, stat) for row, stat in changes.changed if is_stable(row.name, stat)]
    gone = [row for row in changes.gone if is_stable(row.name, None)]
    held = (len(new), len(changed), len(gone)) != (len(changes.new), len(changes.changed), len(changes.gone))
    changes.new, changes.changed, changes.gone = new, changed, gone
    return held


async def write(
    tx: Transaction,
    updates: FolderUpdates,
    roots: Roots,
    progress: ScanProgress,
    found: ScanFindings,
    is_stable: StabilityCheck | None = None,
    unrecorded_since: Callable[[], int | None] | None = None,
    *,
    is_multi_user: bool = False,
) -> None:
    """Apply the changes of folders, compared with the store inside the transaction.

    With ``is_stable``, unstable changes are left for later, and files that have just moved are matched at once.
    So are files in the output folder that an unrecorded job may have written (``unrecorded_since``, ms). With
    ``is_multi_user``, new names of users' own files belong to these users.
    Changes that depend on the rest of the scan are added to ``found``.
    """
    work = updates.folders
    whole = [item for item in work if item.listing.only is None]
    await _retag(tx, whole)
    rows = await files.known_files(tx, [item.listing.path for item in whole])
    named = await _known_at(tx, [item.listing for item in work if item.listing.only is not None])
    # What follows runs in threads: a batch has thousands of files, and the event loop serves requests meanwhile. Each
    # change to a thread may wait for the interpreter lock, though, behind the thread that walks.
    known, changes = await asyncio.to_thread(_compare, work, rows, named)
    await _separate_replaced(tx, work, changes)
    origins: dict[Position, Match] = {}
    held: set[str] = set()
    if is_stable is not None:
        origins = await match_unlisted(tx, await asyncio.to_thread(_new_files_at, work, changes), roots)
        held = await asyncio.to_thread(_defer_unstable_files, work, changes, is_stable, origins)
    # Inside the transaction: the rows read above include the files of every job that is recorded by now.
    since = unrecorded_since() if unrecorded_since is not None else None
    if since is not None:
        held |= await asyncio.to_thread(_defer_outputs, work, changes, since, progress, roots)
    grown = [
        (item.listing.path, change)
        for item, change in zip(work, changes, strict=True)
        if change.new and known.get(item.listing.path)
    ]
    if grown:
        await asyncio.to_thread(_drop_vanished, grown, roots)
    await _store(tx, updates, changes, held)
    if is_multi_user:
        await give_to_owners(tx, _written(work, changes), roots)
    progress.moved += await apply_listed(tx, origins, roots)
    await sidecars.link_noted(tx)
    for item, change in zip(work, changes, strict=True):
        progress.created += len(change.new)
        progress.returned += len(change.back)
        found.gone += [GoneFile(item.listing.path, row.name, row.id) for row in change.gone]
        found.changed += [ChangedPath(row.id, row.stat, stat) for row, stat in change.changed]
        if change.changed:
            found.changed_names.setdefault(item.listing.path, set()).update(row.name for row, _ in change.changed)


def _compare(work: Sequence[FolderUpdate], rows: list[Row], named: _Known) -> tuple[_Known, list[FileChanges]]:
    """Return the known files, of these rows and ``named``, and how the listings differ from them."""
    known: _Known = defaultdict(dict)
    for path, name, size, mtime_ns, inode, file_id, missing in rows:
        known[path][name] = KnownFile(file_id, (size, mtime_ns, inode), bool(missing), name)
    known.update(named)
    return known, [_changes(known.get(item.listing.path, {}), item.listing) for item in work]


async def _known_at(tx: Transaction, listings: Sequence[FolderListing]) -> _Known:
    """Return the rows of the names that were listed."""
    known: _Known = defaultdict(dict)
    positions = [(listing.path, name) for listing in listings for name in listing.only or ()]
    if positions:
        for (folder, name), row in (await files.by_position(tx, positions)).items():
            known[folder][name] = KnownFile(row.id, row.stat, row.missing, name)
    return known


def _changes(known: dict[str, KnownFile], listing: FolderListing) -> FileChanges:
    """Diff a folder; a file that could not be examined keeps its state."""
    looked_at = {n: row for n, row in known.items() if n not in listing.unknown} if listing.unknown else known
    return reconcile(looked_at, listing.files)


async def _separate_replaced(tx: Transaction, work: Sequence[FolderUpdate], changes: list[FileChanges]) -> None:
    """Move files whose inodes tell that they have been replaced to the changed ones."""
    found = [(item.listing, change) for item, change in zip(work, changes, strict=True) if _has_other_inode(change)]
    if not found:
        return
    times = await files.folder_times(tx, [listing.path for listing, _ in found])

    def separate() -> None:
        for listing, change in found:
            for pairs in (change.renumbered, change.back):
                replaced = [pair for pair in pairs if _is_replaced(listing, *pair, times.get(listing.path))]
                pairs[:] = [pair for pair in pairs if pair not in replaced]
                change.changed += replaced

    await asyncio.to_thread(separate)


def _has_other_inode(change: FileChanges) -> bool:
    return any(row.stat[2] != stat[2] for row, stat in (*change.renumbered, *change.back))


def _is_replaced(listing: FolderListing, row: KnownFile, stat: FileStat, listed_ns: int | None) -> bool:
    """Return whether the file at a path is another one than the row's. Blocks, with a stat call if that is likely."""
    folder_ns = listing.stamp.mtime_ns
    if listed_ns in (None, folder_ns) or 0 in (row.stat[2], stat[2]) or row.stat[2] == stat[2]:
        return False
    try:
        info = extended_path(listing.path, row.name).stat()
    except OSError:
        return False  # gone again: the next look at the folder decides
    return is_replaced(info, row.stat[2], folder_ns, listed_ns)


def _new_files_at(work: Sequence[FolderUpdate], changes: list[FileChanges]) -> dict[Position, tuple[Place, FileStat]]:
    found = zip(work, changes, strict=True)
    return {
        (item.listing.path, name): (item.place, stat) for item, change in found for name, stat in change.new.items()
    }


def _defer_unstable_files(
    work: Sequence[FolderUpdate],
    changes: list[FileChanges],
    is_stable: StabilityCheck,
    origins: dict[Position, Match],
) -> set[str]:
    """Remove unstable changes; return the folders that had any."""
    held: set[str] = set()
    for item, change in zip(work, changes, strict=True):
        folder = item.listing.path

        def may_apply(name: str, stat: FileStat | None, folder: str = folder) -> bool:
            return (folder, name) in origins or is_stable(os.path.join(folder, name), stat)  # noqa: PTH118

        if defer_unstable(change, may_apply):
            held.add(folder)
    return held


def _defer_outputs(
    work: Sequence[FolderUpdate], changes: list[FileChanges], since: int, progress: ScanProgress, roots: Roots
) -> set[str]:
    """Remove changes of output files written after ``since`` (ms); return the folders that had any. Blocks."""
    first_ns = since * 1_000_000 - COARSE_TICK_NS  # a file system may round times down
    deferred: set[str] = set()
    for item, change in zip(work, changes, strict=True):
        if not (change.new or change.changed) or not _holds_outputs(item, roots):
            continue
        folder = item.listing.path
        names = [name for name, stat in change.new.items() if stat[1] >= first_ns]
        names += [row.name for row, stat in change.changed if stat[1] >= first_ns]
        for name in names:
            change.new.pop(name, None)
        change.changed = [(row, stat) for row, stat in change.changed if stat[1] < first_ns]
        if names:
            deferred.add(folder)
            progress.deferred += [os.path.join(folder, name) for name in names]  # noqa: PTH118
    return deferred


def _holds_outputs(item: FolderUpdate, roots: Roots) -> bool:
    """Return whether a folder is an output folder, also one that is reached by a link."""
    if item.place.kind != "models":
        return item.place.kind == "output"
    places = map(roots.place, roots.other_names(Path(item.listing.path)))
    return any(place is not None and place.kind == "output" for place in places)


async def give_to_owners(tx: Transaction, written: Mapping[str, set[str]], roots: Roots) -> None:
    """Give other names of users' own files to these users: a link must not show them to others.

    ``written`` are names of files that are new or have changed, by folder.
    """

    def other_names() -> list[tuple[str, str]]:
        return [(path, str(other)) for path in written for other in roots.other_names(Path(path))]

    for folder, other in await asyncio.to_thread(other_names):
        owners = await files.owners_in(tx, other)
        rows = await files.by_position(tx, [(folder, name) for name in written[folder] if name in owners])
        for owner in {owners[name] for _, name in rows}:
            await tags.give_public(tx, [row.id for (_, name), row in rows.items() if owners[name] == owner], owner)


def _written(work: Sequence[FolderUpdate], changes: list[FileChanges]) -> dict[str, set[str]]:
    """Return the names of files that are new, or not what they were, by folder."""
    names = (
        (item.listing.path, {*change.new, *(row.name for row, _ in (*change.changed, *change.back))})
        for item, change in zip(work, changes, strict=True)
    )
    return {path: found for path, found in names if found}


def _drop_vanished(grown: Iterable[tuple[str, FileChanges]], roots: Roots) -> None:
    """Drop new files that are gone again since they were listed: the API may have moved them to the trash.

    That can be in known folders (``grown``, by their paths) alone.
    """
    walk_roots = roots.walk_roots()
    for path, change in grown:
        there = present_names(path, roots, walk_roots)
        if there is not None:
            change.new = {name: stat for name, stat in change.new.items() if name in there}


async def _store(tx: Transaction, updates: FolderUpdates, changes: list[FileChanges], held: set[str]) -> None:
    """Write rows. A folder with unwritten changes gets no fingerprint, so the next scan compares its files."""
    work = updates.folders
    whole = [item.row for item in work if item.listing.only is None]
    folder_ids = await files.put_folders(tx, whole) if whole else {}
    found = zip(work, changes, strict=True)
    parts = [item.row for item, change in found if item.listing.only is not None and change.new]
    if parts:  # ``add_folders`` removes their fingerprints, because nothing is known of their other files
        folder_ids.update(await files.add_folders(tx, parts))
    await _insert(tx, updates, changes, folder_ids)
    await _update(tx, changes)
    left = {item.listing.path for item, change in zip(work, changes, strict=True) if change.gone or change.changed}
    incomplete = left | held
    await files.set_fingerprints(
        tx, [(row.path, None if row.path in incomplete else row.fingerprint, row.mtime_ns) for row in whole]
    )


async def _insert(
    tx: Transaction, updates: FolderUpdates, changes: list[FileChanges], folder_ids: dict[str, int]
) -> None:
    found = list(zip(updates.folders, changes, strict=True))
    new = updates.new
    if any(len(change.new) != (0 if item.is_known else len(item.listing.files)) for item, change in found):
        new = await asyncio.to_thread(lambda: _new_files((item, change.new) for item, change in found))
    if not new.rows:
        return
    sets = await tags.intern_all(tx, {TagSet("", group.tags) for group in new.groups})
    groups = [
        FileGroup(folder_ids[group.folder], sets[TagSet("", group.tags)], group.mime_type) for group in new.groups
    ]
    await files.insert_new(tx, groups, new.rows, now_ms(), new.ids)


def _new_files(found: Iterable[tuple[FolderUpdate, Mapping[str, FileStat]]]) -> NewFiles:
    """Return the new files of folders. Those of a folder that end alike are a group."""
    groups: list[NewGroup] = []
    rows: list[NewFileRow] = []
    for item, new in found:
        by_suffix: dict[str, int] = {}
        for name, stat in new.items():
            suffix = _suffix(name)
            group = by_suffix.get(suffix)
            if group is None:
                group = by_suffix[suffix] = len(groups)
                sample = f"x{suffix}"
                groups.append(NewGroup(item.listing.path, item.place.tags_of(sample), guess_mime(sample)))
            rows.append((group, name, name.casefold(), *stat))
    rows.sort(key=itemgetter(4))  # mtime_ns
    return NewFiles(groups, rows, new_ids(len(rows)))


def _suffix(name: str) -> str:
    at = name.rfind(".")
    return name[at:] if at >= 0 else ""


async def _update(tx: Transaction, changes: list[FileChanges]) -> None:
    back = [row.id for change in changes for row, _ in change.back]
    if back:
        await files.mark_present(tx, back)
    # A file that is back may have another inode: a remounted network drive assigns new numbers to its files.
    renumbered = [(row.id, stat[2]) for change in changes for row, stat in (*change.renumbered, *change.back)]
    if renumbered:
        await files.renumber(tx, renumbered)


async def _retag(tx: Transaction, work: Sequence[FolderUpdate]) -> None:
    """Replace the path tags of known files in folders whose categories have changed.

    The transaction pauses between batches. The folders' new categories are stored afterwards: if the server is killed
    in between, the next scan does the rest.
    """
    claimed = {item.listing.path: item for item in work if item.former is not None}
    if not claimed:
        return
    alike: dict[tuple[tuple[str, ...], tuple[str, ...]], list[int]] = defaultdict(list)
    for path, name, *_, file_id, _missing in await files.known_files(tx, list(claimed)):
        item = claimed[path]
        alike[item.former or (), item.place.tags_of(name)].append(file_id)
    for (former, wanted), ids in alike.items():
        for first in range(0, len(ids), files.BATCH):
            await tags.replace_place_tags(tx, ids[first : first + files.BATCH], former, wanted)
            await tx.pause()
