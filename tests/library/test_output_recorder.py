"""Output files of executed prompts become assets with their job, hash and metadata."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from comfy_assets_node.comfy_assets.assets.prompts import output_recorder
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.db import files, tags
from comfy_assets_node.comfy_assets.fs import paths
from comfy_assets_node.comfy_assets.fs.paths import file_stat
from comfy_assets_node.comfy_assets.host.execution import FinishedPrompt
from support.files import picture

JOB, OTHER_JOB = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"


def png(color: int = 0, text: str | None = '{"1": {"class_type": "EmptyImage"}}') -> bytes:
    """A small image with an embedded prompt."""
    texts: dict[str, Any] = {} if text is None else {"prompt": text}
    return picture(color, **texts)


def shown(*names: str, kind: str = "output") -> dict[str, Any]:
    """The result of a node that wrote files, given by paths below the folder."""
    images = [{"filename": Path(n).name, "subfolder": str(Path(n).parent.as_posix()), "type": kind} for n in names]
    return {"images": images}


async def finish(library: Any, job_id: str, *names: str, kind: str = "output") -> None:
    """Report these files as the outputs of a prompt, and wait until they are recorded."""
    prompt = FinishedPrompt(job_id, {"9": shown(*names, kind=kind)})
    worker = threading.Thread(target=library.services.outputs.record, args=(prompt,))
    worker.start()
    await asyncio.to_thread(worker.join)
    await library.services.outputs.drain()


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_recorder, "IDLE_S", 0.01)


@pytest.fixture
def jobs() -> Callable[[Any], Any]:
    """The job of each asset, by its name."""

    async def jobs(library: Any) -> dict[str, str | None]:
        return dict(await library.services.db.fetch_all("SELECT name, job_id FROM assets ORDER BY name"))

    return jobs


async def test_an_output_is_an_asset_with_its_job_hash_and_metadata(library: Any, jobs: Any) -> None:
    library.write("output/sub/a_00001_.png", png())
    await finish(library, JOB, "sub/a_00001_.png")
    asset = await library.asset("a_00001_.png")
    assert asset["tags"] == ["output"]
    assert asset["file_path"] == "output/sub/a_00001_.png"
    assert asset["mime_type"] == "image/png"
    assert asset["hash"] == f"blake3:{blake3(png()).hexdigest()}"
    assert (asset["metadata"]["width"], asset["metadata"]["height"]) == (4, 2)
    whole = await library.get(f"/api/assets/{asset['id']}")
    assert whole["metadata"]["prompt"] == {"1": {"class_type": "EmptyImage"}}
    assert await jobs(library) == {"a_00001_.png": JOB}
    assert [(e.type, e.data) for e in library.host.events] == [("assets.changed", {"created": 1})]


async def test_a_scan_afterwards_finds_nothing_new(library: Any, snapshot: Any, read_names: list[str]) -> None:
    for name in ("output/a.png", "output/deep/er/b.png", "input/c.png"):
        library.write(name, png())
    await finish(library, JOB, "a.png", "deep/er/b.png")
    await finish(library, JOB, "c.png", kind="input")
    before = await snapshot(library)
    status = await library.scan()
    assert (status["created"], status["changed"], status["missing"], status["moved"]) == (0, 0, 0, 0)
    assert read_names == []
    after = await snapshot(library)
    unchanged = set(before) - {"folders", "tag_sets"}
    assert {table: before[table] for table in unchanged} == {table: after[table] for table in unchanged}


async def test_what_is_taken_in_is_what_a_scan_would_have_made_of_it(make_library: Any) -> None:
    """Compare without ids, jobs and the order of rows."""
    columns = "a.name, a.name_key, a.mime_type, a.size, a.created_at, a.updated_at, a.origin, s.owner, l.tags, c.hash"
    query = (
        f"SELECT {columns}, c.metadata, d.path, d.kind, d.logical, d.loader_prefix, d.categories, d.place_key, f.size,"
        " f.mtime_ns, f.inode, f.state, f.missing FROM assets a JOIN tag_sets s ON s.id = a.tag_set_id"
        " JOIN asset_tag_lists l ON l.id = a.id"
        " JOIN contents c ON c.id = a.content_id JOIN files f ON f.id = a.id JOIN folders d ON d.id = f.folder_id"
        " ORDER BY d.path, f.name"
    )
    library = await make_library()
    names = ["Ä.PNG", "sub/b.webm", "sub/c", "sub/deep/d.json"]
    for index, name in enumerate(names):
        library.write(f"output/{name}", png(index))
    await finish(library, JOB, *names)
    taken = await library.services.db.fetch_all(query)
    await library.services.stop()
    (library.base / "user/__comfy_assets/library.db").unlink()
    scanned = await make_library()
    await scanned.scan()
    assert taken == await scanned.services.db.fetch_all(query)
    assert len(taken) == 4


@pytest.mark.parametrize("is_read", [True, False])
async def test_a_file_that_a_scan_has_listed_already_gets_its_job(
    make_library: Any, jobs: Any, annotate: Any, is_read: bool
) -> None:
    library = await make_library(Config(scan_on_start=False, hash_files=is_read))
    library.write("output/a.png", png())
    await library.scan()
    await annotate(library, "a.png", "mine", metadata='{"k": 1}')
    before = await library.asset("a.png")
    await finish(library, JOB, "a.png")
    after = await library.asset("a.png")
    assert await jobs(library) == {"a.png": JOB}
    assert (after["id"], after["tags"]) == (before["id"], ["output", "mine"])
    assert after["user_metadata"] == {"k": 1}
    assert ("hash" in after) == is_read


async def test_what_is_listed_is_read_unless_the_configuration_says_no(library: Any, jobs: Any) -> None:
    library.services.indexer._hash_files = False
    library.write("output/a.png", png())
    await library.scan()
    assert "hash" not in await library.asset("a.png")
    await finish(library, JOB, "a.png")
    assert (await library.asset("a.png"))["hash"] == f"blake3:{blake3(png()).hexdigest()}"
    assert library.host.events[-1].data == {"changed": 1}


async def test_an_output_shown_again_by_a_later_job_is_the_first_ones(
    library: Any, jobs: Any, snapshot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.write("output/a.png", png())
    await finish(library, JOB, "a.png")
    before, events = await snapshot(library), list(library.host.events)
    monkeypatch.setattr(output_recorder, "read_file", None)  # nothing is read again
    await finish(library, OTHER_JOB, "a.png", "a.png")
    assert await snapshot(library) == before
    assert library.host.events == events


async def test_of_prompts_that_end_together_the_first_made_the_output(library: Any, jobs: Any) -> None:
    library.write("output/a.png", png())
    for job_id in (JOB, OTHER_JOB):
        library.services.outputs.record(FinishedPrompt(job_id, {"9": shown("a.png")}))
    await library.services.outputs.drain()
    assert await jobs(library) == {"a.png": JOB}


async def test_an_output_written_over_is_the_later_jobs(library: Any, jobs: Any) -> None:
    path = library.write("output/a.png", png(1))
    await finish(library, JOB, "a.png")
    first = await library.asset("a.png")
    library.write("output/a.png", png(2, text=None))
    os.utime(path, ns=(1, time.time_ns() - 10**9))
    await finish(library, OTHER_JOB, "a.png")
    second = await library.asset("a.png")
    assert second["id"] == first["id"]
    assert second["hash"] == f"blake3:{blake3(png(2, text=None)).hexdigest()}"
    assert await jobs(library) == {"a.png": OTHER_JOB}


async def test_an_output_written_over_before_it_was_noticed_is_the_later_jobs(library: Any, jobs: Any) -> None:
    """A scan may see the change before the job is known to have ended."""
    path = library.write("output/a.png", png(1))
    await finish(library, JOB, "a.png")
    library.write("output/a.png", png(2))
    os.utime(path, ns=(1, time.time_ns() - 10**9))
    library.services.indexer._hash_files = False
    await library.scan()
    await finish(library, OTHER_JOB, "a.png")
    assert await jobs(library) == {"a.png": OTHER_JOB}
    assert (await library.asset("a.png"))["hash"] == f"blake3:{blake3(png(2)).hexdigest()}"


async def test_a_file_that_was_missing_is_back(library: Any, jobs: Any) -> None:
    path = library.write("output/a.png", png())
    await finish(library, JOB, "a.png")
    stat = path.stat()
    path.unlink()
    await library.scan()
    assert (await library.asset("a.png"))["tags"] == ["output", "missing"]
    library.write("output/a.png", png())
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    await finish(library, OTHER_JOB, "a.png")
    assert (await library.asset("a.png"))["tags"] == ["output"]
    assert await jobs(library) == {"a.png": JOB}


async def test_an_asset_that_had_lost_its_file_takes_up_equal_content(library: Any, annotate: Any, jobs: Any) -> None:
    path = library.write("output/a.png", png())
    await library.scan()
    old_id = await annotate(library, "a.png", "mine")
    path.unlink()
    await library.scan()
    library.write("output/b.png", png())
    await finish(library, JOB, "b.png")
    asset = await library.asset("b.png")
    assert (asset["id"], asset["tags"]) == (old_id, ["output", "mine"])
    assert await jobs(library) == {"b.png": JOB}
    assert "created" not in library.host.events[-1].data


async def test_a_deleted_output_stays_deleted_until_it_is_written_over(library: Any) -> None:
    path = library.write("output/a.png", png(1))
    await finish(library, JOB, "a.png")
    asset = await library.asset("a.png")
    async with library.client.delete(f"/api/assets/{asset['id']}") as response:
        assert response.status == 204
    await finish(library, OTHER_JOB, "a.png")
    assert await library.assets() == []
    library.write("output/a.png", png(2))
    os.utime(path, ns=(1, time.time_ns() - 10**9))
    await finish(library, OTHER_JOB, "a.png")
    assert [a["id"] for a in await library.assets()] == [asset["id"]]


async def test_previews_and_files_that_are_not_there_are_not_taken(library: Any) -> None:
    library.write("temp/a.png", png())
    library.write("outside.png", png())
    await finish(library, JOB, "a.png", kind="temp")
    await finish(library, JOB, "gone.png", "../outside.png", "../temp/a.png")
    assert await library.assets() == []
    assert library.host.events == []


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of files that are recorded together, batch by batch."""
    found: list[int] = []
    real = output_recorder.record_files

    async def record(tx: Any, outputs: Any, *more: Any, **named: Any) -> int:
        found.append(len(outputs))
        return await real(tx, outputs, *more, **named)

    monkeypatch.setattr(output_recorder, "record_files", record)
    return found


