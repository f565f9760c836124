"""Resolve a filter to the assets that pass: by their tag sets, by a condition on their rows, or as a set of ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from ...models import AssetFilter
from .. import fulltext, tags
from ..connection import Database
from ..sql import Row, json_array

if TYPE_CHECKING:
    from .bitmap import IdSet

# Up to this many candidates are gathered from the tag index and sorted; for more, the sort index is walked.
GATHER_LIMIT = 8000
# Up to this many ids are passed to SQLite; more are compared here.
HANDED_OVER = 20_000
# Up to this many fields of metadata are looked up one by one, which is faster for few.
_FEW_FIELDS = 3
ROW_COST = 15  # how many ids can be compared in the time in which SQLite reads one asset's row


class FilteredSet(NamedTuple):
    """A tag set in use, and whether its assets pass the filter by owner and tags.

    An asset of it passes if users gave it all tags in ``needs`` and none in ``forbids``. ``passing`` is the number of
    these assets, or None if they must be counted.
    """

    id: int
    assets: int
    passes: bool
    needs: frozenset[str] = frozenset()
    forbids: frozenset[str] = frozenset()
    passing: int | None = None


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


async def select(db: Database, wanted: AssetFilter) -> RowSelection | IdSelection:
    """Resolve a filter."""
    sets = await filtered_sets(db, wanted)
    needle = wanted.name_contains.casefold()
    by_index = bool(needle) and await fulltext.are_names_indexed(db)
    if not (by_index or wanted.words):
        return rows_of(wanted, sets)
    found: list[IdSet] = []
    if wanted.words:
        found.append(await fulltext.of_words(db, wanted.words))
    if needle:
        found.append(await (fulltext.of_name if by_index else fulltext.of_any_name)(db, needle))
    return await _narrowed(db, wanted, found, sets)


def visible_condition(wanted: AssetFilter) -> str:
    """Return SQL for the ``tag_sets s`` rows whose assets the filter's owner (the parameter) asks for."""
    return tags.VISIBLE if wanted.include_public else "s.owner = ? AND s.hidden = 0"


async def filtered_sets(db: Database, wanted: AssetFilter) -> list[FilteredSet]:
    """Test every tag set that assets have."""
    names = [*wanted.include_tags, *wanted.exclude_tags]
    # For each tag: whether the set has it, and how many of the set's assets have it from a user.
    of_tag = "tag_set_id = s.id AND tag_id = (SELECT id FROM tags WHERE name = ?)"
    facts = f", EXISTS (SELECT 1 FROM tag_set_tags WHERE {of_tag}), (SELECT n FROM tag_counts WHERE {of_tag})"
    rows = await db.fetch_all(
        f"SELECT s.id, s.asset_count, {visible_condition(wanted)}{facts * len(names)}"
        " FROM tag_sets s WHERE s.asset_count > 0",
        [wanted.owner, *(name for name in names for _ in range(2))],
    )
    return [_filtered_set(row, wanted) for row in rows]


def _filtered_set(row: Row, wanted: AssetFilter) -> FilteredSet:
    set_id, assets, visible, *facts = row
    names = [*wanted.include_tags, *wanted.exclude_tags]
    by_name = {name: (bool(facts[2 * at]), facts[2 * at + 1] or 0) for at, name in enumerate(names)}
    needs = frozenset(name for name in wanted.include_tags if not by_name[name][0])
    forbids = frozenset(name for name in wanted.exclude_tags if by_name[name][1])
    if (
        not visible
        or any(by_name[name][0] for name in wanted.exclude_tags)
        or not all(by_name[name][1] for name in needs)
        or needs & forbids
    ):
        return FilteredSet(set_id, assets, passes=False)
    passing: int | None = None
    if not needs and not forbids:
        passing = assets
    elif len(needs) + len(forbids) == 1:
        passing = by_name[next(iter(needs))][1] if needs else assets - by_name[next(iter(forbids))][1]
    return FilteredSet(set_id, assets, passing != 0, needs, forbids, passing)


# The assets with a user's tag: by the tag's index, or by walking assets in another order.
BY_TAG = "asset_tags u CROSS JOIN assets a ON a.id = u.asset_id"
BY_ASSET = "assets a CROSS JOIN asset_tags u ON u.asset_id = a.id"

# The users' tags that assets of a set need, and those that they must not have.
_Demand = tuple[frozenset[str], frozenset[str]]


def _by_demand(sets: Iterable[FilteredSet]) -> dict[_Demand, list[FilteredSet]]:
    """Group the passing sets by the users' tags that they need and forbid. Most filters make one group."""
    groups: dict[_Demand, list[FilteredSet]] = {}
    for each in sets:
        if each.passes:
            groups.setdefault((each.needs, each.forbids), []).append(each)
    return groups


