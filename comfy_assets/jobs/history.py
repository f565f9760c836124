"""Executed jobs in the form of a server's own history, as ``GET /history`` returns it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from .. import json_text
from ..credentials import REDACTED
from ..db import jobs
from ..db.connection import Database
from ..host.execution import ExecutionQueue
from ..models import JobRecord
from .recorder import JobRecorder
from .store import extra_data

_MAX_BYTES = 64 << 20  # stored bytes of one history: the whole of it is in memory at once
_CHUNK = 100
_FILL_CHUNK = 200

HistoryEntries = dict[str, msgspec.Raw]


class UserHistory:
    """The executed jobs that a user may see, as JSON texts by id."""

    def __init__(self, db: Database, recorder: JobRecorder) -> None:
        self._db = db
        self._recorder = recorder

    async def page(self, owner: str, limit: int, offset: int | None) -> HistoryEntries:
        """Return ``limit`` jobs, oldest first: from ``offset`` on, counted from the oldest, or the latest without one.

        A history that is too large lacks the jobs at its far end: the latest with an offset, else the oldest.
        """
        await self._recorder.flush()
        rows = await jobs.executed(self._db, owner, limit, offset)
        entries: HistoryEntries = {}
        budget = _MAX_BYTES
        for chunk in _chunks(rows):
            for record in await jobs.records_of(self._db, chunk):
                budget -= _size(record)
                if budget > 0:
                    entries[record.job.id] = await asyncio.to_thread(_encoded, record)
            if budget <= 0:
                break
        return entries if offset is not None else dict(reversed(entries.items()))

    async def single(self, owner: str, job_id: str) -> HistoryEntries:
        """Return the job with this id, or nothing if it was not executed or belongs to another user."""
        await self._recorder.flush()
        records = await jobs.records_of(self._db, await jobs.executed_as(self._db, owner, job_id))
        return {record.job.id: await asyncio.to_thread(_encoded, record) for record in records}


def _chunks(rows: Sequence[int]) -> Iterator[Sequence[int]]:
    return (rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK))


def _size(record: JobRecord) -> int:
    return len(record.graph) + len(record.workflow or b"") + len(record.result)


def _encoded(record: JobRecord) -> msgspec.Raw:
    return msgspec.Raw(json_text.encode(history_entry(record)).encode())


def history_entry(record: JobRecord) -> dict[str, Any]:
    """Return a job as an entry of a server's own history, without redacted credentials."""
    result = json_text.read(record.result, dict[str, Any])
    extra = {key: value for key, value in extra_data(record).items() if value != REDACTED}
    graph, targets = json_text.decode(record.graph), msgspec.json.decode(record.targets)
    return {
        "prompt": (record.job.number, record.job.id, graph, extra, targets),
        "outputs": result.get("outputs") or {},
        "status": result.get("status"),
        "meta": result.get("meta") or {},
    }


async def fill_history(db: Database, queue: ExecutionQueue) -> None:
    """Give the server's own history the latest jobs of earlier runs: as many as its page reads and memory allows."""
    room, budget = queue.history_room(), _MAX_BYTES
    entries: dict[str, dict[str, Any]] = {}
    before: int | None = None
    while len(entries) < room and budget > 0:
        chunk = await jobs.newest_finished(db, min(_FILL_CHUNK, room - len(entries)), before)
        for record in chunk:
            budget -= _size(record)
            if budget > 0:
                entries[record.job.id] = await asyncio.to_thread(history_entry, record)
        if not chunk:
            break
        before = chunk[-1].job.row_id
    if entries:
        queue.remember(dict(reversed(entries.items())))
