"""Recording of output files: files that a prompt wrote become assets at once, with their job, hash and metadata.

``OutputRecorder.record`` runs on the thread that executes prompts and must not delay it. It only queues the files. A
moment later, a task reads the files of all prompts that finished meanwhile in a thread and records them in one
transaction.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import NamedTuple

import msgspec

from ...background.cancel import Cancelled, CancelToken
from ...db import asset_aliases, assets, contents, files, job_links, moves, tags
from ...db.asset_aliases import AliasedFile
from ...db.connection import Database, Transaction
from ...db.contents import Hashed, Unreadable
from ...db.files import Position, StoredFile
from ...db.job_links import JobOwner, ShownAt
from ...db.moves import MoveCandidate
from ...errors import StoreBusyError
from ...fs.paths import COARSE_TICK_NS
from ...host.base import Host
from ...host.execution import FinishedPrompt
from ...ids import new_ids, now_ms
from ...models import Pending
from ..index.content_reader import read_file
from ..index.insert import NewFile, add_new, folder_row
from ..moves.apply import ChangedPath, match_contents, match_written
from ..roots import Roots
from .outputs import LocatedFile, OutputFile, OutputFolders, ShownFile, shown_files

log = logging.getLogger("comfy_assets.library")

# Pause before recording, in which more prompts may finish: without and with a prompt in execution.
IDLE_S, BUSY_S = 0.1, 0.5
_BATCH = 500  # files per transaction
_RETRY_S = 0.5  # pause before a batch is tried again after the database was busy
_MAX_WAITING = 20_000  # queued files; the next scan finds any others


@dataclass(frozen=True)
class _JobOutput:
    """An output file of a job; ``reading`` is the result of reading it, if it was read."""

    job_id: str
    file: OutputFile
    located: LocatedFile
    reading: Hashed | Unreadable | None = None

    @property
    def position(self) -> Position:
        return self.located.folder, self.located.name


class _FoundOutputs(NamedTuple):
    """The current folders, and the existing files of a batch, each with the first job that made it.

    ``links`` are all places where jobs showed files, ``path_links`` those where nodes named them by bare paths, and
    ``aliases`` the files to which the server has given ids of its own.
    """

    folders: OutputFolders
    outputs: list[_JobOutput]
    links: list[ShownAt]
    path_links: list[ShownAt]
    aliases: list[AliasedFile]


class OutputRecorder:
    """Records the output files of executed prompts as assets."""

    def __init__(
        self,
        db: Database,
        host: Host,
        *,
        read_files: bool,
        jobs_recorded: Callable[[], Awaitable[None]],
        shared: bool = False,
        finished: Callable[[Iterable[str]], None] = lambda _: None,
    ) -> None:
        """Create a recorder for the running event loop. Without ``read_files``, a hash run reads the files later.

        In multi-user mode the outputs of a job belong to its owner, or are public if ``shared``. ``jobs_recorded``
        waits until all jobs reported so far have rows, which outputs are linked to. ``finished`` is called with the
        ids of prompts whose files are all recorded or have failed.
        """
        self._db = db
        self._jobs_recorded = jobs_recorded
        self._finished = finished
        self._left: Counter[str] = Counter()  # unrecorded files by prompt
        self._host = host
        self._read_files = read_files
        self._is_private = host.is_multi_user() and not shared
        self._assigning: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._waiting: deque[tuple[str, ShownFile]] = deque()
        self._is_awake = False
        self._token = CancelToken()
        self._flush_now = asyncio.Event()
        self._is_closed = False
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Assign public outputs of earlier runs to the owners of their jobs, unless outputs are shared."""
        if self._is_private:
            self._assigning = self._loop.create_task(
                self._assign_former_outputs(), name="comfy-assets owners of outputs"
            )
            self._assigning.add_done_callback(_log_failure)

    async def _assign_former_outputs(self) -> None:
        after = 0
        while found := await job_links.public_outputs(self._db, self._host.user_ids(), after, _BATCH):
            async with self._db.transaction() as tx:
                for owner in {output.owner for output in found}:
                    await tags.give_public(tx, [output.row_id for output in found if output.owner == owner], owner)
            after = found[-1].job_row - 1  # the batch may end between outputs of one job

    def record(self, prompt: FinishedPrompt) -> None:
        """Queue the files of a prompt. Thread-safe; returns at once."""
        found = shown_files(prompt.outputs)
        if not found or self._token.is_cancelled:
            self._call(self._finished, [prompt.prompt_id])
            return
        with self._lock:
            room = _MAX_WAITING - len(self._waiting)
            self._waiting.extend((prompt.prompt_id, shown) for shown in found[:room])
            self._left[prompt.prompt_id] += len(found[:room])
            wake, self._is_awake = not self._is_awake, True
        if len(found) > room:
            log.warning("Prompts finish faster than their files can be recorded; the next scan will find the rest.")
        if wake:
            self._call(self._start)

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop has been closed
            self._loop.call_soon_threadsafe(function, *arguments)

    def flush_soon(self) -> None:
        """Record queued files without the pause for further prompts."""
        self._flush_now.set()

    async def drain(self) -> None:
        """Wait until all files queued so far are recorded."""
        await asyncio.sleep(0)  # lets a start that another thread has just requested take place
        while self._running is not None and not self._running.done():
            await asyncio.wait([self._running])

    def cancel(self) -> None:
        """Accept no more files, and stop reading. Thread-safe."""
        self._token.cancel()

    async def close(self) -> None:
        """Record the queued files without reading them, and accept no more."""
        self.cancel()
        if self._assigning is not None:
            self._assigning.cancel()
            await asyncio.wait([self._assigning])
        self.flush_soon()
        await self.drain()
        self._is_closed = True

    def _start(self) -> None:
        if self._is_closed:
            return
        self._running = self._loop.create_task(self._run(), name="comfy-assets outputs")
        self._running.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or (error := task.exception()) is None:
            return
        log.error("Outputs could not be recorded; the next scan will find them.", exc_info=error)
        with self._lock:
            self._is_awake = bool(self._waiting)
        if self._is_awake:
            self._start()

    async def _run(self) -> None:
        while True:
            with suppress(asyncio.TimeoutError):
                pause = BUSY_S if self._host.is_executing() else IDLE_S
                await asyncio.wait_for(self._flush_now.wait(), pause)
            if not self._token.is_cancelled:
                self._flush_now.clear()
            batch = self._next_batch()
            if not batch:
                return
            try:
                await self._record_batch(batch)
            except StoreBusyError as error:
                if self._token.is_cancelled:
                    self._done_with(batch)
                    raise
                log.warning("Outputs could not be recorded; they are kept and tried again: %s", error)
                self._requeue(batch)
                await asyncio.sleep(_RETRY_S)
            except BaseException:
                self._done_with(batch)
                raise
            else:
                self._done_with(batch)

    def _done_with(self, batch: Iterable[tuple[str, ShownFile]]) -> None:
        """Report the prompts whose last files were in this batch."""
        with self._lock:
            self._left.subtract(Counter(prompt_id for prompt_id, _ in batch))
            done = [prompt_id for prompt_id, count in self._left.items() if count <= 0]
            for prompt_id in done:
                del self._left[prompt_id]
        self._finished(done)

    def _requeue(self, batch: Sequence[tuple[str, ShownFile]]) -> None:
        """Put a batch back at the front of the queue."""
        with self._lock:
            self._waiting.extendleft(reversed(batch))
            self._is_awake = True

    def _next_batch(self) -> list[tuple[str, ShownFile]]:
        with self._lock:
            count = min(_BATCH, len(self._waiting))
            self._is_awake = count > 0
            return [self._waiting.popleft() for _ in range(count)]

    async def _record_batch(self, batch: Sequence[tuple[str, ShownFile]]) -> None:
        makers = await self._makers_of_paths(batch)
        folders, outputs, links, path_links, aliases = await asyncio.to_thread(self._locate, batch, makers)
        if not links and not path_links:
            return
        known = await files.by_position(self._db, [output.position for output in outputs])
        outputs = [output for output in outputs if not _is_recorded(output, known.get(output.position))]
        outputs = await asyncio.to_thread(self._read, outputs, known, folders)
        await self._jobs_recorded()
        async with self._db.transaction() as tx:
            created = await self._record(tx, outputs, folders.roots) if outputs else 0
            await job_links.link_outputs(tx, links)
            # Users write paths into their graphs, and must not get at files of others by them.
            await job_links.link_visible_outputs(tx, path_links)
            await asset_aliases.add(tx, aliases)
            if self._is_private:
                job_ids = {link[0] for link in links}
                created += await job_links.refer_to_others(tx, job_ids, lambda: new_ids(1)[0], now_ms())
        if outputs or created:
            self._host.emit("assets.changed", {"created": created} if created else {"changed": len(outputs)})

    async def _makers_of_paths(self, batch: Sequence[tuple[str, ShownFile]]) -> dict[str, JobOwner]:
        """Return the jobs that name files by bare paths, by their ids."""
        job_ids = {job_id for job_id, shown in batch if shown.is_path}
        if not job_ids:
            return {}
        await self._jobs_recorded()
        return await job_links.owners_of_jobs(self._db, job_ids)

    async def _record(self, tx: Transaction, outputs: Sequence[_JobOutput], roots: Roots) -> int:
        is_shared_host = self._host.is_multi_user()
        makers = await job_links.owners_of_jobs(tx, {output.job_id for output in outputs}) if is_shared_host else {}
        return await _record(tx, outputs, roots, makers, private=self._is_private)

    def _locate(self, batch: Iterable[tuple[str, ShownFile]], makers: Mapping[str, JobOwner]) -> _FoundOutputs:
        """Return the existing files of a batch.

        ``makers`` are the jobs that name files by bare paths: they have made only those written since they began.
        """
        folders = OutputFolders(self._host.folders())
        located: dict[OutputFile, LocatedFile | None] = {}
        found: dict[Position, _JobOutput] = {}
        links: list[ShownAt] = []
        path_links: list[ShownAt] = []
        aliases: list[AliasedFile] = []
        for job_id, shown in batch:
            if shown.file not in located:
                located[shown.file] = folders.locate(shown.file)
            if (file := located[shown.file]) is not None:
                output, slot = _JobOutput(job_id, shown.file, file), shown.slot
                if not shown.is_path or _is_of_job(file, makers.get(job_id)):
                    found.setdefault(output.position, output)
                to = path_links if shown.is_path else links
                to.append((job_id, slot.node_id, slot.key, slot.index, *output.position))
                if shown.alias is not None:
                    aliases.append(AliasedFile(shown.alias, *output.position))
        return _FoundOutputs(folders, list(found.values()), links, path_links, aliases)

    def _read(
        self, outputs: Sequence[_JobOutput], known: dict[Position, StoredFile], folders: OutputFolders
    ) -> list[_JobOutput]:
        """Read the files whose content is not known yet. Return the outputs without those that have vanished."""
        done: list[_JobOutput] = []
        for output in outputs:
            row = known.get(output.position)
            if row is not None and row.is_read and row.stat[:2] == output.located.stat[:2]:
                done.append(output)
                continue
            reading = self._read_one(output.located) if self._read_files else None
            if reading is not None:
                done.append(replace(output, reading=reading))
            elif (located := folders.locate(output.file)) is not None:  # changed meanwhile, or reading is off
                done.append(replace(output, located=located))
        return done

    def _read_one(self, file: LocatedFile) -> Hashed | Unreadable | None:
        try:
            return read_file(Pending(0, file.folder, file.name, *file.stat[:2], files.NEW), self._token.check, _ignore)
        except Cancelled:
            return None
        except Exception as error:
            log.exception("%s could not be read", file.name)
            return Unreadable(0, type(error).__name__)


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("Outputs of former runs could not be given to their owners.", exc_info=error)


