"""Resolve a filter to the assets that pass: by their tag sets, by a condition on their rows, or as a set of ids."""

from __future__ import annotations

import asyncio
import functools
import operator
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ...models import AssetFilter, Span
from .. import contents, fulltext
from ..connection import Database
from ..sql import BY_IDS, json_array
from . import columns, folders
from .bitmap import IdSet
from .folders import FolderScope
from .metadata import OF_BASE_MODELS, base_models, metadata_clause
from .tag_filters import (
    Demand,
    FilteredSet,
    by_demand,
    count_assets,
    demand_clauses,
    filtered_sets,
    ids_by_tags,
    ids_of_demand,
    rarest,
    with_tags,
)

if TYPE_CHECKING:
    from .bitmap import Ids

# Up to this many candidates are gathered from the tag index and sorted; for more, the sort index is walked.
GATHER_LIMIT = 8000
# One asset in so many is few: their ids are gathered although the sort index could be walked.
_FEW_SHARE = 20
# Up to this many ids, or one asset in so many, are passed to SQLite to read their metadata; for more, all are read.
HANDED_OVER, _METADATA_SHARE = 20_000, 4
_OF_COLLECTION = "FROM collection_members WHERE collection_id = (SELECT id FROM collections WHERE uuid = ?)"


@dataclass(frozen=True)
class RowSelection:
    """The assets ``a`` of ``source`` that meet ``where``. ``total`` is their number, or None if they must be counted.

    ``sets`` are the tag sets that pass; ``is_by_tags`` if they and users' tags alone decide. If ``source`` begins with
    the rows ``u`` of one tag in ``asset_tags``, ``tag_assets`` is about the number of assets with that tag.
    """

    where: str
    parameters: list[Any]
    total: int | None
    sets: list[FilteredSet]
    source: str = "assets a"
    tag_assets: int | None = None
    is_by_tags: bool = False


@dataclass(frozen=True)
class IdSelection:
    """The ``total`` assets in a set of ids, all with one of these tag sets. ``library`` is the number of all assets.

    ``spans`` are ranges that the values of all of them lie in, in which a walk in the order of such values can start.
    """

    ids: IdSet
    total: int
    sets: list[FilteredSet]
    library: int
    spans: tuple[Span, ...] = ()


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
    if not (by_index or is_search(wanted) or scope or named or is_listed(wanted)):
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
    if wanted.job is not None:
        found.append(IdSet.of(await fulltext.fetch_ids(db, _OF_JOB, (wanted.job,))))
    if wanted.collection is not None:
        found.append(await members_of(db, wanted.collection))
    if wanted.made_with is not None:
        found.append(await _made_with(db, wanted.made_with, wanted.owner))
    ids = functools.reduce(operator.and_, found) if found else None
    if ids is None or columns.has_conditions(wanted):
        passing = await columns.narrow(db, wanted, sets, ids)
    else:
        passing = await with_tags(db, ids, sets)
    return await _narrowed(db, wanted, passing, sets)


_OF_JOB = "SELECT group_concat(id) FROM assets WHERE job_id = ?"


def is_search(wanted: AssetFilter) -> bool:
    """Return whether a filter is resolved to a set of ids, by a search or by conditions on values."""
    return bool(wanted.words or wanted.excluded) or columns.has_conditions(wanted)


def is_listed(wanted: AssetFilter) -> bool:
    """Return whether a filter names a job, a collection or a used asset, which have lists of assets."""
    return wanted.job is not None or wanted.collection is not None or wanted.made_with is not None


def needles_of(text: str) -> tuple[str, ...]:
    """Return the case-folded forms of a part of a name: some systems write names with accents of their own."""
    folded = text.casefold()
    composed = unicodedata.normalize("NFC", folded)
    return tuple(dict.fromkeys([folded, composed, unicodedata.normalize("NFD", composed)])) if folded else ()


def is_by_counts(wanted: AssetFilter, sets: Iterable[FilteredSet]) -> bool:
    """Return whether a filter decides on owners, folders and tags of places alone, for which triggers keep counts."""
    reads_rows = is_search(wanted) or wanted.name_contains or wanted.metadata or wanted.hash or wanted.file
    if reads_rows or is_listed(wanted):
        return False
    return not any(any(each.demand) for each in sets if each.passes)


