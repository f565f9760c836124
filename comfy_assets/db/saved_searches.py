"""Searches that users have saved."""

from __future__ import annotations

from ..models import SavedSearch
from .connection import Database, Transaction
from .sql import Columns, insert_into

_COLUMNS = Columns(
    SavedSearch,
    row_id="id",
    id="uuid",
    name="name",
    query="query",
    created_at="created_at",
    updated_at="updated_at",
)


async def of_user(db: Database, owner: str) -> list[SavedSearch]:
    """Return a user's searches by name."""
    rows = await db.fetch_all(
        f"SELECT {_COLUMNS.sql} FROM saved_searches WHERE owner = ? ORDER BY name_key, id", (owner,)
    )
    return _COLUMNS.read_all(rows)


async def count(tx: Transaction, owner: str) -> int:
    """Return the number of a user's searches."""
    return int(await tx.fetch_value("SELECT count(*) FROM saved_searches WHERE owner = ?", (owner,)))


async def get(db: Database | Transaction, search_id: str, owner: str) -> SavedSearch | None:
    """Return a user's search by its id, or None."""
    rows = await db.fetch_all(
        f"SELECT {_COLUMNS.sql} FROM saved_searches WHERE uuid = ? AND owner = ?", (search_id, owner)
    )
    return _COLUMNS.read(rows[0]) if rows else None


async def by_name(db: Database | Transaction, name: str, owner: str) -> SavedSearch | None:
    """Return a user's search by its name, whatever its case, or None."""
    rows = await db.fetch_all(
        f"SELECT {_COLUMNS.sql} FROM saved_searches WHERE owner = ? AND name_key = ?", (owner, name.casefold())
    )
    return _COLUMNS.read(rows[0]) if rows else None


async def add(tx: Transaction, search_id: str, owner: str, name: str, query: str, now: int) -> None:
    """Add a search at ``now`` (ms); ``query`` is a JSON object."""
    values = {
        "uuid": search_id,
        "owner": owner,
        "name": name,
        "name_key": name.casefold(),
        "query": query,
        "created_at": now,
        "updated_at": now,
    }
    await tx.execute(*insert_into("saved_searches", values))


async def replace(tx: Transaction, row_id: int, name: str, query: str, now: int) -> None:
    """Give a search another name and query at ``now`` (ms)."""
    await tx.execute(
        "UPDATE saved_searches SET name = ?, name_key = ?, query = ?, updated_at = ? WHERE id = ?",
        (name, name.casefold(), query, now, row_id),
    )


async def delete(tx: Transaction, row_id: int) -> None:
    """Delete a search."""
    await tx.execute("DELETE FROM saved_searches WHERE id = ?", (row_id,))
