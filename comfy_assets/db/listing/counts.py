"""Counts of tags: of all assets that a user can see, and of those that pass a filter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...models import AssetFilter, Page, TagCount, TagRequest
from .. import fulltext
from ..connection import Database
from ..sql import BY_IDS, ROW_COST, json_array
from .filters import FolderSelection, IdSelection, Selection, ids_of, is_listed, is_search, select
from .tag_filters import FilteredSet, filtered_sets, ids_by_tags, visible_condition

if TYPE_CHECKING:
    from .bitmap import IdSet

_MAX_INTEGER = (1 << 63) - 1  # of SQLite; an offset may be as large
_Counts = list[tuple[int, int]]  # ids of tag sets or tags, and numbers of assets

# The tags of places that a user can see. There are few, so they are grouped for every request.
_PLACE = """
    place AS (
        SELECT t.name AS name, sum(s.asset_count) AS n FROM tag_sets s JOIN tag_set_tags l ON l.tag_set_id = s.id
        JOIN tags t ON t.id = l.tag_id WHERE {visible} AND {has_prefix} GROUP BY t.id
    )
"""
_HAS_PREFIX = "name >= :prefix AND name < :prefix || char(1114111)"


async def list_tags(db: Database, wanted: TagRequest) -> Page[TagCount]:
    """List tags with the number of assets that carry them. Tags that only other owners' assets carry are left out."""
    filter_ = AssetFilter(wanted.owner, wanted.include_public)
    place = _PLACE.format(
        visible=visible_condition(filter_).replace("?", ":owner"),
        has_prefix=_HAS_PREFIX.replace("name", "t.name") if wanted.prefix else "1",
    )
    single = await _has_one_source(db, wanted)
    with_counts = (_of_one_owner if single else _of_two_owners)(wanted)
    ordering = "name" if wanted.order == "name_asc" else "n DESC, name"
    rows = await db.fetch_all(
        f"WITH {place}, {with_counts} SELECT name, n, (SELECT n FROM total) FROM listed WHERE n > 0 OR :zero"
        f" ORDER BY {ordering} LIMIT :limit OFFSET :offset",
        _bound(wanted),
    )
    # A page behind the end has no row to carry the total.
    total = (
        rows[0][2]
        if rows
        else (await db.fetch_all(f"WITH {place}, {with_counts} SELECT n FROM total", _bound(wanted)))[0][0]
    )
    items = [TagCount(name, count) for name, count, _ in rows[: wanted.limit]]
    return Page(items, total, has_more=len(rows) > wanted.limit)


def _bound(wanted: TagRequest) -> dict[str, Any]:
    return {
        "owner": wanted.owner,
        "prefix": wanted.prefix,
        "zero": wanted.include_zero,
        "limit": wanted.limit + 1,
        "offset": wanted.offset,
        "reach": min(wanted.offset + wanted.limit + 1, _MAX_INTEGER),
    }


async def _has_one_source(db: Database, wanted: TagRequest) -> bool:
    """Return whether public assets are the only ones with users' tags that are listed."""
    if not wanted.owner or not wanted.include_public:
        return not wanted.owner
    return not await db.fetch_all("SELECT 1 FROM tag_totals WHERE owner = ? LIMIT 1", (wanted.owner,))


def _of_one_owner(wanted: TagRequest) -> str:
    """Read the users' tags in the order of an index, and only as many as are asked for: there may be very many."""
    chosen = f"owner = '' AND (n > 0 OR :zero) AND {_HAS_PREFIX if wanted.prefix else '1'}"
    ordering = "name" if wanted.order == "name_asc" else "n DESC, name"
    return f"""
        summed AS (
            SELECT name, n + coalesce((SELECT n FROM tag_totals WHERE owner = '' AND name = place.name), 0) AS n
            FROM place
        ), listed AS (
            SELECT name, n FROM summed UNION ALL SELECT name, n FROM (
                SELECT name, n FROM tag_totals WHERE {chosen} AND name NOT IN (SELECT name FROM place)
                ORDER BY {ordering} LIMIT :reach
            )
        ), total AS (
            SELECT (SELECT count(*) FROM summed WHERE n > 0 OR :zero)
                + (SELECT count(*) FROM tag_totals WHERE {chosen})
                - (SELECT count(*) FROM place p JOIN tag_totals u ON u.owner = '' AND u.name = p.name) AS n
        )
    """


