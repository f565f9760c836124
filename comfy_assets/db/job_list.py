"""Lists of jobs, by cursor or offset, with totals from counts that triggers keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from ..models import FINAL, CursorKey, Job, JobFilter, JobPage, Page
from . import fulltext, jobs
from .connection import Database
from .sql import Row, after_key, json_array, order_by

if TYPE_CHECKING:
    from .listing.bitmap import IdSet

_FEW = 2000  # up to this many found jobs are looked up one by one
_LONGEST_PART = 20_000  # entries of the list that are read at once
_SORT_KEYS = {"create_time": "created_at", "execution_time": "duration"}


@dataclass(frozen=True)
class _Selection:
    """A filter as SQL over ``jobs j``, without the status: each status is a walk along its index."""

    where: str
    parameters: list[Any]
    is_counted: bool  # whether ``job_counts`` can tell the total


async def list_page(db: Database, wanted: JobFilter, page: JobPage) -> Page[Job]:
    """Return one page of the jobs that pass the filter, and the total number of them."""
    return await (_page_by_state(db, wanted, page) if page.sort == "state" else _sorted_page(db, wanted, page))


async def _page_by_state(db: Database, wanted: JobFilter, page: JobPage) -> Page[Job]:
    """Return a page of the active jobs in the order of the queue, followed by the ended ones, the latest first.

    A cursor leads into the ended jobs: pages before it are reached by their offset.
    """
    active = await _active(db, replace(wanted, statuses=tuple(s for s in wanted.statuses if s not in FINAL)))
    first = [] if page.after is not None else active[page.offset : page.offset + page.limit]
    ended = JobPage(
        limit=max(page.limit - len(first), 1),
        offset=max(page.offset - len(active), 0) if page.after is None else 0,
        after=page.after,
    )
    found = await _sorted_page(db, replace(wanted, statuses=tuple(s for s in wanted.statuses if s in FINAL)), ended)
    total = len(active) + found.total
    if len(first) == page.limit:  # no ended job from which a cursor could go on: the next page needs an offset
        return Page(first, total, page.offset + page.limit < total)
    return Page([*first, *found.items], total, found.has_more, found.next_key)


async def _active(db: Database, wanted: JobFilter) -> list[Job]:
    """Return all active jobs that pass the filter: a queue is short, beside all jobs that have ended."""
    if not wanted.statuses:
        return []
    selection = _select(wanted)
    rows = await db.fetch_all(
        f"SELECT {jobs.COLUMNS.sql} FROM jobs j WHERE j.status IN ({_listed(wanted)}) AND {selection.where}"
        " ORDER BY j.status DESC, j.number, j.id",
        selection.parameters,
    )
    found = jobs.COLUMNS.read_all(rows)
    if wanted.words or wanted.excluded:
        ids = await fulltext.jobs_of_words(db, wanted.words, wanted.excluded)
        found = [job for job in found if job.row_id in ids]
    return found


async def _sorted_page(db: Database, wanted: JobFilter, page: JobPage) -> Page[Job]:
    if not wanted.statuses:
        return Page([], 0, has_more=False)
    if wanted.words or wanted.excluded:
        found = await fulltext.jobs_of_words(db, wanted.words, wanted.excluded)
        return await _page_of_found(db, wanted, page, found)
    selection = _select(wanted)
    total = await _count(db, wanted, selection)
    rows = await db.fetch_all(*_page_query(wanted, selection, page)) if page.offset < total else []
    return _page(rows, total, page)


async def _page_of_found(db: Database, wanted: JobFilter, page: JobPage, found: IdSet) -> Page[Job]:
    """Return a page of found jobs: look up a few one by one; else walk the list until the page is full."""
    selection = _select(wanted)
    if len(found) <= _FEW:
        return await _page_of_few(db, wanted, page, selection, found)
    ids = await _walk(db, wanted, selection, page, found)
    rows = await db.fetch_all(
        f"SELECT {jobs.COLUMNS.sql} FROM json_each(?) e CROSS JOIN jobs j ON j.id = e.value ORDER BY e.key",
        (json_array(ids),),
    )
    return _page(rows, await _count_found(db, wanted, selection, found), page)


async def _page_of_few(
    db: Database, wanted: JobFilter, page: JobPage, selection: _Selection, found: IdSet
) -> Page[Job]:
    chosen = (
        "FROM json_each(?) e CROSS JOIN jobs j ON j.id = e.value"
        f" WHERE j.status IN ({_listed(wanted)}) AND {selection.where}"
    )
    parameters = [json_array(found.ids.tolist()), *selection.parameters]
    total = (await db.fetch_all(f"SELECT count(*) {chosen}", parameters))[0][0]
    key, (after, place) = _SORT_KEYS[page.sort], _after(page)
    sql = (
        f"SELECT {jobs.COLUMNS.sql} {chosen}{after} {order_by(f'j.{key}', 'j.id', page.order)}"
        f" LIMIT {page.limit + 1:d} OFFSET {page.offset:d}"
    )
    return _page(await db.fetch_all(sql, [*parameters, *place]), total, page)


async def _count_found(db: Database, wanted: JobFilter, selection: _Selection, found: IdSet) -> int:
    """Return how many of the found jobs pass the filter. If few jobs fail it, count those instead."""
    if selection.is_counted and not wanted.media:  # the complement below knows statuses and owners only
        passing = await _count(db, wanted, selection)
        rows = await db.fetch_all("SELECT coalesce(sum(n), 0) FROM job_counts")
        if rows[0][0] - passing <= _FEW:
            others = _ids_of(f"NOT (j.status IN ({_listed(wanted)}) AND {jobs.VISIBLE})")
            return len(found) - found.count(await fulltext.fetch_ids(db, others, (wanted.owner,)))
    passing_ids = _ids_of(f"j.status IN ({_listed(wanted)}) AND {selection.where}")
    return found.count(await fulltext.fetch_ids(db, passing_ids, selection.parameters))


def _ids_of(condition: str) -> str:
    return f"SELECT group_concat(j.id) FROM jobs j WHERE {condition}"


def _listed(wanted: JobFilter) -> str:
    return ", ".join(map(str, wanted.statuses))


async def _walk(db: Database, wanted: JobFilter, selection: _Selection, page: JobPage, found: IdSet) -> list[int]:
    """Return the ids of the page's found jobs, and one more, by reading the list in growing parts."""
    reach, part = page.offset + page.limit + 1, replace(page, offset=0, limit=2 * page.limit)
    ids: list[int] = []
    while True:
        keys = await db.fetch_all(*_keys_query(wanted, selection, part))
        ids += [row_id for row_id, _ in keys if row_id in found]
        if len(ids) >= reach or len(keys) <= part.limit:
            return ids[page.offset : reach]
        row_id, value = keys[-1]
        part = replace(part, limit=min(2 * part.limit, _LONGEST_PART), after=CursorKey(value, row_id))