def _ignore(_: int) -> None:
    pass


def _is_recorded(output: _JobOutput, row: StoredFile | None) -> bool:
    """Return whether a file needs no change: a later prompt has reported it again."""
    if row is None or row.missing or row.job_id is None:
        return False
    return row.is_read and row.stat[:2] == output.located.stat[:2]


async def _record(
    tx: Transaction, outputs: Sequence[_JobOutput], roots: Roots, makers: Mapping[str, JobOwner], *, private: bool
) -> int:
    """Write the rows of the outputs; return the number of new assets.

    ``makers`` are the owners of the jobs by job id, in multi-user mode.
    """
    positions = [output.position for output in outputs]
    before = await files.by_position(tx, positions)
    touched = await contents.of_assets(tx, [row.id for row in before.values()])
    new = [output for output in outputs if output.position not in before]
    before = await _match_known(tx, outputs, before, roots, makers)
    await _insert(tx, new)
    after = await files.by_position(tx, positions)
    jobs = _jobs(outputs, before, after)
    await assets.set_jobs(tx, jobs)
    if private:
        await _give_to_makers(tx, outputs, before, dict(jobs), after, makers)
    moved = await _record_contents(tx, outputs, after, roots, touched)
    return len(after) - len(before) - moved


async def _give_to_makers(
    tx: Transaction,
    outputs: Sequence[_JobOutput],
    before: Mapping[Position, StoredFile],
    jobs: Mapping[int, str],
    after: Mapping[Position, StoredFile],
    makers: Mapping[str, JobOwner],
) -> None:
    """Assign written files to the owners of the jobs.

    A file that is older than the job was only reported by it, not written, and keeps its owner.
    """
    given: dict[str, list[int]] = {}
    for output in outputs:
        row_id = after[output.position].id
        maker = makers.get(jobs.get(row_id, ""))
        if maker is None or not maker.owner:
            continue
        if _is_of_job(output.located, maker) or output.position not in before:
            given.setdefault(maker.owner, []).append(row_id)
    for owner, row_ids in given.items():
        await tags.give_public(tx, row_ids, owner)


