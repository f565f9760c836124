"""Outputs of executed prompts become assets at once, with the job that made them, their hash and metadata.

Prompts are told of on the thread that executes them, which is not to be held up: what they wrote is put in a list, and
a moment later the files of all that have finished meanwhile are read in a thread and recorded in one transaction.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import msgspec

from ...background.cancel import Cancelled, CancelToken
from ...db import assets, contents, files, folders, job_links, moves, owners, references
from ...db.connection import Database, Transaction
from ...db.contents import Hashed, Unreadable
from ...db.files import Position, StoredFile
from ...db.job_links import ShownAt
from ...db.moves import Candidate
from ...db.owners import Maker
from ...errors import StoreBusyError
from ...fs.stat import COARSE_TICK_NS
from ...host.base import Host
from ...host.execution import FinishedPrompt
from ...ids import new_ids, now_ms
from ...models import Pending
from ..index.content_reader import read_file
from ..index.diff import KnownFile, reconcile
from ..index.insert import NewFile, add_new, folder_row
from ..moves.exchange import leave
from ..moves.relocate import Marks, rejoin_by_content
from ..roots import Roots
from .outputs import LocatedFile, OutputFile, OutputFolders, ShownFile, shown_files

log = logging.getLogger("comfy_assets.library")

# How long to wait for more prompts to finish before recording what they wrote: while none is executed, and meanwhile.
IDLE_S, BUSY_S = 0.1, 0.5
_BATCH = 500
_RETRY_S = 0.5  # until outputs are recorded again that the store could not take
_MAX_WAITING = 20_000  # files; beyond them the next scan has to find what there is


@dataclass(frozen=True)
class _JobOutput:
    """A file that a job has written; ``reading`` is what came of reading it, if it was read."""

    job_id: str
    file: OutputFile
    located: LocatedFile
    reading: Hashed | Unreadable | None = None

    @property
    def position(self) -> Position:
        return self.located.folder, self.located.name


class OutputRecorder:
    """Takes what executed prompts have written into the library."""

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
        """For the running event loop. Without ``read_files`` a later run has to read what is listed.

        Where several users share the host, what a job writes is its owner's, or everybody's if outputs are ``shared``.
        ``jobs_recorded`` waits until the prompts told of so far have their rows, to which outputs are linked;
        ``finished`` is called with the ids of prompts of which nothing is left to be taken, or that failed.
        """
        self._db = db
        self._jobs_recorded = jobs_recorded
        self._finished = finished
        self._left: Counter[str] = Counter()  # files of each prompt that are not done with
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
        """Begin to give what jobs have made in former runs to their owners, where it is not shared."""
        if self._is_private:
            self._assigning = self._loop.create_task(
                self._assign_former_outputs(), name="comfy-assets owners of outputs"
            )
            self._assigning.add_done_callback(_log_failure)

    async def _assign_former_outputs(self) -> None:
        after = 0
        while found := await owners.public_outputs(self._db, self._host.user_ids(), after, _BATCH):
            async with self._db.transaction() as tx:
                for owner in {output.owner for output in found}:
                    await owners.give(tx, [output.row_id for output in found if output.owner == owner], owner)
            after = found[-1].job_row - 1  # its other outputs may not have been among these

    def record(self, prompt: FinishedPrompt) -> None:
        """Take what a prompt has written. Safe from any thread; returns at once."""
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
            log.warning("Prompts finish faster than what they write can be recorded; the next scan will find the rest.")
        if wake:
            self._call(self._start)

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop has been closed
            self._loop.call_soon_threadsafe(function, *arguments)

    def flush_soon(self) -> None:
        """Do not wait for more prompts to finish."""
        self._flush_now.set()

    async def drain(self) -> None:
        """Wait until all that was taken so far has been recorded."""
        await asyncio.sleep(0)  # what another thread has just asked for begins
        while self._running is not None and not self._running.done():
            await asyncio.wait([self._running])

    def cancel(self) -> None:
        """Take nothing more, and read no further. Safe from any thread."""
        self._token.cancel()

    async def close(self) -> None:
        """Record what has been taken, without reading it, and take nothing more."""
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
        """Say of which prompts nothing is left to be taken."""
        with self._lock:
            self._left.subtract(Counter(prompt_id for prompt_id, _ in batch))
            done = [prompt_id for prompt_id, count in self._left.items() if count <= 0]
            for prompt_id in done:
                del self._left[prompt_id]
        self._finished(done)

    def _requeue(self, batch: Sequence[tuple[str, ShownFile]]) -> None:
        """Have these come first again."""
        with self._lock:
            self._waiting.extendleft(reversed(batch))
            self._is_awake = True

    def _next_batch(self) -> list[tuple[str, ShownFile]]:
        with self._lock:
            count = min(_BATCH, len(self._waiting))
            self._is_awake = count > 0
            return [self._waiting.popleft() for _ in range(count)]

    async def _record_batch(self, batch: Sequence[tuple[str, ShownFile]]) -> None:
        folders, outputs, links = await asyncio.to_thread(self._locate, batch)
        if not outputs:
            return
        known = await files.by_position(self._db, [output.position for output in outputs])
        outputs = [output for output in outputs if not _is_recorded(output, known.get(output.position))]
        outputs = await asyncio.to_thread(self._read, outputs, known, folders)
        await self._jobs_recorded()
        async with self._db.transaction() as tx:
            created = await self._record(tx, outputs, folders.roots) if outputs else 0
            await job_links.link_outputs(tx, links)
            if self._is_private:
                job_ids = {link[0] for link in links}
                created += await owners.refer_to_others(tx, job_ids, lambda: new_ids(1)[0], now_ms())
        if outputs or created:
            self._host.emit("assets.changed", {"created": created} if created else {"changed": len(outputs)})

    async def _record(self, tx: Transaction, outputs: Sequence[_JobOutput], roots: Roots) -> int:
        is_shared_host = self._host.is_multi_user()
        makers = await owners.makers(tx, {output.job_id for output in outputs}) if is_shared_host else {}
        return await _record(tx, outputs, roots, makers, private=self._is_private)

    def _locate(self, batch: Iterable[tuple[str, ShownFile]]) -> tuple[OutputFolders, list[_JobOutput], list[ShownAt]]:
        """The folders as they are now; those files that are there, each with the first job that named it; and where
        each of the jobs has shown them."""
        folders = OutputFolders(self._host.folders())
        located: dict[OutputFile, LocatedFile | None] = {}
        found: dict[Position, _JobOutput] = {}
        links: list[ShownAt] = []
        for job_id, shown in batch:
            if shown.file not in located:
                located[shown.file] = folders.locate(shown.file)
            if (file := located[shown.file]) is not None:
                output, slot = _JobOutput(job_id, shown.file, file), shown.slot
                found.setdefault(output.position, output)
                links.append((job_id, slot.node_id, slot.key, slot.index, *output.position))
        return folders, list(found.values()), links

    def _read(
        self, outputs: Sequence[_JobOutput], known: dict[Position, StoredFile], folders: OutputFolders
    ) -> list[_JobOutput]:
        """The outputs with what they contain, unless that is known; without those that have vanished."""
        done: list[_JobOutput] = []
        for output in outputs:
            row = known.get(output.position)
            if row is not None and row.is_read and row.stat[:2] == output.located.stat[:2]:
                done.append(output)
                continue
            reading = self._read_one(output.located) if self._read_files else None
            if reading is not None:
                done.append(replace(output, reading=reading))
            elif (located := folders.locate(output.file)) is not None:  # written to meanwhile, or not read at all
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
    """Whether nothing is to be added: an output that was there before, shown again by a later prompt."""
    if row is None or row.missing or row.job_id is None:
        return False
    return row.is_read and row.stat[:2] == output.located.stat[:2]


async def _record(
    tx: Transaction, outputs: Sequence[_JobOutput], roots: Roots, makers: Mapping[str, Maker], *, private: bool
) -> int:
    """Make the store say what there is now; return the number of new assets.

    ``makers`` are the users whose jobs these are, by job ids, where several users share the host.
    """
    positions = [output.position for output in outputs]
    before = await files.by_position(tx, positions)
    touched = await references.contents_of(tx, [row.id for row in before.values()])
    replaced = await _detach_replaced(tx, outputs, before, roots, makers)
    before = {position: row for position, row in before.items() if row.id not in replaced}
    await _insert(tx, [output for output in outputs if output.position not in before])
    await _update(tx, outputs, before)
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
    makers: Mapping[str, Maker],
) -> None:
    """Give the files that jobs have written to the users whose jobs these are.

    A file that was there before a job began is not of its making: the job has only shown it.
    """
    given: dict[str, list[int]] = {}
    for output in outputs:
        row_id = after[output.position].id
        maker = makers.get(jobs.get(row_id, ""))
        if maker is None or not maker.owner:
            continue
        is_written = output.located.stat[1] >= maker.began_at * 1_000_000 - COARSE_TICK_NS
        if is_written or output.position not in before:
            given.setdefault(maker.owner, []).append(row_id)
    for owner, row_ids in given.items():
        await owners.give(tx, row_ids, owner)


async def _detach_replaced(
    tx: Transaction,
    outputs: Sequence[_JobOutput],
    before: dict[Position, StoredFile],
    roots: Roots,
    makers: Mapping[str, Maker],
) -> set[int]:
    """Let those assets be missing whose places surely have new files, unless nothing is lost with them; answers them.

    A name is used anew once its file is gone. What the asset has is that file's, which may only have moved: what
    somebody has given it and, if it was known to be missing, its job. A user's asset never gets the file that another
    user's job has written over its own.
    """
    written = {
        row.id: o for o in outputs if (row := before.get(o.position)) is not None and _is_written(row, o.located)
    }
    rows = [row for row in before.values() if row.id in written]
    replaced = {row.id for row in rows if _is_replaced(row, written[row.id].located)}
    if not (replaced or (rows and makers)):
        return set()
    marks = Marks(roots)
    made = {row.id for row in rows if row.missing and row.job_id is not None}
    found = await moves.by_id(tx, list(written))

    def is_lost(file: Candidate) -> bool:
        maker = makers.get(written[file.id].job_id)
        if maker is not None and file.owner not in ("", maker.owner):
            return True
        return file.id in replaced and (file.id in made or not marks.is_plain(file))

    lost = await asyncio.to_thread(lambda: [file for file in found if is_lost(file)])
    await leave(tx, lost, roots)
    return {file.id for file in lost}


def _is_written(row: StoredFile, file: LocatedFile) -> bool:
    return row.stat[:2] != file.stat[:2]


def _is_replaced(row: StoredFile, file: LocatedFile) -> bool:
    return _is_written(row, file) and (row.missing or file.is_other_than(row.stat))


async def _insert(tx: Transaction, outputs: Sequence[_JobOutput]) -> None:
    rows = {o.located.folder: folder_row(o.located.folder, o.located.place) for o in outputs}
    if not rows:
        return
    folder_ids = await folders.add(tx, list(rows.values()))
    located = [output.located for output in outputs]
    await add_new(tx, [NewFile(folder_ids[file.folder], file.name, file.place, file.stat) for file in located])


async def _update(tx: Transaction, outputs: Sequence[_JobOutput], before: dict[Position, StoredFile]) -> None:
    """Bring rows up to date with files that were written over, or that came back."""
    known = {os.path.join(*at): KnownFile(row.id, row.stat, row.missing) for at, row in before.items()}  # noqa: PTH118
    seen = {os.path.join(*o.position): o.located.stat for o in outputs if o.position in before}  # noqa: PTH118
    changes = reconcile(known, seen)
    if changes.changed:
        rewritten = [(row.id, *stat) for row, stat in changes.changed]
        await files.mark_changed(tx, rewritten, now_ms())
    there = [row.id for row, _ in (*changes.changed, *changes.back) if row.missing]
    if there:
        await files.mark_present(tx, there)


def _jobs(
    outputs: Sequence[_JobOutput], before: dict[Position, StoredFile], after: dict[Position, StoredFile]
) -> list[tuple[int, str]]:
    """The jobs to note: of new files, of those written over, and of those whose job was not known."""
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
    """Store what was read; answers how many of the files are those of older assets that had lost theirs.

    ``former`` are the contents that the files held before.
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
    touched = former | await references.contents_of(tx, [row.id for row in rows.values()])
    await contents.record_unreadable(tx, failures)
    moved = 0
    if first_time and await files.missing_count(tx):
        moved = await rejoin_by_content(tx, first_time, roots)
    await references.settle(tx, touched)
    return moved
