"""One writer and its transactions, read-only readers, and closing."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiosqlite
import pytest
from comfy_assets_node.comfy_assets.db import connection, connection_pool, files
from comfy_assets_node.comfy_assets.db.connection import Database, Transaction
from comfy_assets_node.comfy_assets.db.connection_pool import READERS
from comfy_assets_node.comfy_assets.db.sql import MOST_PARAMETERS, Statement, insertion
from comfy_assets_node.comfy_assets.errors import StoreBusyError, StoreError


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    database = await Database.open(tmp_path / "library.db")
    yield database
    await database.close()


async def tags(db: Database) -> list[str]:
    return [row[0] for row in await db.fetch_all("SELECT name FROM tags ORDER BY id")]


async def add(tx: Transaction, *names: str) -> int:
    return await tx.execute_many("INSERT INTO tags (name) VALUES (?)", [(name,) for name in names])


async def test_a_transaction_is_seen_when_it_has_ended(db: Database) -> None:
    async with db.transaction() as tx:
        assert await add(tx, "a", "b") == 2
        assert await tx.fetch_value("SELECT count(*) FROM tags") == 2
        assert await tx.fetch_value("SELECT name FROM tags WHERE id = 99") is None
        assert await tags(db) == []
    assert await tags(db) == ["a", "b"]
    assert await db.fetch_one("SELECT name FROM tags WHERE id = 99") is None


async def test_statements_of_one_turn(db: Database) -> None:
    add_one = "INSERT INTO tags (name) VALUES (?)"
    async with db.transaction() as tx:
        rows = [(f"{n}",) for n in range(2 * MOST_PARAMETERS + 1)]
        await tx.execute_all(
            [Statement(add_one, ["a"]), *insertion("tags (name)", rows), Statement("DELETE FROM tags WHERE id > 3")]
        )
        assert await tags(db) == []
    assert await tags(db) == ["a", "0", "1"]
    with pytest.raises(sqlite3.IntegrityError):
        async with db.transaction() as tx:
            with pytest.raises(sqlite3.IntegrityError):
                await tx.execute_all([Statement(add_one, ["b"]), Statement(add_one, ["a"]), Statement(add_one, ["c"])])
            assert await tx.fetch_value("SELECT group_concat(name) FROM tags") == "a,0,1,b"
            raise sqlite3.IntegrityError
    assert await tags(db) == ["a", "0", "1"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, asyncio.CancelledError])
async def test_rolled_back_on(db: Database, error: type[BaseException]) -> None:
    with pytest.raises(error):
        async with db.transaction() as tx:
            await add(tx, "lost")
            raise error
    async with db.transaction() as tx:
        await add(tx, "kept")
    assert await tags(db) == ["kept"]


async def test_whoever_comes_after_the_store_was_closed_is_told_so(db: Database) -> None:
    await db.close()
    with pytest.raises(sqlite3.ProgrammingError):
        await db.fetch_all("SELECT 1")
    with pytest.raises(sqlite3.ProgrammingError):
        async with db.transaction():
            pass


async def test_closed_within_a_transaction(db: Database, tmp_path: Path) -> None:
    with pytest.raises(sqlite3.ProgrammingError):
        async with db.transaction() as tx:
            await add(tx, "lost")
            await db.close()
            await add(tx, "late")
    again = await Database.open(tmp_path / "library.db")
    assert await tags(again) == []
    await again.close()


async def test_rolled_back_when_a_statement_fails(db: Database) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        async with db.transaction() as tx:
            await add(tx, "a", "b", "a")
    assert await tags(db) == []


async def test_rolled_back_when_the_commit_fails(db: Database) -> None:
    """Foreign keys are checked at the end: an asset of a tag set that never came."""
    with pytest.raises(sqlite3.IntegrityError):
        async with db.transaction() as tx:
            await add(tx, "lost")
            await tx.execute(
                "INSERT INTO assets (uuid, tag_set_id, name, name_key, mime_type, size, created_at, updated_at)"
                " VALUES ('u', 99, 'n', 'n', 'm', 0, 0, 0)"
            )
    async with db.transaction() as tx:
        await add(tx, "kept")
    assert await tags(db) == ["kept"]


SLOW = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 300000) SELECT sum(x) FROM n"


@pytest.mark.parametrize("steps", range(8))
async def test_cancelled_at_any_step(db: Database, steps: int) -> None:
    """Whatever the transaction was waiting for, the next one finds the store as it was."""
    reached: list[int] = []

    async def write() -> None:
        async with db.transaction() as tx:
            for number in range(8):
                reached.append(number)
                await add(tx, f"lost {number}")
                await tx.fetch_all(SLOW)

    task = asyncio.create_task(write())
    while len(reached) < steps:
        await asyncio.sleep(0)
    task.cancel()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with db.transaction() as tx:
        await add(tx, "kept")
    assert await tags(db) == ["kept"]


async def test_cancelled_while_waiting_for_another(db: Database) -> None:
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with db.transaction() as tx:
            await add(tx, "kept")
            inside.set()
            await go_on.wait()

    async def wait() -> None:
        async with db.transaction() as tx:
            await add(tx, "never")

    holder = asyncio.create_task(hold())
    await inside.wait()
    waiter = asyncio.create_task(wait())
    await asyncio.sleep(0)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    go_on.set()
    await holder
    assert await tags(db) == ["kept"]


async def test_transactions_run_one_after_another(db: Database) -> None:
    async def count() -> None:
        async with db.transaction() as tx:
            number = await tx.fetch_value("SELECT count(*) FROM tags")
            await asyncio.sleep(0)
            await add(tx, f"tag {number}")

    await asyncio.gather(*(count() for _ in range(10)))
    assert await tags(db) == [f"tag {n}" for n in range(10)]


async def test_readers_cannot_write(db: Database) -> None:
    for _ in range(READERS + 1):
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            await db.fetch_all("INSERT INTO tags (name) VALUES ('x')")
    assert await tags(db) == []


async def test_reads_are_queued_and_survive_cancellation(db: Database) -> None:
    slow = [asyncio.create_task(db.fetch_all(SLOW)) for _ in range(3 * READERS)]
    await asyncio.sleep(0)
    for task in slow[::2]:
        task.cancel()
    results = await asyncio.gather(*slow, return_exceptions=True)
    assert [isinstance(r, list) for r in results] == [False, True] * (len(results) // 2) + [False]
    assert await db.fetch_one("SELECT 1") == (1,)


async def test_a_listing_reads_while_a_transaction_writes(db: Database) -> None:
    async with db.transaction() as tx:
        await add(tx, "a")
        assert await asyncio.wait_for(tags(db), 5) == []


def _threads_left() -> list[str]:
    """Our threads that do not end by themselves within a moment."""
    ours = [
        t for t in threading.enumerate() if "_connection_worker_thread" in t.name or t.name.startswith("comfy-assets")
    ]
    for thread in ours:
        thread.join(5)
    return [t.name for t in ours if t.is_alive()]


async def test_closing_leaves_no_thread_and_an_empty_log(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "library.db")
    database.close_at_exit(before=lambda: None)
    async with database.transaction() as tx:
        await add(tx, "a")
    await database.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["library.db", "library.db-shm", "library.db-wal"]
    assert (tmp_path / "library.db-wal").stat().st_size == 0
    assert _threads_left() == []


@pytest.mark.parametrize("failing", range(READERS + 1))
async def test_opening_that_fails_half_way_leaves_no_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    real, opened = connection_pool._connect, []

    async def connect(path: Path, pragmas: Any) -> aiosqlite.Connection:
        opened.append(path)
        return await real(path, ("no such pragma at all",) if len(opened) > failing else pragmas)

    monkeypatch.setattr(connection_pool, "_connect", connect)
    with pytest.raises(StoreError):
        await Database.open(tmp_path / "library.db")
    assert len(opened) == failing + 1
    assert _threads_left() == []


async def test_a_power_failure_damages_nothing_on_macos_either(db: Database) -> None:
    """SQLite obeys it on macOS only: there a checkpoint flushes the cache of the drive."""
    async with db.transaction() as tx:
        assert await tx.fetch_value("PRAGMA checkpoint_fullfsync") == 1


@pytest.fixture
def always_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count every transaction as long."""
    monkeypatch.setattr(connection, "_LONG_S", 0.0)
    monkeypatch.setattr(connection, "_LONGEST_S", 0.0)


