"""Lookup of what people name in commands: anything by the first characters of its id, assets by path or name too."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

from . import tags
from .connection import Database

Subject = Literal[
    "job", "asset", "deleted asset", "workflow", "deleted workflow", "share", "collection", "deleted collection"
]

# The statement that finds ids from one text on and before another. Each walks along the index of ids.
_STATEMENTS: dict[Subject, str] = {
    "job": "SELECT uuid FROM jobs WHERE uuid >= ? AND uuid < ?",
    "asset": "SELECT a.uuid FROM assets a WHERE a.uuid >= ? AND a.uuid < ?"
    " AND NOT EXISTS (SELECT 1 FROM trash t WHERE t.asset_id = a.id)",
    "deleted asset": "SELECT a.uuid FROM assets a WHERE a.uuid >= ? AND a.uuid < ?"
    " AND EXISTS (SELECT 1 FROM trash t WHERE t.asset_id = a.id)",
    "workflow": "SELECT uuid FROM workflows WHERE uuid >= ? AND uuid < ? AND deleted_at IS NULL",
    "deleted workflow": "SELECT uuid FROM workflows WHERE uuid >= ? AND uuid < ? AND deleted_at IS NOT NULL",
    "collection": "SELECT uuid FROM collections WHERE uuid >= ? AND uuid < ? AND deleted_at IS NULL",
    "deleted collection": "SELECT uuid FROM collections WHERE uuid >= ? AND uuid < ? AND deleted_at IS NOT NULL",
    "share": "SELECT share_id FROM shares WHERE share_id >= ? AND share_id < ?",
}
SHORT_ID = 4  # characters of an id that stand for it, as of git: fewer are more likely a mistake
_LAST = "\U0010ffff"  # sorts behind every character of an id


async def beginning_with(db: Database, subject: Subject, start: str, limit: int) -> list[str]:
    """Return up to ``limit`` ids of a kind, of all users, that begin with a text."""
    rows = await db.fetch_all(f"{_STATEMENTS[subject]} ORDER BY 1 LIMIT ?", (start, start + _LAST, limit))
    return [row[0] for row in rows]


@dataclass(frozen=True)
class NamedAsset:
    """An asset that a text means, of any owner. ``path`` is the place of its file below the kind of its folder."""

    id: str
    owner: str
    name: str
    path: str | None


_NAMED = f"""
    SELECT a.uuid, s.owner, a.name, d.logical || '/' || f.name FROM assets a
    JOIN tag_sets s ON s.id = a.tag_set_id AND NOT s.hidden & {tags.DELETED}
    LEFT JOIN files f ON f.id = a.id LEFT JOIN folders d ON d.id = f.folder_id
"""


async def assets_named(db: Database, text: str, path: str) -> list[NamedAsset]:
    """Return the assets that are meant by an id, a place such as "output/a.png", a path, a name, or part of an id.

    The first of these by which some are found decides.
    """
    place, name = text.replace("\\", "/").rpartition("/")[::2]
    folder, file = str(PurePath(path).parent), PurePath(path).name
    tests: list[tuple[str, tuple[str, ...]]] = [
        ("a.uuid = ?", (text.lower(),)),
        ("d.logical = ? AND f.name = ?", (place, name)),
        ("d.path = ? AND f.name = ?", (folder, file)),
        ("a.name_key = ? AND a.name = ?", (text.casefold(), text)),
    ]
    if len(text) >= SHORT_ID and set(text.lower()) <= set("0123456789abcdef-"):
        tests.append(("a.uuid BETWEEN ? AND ?", (text.lower(), text.lower() + "g")))
    for condition, parameters in tests:
        if rows := await db.fetch_all(f"{_NAMED} WHERE {condition} ORDER BY a.id", parameters):
            return [NamedAsset(*row) for row in rows]
    return []
