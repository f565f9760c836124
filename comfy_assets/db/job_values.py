"""Rows of outputs of jobs that are no assets: their ids, and the places that they have among the job's outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .connection import Database, Transaction
from .jobs import VISIBLE
from .sql import json_array


class ValuePlace(NamedTuple):
    """The place of an output: the job's row, the node, its key, and the zero-based position."""

    job_row: int
    node_id: str
    key: str
    position: int


async def known(db: Database, ids: Sequence[str]) -> set[str]:
    """Return those of the ids that are stored."""
    rows = await db.fetch_all(
        "SELECT uuid FROM job_values WHERE uuid IN (SELECT value FROM json_each(?))", (json_array(ids),)
    )
    return {row[0] for row in rows}


async def add(tx: Transaction, values: Sequence[tuple[str, ValuePlace]]) -> None:
    """Store ids and places. Those that are stored already, and those of jobs that were removed, are skipped."""
    await tx.execute_many(
        "INSERT OR IGNORE INTO job_values (uuid, job_id, node_id, output_key, output_index)"
        " SELECT ?1, id, ?3, ?4, ?5 FROM jobs WHERE id = ?2",
        [(value_id, *place) for value_id, place in values],
    )


async def find(db: Database, value_id: str, owner: str) -> ValuePlace | None:
    """Return the place of an output with this id, of a job that the user may see."""
    row = await db.fetch_one(
        "SELECT v.job_id, v.node_id, v.output_key, v.output_index FROM job_values v JOIN jobs j ON j.id = v.job_id"
        f" WHERE v.uuid = ? AND {VISIBLE}",
        (value_id, owner),
    )
    return ValuePlace(*row) if row is not None else None