async def _match_known(
    tx: Transaction,
    outputs: Sequence[_JobOutput],
    before: dict[Position, StoredFile],
    roots: Roots,
    makers: Mapping[str, JobOwner],
) -> dict[Position, StoredFile]:
    """Bring known paths up to date; return the rows of those that still belong to the same asset.

    ComfyUI uses a name again once its file is gone. The former file may only have moved, so its asset stays missing, or
    becomes so if users have given it anything, and keeps that and its job. A user's asset never gets the file that
    another user's job has written over its own.
    """
    written = {row.id: o for o in outputs if (row := before.get(o.position)) is not None and _is_written(row, o)}
    rows = {row.id: row for row in before.values() if row.id in written}
    # Certainly other files than the rows', rather than those written over.
    replaced = {i for i, row in rows.items() if written[i].located.is_other_than(row.stat)}

    def keeps_path(file: MoveCandidate) -> bool:
        maker = makers.get(written[file.id].job_id)
        if maker is not None and file.owner not in ("", maker.owner):
            return False
        return not file.is_missing and not (file.is_marked and file.id in replaced)

    changed = [ChangedPath(i, row.stat, written[i].located.stat) for i, row in rows.items()]
    staying = await match_written(tx, changed, roots, keeps_path)
    back = [row.id for row in before.values() if row.missing and row.id not in written]
    if back:
        await files.mark_present(tx, back)
    return {position: row for position, row in before.items() if row.id not in written or row.id in staying}


