"""Background tasks: the runner that owns them, their rows in the store, queries of requests, and the watch for work.

Each task has a name, a cancel token and a row, and the runner refers to it until it has ended. Work that rows in the
store tell of is looked for at an interval, each look a cheap query.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import uuid
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from typing import Any, Literal, Protocol

from ..db import tasks
from ..db.connection import Database
from ..db.tasks import STOPPED
from ..errors import ApiError, StoreUnavailableError, TaskNotCancellableError, TaskNotFoundError
from ..ids import now_ms
from ..models import Page, TaskFilter, TaskPage, TaskRecord
from .interruption import Cancelled, CancelToken

log = logging.getLogger("comfy_assets.tasks")
_library_log = logging.getLogger("comfy_assets.library")

TaskStatus = Literal["running", "completed", "failed", "cancelled"]
Work = Callable[["Task"], Awaitable[None]]
PROGRESS_INTERVAL_S = 1.0  # between writes of a row: each waits for the disk
CANCELLED = "Cancelled on request."
_KEPT = 100  # rows of each name: a scan at every start and every hash run would fill the table over the years
WATCH_INTERVAL_S = 2.0  # between looks for work
AFTER_FAILURE_S = 60.0


class TaskFailedError(Exception):
    """The work of a task cannot be done; the message says why, for people. It is not logged as a bug."""


class TaskJournal(Protocol):
    """The store of task rows."""

    async def created(self, task_id: uuid.UUID, name: str, payload: dict[str, Any], owner: str, key: str) -> None:
        """Record that the task begins, or that it goes on after a restart of the server."""

    async def progressed(self, task_id: uuid.UUID, result: dict[str, Any]) -> None:
        """Record the progress of the task."""

    async def finished(self, task_id: uuid.UUID, status: TaskStatus, result: dict[str, Any], error: str | None) -> None:
        """Record the end of the task, with a message unless it completed."""


class Task:
    """A piece of work, running or ended.

    ``result`` is its progress while it runs, then its outcome. ``owner`` is the user who may see it, "" for all users.
    ``key`` identifies the work: no second task of the owner does it meanwhile. ``failure`` is the exception raised by
    the work; it is logged unless a caller waits for it (``is_awaited``). ``is_cancellable``: requests may cancel it.
    ``is_resumable``: the next start of the server continues it if this one stops before its end.
    """

    def __init__(
        self,
        name: str,
        payload: dict[str, Any],
        owner: str = "",
        *,
        task_id: uuid.UUID | None = None,
        key: str | None = None,
        is_awaited: bool = False,
        is_cancellable: bool = True,
        is_resumable: bool = False,
    ) -> None:
        self.id = task_id or uuid.uuid4()
        self.name = name
        self.payload = payload
        self.owner = owner
        self.key = key if key is not None else str(self.id)
        self.is_awaited = is_awaited
        self.is_cancellable = is_cancellable
        self.is_resumable = is_resumable
        self.is_cancel_requested = False
        self.failure: Exception | None = None
        self.token = CancelToken()
        self.status: TaskStatus = "running"
        self.result: dict[str, Any] = {}
        self.error: str | None = None
        self.started_at = now_ms()
        self.completed_at: int | None = None
        self.stored = asyncio.Event()  # set once the task has a row, or has failed to get one
        self.done = asyncio.Event()

    @property
    def is_running(self) -> bool:
        """True if the work has not ended."""
        return self.status == "running"

    def cancel(self) -> None:
        """Request that the work stops."""
        self.is_cancel_requested = True
        self.token.cancel()


class TaskRunner:
    """Runs tasks: one of a name at a time, whose latest is remembered, or several beside each other."""

    def __init__(self, journal: TaskJournal) -> None:
        self._journal = journal
        self._latest: dict[str, Task] = {}
        self._running: dict[Task, asyncio.Task[None]] = {}
        self._closing = False

    def latest(self, name: str) -> Task | None:
        """Return the running task of this name, else the one that ended last, else None."""
        return self._latest.get(name)

    def count(self, names: Collection[str], owner: str) -> int:
        """Return how many tasks of these names and this owner run."""
        return sum(task.name in names and task.owner == owner for task in self._running)

    def start(
        self, name: str, work: Work, payload: dict[str, Any] | None = None, *, is_cancellable: bool = True
    ) -> tuple[Task, bool]:
        """Start the work unless a task of this name runs; return the task, and whether it is new."""
        current = self._latest.get(name)
        if current is not None and current.is_running:
            return current, False
        task = Task(name, payload or {}, is_cancellable=is_cancellable)
        self._latest[name] = task
        self._begin(task, work)
        return task, True

    async def spawn(self, task: Task, work: Work) -> Task:
        """Start the work as this task, beside others of its name, and return the task once it is stored.

        If a task of the same name, owner and key runs, that one is returned and nothing is started. Raises
        StoreUnavailableError.
        """
        same = (
            each for each in self._running if (each.name, each.owner, each.key) == (task.name, task.owner, task.key)
        )
        current = next((each for each in same if not each.token.is_cancelled), None)
        if current is None:
            current = task
            self._begin(task, work)
        await current.stored.wait()
        if isinstance(current.failure, StoreUnavailableError):
            raise current.failure
        return current

    async def run(self, name: str, work: Work, payload: dict[str, Any] | None = None, owner: str = "") -> Task:
        """Run the work as a task of its own, beside others of the name, and wait until it has ended.

        Raises any exception of the work, including Cancelled. Cancelling the call cancels the work.
        """
        task = Task(name, payload or {}, owner, is_awaited=True)
        running = self._begin(task, work)
        try:
            # Cancelling the work itself would abandon its threads: its token stops them at the next piece of work.
            await asyncio.shield(running)
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait([running])
            raise
        if task.failure is not None:
            raise task.failure
        return task

    def _begin(self, task: Task, work: Work) -> asyncio.Task[None]:
        if self._closing:
            task.token.cancel()  # it still gets a row, which says that it was cancelled
        running = asyncio.create_task(self._run(task, work), name=f"comfy-assets {task.name}")
        self._running[task] = running
        running.add_done_callback(lambda _: self._ended(task))
        return running

    def cancel(self, name: str) -> bool:
        """Request that the running task of this name stops; return whether there is one."""
        task = self._latest.get(name)
        if task is None or not task.is_running:
            return False
        task.cancel()
        return True

    def cancel_task(self, task_id: uuid.UUID) -> bool:
        """Request that a task stops; return False unless it runs here and may be cancelled."""
        task = next((each for each in self._running if each.id == task_id), None)
        if task is None or not task.is_cancellable:
            return False
        task.cancel()
        return True

    def cancel_all(self) -> None:
        """Cancel all tasks, and every task that begins later. Safe from any thread."""
        self._closing = True
        for task in list(self._running):  # a copy: tasks end on the event loop meanwhile
            task.token.cancel()

    async def close(self) -> None:
        """Cancel all tasks and wait until they have ended."""
        self.cancel_all()
        while self._running:  # tasks that begin meanwhile are cancelled, but have to end as well
            await asyncio.wait(list(self._running.values()))

    async def _run(self, task: Task, work: Work) -> None:
        reporter = asyncio.create_task(self._report(task), name=f"comfy-assets {task.name} progress")
        try:
            await self._journal.created(task.id, task.name, task.payload, task.owner, task.key)
            task.stored.set()
            await work(task)
            task.status = "completed"
        except Cancelled as error:
            task.status, task.error, task.failure = "cancelled", CANCELLED, error
        except asyncio.CancelledError:
            task.token.cancel()
            task.status, task.error = "cancelled", CANCELLED
            raise
        except TaskFailedError as error:
            if not task.is_awaited:
                log.warning("The task %s failed: %s", task.name, error)
            task.status, task.error, task.failure = "failed", str(error), error
        except Exception as error:
            if not task.is_awaited:
                log.exception("The task %s failed", task.name)
            task.status, task.error, task.failure = "failed", _error_text(error), error
        finally:
            reporter.cancel()
            task.completed_at = now_ms()
            await self._finish(task)

    def _ended(self, task: Task) -> None:
        # asyncio never runs the ``finally`` of a task that is cancelled before its first step; this callback does run.
        if task.is_running:
            task.token.cancel()
            task.status, task.error = "cancelled", CANCELLED
            task.completed_at = now_ms()
        del self._running[task]
        task.stored.set()
        task.done.set()

    async def _finish(self, task: Task) -> None:
        status, error = task.status, task.error
        if status == "cancelled" and not task.is_cancel_requested:
            if task.is_resumable:
                return  # its row still says that it runs, which makes the next start continue it
            if self._closing:
                status, error = "failed", STOPPED
        try:
            await self._journal.finished(task.id, status, task.result, error)
        except Exception:
            log.exception("The end of the task %s could not be recorded", task.name)

    async def _report(self, task: Task) -> None:
        """Record the progress once a second while it changes."""
        recorded: dict[str, Any] = {}
        while True:
            await asyncio.sleep(PROGRESS_INTERVAL_S)
            if task.result != recorded:
                recorded = dict(task.result)  # a copy: the work changes it while it is written
                await self._record_progress(task, recorded)

    async def _record_progress(self, task: Task, result: dict[str, Any]) -> None:
        try:
            await self._journal.progressed(task.id, result)
        except Exception:
            log.exception("The progress of the task %s could not be recorded", task.name)


def _error_text(error: Exception) -> str:
    """Return the message of a failed task: that of an ApiError is written for people."""
    return error.message if isinstance(error, ApiError) else f"{type(error).__name__}: {error}"


class TaskStore:
    """The journal of a runner in the store. ``instance`` distinguishes the tasks of servers that share the store."""

    def __init__(self, db: Database, instance: int = 0) -> None:
        self._db = db
        self._instance = instance

    async def created(self, task_id: uuid.UUID, name: str, payload: dict[str, Any], owner: str, key: str) -> None:
        """Add a row for a task that begins, and remove the oldest rows of its name."""
        await tasks.keep_newest(self._db, name, _KEPT)
        await tasks.create(self._db, task_id, name, payload, owner, self._instance, key)

    async def progressed(self, task_id: uuid.UUID, result: dict[str, Any]) -> None:
        """Store the progress of a task."""
        await tasks.update(self._db, task_id, result)

    async def finished(self, task_id: uuid.UUID, status: TaskStatus, result: dict[str, Any], error: str | None) -> None:
        """Store the end of a task, with a message unless it completed."""
        await tasks.finish(self._db, task_id, status, result, error)


class TaskService:
    """Read and cancel tasks. The progress of a running task is at most about a second old."""

    def __init__(self, db: Database, runner: TaskRunner) -> None:
        self._db = db
        self._runner = runner

    async def list(self, wanted: TaskFilter, page: TaskPage) -> Page[TaskRecord]:
        """Return one page of tasks (listTasks)."""
        return await tasks.list_page(self._db, wanted, page)

    async def get(self, task_id: str, owner: str) -> TaskRecord:
        """Return a task (getTask).

        Raises TaskNotFoundError, also for another user's task and for a malformed id.
        """
        try:
            found = await tasks.get(self._db, uuid.UUID(task_id), owner)
        except ValueError:
            found = None
        if found is None:
            raise TaskNotFoundError("There is no such task.", details={"id": task_id})
        return found

    async def cancel(self, task_id: str, owner: str) -> None:
        """Request that a task stops (cancelTask). Its state is `cancelled` once it has.

        Raises TaskNotFoundError, and TaskNotCancellableError for a task that has ended, that another server runs, or
        that the server needs.
        """
        task = await self.get(task_id, owner)
        if not self._runner.cancel_task(uuid.UUID(bytes=task.id)):
            raise TaskNotCancellableError("The task cannot be cancelled.", details={"id": task_id})


class WorkWatch:
    """Looks for work, and does it, until it is closed."""

    def __init__(self, look: Callable[[], Awaitable[bool]], name: str, trouble: str) -> None:
        """``look`` does the work there is, and returns False if that failed. ``trouble`` begins the log's warning."""
        self._look = look
        self._name = name
        self._trouble = trouble
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look for work in the background."""
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch(), name=self._name)

    async def close(self) -> None:
        """Stop looking for work. A task that runs ends with the other tasks."""
        if self._watching is not None:
            self._watching.cancel()
            with suppress(asyncio.CancelledError):
                await self._watching
            self._watching = None

    async def _watch(self) -> None:
        while True:
            try:
                is_well = await self._look()
            except (sqlite3.Error, ValueError) as error:  # aiosqlite raises ValueError on a closed connection
                _library_log.warning("%s: %s", self._trouble, error)
                is_well = False
            await asyncio.sleep(WATCH_INTERVAL_S if is_well else AFTER_FAILURE_S)
