"""SQL conditions on the metadata of assets: of users, of files and of sidecars.

A field has *elements*: a list has its elements, any other value is the only one; null is none. A field matches a value
that equals one of its elements. Types are strict (1 is neither true nor "1"), numbers are compared by value, objects
and inner lists as a whole, the order of an object's members aside. Null matches a field without elements.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..sidecars import FIRST_PICTURE, SHARED_FACTS
from ..sql import json_array

# Up to this many fields are looked up one by one, which is faster for few.
_FEW_FIELDS = 3

# The elements of the fields ``f`` of an asset ``a`` that meet a condition; the type is null for an empty list.
_ELEMENTS = """(
    SELECT f.key AS key,
        CASE f.type WHEN 'array' THEN e.value ELSE f.value END AS value,
        CASE f.type WHEN 'array' THEN e.type ELSE f.type END AS type
    FROM (
        SELECT key, value, type FROM json_each(coalesce(a.user_metadata, '{{}}'))
        UNION ALL SELECT key, value, type FROM json_each((SELECT metadata FROM contents WHERE id = a.content_id))
        UNION ALL SELECT o.key, o.value, o.type FROM sidecars l CROSS JOIN assets b ON b.id = l.asset_id
            CROSS JOIN contents c ON c.id = b.content_id CROSS JOIN json_each(c.metadata) o
            WHERE l.model_id = a.id AND l.rank < {first_picture} AND o.key IN ({shared})
    ) f LEFT JOIN json_each(CASE f.type WHEN 'array' THEN f.value END) e
    WHERE {condition}
)"""


def _elements(condition: str) -> str:
    shared = ", ".join(f"'{key}'" for key in SHARED_FACTS)
    return _ELEMENTS.format(condition=condition, first_picture=FIRST_PICTURE, shared=shared)


_OF_FIELD = _elements("f.key = ?")

# Whether an element equals one of the objects and lists in the parameter, a JSON array: they have the same nodes.
_NODES = "SELECT fullkey, CASE type WHEN 'integer' THEN 'real' ELSE type END, atom FROM json_tree({})"
_IS_EQUAL = (
    "type IN ('object', 'array') AND EXISTS (SELECT 1 FROM json_each(?) w WHERE w.type = element.type"
    " AND (SELECT count(*) FROM json_tree(w.value)) = (SELECT count(*) FROM json_tree(element.value))"
    f" AND NOT EXISTS ({_NODES.format('element.value')} EXCEPT {_NODES.format('w.value')}))"
)


def base_models(wanted: Mapping[str, Any]) -> list[str] | None:
    """Return the base models that a filter accepts; None if it does not filter by them, or by their absence."""
    value = wanted.get("base_model")
    wanted_names = value if isinstance(value, list) else [value]
    names = [name for name in wanted_names if isinstance(name, str)]
    return names if names and len(names) == len(wanted_names) else None


# The assets with base models (the parameter, a JSON array of names) as one text. Users may have set a list of them.
OF_BASE_MODELS = """
    WITH wanted AS (SELECT value AS name FROM json_each(?)),
    found AS (
        SELECT c.id FROM wanted w CROSS JOIN contents c ON json_extract(c.metadata, '$.base_model') = w.name
        WHERE json_extract(c.metadata, '$.base_model') IS NOT NULL
    )
    SELECT group_concat(id) FROM (
        SELECT a.id AS id FROM found CROSS JOIN assets a ON a.content_id = found.id
        UNION SELECT l.model_id FROM found CROSS JOIN assets b ON b.content_id = found.id
        CROSS JOIN sidecars l ON l.asset_id = b.id
        UNION SELECT a.id FROM wanted w CROSS JOIN assets a ON json_extract(a.user_metadata, '$.base_model') = w.name
        WHERE json_extract(a.user_metadata, '$.base_model') IS NOT NULL
        UNION SELECT a.id FROM assets a WHERE json_extract(a.user_metadata, '$.base_model') IS NOT NULL
        AND json_type(a.user_metadata, '$.base_model') <> 'text'
    )
