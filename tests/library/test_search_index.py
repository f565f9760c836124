"""The search index's upkeep: in the background, behind generation, and no more often than needed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.background import tasks
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.search import asset_words, index
from comfy_assets_node.comfy_assets.search.index import SEARCH

WAIT_S = 20.0


async def state(library: Any) -> tuple[int, int, int]:
    """The id up to which assets are indexed, the version, and how many have changed since."""
    rows = await library.services.db.fetch_all(
        "SELECT indexed_upto, version, (SELECT count(*) FROM search_stale) FROM search_state"
    )
    return tuple(rows[0])


async def names(library: Any, **query: str) -> list[str]:
    return sorted(asset["name"] for asset in await library.assets(**query))


async def fill(library: Any, count: int = 7) -> None:
    for number in range(count):
        library.write(f"output/dragon {number}.txt", b"%d" % number)
    await library.scan()


@pytest.fixture
def at_short_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "WATCH_INTERVAL_S", 0.01)
    monkeypatch.setattr(index, "_COURTESY_S", 0.01)


async def wait_for(condition: Callable[[], Awaitable[bool]]) -> None:
    async def poll() -> None:
        while not await condition():
            await asyncio.sleep(0.005)

    await asyncio.wait_for(poll(), WAIT_S)


async def test_new_files_cost_the_index_nothing(make_library: Any) -> None:
    library = await make_library(Config(scan_on_start=False, hash_files=False))
    await fill(library)
    library.write("output/größe.txt")
    await library.scan()
    assert await state(library) == (0, 0, 0)


async def test_the_background_indexes_what_is_new_and_what_changes(make_library: Any, at_short_intervals: None) -> None:
    library = await make_library()
    await fill(library)

    async def is_done() -> bool:
        upto, _, stale = await state(library)
        return (upto, stale) == (await count(library), 0)

    await wait_for(is_done)
    version = (await state(library))[1]
    asset = await library.asset("dragon 3.txt")
    async with library.client.put(f"/api/assets/{asset['id']}", json={"name": "knight.txt"}) as response:
        assert response.status == 200
    await wait_for(is_done)
    assert (await state(library))[1] > version
    rows = await library.services.db.fetch_all("SELECT DISTINCT status FROM tasks WHERE name = ?", (SEARCH,))
    assert ("completed",) in rows


async def count(library: Any) -> int:
    return int((await library.services.db.fetch_all("SELECT count(*) FROM assets"))[0][0])


async def test_the_background_waits_while_prompts_execute_and_searches_do_not(
    make_library: Any, at_short_intervals: None
) -> None:
    library = await make_library()
    library.host.is_busy = True
    async with library.services.db.transaction() as tx:  # as if a scan had found one
        await tx.execute("INSERT INTO tag_sets (owner, tags) VALUES ('', '[\"output\"]')")
        await tx.execute(
            "INSERT INTO assets (uuid, tag_set_id, name, name_key, mime_type, size, created_at, updated_at)"
            " SELECT 'u', max(id), 'dragon', 'dragon', 'm', 0, 0, 0 FROM tag_sets"
        )

    async def is_held() -> bool:
        task = library.services.tasks.latest(SEARCH)
        return task is not None and task.is_running and library.services.indexer._gate.is_closed

    await wait_for(is_held)
    assert (await state(library))[0] == 0
    assert await names(library, q="dragon") == ["dragon"]
    assert (await state(library))[0] == 1


async def test_a_drive_that_is_unplugged_changes_nothing(library: Any) -> None:
    """Whether a file is missing is no word: it would have to be written for every file, and back."""
    await fill(library)
    assert len(await names(library, q="dragon")) == 7
    before = await state(library)
    for path in (library.base / "output").iterdir():
        path.unlink()
    await library.scan()
    assert len(await names(library, include_tags="missing")) == 7
    assert await state(library) == before
    assert len(await names(library, q="dragon")) == 7


@pytest.mark.parametrize("indexed_between", [False, True])
async def test_an_id_that_is_given_anew(make_library: Any, indexed_between: bool) -> None:
    """SQLite gives the highest id again once its asset is gone."""
    library = await make_library(Config(scan_on_start=False, hash_files=False))
    await fill(library)
    assert len(await names(library, q="dragon")) == 7
    db = library.services.db
    async with db.transaction() as tx:
        last = await tx.fetch_value("SELECT max(id) FROM assets")
        gone = await tx.fetch_value("SELECT name FROM assets WHERE id = ?", (last,))
        await tx.execute("DELETE FROM assets WHERE id = ?", (last,))
    if indexed_between:
        assert len(await names(library, q="dragon")) == 6
    (library.base / "output" / gone).unlink()
    library.write("output/knight.txt", b"other")
    await library.scan()
    assert (await db.fetch_all("SELECT id FROM assets WHERE name = 'knight.txt'")) == [(last,)]
    assert len(await names(library, name_contains="dragon")) == 6
    assert await names(library, name_contains="KNIGHT") == ["knight.txt"]
    assert len(await names(library, q="dragon")) == 6
    assert await names(library, q="knight") == ["knight.txt"]


async def test_other_rules_index_all_anew(make_library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Words made by another release are not those this one looks for."""
    library = await make_library()
    await fill(library)
    assert len(await names(library, q="dragon")) == 7
    await library.services.stop()
    monkeypatch.setattr(index, "RULES", "others")
    monkeypatch.setattr(asset_words, "words_of", lambda text: ["spoken", "otherwise"])
    library = await make_library()
    assert await names(library, q="dragon") == []
    assert len(await names(library, q="otherwise")) == 7
    monkeypatch.undo()
    await library.services.stop()
    library = await make_library()
    assert len(await names(library, q="dragon")) == 7
    assert await names(library, q="otherwise") == []


