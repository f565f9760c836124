"""Rows of folders: what scans know of them, and fingerprints of their listings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from .connection import Database, Transaction
from .sql import json_array


class FolderRow(msgspec.Struct, frozen=True):
    """A folder of the library; see ``assets.roots.Place`` for the fields. ``categories`` is a JSON array."""

    path: str
    kind: str
    logical: str
    loader_prefix: str | None
    categories: str
    place_key: str
    fingerprint: bytes | None


def _described(rows: Iterable[FolderRow]) -> list[tuple[str | None, ...]]:
    """Return the fields without the fingerprint, which only a listing sets."""
    return [msgspec.structs.astuple(row)[:6] for row in rows]


async def known(db: Database | Transaction, only: Sequence[str] | None = None) -> list[FolderRow]:
    """Return all known folders, or those with these paths."""
    rows = await db.fetch_all(
        "SELECT path, kind, logical, loader_prefix, categories, place_key, fingerprint FROM folders"
        " WHERE ?1 IS NULL OR path IN (SELECT value FROM json_each(?1))",
        (None if only is None else json_array(only),),
    )
    return [FolderRow(*row) for row in rows]


_INSERT_FOLDER = """
    INSERT INTO folders (path, kind, logical, loader_prefix, categories, place_key) VALUES (?, ?, ?, ?, ?, ?)
"""


async def put(tx: Transaction, rows: Sequence[FolderRow]) -> dict[str, int]:
    """Store folders as they are described now; return their ids by path. For scans, which also tag the files again."""
    await tx.execute_many(
        f"{_INSERT_FOLDER} ON CONFLICT (path) DO UPDATE"
        " SET kind = excluded.kind, logical = excluded.logical, loader_prefix = excluded.loader_prefix,"
        " categories = excluded.categories, place_key = excluded.place_key",
        _described(rows),
    )
    return await _ids(tx, rows)


async def add(tx: Transaction, rows: Sequence[FolderRow]) -> dict[str, int]:
    """Store unknown folders, to put files into; return the ids of all by path.

    A known folder keeps its description, from which the next scan sees whether its files need other tags. Its
    fingerprint is removed, so that this scan compares the files: if a file is added now and removed again, the listing
    would look unchanged.
    """
    await tx.execute_many(
        f"{_INSERT_FOLDER} ON CONFLICT (path) DO UPDATE SET fingerprint = NULL",
        _described(rows),
    )
    return await _ids(tx, rows)


async def _ids(tx: Transaction, rows: Sequence[FolderRow]) -> dict[str, int]:
    found = await tx.fetch_all(
        "SELECT path, id FROM folders WHERE path IN (SELECT value FROM json_each(?))",
        (json_array(r.path for r in rows),),
    )
    return dict(found)


async def categories_of(tx: Transaction, folder: str) -> list[str]:
    """Return the categories that claimed a folder in the last scan."""
    text = await tx.fetch_value("SELECT categories FROM folders WHERE path = ?", (folder,))
    return msgspec.json.decode(text, type=list[str]) if text is not None else []


async def set_fingerprints(tx: Transaction, fingerprints: Sequence[tuple[str, bytes | None]]) -> None:
    """Store each folder's listing fingerprint, or None if its file rows may be incomplete."""
    await tx.execute_many("UPDATE folders SET fingerprint = ?2 WHERE path = ?1", fingerprints)
