"""Keep the full-text indexes of assets and jobs up to date: in the background, and before a search.

The words of an asset come from its name, tags, type and folder, from the documents in its file, and if those have no
graph, from the graph of the job that made it; those of a job come from its graph.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

from ..background.interruption import Throttle
from ..background.tasks import Task, TaskRunner, WorkWatch
from ..db import fulltext
from ..db.compression import decompress
from ..db.connection import Database, Transaction
from ..db.fulltext import FullTextIndex, IndexedAsset, IndexEntry
from ..errors import SearchNotReadyError, StoreBusyError
from .asset_words import AssetWords, are_indexed_alike, words_of_graph
from .words import RULES

log = logging.getLogger("comfy_assets.library")

SEARCH = "asset_search"

_MALFORMED = "malformed"  # in SQLite's message
_BATCH = 500  # rows that one transaction indexes: some tens of milliseconds, for which other writers wait
_COURTESY_S = 10.0  # for how long other tasks go first
_POLL_S = 0.1
_LONGEST_PAUSE_S = 1.0
_PATIENCE_S = 15.0  # how long a search waits for the index


class _IndexUpdater:
    """The part that both indexes share: an index made by other rules is emptied and built again."""

    def __init__(self, db: Database, index: FullTextIndex) -> None:
        self._db = db
        self._index = index
        self._lock = asyncio.Lock()
        self._has_right_rules = False

    async def _ensure_rules(self) -> None:
        """Empty the index if its words were made by the rules of another release: queries would not match them."""
        if not self._has_right_rules and await fulltext.rules(self._db, self._index) != RULES:
            async with self._db.transaction() as tx:
                await fulltext.start_over(tx, self._index, RULES)
        self._has_right_rules = True


class SearchIndex(_IndexUpdater):
    """Indexes new and changed assets: every two seconds in a task, and before a search."""

    def __init__(self, db: Database, tasks: TaskRunner, throttle: Throttle, after: Sequence[str] = ()) -> None:
        """``after`` are the names of tasks that go first, for some seconds: they change what would be indexed."""
        super().__init__(db, fulltext.ASSETS)
        self._after = after
        self._tasks = tasks
        self._throttle = throttle
        self._words = AssetWords()
        self._watch = WorkWatch(self._look, "comfy-assets search index", "The search index could not be read")

    def start(self) -> None:
        """Begin to index in the background, if this server's SQLite can."""
        if self._db.can_search:
            self._watch.start()

    async def close(self) -> None:
        """Stop looking for work. A task that runs ends with the other tasks."""
        await self._watch.close()

    async def complete(self) -> None:
        """Index everything that is in the library at the time of the call, even while prompts are executed.

        Raises SearchUnavailableError; and SearchNotReadyError if it takes too long, as in a large library that was
        never indexed.
        """
        self._db.require_search()
        if not await self._has_work():  # the usual case: one query instead of the lock and a transaction
            return
        try:
            await asyncio.wait_for(self.catch_up(), _PATIENCE_S)
        except asyncio.TimeoutError:
            indexed, total = await fulltext.progress(self._db)
            raise SearchNotReadyError(
                f"The library is being indexed for search ({indexed:,} of {total:,} assets). Try again in a while.",
                details={"field": "q", "indexed": indexed, "total": total},
            ) from None

    async def is_nearly_complete(self) -> bool:
        """Return whether a search would have to wait for a moment at most."""
        if not self._db.can_search:
            return False
        has_right_rules = self._has_right_rules or await fulltext.rules(self._db, self._index) == RULES
        return has_right_rules and await fulltext.is_backlog_small(self._db, _BATCH)

    async def catch_up(self) -> None:
        """Index everything, however long it takes."""
        while await self._step():
            pass

    async def _look(self) -> bool:
        """Index new and changed assets, if any; return False if that failed."""
        if not await self._has_work():
            return True
        task, _ = self._tasks.start(SEARCH, self._work, is_cancellable=False)
        await task.done.wait()
        return task.status != "failed"

    async def _has_work(self) -> bool:
        return not self._has_right_rules or await fulltext.has_backlog(self._db)

    async def _work(self, task: Task) -> None:
        await self._let_others_go_first(task)
        indexed = 0
        while True:
            await asyncio.to_thread(self._throttle.wait, task.token)
            began = asyncio.get_running_loop().time()
            done = await self._step()
            if not done:
                return
            indexed += done
            task.result = {"indexed": indexed}
            await self._give_way(began)

    async def _give_way(self, began: float) -> None:
        """Pause for as long as a batch has taken if requests have read from the store meanwhile.

        Making words holds the interpreter, for which lists wait: most of all those of a page that opens after a scan.
        """
        if self._db.requested_at >= began:
            taken = asyncio.get_running_loop().time() - began
            await asyncio.sleep(min(taken, _LONGEST_PAUSE_S))

    async def _let_others_go_first(self, task: Task) -> None:
        """Wait some seconds for running scans and hash runs: their changes would have to be indexed twice."""
        end = time.monotonic() + _COURTESY_S
        while time.monotonic() < end and any(
            other is not None and other.is_running for other in map(self._tasks.latest, self._after)
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
            ahead += await fulltext.current_assets(self._db, [row.id for row in ahead])
            ahead += await fulltext.unindexed_assets(self._db, max(0, _BATCH - len(ahead)))
            await self._words.prepare(self._db, ahead)
            try:
                async with self._db.transaction() as tx:
                    return await self._index_batch(tx)
            except StoreBusyError as error:
                if _MALFORMED not in str(error.__cause__):
                    raise
            # SQLite says so, too, of an index from which words were removed that it did not have.
            log.warning("The search index does not match the library. It is built again.")
            async with self._db.transaction() as tx:
                await fulltext.start_over(tx, self._index, RULES)
            return _BATCH

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
        await fulltext.delete(tx, self._index, await self._words.entries(tx, former))
        changed = [current[row.id] for row in former if row.id in current]
        await fulltext.insert(tx, self._index, await self._words.entries(tx, changed))


class JobSearch(_IndexUpdater):
    """Indexes the words of jobs' graphs: before a search, and a moment after jobs were submitted."""

    def __init__(self, db: Database) -> None:
        super().__init__(db, fulltext.JOBS)

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
        await fulltext.invalidate(tx, fulltext.JOBS)
        return
    graphs = await fulltext.indexed_graphs(tx, row_ids)
    if graphs:
        await fulltext.delete(tx, fulltext.JOBS, await asyncio.to_thread(_job_entries, graphs))


def _job_entries(graphs: Sequence[tuple[int, bytes]]) -> list[IndexEntry]:
    return [IndexEntry(row_id, (" ".join(words_of_graph(decompress(body))),)) for row_id, body in graphs]
