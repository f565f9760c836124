"""Saved searches of users: the parameters of a list of assets under a name. Each user has their own."""

from __future__ import annotations

from collections.abc import Sequence

from ..db import saved_searches
from ..db.connection import Database, Transaction
from ..errors import SavedSearchExistsError, SavedSearchNotFoundError, TooManySavedSearchesError
from ..host.base import Host
from ..ids import canonical_id, new_ids, now_ms
from ..models import SavedSearch

MAX_SEARCHES = 1000  # of a user


class SavedSearchService:
    """The saved searches of users. Another user's search does not exist for them. Queries are checked JSON objects."""

    def __init__(self, db: Database, host: Host) -> None:
        self._db = db
        self._host = host

    async def list(self, owner: str) -> Sequence[SavedSearch]:
        """Return a user's searches by name (listSavedSearches)."""
        return await saved_searches.of_user(self._db, owner)

    async def get(self, search_id: str, owner: str) -> SavedSearch:
        """Return a search (getSavedSearch). Raises SavedSearchNotFoundError."""
        return await _existing(self._db, search_id, owner)

    async def named(self, name: str, owner: str) -> SavedSearch:
        """Return a user's search by its name; case is ignored. Raises SavedSearchNotFoundError."""
        found = await saved_searches.by_name(self._db, name, owner)
        if found is None:
            raise SavedSearchNotFoundError("There is no saved search of this name.", details={"name": name})
        return found

    async def create(self, name: str, query: str, owner: str) -> SavedSearch:
        """Save a search (createSavedSearch). Raises SavedSearchExistsError, TooManySavedSearchesError."""
        async with self._db.transaction() as tx:
            if await saved_searches.by_name(tx, name, owner) is not None:
                raise _taken()
            if await saved_searches.count(tx, owner) >= MAX_SEARCHES:
                raise TooManySavedSearchesError(
                    f"A user can save at most {MAX_SEARCHES:,} searches.", details={"max": MAX_SEARCHES}
                )
            search_id = new_ids(1)[0]
            await saved_searches.add(tx, search_id, owner, name, query, now_ms())
            made = await _existing(tx, search_id, owner)
        self._changed()
        return made

    async def replace(self, search_id: str, name: str, query: str, owner: str) -> SavedSearch:
        """Replace name and query of a search (replaceSavedSearch).

        Raises SavedSearchNotFoundError, SavedSearchExistsError.
        """
        async with self._db.transaction() as tx:
            found = await _existing(tx, search_id, owner)
            other = await saved_searches.by_name(tx, name, owner)
            if other is not None and other.row_id != found.row_id:
                raise _taken()
            await saved_searches.replace(tx, found.row_id, name, query, now_ms())
            replaced = await _existing(tx, search_id, owner)
        self._changed()
        return replaced

    async def delete(self, search_id: str, owner: str) -> None:
        """Delete a search (deleteSavedSearch). Raises SavedSearchNotFoundError."""
        async with self._db.transaction() as tx:
            await saved_searches.delete(tx, (await _existing(tx, search_id, owner)).row_id)
        self._changed()

    def _changed(self) -> None:
        """Tell all pages, as servers do not know a page's user; each loads its own searches again."""
        self._host.emit("saved_searches.changed", {})


async def _existing(db: Database | Transaction, search_id: str, owner: str) -> SavedSearch:
    found = await saved_searches.get(db, canonical_id(search_id) or "", owner)
    if found is None:
        raise SavedSearchNotFoundError("There is no such saved search.", details={"id": search_id})
    return found


def _taken() -> SavedSearchExistsError:
    return SavedSearchExistsError("There is a saved search of this name.", details={"field": "name"})