@pytest.mark.usefixtures("always_pauses")
async def test_a_pause_lets_other_writers_in(db: Database) -> None:
    order: list[str] = []

    async def write() -> None:
        async with db.transaction() as tx:
            order.append("other")
            await tx.execute("INSERT INTO tags (name) VALUES ('other')")

    async with db.transaction() as tx:
        await tx.execute("INSERT INTO tags (name) VALUES ('first')")
        waiting = asyncio.create_task(write())
        await asyncio.sleep(0.01)
        order.append("before")
        await tx.pause()
        order.append("after")
        assert await tx.fetch_value("SELECT count(*) FROM tags") == 2
    await waiting
    assert order == ["before", "other", "after"]


@pytest.mark.parametrize(("waits_for_it", "limit"), [(False, "_LONGEST_S"), (True, "_LONG_S")])
async def test_a_short_transaction_does_not_pause(
    db: Database, monkeypatch: pytest.MonkeyPatch, waits_for_it: bool, limit: str
) -> None:
    monkeypatch.setattr(connection, "_LONG_S", 0.0)
    monkeypatch.setattr(connection, limit, 3600.0)

    async def write() -> None:
        async with db.transaction():
            pass

    waiting: asyncio.Task[None] | None = None
    with pytest.raises(RuntimeError):
        async with db.transaction() as tx:
            await tx.execute("INSERT INTO tags (name) VALUES ('lost')")
            if waits_for_it:
                waiting = asyncio.create_task(write())
                await asyncio.sleep(0.01)
            await tx.pause()
            raise RuntimeError
    if waiting is not None:
        await waiting
    assert await db.fetch_all("SELECT name FROM tags") == []


