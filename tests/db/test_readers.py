"""Queries that are stopped, and the reader that is kept for cheap ones."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from comfy_assets_node.comfy_assets.db.connection import Database
from comfy_assets_node.comfy_assets.db.connection_pool import READERS, heavy, reading
from comfy_assets_node.comfy_assets.errors import QueryTimeoutError

ENDLESS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
PATIENCE_S = 20  # of the tests


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    database = await Database.open(tmp_path / "library.db")
    yield database
    await database.close()


async def every_reader_works(db: Database) -> None:
    """Each connection runs a query; none is occupied or lost."""
    queries = [db.fetch_one("SELECT ?", (number,)) for number in range(3 * READERS)]
    assert await asyncio.wait_for(asyncio.gather(*queries), PATIENCE_S) == [(n,) for n in range(3 * READERS)]


async def test_a_query_that_takes_too_long_is_stopped(db: Database) -> None:
    for _ in range(2 * READERS):
        with reading(lambda: False, 0.05), pytest.raises(QueryTimeoutError, match=r"0\.05 seconds"):
            await db.fetch_all(ENDLESS)
    await every_reader_works(db)


async def test_a_query_of_a_client_that_has_gone_is_stopped(db: Database) -> None:
    gone = threading.Event()
    asyncio.get_running_loop().call_later(0.15, gone.set)
    with reading(gone.is_set, 3600), pytest.raises(QueryTimeoutError):
        await asyncio.wait_for(db.fetch_all("SELECT 1"), PATIENCE_S)
        await db.fetch_all(ENDLESS)
    await every_reader_works(db)


async def test_a_cancelled_query_is_stopped(db: Database) -> None:
    tasks = [asyncio.create_task(db.fetch_all(ENDLESS)) for _ in range(2 * READERS)]
    await asyncio.sleep(0.05)
    for task in tasks:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(each, asyncio.CancelledError) for each in ended)
    await every_reader_works(db)


async def test_queries_that_wait_for_a_reader_end_too(db: Database) -> None:
    async def abandoned() -> None:
        with reading(lambda: False, 0.2), pytest.raises(QueryTimeoutError):
            await db.fetch_all(ENDLESS)

    await asyncio.wait_for(asyncio.gather(*(abandoned() for _ in range(4 * READERS))), PATIENCE_S)
    await every_reader_works(db)


async def test_cheap_queries_do_not_wait_for_expensive_ones(db: Database) -> None:
    async def expensive() -> None:
        with heavy():
            await db.fetch_all(ENDLESS)

    tasks = [asyncio.create_task(expensive()) for _ in range(4 * READERS)]
    await asyncio.sleep(0.05)
    for _ in range(3):
        assert await asyncio.wait_for(db.fetch_one("SELECT 1"), PATIENCE_S) == (1,)
    assert not any(task.done() for task in tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await every_reader_works(db)


async def test_what_a_task_started_for_others_goes_on(db: Database) -> None:
    """A task inherits the context of the request that started it, but not what stops the request's queries."""
    with reading(lambda: True, 0.0):
        task = asyncio.create_task(db.fetch_one("SELECT 1"))
        with pytest.raises(QueryTimeoutError):
            await db.fetch_all(ENDLESS)
        assert await asyncio.wait_for(task, PATIENCE_S) == (1,)


async def test_the_store_is_closed_while_a_query_runs(db: Database) -> None:
    task = asyncio.create_task(db.fetch_all(ENDLESS))
    await asyncio.sleep(0.05)
    await asyncio.wait_for(db.close(), PATIENCE_S)
    assert await asyncio.gather(task, return_exceptions=True) != []
