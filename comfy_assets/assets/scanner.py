"""Phase one: list the disk and make the store say the same."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
from blake3 import blake3

from ..db import files, references, tags
from ..db.connection import Database, Row, Transaction
from ..db.files import FolderRow, NewFiles
from ..host.base import Host
from ..tasks.cancel import CancelToken
from .gate import WorkGate
from .identity import new_ids
from .mime import guess_mime
from .reconcile import Changes, KnownFile, reconcile
from .registration import folder_row
from .relocate import relocate
from .roots import Place, Roots, root_of
from .walker import FolderListing, WalkReport, is_gone, walk

_BATCH_FILES = 8000
_BATCH_FOLDERS = 500
_encoder = msgspec.msgpack.Encoder(order="deterministic")


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

    def as_dict(self) -> dict[str, Any]:
        """As JSON members."""
        return dict(vars(self))


class Scanner:
    """Lists the library's folders into the store, in batches, each of them one transaction."""

    def __init__(self, db: Database, host: Host, gate: WorkGate) -> None:
        self._db = db
        self._host = host
        self._gate = gate

    async def scan(self, only: frozenset[str] | None, token: CancelToken, progress: ScanProgress) -> None:
        """Bring the store up to date with the disk; ``only`` names the kinds or categories to look at.

        Raises Cancelled; what has been written until then stays and is true.
        """
        roots = Roots(await asyncio.to_thread(self._host.folders))
        walk_roots = roots.walk_roots(only)
        described = {row.path: row for row in await files.folders(self._db)}
        last_id = await files.last_id(self._db)
        report = WalkReport()
        listed: set[str] = set()
        async with aclosing(self._batches(walk_roots, roots, report, token)) as batches:
            async for batch in batches:
                listed.update(listing.path for listing in batch)
                await self._apply(batch, roots, described, progress)
                progress.problems, progress.errors = report.problems, report.told
        unlisted = [row.path for row in described.values() if row.path not in listed]
        await self._mark_gone(unlisted, walk_roots, only is None, report, progress)
        progress.moved += await self._follow_moves(roots, last_id)
        progress.problems, progress.errors = report.problems, report.told

    async def _batches(
        self, walk_roots: list[Path], roots: Roots, report: WalkReport, token: CancelToken
    ) -> AsyncGenerator[list[FolderListing], None]:
        """Listings in batches; the next is walked while the last is written."""
        listings = walk(walk_roots, roots.bars, report, token, lambda: self._gate.wait(token))
        ahead = asyncio.ensure_future(asyncio.to_thread(_next_batch, listings))
        try:
            while batch := await ahead:
                ahead = asyncio.ensure_future(asyncio.to_thread(_next_batch, listings))
                yield batch
        finally:
            if not ahead.done():
                token.cancel()
            await asyncio.wait([ahead])
            if not ahead.cancelled():
                ahead.exception()  # retrieved, so that asyncio does not warn of it

    async def _apply(
        self,
        batch: list[FolderListing],
        roots: Roots,
        described: dict[str, FolderRow],
        progress: ScanProgress,
    ) -> None:
        work = await asyncio.to_thread(_differing, batch, roots, described)
        if work:
            async with self._db.transaction() as tx:
                await _write(tx, work, progress)
        progress.folders += len(batch)
        progress.scanned += sum(len(listing.files) for listing in batch)

    async def _mark_gone(
        self,
        unlisted: Iterable[str],
        walk_roots: list[Path],
        everywhere: bool,
        report: WalkReport,
        progress: ScanProgress,
    ) -> None:
        """Mark the files of folders that are gone, and in a full scan of those that left the library."""
        gone = await asyncio.to_thread(_gone_folders, unlisted, walk_roots, everywhere, report)
        if not gone:
            return
        async with self._db.transaction() as tx:
            rows = await files.known_files(tx, gone)
            ids = [row[5] for row in rows if not row[6]]
            if ids:
                progress.missing += await files.mark_missing(tx, ids)

    async def _follow_moves(self, roots: Roots, last_id: int) -> int:
        """Give missing assets the files that were added since ``last_id`` and are theirs; then tidy up."""
        async with self._db.transaction() as tx:
            moved = 0
            if await files.missing_count(tx):
                moved = await relocate(tx, await files.moves_by_stat(tx, last_id), roots)
            await references.settle(tx)
            await tags.drop_unused_sets(tx)
        return moved


@dataclass(frozen=True)
class _FolderWork:
    """A folder in which something differs from the store. ``former`` are the categories it had, if others."""

    listing: FolderListing
    place: Place
    row: FolderRow
    former: tuple[str, ...] | None


def _next_batch(listings: Iterator[FolderListing]) -> list[FolderListing]:
    batch: list[FolderListing] = []
    count = 0
    for listing in islice(listings, _BATCH_FOLDERS):
        batch.append(listing)
        count += len(listing.files)
        if count >= _BATCH_FILES:
            break
    return batch


