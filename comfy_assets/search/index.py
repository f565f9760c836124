"""Keep the full-text indexes of assets and jobs up to date: in the background, and before a search."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
import zlib
from collections.abc import Sequence
from contextlib import suppress

from ..assets.index.indexer import HASH, SCAN
from ..background.runner import Task, TaskRunner
from ..background.throttle import Throttle
from ..db import fulltext
from ..db.connection import Database, Transaction
from ..db.fulltext import FullTextIndex, IndexedAsset, IndexEntry
from ..errors import SearchNotReadyError
from . import graph_text
from .asset_text import RULES as ASSET_RULES
from .asset_text import AssetWords, are_indexed_alike
from .words import RULES as WORD_RULES

log = logging.getLogger("comfy_assets.library")

SEARCH = "asset_search"

_BATCH = 500  # rows that one transaction indexes: some tens of milliseconds, for which other writers wait
_INTERVAL_S = 2.0
_AFTER_FAILURE_S = 60.0
_COURTESY_S = 10.0  # how long scans and hash runs go first
_POLL_S = 0.1
_PATIENCE_S = 15.0  # how long a search waits for the index
_JOB_RULES = f"{WORD_RULES}/{graph_text.RULES}"


class _IndexUpdater:
    """The part that both indexes share: an index made by other rules is emptied and built again."""

    def __init__(self, db: Database, index: FullTextIndex, rules: str) -> None:
        self._db = db
        self._index = index
        self._rules = rules
        self._lock = asyncio.Lock()
        self._has_right_rules = False

    async def _ensure_rules(self) -> None:
        """Empty the index if its words were made by the rules of another release: queries would not match them."""
        if not self._has_right_rules and await fulltext.rules(self._db, self._index) != self._rules:
            async with self._db.transaction() as tx:
                await fulltext.start_over(tx, self._index, self._rules)
        self._has_right_rules = True


class SearchIndex(_IndexUpdater):
    """Indexes new and changed assets: every two seconds in a task, and before a search."""

    def __init__(self, db: Database, tasks: TaskRunner, throttle: Throttle) -> None:
        super().__init__(db, fulltext.ASSETS, ASSET_RULES)
        self._tasks = tasks
        self._throttle = throttle
        self._words = AssetWords()
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to index in the background, if this server's SQLite can."""
        if self._db.can_search and self._watching is None:
            self._watching = asyncio.create_task(self._watch(), name="comfy-assets search index")

    async def close(self) -> None:
        """Stop looking for work. A task that runs ends with the other tasks."""
        if self._watching is not None:
            self._watching.cancel()
            with suppress(asyncio.CancelledError):
                await self._watching
            self._watching = None

    async def complete(self) -> None:
        """Index everything that is in the library at the time of the call, even while prompts are executed.

        Raises SearchUnavailableError; and SearchNotReadyError if it takes too long, as in a large library that was
        never indexed.
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
        """Index everything, however long it takes."""
        while await self._step():
            pass

    async def _watch(self) -> None:
        """Start the task whenever there is work for it."""
        while True:
            pause = _INTERVAL_S
            try:
                if await self._has_work():
                    task, _ = self._tasks.start(SEARCH, self._work)
                    await task.done.wait()
                    pause = _AFTER_FAILURE_S if task.status == "failed" else pause
            except (sqlite3.Error, ValueError) as error:  # aiosqlite raises ValueError on a closed connection
                log.warning("The search index could not be read: %s", error)
                pause = _AFTER_FAILURE_S
            await asyncio.sleep(pause)

    async def _has_work(self) -> bool:
        return not self._has_right_rules or await fulltext.has_backlog(self._db)

    async def _work(self, task: Task) -> None:
        await self._let_others_go_first(task)
        indexed = 0
        while True:
            await asyncio.to_thread(self._throttle.wait, task.token)
            done = await self._step()
            if not done:
                return
            indexed += done
            task.result = {"indexed": indexed}

    async def _let_others_go_first(self, task: Task) -> None:
        """Wait some seconds for scans and hash runs: what they change would have to be indexed twice."""
        end = time.monotonic() + _COURTESY_S
        while time.monotonic() < end and any(
            other is not None and other.is_running for other in map(self._tasks.latest, (SCAN, HASH))
        ):
            task.token.check()
            await asyncio.sleep(_POLL_S)

    async def _step(self) -> int:
        """Index one batch; return the number of its assets."""
        async with self._lock:
            await self._ensure_rules()
            if not await fulltext.has_backlog(self._db):
                return 0
            # Documents are read before the transaction begins, as that takes longest.
            ahead = await fulltext.stale_assets(self._db, _BATCH)
            ahead += await fulltext.unindexed_assets(self._db, _BATCH - len(ahead))
            await self._words.prepare(self._db, ahead)
            async with self._db.transaction() as tx:
                return await self._index_batch(tx)

    async def _index_batch(self, tx: Transaction) -> int:
        stale = await fulltext.stale_assets(tx, _BATCH)
        await self._replace(tx, stale)
        # SQLite reuses ids: as long as stale rows remain, a new asset may have the id of one that was removed.
        new = await fulltext.unindexed_assets(tx, _BATCH - len(stale)) if len(stale) < _BATCH else []
        await fulltext.insert(tx, self._index, await self._words.entries(tx, new))
        await fulltext.mark_indexed(tx, [row.id for row in stale], new[-1].id if new else None)
        return len(stale) + len(new)

    async def _replace(self, tx: Transaction, stale: Sequence[IndexedAsset]) -> None:
        """Index assets in their current state instead of the former one, and remove those that are gone."""
        current = {row.id: row for row in await fulltext.current_assets(tx, [row.id for row in stale])}
        former = [row for row in stale if not are_indexed_alike(row, current.get(row.id))]
        await fulltext.delete(tx, self._index, await self._words.entries(tx, former, complete=True))
        changed = [current[row.id] for row in former if row.id in current]
        await fulltext.insert(tx, self._index, await self._words.entries(tx, changed))


class JobSearch(_IndexUpdater):
    """Indexes the words of jobs' graphs: before a search, and a moment after jobs were submitted."""

    def __init__(self, db: Database) -> None:
        super().__init__(db, fulltext.JOBS, _JOB_RULES)

    async def complete(self) -> None:
        """Index all jobs in the store. Raises SearchUnavailableError."""
        self._db.require_search()
        async with self._lock:
            await self._ensure_rules()
            while await self._index_batch():
                pass

    async def _index_batch(self) -> bool:
        """Index the next jobs; return whether there may be more."""
        graphs = await fulltext.unindexed_graphs(self._db, _BATCH)
        if graphs:
            entries = await asyncio.to_thread(_job_entries, graphs)
            async with self._db.transaction() as tx:
                await fulltext.insert_jobs(tx, entries)
        return len(graphs) == _BATCH


async def remove_jobs(tx: Transaction, row_ids: Sequence[int]) -> None:
    """Remove jobs, which are about to be deleted, from the index."""
    if not tx.can_search:
        # This SQLite cannot change the index either. One that can will build it again.
        await fulltext.invalidate_jobs(tx)
        return
    graphs = await fulltext.indexed_graphs(tx, row_ids)
    if graphs:
        await fulltext.delete(tx, fulltext.JOBS, await asyncio.to_thread(_job_entries, graphs))


def _job_entries(graphs: Sequence[tuple[int, bytes]]) -> list[IndexEntry]:
    return [
        IndexEntry(row_id, (" ".join(graph_text.words_in("prompt", zlib.decompress(body))),)) for row_id, body in graphs
    ]
