"""Lists of jobs: by cursor or offset, with totals that nothing has to count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..models import CursorKey, Job, JobFilter, JobPage, Page
from . import jobs
from .connection import Database

_SORT_KEYS = {"create_time": "created_at", "execution_time": "duration"}


@dataclass(frozen=True)
class _Selection:
    """A filter as SQL over ``jobs j``, without the status: each status is a walk along its index."""

    where: str
    parameters: list[Any]
    is_counted: bool  # whether ``job_counts`` tells how many there are


async def list_page(db: Database, wanted: JobFilter, page: JobPage) -> Page[Job]:
    """One page of the jobs that pass the filter, and how many pass in all."""
    selection = _select(wanted)
    total = await _count(db, wanted, selection)
    rows = await db.fetch_all(*_page_query(wanted, selection, page)) if page.offset < total else []
    items = [Job(*row) for row in rows[: page.limit]]
    has_more = len(rows) > page.limit
    return Page(items, total, has_more, _key(items[-1], page) if has_more else None)


def _key(job: Job, page: JobPage) -> CursorKey:
    return CursorKey(job.created_at if page.sort == "create_time" else job.duration, job.row_id)


def _select(wanted: JobFilter) -> _Selection:
    conditions, parameters = [jobs.VISIBLE], [wanted.owner]
    if wanted.media:
        conditions.append(f"j.media & {wanted.media:d}")
    is_counted = wanted.workflow_id is None and wanted.asset_id is None
    if wanted.workflow_id is not None:
        conditions.append("j.workflow_id = ?")
        parameters.append(wanted.workflow_id)
    if wanted.asset_id is not None:
        conditions.append(
            "j.id IN (SELECT i.job_id FROM assets a JOIN assets b ON b.id = a.id OR b.content_id = a.content_id"
            " JOIN job_inputs i ON i.asset_id = b.id WHERE a.uuid = ?)"
        )
        parameters.append(wanted.asset_id)
    return _Selection(" AND ".join(conditions), parameters, is_counted)


async def _count(db: Database, wanted: JobFilter, selection: _Selection) -> int:
    statuses = ", ".join(map(str, wanted.statuses))
    if selection.is_counted:
        media = f" AND j.media & {wanted.media:d}" if wanted.media else ""
        sql = f"SELECT coalesce(sum(n), 0) FROM job_counts j WHERE {jobs.VISIBLE} AND j.status IN ({statuses}){media}"
        rows = await db.fetch_all(sql, (wanted.owner,))
    else:
        sql = f"SELECT count(*) FROM jobs j WHERE j.status IN ({statuses}) AND {selection.where}"
        rows = await db.fetch_all(sql, selection.parameters)
    return int(rows[0][0])


def _page_query(wanted: JobFilter, selection: _Selection, page: JobPage) -> tuple[str, list[Any]]:
    """One row more than the page holds, which tells whether there is another."""
    key, reach = _SORT_KEYS[page.sort], page.offset + page.limit + 1
    where, parameters = selection.where, list(selection.parameters)
    if page.after is not None:
        where += f" AND (j.{key}, j.id) {'<' if page.order == 'desc' else '>'} (?, ?)"
        parameters += [page.after.value, page.after.row_id]
    order = f"{key} {page.order}, id {page.order}"
    walks = [
        f"SELECT * FROM (SELECT j.id, j.{key} FROM jobs j WHERE j.status = {status:d} AND {where}"
        f" ORDER BY j.{key} {page.order}, j.id {page.order} LIMIT {reach:d})"
        for status in wanted.statuses
    ]
    chosen = f"{' UNION ALL '.join(walks)} ORDER BY {order} LIMIT {page.limit + 1:d} OFFSET {page.offset:d}"
    sql = (
        f"SELECT {jobs.COLUMNS} FROM ({chosen}) k CROSS JOIN jobs j ON j.id = k.id"
        f" ORDER BY k.{key} {page.order}, k.id {page.order}"
    )
    return sql, parameters * len(walks)
