"""A SQLite without full-text search, or with one that knows no trigrams: everything else works."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.db import migrate

LACKS = {"no FTS5": "no such module: fts5", "no trigrams": "no such tokenizer: trigram"}


class Lacking:
    """A connection whose SQLite cannot make a full-text table."""

    def __init__(self, conn: sqlite3.Connection, reason: str) -> None:
        self._conn, self._reason = conn, reason

    def execute(self, sql: str) -> sqlite3.Cursor:
        if "CREATE VIRTUAL TABLE" in sql:
            raise sqlite3.OperationalError(self._reason)
        return self._conn.execute(sql)


@pytest.fixture(params=LACKS)
def lacking(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on, stores are opened by such a SQLite."""
    real = migrate.create_search_tables
    monkeypatch.setattr(migrate, "create_search_tables", lambda conn: real(Lacking(conn, LACKS[request.param])))  # type: ignore[arg-type]


async def test_the_library_works_without(
    make_library: Any, api_of: Any, lacking: None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        library = await make_library()
    assert [record.levelname for record in caplog.records if "cannot search" in record.message] == ["WARNING"]
    api = api_of(library)
    for name in ("red dragon.png", "blue dragon.png", "castle.png"):
        library.write(f"output/{name}", name.encode())
    await library.scan()
    for path in ("/api/assets", "/api/assets/tags/refine"):
        error = await api.error(path, 501, {"q": "dragon"})
        assert (error["code"], error["details"]) == ("SEARCH_UNAVAILABLE", {"field": "q"})
        assert "3.34" in error["message"]
        assert (await api.error(path, 400, {"q": "_"}))["code"] == "INVALID_QUERY"
    assert set(await api.names(name_contains="DRAGON")) == {"red dragon.png", "blue dragon.png"}
    assert (await api.get("/api/assets/tags/refine", name_contains="dragon"))["tag_counts"] == {"output": 2}
    asset = await library.asset("castle.png")
    await api.send("PUT", f"/api/assets/{asset['id']}", json={"name": "dragon castle.png"})
    await api.send("DELETE", f"/api/assets/{(await library.asset('red dragon.png'))['id']}", 204)
    assert set(await api.names(name_contains="dragon")) == {"blue dragon.png", "dragon castle.png"}


async def test_what_changed_meanwhile_is_found_later(
    make_library: Any, api_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store goes from a SQLite that can search to one that cannot, and back."""
    library = await make_library()
    for name in ("red dragon.png", "blue dragon.png"):
        library.write(f"output/{name}", name.encode())
    await library.scan()
    assert len(await api_of(library).names(q="dragon")) == 2
    await library.services.stop()

    with monkeypatch.context() as patch:
        patch.setattr(migrate, "create_search_tables", lambda conn: False)
        library = await make_library()
        api = api_of(library)
        asset = await library.asset("red dragon.png")
        await api.send("PUT", f"/api/assets/{asset['id']}", json={"name": "green knight.png"})
        library.write("output/old dragon.png", b"old")
        await library.scan()
        assert set(await api.names(name_contains="dragon")) == {"old dragon.png", "blue dragon.png"}
        await library.services.stop()

    api = api_of(await make_library())
    assert set(await api.names(name_contains="dragon")) == {"old dragon.png", "blue dragon.png"}
    assert set(await api.names(q="dragon")) == {"old dragon.png", "blue dragon.png"}
    assert await api.names(q="knight") == ["green knight.png"]


def test_the_tables_are_made_once(tmp_path: Any) -> None:
    with closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as conn:
        assert migrate.create_search_tables(conn)
        before = conn.execute("SELECT name, sql FROM sqlite_master ORDER BY 1").fetchall()
        assert migrate.create_search_tables(conn)
        assert conn.execute("SELECT name, sql FROM sqlite_master ORDER BY 1").fetchall() == before
        assert not conn.in_transaction