async def test_many_prompts_are_recorded_together(
    library: Any, monkeypatch: pytest.MonkeyPatch, jobs: Any, batches: list[int]
) -> None:
    monkeypatch.setattr(output_recorder, "_BATCH", 64)
    names = [f"{number:03}.png" for number in range(150)]
    for number, name in enumerate(names):
        library.write(f"output/{name}", png(number))
        library.services.outputs.record(FinishedPrompt(f"job-{number}", {"9": shown(name)}))
    await library.services.outputs.drain()
    assert batches == [64, 64, 22]
    assert await jobs(library) == {name: f"job-{number}" for number, name in enumerate(names)}
    assert sum(event.data["created"] for event in library.host.events) == 150


async def test_the_first_of_many_files_does_not_wait_for_the_others(
    library: Any, monkeypatch: pytest.MonkeyPatch, jobs: Any, batches: list[int]
) -> None:
    """While prompts follow each other, the first files are recorded at once, and the next together."""
    monkeypatch.setattr(output_recorder, "BUSY_S", 60)
    library.host.is_busy = True
    outputs = library.services.outputs
    for name in ("a.png", "b.png", "c.png"):
        library.write(f"output/{name}", png(ord(name[0])))
    outputs.record(FinishedPrompt(JOB, {"9": shown("a.png")}))
    while not library.host.events:
        await asyncio.sleep(0.01)
    for name in ("b.png", "c.png"):
        outputs.record(FinishedPrompt(JOB, {"9": shown(name)}))
        await asyncio.sleep(0.05)
    assert batches == [1]
    library.host.is_busy = False
    await outputs.drain()
    assert batches == [1, 2]
    assert await jobs(library) == {"a.png": JOB, "b.png": JOB, "c.png": JOB}


