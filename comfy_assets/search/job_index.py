"""Search in jobs: what their graphs say, as words in an index that is filled a moment after they were submitted."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Sequence

from ..db import job_search
from ..db.connection import Database, Transaction
from . import graph_text
from .words import RULES as WORD_RULES

RULES = f"{WORD_RULES}/{graph_text.RULES}"
_BATCH = 500  # jobs a transaction


class JobSearch:
    """Keeps the index in step with the jobs."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._filling = asyncio.Lock()
        self._has_right_rules = False

    async def complete(self) -> None:
        """Return when all jobs in the store are indexed. Raises SearchUnavailableError."""
        self._db.require_search()
        async with self._filling:
            await self._ensure_rules()
            while await self._fill():
                pass

    async def _ensure_rules(self) -> None:
        """Words made by the rules of another version are not found by those of this one."""
        if not self._has_right_rules and await job_search.rules(self._db) != RULES:
            async with self._db.transaction() as tx:
                await job_search.start_over(tx, RULES)
        self._has_right_rules = True

    async def _fill(self) -> bool:
        """Index the next jobs; whether there may be more."""
        graphs = await job_search.graphs_to_index(self._db, _BATCH)
        if graphs:
            words = await asyncio.to_thread(_words_of_all, graphs)
            async with self._db.transaction() as tx:
                await job_search.put(tx, words)
        return len(graphs) == _BATCH


async def take_out(tx: Transaction, row_ids: Sequence[int]) -> None:
    """Take jobs that are about to be removed out of the index.

    A SQLite that cannot search cannot change it either: the next that can makes the index anew.
    """
    if not tx.can_search:
        await job_search.distrust(tx)
        return
    graphs = await job_search.indexed_graphs(tx, row_ids)
    if graphs:
        await job_search.take_out(tx, await asyncio.to_thread(_words_of_all, graphs))


def _words_of_all(graphs: Sequence[tuple[int, bytes]]) -> list[tuple[int, str]]:
    return [(row_id, " ".join(graph_text.words_in("prompt", zlib.decompress(body)))) for row_id, body in graphs]