def _of_two_owners(wanted: TagRequest) -> str:
    """Group the users' tags of everybody and of one owner. A tag without assets is known to all."""
    public = "n > 0 OR :zero" if wanted.include_public else "n = 0 AND :zero"
    prefix = _HAS_PREFIX if wanted.prefix else "1"
    return f"""
        listed AS (
            SELECT name, sum(n) AS n FROM (
                SELECT name, n FROM place
                UNION ALL SELECT name, n FROM tag_totals WHERE owner = :owner AND {prefix}
                UNION ALL SELECT name, n FROM tag_totals WHERE owner = '' AND ({public}) AND {prefix}
            ) GROUP BY name
        ), total AS (SELECT count(*) AS n FROM listed WHERE n > 0 OR :zero)
    """


async def histogram(db: Database, wanted: AssetFilter, limit: int) -> Sequence[TagCount]:
    """Count, for each tag, the assets that carry it and pass the filter; the most frequent tags first."""
    is_by_rows = wanted.name_contains or wanted.metadata or wanted.hash or wanted.file or wanted.folder
    if is_by_rows or is_search(wanted) or is_listed(wanted):
        return await _of_selection(db, await select(db, wanted), limit)
    if not (wanted.tags_all or wanted.tags_any or wanted.tags_none):
        request = TagRequest(wanted.owner, include_public=wanted.include_public, limit=limit)
        return (await list_tags(db, request)).items
    sets = await filtered_sets(db, wanted)
    passing = [each for each in sets if each.passes]
    if not any(any(each.demand) for each in passing):
        return await _of_sets(db, passing, limit)
    if (name := _only_need(sets)) is not None:
        return await _of_tag(db, name, passing, limit)
    ids = await ids_by_tags(db, sets)
    return await _of_selection(db, IdSelection(ids, len(ids), passing, sum(each.assets for each in sets)), limit)


async def _of_sets(db: Database, passing: Sequence[FilteredSet], limit: int) -> list[TagCount]:
    """Return the histogram of all assets of tag sets, from the counts that triggers keep."""
    rows = await db.fetch_all(
        "WITH passing AS (SELECT value AS id FROM json_each(?)) SELECT t.name, sum(g.n) AS total FROM ("
        " SELECT l.tag_id, s.asset_count AS n FROM passing p JOIN tag_sets s ON s.id = p.id"
        " JOIN tag_set_tags l ON l.tag_set_id = s.id UNION ALL"
        " SELECT tag_id, n FROM tag_counts WHERE tag_set_id IN (SELECT id FROM passing)"
        ") g JOIN tags t ON t.id = g.tag_id GROUP BY g.tag_id ORDER BY total DESC, t.name LIMIT ?",
        (json_array(each.id for each in passing), limit),
    )
    return [TagCount(name, count) for name, count in rows]


def _only_need(sets: Sequence[FilteredSet]) -> str | None:
    """Return the user's tag that all passing assets have and no others, or None if there is no such tag."""
    [demand, *others] = {each.demand for each in sets if each.passes}
    if others or len(demand.needs) != 1 or demand.any_of or demand.forbids:
        return None
    [name] = demand.needs
    passing = sum(each.passing or 0 for each in sets if each.passes)
    return name if passing == sum(each.users_tags.get(name, 0) for each in sets) else None


async def _of_tag(db: Database, name: str, passing: Sequence[FilteredSet], limit: int) -> list[TagCount]:
    """Return the histogram of all assets with a user's tag, which are in the passing sets."""
    rows = await db.fetch_all(
        "WITH known AS ("
        " SELECT l.tag_id, json_extract(value, '$[1]') AS n FROM json_each(?)"
        " JOIN tag_set_tags l ON l.tag_set_id = json_extract(value, '$[0]') UNION ALL"
        " SELECT o.tag_id, 1 FROM asset_tags u CROSS JOIN asset_tags o ON o.asset_id = u.asset_id"
        " WHERE u.tag_id = (SELECT id FROM tags WHERE name = ?)"
        ") SELECT t.name, sum(k.n) AS total"
        " FROM known k JOIN tags t ON t.id = k.tag_id GROUP BY k.tag_id ORDER BY total DESC, t.name LIMIT ?",
        (json_array((each.id, each.passing or 0) for each in passing), name, limit),
    )
    return [TagCount(tag, count) for tag, count in rows]


