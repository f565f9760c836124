"""Filter by owner and tags: test every tag set, and find the assets that pass by them and by users' tags."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ...models import AssetFilter
from .. import fulltext, tags
from ..connection import Database
from ..sql import BY_IDS, ROW_COST, json_array
from .bitmap import IdSet

if TYPE_CHECKING:
    from .bitmap import IdSet


class Demand(NamedTuple):
    """The users' tags that an asset must have: all of ``needs``, one of ``any_of`` if given; and not, ``forbids``."""

    needs: frozenset[str] = frozenset()
    any_of: frozenset[str] = frozenset()
    forbids: frozenset[str] = frozenset()

    @property
    def wants(self) -> bool:
        """True if an asset passes only by a tag that it has from a user."""
        return bool(self.needs or self.any_of)


_NO_DEMAND = Demand()


class FilteredSet(NamedTuple):
    """A tag set in use, and whether its assets pass the filter by owner and tags.

    An asset of it passes if its users' tags meet ``demand``. ``passing`` is the number of these assets, or None if they
    must be counted. ``users_tags`` has, of the tags in the filter, those that users gave to assets of the set, with the
    number of these.
    """

    id: int
    assets: int
    passes: bool
    demand: Demand = _NO_DEMAND
    passing: int | None = None
    users_tags: Mapping[str, int] = {}


def visible_condition(wanted: AssetFilter) -> str:
    """Return SQL for the ``tag_sets s`` rows whose assets the filter's owner (the parameter) asks for."""
    return tags.VISIBLE if wanted.include_public else "s.owner = ? AND s.hidden = 0"


async def filtered_sets(db: Database, wanted: AssetFilter) -> list[FilteredSet]:
    """Test every tag set that assets have."""
    # One statement sees one state of the store: the sets, the filter's tags that they have, and those of their assets.
    rows = await db.fetch_all(
        "WITH wanted AS (SELECT t.id, t.name FROM json_each(?) j CROSS JOIN tags t ON t.name = j.value)"
        f" SELECT s.id, NULL, {visible_condition(wanted)}, s.asset_count FROM tag_sets s WHERE s.asset_count > 0"
        " UNION ALL SELECT l.tag_set_id, w.name, 1, NULL FROM wanted w CROSS JOIN tag_set_tags l ON l.tag_id = w.id"
        " UNION ALL SELECT c.tag_set_id, w.name, 0, c.n FROM wanted w CROSS JOIN tag_counts c ON c.tag_id = w.id",
        [json_array({*wanted.tags_all, *wanted.tags_any, *wanted.tags_none}), wanted.owner],
    )
    of_place: dict[int, set[str]] = {}
    of_users: dict[int, dict[str, int]] = {}
    for set_id, name, is_of_place, count in rows:
        if name is not None and is_of_place:
            of_place.setdefault(set_id, set()).add(name)
        elif name is not None:
            of_users.setdefault(set_id, {})[name] = count
    return [
        _filtered_set(wanted, FilteredSet(set_id, assets, bool(visible), users_tags=of_users.get(set_id, {})), place)
        for set_id, name, visible, assets in rows
        if name is None
        for place in (of_place.get(set_id, set()),)
    ]


def _filtered_set(wanted: AssetFilter, found: FilteredSet, place: set[str]) -> FilteredSet:
    """Decide on a tag set with these tags; ``passes`` says whether its assets are visible."""
    users = found.users_tags
    needs = frozenset(wanted.tags_all) - place
    forbids = frozenset(name for name in wanted.tags_none if name in users)
    any_of = frozenset(name for name in wanted.tags_any if name in users) - forbids
    is_any_met = not wanted.tags_any or not place.isdisjoint(wanted.tags_any) or not needs.isdisjoint(any_of)
    if (
        not found.passes
        or not place.isdisjoint(wanted.tags_none)
        or not needs <= users.keys()
        or not needs.isdisjoint(forbids)
        or not (is_any_met or any_of)
    ):
        return found._replace(passes=False)
    if is_any_met:
        any_of = frozenset()
    elif len(any_of) == 1:
        needs, any_of = needs | any_of, frozenset()
    passing = _passing(found, needs, forbids) if not any_of else None
    return found._replace(passes=passing != 0, demand=Demand(needs, any_of, forbids), passing=passing)


def _passing(found: FilteredSet, needs: frozenset[str], forbids: frozenset[str]) -> int | None:
    """Return the number of a set's assets with these demands if it is known: for one tag at most."""
    if len(needs) + len(forbids) > 1:
        return None
    return next(
        (found.users_tags[name] for name in needs), found.assets - sum(found.users_tags[name] for name in forbids)
    )


def by_demand(sets: Iterable[FilteredSet]) -> dict[Demand, list[FilteredSet]]:
    """Group the passing sets by the users' tags that they demand. Most filters make one group."""
    groups: dict[Demand, list[FilteredSet]] = {}
    for each in sets:
        if each.passes:
            groups.setdefault(each.demand, []).append(each)
    return groups