@pytest.mark.usefixtures("always_pauses")
async def test_what_was_written_before_a_pause_stays(db: Database) -> None:
    with pytest.raises(RuntimeError):
        async with db.transaction() as tx:
            await tx.execute("INSERT INTO tags (name) VALUES ('kept')")
            await tx.pause()
            await tx.execute("INSERT INTO tags (name) VALUES ('lost')")
            raise RuntimeError
    assert await db.fetch_all("SELECT name FROM tags") == [("kept",)]
    async with db.transaction() as tx:
        assert await tx.fetch_value("SELECT count(*) FROM tags") == 1


@pytest.mark.parametrize("part", ["config", "data", "idx"])
async def test_a_damaged_search_index_is_the_fault_of_the_store(tmp_path: Path, part: str) -> None:
    path = tmp_path / "library.db"
    database = await Database.open(path)
    async with database.transaction() as tx:
        await tx.execute("INSERT INTO search_words (rowid, words) VALUES (1, 'dragon')")
    sql = "SELECT rootpage, (SELECT page_size FROM pragma_page_size) FROM sqlite_master WHERE name = ?"
    [(page, size)] = await database.fetch_all(sql, (f"search_words_{part}",))
    await database.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    database = await Database.open(path)
    try:
        with pytest.raises(StoreBusyError):
            await database.fetch_all("SELECT rowid FROM search_words WHERE search_words MATCH 'dragon'")
    finally:
        await database.close()


async def test_the_rows_of_many_files_are_read_in_parts(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder may have a hundred thousand files, and what is made of their rows holds up the event loop."""
    count = 3 * files.BATCH + 1
    lengths: list[int] = []
    fetch = Database.fetch_all

    async def fetch_all(self: Database, sql: str, parameters: Any = ()) -> Any:
        lengths.append(len(json.loads(parameters[0])))
        return await fetch(self, sql, parameters)

    monkeypatch.setattr(Database, "fetch_all", fetch_all)
    assert await files.by_position(db, [("/o", f"{number}.png") for number in range(count)]) == {}
    assert sum(lengths) == count and max(lengths) <= files.BATCH