def rows_of(wanted: AssetFilter, sets: Sequence[FilteredSet]) -> RowSelection:
    """Resolve a filter without a search to a condition on rows."""
    groups = _by_demand(sets)
    where, parameters = _row_clauses(wanted)
    passing = [each for each in sets if each.passes]
    counts = [each.passing for each in passing]
    known = [count for count in counts if count is not None]
    total = sum(known) if len(known) == len(counts) and not where else None
    if len(groups) == 1:
        [((needs, forbids), members)] = groups.items()
        if needs:
            return _rows_of_tag(needs, forbids, members, RowSelection(" AND ".join(where), parameters, total, passing))
    every = sum(len(members) for members in groups.values()) == len(sets)
    candidates = sum(each.assets for members in groups.values() for each in members)
    # The unary plus keeps SQLite from using the tag index where walking the sort index is cheaper.
    column = "a.tag_set_id" if candidates <= GATHER_LIMIT else "+a.tag_set_id"
    alternatives: list[str] = []
    bound: list[Any] = []
    for (needs, forbids), members in groups.items():
        clauses, values = _demand_clauses(needs, forbids)
        if not every or len(groups) > 1:
            clauses.insert(0, f"{column} IN (SELECT value FROM json_each(?))")
            values.insert(0, json_array(each.id for each in members))
        alternatives.append(" AND ".join(clauses) or "1")
        bound += values
    where.append(f"({' OR '.join(alternatives) or '0'})")
    return RowSelection(" AND ".join(where), [*parameters, *bound], total, passing)


def _rows_of_tag(
    needs: frozenset[str], forbids: frozenset[str], members: Sequence[FilteredSet], rest: RowSelection
) -> RowSelection:
    """Resolve a filter that needs users' tags by way of one of these."""
    [first, *others] = sorted(needs)
    clauses, values = _demand_clauses(frozenset(others), forbids)
    # Tested last, because it reads the asset's row.
    where = ["u.tag_id = (SELECT id FROM tags WHERE name = ?)", *([rest.where] if rest.where else []), *clauses]
    where.append("+a.tag_set_id IN (SELECT value FROM json_each(?))")
    parameters = [first, *rest.parameters, *values, json_array(each.id for each in members)]
    tag_assets = sum(each.passing if each.passing is not None else each.assets for each in members)
    return RowSelection(" AND ".join(where), parameters, rest.total, rest.sets, BY_TAG, tag_assets)


def _demand_clauses(needs: Iterable[str], forbids: Iterable[str]) -> tuple[list[str], list[Any]]:
    test = "EXISTS (SELECT 1 FROM asset_tags WHERE asset_id = a.id AND tag_id = (SELECT id FROM tags WHERE name = ?))"
    needed, forbidden = sorted(needs), sorted(forbids)
    return [test] * len(needed) + [f"NOT {test}"] * len(forbidden), [*needed, *forbidden]


async def _narrowed(
    db: Database, wanted: AssetFilter, found: Sequence[IdSet], sets: Sequence[FilteredSet]
) -> IdSelection:
    """Apply the other filters to the results of searches."""
    from .bitmap import IdSet

    ids = found[0]
    for other in found[1:]:
        ids &= other
    passing = [each for each in sets if each.passes]
    ids = await _with_tags(db, ids, sets)
    if wanted.hash is not None:
        sql = "SELECT group_concat(id) FROM assets WHERE content_id = (SELECT id FROM contents WHERE hash = ?)"
        ids &= IdSet.of(await fulltext.fetch_ids(db, sql, (wanted.hash,)))
    if wanted.metadata:
        ids &= await _with_metadata(db, wanted, ids)
    return IdSelection(ids, len(ids), passing, _count(sets))


async def _with_tags(db: Database, ids: IdSet, sets: Sequence[FilteredSet]) -> IdSet:
    """Return those of the assets that pass by their tag set and by users' tags."""
    from .bitmap import IdSet

    groups = _by_demand(sets)
    result = IdSet.of(await fulltext.parse_ids(None))
    for (needs, forbids), members in groups.items():
        chosen = {each.id for each in members}
        part = await _of_sets(db, ids, members, [each for each in sets if each.id not in chosen])
        for name in needs:
            part &= IdSet.of(await fulltext.fetch_ids(db, _OF_TAG, (name,)))
        for name in forbids:
            part = part.minus(await fulltext.fetch_ids(db, _OF_TAG, (name,)))
        result = part if len(groups) == 1 else result.plus(part.ids)
    return result


_OF_TAG = "SELECT group_concat(asset_id) FROM asset_tags WHERE tag_id = (SELECT id FROM tags WHERE name = ?)"


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


async def _with_metadata(db: Database, wanted: AssetFilter, ids: IdSet) -> IdSet:
    """Return a set that contains those of the assets whose metadata pass, and maybe others."""
    from .bitmap import IdSet

    where, parameters = _row_clauses(AssetFilter(wanted.owner, metadata=wanted.metadata))
    source = "assets a"
    if len(ids) <= HANDED_OVER:
        source, parameters = BY_IDS, [json_array(ids), *parameters]
    sql = f"SELECT group_concat(a.id) FROM {source} WHERE {' AND '.join(where)}"
    return IdSet.of(await fulltext.fetch_ids(db, sql, parameters))