async def ids_by_tags(db: Database, sets: Sequence[FilteredSet]) -> IdSet:
    """Return the ids of all assets that pass by their tag set and by users' tags."""
    result = IdSet.of(await fulltext.parse_ids(None))
    for demand, members in by_demand(sets).items():
        result = result.plus((await ids_of_demand(db, demand, members, sets)).ids)
    return result


async def ids_of_demand(
    db: Database, demand: Demand, members: Sequence[FilteredSet], sets: Sequence[FilteredSet]
) -> IdSet:
    """Return the ids of the assets of tag sets that meet a demand, by way of the users' tags if it wants any."""
    if not demand.wants:
        ids = IdSet.of(await fulltext.fetch_ids(db, *_ids_of_sets(members)))
        return await meeting(db, ids, demand)
    first = rarest(demand, members)
    rest = demand._replace(needs=demand.needs - first, any_of=demand.any_of - first)
    ids = await meeting(db, await _of_tags(db, first), rest)
    chosen = {each.id for each in members}
    others = [each for each in sets if each.id not in chosen and not first.isdisjoint(each.users_tags)]
    return await _of_sets(db, ids, members, others)


def rarest(demand: Demand, members: Sequence[FilteredSet]) -> frozenset[str]:
    """Return the needed tag that fewest assets of the sets have, or else the tags of which an asset needs one."""
    if not demand.needs:
        return demand.any_of
    counts = {name: sum(each.users_tags[name] for each in members) for name in demand.needs}
    return frozenset([min(sorted(counts), key=counts.__getitem__)])


async def _of_tags(db: Database, names: Iterable[str]) -> IdSet:
    """Return the ids of the assets to which users gave any of these tags."""
    sql = (
        "SELECT group_concat(u.asset_id) FROM tags t CROSS JOIN asset_tags u ON u.tag_id = t.id"
        " WHERE t.name IN (SELECT value FROM json_each(?))"
    )
    return IdSet.of(await fulltext.fetch_ids(db, sql, (json_array(names),)))


async def meeting(db: Database, ids: IdSet, demand: Demand) -> IdSet:
    """Return those of the assets whose users' tags meet a demand."""
    for name in demand.needs:
        ids &= await _of_tags(db, [name])
    if demand.any_of:
        ids &= await _of_tags(db, demand.any_of)
    if demand.forbids:
        ids = ids.minus((await _of_tags(db, demand.forbids)).ids)
    return ids


async def with_tags(db: Database, ids: IdSet, sets: Sequence[FilteredSet]) -> IdSet:
    """Return those of the assets that pass by their tag set and by users' tags."""
    groups = by_demand(sets)
    result = IdSet.of(await fulltext.parse_ids(None))
    for demand, members in groups.items():
        chosen = {each.id for each in members}
        part = await _of_sets(db, ids, members, [each for each in sets if each.id not in chosen])
        part = await meeting(db, part, demand)
        result = part if len(groups) == 1 else result.plus(part.ids)
    return result


async def _of_sets(db: Database, ids: IdSet, chosen: Sequence[FilteredSet], others: Sequence[FilteredSet]) -> IdSet:
    """Return those of the assets that have one of the chosen tag sets, by reading as few assets as possible."""
    fewest = min(count_assets(chosen), count_assets(others))
    if not others:
        return ids
    if len(ids) * ROW_COST <= fewest:
        sql = f"SELECT group_concat(a.id) FROM {BY_IDS} WHERE a.tag_set_id IN (SELECT value FROM json_each(?))"
        return IdSet.of(await fulltext.fetch_ids(db, sql, [json_array(ids), json_array(each.id for each in chosen)]))
    if fewest == count_assets(others):
        return ids.minus(await fulltext.fetch_ids(db, *_ids_of_sets(others)))
    return ids & IdSet.of(await fulltext.fetch_ids(db, *_ids_of_sets(chosen)))


def count_assets(sets: Iterable[FilteredSet]) -> int:
    return sum(each.assets for each in sets)


def _ids_of_sets(sets: Iterable[FilteredSet]) -> tuple[str, list[Any]]:
    """Return the query for the ids of the assets with one of these tag sets."""
    return (
        "SELECT group_concat(id) FROM assets WHERE tag_set_id IN (SELECT value FROM json_each(?))",
        [json_array(each.id for each in sets)],
    )


def demand_clauses(demand: Demand) -> tuple[list[str], list[Any]]:
    of_tag = "EXISTS (SELECT 1 FROM asset_tags WHERE asset_id = a.id AND tag_id = (SELECT id FROM tags WHERE name = ?))"
    needed, forbidden = sorted(demand.needs), sorted(demand.forbids)
    clauses, values = [of_tag] * len(needed) + [f"NOT {of_tag}"] * len(forbidden), [*needed, *forbidden]
    if demand.any_of:
        clauses.append(
            "EXISTS (SELECT 1 FROM asset_tags WHERE asset_id = a.id AND tag_id IN"
            " (SELECT id FROM tags WHERE name IN (SELECT value FROM json_each(?))))"
        )
        values.append(json_array(sorted(demand.any_of)))
    return clauses, values