def _page(rows: list[Row], total: int, page: JobPage) -> Page[Job]:
    items = jobs.COLUMNS.read_all(rows[: page.limit])
    has_more = len(rows) > page.limit
    return Page(items, total, has_more, _key(items[-1], page) if has_more else None)


def _key(job: Job, page: JobPage) -> CursorKey:
    return CursorKey(job.created_at if page.sort == "create_time" else job.duration, job.row_id)


def _select(wanted: JobFilter) -> _Selection:
    visible, parameters = _visible(wanted.owner)
    conditions = [visible]
    if wanted.media:
        conditions.append(f"j.media & {wanted.media:d}")
    for media, is_excluded in wanted.outputs:
        conditions.append(f"j.media & {media:d} {'=' if is_excluded else '<>'} 0")
    for name, value in wanted.labels:
        conditions.append("j.id IN (SELECT l.job_id FROM job_labels l WHERE l.name = ? AND l.value = ?)")
        parameters += [name, value]
    is_narrowed = wanted.workflow_id is not None or wanted.asset_id is not None or wanted.outputs or wanted.labels
    if wanted.workflow_id is not None:
        conditions.append("j.workflow_id = ?")
        parameters.append(wanted.workflow_id)
    if wanted.asset_id is not None:
        # Jobs that used the same content under another path count as well.
        conditions.append(
            "j.id IN (SELECT i.job_id FROM assets a JOIN assets b ON b.id = a.id OR b.content_id = a.content_id"
            " JOIN job_inputs i ON i.asset_id = b.id WHERE a.uuid = ?)"
        )
        parameters.append(wanted.asset_id)
    return _Selection(" AND ".join(conditions), parameters, is_counted=not is_narrowed)


def _visible(owner: str | None) -> tuple[str, list[Any]]:
    return (jobs.VISIBLE, [owner]) if owner is not None else ("TRUE", [])


async def _count(db: Database, wanted: JobFilter, selection: _Selection) -> int:
    statuses = _listed(wanted)
    if selection.is_counted:
        media = f" AND j.media & {wanted.media:d}" if wanted.media else ""
        visible, parameters = _visible(wanted.owner)
        sql = f"SELECT coalesce(sum(n), 0) FROM job_counts j WHERE {visible} AND j.status IN ({statuses}){media}"
        rows = await db.fetch_all(sql, parameters)
    else:
        sql = f"SELECT count(*) FROM jobs j WHERE j.status IN ({statuses}) AND {selection.where}"
        rows = await db.fetch_all(sql, selection.parameters)
    return int(rows[0][0])


def _page_query(wanted: JobFilter, selection: _Selection, page: JobPage) -> tuple[str, list[Any]]:
    """Return the query for a page's rows and one more, which means that there is another page."""
    keys, parameters = _keys_query(wanted, selection, page)
    sql = (
        f"SELECT {jobs.COLUMNS.sql} FROM ({keys}) k CROSS JOIN jobs j ON j.id = k.id"
        f" {order_by('k.key', 'k.id', page.order)}"
    )
    return sql, parameters


def _keys_query(wanted: JobFilter, selection: _Selection, page: JobPage) -> tuple[str, list[Any]]:
    """Return the query for the ids and sort keys of a page and one more: a walk along the index for each status."""
    key, reach = _SORT_KEYS[page.sort], page.offset + page.limit + 1
    after, place = _after(page)
    where, parameters = f"{selection.where}{after}", [*selection.parameters, *place]
    # Each walk goes as far as the end of the page, since one status alone may fill it.
    walks = [
        f"SELECT * FROM (SELECT j.id, j.{key} AS key FROM jobs j WHERE j.status = {status:d} AND {where}"
        f" {order_by(f'j.{key}', 'j.id', page.order)} LIMIT {reach:d})"
        for status in wanted.statuses
    ]
    order = order_by("key", "id", page.order)
    sql = f"{' UNION ALL '.join(walks)} {order} LIMIT {page.limit + 1:d} OFFSET {page.offset:d}"
    return sql, parameters * len(walks)


def _after(page: JobPage) -> tuple[str, list[Any]]:
    """Return the condition that starts the page behind its cursor, and its parameters."""
    return after_key(f"j.{_SORT_KEYS[page.sort]}", "j.id", page.order, page.after)
