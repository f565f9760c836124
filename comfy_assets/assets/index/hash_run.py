"""The second phase of a scan: read every file that has changed since it was last read."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ...background.interruption import Cancelled, CancelToken, Throttle
from ...db import contents, files, moves, sidecars, tags
from ...db.connection import Database
from ...db.contents import Hashed, Unreadable
from ...db.files import HashedFile
from ...fs.paths import extended, extended_path, file_stat, stat_as_recorded
from ...fs.shared_files import is_in_use
from ...host.base import Host
from ...ids import now_ms
from ...models import FileStat, Pending
from ..moves import match_contents, match_pending
from ..roots import current_roots
from .content_reader import SMALL_FILE, HashProgress, LargeDigests, ReadingPace, read_file

log = logging.getLogger("comfy_assets.library")

_SMALL_BATCH = 1024  # of one transaction, for which other writers wait some tens of milliseconds
_SMALL_SLICE = 48  # files per call of a worker
_LARGE_BATCH = 4  # few, so that hours of reading are not lost if the server is killed
_ROUNDS = 3  # a file that keeps changing is read in the next run


@dataclass(frozen=True)
class _ChangedFile:
    """A file that no longer matches its row: its present stat, or None if it is gone."""

    file_id: int
    stat: FileStat | None


_ReadResult = Hashed | Unreadable | _ChangedFile


class HashRun:
    """Reads pending files: small ones in parallel, large ones one by one with all threads on each."""

    def __init__(
        self,
        db: Database,
        host: Host,
        gate: Throttle,
        pool: ThreadPoolExecutor,
        token: CancelToken,
        *,
        is_followed: bool = False,
    ) -> None:
        """If the disk ``is_followed``, the follower decides about files that are gone: they may have moved."""
        self._is_followed = is_followed
        self._db = db
        self._host = host
        self._gate = gate
        self._pool = pool
        self._token = token
        self._digests = LargeDigests()
        self._pace = ReadingPace()
        self.progress = HashProgress(0, 0)

    async def run(self) -> None:
        """Read all pending files. Raises Cancelled; results recorded until then are kept."""
        self.progress = HashProgress(*await files.pending_totals(self._db))
        for _ in range(_ROUNDS):
            changed = await self._pass(self._hash_small, small=True, batch=_SMALL_BATCH)
            changed += await self._pass(self._hash_large, small=False, batch=_LARGE_BATCH)
            if not changed:
                break
        # Only now: a file that was still unread might have been the nearer match.
        self.progress.moved += await match_pending(self._db, await current_roots(self._host))
        async with self._db.transaction() as tx:
            await sidecars.link_noted(tx)  # files that have moved
            await tags.drop_unused_sets(tx)

    async def read(self, ids: Sequence[int]) -> None:
        """Read the files, of these, whose present content is not known, one after another."""
        for _ in range(_ROUNDS):
            found = await files.present_among(self._db, ids)
            outcomes = await asyncio.to_thread(self._read_unknown, found)
            if not await self._record(outcomes):
                break

    async def _pass(
        self, hash_batch: Callable[[list[Pending]], Awaitable[list[_ReadResult]]], *, small: bool, batch: int
    ) -> int:
        """Read the small or the large files once; a batch is recorded while the next is read."""
        changed, after_id = 0, 0
        recording: asyncio.Task[int] | None = None
        try:
            while found := await self._pending(after_id, small, batch):
                after_id = found[-1].id
                outcomes = await hash_batch(found)
                if recording is not None:
                    changed += await recording
                recording = asyncio.create_task(self._record(outcomes))
                self._token.check()
        finally:
            if recording is not None:
                changed += await recording
        return changed

    async def _pending(self, after_id: int, small: bool, limit: int) -> list[Pending]:
        return await files.pending(self._db, after_id=after_id, small_below=SMALL_FILE + 1, small=small, limit=limit)

    async def _hash_small(self, batch: list[Pending]) -> list[_ReadResult]:
        return await self._pace.run(self._pool, self._read_slice, batch, _SMALL_SLICE)

    async def _hash_large(self, batch: list[Pending]) -> list[_ReadResult]:
        loop = asyncio.get_running_loop()
        alike = await files.with_equal_identity(self._db, [file.id for file in batch])
        await loop.run_in_executor(self._pool, self._add_digests, alike)
        # One worker: blake3 has threads of its own, and two large files at once are slower on a hard disk.
        return await loop.run_in_executor(self._pool, self._read_slice, batch)

    def _add_digests(self, alike: Sequence[HashedFile]) -> None:
        """Keep the digests of files that have been read under other names before."""
        for file in alike:
            info = stat_as_recorded(extended_path(file.folder, file.name), file.size, file.mtime_ns)
            if info is not None and file_stat(info)[2] == file.inode:
                self._digests.put(info, file.hash)

    def _read_unknown(self, found: Sequence[Pending]) -> list[_ReadResult]:
        """Read the files that were never read, or no longer match their record."""
        return self._read_slice([file for file in found if file.state != files.HASHED or not _is_as_recorded(file)])

    def _read_slice(self, batch: Sequence[Pending]) -> list[_ReadResult]:
        """Read files one after another; return the results so far when cancelled."""
        outcomes: list[_ReadResult] = []
        for file in batch:
            if self._token.is_cancelled:
                break
            try:
                outcomes.append(self._read(file))
            except Cancelled:
                break
        return outcomes

    def _read(self, file: Pending) -> _ReadResult:
        try:
            outcome = read_file(
                file,
                lambda: self._gate.wait(self._token),
                self.progress.add_bytes,
                self._digests,
                lambda: self._gate.is_closed,
            )
        except Cancelled:
            raise
        except Exception as error:
            log.exception("%s could not be read", file.name)
            return Unreadable(file.id, type(error).__name__)
        return outcome if outcome is not None else _examine(file)

    async def _record(self, outcomes: list[_ReadResult]) -> int:
        """Store a batch; return the number of files that have changed and must be read again."""
        hashed = [o for o in outcomes if isinstance(o, Hashed)]
        failures = [o for o in outcomes if isinstance(o, Unreadable)]
        moved = [o for o in outcomes if isinstance(o, _ChangedFile)]
        ids = [outcome.file_id for outcome in outcomes]
        gone = [] if self._is_followed else [m.file_id for m in moved if m.stat is None]
        async with self._db.transaction() as tx:
            # Most libraries have neither missing files nor references, and need nothing of what these do.
            may_match = bool(gone) or await files.any_missing(tx)
            may_refer = bool(gone) or await contents.any_references(tx)
            # Before the contents are recorded, after which no file is unread.
            first_time = await moves.never_hashed(tx, [h.file_id for h in hashed]) if may_match else []
            touched = await contents.of_assets(tx, ids) if may_refer else set()
            await contents.record(tx, hashed)
            touched |= await contents.of_assets(tx, ids) if may_refer else set()  # those before, and those after
            if failures:
                await contents.record_unreadable(tx, failures)
            if moved:
                await files.mark_changed(tx, [(m.file_id, *m.stat) for m in moved if m.stat], now_ms())
                await files.mark_missing(tx, gone)
            if first_time:
                self.progress.moved += await match_contents(tx, first_time, await current_roots(self._host))
            if may_refer:
                await contents.update_missing_references(tx, touched)
        self.progress.hashed += len(hashed)
        self.progress.unreadable += len(failures)
        self.progress.locked += sum(failure.is_locked for failure in failures)
        return sum(m.stat is not None for m in moved)


def _is_as_recorded(file: Pending) -> bool:
    return stat_as_recorded(extended_path(file.path, file.name), file.size, file.mtime_ns) is not None


def _examine(file: Pending) -> _ReadResult:
    """Examine a file that does not match its row. It is gone only if its folder is there."""
    folder = Path(extended(file.path))
    try:
        info = (folder / file.name).stat()
    except FileNotFoundError:
        return _ChangedFile(file.id, None) if folder.is_dir() else Unreadable(file.id, "its folder is out of reach")
    except OSError as error:
        return Unreadable(file.id, error.strerror or type(error).__name__, is_in_use(error))
    return _ChangedFile(file.id, file_stat(info))
