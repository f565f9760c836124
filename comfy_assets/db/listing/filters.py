"""Resolve a filter to the assets that pass: by their tag sets, by a condition on their rows, or as a set of ids."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from ...models import AssetFilter, RatingRange
from .. import fulltext, tags
from ..connection import Database
from ..sql import BY_IDS, ROW_COST, json_array
from . import folders
from .folders import FolderScope
from .metadata import OF_BASE_MODELS, base_models, metadata_clause

if TYPE_CHECKING:
    from .bitmap import IdSet

# Up to this many candidates are gathered from the tag index and sorted; for more, the sort index is walked.
GATHER_LIMIT = 8000
# One asset in so many is few: their ids are gathered although the sort index could be walked.
_FEW_SHARE = 20
# Up to this many ids, or one asset in so many, are passed to SQLite to read their metadata; for more, all are read.
HANDED_OVER, _METADATA_SHARE = 20_000, 4


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


@dataclass(frozen=True)
class RowSelection:
    """The assets ``a`` of ``source`` that meet ``where``. ``total`` is their number, or None if they must be counted.

    ``sets`` are the tag sets that pass. If ``source`` begins with the rows ``u`` of one tag in ``asset_tags``,
    ``tag_assets`` is about the number of assets with that tag.
    """

    where: str
    parameters: list[Any]
    total: int | None
    sets: list[FilteredSet]
    source: str = "assets a"
    tag_assets: int | None = None


@dataclass(frozen=True)
class IdSelection:
    """The ``total`` assets in a set of ids, all with one of these tag sets. ``library`` is the number of all assets."""

    ids: IdSet
    total: int
    sets: list[FilteredSet]
    library: int


@dataclass(frozen=True)
class FolderSelection:
    """The ``total`` assets in folders that have one of these tag sets. ``counts`` are their numbers by tag set.

    ``is_whole``: no asset in the folders has another set. ``library`` is the number of all assets.
    """

    scope: FolderScope
    total: int
    sets: list[FilteredSet]
    counts: dict[int, int]
    is_whole: bool
    library: int


Selection = RowSelection | IdSelection | FolderSelection


async def select(db: Database, wanted: AssetFilter) -> Selection:
    """Resolve a filter."""
    sets = await filtered_sets(db, wanted)
    scope = await folders.resolve(db, wanted.folder) if wanted.folder is not None else None
    needles = needles_of(wanted.name_contains)
    by_index = bool(needles) and await fulltext.are_names_indexed(db)
    named = base_models(wanted.metadata)
    if not (by_index or is_search(wanted) or scope or named):
        return await select_by_tags(db, wanted, sets)
    if scope is not None and is_by_counts(wanted, sets):
        return await _select_by_folder(db, scope, sets)
    found: list[IdSet] = []
    if named:  # few assets are models: their other metadata is compared for these alone
        found.append(await _of_base_models(db, named))
    if wanted.words or wanted.excluded:
        found.append(await fulltext.of_words(db, wanted.words, wanted.excluded))
    if needles:
        found.append(await (fulltext.of_name if by_index else fulltext.of_any_name)(db, needles))
    if scope is not None:
        found.append(await folders.ids_in(db, scope) if not found else await folders.narrow(db, found.pop(), scope))
    ids = await _rated(db, wanted.ratings, found)
    return await _narrowed(db, wanted, await _with_tags(db, ids, sets), sets)


def is_search(wanted: AssetFilter) -> bool:
    """Return whether a filter is resolved to a set of ids by what was searched for."""
    return bool(wanted.words or wanted.excluded or wanted.ratings)


async def _rated(db: Database, ratings: Sequence[RatingRange], found: Sequence[IdSet]) -> IdSet:
    """Return the assets that are in all of the found sets, and in all ranges of ratings."""
    sets: list[IdSet] = [*found]
    others: list[IdSet] = []
    for rating in ratings:
        if rating.least > 0:
            (others if rating.is_excluded else sets).append(await fulltext.of_rating(db, rating))
        else:  # with those that have no rating: all but the higher ones
            above = await fulltext.of_rating(db, RatingRange(math.nextafter(max(rating.most, 0), math.inf), math.inf))
            (sets if rating.is_excluded else others).append(above)
    ids = sets[0] if sets else await fulltext.of_all(db)
    for other in sets[1:]:
        ids &= other
    for other in others:
        ids = ids.minus(other.ids)
    return ids


def needles_of(text: str) -> tuple[str, ...]:
    """Return the case-folded forms of a part of a name: some systems write names with accents of their own."""
    folded = text.casefold()
    composed = unicodedata.normalize("NFC", folded)
    return tuple(dict.fromkeys([folded, composed, unicodedata.normalize("NFD", composed)])) if folded else ()


def is_by_counts(wanted: AssetFilter, sets: Iterable[FilteredSet]) -> bool:
    """Return whether a filter decides on owners, folders and tags of places alone, for which triggers keep counts."""
    reads_rows = is_search(wanted) or wanted.name_contains or wanted.metadata or wanted.hash or wanted.file
    return not reads_rows and not any(any(each.demand) for each in sets if each.passes)


async def _select_by_folder(db: Database, scope: FolderScope, sets: Sequence[FilteredSet]) -> FolderSelection:
    there = await folders.count_by_set(db, scope)
    passing = [each for each in sets if each.passes and each.id in there]
    counts = {each.id: there[each.id] for each in passing}
    total = sum(counts.values())
    return FolderSelection(scope, total, passing, counts, total == sum(there.values()), _count(sets))


async def ids_of(db: Database, selection: Selection) -> IdSet:
    """Return the ids of all selected assets."""
    from .bitmap import IdSet

    if isinstance(selection, IdSelection):
        return selection.ids
    if isinstance(selection, FolderSelection):
        return await folders.ids_in(db, selection.scope, None if selection.is_whole else [*selection.counts])
    sql = f"SELECT group_concat(a.id) FROM {selection.source} WHERE {selection.where}"
    return IdSet.of(await fulltext.fetch_ids(db, sql, selection.parameters))


async def _of_base_models(db: Database, names: list[str]) -> IdSet:
    """Return the assets that have, or may have, one of the base models."""
    from .bitmap import IdSet

    return IdSet.of(await fulltext.fetch_ids(db, OF_BASE_MODELS, [json_array(names)]))


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


# The assets with a user's tag: by the tag's index, or by walking assets in another order.
BY_TAG = "asset_tags u CROSS JOIN assets a ON a.id = u.asset_id"
BY_ASSET = "assets a CROSS JOIN asset_tags u ON u.asset_id = a.id"

_Groups = Mapping[Demand, Sequence[FilteredSet]]


def _by_demand(sets: Iterable[FilteredSet]) -> dict[Demand, list[FilteredSet]]:
    """Group the passing sets by the users' tags that they demand. Most filters make one group."""
    groups: dict[Demand, list[FilteredSet]] = {}
    for each in sets:
        if each.passes:
            groups.setdefault(each.demand, []).append(each)
    return groups


