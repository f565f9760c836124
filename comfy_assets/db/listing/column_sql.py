"""The SQL of the values of assets that are kept in memory (``columns``), and that lists are sorted by."""

from __future__ import annotations

import msgspec

from ... import asset_kinds


def _kind_sql() -> str:
    """Return the SQL for the number of an asset's kind, counted from 1, as ``asset_kinds.kind_of`` returns it."""
    number = {kind: at for at, kind in enumerate(asset_kinds.KINDS, 1)}
    is_model = [f"a.name_key LIKE '%.{suffix}'" for suffix in asset_kinds.MODEL_SUFFIXES]
    is_model.append(f"a.mime_type IN ({', '.join(repr(each) for each in asset_kinds.MODEL_TYPES)})")
    cases = [f"WHEN {' OR '.join(is_model)} THEN {number['model']}"]
    for main, kind in asset_kinds.MAIN_TYPES.items():
        cases.append(f"WHEN a.mime_type = '{main}' OR a.mime_type LIKE '{main}/%' THEN {number[kind]}")
    cases.append(f"WHEN a.mime_type LIKE '%/{asset_kinds.TEXT_SUBTYPE}' THEN {number['text']}")
    return f"CASE {' '.join(cases)} ELSE {number['other']} END"


STARS = 1000  # units of a rating
_RATED = "json_type(a.user_metadata, '$.rating') IN ('integer', 'real')"
_FACT = "coalesce((SELECT CAST(json_extract(metadata, '$.{0}') AS INTEGER) FROM contents WHERE id = a.content_id), 0)"


class ColumnSql(msgspec.Struct, frozen=True):
    """The SQL of a column for an asset ``a``, which is never null, and the type of its values.

    Assets that ``where`` leaves out, and ids without an asset, have 0. ``index`` is the one that has the others.
    """

    sql: str
    type: str = "int64"
    where: str = "1"
    index: str = ""


_OF_USERS = ("a.user_metadata IS NOT NULL", " INDEXED BY assets_by_rating")


# Ratings are in thousandths of a star, so that they are whole numbers. A job is a hash of its id.
COLUMNS = {
    "tag_set": ColumnSql("a.tag_set_id", "int32"),
    "folder": ColumnSql("a.folder_id", "int32", "a.folder_id IS NOT NULL"),
    "kind": ColumnSql(_kind_sql(), "uint8"),
    "size": ColumnSql("a.size"),
    "created_at": ColumnSql("a.created_at"),
    "updated_at": ColumnSql("a.updated_at"),
    "rating": ColumnSql(
        f"CASE WHEN {_RATED} THEN CAST(round(max(min(json_extract(a.user_metadata, '$.rating'), 1000), 0) * {STARS})"
        " AS INTEGER) ELSE 0 END",
        "int32",
        *_OF_USERS,
    ),
    "favourite": ColumnSql("coalesce(json_type(a.user_metadata, '$.favorite') = 'true', 0)", "uint8", *_OF_USERS),
    "width": ColumnSql(_FACT.format("width"), where="a.content_id IS NOT NULL"),
    "height": ColumnSql(_FACT.format("height"), where="a.content_id IS NOT NULL"),
    "job": ColumnSql("a.job_id", where="a.job_id IS NOT NULL"),
}
