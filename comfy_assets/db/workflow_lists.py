"""Lists of workflows, with totals that nothing has to count unless names are searched."""

from __future__ import annotations

from typing import Any

from ..models import Page, Workflow, WorkflowFilter, WorkflowPage
from . import workflows
from .connection import Database

_SORT_KEYS = {"create_time": "created_at", "update_time": "updated_at", "name": "name_key"}


async def list_page(db: Database, wanted: WorkflowFilter, page: WorkflowPage) -> Page[Workflow]:
    """One page of the workflows that pass the filter, and how many pass in all."""
    total = await _count(db, wanted)
    if page.offset >= total:
        return Page([], total, has_more=False)
    where, parameters = _select(wanted)
    key = _SORT_KEYS[page.sort]
    # The page is found by an index alone; only its rows are looked up.
    rows = await db.fetch_all(
        f"SELECT {workflows.COLUMNS} FROM (SELECT w.id, w.{key} AS key FROM workflows w WHERE {where}"
        f" ORDER BY w.{key} {page.order}, w.id {page.order} LIMIT {page.limit:d} OFFSET {page.offset:d}) k"
        f" CROSS JOIN workflows w ON w.id = k.id ORDER BY k.key {page.order}, k.id {page.order}",
        parameters,
    )
    return Page([Workflow(*row) for row in rows], total, has_more=page.offset + len(rows) < total)


def _select(wanted: WorkflowFilter) -> tuple[str, list[Any]]:
    conditions, parameters = ["w.owner = ? AND w.deleted_at IS NULL"], [wanted.owner]
    if wanted.default_view is not None:
        conditions.append("w.default_view = ?")
        parameters.append(wanted.default_view)
    if wanted.name_contains:
        conditions.append("instr(w.name_key, ?)")
        parameters.append(wanted.name_contains.casefold())
    return " AND ".join(conditions), parameters


async def _count(db: Database, wanted: WorkflowFilter) -> int:
    if wanted.name_contains:
        where, parameters = _select(wanted)
        rows = await db.fetch_all(f"SELECT count(*) FROM workflows w WHERE {where}", parameters)
    else:
        rows = await db.fetch_all(
            "SELECT coalesce(sum(n), 0) FROM workflow_counts"
            " WHERE owner = ?1 AND default_view = coalesce(?2, default_view)",
            (wanted.owner, wanted.default_view),
        )
    return int(rows[0][0])
