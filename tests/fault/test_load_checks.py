"""The checks that the load run makes while it lasts: each finds what it is there for, on a server made to fail."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import web

LOAD = Path(__file__).resolve().parents[1] / "benchmarks" / "load"
sys.path.append(str(LOAD))
from asking import Asker, Unanswered  # noqa: E402
from audit_api import ApiAudit  # noqa: E402
from faults import Faults  # noqa: E402
from interrupter import Interrupter  # noqa: E402
from listener import Listener  # noqa: E402
from notes import AssetNote, FlowNote, JobNote, Notes  # noqa: E402
from outage import Outage  # noqa: E402
from small_disk import NEEDED, SmallDisk  # noqa: E402
from stranger import Stranger  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="the load run needs POSIX")]
UNAVAILABLE = '{"code": "STORE_UNAVAILABLE", "message": "…"}'
JOB = "9b2f2b9a-6a6f-4f6c-9d56-0f6d8f0e7a11"


class Stub:
    """A server that answers everything as ``answer`` says, and what the clients know of it."""

    def __init__(self, folder: Path) -> None:
        self.answer: Callable[[web.Request], Any] = lambda _: web.json_response({})
        self.users = ("ann", "bob")
        self.kills = 0
        self.up = asyncio.Event()
        self.up.set()
        self.outage = Outage()
        self.quiet = asyncio.Lock()
        self.cut: set[str] = set()
        self.is_comfyui = False
        self.base = self.data = folder
        self.port = 0

    @property
    def faults(self) -> int:
        return self.kills + self.outage.changes

    async def handle(self, request: web.Request) -> web.StreamResponse:
        answer = self.answer(request)
        return await answer if asyncio.iscoroutine(answer) else answer


class Bench:
    """The stub, and the notes and askers of its two users."""

    def __init__(self, server: Stub, session: aiohttp.ClientSession, folder: Path) -> None:
        self.server = server
        self.session = session
        self.ann = Notes(folder)
        self.bob = self.ann.of_another_user()

    def ask(self, user: str = "bob") -> Asker:
        server: Any = self.server
        return Asker("tried", server, self.session, self.bob if user == "bob" else self.ann, user)

    @property
    def found(self) -> list[str]:
        return self.ann.found


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    stub = Stub(tmp_path)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", stub.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    stub.port = runner.addresses[0][1]
    async with aiohttp.ClientSession(f"http://127.0.0.1:{stub.port}") as session:
        made = Bench(stub, session, tmp_path)
        yield made
        made.ann.close()
        made.bob.close()
    await runner.cleanup()


def text(body: str, status: int = 200) -> Callable[[web.Request], web.Response]:
    return lambda _: web.Response(text=body, status=status)


@pytest.mark.parametrize(
    ("body", "status", "is_outage", "finding"),
    [
        ("{}", 200, False, None),
        ("of-bob-jobs3", 200, False, None),
        ("of-ann-jobs3", 200, False, "tells what is of-ann-"),
        (UNAVAILABLE, 503, False, "is answered 503"),
        ('{"code": "INTERNAL_ERROR"}', 500, True, "is answered 500"),
        ('{"code": "BUSY"}', 503, True, "is answered 503"),
    ],
)
async def test_answers(bench: Bench, body: str, status: int, is_outage: bool, finding: str | None) -> None:
    bench.server.answer = text(body, status)
    if is_outage:
        with bench.server.outage.lasting():
            await bench.ask().ask("tried", "GET", "/api/jobs")
    else:
        await bench.ask().ask("tried", "GET", "/api/jobs")
    assert [(finding or "") in each for each in bench.found] == ([True] if finding else [])


async def test_a_store_that_the_run_locks_may_be_unavailable(bench: Bench) -> None:
    bench.server.answer = text(UNAVAILABLE, 503)
    with bench.server.outage.lasting(), pytest.raises(Unanswered):
        await bench.ask().ask("tried", "GET", "/api/jobs")
    assert bench.found == []


async def test_uploads_that_a_kill_cut_short_are_nobodys(bench: Bench) -> None:
    bench.server.answer = text("of-ann-1.bin")
    bench.server.cut.add("of-ann-1.bin")
    await bench.ask().ask("tried", "GET", "/api/assets")
    assert bench.found == []


def queue_holding(*ids: str) -> web.Response:
    return web.json_response({"queue_running": [[1, each] for each in ids], "queue_pending": []})


@pytest.mark.parametrize("is_locked", [False, True])
@pytest.mark.parametrize(("delay_s", "status", "is_amiss"), [(0.0, 200, False), (0.5, 200, True), (0.0, 503, True)])
async def test_interrupts(bench: Bench, delay_s: float, status: int, is_amiss: bool, is_locked: bool) -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.method == "GET":
            return queue_holding()
        if request.path == "/api/prompt":
            return web.json_response({})
        await asyncio.sleep(delay_s)
        return web.Response(text=UNAVAILABLE, status=status)

    bench.server.answer = answer
    interrupter = Interrupter(bench.ask(), random.Random(1), 0.4)
    if is_locked:
        with bench.server.outage.lasting():
            await interrupter.work(time.monotonic() + 0.1)
    else:
        await interrupter.work(time.monotonic() + 0.1)
    assert len(bench.bob.interrupts) == 1
    assert bool(bench.found) is is_amiss
    assert all("is answered" in each and ("cannot be written" in each) is is_locked for each in bench.found)


async def test_a_job_that_goes_on_is_found(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interrupter.EFFECT_S", 0.2)
    submitted: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        if request.path == "/api/prompt":
            submitted.append((await request.json())["prompt_id"])
        return queue_holding(*submitted) if request.method == "GET" else web.json_response({})

    bench.server.answer = answer
    await Interrupter(bench.ask(), random.Random(1), 5.0).work(time.monotonic() + 0.1)
    assert [f"job {submitted[0]} goes on after it was cancelled" in each for each in bench.found] == [True]


STRANGE = [
    ("try_asset", 200, "of another is answered"),
    ("try_workflow", 200, "of another is answered"),
    ("try_job", 200, "of another is answered"),
    ("take_job", 200, "a prompt with the id of another's job"),
    ("try_asset", 404, None),
    ("try_workflow", 403, None),
    ("try_job", 404, None),
    ("take_job", 409, None),
]


@pytest.mark.parametrize(("deed", "status", "finding"), STRANGE)
async def test_what_a_stranger_can_do(bench: Bench, deed: str, status: int, finding: str | None) -> None:
    bench.ann.assets["a"] = AssetNote("a", "", b"", "a")
    bench.ann.flows.append(FlowNote("f", "f.json", "f", {1: {}}))
    bench.ann.jobs[JOB] = JobNote(JOB, "of-ann-interrupter")
    bench.server.answer = text("{}", status)
    await getattr(Stranger(bench.ask(), random.Random(1), [bench.ann]), deed)()
    assert [(finding or "") in each for each in bench.found] == ([True] if finding else [])


async def test_a_job_that_a_stranger_removes_is_found(bench: Bench) -> None:
    bench.ann.jobs[JOB] = JobNote(JOB, "of-ann-jobs1")
    bench.server.answer = lambda request: web.Response(
        text=f'{{"deleted": ["{JOB}"]}}', status=200 if request.path in ("/api/queue", "/api/history") else 404
    )
    await Stranger(bench.ask(), random.Random(1), [bench.ann]).try_job()
    assert ["with another's job is answered" in each for each in bench.found] == [True]


@pytest.mark.parametrize(("message", "count"), [("of-bob-made", 0), ("of-ann-made", 1)])
async def test_messages(bench: Bench, message: str, count: int) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(message)
        await asyncio.sleep(5)
        return socket

    bench.server.answer = answer
    await Listener(bench.ask(), bench.session).work(time.monotonic() + 0.5)
    assert bench.bob.messages == 1
    assert len(bench.found) == count


@pytest.mark.parametrize(
    ("note", "status", "error", "finding"),
    [
        (JobNote(JOB, "", ends="failed", names="Gone"), "failed", "there is no Gone", None),
        (JobNote(JOB, "", ends="failed", names="Gone"), "failed", "something", "does not name Gone"),
        (JobNote(JOB, "", ends="failed", names="Gone"), "completed", "", "is completed, not failed"),
        (JobNote(JOB, "", ends="completed"), "cancelled", "", "is cancelled, not completed"),
        (JobNote(JOB, "", ends="completed"), "in_progress", "", "is in_progress"),
        (JobNote(JOB, "", is_cancelled=True), "completed", "", "cancelled: True, is completed"),
        (JobNote(JOB, ""), "completed", "", "is completed and has made []"),
        (JobNote(JOB, "", has_files=False), "completed", "", None),
    ],
)
async def test_ends_of_jobs(bench: Bench, note: JobNote, status: str, error: str, finding: str | None) -> None:
    listed = {"id": JOB, "status": status}
    detail = {**listed, "execution_error": {"exception_message": error}, "workflow": {"prompt": {"class_type": "Gone"}}}
    bodies = {
        "/api/jobs": {"jobs": [listed], "pagination": {"total": 1}},
        f"/api/jobs/{JOB}": detail,
        f"/api/jobs/{JOB}/assets": {"assets": []},
    }
    bench.server.answer = lambda request: web.json_response(bodies[request.path])
    bench.bob.jobs[JOB] = note
    found = await ApiAudit(bench.ask()).jobs()
    assert bool(found) is bool(finding)
    assert finding is None or any(finding in each for each in found)


async def test_a_locked_store_is_locked(bench: Bench) -> None:
    store = bench.server.data / "library.db"
    with closing(sqlite3.connect(store)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE t (n)")
    server: Any = bench.server
    disk = SimpleNamespace()
    faults = Faults(server, disk, bench.ask(), random.Random(1), 1.0)  # type: ignore[arg-type]
    locking = asyncio.create_task(faults.work([faults.of(["locked"], 0, 1)[0]], time.monotonic()))
    while not bench.server.outage.is_on:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.5)
    with closing(sqlite3.connect(store, timeout=0)) as db:
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            db.execute("INSERT INTO t VALUES (1)")
        await locking
        db.execute("INSERT INTO t VALUES (1)")
    assert bench.found == []


def test_a_full_disk_is_full_and_what_was_on_it_stays(tmp_path: Path) -> None:
    disk = SmallDisk(tmp_path / "data")
    if not disk.mount():
        pytest.skip(NEEDED)
    try:
        (disk.folder / "kept").write_text("kept")
        disk.fill()
        assert disk.free == 0
        with pytest.raises(OSError, match="No space"):
            (disk.folder / "more").write_bytes(bytes(1 << 16))
        disk.empty()
        (disk.folder / "more").write_bytes(bytes(1 << 16))
    finally:
        disk.release()
    assert not disk.folder.is_mount()
    assert {path.name for path in disk.folder.iterdir()} == {"kept", "more"}
    assert (disk.folder / "kept").read_text() == "kept"
