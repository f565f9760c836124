"""Contents that an older version of the readers has read are read again: without hashing, and every file of a store."""

from __future__ import annotations

import asyncio
import gzip
import json
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.assets.index import content_reader, reread
from comfy_assets_node.comfy_assets.assets.index.reread import REREAD
from comfy_assets_node.comfy_assets.assets.media.metadata import READER_VERSION
from comfy_assets_node.comfy_assets.background import tasks
from comfy_assets_node.comfy_assets.db import contents
from support import older_files
from support.older_files import graph, workflow
from support.windows import symbolic_links

STORE = Path(__file__).parents[1] / "db" / "stores" / "store_v16.db.gz"  # of the last release with one version
WAIT_S = 20.0


@pytest.fixture(autouse=True)
def _at_short_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "WATCH_INTERVAL_S", 0.01)


@pytest.fixture
def older_store(tmp_path: Path) -> Path:
    """The base directory of a library that the release before reader versions has scanned, hashed and indexed."""
    older_files.write(tmp_path)
    path = tmp_path / "user" / "__comfy_assets" / "library.db"
    path.parent.mkdir(parents=True)
    path.write_bytes(gzip.decompress(STORE.read_bytes()))
    with closing(sqlite3.connect(path)) as conn, conn:
        for row_id, folder in conn.execute("SELECT id, path FROM folders").fetchall():
            inside = folder.partition("/base16/")[2].split("/")
            conn.execute("UPDATE folders SET path = ? WHERE id = ?", (str(tmp_path.joinpath(*inside)), row_id))
    return tmp_path


async def wait_for(condition: Callable[[], Awaitable[bool]]) -> None:
    async def poll() -> None:
        while not await condition():
            await asyncio.sleep(0.005)

    await asyncio.wait_for(poll(), WAIT_S)


async def versions(library: Any) -> list[int]:
    rows = await library.services.db.fetch_all("SELECT DISTINCT reader_version FROM contents ORDER BY 1")
    return [row[0] for row in rows]


async def reread_to_the_end(library: Any) -> dict[str, Any]:
    """Wait until nothing is left to be read; the result of the latest task."""

    async def is_done() -> bool:
        task = library.services.tasks.latest(REREAD)
        return task is not None and not task.is_running

    await wait_for(is_done)
    result: dict[str, Any] = library.services.tasks.latest(REREAD).result
    return result


async def detail(library: Any, name: str) -> dict[str, Any]:
    asset = await library.asset(name)
    found: dict[str, Any] = await library.get(f"/api/assets/{asset['id']}")
    return found


async def names(library: Any, word: str) -> list[str]:
    return sorted(asset["name"] for asset in await library.assets(q=word))


PICTURE = {"kind": "image", "width": 30, "height": 20}
METADATA: dict[str, dict[str, Any]] = {
    "plain.png": {"format": "png", **PICTURE, "prompt": graph("zqplain"), "workflow": workflow("zqplain")},
    "capital.png": {"format": "png", **PICTURE, "prompt": graph("zqcapital")},
    "twice.png": {"format": "png", **PICTURE, "prompt": graph("zqtwice")},
    "half.png": {"format": "png", **PICTURE, "prompt": {"6": {"class_type": "A", "inputs": {"text": "zqhalf \ufffd"}}}},
    "turned.jpg": {
        "format": "jpeg",
        "kind": "image",
        "width": 20,
        "height": 30,
        "parameters": "a zqturned lamp\nSteps: 20, Seed: 1",
    },
    "comment.jpg": {"format": "jpeg", **PICTURE, "prompt": graph("zqcomment"), "workflow": workflow("zqcomment")},
    "chosen.jpg": {"format": "jpeg", "kind": "image", "width": 20, "height": 30},
    "notes.txt": {"format": "text", "kind": "text", "description": "zqnotes"},
}
WORDS = ("plain", "capital", "twice", "half", "turned", "comment", "renamed")


