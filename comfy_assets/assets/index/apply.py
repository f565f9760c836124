"""Make the store say of folders what their listings say."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from blake3 import blake3

from ...db import files, folders, tags
from ...db.connection import Transaction
from ...db.connection_pool import Row
from ...db.files import NewFiles, Position
from ...db.folders import FolderRow
from ...fs.stat import COARSE_TICK_NS
from ...ids import new_ids, now_ms
from ...models import FileStat
from ..media.mime import guess_mime
from ..moves.apply import ChangedPath, apply_listed, match_unlisted
from ..moves.match import Match
from ..roots import Place, Roots, present_names
from .diff import Changes, KnownFile, hold_back, reconcile
from .insert import folder_row
from .walker import FolderListing

_encoder = msgspec.msgpack.Encoder(order="deterministic")

# Whether what looks like this at a path, or its absence (None), is there to stay.
Judge = Callable[[str, FileStat | None], bool]
_Known = dict[str, dict[str, KnownFile]]  # by folder and name


@dataclass
class ScanProgress:
    """How far a scan is; counts of files unless said otherwise."""

    scanned: int = 0
    created: int = 0
    changed: int = 0
    missing: int = 0
    returned: int = 0
    moved: int = 0
    folders: int = 0
    problems: int = 0
    errors: list[str] = field(default_factory=list)
    unsettled: list[str] = field(default_factory=list)  # paths to be looked at again, together

    def as_dict(self) -> dict[str, Any]:
        """As JSON members."""
        return {name: value for name, value in vars(self).items() if name != "unsettled"}

    def differences(self) -> dict[str, int]:
        """What has become of how many assets, as JSON members; one that moved is only that."""
        counts = {
            "created": self.created - self.moved,
            "changed": self.changed,
            "missing": self.missing,
            "returned": self.returned,
            "moved": self.moved,
        }
        return {name: count for name, count in counts.items() if count > 0}


@dataclass
class Found:
    """What a scan leaves for its end: files that are ``gone``, and places where something else lies than before."""

    gone: list[Gone] = field(default_factory=list)
    altered: list[ChangedPath] = field(default_factory=list)


class Gone(NamedTuple):
    """A file that has a row but was not seen in its folder."""

    folder: str
    name: str
    id: int


@dataclass(frozen=True)
class FolderWork:
    """A folder in which something may differ from the store. ``former`` are the categories it had, if others."""

    listing: FolderListing
    place: Place
    row: FolderRow
    former: tuple[str, ...] | None


def differing(batch: list[FolderListing], roots: Roots, described: dict[str, FolderRow]) -> list[FolderWork]:
    """The folders of the batch that the store does not describe as they are, or may not."""
    work: list[FolderWork] = []
    for listing in batch:
        place = roots.place(Path(listing.path))
        if place is None:
            continue
        row = _row(listing, place)
        before = described.get(listing.path)
        if listing.only is not None:
            work.append(FolderWork(listing, place, row, None))
        elif before != row:
            moved = before is None or before.place_key != row.place_key
            work.append(FolderWork(listing, place, row, _former(before) if moved else None))
    return work


def _row(listing: FolderListing, place: Place) -> FolderRow:
    if listing.only is not None:
        return folder_row(listing.path, place)
    fingerprint = blake3(_encoder.encode((listing.files, listing.unknown))).digest(16)
    return folder_row(listing.path, place, fingerprint)


def _former(before: FolderRow | None) -> tuple[str, ...] | None:
    return None if before is None else tuple(msgspec.json.decode(before.categories, type=list[str]))


async def write(
    tx: Transaction,
    work: Sequence[FolderWork],
    roots: Roots,
    progress: ScanProgress,
    found: Found,
    judge: Judge | None = None,
    unrecorded_since: Callable[[], int | None] | None = None,
) -> None:
    """Apply the changes of these folders, compared with what the store says inside the transaction.

    With a ``judge`` only what is there to stay is applied, and files that have just moved are the same assets at once.
    Files in the output folder that a job may have written which is not recorded yet (``unrecorded_since``, ms) wait.
    What can only be said when all has been looked at is added to ``found``.
    """
    whole = [item for item in work if item.listing.only is None]
    rows = await files.known_files(tx, [item.listing.path for item in whole])
    known = await asyncio.to_thread(_known_files, rows)
    known.update(await _known_at(tx, [item.listing for item in work if item.listing.only is not None]))
    changes = await asyncio.to_thread(lambda: [_changes(known.get(i.listing.path, {}), i.listing) for i in work])
    origins: dict[Position, Match] = {}
    held: set[str] = set()
    if judge is not None:
        origins = await match_unlisted(tx, await asyncio.to_thread(_new_files_at, work, changes), roots)
        held = await asyncio.to_thread(_hold_back, work, changes, judge, origins)
    # Asked within the transaction: a job that is recorded by now has given its files their rows, which were read above.
    since = unrecorded_since() if unrecorded_since is not None else None
    if since is not None:
        held |= await asyncio.to_thread(_defer_outputs, work, changes, since, progress)
    await asyncio.to_thread(_drop_vanished, work, changes, known, roots)
    await _store(tx, work, changes, held)
    await _retag(tx, whole, rows)
    progress.moved += await apply_listed(tx, origins, roots)
    for item, change in zip(work, changes, strict=True):
        progress.created += len(change.new)
        progress.returned += len(change.back)
        found.gone += [Gone(item.listing.path, row.name, row.id) for row in change.gone]
        found.altered += [ChangedPath(row.id, row.stat, stat) for row, stat in change.changed]


def _known_files(rows: list[Row]) -> _Known:
    known: _Known = defaultdict(dict)
    for path, name, size, mtime_ns, inode, file_id, missing in rows:
        known[path][name] = KnownFile(file_id, (size, mtime_ns, inode), bool(missing), name)
    return known


async def _known_at(tx: Transaction, listings: Sequence[FolderListing]) -> _Known:
    """The files known by the names that were looked for."""
    known: _Known = defaultdict(dict)
    positions = [(listing.path, name) for listing in listings for name in listing.only or ()]
    if positions:
        for (folder, name), row in (await files.by_position(tx, positions)).items():
            known[folder][name] = KnownFile(row.id, row.stat, row.missing, name)
    return known


def _changes(known: dict[str, KnownFile], listing: FolderListing) -> Changes:
    """A file that could not be looked at stays as it was known."""
    looked_at = {n: row for n, row in known.items() if n not in listing.unknown} if listing.unknown else known
    return reconcile(looked_at, listing.files)


def _new_files_at(work: Sequence[FolderWork], changes: list[Changes]) -> dict[Position, tuple[Place, FileStat]]:
    found = zip(work, changes, strict=True)
    return {
        (item.listing.path, name): (item.place, stat) for item, change in found for name, stat in change.new.items()
    }


def _hold_back(
    work: Sequence[FolderWork], changes: list[Changes], judge: Judge, origins: dict[Position, Match]
) -> set[str]:
    """Take out what is not to be believed yet; answers the folders in which there was something such."""
    held: set[str] = set()
    for item, change in zip(work, changes, strict=True):
        folder = item.listing.path

        def believe(name: str, stat: FileStat | None, folder: str = folder) -> bool:
            return (folder, name) in origins or judge(os.path.join(folder, name), stat)  # noqa: PTH118

        if hold_back(change, believe):
            held.add(folder)
    return held


def _defer_outputs(work: Sequence[FolderWork], changes: list[Changes], since: int, progress: ScanProgress) -> set[str]:
    """Take out files of the output folder that were written after ``since`` (ms); return the folders of these files."""
    first_ns = since * 1_000_000 - COARSE_TICK_NS
    deferred: set[str] = set()
    for item, change in zip(work, changes, strict=True):
        if item.place.kind != "output":
            continue
        folder = item.listing.path
        names = [name for name, stat in change.new.items() if stat[1] >= first_ns]
        names += [row.name for row, stat in change.changed if stat[1] >= first_ns]
        for name in names:
            change.new.pop(name, None)
        change.changed = [(row, stat) for row, stat in change.changed if stat[1] < first_ns]
        if names:
            deferred.add(folder)
            progress.unsettled += [os.path.join(folder, name) for name in names]  # noqa: PTH118
    return deferred


def _drop_vanished(work: Sequence[FolderWork], changes: list[Changes], known: _Known, roots: Roots) -> None:
    """Forget new files that have gone since they were listed: those that were put there by us may be in the trash."""
    walk_roots = roots.walk_roots()
    for item, change in zip(work, changes, strict=True):
        if change.new and known.get(item.listing.path):
            there = present_names(item.listing.path, roots, walk_roots)
            if there is not None:
                change.new = {name: stat for name, stat in change.new.items() if name in there}


async def _store(tx: Transaction, work: Sequence[FolderWork], changes: list[Changes], held: set[str]) -> None:
    """Write rows. Of a folder whose rows do not say all that its listing does, the next scan compares the files."""
    whole = [item.row for item in work if item.listing.only is None]
    folder_ids = await folders.put(tx, whole) if whole else {}
    found = zip(work, changes, strict=True)
    parts = [item.row for item, change in found if item.listing.only is not None and change.new]
    if parts:
        folder_ids.update(await folders.add(tx, parts))
    await _insert(tx, work, changes, folder_ids)
    await _update(tx, changes)
    left = {item.listing.path for item, change in zip(work, changes, strict=True) if change.gone or change.changed}
    incomplete = left | held
    await folders.set_fingerprints(
        tx, [(row.path, None if row.path in incomplete else row.fingerprint) for row in whole]
    )


async def _insert(
    tx: Transaction, work: Sequence[FolderWork], changes: list[Changes], folder_ids: dict[str, int]
) -> None:
    sets: dict[tuple[str, ...], int] = {}
    for item, change in zip(work, changes, strict=True):
        for wanted in {item.place.tags_of(_sample(name)) for name in change.new}:
            if wanted not in sets:
                sets[wanted] = await tags.intern(tx, "", wanted)
    if sets:
        groups = await asyncio.to_thread(_new_files, work, changes, folder_ids, sets)
        await files.insert_new(tx, groups, now_ms())


def _sample(name: str) -> str:
    """A name that is tagged and typed like this one: only its suffix counts."""
    return "x" + name[name.rfind(".") :] if "." in name else "x"


def _new_files(
    work: Sequence[FolderWork],
    changes: list[Changes],
    folder_ids: dict[str, int],
    sets: dict[tuple[str, ...], int],
) -> list[NewFiles]:
    ids = iter(new_ids(sum(len(change.new) for change in changes)))
    groups: list[NewFiles] = []
    for item, change in zip(work, changes, strict=True):
        by_suffix: dict[str, list[tuple[str, int, int, int, str]]] = defaultdict(list)
        for name, stat in change.new.items():
            by_suffix[_sample(name)].append((name, *stat, next(ids)))
        for sample, found in by_suffix.items():
            set_id, mime = sets[item.place.tags_of(sample)], guess_mime(sample)
            encoded = msgspec.json.encode(found).decode()
            groups.append(NewFiles(folder_ids[item.listing.path], set_id, mime, encoded))
    return groups


async def _update(tx: Transaction, changes: list[Changes]) -> None:
    back = [row.id for change in changes for row, _ in change.back]
    if back:
        await files.mark_present(tx, back)
    renumbered = [(row.id, stat[2]) for change in changes for row, stat in (*change.renumbered, *change.back)]
    if renumbered:
        await files.renumber(tx, renumbered)


async def _retag(tx: Transaction, work: Sequence[FolderWork], rows: list[Row]) -> None:
    """Tag the known files of folders anew that other categories claim than before."""
    claimed = {item.listing.path: item for item in work if item.former is not None}
    alike: dict[tuple[tuple[str, ...], tuple[str, ...]], list[int]] = defaultdict(list)
    for path, name, *_, file_id, _missing in rows if claimed else ():
        if (item := claimed.get(path)) is not None:
            alike[item.former or (), item.place.tags_of(name)].append(file_id)
    for (former, wanted), ids in alike.items():
        await tags.replace_place_tags(tx, ids, former, wanted)