async def test_prompts_that_a_client_waits_for_are_recorded_together(
    library: Any, monkeypatch: pytest.MonkeyPatch, jobs: Any, batches: list[int]
) -> None:
    """Nothing executes between short prompts that follow one another, and yet each is no batch of its own."""
    monkeypatch.setattr(output_recorder, "BUSY_S", 60)
    outputs = library.services.outputs
    await finish(library, JOB, library.write("output/a.png", png(1)).name)
    monkeypatch.setattr(output_recorder, "IDLE_S", 0.6)
    names = ("b.png", "c.png", "d.png", "e.png", "f.png")
    for number, name in enumerate(names):
        library.write(f"output/{name}", png(2 + number))
        outputs.record(FinishedPrompt(JOB, {"9": shown(name)}))
        await asyncio.sleep(0.25)
    await outputs.drain()
    assert batches == [1, len(names)]
    assert await jobs(library) == dict.fromkeys(("a.png", *names), JOB)


async def test_the_worker_is_not_held_up(library: Any, monkeypatch: pytest.MonkeyPatch, jobs: Any) -> None:
    """While a batch is read and written, the thread that executes prompts goes on."""
    reading, go_on = threading.Event(), threading.Event()
    real = output_recorder.read_file

    def read_file(*arguments: Any, **options: Any) -> Any:
        reading.set()
        assert go_on.wait(10)
        return real(*arguments, **options)

    monkeypatch.setattr(output_recorder, "read_file", read_file)
    library.write("output/a.png", png(1))
    library.write("output/b.png", png(2))
    library.services.outputs.record(FinishedPrompt(JOB, {"9": shown("a.png")}))
    assert await asyncio.to_thread(reading.wait, 10)
    library.services.outputs.record(FinishedPrompt(OTHER_JOB, {"9": shown("b.png")}))
    assert await library.assets() == []
    go_on.set()
    await library.services.outputs.drain()
    assert await jobs(library) == {"a.png": JOB, "b.png": OTHER_JOB}