async def _of_selection(db: Database, selection: Selection, limit: int) -> list[TagCount]:
    if isinstance(selection, FolderSelection):
        return await _of_folders(db, selection, limit)
    ids = await ids_of(db, selection)
    total = len(ids)
    if not total:
        return []
    return await _named(
        db, await _count_sets(db, ids, total, selection.sets), await _count_user_tags(db, ids, total), limit
    )


async def _of_folders(db: Database, selection: FolderSelection, limit: int) -> list[TagCount]:
    """Return the histogram of all assets in folders. Only users' tags have to be counted."""
    if all(selection.counts[each.id] == each.assets for each in selection.sets):  # a root, mostly
        return await _of_sets(db, selection.sets, limit)
    set_ids = json_array(selection.counts)
    [(tagged,)] = await db.fetch_all(
        "SELECT coalesce(sum(n), 0) FROM tag_counts WHERE tag_set_id IN (SELECT value FROM json_each(?))", (set_ids,)
    )
    by_tag: _Counts = []
    if tagged * ROW_COST <= selection.total:
        condition, parameters = selection.scope.holds("a.folder_id")
        by_tag = [
            (tag_id, count)
            for tag_id, count in await db.fetch_all(
                "SELECT u.tag_id, count(*) FROM asset_tags u JOIN assets a ON a.id = u.asset_id"
                f" WHERE {condition} AND a.tag_set_id IN (SELECT value FROM json_each(?)) GROUP BY 1",
                (*parameters, set_ids),
            )
        ]
    else:
        by_tag = await _count_user_tags(db, await ids_of(db, selection), selection.total)
    return await _named(db, [*selection.counts.items()], by_tag, limit)


async def _count_sets(db: Database, ids: IdSet, total: int, sets: Sequence[FilteredSet]) -> _Counts:
    """Count the assets of each tag set: row by row if they are few, else by reading the sets' own assets.

    The largest set, often most of the library, is not read: its assets are the remainder.
    """
    largest = max(sets, key=lambda each: each.assets)
    others = [each for each in sets if each is not largest]
    if total * ROW_COST <= sum(each.assets for each in others):
        rows = await db.fetch_all(
            f"SELECT a.tag_set_id, count(*) FROM {BY_IDS} GROUP BY 1",
            (json_array(ids),),
        )
        return [(set_id, count) for set_id, count in rows]
    rows = await db.fetch_all(
        "SELECT tag_set_id, group_concat(id) FROM assets WHERE tag_set_id IN (SELECT value FROM json_each(?))"
        " GROUP BY tag_set_id",
        (json_array(each.id for each in others),),
    )
    counts = [(set_id, ids.count(await fulltext.parse_ids(text))) for set_id, text in rows]
    return [*counts, (largest.id, total - sum(count for _, count in counts))]


async def _count_user_tags(db: Database, ids: IdSet, total: int) -> _Counts:
    """Count the assets with each tag of a user."""
    [(tagged,)] = await db.fetch_all("SELECT coalesce(sum(n), 0) FROM tag_counts")
    if total * ROW_COST <= tagged:
        rows = await db.fetch_all(
            "SELECT u.tag_id, count(*) FROM json_each(?) i CROSS JOIN asset_tags u ON u.asset_id = i.value GROUP BY 1",
            (json_array(ids),),
        )
        return [(tag_id, count) for tag_id, count in rows]
    [(tag_ids, asset_ids)] = await db.fetch_all(
        "SELECT group_concat(tag_id), group_concat(asset_id) FROM asset_tags INDEXED BY asset_tags_by_tag"
    )
    return ids.count_by(await fulltext.parse_ids(tag_ids), await fulltext.parse_ids(asset_ids))


async def _named(db: Database, by_set: _Counts, by_tag: _Counts, limit: int) -> list[TagCount]:
    """Add up the counts of tag sets and of users' tags by the names of the tags."""
    rows = await db.fetch_all(
        "SELECT t.name, sum(g.n) AS total FROM ("
        " SELECT l.tag_id, json_extract(value, '$[1]') AS n FROM json_each(?)"
        " JOIN tag_set_tags l ON l.tag_set_id = json_extract(value, '$[0]') UNION ALL"
        " SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?)"
        ") g JOIN tags t ON t.id = g.tag_id WHERE g.n > 0 GROUP BY g.tag_id ORDER BY total DESC, t.name LIMIT ?",
        (json_array(by_set), json_array(by_tag), limit),
    )
    return [TagCount(name, count) for name, count in rows]