def _is_of_job(file: LocatedFile, maker: JobOwner | None) -> bool:
    """Return whether a file was written since the job began; False for a job that is not known."""
    return maker is not None and file.stat[1] >= maker.began_at * 1_000_000 - COARSE_TICK_NS


def _is_written(row: StoredFile, output: _JobOutput) -> bool:
    return row.stat[:2] != output.located.stat[:2]


async def _insert(tx: Transaction, outputs: Sequence[_JobOutput]) -> None:
    rows = {o.located.folder: folder_row(o.located.folder, o.located.place) for o in outputs}
    if not rows:
        return
    folder_ids = await files.add_folders(tx, list(rows.values()))
    located = [output.located for output in outputs]
    await add_new(tx, [NewFile(folder_ids[file.folder], file.name, file.place, file.stat) for file in located])


def _jobs(
    outputs: Sequence[_JobOutput], before: dict[Position, StoredFile], after: dict[Position, StoredFile]
) -> list[tuple[int, str]]:
    """Return the jobs to store: for new and overwritten files, and for files without a job so far."""
    jobs: list[tuple[int, str]] = []
    for output in outputs:
        row = before.get(output.position)
        is_made = row is None or row.is_stale or row.stat[:2] != output.located.stat[:2]
        if is_made or (row is not None and row.job_id is None):
            jobs.append((after[output.position].id, output.job_id))
    return jobs


async def _record_contents(
    tx: Transaction, outputs: Sequence[_JobOutput], rows: dict[Position, StoredFile], roots: Roots, former: set[int]
) -> int:
    """Store the results of reading; return how many files were matched with older assets whose files were missing.

    ``former`` are the contents that the files had before.
    """
    hashed: list[Hashed] = []
    failures: list[Unreadable] = []
    for output in outputs:
        row_id = rows[output.position].id
        if isinstance(output.reading, Hashed):
            hashed.append(msgspec.structs.replace(output.reading, file_id=row_id))
        elif output.reading is not None:
            failures.append(msgspec.structs.replace(output.reading, file_id=row_id))
    first_time = await moves.never_hashed(tx, [result.file_id for result in hashed])
    await contents.record(tx, hashed)
    touched = former | await contents.of_assets(tx, [row.id for row in rows.values()])
    await contents.record_unreadable(tx, failures)
    moved = 0
    if first_time and await files.missing_count(tx):
        moved = await match_contents(tx, first_time, roots)
    await contents.update_missing_references(tx, touched)
    return moved
