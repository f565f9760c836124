"""Keep the full-text indexes of assets and jobs up to date: in the background, and before a search.

The words of an asset come from its name, its tags, and the documents in its file; those of a job from its graph.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
import zlib
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress

import msgspec

from ..background.tasks import Task, TaskRunner
from ..background.throttle import Throttle
from ..db import fulltext
from ..db.connection import Database, Transaction
from ..db.fulltext import DocumentLink, FullTextIndex, IndexedAsset, IndexEntry
from ..errors import SearchNotReadyError
from ..models import MISSING_TAG
from .words import MAX_DOCUMENT, RULES, words_in, words_in_facts, words_of

log = logging.getLogger("comfy_assets.library")

SEARCH = "asset_search"

_BATCH = 500  # rows that one transaction indexes: some tens of milliseconds, for which other writers wait
_INTERVAL_S = 2.0  # between looks for new and changed assets, each of which is one cheap query
_AFTER_FAILURE_S = 60.0
_COURTESY_S = 10.0  # for how long other tasks go first
_POLL_S = 0.1
_PATIENCE_S = 15.0  # how long a search waits for the index
_DOCUMENTS = 64  # documents read at a time, so that large ones do not fill the memory
_REMEMBERED = 2048  # documents whose words are kept: images of one run share theirs

_Db = Database | Transaction
_Keyed = tuple[str, int]  # a document's key in a content, and its id: the key tells how it is read


class AssetWords:
    """Collects the words of assets, and keeps those of the latest documents."""

    def __init__(self) -> None:
        self._known: dict[_Keyed, tuple[str, ...]] = {}

    async def prepare(self, db: _Db, rows: Sequence[IndexedAsset], *, complete: bool = False) -> None:
        """Read the documents of assets ahead of a transaction that asks for the ``entries``."""
        await self._words_of_contents(db, rows, complete=complete)

    async def entries(self, db: _Db, rows: Sequence[IndexedAsset], *, complete: bool = False) -> list[IndexEntry]:
        """Return the index entries of assets, without deleted ones.

        ``complete`` adds all words that an asset may have been indexed with when less of its content was known.
        """
        shown = [row for row in rows if row.tags is not None]
        contents = await self._words_of_contents(db, shown, complete=complete)
        return await asyncio.to_thread(_asset_entries, shown, contents)

    async def _words_of_contents(
        self, db: _Db, rows: Sequence[IndexedAsset], *, complete: bool
    ) -> dict[int, list[str]]:
        ids = {row.content_id for row in rows if row.content_id is not None}
        words: dict[int, list[str]] = {content_id: [] for content_id in ids}
        for content_id, facts in (await fulltext.model_metadata(db, ids)).items():
            words[content_id] += words_in_facts(facts)
        links = await fulltext.documents_of_contents(db, ids)
        if not complete:  # else the asset may have been indexed by its workflow before its prompt was known
            links = _without_doubles(links)
        known = await self._words_of_documents(db, {(link.key, link.document_id) for link in links})
        for link in links:
            words[link.content_id] += known[link.key, link.document_id]
        return words

    async def _words_of_documents(self, db: _Db, wanted: set[_Keyed]) -> dict[_Keyed, tuple[str, ...]]:
        unknown = [each for each in wanted if each not in self._known]
        for start in range(0, len(unknown), _DOCUMENTS):
            part = unknown[start : start + _DOCUMENTS]
            bodies = await fulltext.document_bodies(db, [document_id for _, document_id in part])
            self._known |= await asyncio.to_thread(_words_in_bodies, part, bodies)
        known = {each: self._known[each] for each in wanted}
        # The oldest go first: a dictionary keeps the order of insertion.
        while len(self._known) > _REMEMBERED:
            del self._known[next(iter(self._known))]
        return known


def are_indexed_alike(one: IndexedAsset, other: IndexedAsset | None) -> bool:
    """Return whether two states of an asset are sure to have the same words."""
    if other is None or (one.name_key, one.content_id) != (other.name_key, other.content_id):
        return False
    if one.tags is None or other.tags is None:
        return one.tags == other.tags
    return set(_indexed_tags(one.tags)) == set(_indexed_tags(other.tags))


def _indexed_tags(tags: str) -> list[str]:
    """Return the tags that are indexed. ``missing`` is not: it comes and goes for whole drives."""
    return [tag for tag in msgspec.json.decode(tags, type=list[str]) if tag != MISSING_TAG]


def _without_doubles(links: list[DocumentLink]) -> list[DocumentLink]:
    """Leave out the workflow of a file with a prompt: it repeats the prompt, and adds nodes that were not executed."""
    prompts = {link.content_id for link in links if link.key == "prompt"}
    return [link for link in links if link.key != "workflow" or link.content_id not in prompts]


def _words_in_bodies(wanted: Sequence[_Keyed], bodies: dict[int, bytes]) -> dict[_Keyed, tuple[str, ...]]:
    return {(key, number): words_in(key, _inflate(bodies.get(number, b""))) for key, number in wanted}


def _inflate(body: bytes) -> bytes:
    """Return a document's text, or nothing if it is damaged or larger than any that is read."""
    try:
        text = zlib.decompressobj().decompress(body, MAX_DOCUMENT + 1)
    except zlib.error:
        return b""
    return text if len(text) <= MAX_DOCUMENT else b""


def _asset_entries(rows: Sequence[IndexedAsset], contents: dict[int, list[str]]) -> list[IndexEntry]:
    composed: list[IndexEntry] = []
    for row in rows:
        words = dict.fromkeys(words_of(row.name_key))
        for tag in _indexed_tags(row.tags or "[]"):
            words |= dict.fromkeys(words_of(tag))
        if row.content_id is not None:
            words |= dict.fromkeys(contents[row.content_id])
        composed.append(IndexEntry(row.id, (row.name_key, " ".join(words))))
    return composed


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

    @asynccontextmanager
    async def replacing(self, content_ids: Collection[int]) -> AsyncIterator[Transaction]:
        """Open a transaction that replaces the documents or the metadata of contents.

        Their assets are removed from the index before, as they can only be removed with the words that they were
        indexed with. They are indexed again in the background.
        """
        async with self._lock:
            if self._db.can_search:
                await self._ensure_rules()
                while await self._remove(content_ids):
                    pass
            async with self._db.transaction() as tx:
                # Another server that shares the store may have indexed them meanwhile; and one whose SQLite cannot
                # search leaves the index to one whose SQLite can.
                is_clean = self._db.can_search and not await fulltext.indexed_of_contents(tx, content_ids, 1)
                if not is_clean:
                    await fulltext.invalidate(tx, self._index)
                    self._has_right_rules = False
                yield tx

    async def _remove(self, content_ids: Collection[int]) -> bool:
        """Remove assets with these contents from the index; return whether there may be more."""
        ahead = await fulltext.indexed_of_contents(self._db, content_ids, _BATCH)
        if not ahead:
            return False
        await self._words.prepare(self._db, ahead, complete=True)
        async with self._db.transaction() as tx:
            indexed = await fulltext.indexed_of_contents(tx, content_ids, _BATCH)
            await fulltext.delete(tx, self._index, await self._words.entries(tx, indexed, complete=True))
            await fulltext.mark_removed(tx, indexed)
        return True

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
                    task, _ = self._tasks.start(SEARCH, self._work, is_cancellable=False)
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
        """Wait some seconds for running scans and hash runs: what they change would have to be indexed twice."""
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
    return [IndexEntry(row_id, (" ".join(words_in("prompt", zlib.decompress(body))),)) for row_id, body in graphs]
