"""Rows of the labels of jobs: texts by name, given by clients at the submission."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from .connection import Database, Transaction
from .sql import json_array

# The jobs ``j`` with a label: its parameters are the name and the value.
HAS_LABEL = "j.id IN (SELECT l.job_id FROM job_labels l WHERE l.name = ? AND l.value = ?)"


async def add(tx: Transaction, labels: Mapping[str, Mapping[str, str]]) -> None:
    """Store the labels of new jobs, by their ids."""
    rows = [(job_id, name, value) for job_id, given in labels.items() for name, value in given.items()]
    if rows:
        await tx.execute_many(
            "INSERT OR REPLACE INTO job_labels (job_id, name, value) SELECT id, ?2, ?3 FROM jobs WHERE uuid = ?1", rows
        )


async def of_jobs(db: Database, row_ids: Iterable[int]) -> dict[int, dict[str, str]]:
    """Return the labels of jobs by row. Jobs without any are left out."""
    rows = await db.fetch_all(
        "SELECT job_id, name, value FROM job_labels WHERE job_id IN (SELECT value FROM json_each(?)) ORDER BY name",
        (json_array(row_ids),),
    )
    found: dict[int, dict[str, str]] = {}
    for row_id, name, value in rows:
        found.setdefault(row_id, {})[name] = value
    return found


def condition(labels: Sequence[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """Return the SQL conditions of jobs with all of these labels, and their parameters."""
    return [HAS_LABEL] * len(labels), [text for label in labels for text in label]
