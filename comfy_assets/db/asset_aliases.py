"""Aliases of assets: further ids, which the server's own asset feature gave to their files."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from .connection import Database, Transaction
from .sql import json_array


class AliasedFile(NamedTuple):
    """A file by its folder and name, and the id (a canonical UUID) that the server gave to it."""

    alias: str
    folder: str
    name: str


# An id of our own is never an alias. The server gives a file that replaces another at its path the same id, so the
# alias moves on to the new asset, but never from one user's asset to another's.
_ADD = """
    INSERT INTO asset_aliases (alias, asset_id)
    SELECT ?1, f.id FROM folders d JOIN files f ON f.folder_id = d.id AND f.name = ?3
    WHERE d.path = ?2 AND NOT EXISTS (SELECT 1 FROM assets WHERE uuid = ?1)
    ON CONFLICT (alias) DO UPDATE SET asset_id = excluded.asset_id WHERE EXISTS (
        SELECT 1 FROM assets a JOIN tag_sets s ON s.id = a.tag_set_id,
        assets b JOIN tag_sets t ON t.id = b.tag_set_id
        WHERE a.id = asset_aliases.asset_id AND b.id = excluded.asset_id AND s.owner IN ('', t.owner)
    )
"""


async def add(tx: Transaction, found: Sequence[AliasedFile]) -> None:
    """Store the aliases of files. Files without an asset are skipped."""
    await tx.execute_many(_ADD, found)


async def unknown(db: Database, ids: Collection[str]) -> list[str]:
    """Return those of the ids that no asset has, not even as an alias. Deleted assets and those of all owners count."""
    rows = await db.fetch_all(
        "SELECT j.value FROM json_each(?) j WHERE NOT EXISTS (SELECT 1 FROM assets WHERE uuid = j.value)"
        " AND NOT EXISTS (SELECT 1 FROM asset_aliases WHERE alias = j.value)",
        (json_array(ids),),
    )
    return [row[0] for row in rows]
