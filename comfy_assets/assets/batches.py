"""Batches: changes of many assets as one task, with progress and cancellation, each of which can be undone."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from ..background.interruption import Cancelled
from ..background.tasks import Task, TaskRunner
from ..db import batches, tags
from ..db.batches import MADE, UNDO_BEGUN, UNDONE, Batch
from ..db.connection import Database
from ..errors import (
    BatchNotFoundError,
    BatchRunningError,
    InvalidBodyError,
    SelectionTooLargeError,
    TooManyBatchesError,
    UndoBlockedError,
    UndoImpossibleError,
)
from ..host.base import Host
from ..ids import canonical_id, now_ms
from ..models import AssetFilter, PageRequest
from .batch_actions import ACTIONS, BatchAction, BatchParameters, BatchWork
from .host_files import AssetAliases
from .service import AssetService, not_found
from .trash import AssetTrash

BATCH, UNDO = "asset_batch", "asset_batch_undo"  # names of the tasks, the former also of their event
MOST_SELECTED = 100_000  # assets of a whole search
_LOOKED_UP = 1000  # ids at a time
_STEP_S = 0.04  # of a transaction: other writes wait for it
_FIRST, _LEAST = 200, 20  # assets in a step
_MOST_OF_ONE = 20  # running batches of a user
_EVENT_S = 0.25  # between two events
_MOST_BLOCKING = 10  # later batches that are named
# What can be undone: so many batches of a user, with so many assets in all, made in so many days.
KEPT, KEPT_ITEMS, KEPT_MS = 100, 500_000, 30 * 86_400_000


class BatchRequest(msgspec.Struct, frozen=True):
    """An action on assets: on those of ``ids``, or on all that pass a filter except those of ``excluded``.

    The latter are taken in the order of a list if ``order`` is given and matters, else the oldest records first.
    """

    action: str
    parameters: BatchParameters
    ids: tuple[str, ...] | None = None
    wanted: AssetFilter | None = None
    excluded: tuple[str, ...] = ()
    order: PageRequest | None = None  # of those that pass the filter


@dataclass(frozen=True)
class BatchRun:
    """A batch, and the task that carries it out or undoes it; no task if there is nothing to do any more."""

    batch: Batch
    task: Task | None


class BatchService:
    """Carries out and undoes batches. A batch is its user's alone."""

    def __init__(
        self,
        db: Database,
        host: Host,
        runner: TaskRunner,
        assets: AssetService,
        bin_: AssetTrash,
        aliases: AssetAliases,
    ) -> None:
        self._db = db
        self._host = host
        self._runner = runner
        self._assets = assets
        self._trash = bin_
        self._aliases = aliases
        self._running: dict[str, Task] = {}  # by batch

    async def start(self, request: BatchRequest, owner: str) -> BatchRun:
        """Start an action on many assets (batchAssets), which are selected now.

        Raises InvalidBodyError for an unknown action and for wrong parameters, ReservedTagError,
        CollectionNotFoundError, SelectionTooLargeError, TooManyBatchesError, SearchUnavailableError,
        SearchNotReadyError.
        """
        action = ACTIONS.get(request.action)
        if action is None:
            raise InvalidBodyError(f"action is one of {', '.join(ACTIONS)}.", details={"field": "action"})
        action.check(request.parameters)
        await action.check_target(self._db, request.parameters, owner)
        if sum(task.owner == owner for task in self._running.values()) >= _MOST_OF_ONE:
            raise TooManyBatchesError(f"At most {_MOST_OF_ONE} batches can run; try again when one has ended.")
        rows, unknown = await self._select(action, request, owner)
        batch = await self._create(request, action, owner)
        payload = {"batch_id": batch.id, "action": batch.action, "selected": len(rows) + len(unknown)}
        task = Task(BATCH, payload, owner, key=batch.id)

        async def work(running: Task) -> None:
            await self._apply(running, action, batch, request.parameters, rows, unknown)

        return await self._run(batch, task, work)

    async def _run(self, batch: Batch, task: Task, work: Callable[[Task], Awaitable[None]]) -> BatchRun:
        async def run(running: Task) -> None:
            try:
                await work(running)
            finally:
                del self._running[batch.id]

        self._running[batch.id] = task
        try:
            return BatchRun(batch, await self._runner.spawn(task, run))
        except BaseException:
            self._running.pop(batch.id, None)
            raise

    async def _select(
        self, action: BatchAction, request: BatchRequest, owner: str
    ) -> tuple[Sequence[int], Sequence[str]]:
        """Return the rows of the selected assets, and the ids that name none."""
        if request.ids is None and request.wanted is not None:
            if action.selects_deleted:
                raise InvalidBodyError("Deleted assets are selected by their ids.", details={"field": "filter"})
            rows = await self._assets.row_ids(request.wanted)
            if request.excluded:
                left_out = {*(await self._rows(request.excluded, owner, deleted=False)).values()}
                rows = [row for row in rows if row not in left_out]
            if len(rows) > MOST_SELECTED:
                raise SelectionTooLargeError(
                    f"{len(rows):,} assets match, but at most {MOST_SELECTED:,} can be changed at once.",
                    details={"count": len(rows), "max": MOST_SELECTED},
                )
            if request.order is not None and action.keeps_order:
                rows = await self._assets.in_order(rows, request.order)
            return rows, []
        ids = list(request.ids or ())
        found = await self._rows(ids, owner, deleted=action.selects_deleted)
        unknown = [asset_id for asset_id in ids if asset_id not in found]
        if unknown and await self._aliases.learn(unknown):
            found |= await self._rows(unknown, owner, deleted=action.selects_deleted)
            unknown = [asset_id for asset_id in unknown if asset_id not in found]
        return list(dict.fromkeys(found[asset_id] for asset_id in ids if asset_id in found)), unknown

    async def _rows(self, ids: Sequence[str], owner: str, *, deleted: bool) -> dict[str, int]:
        """Return the rows of assets by the ids that were given, in any spelling."""
        found: dict[str, int] = {}
        for first in range(0, len(ids), _LOOKED_UP):
            part = {asset_id: canonical_id(asset_id) for asset_id in ids[first : first + _LOOKED_UP]}
            wanted = sorted({known for known in part.values() if known is not None})
            rows = await batches.rows_of(self._db, wanted, owner, deleted=deleted)
            found |= {given: rows[known] for given, known in part.items() if known in rows}
        return found

    async def _create(self, request: BatchRequest, action: BatchAction, owner: str) -> Batch:
        batch = Batch(
            0,
            str(uuid.uuid4()),
            owner,
            request.action,
            msgspec.json.encode(request.parameters).decode(),
            msgspec.json.encode(action.aspects(request.parameters)).decode(),
            MADE,
            0,
            now_ms(),
        )
        async with self._db.transaction() as tx:
            row_id = await batches.create(tx, batch)
        return msgspec.structs.replace(batch, row_id=row_id)

    async def _apply(
        self,
        task: Task,
        action: BatchAction,
        batch: Batch,
        parameters: BatchParameters,
        rows: Sequence[int],
        unknown: Collection[str],
    ) -> None:
        work = BatchWork(self._db, self._trash, task.owner, parameters, batch.row_id)
        for asset_id in unknown:
            work.fail(asset_id, not_found(asset_id))
        progress = _Progress(self._host, task, batch, work, len(rows) + len(unknown))
        work.done = len(unknown)
        step, first = _Step(action.at_once), 0
        with progress.ended_as() as end:
            try:
                while first < len(rows):
                    progress.report("running")
                    task.token.check()
                    part = rows[first : first + step.size]
                    await step.timed(action.apply(work, part))
                    first += len(part)
                    work.done += len(part)
            finally:
                await self._end(batch, work)
                end.can_undo = work.changed > 0

    async def _end(self, batch: Batch, work: BatchWork) -> None:
        """Drop a batch that has changed nothing, and the oldest ones of the user."""
        dropped = await batches.outdated(self._db, batch.owner, KEPT, KEPT_ITEMS, now_ms() - KEPT_MS)
        if not work.changed:
            dropped.append(batch.row_id)
        for row_id in dropped:
            async with self._db.transaction() as tx:
                await batches.drop(tx, row_id)
        async with self._db.transaction() as tx:
            await tags.drop_unused_sets(tx)

    # Undoing

    async def latest(self, owner: str, limit: int) -> list[Batch]:
        """Return the user's latest batches, the latest first (listBatches)."""
        return await batches.latest(self._db, owner, limit)

    async def undo(self, batch_id: str, owner: str) -> BatchRun:
        """Restore the former values of a batch's assets (undoBatch). A batch that is undone stays as it is.

        What has been changed otherwise since stays, too. Raises BatchNotFoundError, BatchRunningError,
        UndoBlockedError while later batches have changed the same, UndoImpossibleError if nothing is left to restore.
        """
        known = canonical_id(batch_id)
        batch = await batches.get(self._db, known, owner) if known is not None else None
        if batch is None:
            raise BatchNotFoundError("There is no such batch, or it is too old to be undone.", details={"id": batch_id})
        running = self._running.get(batch.id)
        if running is not None and running.name == UNDO:
            return BatchRun(batch, running)
        if running is not None:
            raise BatchRunningError("The batch is still running; cancel it first.", details={"id": batch.id})
        if batch.state == UNDONE:
            return BatchRun(batch, None)
        action = ACTIONS[batch.action]
        left = await batches.item_count(self._db, batch.row_id)
        if not left and batch.state == UNDO_BEGUN:
            return BatchRun(batch, None)  # what an undoing had left was removed for good since
        if not left:
            raise UndoImpossibleError("Its assets have been removed for good.", details={"id": batch.id})
        if later := await batches.later_on_same(self._db, batch, _MOST_BLOCKING):
            raise UndoBlockedError(
                "A later change of the same assets has to be undone first.", details={"id": batch.id, "later": later}
            )
        async with self._db.transaction() as tx:
            await batches.set_state(tx, batch.row_id, UNDO_BEGUN)
        task = Task(UNDO, {"batch_id": batch.id, "action": batch.action}, owner, key=batch.id)

        async def work(running: Task) -> None:
            await self._revert(running, action, batch, left)

        return await self._run(batch, task, work)

    async def _revert(self, task: Task, action: BatchAction, batch: Batch, total: int) -> None:
        parameters = msgspec.json.decode(batch.parameters, type=BatchParameters)
        work = BatchWork(self._db, self._trash, task.owner, parameters, batch.row_id)
        progress = _Progress(self._host, task, batch, work, total)
        after, step = 0, _Step(action.at_once)
        with progress.ended_as() as end:
            try:
                while items := await batches.items(self._db, batch.row_id, after, step.size):
                    progress.report("running")
                    task.token.check()
                    await step.timed(action.undo(work, items))
                    after = items[-1].row_id
                    work.done += len(items)
            finally:
                left = await batches.item_count(self._db, batch.row_id)
                async with self._db.transaction() as tx:
                    # What could not be restored now, such as a file that is open, is tried again by the next request.
                    await batches.set_state(tx, batch.row_id, UNDO_BEGUN if left else UNDONE)
                    await tags.drop_unused_sets(tx)
                end.can_undo = left > 0