def _differing(batch: list[FolderListing], roots: Roots, described: dict[str, FolderRow]) -> list[_FolderWork]:
    """The folders of the batch that the store does not describe as they are."""
    work: list[_FolderWork] = []
    for listing in batch:
        place = roots.place(Path(listing.path))
        if place is None:
            continue
        row = _row(listing, place)
        before = described.get(listing.path)
        if before != row:
            moved = before is None or before.place_key != row.place_key
            work.append(_FolderWork(listing, place, row, _former(before) if moved else None))
    return work


def _row(listing: FolderListing, place: Place) -> FolderRow:
    fingerprint = blake3(_encoder.encode((listing.files, listing.unknown))).digest(16)
    return folder_row(listing.path, place, fingerprint)


def _former(before: FolderRow | None) -> tuple[str, ...] | None:
    return None if before is None else tuple(msgspec.json.decode(before.categories, type=list[str]))


async def _write(tx: Transaction, work: Sequence[_FolderWork], progress: ScanProgress) -> None:
    """Apply the changes of these folders, compared anew with what the store says inside the transaction."""
    folder_ids = await files.put_folders(tx, [item.row for item in work])
    rows = await files.known_files(tx, [item.listing.path for item in work])
    changes = await asyncio.to_thread(_compare, work, rows)
    await _insert(tx, work, changes, folder_ids)
    await _update(tx, changes)
    await _retag(tx, work, rows)
    await files.set_fingerprints(tx, [item.row for item in work])
    for change in changes:
        progress.created += len(change.new)
        progress.changed += len(change.changed)
        progress.returned += len(change.back)
        progress.missing += len(change.gone)


def _compare(work: Sequence[_FolderWork], rows: list[Row]) -> list[Changes]:
    known: dict[str, dict[str, KnownFile]] = defaultdict(dict)
    for path, name, size, mtime_ns, inode, file_id, missing in rows:
        known[path][name] = KnownFile(file_id, (size, mtime_ns, inode), bool(missing))
    return [_changes(known.get(item.listing.path, {}), item.listing) for item in work]


def _changes(known: dict[str, KnownFile], listing: FolderListing) -> Changes:
    """A file that could not be looked at stays as it was known."""
    looked_at = {n: row for n, row in known.items() if n not in listing.unknown} if listing.unknown else known
    return reconcile(looked_at, listing.files)


async def _insert(
    tx: Transaction, work: Sequence[_FolderWork], changes: list[Changes], folder_ids: dict[str, int]
) -> None:
    sets: dict[tuple[str, ...], int] = {}
    for item, change in zip(work, changes, strict=True):
        for wanted in {item.place.tags_of(_sample(name)) for name in change.new}:
            if wanted not in sets:
                sets[wanted] = await tags.intern(tx, "", wanted)
    if sets:
        groups = await asyncio.to_thread(_new_files, work, changes, folder_ids, sets)
        await files.insert_new(tx, groups, time.time_ns() // 1_000_000)


def _sample(name: str) -> str:
    """A name that is tagged and typed like this one: only its suffix counts."""
    return "x" + name[name.rfind(".") :] if "." in name else "x"


def _new_files(
    work: Sequence[_FolderWork],
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
    changed = [(row, stat) for change in changes for row, stat in change.changed]
    if changed:
        now = time.time_ns() // 1_000_000
        await files.mark_changed(tx, [(row.id, *stat) for row, stat in changed], now)
    back = [row.id for change in changes for row, _ in change.back]
    back += [row.id for row, _ in changed if row.missing]
    if back:
        await files.mark_present(tx, back)
    renumbered = [(row.id, stat[2]) for change in changes for row, stat in (*change.renumbered, *change.back)]
    if renumbered:
        await files.renumber(tx, renumbered)
    gone = [row.id for change in changes for row in change.gone]
    if gone:
        await files.mark_missing(tx, gone)


async def _retag(tx: Transaction, work: Sequence[_FolderWork], rows: list[Row]) -> None:
    """Tag the known files of folders anew that other categories claim than before."""
    claimed = {item.listing.path: item for item in work if item.former is not None}
    alike: dict[tuple[tuple[str, ...], tuple[str, ...]], list[int]] = defaultdict(list)
    for path, name, *_, file_id, _missing in rows if claimed else ():
        if (item := claimed.get(path)) is not None:
            alike[item.former or (), item.place.tags_of(name)].append(file_id)
    for (former, wanted), ids in alike.items():
        await files.replace_place_tags(tx, ids, former, wanted)


def _gone_folders(unlisted: Iterable[str], walk_roots: list[Path], everywhere: bool, report: WalkReport) -> list[str]:
    gone: list[str] = []
    for folder in unlisted:
        root = root_of(folder, walk_roots)
        if root is None:
            if everywhere:
                gone.append(folder)
        elif is_gone(folder, root, report.unreachable):
            gone.append(folder)
    return gone
