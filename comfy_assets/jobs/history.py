"""Executed jobs of one user in the form in which servers keep everybody's in their own history: ``GET /history``."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import msgspec

from .. import json_text
from ..db import jobs
from ..db.connection import Database
from ..models import JobRecord
from .recorder import JobRecorder
from .recovery import history_entry

_MAX_BYTES = 64 << 20  # of stored JSON text in one history
_CHUNK = 100

Entries = dict[str, msgspec.Raw]


class UserHistory:
    """The executed jobs that a user may see."""

    def __init__(self, db: Database, recorder: JobRecorder) -> None:
        self._db = db
        self._recorder = recorder

    async def page(self, owner: str, limit: int, offset: int | None) -> Entries:
        """Return some of them; see ``page``."""
        await self._recorder.flush()
        return await page(self._db, owner, limit, offset)

    async def single(self, owner: str, job_id: str) -> Entries:
        """Return the job of this id, if it is one of them."""
        await self._recorder.flush()
        return await single(self._db, owner, job_id)


async def page(db: Database, owner: str, limit: int, offset: int | None) -> Entries:
    """Return the jobs that the user may see as JSON texts by id, oldest first.

    These are ``limit`` from ``offset`` on, counted from the oldest, or the latest without one. A history that is too
    long lacks the jobs that are furthest from where it begins.
    """
    rows = await jobs.executed(db, owner, limit, offset)
    entries: Entries = {}
    budget = _MAX_BYTES
    for chunk in _chunks(rows):
        for record in await jobs.records_of(db, chunk):
            budget -= len(record.graph) + len(record.workflow or b"") + len(record.result)
            if budget > 0:
                entries[record.job.id] = await asyncio.to_thread(_encoded, record)
        if budget <= 0:
            break
    return entries if offset is not None else dict(reversed(entries.items()))


async def single(db: Database, owner: str, job_id: str) -> Entries:
    """Return the job of this id, if there is one that has been executed and that the user may see."""
    records = await jobs.records_of(db, await jobs.executed_as(db, owner, job_id))
    return {record.job.id: await asyncio.to_thread(_encoded, record) for record in records}


def _encoded(record: JobRecord) -> msgspec.Raw:
    return msgspec.Raw(json_text.encode(history_entry(record)).encode())


def _chunks(rows: Sequence[int]) -> Iterator[Sequence[int]]:
    return (rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK))