async def test_searches_at_the_same_time_index_once(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "_BATCH", 2)
    await fill(library)
    found = await asyncio.gather(*(names(library, q="dragon") for _ in range(8)))
    assert [len(each) for each in found] == [7] * 8
    assert (await state(library))[1] == 5  # the rules, then batches of two


async def test_what_was_found_is_remembered_until_the_index_changes(
    library: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(library)
    assert len(await names(library, q="dragon")) == len(await names(library, name_contains="dragon")) == 7
    asked: list[str] = []
    db = library.services.db
    real = db.fetch_all

    async def fetch_all(sql: str, parameters: Any = ()) -> Any:
        asked.append(sql)
        return await real(sql, parameters)

    monkeypatch.setattr(db, "fetch_all", fetch_all)
    for query in ({"q": "dragon"}, {"name_contains": "dragon"}):
        assert len(await names(library, sort="size", order="asc", **query)) == 7
        assert (await library.get("/api/assets/tags/refine", params=query))["tag_counts"] == {"output": 7}
    assert asked and not any("MATCH" in sql for sql in asked)
    library.write("output/dragon 8.txt", b"8")
    await library.scan()
    for query in ({"q": "dragon"}, {"name_contains": "dragon"}):
        assert len(await names(library, **query)) == 8
    assert any("MATCH" in sql for sql in asked)


async def test_a_damaged_document_has_no_words(library: Any) -> None:
    """It must not keep all others from being found."""
    await fill(library)
    db = library.services.db
    async with db.transaction() as tx:
        await tx.execute("INSERT INTO documents (hash, body) VALUES (x'00', x'616263')")
        await tx.execute(
            "INSERT INTO content_documents SELECT content_id, 'prompt', (SELECT max(id) FROM documents)"
            " FROM assets WHERE name = 'dragon 1.txt'"
        )
    assert len(await names(library, q="dragon")) == 7


@pytest.mark.parametrize("is_read", [True, False])
async def test_it_pauses_after_a_batch_if_requests_have_read_meanwhile(
    make_library: Any, at_short_intervals: None, monkeypatch: pytest.MonkeyPatch, is_read: bool
) -> None:
    pause_s = 0.0123  # no other part of the program sleeps for that long
    slept: list[float] = []
    sleep, step = asyncio.sleep, index.SearchIndex._step

    async def noted(seconds: float) -> None:
        slept.append(seconds)
        await sleep(seconds)

    async def read_meanwhile(self: Any) -> int:
        await sleep(2 * pause_s)
        if is_read:
            assert (await library.client.get("/api/assets")).status == 200
        return await step(self)

    library = await make_library()
    monkeypatch.setattr(index.SearchIndex, "_step", read_meanwhile)
    monkeypatch.setattr(index, "_LONGEST_PAUSE_S", pause_s)
    monkeypatch.setattr(asyncio, "sleep", noted)
    await fill(library)

    async def is_over() -> bool:
        task = library.services.tasks.latest(SEARCH)
        return (await state(library))[0] == 7 and task is not None and not task.is_running

    await wait_for(is_over)
    assert (pause_s in slept) == is_read
