"""Finds of which workflow, and of which version of it, jobs are. Some time after they were submitted: it costs none."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import zlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from .. import json_text
from ..db import workflow_jobs
from ..db.connection import Database
from ..db.workflow_jobs import Candidate, Named, UnlinkedJob
from .document import graph_digest, graph_id

log = logging.getLogger("comfy_assets.workflows")

_LINK_S = 2.0
_AT_ONCE = 500  # jobs of a workflow; of more that come within so short a time, the latest
_MOST_KNOWN = 2000


class Graph(NamedTuple):
    """By what a graph is recognised."""

    id: str | None
    digest: bytes


class JobLinks:
    """Ties jobs to workflows."""

    def __init__(self, db: Database, *, jobs_recorded: Callable[[], Awaitable[None]]) -> None:
        """``jobs_recorded`` waits until jobs are in the store that were submitted before."""
        self._db = db
        self._jobs_recorded = jobs_recorded
        self._known: dict[bytes, Graph | None] = {}
        self._linking: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()

    def start(self) -> None:
        """Begin to look for new jobs and new versions."""
        self._linking = asyncio.create_task(self._run(), name="comfy-assets workflows of jobs")

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_LINK_S)
            try:
                await self._complete()
            except sqlite3.Error as error:
                log.error("Jobs could not be tied to workflows; that is tried again: %s", error)

    async def complete(self) -> None:
        """Tie every job that was submitted to its workflow."""
        await self._jobs_recorded()
        await self._complete()

    async def _complete(self) -> None:
        async with self._lock:
            done, upto = await workflow_jobs.marks(self._db)
            if done == upto:
                return
            wanted: dict[Named, int] = {}
            for named in await workflow_jobs.named_by_jobs(self._db, min(done.job_id, upto.job_id), upto.job_id):
                wanted[named] = done.job_id
            for named in await workflow_jobs.named_by_versions(self._db, done.version_id, upto.version_id):
                wanted[named] = 0
            links = [link for named, after in wanted.items() for link in await self._links(named, after)]
            async with self._db.transaction() as tx:
                await workflow_jobs.link(tx, links)
                await workflow_jobs.advance(tx, upto)

    async def _links(self, named: Named, after: int) -> list[tuple[int, str, str | None]]:
        """Row, workflow and version of each job that names it."""
        jobs = await workflow_jobs.unlinked(self._db, named, after, _AT_ONCE)
        found = await workflow_jobs.candidates(self._db, named) if jobs else []
        if not found:
            return []
        await asyncio.to_thread(self._learn, jobs)
        chosen = [(job.row_id, *choose(named.workflow_id, self._known[job.document_hash], found)) for job in jobs]
        if len(self._known) > _MOST_KNOWN:
            self._known = {}
        return chosen

    def _learn(self, jobs: Sequence[UnlinkedJob]) -> None:
        for job in jobs:
            if job.document_hash not in self._known:
                self._known[job.document_hash] = _graph(job.body)

    async def close(self) -> None:
        """Look no more."""
        if self._linking is not None:
            self._linking.cancel()
            with suppress(asyncio.CancelledError):
                await self._linking


def choose(workflow_id: str, graph: Graph | None, found: Sequence[Candidate]) -> tuple[str, str | None]:
    """The workflow, and the version if one is meant, of a job that names this id; ``found`` are all it may be.

    An id that is not the one in the graph was sent by a client: the workflow is the one that it says.
    """
    own = [each for each in found if each.workflow_id == workflow_id]
    if graph is None or graph.id != workflow_id:
        found = own
    for each in found:
        if graph is not None and each.graph_digest == graph.digest:
            return each.workflow_id, each.version_id
    return (found[0].workflow_id if found else workflow_id), None


def _graph(body: bytes) -> Graph | None:
    try:
        value = json_text.decode(zlib.decompress(body))
    except (ValueError, RecursionError):
        return None
    return Graph(graph_id(value), graph_digest(value)) if isinstance(value, dict) else None
