"""How long jobs are kept: for ever, unless somebody asks for old records to be removed."""

from __future__ import annotations

from ..db import jobs
from ..db.connection import Database
from . import store

_AT_ONCE = 500  # in a transaction, so that a server at work on the same store can write in between


async def count_to_prune(db: Database, before: int | None, keep: int) -> int:
    """How many jobs ``prune`` would remove."""
    return len(await jobs.rows_to_prune(db, before, keep))


async def prune(db: Database, before: int | None, keep: int) -> int:
    """Remove the records of jobs that were over before a time (ms; None: whenever), never their files.

    The ``keep`` latest that are over stay, whatever their age. Answers how many were removed.
    """
    count = 0
    while True:
        async with db.transaction() as tx:
            rows = await jobs.rows_to_prune(tx, before, keep, _AT_ONCE)
            await store.remove(tx, rows)
        count += len(rows)
        if len(rows) < _AT_ONCE:
            return count