"""


def metadata_clause(wanted: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """Return the condition that all fields of an asset ``a`` match, and its parameters.

    A field is mapped to a value, or to a list of values of which one must match.
    """
    choices = {key: value if isinstance(value, list) else [value] for key, value in wanted.items()}
    # Rows of scalars are compared in one pass for all fields, but objects and lists are not.
    together = {} if len(choices) <= _FEW_FIELDS else {key: each for key, each in choices.items() if _are_scalars(each)}
    clauses = [_field_clause(key, each) for key, each in choices.items() if key not in together]
    if together:
        clauses.append(_scalars_clause(together))
    return " AND ".join(text for text, _ in clauses), [each for _, bound in clauses for each in bound]


def _are_scalars(values: list[Any]) -> bool:
    return not any(isinstance(value, dict | list) for value in values)


def _field_clause(key: str, accepted: list[Any]) -> tuple[str, list[Any]]:
    """Return the condition for one field; it reads an asset's metadata once for values and once for null."""
    by_test: dict[str, list[Any]] = {
        "type = 'text' AND value IN (SELECT value FROM json_each(?))": [v for v in accepted if isinstance(v, str)],
        "type IN (SELECT value FROM json_each(?))": [str(v).lower() for v in accepted if isinstance(v, bool)],
        "type IN ('integer', 'real') AND value IN (SELECT value FROM json_each(?))": [
            v for v in accepted if isinstance(v, int | float) and not isinstance(v, bool)
        ],
        _IS_EQUAL: [v for v in accepted if isinstance(v, dict | list)],
    }
    tests = [test for test, values in by_test.items() if values]
    alternatives: list[str] = []
    parameters: list[Any] = []
    if tests:
        alternatives.append(f"EXISTS (SELECT 1 FROM {_OF_FIELD} element WHERE {' OR '.join(tests)})")
        parameters = [key, *(json_array(values) for values in by_test.values() if values)]
    if None in accepted:
        alternatives.append(f"NOT EXISTS (SELECT 1 FROM {_OF_FIELD} WHERE type <> 'null')")
        parameters.append(key)
    return f"({' OR '.join(alternatives) or '0'})", parameters


# Reads an asset's metadata once for all fields of the filter. It counts the fields with an accepted element, minus
# those that may be null but have an element: such a field passes only if one is accepted, which makes up for the minus.
_SCALARS_CONDITION = f"""
    (
        SELECT count(DISTINCT CASE WHEN (field.key, field.kind, field.value) IN (
            SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]')
            FROM json_each(?)
        ) THEN field.key END)
        - count(DISTINCT CASE WHEN field.kind <> 'null' AND field.key IN (SELECT value FROM json_each(?))
            THEN field.key END)
        FROM (
            SELECT key, value, CASE type WHEN 'integer' THEN 'number' WHEN 'real' THEN 'number' ELSE type END AS kind
            FROM {_elements("f.key IN (SELECT value FROM json_each(?))")}
        ) field
    ) = ?
"""


def _scalars_clause(choices: Mapping[str, list[Any]]) -> tuple[str, list[Any]]:
    """Return the condition for fields that are compared with scalars."""
    accepted: list[tuple[str, str, Any]] = []
    optional: list[str] = []
    for key, values in choices.items():
        for value in values:
            if value is None:
                optional.append(key)
            else:
                accepted.append((key, *_kind_and_value(value)))
    needed = len(choices.keys() - set(optional))
    return _SCALARS_CONDITION, [json_array(accepted), json_array(optional), json_array(choices), needed]


def _kind_and_value(value: Any) -> tuple[str, Any]:
    """Return a scalar's type in SQLite's JSON functions, and the scalar as they return it."""
    if isinstance(value, bool):
        return str(value).lower(), int(value)
    return ("text" if isinstance(value, str) else "number"), value