async def _select_by_folder(db: Database, scope: FolderScope, sets: Sequence[FilteredSet]) -> FolderSelection:
    there = await folders.count_by_set(db, scope)
    passing = [each for each in sets if each.passes and each.id in there]
    counts = {each.id: there[each.id] for each in passing}
    total = sum(counts.values())
    return FolderSelection(scope, total, passing, counts, total == sum(there.values()), count_assets(sets))


async def ids_of(db: Database, selection: Selection) -> IdSet:
    """Return the ids of all selected assets."""
    if isinstance(selection, IdSelection):
        return selection.ids
    if isinstance(selection, FolderSelection):
        return await folders.ids_in(db, selection.scope, None if selection.is_whole else [*selection.counts])
    if selection.is_by_tags:
        return await columns.narrow(db, AssetFilter(""), selection.sets, None)
    sql = f"SELECT group_concat(a.id) FROM {selection.source} WHERE {selection.where}"
    return IdSet.of(await fulltext.fetch_ids(db, sql, selection.parameters))


async def _of_base_models(db: Database, names: list[str]) -> IdSet:
    """Return the assets that have, or may have, one of the base models."""
    return IdSet.of(await fulltext.fetch_ids(db, OF_BASE_MODELS, [json_array(names)]))


# The outputs, as one text, of the visible jobs that used a visible asset or another with its content. Such contents
# themselves are left out, as nodes may show what they load.
_MADE_WITH = f"""
    WITH same AS ({contents.SAME_CONTENT})
    SELECT group_concat(DISTINCT o.asset_id) FROM same JOIN job_inputs i ON i.asset_id = same.id
    JOIN jobs j ON j.id = i.job_id AND j.owner IN ('', ?) JOIN job_outputs o ON o.job_id = j.id
    WHERE o.asset_id NOT IN (SELECT id FROM same)
"""


async def _made_with(db: Database, asset_id: str, owner: str) -> IdSet:
    return IdSet.of(await fulltext.fetch_ids(db, _MADE_WITH, [asset_id, owner, owner]))


# The assets with a user's tag: by the tag's index, or by walking assets in another order.
BY_TAG = "asset_tags u CROSS JOIN assets a ON a.id = u.asset_id"
BY_ASSET = "assets a CROSS JOIN asset_tags u ON u.asset_id = a.id"

_Groups = Mapping[Demand, Sequence[FilteredSet]]


