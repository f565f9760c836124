"""Recording of output files: files that a prompt wrote become assets at once, with their job, hash and metadata.

``OutputRecorder.record`` runs on the thread that executes prompts and must not delay it. It only queues the files. A
moment later, a task reads the files of all prompts that finished meanwhile in a thread and records them in one
transaction. While prompts follow each other quickly, it does so once a second, or when a request needs the files.

Clients wait for the assets of a job that has ended, so its files are read at once. For some milliseconds, though, a
further write may leave the size and the time stamp of a file as they are. Once these have passed, a second reading
compares its content with the one that was read.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple

from ...background.interruption import Cancelled, CancelToken
from ...db import assets, files, job_links, tags
from ...db.assets import AliasedFile
from ...db.connection import Database, Transaction
from ...db.contents import Hashed, Unreadable
from ...db.files import Position, StoredFile
from ...db.job_links import JobOwner, ShownAt
from ...errors import StoreBusyError
from ...fs.paths import fresh_for_ns
from ...host.base import Host
from ...host.execution import FinishedPrompt
from ...ids import new_ids, now_ms
from ..index.content_reader import is_early, is_rewritten, read_file
from ..roots import Roots
from .outputs import (
    JobOutputFile,
    LocatedFile,
    OutputFile,
    OutputFolders,
    ShownFile,
    is_of_job,
    record_files,
    shown_files,
)

log = logging.getLogger("comfy_assets.library")

# Pause before recording, in which more prompts may finish, and least time between two batches while prompts execute:
# each batch takes some statements and turns of threads, whatever it records, which the prompts would wait for.
IDLE_S, BUSY_S = 0.1, 1.0
_BATCH = 500  # files per transaction
_RETRY_S = 0.5  # pause before a batch is tried again after the database was busy
_MAX_WAITING = 20_000  # queued files; the next scan finds any others


class _FoundOutputs(NamedTuple):
    """The current folders, and the existing files of a batch, each with the first job that made it.

    ``links`` are all places where jobs showed files, ``path_links`` those where nodes named them by bare paths, and
    ``aliases`` the files to which the server has given ids of its own.
    """

    folders: OutputFolders
    outputs: list[JobOutputFile]
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
        self._second_reading = SecondReading(self._record_rewritten)
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._waiting: deque[tuple[str, ShownFile]] = deque()
        self._is_awake = False
        self._token = CancelToken()
        self._flush_now = asyncio.Event()
        self._recording = asyncio.Lock()
        self._last = float("-inf")  # begin of the last batch, by the loop's clock
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

    async def record_now(self, prompt_id: str, outputs: Mapping[str, Any]) -> None:
        """Record the files that nodes of a running prompt have shown, by node id, without waiting for others.

        The prompt's files are recorded once more at its end, which changes nothing unless they were written again.
        """
        found = shown_files(outputs)[:_MAX_WAITING]
        for start in range(0, 0 if self._token.is_cancelled else len(found), _BATCH):
            await self._record_batch([(prompt_id, shown) for shown in found[start : start + _BATCH]])

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
        await self._second_reading.close()
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
            await self._wait_for_more()
            self._last = self._loop.time()
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

    async def _wait_for_more(self) -> None:
        """Wait until prompts have stopped ending, at most until a second after the last batch.

        Do not wait any longer when files are wanted now.
        """
        while True:
            count = len(self._waiting)
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._flush_now.wait(), IDLE_S)
            if self._flush_now.is_set() or self._loop.time() >= self._last + BUSY_S or len(self._waiting) >= _BATCH:
                break
            # Between two short prompts of a client that waits for each, nothing executes.
            if len(self._waiting) == count and not self._host.is_executing():
                break
        if not self._token.is_cancelled:
            self._flush_now.clear()

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
        async with self._recording:  # else two batches with the same file would read it twice
            await self._record_located(batch)

    async def _record_located(self, batch: Sequence[tuple[str, ShownFile]]) -> None:
        makers = await self._makers_of_paths(batch)
        folders, outputs, links, path_links, aliases = await asyncio.to_thread(self._locate, batch, makers)
        if not links and not path_links:
            return
        known = await files.by_position(self._db, [output.position for output in outputs])
        outputs = [output for output in outputs if not _is_recorded(output, known.get(output.position))]
        outputs, _ = await asyncio.gather(asyncio.to_thread(self._read, outputs, known, folders), self._jobs_recorded())
        async with self._db.transaction() as tx:
            created = await self._record(tx, outputs, folders.roots) if outputs else 0
            await job_links.link_outputs(tx, links)
            # Users write paths into their graphs, and must not get at files of others by them.
            await job_links.link_visible_outputs(tx, path_links)
            await assets.add_aliases(tx, aliases)
            if self._is_private:
                job_ids = {link[0] for link in links}
                created += await job_links.refer_to_others(tx, job_ids, lambda: new_ids(1)[0], now_ms())
        if outputs or created:
            self._host.emit("assets.changed", {"created": created} if created else {"changed": len(outputs)})
        self._second_reading.plan(outputs)

    async def _record_rewritten(self, outputs: Sequence[JobOutputFile]) -> None:
        """Record the content of files that were rewritten after they were read, without a change of their stat."""
        async with self._recording:
            folders = await asyncio.to_thread(lambda: OutputFolders(self._host.folders()))
            unread = [replace(output, reading=None) for output in outputs]
            read = await asyncio.to_thread(self._read, unread, {}, folders)
            async with self._db.transaction() as tx:
                rows = await files.by_position(tx, [output.position for output in read])
                await files.mark_changed(tx, [(row.id, *row.stat) for row in rows.values()], now_ms())
                await self._record(tx, read, folders.roots)
        self._host.emit("assets.changed", {"changed": len(read)})

    async def _makers_of_paths(self, batch: Sequence[tuple[str, ShownFile]]) -> dict[str, JobOwner]:
        """Return the jobs that name files by bare paths, by their ids."""
        job_ids = {job_id for job_id, shown in batch if shown.is_path}
        if not job_ids:
            return {}
        await self._jobs_recorded()
        return await job_links.owners_of_jobs(self._db, job_ids)

    async def _record(self, tx: Transaction, outputs: Sequence[JobOutputFile], roots: Roots) -> int:
        is_shared_host = self._host.is_multi_user()
        makers = await job_links.owners_of_jobs(tx, {output.job_id for output in outputs}) if is_shared_host else {}
        return await record_files(tx, outputs, roots, makers, private=self._is_private)

    def _locate(self, batch: Iterable[tuple[str, ShownFile]], makers: Mapping[str, JobOwner]) -> _FoundOutputs:
        """Return the existing files of a batch.

        ``makers`` are the jobs that name files by bare paths: they have made only those written since they began.
        """
        folders = OutputFolders(self._host.folders())
        located: dict[OutputFile, LocatedFile | None] = {}
        found: dict[Position, JobOutputFile] = {}
        links: list[ShownAt] = []
        path_links: list[ShownAt] = []
        aliases: list[AliasedFile] = []
        for job_id, shown in batch:
            if shown.file not in located:
                located[shown.file] = folders.locate(shown.file)
            if (file := located[shown.file]) is not None:
                output, slot = JobOutputFile(job_id, shown.file, file), shown.slot
                if not shown.is_path or is_of_job(file, makers.get(job_id)):
                    found.setdefault(output.position, output)
                to = path_links if shown.is_path else links
                to.append((job_id, slot.node_id, slot.key, slot.index, *output.position))
                if shown.alias is not None:
                    aliases.append(AliasedFile(shown.alias, *output.position))
        return _FoundOutputs(folders, list(found.values()), links, path_links, aliases)

    def _read(
        self, outputs: Sequence[JobOutputFile], known: dict[Position, StoredFile], folders: OutputFolders
    ) -> list[JobOutputFile]:
        """Read the files whose content is not known yet. Return the outputs without those that have vanished."""
        done: list[JobOutputFile] = []
        for output in outputs:
            row = known.get(output.position)
            if row is not None and row.is_read and row.stat[:2] == output.located.stat[:2]:
                done.append(output)
                continue
            early = is_early(output.located.pending())  # asked first: reading takes a moment
            reading = self._read_one(output.located) if self._read_files else None
            if reading is not None:
                done.append(replace(output, reading=reading, is_early=early))
            elif (located := folders.locate(output.file)) is not None:  # changed meanwhile, or reading is off
                done.append(replace(output, located=located))
        return done

    def _read_one(self, file: LocatedFile) -> Hashed | Unreadable | None:
        try:
            return read_file(file.pending(), self._token.check, _ignore, at_once=True)
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


def _is_recorded(output: JobOutputFile, row: StoredFile | None) -> bool:
    """Return whether a file needs no change: a later prompt has reported it again."""
    if row is None or row.missing or row.job_id is None:
        return False
    return row.is_read and row.stat[:2] == output.located.stat[:2]


class SecondReading:
    """Compares the contents of files that were read early. On the event loop."""

    def __init__(self, record_again: Callable[[Sequence[JobOutputFile]], Awaitable[None]]) -> None:
        """``record_again`` gets the files that were rewritten."""
        self._record_again = record_again
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closing = asyncio.Event()

    def plan(self, outputs: Iterable[JobOutputFile]) -> None:
        """Compare those of the recorded outputs that were read early, as soon as their time stamps are reliable."""
        early = [output for output in outputs if output.is_early and isinstance(output.reading, Hashed)]
        if early:
            task = asyncio.create_task(self._compare(early), name="comfy-assets second reading")
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    async def close(self) -> None:
        """Compare all of them now."""
        self._is_closing.set()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("Outputs could not be read a second time.", exc_info=error)

    async def _compare(self, outputs: Sequence[JobOutputFile]) -> None:
        wait_s = max(fresh_for_ns(output.located.stat[1]) for output in outputs) / 1e9
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._is_closing.wait(), wait_s)
        rewritten = await asyncio.to_thread(_rewritten, outputs)
        if rewritten:
            await self._record_again(rewritten)


def _rewritten(outputs: Iterable[JobOutputFile]) -> list[JobOutputFile]:
    return [
        output
        for output in outputs
        if isinstance(output.reading, Hashed) and is_rewritten(output.located.pending(), output.reading.hash)
    ]