async def select_by_tags(db: Database, wanted: AssetFilter, sets: Sequence[FilteredSet]) -> RowSelection | IdSelection:
    """Resolve a filter without a search: to a condition on rows, or to a set of ids if that makes pages faster."""
    groups = _by_demand(sets)
    # A hash or a file leaves few rows, and a part of a name that is not indexed has every row read.
    if wanted.hash is None and wanted.file is None and not wanted.name_contains and _are_united(groups, sets):
        return await _narrowed(db, wanted, await ids_by_tags(db, sets), sets)
    where, parameters = _row_clauses(wanted)
    total = sum([await _count_passing(db, *group, sets) for group in groups.items()]) if not where else None
    rest = RowSelection(" AND ".join(where), parameters, total, [each for each in sets if each.passes])
    if len(groups) == 1 and (demand := next(iter(groups))).needs:
        return _rows_of_tag(demand, rest)
    return _rows_of_sets(groups, sets, rest)


def _are_united(groups: _Groups, sets: Sequence[FilteredSet]) -> bool:
    """Return whether the assets of the groups are united to a set of ids.

    Assets that several users' tags decide on must be gathered anyway, to be counted; those with one tag are in an index
    in order. Assets that pass by their place are added if they are few: many are soon met in any order.
    """
    if len(groups) == 1:
        [(demand, members)] = groups.items()
        return demand.wants and any(each.passing is None for each in members)
    by_place = sum(_count(members) for demand, members in groups.items() if not demand.wants)
    return by_place <= max(GATHER_LIMIT, _count(sets) // _FEW_SHARE) and any(demand.wants for demand in groups)


async def ids_by_tags(db: Database, sets: Sequence[FilteredSet]) -> IdSet:
    """Return the ids of all assets that pass by their tag set and by users' tags."""
    from .bitmap import IdSet

    result = IdSet.of(await fulltext.parse_ids(None))
    for demand, members in _by_demand(sets).items():
        result = result.plus((await _ids_of(db, demand, members, sets)).ids)
    return result


async def _ids_of(db: Database, demand: Demand, members: Sequence[FilteredSet], sets: Sequence[FilteredSet]) -> IdSet:
    """Return the ids of the assets of tag sets that meet a demand, by way of the users' tags if it wants any."""
    from .bitmap import IdSet

    if not demand.wants:
        ids = IdSet.of(await fulltext.fetch_ids(db, *_ids_of_sets(members)))
        return await _meeting(db, ids, demand)
    first = _rarest(demand, members)
    rest = demand._replace(needs=demand.needs - first, any_of=demand.any_of - first)
    ids = await _meeting(db, await _of_tags(db, first), rest)
    chosen = {each.id for each in members}
    others = [each for each in sets if each.id not in chosen and not first.isdisjoint(each.users_tags)]
    return await _of_sets(db, ids, members, others)


def _rarest(demand: Demand, members: Sequence[FilteredSet]) -> frozenset[str]:
    """Return the needed tag that fewest assets of the sets have, or else the tags of which an asset needs one."""
    if not demand.needs:
        return demand.any_of
    counts = {name: sum(each.users_tags[name] for each in members) for name in demand.needs}
    return frozenset([min(sorted(counts), key=counts.__getitem__)])


async def _of_tags(db: Database, names: Iterable[str]) -> IdSet:
    """Return the ids of the assets to which users gave any of these tags."""
    from .bitmap import IdSet

    sql = (
        "SELECT group_concat(u.asset_id) FROM tags t CROSS JOIN asset_tags u ON u.tag_id = t.id"
        " WHERE t.name IN (SELECT value FROM json_each(?))"
    )
    return IdSet.of(await fulltext.fetch_ids(db, sql, (json_array(names),)))


async def _meeting(db: Database, ids: IdSet, demand: Demand) -> IdSet:
    """Return those of the assets whose users' tags meet a demand."""
    for name in demand.needs:
        ids &= await _of_tags(db, [name])
    if demand.any_of:
        ids &= await _of_tags(db, demand.any_of)
    if demand.forbids:
        ids = ids.minus((await _of_tags(db, demand.forbids)).ids)
    return ids


async def _count_passing(
    db: Database, demand: Demand, members: Sequence[FilteredSet], sets: Sequence[FilteredSet]
) -> int:
    """Return how many assets of a group pass."""
    known = [each.passing for each in members if each.passing is not None]
    if len(known) == len(members):
        return sum(known)
    if demand.wants:
        return len(await _ids_of(db, demand, members, sets))
    return _count(members) - len(await _ids_of(db, Demand(any_of=demand.forbids), members, sets))


def _rows_of_sets(groups: _Groups, sets: Sequence[FilteredSet], rest: RowSelection) -> RowSelection:
    """Resolve a filter to the rows of tag sets, each with what is demanded of its group."""
    every = sum(len(members) for members in groups.values()) == len(sets)
    candidates = sum(_count(members) for members in groups.values())
    # The unary plus keeps SQLite from using the tag index where walking the sort index is cheaper.
    column = "a.tag_set_id" if candidates <= GATHER_LIMIT else "+a.tag_set_id"
    alternatives: list[str] = []
    bound: list[Any] = []
    for demand, members in groups.items():
        clauses, values = _demand_clauses(demand)
        if not every or len(groups) > 1:
            clauses.insert(0, f"{column} IN (SELECT value FROM json_each(?))")
            values.insert(0, json_array(each.id for each in members))
        alternatives.append(" AND ".join(clauses) or "1")
        bound += values
    where = [*([rest.where] if rest.where else []), f"({' OR '.join(alternatives) or '0'})"]
    return replace(rest, where=" AND ".join(where), parameters=[*rest.parameters, *bound])


def _rows_of_tag(demand: Demand, rest: RowSelection) -> RowSelection:
    """Resolve a filter that needs users' tags by way of the rarest of these."""
    members = rest.sets
    [first] = _rarest(demand, members)
    clauses, values = _demand_clauses(demand._replace(needs=demand.needs - {first}))
    # Tested last, because it reads the asset's row.
    where = ["u.tag_id = (SELECT id FROM tags WHERE name = ?)", *([rest.where] if rest.where else []), *clauses]
    where.append("+a.tag_set_id IN (SELECT value FROM json_each(?))")
    parameters = [first, *rest.parameters, *values, json_array(each.id for each in members)]
    tag_assets = sum(each.users_tags[first] for each in members)
    return RowSelection(" AND ".join(where), parameters, rest.total, rest.sets, BY_TAG, tag_assets)


def _demand_clauses(demand: Demand) -> tuple[list[str], list[Any]]:
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


async def _narrowed(db: Database, wanted: AssetFilter, ids: IdSet, sets: Sequence[FilteredSet]) -> IdSelection:
    """Apply the hash and the metadata of a filter to the assets that pass otherwise."""
    from .bitmap import IdSet

    passing = [each for each in sets if each.passes]
    if wanted.hash is not None:
        sql = "SELECT group_concat(id) FROM assets WHERE content_id = (SELECT id FROM contents WHERE hash = ?)"
        ids &= IdSet.of(await fulltext.fetch_ids(db, sql, (wanted.hash,)))
    if wanted.file is not None:
        sql = f"SELECT group_concat(id) FROM files WHERE id IN ({_AT_PATH})"
        ids &= IdSet.of(await fulltext.fetch_ids(db, sql, _at_path(wanted.file)))
    if wanted.metadata:
        ids &= await _with_metadata(db, wanted, ids, _count(sets))
    return IdSelection(ids, len(ids), passing, _count(sets))


async def _with_tags(db: Database, ids: IdSet, sets: Sequence[FilteredSet]) -> IdSet:
    """Return those of the assets that pass by their tag set and by users' tags."""
    from .bitmap import IdSet

    groups = _by_demand(sets)
    result = IdSet.of(await fulltext.parse_ids(None))
    for demand, members in groups.items():
        chosen = {each.id for each in members}
        part = await _of_sets(db, ids, members, [each for each in sets if each.id not in chosen])
        part = await _meeting(db, part, demand)
        result = part if len(groups) == 1 else result.plus(part.ids)
    return result


async def _of_sets(db: Database, ids: IdSet, chosen: Sequence[FilteredSet], others: Sequence[FilteredSet]) -> IdSet:
    """Return those of the assets that have one of the chosen tag sets, by reading as few assets as possible."""
    from .bitmap import IdSet

    fewest = min(_count(chosen), _count(others))
    if not others:
        return ids
    if len(ids) * ROW_COST <= fewest:
        sql = f"SELECT group_concat(a.id) FROM {BY_IDS} WHERE a.tag_set_id IN (SELECT value FROM json_each(?))"
        return IdSet.of(await fulltext.fetch_ids(db, sql, [json_array(ids), json_array(each.id for each in chosen)]))
    if fewest == _count(others):
        return ids.minus(await fulltext.fetch_ids(db, *_ids_of_sets(others)))
    return ids & IdSet.of(await fulltext.fetch_ids(db, *_ids_of_sets(chosen)))


def _count(sets: Iterable[FilteredSet]) -> int:
    return sum(each.assets for each in sets)


def _ids_of_sets(sets: Iterable[FilteredSet]) -> tuple[str, list[Any]]:
    """Return the query for the ids of the assets with one of these tag sets."""
    return (
        "SELECT group_concat(id) FROM assets WHERE tag_set_id IN (SELECT value FROM json_each(?))",
        [json_array(each.id for each in sets)],
    )


async def _with_metadata(db: Database, wanted: AssetFilter, ids: IdSet, library: int) -> IdSet:
    """Return a set that contains those of the assets whose metadata pass, and maybe others."""
    from .bitmap import IdSet

    where, parameters = _row_clauses(AssetFilter(wanted.owner, metadata=wanted.metadata))
    source = "assets a"
    if len(ids) <= max(HANDED_OVER, library // _METADATA_SHARE):
        source, parameters = BY_IDS, [json_array(ids), *parameters]
    sql = f"SELECT group_concat(a.id) FROM {source} WHERE {' AND '.join(where)}"
    return IdSet.of(await fulltext.fetch_ids(db, sql, parameters))


# The file that is there at a path below inputs or outputs, by the parameters of ``_at_path``.
_AT_PATH = (
    "SELECT f.id FROM folders d JOIN files f ON f.folder_id = d.id"
    " WHERE d.logical IN (?, ?) AND f.name = ? AND f.missing = 0"
)


def _at_path(path: str) -> list[str]:
    folder, _, name = path.rpartition("/")
    return [*(f"{kind}/{folder}" if folder else kind for kind in ("input", "output")), name]


def _row_clauses(wanted: AssetFilter) -> tuple[list[str], list[Any]]:
    """Return the conditions that read the asset's own row."""
    clauses: list[str] = []
    parameters: list[Any] = []
    if needles := needles_of(wanted.name_contains):
        clauses.append(f"({' OR '.join(['instr(a.name_key, ?) > 0'] * len(needles))})")
        parameters += needles
    if wanted.hash is not None:
        clauses.append("a.content_id = (SELECT id FROM contents WHERE hash = ?)")
        parameters.append(wanted.hash)
    if wanted.file is not None:
        clauses.append(f"a.id IN ({_AT_PATH})")
        parameters.extend(_at_path(wanted.file))
    if wanted.metadata:
        clause, bound = metadata_clause(wanted.metadata)
        clauses.append(clause)
        parameters.extend(bound)
    return clauses, parameters