async def select_by_tags(db: Database, wanted: AssetFilter, sets: Sequence[FilteredSet]) -> RowSelection | IdSelection:
    """Resolve a filter without a search: to a condition on rows, or to a set of ids if that makes pages faster."""
    groups = by_demand(sets)
    # A hash or a file leaves few rows, and a part of a name that is not indexed has every row read.
    if wanted.hash is None and wanted.file is None and not wanted.name_contains and _are_united(groups, sets):
        return await _narrowed(db, wanted, await ids_by_tags(db, sets), sets)
    where, parameters = _row_clauses(wanted)
    total = sum([await _count_passing(db, *group, sets) for group in groups.items()]) if not where else None
    passing = [each for each in sets if each.passes]
    rest = RowSelection(" AND ".join(where), parameters, total, passing, is_by_tags=not where)
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
    by_place = sum(count_assets(members) for demand, members in groups.items() if not demand.wants)
    return by_place <= max(GATHER_LIMIT, count_assets(sets) // _FEW_SHARE) and any(demand.wants for demand in groups)


async def _count_passing(
    db: Database, demand: Demand, members: Sequence[FilteredSet], sets: Sequence[FilteredSet]
) -> int:
    """Return how many assets of a group pass."""
    known = [each.passing for each in members if each.passing is not None]
    if len(known) == len(members):
        return sum(known)
    if demand.wants:
        return len(await ids_of_demand(db, demand, members, sets))
    return count_assets(members) - len(await ids_of_demand(db, Demand(any_of=demand.forbids), members, sets))


def _rows_of_sets(groups: _Groups, sets: Sequence[FilteredSet], rest: RowSelection) -> RowSelection:
    """Resolve a filter to the rows of tag sets, each with the condition on its group."""
    every = sum(len(members) for members in groups.values()) == len(sets)
    candidates = sum(count_assets(members) for members in groups.values())
    # The unary plus keeps SQLite from using the tag index where walking the sort index is cheaper.
    column = "a.tag_set_id" if candidates <= GATHER_LIMIT else "+a.tag_set_id"
    alternatives: list[str] = []
    bound: list[Any] = []
    for demand, members in groups.items():
        clauses, values = demand_clauses(demand)
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
    [first] = rarest(demand, members)
    clauses, values = demand_clauses(demand._replace(needs=demand.needs - {first}))
    # Tested last, because it reads the asset's row.
    where = ["u.tag_id = (SELECT id FROM tags WHERE name = ?)", *([rest.where] if rest.where else []), *clauses]
    where.append("+a.tag_set_id IN (SELECT value FROM json_each(?))")
    parameters = [first, *rest.parameters, *values, json_array(each.id for each in members)]
    tag_assets = sum(each.users_tags[first] for each in members)
    return RowSelection(" AND ".join(where), parameters, rest.total, rest.sets, BY_TAG, tag_assets, rest.is_by_tags)


async def _narrowed(db: Database, wanted: AssetFilter, ids: IdSet, sets: Sequence[FilteredSet]) -> IdSelection:
    """Apply the hash and the metadata of a filter to the assets that pass otherwise."""
    passing = [each for each in sets if each.passes]
    if wanted.hash is not None:
        sql = "SELECT group_concat(id) FROM assets WHERE content_id = (SELECT id FROM contents WHERE hash = ?)"
        ids &= IdSet.of(await fulltext.fetch_ids(db, sql, (wanted.hash,)))
    if wanted.file is not None:
        sql = f"SELECT group_concat(id) FROM files WHERE id IN ({_AT_PATH})"
        ids &= IdSet.of(await fulltext.fetch_ids(db, sql, _at_path(wanted.file)))
    if wanted.metadata:
        ids &= await _with_metadata(db, wanted, ids, count_assets(sets))
    return IdSelection(ids, len(ids), passing, count_assets(sets), wanted.spans)


async def _with_metadata(db: Database, wanted: AssetFilter, ids: IdSet, library: int) -> IdSet:
    """Return a set that contains those of the assets whose metadata pass, and maybe others."""
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


async def members_of(db: Database, collection: str) -> IdSet:
    """Return all members of a collection, by its id."""
    return IdSet.of(await fulltext.fetch_ids(db, f"SELECT group_concat(asset_id) {_OF_COLLECTION}", (collection,)))


async def positions_of(db: Database, collection: str, ids: Ids) -> Ids:
    """Return the positions of members, which are given by ascending id."""
    rows = await db.fetch_all(f"SELECT group_concat(asset_id), group_concat(position) {_OF_COLLECTION}", (collection,))
    members, positions = await fulltext.parse_ids(rows[0][0]), await fulltext.parse_ids(rows[0][1])
    order = members.argsort()
    at = members[order].searchsorted(ids).clip(0, max(0, members.size - 1))
    found: Ids = positions[order][at] if members.size else ids[:0]
    return found


async def count_visible(db: Database, row_ids: Sequence[int], owner: str) -> dict[int, int]:
    """Return, for each of these collections that has members, how many the user can see."""
    import numpy as np

    members = await db.fetch_all(
        "SELECT collection_id, group_concat(asset_id) FROM collection_members"
        " WHERE collection_id IN (SELECT value FROM json_each(?)) GROUP BY 1",
        (json_array(row_ids),),
    )
    tag_set = (await columns.load(db, ["tag_set"]))["tag_set"]
    passing = [each.id for each in await filtered_sets(db, AssetFilter(owner)) if each.passes]
    parsed = {row_id: await fulltext.parse_ids(text) for row_id, text in members}

    def work() -> dict[int, int]:
        return {row_id: int(np.isin(columns.values_of(tag_set, ids), passing).sum()) for row_id, ids in parsed.items()}

    return await asyncio.to_thread(work)
