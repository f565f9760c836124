"""Restrict lists to folders: find the folders that are meant, and the assets in them.

The tables of the tree (``folder_nodes``, ``folder_ancestors``, ``folder_counts``) are kept by triggers, and so is
``assets.folder_id``, whose index has the assets of a folder in the order of their creation.
"""

from __future__ import annotations

import asyncio
import sys
import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple

from ...models import FolderTerm
from .. import fulltext
from ..connection import Database
from ..sql import BY_IDS, ROW_COST, json_array
from . import columns
from .bitmap import IdSet

# Where the file system does not distinguish the cases of names, filters do not either.
IGNORES_CASE = sys.platform in ("win32", "darwin")
_NOT_ASCII = "*[^\x01-\x7f]*"
# Up to this many assets are found by the index of folders; for more, the folders of all assets are compared in memory.
_MOST_BY_INDEX = 8000


class FolderScope(NamedTuple):
    """The nodes of the tree that a term means. ``is_recursive``: with all that is in them; else their own files."""

    nodes: tuple[int, ...]
    is_recursive: bool

    def holds(self, column: str) -> tuple[str, list[Any]]:
        """Return the condition that a column has the id of a folder on the disk that is in the scope, and parameters.

        It is tested row by row.
        """
        return (
            f"EXISTS (SELECT 1 FROM folder_ancestors WHERE folder_id = {column} AND {self._of_nodes})",
            [json_array(self.nodes)],
        )

    def folders(self) -> tuple[str, list[Any]]:
        """Return the query for the ids of the folders on the disk, and its parameters."""
        return f"SELECT DISTINCT folder_id FROM folder_ancestors WHERE {self._of_nodes}", [json_array(self.nodes)]

    @property
    def _of_nodes(self) -> str:
        direct = "" if self.is_recursive else " AND is_direct = 1"
        return f"node_id IN (SELECT value FROM json_each(?)){direct}"


def position_of(path: str) -> bytes:
    """Return the place of a path in the order of the tree, as ``folder_nodes.position`` has it."""
    return path.replace("/", "\0").encode()


async def resolve(db: Database, term: FolderTerm) -> FolderScope:
    """Find the nodes that a term means: none, one, or several whose names differ in form alone."""
    return FolderScope(await nodes_at(db, term.path), term.is_recursive)


async def nodes_at(db: Database, path: str) -> tuple[int, ...]:
    """Return the node with this path; if there is none, those whose paths the file system may not tell from it.

    Composed and decomposed letters are alike everywhere, as files come from other systems; cases on some systems.
    """
    rows = await db.fetch_all("SELECT id FROM folder_nodes WHERE position = ?", (position_of(path),))
    if rows or (path.isascii() and not IGNORES_CASE):
        return tuple(row[0] for row in rows)
    by_case = " OR lower(path) = lower(?2)" if IGNORES_CASE else " AND ?2 IS NOT NULL"
    rows = await db.fetch_all(
        f"SELECT id, path FROM folder_nodes WHERE depth = ?1 AND (path GLOB ?3{by_case})",
        (path.count("/") + 1, path, _NOT_ASCII),
    )
    wanted = _alike(path)
    # In a thread, as there may be very many folders.
    return await asyncio.to_thread(lambda: tuple(node_id for node_id, other in rows if _alike(other) == wanted))


def _alike(path: str) -> str:
    composed = unicodedata.normalize("NFC", path)
    return unicodedata.normalize("NFC", composed.casefold()) if IGNORES_CASE else composed


async def count_by_set(db: Database, scope: FolderScope) -> dict[int, int]:
    """Return the number of assets in the folders by tag set."""
    column = "total" if scope.is_recursive else "direct"
    rows = await db.fetch_all(
        f"SELECT tag_set_id, sum({column}) AS n FROM folder_counts"
        " WHERE node_id IN (SELECT value FROM json_each(?)) GROUP BY 1 HAVING n > 0",
        (json_array(scope.nodes),),
    )
    return dict(rows)


async def ids_in(db: Database, scope: FolderScope, sets: Sequence[int] | None = None) -> IdSet:
    """Return the ids of all assets in the folders, or of those with these tag sets."""
    total = sum((await count_by_set(db, scope)).values())
    return await (_ids_by_index if total <= _MOST_BY_INDEX else _ids_by_column)(db, scope, sets)


async def _ids_by_index(db: Database, scope: FolderScope, sets: Sequence[int] | None) -> IdSet:
    inside, parameters = scope.folders()
    sql = f"SELECT group_concat(id) FROM assets INDEXED BY assets_by_folder WHERE folder_id IN ({inside})"
    if sets is not None:
        sql += " AND tag_set_id IN (SELECT value FROM json_each(?))"
        parameters.append(json_array(sets))
    return IdSet.of(await fulltext.fetch_ids(db, sql, parameters))


async def _ids_by_column(db: Database, scope: FolderScope, sets: Sequence[int] | None) -> IdSet:
    inside, parameters = scope.folders()
    folder_ids = await fulltext.fetch_ids(db, f"SELECT group_concat(folder_id) FROM ({inside})", parameters)
    values = await columns.load(db, ["folder"] if sets is None else ["folder", "tag_set"])

    def work() -> IdSet:
        mask = columns.is_among(values["folder"], folder_ids.tolist())
        return IdSet(mask if sets is None else mask & columns.is_among(values["tag_set"], sets))

    return await asyncio.to_thread(work)


async def narrow(db: Database, ids: IdSet, scope: FolderScope) -> IdSet:
    """Return those of the assets that are in the folders."""
    total = sum((await count_by_set(db, scope)).values())
    if len(ids) * ROW_COST <= min(total, _MOST_BY_INDEX):
        inside, parameters = scope.holds("a.folder_id")
        sql = f"SELECT group_concat(a.id) FROM {BY_IDS} WHERE {inside}"
        return IdSet.of(await fulltext.fetch_ids(db, sql, [json_array(ids), *parameters]))
    return ids & await ids_in(db, scope)