async def test_more_than_there_is_room_for_is_left_to_the_scan(
    library: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(output_recorder, "_MAX_WAITING", 2)
    for name in "abc":
        library.write(f"output/{name}.png", png())
    await finish(library, JOB, "a.png", "b.png", "c.png")
    assert sorted(a["name"] for a in await library.assets()) == ["a.png", "b.png"]
    assert "the next scan will find the rest" in caplog.text
    await library.scan()
    assert len(await library.assets()) == 3


@pytest.mark.parametrize("becomes", ["other content", "gone"])
async def test_a_file_that_changes_while_it_is_read(
    library: Any, monkeypatch: pytest.MonkeyPatch, jobs: Any, becomes: str
) -> None:
    path = library.write("output/a.png", png(1))
    real = output_recorder.read_file

    def read_file(*arguments: Any, **options: Any) -> Any:
        if becomes == "gone":
            path.unlink()
        else:
            path.write_bytes(png(2) + b"longer")
        return real(*arguments, **options)

    monkeypatch.setattr(output_recorder, "read_file", read_file)
    await finish(library, JOB, "a.png")
    rows = await library.services.db.fetch_all("SELECT size, mtime_ns, inode, state FROM files")
    if becomes == "gone":
        assert rows == []
        return
    assert rows == [(*file_stat(path.stat()), 0)]
    assert await jobs(library) == {"a.png": JOB}
    await library.scan()
    assert (await library.asset("a.png"))["hash"] == f"blake3:{blake3(path.read_bytes()).hexdigest()}"


async def test_a_file_that_cannot_be_read_is_listed(library: Any, monkeypatch: pytest.MonkeyPatch, jobs: Any) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("a reader's fault")

    monkeypatch.setattr(output_recorder, "read_file", fail)
    library.write("output/a.png", png())
    await finish(library, JOB, "a.png")
    assert await jobs(library) == {"a.png": JOB}
    assert await library.services.db.fetch_all("SELECT state, error FROM files") == [(3, "RuntimeError")]


async def test_a_failure_costs_its_batch_alone(
    library: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = output_recorder.record_files

    async def fail(*_: Any, **__: Any) -> int:
        raise OSError("the disk is full")

    monkeypatch.setattr(output_recorder, "record_files", fail)
    library.write("output/a.png", png(1))
    library.write("output/b.png", png(2))
    await finish(library, JOB, "a.png")
    assert "could not be recorded" in caplog.text
    assert await library.assets() == []
    monkeypatch.setattr(output_recorder, "record_files", real)
    await finish(library, JOB, "b.png")
    assert [a["name"] for a in await library.assets()] == ["b.png"]


async def test_what_a_locked_store_cannot_take_is_recorded_later(
    library: Any, monkeypatch: pytest.MonkeyPatch, jobs: Any
) -> None:
    monkeypatch.setattr(output_recorder, "_RETRY_S", 0.05)
    monkeypatch.setattr(library.services.db, "patience_s", 0.1)
    library.write("output/a.png", png())
    store = library.host.data_directory() / "library.db"
    with closing(sqlite3.connect(store, isolation_level=None, check_same_thread=False)) as other:
        await asyncio.to_thread(other.execute, "BEGIN IMMEDIATE")
        finishing = asyncio.create_task(finish(library, JOB, "a.png"))
        await asyncio.sleep(0.5)
        assert not finishing.done()
        other.execute("ROLLBACK")
        await finishing
    assert await jobs(library) == {"a.png": JOB}


async def test_an_orderly_stop_loses_no_job(make_library: Any, monkeypatch: pytest.MonkeyPatch, jobs: Any) -> None:
    monkeypatch.setattr(output_recorder, "IDLE_S", 60)
    library = await make_library()
    library.write("output/a.png", png())
    outputs = library.services.outputs
    outputs.record(FinishedPrompt(JOB, {"9": shown("a.png")}))
    await asyncio.wait_for(library.services.stop(), 10)
    outputs.record(FinishedPrompt(JOB, {"9": shown("a.png")}))  # nobody is there any more
    again = await make_library()
    assert await jobs(again) == {"a.png": JOB}
    await again.scan()
    assert (await again.asset("a.png"))["hash"] == f"blake3:{blake3(png()).hexdigest()}"


async def test_references_to_content_that_was_missing_are_whole_again(library: Any) -> None:
    path = library.write("output/a.png", png())
    await library.scan()
    source = await library.asset("a.png")
    body = {"hash": source["hash"], "tags": ["input"], "name": "mine.png"}
    async with library.client.post("/api/assets/from-hash", json=body) as response:
        assert response.status in (200, 201), await response.text()
        reference = await response.json()
    path.unlink()
    await library.scan()
    missing = await library.get(f"/api/assets/{reference['id']}")
    assert "missing" in missing["tags"]
    async with library.client.delete(f"/api/assets/{source['id']}") as response:
        assert response.status == 204
    library.write("output/b.png", png())
    await finish(library, JOB, "b.png")
    assert "missing" not in (await library.get(f"/api/assets/{reference['id']}"))["tags"]


async def test_references_to_content_that_was_written_over_are_missing(library: Any) -> None:
    """The asset stays missing until a file has its content again."""
    library.write("output/a.png", png(1))
    await finish(library, JOB, "a.png")
    body = {"hash": f"blake3:{blake3(png(1)).hexdigest()}", "tags": ["output", "mine"]}
    async with library.client.post("/api/assets/from-hash", json=body) as response:
        reference = await response.json()
    for color, expected in ((2, ["output", "mine", "missing"]), (1, ["output", "mine"])):
        library.write("output/a.png", png(color))
        await finish(library, JOB, "a.png")
        assert (await library.get(f"/api/assets/{reference['id']}"))["tags"] == expected


async def show_paths(library: Any, job_id: str, began_at: int, *paths: str, owner: str = "") -> None:
    """Report a job that began at this time (ms) and names files by bare paths."""
    async with library.services.db.transaction() as tx:
        await tx.execute(
            "INSERT INTO jobs (uuid, owner, status, number, seat, created_at, started_at, updated_at)"
            " VALUES (?, ?, 2, 0, 0, ?, ?, 0)",
            (job_id, owner, began_at, began_at),
        )
    library.services.outputs.record(FinishedPrompt(job_id, {"9": {"result": [*paths, None, []]}}))
    await library.services.outputs.drain()


async def count_of_outputs(library: Any) -> int:
    return len(await library.services.db.fetch_all("SELECT 1 FROM job_outputs"))


@pytest.mark.parametrize("path", ["3d/a.ply", "3d/a.ply [output]"])
async def test_a_file_named_by_its_path_is_of_the_job_that_wrote_it(library: Any, jobs: Any, path: str) -> None:
    library.write("output/3d/a.ply", b"ply\nformat ascii 1.0\nelement vertex 0\nend_header\n")
    now = int(time.time() * 1000)
    await show_paths(library, JOB, now - 1000, path)
    assert await jobs(library) == {"a.ply": JOB}
    await show_paths(library, OTHER_JOB, now, path)  # shows it again, within the tick of a coarse clock
    assert await jobs(library) == {"a.ply": JOB}
    assert await count_of_outputs(library) == 2


async def test_an_older_file_named_by_its_path_is_of_no_job(library: Any, jobs: Any) -> None:
    library.write("output/a.glb", b"glTF")
    await library.scan()
    await show_paths(library, JOB, int(time.time() * 1000) + 60_000, "a.glb", "gone.glb")
    assert await jobs(library) == {"a.glb": None}
    assert await count_of_outputs(library) == 1


async def test_a_path_gives_no_file_of_another_user(library: Any) -> None:
    library.write("output/a.glb", b"glTF")
    await library.scan()
    async with library.services.db.transaction() as tx:
        (row,) = await tx.fetch_all("SELECT id FROM assets")
        await tags.give_public(tx, [row[0]], "alice")
    await show_paths(library, JOB, int(time.time() * 1000), "a.glb", owner="bob")
    assert await count_of_outputs(library) == 0


@pytest.mark.parametrize("tick_s", [pytest.param(4.0, marks=pytest.mark.slow), 3600.0])
async def test_a_file_that_is_written_again_within_a_tick_of_the_clock(
    library: Any, monkeypatch: pytest.MonkeyPatch, jobs: Any, annotate: Any, tick_s: float
) -> None:
    """It is read at once, and again when its time stamp is reliable or the server stops."""
    monkeypatch.setattr(paths, "_TICK_NS", int(tick_s * 1e9))
    contents = [picture(color) for color in (3, 4)]  # of equal size
    path = library.write("output/a.png", contents[0])
    before = path.stat()
    await finish(library, JOB, "a.png")
    first = await library.asset("a.png")
    assert first["hash"] == f"blake3:{blake3(contents[0]).hexdigest()}"
    await annotate(library, "a.png", "mine")
    path.write_bytes(contents[1])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file_stat(path.stat()) == file_stat(before)
    if tick_s > 60:
        await library.services.outputs.close()
        rows = await library.services.db.fetch_all("SELECT state, content_id FROM files JOIN assets USING (id)")
        assert rows == [(files.CHANGED, None)]
        monkeypatch.undo()
        await library.scan()
    await _until_hashed(library, contents[1])
    after = await library.asset("a.png")
    assert (after["id"], after["tags"]) == (first["id"], ["output", "mine"])
    assert await jobs(library) == {"a.png": JOB}


async def _until_hashed(library: Any, content: bytes) -> None:
    deadline = time.monotonic() + 10
    while (await library.asset("a.png"))["hash"] != f"blake3:{blake3(content).hexdigest()}":
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
