"""Which assets pass a filter: told by their tag sets alone, by a condition on their rows, or as a set of ids.

What searches find are sets, which the other filters then narrow; without a search, SQLite tests row by row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from ...models import AssetFilter
from .. import fulltext, tags
from ..connection import Database
from ..sql import json_array

if TYPE_CHECKING:
    from .bitmap import IdSet

# Up to this many candidates are gathered from the tag index and sorted; more are found by walking the sort
# index.
GATHER_LIMIT = 8000
# Up to this many ids are handed to SQLite; more are told apart here.
HANDED_OVER = 20_000
# Up to this many fields of metadata are looked up one by one, which is faster then.
_FEW_FIELDS = 3
ROW_COST = 15  # how many ids can be told apart while SQLite looks at one asset's row


class TagSet(NamedTuple):
    """A combination of owner and tags that assets have, how many, and whether they pass the filter."""

    id: int
    assets: int
    passes: bool


@dataclass(frozen=True)
class Rows:
    """The assets ``a`` for which ``where`` holds; ``total`` is how many, where that is known."""

    where: str
    parameters: list[Any]
    total: int | None


@dataclass(frozen=True)
class Found:
    """The ``total`` assets in a set, which all have one of these tag sets.

    ``library`` is how many assets there are in all.
    """

    ids: IdSet
    total: int
    sets: list[TagSet]
    library: int


async def select(db: Database, wanted: AssetFilter) -> Rows | Found:
    """Resolve a filter."""
    sets = await _tag_sets(db, wanted)
    needle = wanted.name_contains.casefold()
    by_index = bool(needle) and await fulltext.are_names_indexed(db)
    if not (by_index or wanted.words):
        return _by_rows(wanted, sets)
    found: list[IdSet] = []
    if wanted.words:
        found.append(await fulltext.of_words(db, wanted.words))
    if needle:
        found.append(await (fulltext.of_name if by_index else fulltext.of_any_name)(db, needle))
    return await _narrowed(db, wanted, found, sets)


async def _tag_sets(db: Database, wanted: AssetFilter) -> list[TagSet]:
    condition, parameters = tags.set_condition(wanted)
    rows = await db.fetch_all(
        f"SELECT s.id, s.asset_count, {condition} FROM tag_sets s WHERE s.asset_count > 0", parameters
    )
    return [TagSet(row[0], row[1], bool(row[2])) for row in rows]


def _by_rows(wanted: AssetFilter, sets: Sequence[TagSet]) -> Rows:
    passing = [each for each in sets if each.passes]
    candidates = sum(each.assets for each in passing)
    where, parameters = _row_clauses(wanted)
    total = None if where else candidates
    if len(passing) < len(sets):
        # The unary plus keeps SQLite from choosing the tag index where walking the sort index is cheaper.
        column = "a.tag_set_id" if candidates <= GATHER_LIMIT else "+a.tag_set_id"
        where.append(f"{column} IN (SELECT value FROM json_each(?))")
        parameters.append(json_array([each.id for each in passing]))
    return Rows(" AND ".join(where) or "1", parameters, total)


async def _narrowed(db: Database, wanted: AssetFilter, found: Sequence[IdSet], sets: Sequence[TagSet]) -> Found:
    """Of what all searches have found, what passes the other filters too."""
    from .bitmap import IdSet

    ids = found[0]
    for other in found[1:]:
        ids &= other
    passing = [each for each in sets if each.passes]
    others = [each for each in sets if not each.passes]
    ids = await _with_tags(db, ids, passing, others)
    if wanted.hash is not None:
        sql = "SELECT group_concat(id) FROM assets WHERE content_id = (SELECT id FROM contents WHERE hash = ?)"
        ids &= IdSet.of(await fulltext.fetch_ids(db, sql, (wanted.hash,)))
    if wanted.metadata:
        ids &= await _with_metadata(db, wanted, ids)
    return Found(ids, len(ids), passing, _count(sets))


async def _with_tags(db: Database, ids: IdSet, passing: Sequence[TagSet], others: Sequence[TagSet]) -> IdSet:
    """Those of the assets that have one of the passing tag sets; by way of the fewest assets."""
    from .bitmap import IdSet

    fewest = min(_count(passing), _count(others))
    if not others:
        return ids
    if len(ids) * ROW_COST <= fewest:
        sql = f"SELECT group_concat(a.id) FROM {BY_IDS} WHERE a.tag_set_id IN (SELECT value FROM json_each(?))"
        return IdSet.of(await fulltext.fetch_ids(db, sql, [json_array(ids), *_of_sets(passing)[1]]))
    if fewest == _count(others):
        return ids.minus(await fulltext.fetch_ids(db, *_of_sets(others)))
    return ids & IdSet.of(await fulltext.fetch_ids(db, *_of_sets(passing)))


def _count(sets: Iterable[TagSet]) -> int:
    return sum(each.assets for each in sets)


def _of_sets(sets: Iterable[TagSet]) -> tuple[str, list[Any]]:
    """A query for the ids of the assets that have one of these tag sets."""
    return (
        "SELECT group_concat(id) FROM assets WHERE tag_set_id IN (SELECT value FROM json_each(?))",
        [json_array([each.id for each in sets])],
    )


async def _with_metadata(db: Database, wanted: AssetFilter, ids: IdSet) -> IdSet:
    """Those of the assets, and maybe others, whose metadata pass."""
    from .bitmap import IdSet

    where, parameters = _row_clauses(AssetFilter(wanted.owner, metadata=wanted.metadata))
    source = "assets a"
    if len(ids) <= HANDED_OVER:
        source, parameters = BY_IDS, [json_array(ids), *parameters]
    sql = f"SELECT group_concat(a.id) FROM {source} WHERE {' AND '.join(where)}"
    return IdSet.of(await fulltext.fetch_ids(db, sql, parameters))


# The assets whose ids are in the parameter, a JSON array; found by them, whatever is asked of them.
BY_IDS = "(SELECT value AS id FROM json_each(?)) chosen CROSS JOIN assets a ON a.id = chosen.id"


def _row_clauses(wanted: AssetFilter) -> tuple[list[str], list[Any]]:
    """The filters that must look at the asset itself."""
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
    """Return the condition for one field, which reads an asset's metadata once for values and once for null."""
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


# The fields of an asset's metadata that the filter names, read once for all of them. A field that may be absent or null
# counts against what it needs: as long as it is there with a value, the value must be one of those accepted.
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
    """A field matches by equality, by any of a list's values; null matches a field that is absent or null."""
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
    """The type that SQLite's JSON functions tell of a value, and the value as they give it."""
    if isinstance(item, bool):
        return str(item).lower(), int(item)
    return ("text" if isinstance(item, str) else "number"), item