class _Step:
    """The number of assets in a step, adapted so that a step takes no longer than other writes should wait."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.size = min(_FIRST, most)

    async def timed(self, work: Awaitable[None]) -> None:
        """Await the work of a step, and adapt the size of the next one."""
        began = time.monotonic()
        await work
        took = max(time.monotonic() - began, 1e-4)
        # At most twice as many: the next ones may be slower.
        fitting = min(int(self.size * _STEP_S / took), 2 * self.size)
        self.size = min(max(fitting, min(_LEAST, self._most)), self._most)
        await asyncio.sleep(0)  # requests of pages come between


@dataclass
class _End:
    """The result of a batch that has ended."""

    can_undo: bool = False


class _Progress:
    """Reports the progress of a batch in its task's result, and in events to pages."""

    def __init__(self, host: Host, task: Task, batch: Batch, work: BatchWork, total: int) -> None:
        self._host = host
        self._task = task
        self._batch = batch
        self._work = work
        self._total = total
        self._sent = 0.0
        self._told = 0  # changes of which pages were told

    @contextlib.contextmanager
    def ended_as(self) -> Iterator[_End]:
        """Report the end of the block, with the state that it is left in."""
        end, status = _End(), "failed"
        try:
            yield end
            status = "completed"
        except Cancelled:
            status = "cancelled"
            raise
        finally:
            self.report(status, can_undo=end.can_undo)

    def report(self, status: str, *, can_undo: bool | None = None) -> None:
        """Set the result; send events at most four times a second, and at the end (``can_undo`` is known then)."""
        work = self._work
        result: dict[str, Any] = {
            "batch_id": self._batch.id,
            "action": self._batch.action,
            "total": self._total,
            "done": work.done,
            "changed": work.changed,
            "failed": work.failed,
            "failures": msgspec.to_builtins(work.failures),
        }
        is_end = can_undo is not None
        if is_end:
            result["can_undo"] = can_undo
        self._task.result = result
        now = time.monotonic()
        if now - self._sent < _EVENT_S and not is_end:
            return
        self._sent = now
        if work.changed > self._told:
            self._host.emit(ACTIONS[self._batch.action].event, {"changed": work.changed - self._told})
            self._told = work.changed
        # Servers do not know a page's user: with several users, pages read the task instead.
        if not self._host.is_multi_user():
            counts = {name: result[name] for name in ("batch_id", "action", "total", "done", "changed", "failed")}
            self._host.emit("asset_batch", {"task_id": str(self._task.id), **counts, "status": status})