# The assets with the ids in the parameter, a JSON array. CROSS JOIN keeps SQLite from starting with another index.
BY_IDS = "(SELECT value AS id FROM json_each(?)) chosen CROSS JOIN assets a ON a.id = chosen.id"


def _row_clauses(wanted: AssetFilter) -> tuple[list[str], list[Any]]:
    """Return the conditions that read the asset's own row."""
    clauses: list[str] = []
    parameters: list[Any] = []
    if wanted.name_contains:
        clauses.append("instr(a.name_key, ?) > 0")
        parameters.append(wanted.name_contains.casefold())
    if wanted.hash is not None:
        clauses.append("a.content_id = (SELECT id FROM contents WHERE hash = ?)")
        parameters.append(wanted.hash)
    if wanted.metadata:
        clause, bound = _metadata_clause(wanted.metadata)
        clauses.append(clause)
        parameters.extend(bound)
    return clauses, parameters


_METADATA_FIELDS = (
    "(SELECT key, value, type FROM json_each(coalesce(a.user_metadata, '{}')) UNION ALL"
    " SELECT key, value, type FROM json_each((SELECT metadata FROM contents WHERE id = a.content_id)))"
)


def _field_clause(key: str, value: Any) -> tuple[str, list[Any]]:
    """Return the condition for one field; it reads an asset's metadata once for values and once for null."""
    accepted = value if isinstance(value, list) else [value]
    by_type: dict[str, list[Any]] = {
        "type = 'text' AND value": [item for item in accepted if isinstance(item, str)],
        "type": [str(item).lower() for item in accepted if isinstance(item, bool)],
        "type IN ('integer', 'real') AND value": [
            item for item in accepted if isinstance(item, (int, float)) and not isinstance(item, bool)
        ],
    }
    tests = [f"{what} IN (SELECT value FROM json_each(?))" for what, items in by_type.items() if items]
    alternatives: list[str] = []
    parameters: list[Any] = []
    if tests:
        alternatives.append(f"EXISTS (SELECT 1 FROM {_METADATA_FIELDS} WHERE key = ? AND ({' OR '.join(tests)}))")
        parameters = [key, *(json_array(items) for items in by_type.values() if items)]
    if None in accepted:
        alternatives.append(f"NOT EXISTS (SELECT 1 FROM {_METADATA_FIELDS} WHERE key = ? AND type <> 'null')")
        parameters.append(key)
    return f"({' OR '.join(alternatives) or '0'})", parameters


# Reads an asset's metadata once for all fields of the filter. It counts the fields with an accepted value, minus those
# that may be null but have a value: such a field passes only if its value is accepted, which makes up for the minus.
_METADATA_CONDITION = """
    (
        SELECT count(DISTINCT CASE WHEN (field.key, field.kind, field.value) IN (
            SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]')
            FROM json_each(?)
        ) THEN field.key END)
        - count(DISTINCT CASE WHEN field.kind <> 'null' AND field.key IN (SELECT value FROM json_each(?))
            THEN field.key END)
        FROM (
            SELECT key, value, CASE type WHEN 'integer' THEN 'number' WHEN 'real' THEN 'number' ELSE type END AS kind
            FROM json_each(coalesce(a.user_metadata, '{}'))
            UNION ALL
            SELECT key, value, CASE type WHEN 'integer' THEN 'number' WHEN 'real' THEN 'number' ELSE type END
            FROM json_each((SELECT metadata FROM contents WHERE id = a.content_id))
        ) field
        WHERE field.key IN (SELECT value FROM json_each(?))
    ) = ?
"""


def _metadata_clause(wanted: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """Return the condition for all fields.

    A field matches by equality, or by any value of a list. Null matches a field that is absent or null.
    """
    if len(wanted) <= _FEW_FIELDS:
        clauses = [_field_clause(key, value) for key, value in wanted.items()]
        return " AND ".join(text for text, _ in clauses), [each for _, bound in clauses for each in bound]
    accepted: list[tuple[str, str, Any]] = []
    optional: list[str] = []
    for key, value in wanted.items():
        for item in value if isinstance(value, list) else [value]:
            if item is None:
                optional.append(key)
            else:
                accepted.append((key, *_kind_and_value(item)))
    needed = len(wanted.keys() - set(optional))
    return _METADATA_CONDITION, [json_array(accepted), json_array(optional), json_array(wanted), needed]


def _kind_and_value(item: Any) -> tuple[str, Any]:
    """Return a value's type in SQLite's JSON functions, and the value as they return it."""
    if isinstance(item, bool):
        return str(item).lower(), int(item)
    return ("text" if isinstance(item, str) else "number"), item
