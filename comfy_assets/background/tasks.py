"""Background tasks: the runner that owns them, their rows in the store, and the queries of requests.

Each task has a name, a cancel token and a row, and the runner refers to it until it has ended.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Literal, Protocol

from ..db import tasks
from ..db.connection import Database
from ..errors import TaskNotFoundError
from ..ids import now_ms
from ..models import Page, TaskFilter, TaskPage, TaskRecord
from .cancel import Cancelled, CancelToken

log = logging.getLogger("comfy_assets.tasks")

TaskStatus = Literal["running", "completed", "failed", "cancelled"]
Work = Callable[["Task"], Awaitable[None]]
PROGRESS_INTERVAL_S = 1.0  # between writes of a row: each waits for the disk
CANCELLED = "Cancelled on request."
_KEPT = 100  # rows of each name: a scan at every start and every hash run would fill the table over the years


class TaskJournal(Protocol):
    """The store of task rows."""

    async def created(self, task_id: uuid.UUID, name: str, payload: dict[str, Any], owner: str) -> None:
        """Record that the task begins."""

    async def progressed(self, task_id: uuid.UUID, result: dict[str, Any]) -> None:
        """Record the progress of the task."""

    async def finished(self, task_id: uuid.UUID, result: dict[str, Any], error: str | None) -> None:
        """Record the end of the task, with a message if it failed."""


class Task:
    """A piece of work, running or ended.

    ``result`` is its progress while it runs, then its outcome. ``owner`` is the user who may see it, "" for all users.
    ``failure`` is the exception raised by the work; it is logged unless a caller waits for it (``is_awaited``).
    """

    def __init__(self, name: str, payload: dict[str, Any], owner: str = "", *, is_awaited: bool = False) -> None:
        self.id = uuid.uuid4()
        self.name = name
        self.payload = payload
        self.owner = owner
        self.is_awaited = is_awaited
        self.failure: Exception | None = None
        self.token = CancelToken()
        self.status: TaskStatus = "running"
        self.result: dict[str, Any] = {}
        self.error: str | None = None
        self.started_at = now_ms()
        self.completed_at: int | None = None
        self.done = asyncio.Event()

    @property
    def is_running(self) -> bool:
        """True if the work has not ended."""
        return self.status == "running"


class TaskRunner:
    """Run at most one task of a name at a time, and remember the latest task of each name."""

    def __init__(self, journal: TaskJournal) -> None:
        self._journal = journal
        self._latest: dict[str, Task] = {}
        self._running: dict[Task, asyncio.Task[None]] = {}
        self._closing = False

    def latest(self, name: str) -> Task | None:
        """Return the running task of this name, else the one that ended last, else None."""
        return self._latest.get(name)

    def start(self, name: str, work: Work, payload: dict[str, Any] | None = None) -> tuple[Task, bool]:
        """Start the work unless a task of this name runs; return the task, and whether it is new."""
        current = self._latest.get(name)
        if current is not None and current.is_running:
            return current, False
        task = Task(name, payload or {})
        self._latest[name] = task
        self._begin(task, work)
        return task, True

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
            task.token.cancel()
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
        task.token.cancel()
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
            await self._journal.created(task.id, task.name, task.payload, task.owner)
            await work(task)
            task.status = "completed"
        except Cancelled as error:
            task.status, task.error, task.failure = "cancelled", CANCELLED, error
        except asyncio.CancelledError:
            task.token.cancel()
            task.status, task.error = "cancelled", CANCELLED
            raise
        except Exception as error:
            if not task.is_awaited:
                log.exception("The task %s failed", task.name)
            task.status, task.error, task.failure = "failed", f"{type(error).__name__}: {error}", error
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
        task.done.set()

    async def _finish(self, task: Task) -> None:
        try:
            await self._journal.finished(task.id, task.result, task.error)
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


class TaskStore:
    """The journal of a runner in the store. ``instance`` distinguishes the tasks of servers that share the store."""

    def __init__(self, db: Database, instance: int = 0) -> None:
        self._db = db
        self._instance = instance

    async def created(self, task_id: uuid.UUID, name: str, payload: dict[str, Any], owner: str) -> None:
        """Add a row for a task that begins, and remove the oldest rows of its name."""
        await tasks.keep_newest(self._db, name, _KEPT)
        await tasks.create(self._db, task_id, name, payload, owner, self._instance)

    async def progressed(self, task_id: uuid.UUID, result: dict[str, Any]) -> None:
        """Store the progress of a task."""
        await tasks.update(self._db, task_id, result)

    async def finished(self, task_id: uuid.UUID, result: dict[str, Any], error: str | None) -> None:
        """Store the end of a task, with a message if it failed."""
        await tasks.finish(self._db, task_id, result, error)


class TaskService:
    """Read tasks from the store. The progress of a running task is at most about a second old."""

    def __init__(self, db: Database) -> None:
        self._db = db

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