async def test_a_store_of_the_release_before(older_store: Path, make_library: Any, read_names: list[str]) -> None:
    library = await make_library()
    result = await reread_to_the_end(library)
    assert result == {"read": len(older_files.FILES) - 1, "skipped": 0, "total": len(older_files.FILES) - 1}
    assert await versions(library) == [READER_VERSION]
    changed = [event.data for event in library.host.events if event.type == "assets.changed"]
    assert changed == [{"reread": result["read"]}]
    for name, wanted in METADATA.items():
        found = (await detail(library, name))["metadata"]
        found.pop("embedded", None)
        assert found == wanted, name
    model = await detail(library, "rightname.safetensors")
    assert model["metadata"]["header"] == {"modelspec.title": "zqrenamed"}
    assert {name: (await library.asset(name))["mime_type"] for name in ("chosen.jpg", "chosen copy.jpg")} == {
        "chosen.jpg": "image/x-mine",
        "chosen copy.jpg": "image/jpeg",
    }
    assert model["mime_type"] == "application/safetensors"
    for word in WORDS:
        assert len(await names(library, f"zq{word}")) == 1, word
    await library.scan()
    assert read_names == []  # nothing was hashed


async def test_former_documents_are_dropped(older_store: Path, make_library: Any) -> None:
    library = await make_library()
    await reread_to_the_end(library)
    db = library.services.db

    async def is_clean() -> bool:
        unused = "SELECT count(*) FROM documents WHERE id NOT IN (SELECT document_id FROM content_documents)"
        return bool((await db.fetch_one(unused))[0] == 0)

    await wait_for(is_clean)
    rows = await db.fetch_all(
        "SELECT key FROM content_documents JOIN assets USING (content_id) WHERE name = ? ORDER BY 1", ("comment.jpg",)
    )
    assert [row[0] for row in rows] == ["prompt", "workflow"]  # and no parameters any more


