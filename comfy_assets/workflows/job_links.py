"""Link jobs to the workflows and versions they were made from.

It happens in the background some time after jobs were submitted, so that submitting does not become slower.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from .. import json_text
from ..db import job_links
from ..db.compression import decompress
from ..db.connection import Database
from ..db.job_links import LinkCandidate, NamedWorkflow, UnlinkedJob
from .document import graph_digest, graph_id

log = logging.getLogger("comfy_assets.workflows")

_INTERVAL_S = 2.0
_MAX_JOBS = 500  # of one workflow in one round; if there are more, the latest of them
_MAX_CACHED = 2000  # graphs whose digests are kept, as the same graph is often submitted again


class GraphIdentity(NamedTuple):
    """The id in a graph, and the digest of its executed parts."""

    id: str | None
    digest: bytes


class JobLinks:
    """Links jobs to workflows."""

    def __init__(self, db: Database, *, jobs_recorded: Callable[[], Awaitable[None]]) -> None:
        """``jobs_recorded`` waits until all jobs submitted so far are in the store."""
        self._db = db
        self._jobs_recorded = jobs_recorded
        self._graphs: dict[bytes, GraphIdentity | None] = {}
        self._task: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()

    def start(self) -> None:
        """Link new jobs, and earlier jobs of new versions, in the background."""
        self._task = asyncio.create_task(self._run(), name="comfy-assets workflows of jobs")

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_INTERVAL_S)
            try:
                await self._complete()
            except sqlite3.Error as error:
                log.error("Jobs could not be linked to workflows. Trying again later: %s", error)

    async def complete(self) -> None:
        """Link every job that was submitted so far."""
        await self._jobs_recorded()
        await self._complete()

    async def _complete(self) -> None:
        async with self._lock:
            done, upto = await job_links.version_progress(self._db)
            if done == upto:
                return
            # New jobs are linked to the versions that there are, and all earlier jobs to new versions. If a workflow
            # has both, the second entry stands, which includes the first.
            wanted: dict[NamedWorkflow, int] = {}
            for named in await job_links.named_by_jobs(self._db, min(done.job_id, upto.job_id), upto.job_id):
                wanted[named] = done.job_id
            for named in await job_links.named_by_versions(self._db, done.version_id, upto.version_id):
                wanted[named] = 0
            links = [link for named, after in wanted.items() for link in await self._links(named, after)]
            async with self._db.transaction() as tx:
                await job_links.link_versions(tx, links)
                await job_links.set_version_progress(tx, upto)

    async def _links(self, named: NamedWorkflow, after: int) -> list[tuple[int, str, str | None]]:
        """Return the row, workflow and version of each job with this workflow id."""
        jobs = await job_links.without_version(self._db, named, after, _MAX_JOBS)
        found = await job_links.version_candidates(self._db, named) if jobs else []
        if not found:
            return []
        await asyncio.to_thread(self._read_graphs, jobs)
        chosen = [(job.row_id, *choose(named.workflow_id, self._graphs[job.document_hash], found)) for job in jobs]
        if len(self._graphs) > _MAX_CACHED:  # only now, as the lines above need all graphs of this round
            self._graphs = {}
        return chosen

    def _read_graphs(self, jobs: Sequence[UnlinkedJob]) -> None:
        for job in jobs:
            if job.document_hash not in self._graphs:
                self._graphs[job.document_hash] = _identity(job.body)

    async def close(self) -> None:
        """End what ``start`` began."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task


def choose(workflow_id: str, graph: GraphIdentity | None, found: Sequence[LinkCandidate]) -> tuple[str, str | None]:
    """Return the workflow of a job with this workflow id, and the version if one matches; ``found`` are the candidates.

    Several workflows may have the same id in their graphs, so the digest decides, or else the order of the candidates.
    """
    if graph is None or graph.id != workflow_id:
        # The id is not from the graph but was sent by an API client, who means exactly this workflow.
        found = [each for each in found if each.workflow_id == workflow_id]
    for each in found:
        if graph is not None and each.graph_digest == graph.digest:
            return each.workflow_id, each.version_id
    return (found[0].workflow_id if found else workflow_id), None


def _identity(body: bytes) -> GraphIdentity | None:
    try:
        value = json_text.decode(decompress(body))
    except (ValueError, RecursionError):
        return None
    return GraphIdentity(graph_id(value), graph_digest(value)) if isinstance(value, dict) else None
