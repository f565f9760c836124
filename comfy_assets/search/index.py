"""Keep the search indexes in step with the library: in the background, and at once when somebody searches."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Sequence
from contextlib import suppress

from ..assets.index.indexer import HASH, SCAN
from ..background.runner import Task, TaskRunner
from ..background.throttle import Throttle
from ..db import fulltext
from ..db.connection import Database, Transaction
from ..db.fulltext import Indexed
from ..errors import SearchNotReadyError
from .asset_text import RULES, SearchWords, are_alike

log = logging.getLogger("comfy_assets.library")

SEARCH = "asset_search"

_BATCH = 500  # assets a transaction
_INTERVAL_S = 2.0
_AFTER_FAILURE_S = 60.0
_COURTESY_S = 10.0  # how long scans and hash runs go first
_MOMENT_S = 0.1
_PATIENCE_S = 15.0


class SearchIndex:
    """Indexes what is new or has changed: every two seconds, as a task, and whenever all must be known."""

    def __init__(self, db: Database, tasks: TaskRunner, gate: Throttle) -> None:
        self._db = db
        self._tasks = tasks
        self._gate = gate
        self._words = SearchWords()
        self._stepping = asyncio.Lock()
        self._has_right_rules = False
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to index in the background, if this server can."""
        if self._db.can_search and self._watching is None:
            self._watching = asyncio.create_task(self._watch(), name="comfy-assets search index")

    async def close(self) -> None:
        """Look for nothing more; the task under way ends with the others."""
        if self._watching is not None:
            self._watching.cancel()
            with suppress(asyncio.CancelledError):
                await self._watching
            self._watching = None

    async def complete(self) -> None:
        """Return when all that was in the library at the time of the call is indexed as it is.

        What is not yet is indexed now, whether prompts execute or not. Raises SearchUnavailableError, or
        SearchNotReadyError when that takes too long, as with a large library that was never indexed.
        """
        self._db.require_search()
        if not await self._has_work():
            return
        try:
            await asyncio.wait_for(self.catch_up(), _PATIENCE_S)
        except asyncio.TimeoutError:
            indexed, total = await fulltext.progress(self._db)
            raise SearchNotReadyError(
                f"The library is being indexed for search ({indexed:,} of {total:,} assets). Try again in a while.",
                details={"field": "q", "indexed": indexed, "total": total},
            ) from None

    async def catch_up(self) -> None:
        """Index all there is, however long it takes."""
        while await self._step():
            pass

    async def _watch(self) -> None:
        """Start the task whenever there is something for it to do."""
        while True:
            pause = _INTERVAL_S
            try:
                if await self._has_work():
                    task, _ = self._tasks.start(SEARCH, self._work)
                    await task.done.wait()
                    pause = _AFTER_FAILURE_S if task.status == "failed" else pause
            except (sqlite3.Error, ValueError) as error:  # aiosqlite's for a connection that is closed
                log.warning("The search index could not be looked at: %s", error)
                pause = _AFTER_FAILURE_S
            await asyncio.sleep(pause)

    async def _has_work(self) -> bool:
        return not self._has_right_rules or await fulltext.has_backlog(self._db)

    async def _work(self, task: Task) -> None:
        await self._let_others_go_first(task)
        indexed = 0
        while True:
            await asyncio.to_thread(self._gate.wait, task.token)
            done = await self._step()
            if not done:
                return
            indexed += done
            task.result = {"indexed": indexed}

    async def _let_others_go_first(self, task: Task) -> None:
        """Wait for scans and hash runs, for some seconds: what they change would have to be indexed twice."""
        end = time.monotonic() + _COURTESY_S
        while time.monotonic() < end and any(
            other is not None and other.is_running for other in map(self._tasks.latest, (SCAN, HASH))
        ):
            task.token.check()
            await asyncio.sleep(_MOMENT_S)

    async def _step(self) -> int:
        """Index one batch; answers how many assets it had. Documents are read before the transaction begins."""
        async with self._stepping:
            if not self._has_right_rules:
                await self._renew()
            if not await fulltext.has_backlog(self._db):
                return 0
            ahead = await fulltext.stale(self._db, _BATCH)
            ahead += await fulltext.new(self._db, _BATCH - len(ahead))
            await self._words.prepare(self._db, ahead)
            async with self._db.transaction() as tx:
                return await self._index(tx)

    async def _renew(self) -> None:
        """Begin anew when the words were made by the rules of another release."""
        if await fulltext.rules(self._db) != RULES:
            async with self._db.transaction() as tx:
                await fulltext.start_over(tx, RULES)
        self._has_right_rules = True

    async def _index(self, tx: Transaction) -> int:
        stale = await fulltext.stale(tx, _BATCH)
        await self._replace(tx, stale)
        # While one is stale that is gone, a new asset might have its id.
        new = await fulltext.new(tx, _BATCH - len(stale)) if len(stale) < _BATCH else []
        await fulltext.put(tx, await self._words.entries(tx, new))
        await fulltext.settle(tx, [row.id for row in stale], new[-1].id if new else None)
        return len(stale) + len(new)

    async def _replace(self, tx: Transaction, stale: Sequence[Indexed]) -> None:
        """Index assets as they are instead of as they were; none stays that is gone."""
        current = {row.id: row for row in await fulltext.present(tx, [row.id for row in stale])}
        former = [row for row in stale if not are_alike(row, current.get(row.id))]
        await fulltext.take_out(tx, await self._words.entries(tx, former, complete=True))
        await fulltext.put(tx, await self._words.entries(tx, [current[row.id] for row in former if row.id in current]))