async def test_words_of_former_documents_are_removed_from_the_index(
    older_store: Path, make_library: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(reread.Rereader, "start", lambda self: None)
        library = await make_library()
        # Indexed by the present rules with what the former release has read.
        assert await names(library, "zqcomment") == ["comment.jpg"]
        assert await names(library, "zqcomment has:workflow") == []
        await library.services.search.catch_up()
    library.services.rereader.start()
    await reread_to_the_end(library)
    assert await names(library, "zqcomment has:workflow") == ["comment.jpg"]
    assert await names(library, "zqcomment -has:workflow") == []
    rows = await library.services.db.fetch_all("SELECT count(*) FROM search_stale")
    assert rows == [(0,)]


async def test_reading_goes_on_after_a_restart(older_store: Path, make_library: Any, before_step: list[Any]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    before_step.append(lambda: loop.call_soon_threadsafe(stop.set))
    library = await make_library()
    await stop.wait()
    library.services.tasks.cancel(REREAD)
    await reread_to_the_end(library)
    before_step.clear()
    left = await versions(library)
    await asyncio.sleep(0.05)
    assert await versions(library) == left  # a user has cancelled it
    await library.services.stop()
    library = await make_library()
    await reread_to_the_end(library)
    assert await versions(library) == [READER_VERSION]


async def test_it_waits_while_prompts_execute(older_store: Path, make_library: Any, before_step: list[Any]) -> None:
    reached = asyncio.Event()
    loop = asyncio.get_running_loop()
    before_step.append(lambda: loop.call_soon_threadsafe(reached.set))
    library = await make_library()
    library.services.indexer.pause()
    await reached.wait()
    task = library.services.tasks.latest(REREAD)
    await asyncio.sleep(0.05)
    assert task.is_running
    assert await names(library, "plain") == ["plain.png"]  # requests are answered meanwhile
    library.services.indexer.resume()
    assert (await reread_to_the_end(library))["skipped"] == 0


async def test_what_differs_from_its_record_is_left_to_the_scan(
    older_store: Path, make_library: Any, read_names: list[str]
) -> None:
    (older_store / "output" / "plain.png").unlink()
    (older_store / "output" / "capital.png").write_bytes(older_files.png(("prompt", json.dumps(graph("zqother")))))
    library = await make_library()
    assert (await reread_to_the_end(library))["skipped"] == 2
    assert await versions(library) == [1, READER_VERSION]
    assert await names(library, "zqplain") == ["plain.png"]  # what was known of it stays
    await library.scan()
    assert read_names == ["capital.png"]
    assert await names(library, "zqother") == ["capital.png"]


async def test_another_file_of_the_same_content_is_read(older_store: Path, make_library: Any) -> None:
    (older_store / "output" / "chosen copy.jpg").unlink()
    library = await make_library()
    assert (await reread_to_the_end(library))["skipped"] == 0
    assert (await library.asset("chosen.jpg"))["metadata"]["height"] == 30


UNCLEAR = b"\x01\x02 no header" * 10  # only its name says that it should be a model


async def test_a_new_name_tells_the_format(make_library: Any, read_names: list[str]) -> None:
    library = await make_library()
    path = library.write("models/loras/a.bin", UNCLEAR)
    await library.scan()
    asset = await library.asset("a.bin")
    assert (asset.get("metadata"), asset["mime_type"]) == ({}, "application/octet-stream")
    path.rename(path.with_name("a.safetensors"))
    await library.scan()

    async def is_known() -> bool:
        found = await library.asset("a.safetensors")
        return found["id"] == asset["id"] and found["metadata"].get("format") == "safetensors"

    await wait_for(is_known)
    assert read_names == ["a.bin"]
    assert (await library.asset("a.safetensors"))["mime_type"] == "application/safetensors"


async def test_a_copy_tells_the_format_of_the_first_file(library: Any) -> None:
    library.write("models/loras/a.bin", UNCLEAR)
    await library.scan()
    await library.services.search.catch_up()
    library.write("models/loras/copy.safetensors", UNCLEAR)
    await library.scan()
    for name in ("a.bin", "copy.safetensors"):
        assert (await library.asset(name))["metadata"]["format"] == "safetensors"
    rows = await library.services.db.fetch_all("SELECT a.name FROM search_stale JOIN assets a ON a.id = asset_id")
    assert rows == [("a.bin",)]


async def test_a_mistake_in_a_reader_keeps_no_file_from_being_hashed(
    library: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> Any:
        raise KeyError("a mistake")

    monkeypatch.setattr(content_reader, "extract", fail)
    library.write("output/a.png", older_files.png())
    status = await library.scan()
    assert (status["hashed"], status["unreadable"]) == (1, 0)
    asset = await library.asset("a.png")
    assert "server's log" in asset["metadata"]["error"]
    assert asset["hash"].startswith("blake3:")
    assert "a.png" in caplog.text


async def test_contents_that_are_read_as_before_stay_as_they_are(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only those that differ are stored again, and indexed again for search."""
    for name in ("output/plain.png", "output/capital.png", "output/notes.txt"):
        library.write(name, older_files.FILES[name])
    await library.scan()
    db = library.services.db
    await library.services.search.catch_up()
    stored = "SELECT * FROM content_documents ORDER BY 1, 2"
    before = await db.fetch_all(stored)
    replaced: list[int] = []
    replace = contents.replace

    async def watched(tx: Any, found: dict[int, Any]) -> set[int]:
        replaced.extend(found)
        return await replace(tx, found)

    monkeypatch.setattr(contents, "replace", watched)
    plain = (await db.fetch_all("SELECT content_id FROM assets WHERE name = 'plain.png'"))[0][0]
    capital = (await db.fetch_all("SELECT content_id FROM assets WHERE name = 'capital.png'"))[0][0]
    async with db.transaction() as tx:
        await tx.execute("UPDATE contents SET reader_version = 1")
        await tx.execute("UPDATE contents SET metadata = '{\"width\":1}' WHERE id = ?", (plain,))
        await tx.execute("DELETE FROM content_documents WHERE content_id = ?", (capital,))
    await library.services.search.catch_up()
    await library.services.tasks.start(REREAD, library.services.rereader.run)[0].done.wait()
    assert await versions(library) == [READER_VERSION]
    assert sorted(replaced) == sorted([plain, capital])
    assert await db.fetch_all(stored) == before
    stale = await db.fetch_all("SELECT content_id FROM search_stale")
    assert sorted(row[0] for row in stale) in ([], sorted([plain, capital]))  # the index may have caught up already


@symbolic_links
async def test_links_into_a_cache_of_blobs(library: Any) -> None:
    """As Hugging Face keeps files: the blob has no suffix, the snapshot is a link to it."""
    blob = library.write("models/loras/models--a/blobs/" + "ab" * 32, older_files.model("zqblob"))
    snapshot = library.base / "models/loras/models--a/snapshots/1/model.safetensors"
    snapshot.parent.mkdir(parents=True)
    snapshot.symlink_to(blob)
    await library.scan()
    for asset in await library.assets():
        assert asset["metadata"]["header"] == {"modelspec.title": "zqblob"}
        assert asset["mime_type"] == "application/safetensors"
    assert len(await names(library, "zqblob")) == 2
