"""The first phase of a scan: list the disk and bring the store in step with it."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from ...background.interruption import CancelToken, Throttle, uninterrupted
from ...db import contents, downloads, files, moves, sidecars, tags
from ...db.connection import Database, Transaction
from ...db.files import FolderRow
from ...fs.atomic import LEFTOVER_AGE_S, remove_old, temp_name
from ...fs.paths import extended, is_definitely_gone
from ...host.base import Host
from ..moves import match_contents, match_listed
from ..roots import Roots, current_roots, present_names, root_of
from .apply import (
    FolderUpdate,
    FolderUpdates,
    ScanFindings,
    ScanProgress,
    StabilityCheck,
    changed_folders,
    give_to_owners,
    write,
)
from .exclusions import Exclusions
from .walker import DirectoryCache, DirectoryChanges, FolderKey, FolderListing, Walk, WalkReport, walk

_BATCH_FOLDERS = 500  # the most of one transaction
_BATCH_FILES = 4000
_FIRST_BATCH_FILES = 1000  # nothing is written before they have been walked
_TRANSACTION_S = 0.08  # how long other writers may wait for a transaction to end
# A copy may be listed before its original is removed: both count as one move within this time.
_RECENT_S = 60.0


@dataclass
class ScanScope:
    """The part of the library to scan: ``trees`` with all below them, and in ``folders`` some names, or all (None)."""

    trees: set[str] = field(default_factory=set)
    folders: dict[str, set[str] | None] = field(default_factory=dict)

    def add(self, path: str) -> None:
        """Add a path, whatever is there."""
        folder, name = os.path.split(path)
        names = self.folders.setdefault(folder, set())
        if names is not None:
            names.add(name)


@dataclass
class _ScanRun:
    """A running scan. ``last_id`` is the highest file id before it, ``batch_files`` the size of the next batch."""

    roots: Roots
    walk_roots: list[Path]
    last_id: int
    progress: ScanProgress
    is_stable: StabilityCheck | None
    report: WalkReport = field(default_factory=WalkReport)
    found: ScanFindings = field(default_factory=ScanFindings)
    listed: set[str] = field(default_factory=set)
    batch_files: int = _FIRST_BATCH_FILES

    def adapt_batches(self, seconds: float) -> None:
        """Adapt the size of batches to the time that one took to write. Larger ones write fewer pages in all."""
        factor = _TRANSACTION_S / max(seconds, _TRANSACTION_S / 2)
        self.batch_files = min(max(_FIRST_BATCH_FILES, int(self.batch_files * factor)), _BATCH_FILES)


class _ComparedBatch(NamedTuple):
    """Listings, with the folders of them that may differ from the store; None: not compared yet."""

    listings: list[FolderListing]
    work: FolderUpdates | None


class Scanner:
    """Lists the library's folders into the store, in batches, each of them one transaction.

    Removed files are marked missing at the end of a scan, so that a moved file is never missing in between.
    """

    def __init__(
        self, db: Database, host: Host, gate: Throttle, unrecorded_since: Callable[[], int | None] | None = None
    ) -> None:
        """Files in the output folder wait for the job that may have written them, and whose user's they then are.

        ``unrecorded_since`` returns when the first job started (ms since 1970) whose outputs are not recorded yet, or
        None if there is no such job.
        """
        self._db = db
        self._host = host
        self._gate = gate
        self._unrecorded_since = unrecorded_since
        self._lock = asyncio.Lock()  # a late write of an old listing would undo newer changes
        self._cache = DirectoryCache()
        self._recent_scans: deque[tuple[float, int]] = deque()  # start time, last file id before it
        self.completed = asyncio.Event()

    @property
    def links(self) -> frozenset[str]:
        """Links to folders in the library."""
        return self._cache.links

    def as_listed(self, folder: str) -> str:
        """Return the path under which scans list a folder, of the several that links may give it. Blocks."""
        return self._cache.as_listed(folder)

    async def scan(
        self,
        only: frozenset[str] | None,
        token: CancelToken,
        progress: ScanProgress,
        is_stable: StabilityCheck | None = None,
    ) -> None:
        """Bring the store up to date with the disk; ``only`` restricts it to kinds or categories.

        With ``is_stable``, unstable changes are left for later. ``completed`` is set after a scan of everything. Raises
        Cancelled; changes written until then are kept.
        """
        async with self._lock:
            run = await self._begin(only, progress, is_stable)
            described = {row.path: row for row in await files.known_folders(self._db)}
            exclusions = await asyncio.to_thread(Exclusions, run.roots.excluded, run.roots)
            listings = walk(run.walk_roots, exclusions, run.report, token, lambda: self._gate.wait(token))
            await self._apply_listings(listings, run, token, described)
            unlisted = [path for path in described if path not in run.listed]
            await self._end(run, unlisted, everywhere=only is None)
            if only is None:
                progress.missing += await self._check_temporary(unlisted, run)
                self.completed.set()
            await self._remove_leftovers(run.report.temporary)

    async def scan_scope(self, scope: ScanScope, is_stable: StabilityCheck, token: CancelToken) -> ScanProgress:
        """Bring a part of the store up to date with the disk, as far as it is stable.

        Raises Cancelled; changes written until then are kept.
        """
        async with self._lock:
            run = await self._begin(None, ScanProgress(), is_stable)
            exclusions = await asyncio.to_thread(Exclusions, run.roots.excluded, run.roots)
            listings = self._listings(scope, exclusions, run, token)
            await self._apply_listings(listings, run, token, None)
            unlisted = await asyncio.to_thread(self._vanished, scope, run)
            await self._end(run, unlisted, everywhere=False)
        return run.progress

    async def directory_changes(self, token: CancelToken) -> DirectoryChanges | None:
        """Return the folders that have changed since they were listed; None during a scan. Raises Cancelled."""
        if self._lock.locked():
            return None
        async with self._lock:
            roots = await current_roots(self._host)
            places = [str(root) for root in roots.walk_roots()]
            return await uninterrupted(asyncio.to_thread(self._cache.changes, places, token), token)

    async def mark_absent(self, folder: str, roots: Roots, walk_roots: list[Path]) -> int:
        """Mark the files of a folder that are definitely gone; return their number."""
        known = await files.present_in(self._db, folder)
        absent = await asyncio.to_thread(absent_files, folder, known, roots, walk_roots)
        if not absent:
            return 0
        async with self._db.transaction() as tx:
            marked = await files.mark_missing(tx, absent)
            await contents.update_missing_references(tx)
        return marked

    async def _begin(
        self, only: frozenset[str] | None, progress: ScanProgress, is_stable: StabilityCheck | None
    ) -> _ScanRun:
        roots = await current_roots(self._host)
        return _ScanRun(roots, roots.walk_roots(only), await files.last_id(self._db), progress, is_stable)

    def _listings(
        self, scope: ScanScope, exclusions: Exclusions, run: _ScanRun, token: CancelToken
    ) -> Iterator[FolderListing]:
        """List the folders in a scope, each once. Blocks."""
        entered: dict[Path, dict[FolderKey, str]] = {}
        for top in (*sorted(scope.trees), *sorted(scope.folders)):
            root = root_of(top, run.walk_roots)
            if root is None or top in run.listed:
                continue
            if root not in entered:
                entered[root] = self._cache.entered_below(str(root))
            visit = Walk(exclusions, run.report, token, lambda: self._gate.wait(token), entered[root])
            if top not in self._cache and top not in scope.trees and exclusions.is_refused(top):
                continue  # behind a link that walks do not follow
            if top in scope.trees or top not in self._cache:
                found = visit.tree(top, is_root=top == str(root))
            else:
                names = scope.folders[top]
                found = visit.folder(top, None if names is None else frozenset(names), self._cache.__contains__)
            for listing in found:
                if listing.path not in run.listed:
                    run.listed.add(listing.path)
                    yield listing

    async def _batches(
        self,
        listings: Iterator[FolderListing],
        run: _ScanRun,
        token: CancelToken,
        described: dict[str, FolderRow] | None,
    ) -> AsyncGenerator[_ComparedBatch, None]:
        """Yield listings in batches; the next is walked, and compared if possible, while the last is written."""

        def following() -> asyncio.Future[_ComparedBatch]:
            return asyncio.ensure_future(
                asyncio.to_thread(_next_batch, listings, run.batch_files, run.roots, described)
            )

        ahead = following()
        try:
            while (batch := await ahead).listings:
                ahead = following()
                yield batch
        finally:
            if not ahead.done():
                token.cancel()
            await asyncio.wait([ahead])
            if not ahead.cancelled():
                ahead.exception()  # retrieved, so that asyncio logs no warning

    async def _apply_listings(
        self,
        listings: Iterator[FolderListing],
        run: _ScanRun,
        token: CancelToken,
        described: dict[str, FolderRow] | None,
    ) -> None:
        """Write the folders that differ from the store."""
        progress, report = run.progress, run.report
        async with aclosing(self._batches(listings, run, token, described)) as batches:
            async for batch, work in batches:
                run.listed.update(listing.path for listing in batch)
                known = described
                if known is None:
                    known = {row.path: row for row in await files.known_folders(self._db, [x.path for x in batch])}
                if work is None:
                    work = await asyncio.to_thread(changed_folders, batch, run.roots, known)
                unstamped = _unstamped(batch, known, work.folders)
                if work.folders or unstamped:
                    async with self._db.transaction() as tx:
                        began = time.monotonic()
                        await write(
                            tx,
                            work,
                            run.roots,
                            progress,
                            run.found,
                            run.is_stable,
                            self._unrecorded_since,
                            is_multi_user=self._host.is_multi_user(),
                        )
                        if unstamped:
                            await files.set_folder_times(tx, unstamped)
                        run.adapt_batches(time.monotonic() - began)
                self._cache.store(batch)
                progress.folders += len(batch)
                progress.scanned += sum(len(listing.files) for listing in batch)
                progress.tell(report)

    def _vanished(self, scope: ScanScope, run: _ScanRun) -> list[str]:
        """Return the folders in a scope that have been removed or spelled otherwise, with all below them. Blocks."""
        paths = (os.path.join(folder, name) for folder, names in scope.folders.items() for name in names or ())  # noqa: PTH118
        tops = [path for path in paths if path in self._cache and path not in run.listed]
        removed = [top for top in tops if not os.path.isdir(extended(top))]  # noqa: PTH112
        return [path for top in (*removed, *run.report.respelled) for path in self._cache.below(top)]

    async def _end(self, run: _ScanRun, unlisted: list[str], *, everywhere: bool) -> None:
        """Mark removed files, and after a full scan those that have left the library; match moved files; clean up."""
        before_recent = self._before_recent(run)
        roots, walk_roots, unreachable = run.roots, run.walk_roots, run.report.unreachable
        gone = await asyncio.to_thread(
            lambda: gone_folders(unlisted, roots, walk_roots, unreachable, everywhere=everywhere)
        )
        for folder in gone:
            self._cache.forget(folder)
        async with self._db.transaction() as tx:
            ids = await self._still_gone(tx, run)
            ids += [row[5] for row in await files.known_files(tx, gone) if not row[6]] if gone else []
            missing = await files.mark_missing(tx, ids) if ids else 0
            after_id = run.last_id if run.is_stable is None else before_recent
            result = await match_listed(tx, run.found.changed, after_id, ids, roots)
            moved = result.moved
            if self._host.is_multi_user():
                await give_to_owners(tx, run.found.changed_names, roots)  # now that they have their rows
            if missing and run.is_stable is not None:
                copies = await moves.scanned_since(tx, before_recent)
                moved += await match_contents(tx, copies, roots)
            await sidecars.link_noted(tx)
            await contents.update_missing_references(tx)
            await tags.drop_unused_sets(tx)
        run.progress.missing += result.missing
        run.progress.missing += missing if run.is_stable is None else missing - moved - len({*ids} & {*result.arrived})
        run.progress.changed += result.changed + len(result.arrived)
        run.progress.created += result.created
        run.progress.deferred += result.undecided
        run.progress.moved += moved
        run.progress.tell(run.report)

    def _before_recent(self, run: _ScanRun) -> int:
        """Return the last file id before the recent scans."""
        now = time.monotonic()
        self._recent_scans.append((now, run.last_id))
        while self._recent_scans[0][0] < now - _RECENT_S:
            self._recent_scans.popleft()
        return self._recent_scans[0][1]

    async def _still_gone(self, tx: Transaction, run: _ScanRun) -> list[int]:
        """Return the rows of unlisted files that are still gone and still have the same path."""
        gone = run.found.gone
        if not gone:
            return []
        rows = await files.by_position(tx, [(file.folder, file.name) for file in gone])

        def absent() -> list[int]:
            found: dict[str, list[tuple[int, str]]] = {}
            for file in gone:
                row = rows.get((file.folder, file.name))
                if row is not None and row.id == file.id and not row.missing:
                    found.setdefault(file.folder, []).append((file.id, file.name))
            return [
                file_id
                for folder, known in found.items()
                for file_id in absent_files(folder, known, run.roots, run.walk_roots)
            ]

        return await asyncio.to_thread(absent)

    async def _remove_leftovers(self, paths: Sequence[str]) -> None:
        """Remove what killed processes left in any folder. A download continues with its partial file."""
        if paths:
            keep = {temp_name(key) for key in await downloads.keys(self._db)}
            before = time.time() - LEFTOVER_AGE_S
            await asyncio.to_thread(remove_old, map(Path, paths), before, keep)

    async def _check_temporary(self, folders: Iterable[str], run: _ScanRun) -> int:
        """Mark removed files of users in the temporary folder; return their number."""
        marked = 0
        for folder in folders:
            if run.roots.is_temporary(Path(folder)):
                marked += await self.mark_absent(folder, run.roots, run.walk_roots)
        return marked


def _unstamped(
    batch: Sequence[FolderListing], known: Mapping[str, FolderRow], work: Sequence[FolderUpdate]
) -> list[tuple[str, int]]:
    """Return the times of unchanged folders that earlier versions have listed, by path."""
    changed = {item.listing.path for item in work}
    return [
        (listing.path, listing.stamp.listed_ns)
        for listing in batch
        if listing.only is None
        and listing.path not in changed
        and (row := known.get(listing.path)) is not None
        and row.mtime_ns is None
    ]


def _next_batch(
    listings: Iterator[FolderListing], files_at_most: int, roots: Roots, described: dict[str, FolderRow] | None
) -> _ComparedBatch:
    batch: list[FolderListing] = []
    count = 0
    for listing in islice(listings, _BATCH_FOLDERS):
        batch.append(listing)
        count += len(listing.files)
        if count >= files_at_most:
            break
    return _ComparedBatch(batch, None if described is None else changed_folders(batch, roots, described))


def gone_folders(
    unlisted: Iterable[str], roots: Roots, walk_roots: list[Path], unreachable: list[str], *, everywhere: bool
) -> list[str]:
    """Return the folders, of those that a walk did not list, whose files are definitely gone. Blocks.

    After a walk of everything these include folders that have left the library, but not the temporary folder, which
    is never walked.
    """
    gone: list[str] = []
    for folder in unlisted:
        root = root_of(folder, walk_roots)
        if root is None:
            if everywhere and not roots.is_temporary(Path(folder)):
                gone.append(folder)
        elif is_definitely_gone(folder, root, unreachable):
            gone.append(folder)
    return gone


def absent_files(folder: str, known: Sequence[tuple[int, str]], roots: Roots, walk_roots: list[Path]) -> list[int]:
    """Return the ids of a folder's known files (ids and names) that are definitely gone. Blocks."""
    present = present_names(folder, roots, walk_roots)
    return [] if present is None else [file_id for file_id, name in known if name not in present]
