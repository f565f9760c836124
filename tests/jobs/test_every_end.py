"""Every job ends, whatever its nodes have shown and whatever the store does not take; and its record can be read."""

from __future__ import annotations

import asyncio
import json
import zlib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from comfy_assets_node.comfy_assets.db import jobs as job_rows
from comfy_assets_node.comfy_assets.db.connection import Database
from comfy_assets_node.comfy_assets.jobs import events, recovery, store
from comfy_assets_node.comfy_assets.models import JOB_STATUSES

A, B, C, D = (f"00000000-0000-4000-8000-{number:012d}" for number in range(4))
SUCCESS = {"status_str": "success", "completed": True, "messages": []}
INTERRUPTED = {"status_str": "error", "completed": False, "messages": [["execution_interrupted", {}]]}
FILE = {"filename": "made.png", "subfolder": "", "type": "output"}


class Rude:
    def __str__(self) -> str:
        raise ArithmeticError("no")

    __repr__ = __str__


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def cyclic() -> Any:
    value: dict[str, Any] = {}
    value["again"] = [value]
    return value


ODD = {"cyclic": cyclic(), "deep": deep(3000), "rude": Rude(), "rude key": {Rude(): 1}}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("has_secret", [False, True])
async def test_odd_outputs_do_not_keep_a_job_from_its_end(open_seat: Any, odd: str, has_secret: bool) -> None:
    seat = await open_seat()
    seat.recorder._redaction.add(A, ["a-secret-text"] if has_secret else [])
    seat.submit(A, 0)
    seat.submit(B, 1)
    seat.queue.start()
    seat.queue.show("2", {"text": [ODD[odd]]})
    seat.end(outputs={"2": {"text": ["a-secret-text", ODD[odd]], "images": [FILE]}})
    assert await seat.states() == {A: "completed", B: "pending"}
    record = await seat.services.jobs.record(A, "default")
    outputs = json.loads(record.result)["outputs"]
    assert outputs["2"]["images"] == [FILE]
    assert (outputs["2"]["text"][0] == "a-secret-text") != has_secret
    assert "left out" in record.problem
    seat.queue.start()
    seat.end()
    assert (await seat.states())[B] == "completed"


@pytest.mark.parametrize("odd", ODD)
async def test_odd_errors_and_statuses(open_seat: Any, odd: str) -> None:
    seat = await open_seat()
    data = {"exception_message": ODD[odd], "traceback": [ODD[odd]], "current_inputs": {"x": ODD[odd]}, "node_id": "2"}
    seat.submit(A, 0)
    seat.queue.start()
    seat.end({"status_str": "error", "completed": False, "messages": [["execution_error", data]]}, {})
    assert await seat.states() == {A: "failed"}
    assert json.loads((await seat.job(A)).error)["node_id"] == "2"


@pytest.mark.parametrize("odd", ODD)
async def test_odd_submissions(open_seat: Any, odd: str) -> None:
    seat = await open_seat()
    seat.submit(A, 0, note=ODD[odd], extra_pnginfo={"workflow": {"id": "\ud800", "x": ODD[odd]}})
    assert await seat.states() == {A: "pending"}
    record = await seat.services.jobs.record(A, "default")
    assert set(json.loads(record.extra_data)) >= {"note", "create_time"}


async def test_outputs_that_are_too_large_are_left_out_and_told_of(
    open_seat: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from comfy_assets_node.comfy_assets.jobs import events

    monkeypatch.setattr(events, "_MAX_RESULT", 1000)
    seat = await open_seat()
    seat.submit(A, 0)
    seat.queue.start()
    seat.end(outputs={"2": {"text": ["x" * 2000]}})
    assert await seat.states() == {A: "completed"}
    record = await seat.services.jobs.record(A, "default")
    assert json.loads(record.result)["outputs"] == {} and "could not be recorded" in record.problem


def bad_shown(run: int) -> events.JobEvent:
    """What SQLite refuses: it reads no JSON that is nested so deep."""
    return events.OutputShown(A, 1, '{"2":' + "[" * 5000 + "]" * 5000 + "}", run)


def bad_submission(run: int) -> events.JobEvent:
    return events.JobSubmitted(D, 1, "", 0.0, "[not a graph", None, "{}", "[]", run=5)


def bad_end(run: int) -> events.JobEvent:
    return events.JobEnded(A, 1, 2, "not JSON", run=run)


@pytest.mark.parametrize("bad", [bad_shown, bad_submission, bad_end])
@pytest.mark.parametrize("first", [True, False])
async def test_an_event_that_the_store_refuses_holds_up_no_other(open_seat: Any, bad: Any, first: bool) -> None:
    seat = await open_seat()
    seat.submit(A, 0)
    seat.queue.start()
    await seat.states()
    run = seat.recorder.live.get(A).run
    if first:
        seat.recorder._report(bad(run))
    seat.submit(B, 1)
    if not first:
        seat.recorder._report(bad(run))
    states = await seat.states()
    assert states[B] == "pending"
    if bad is bad_end:
        assert states[A] == "completed"
        assert "could not be recorded" in (await seat.services.jobs.record(A, "default")).problem
    else:
        assert states[A] == "in_progress"
        seat.end()
        assert (await seat.states())[A] == "completed"
    if bad is bad_submission:
        assert "could not be recorded" in (await seat.services.jobs.record(D, "default")).problem
    assert list((seat.data / "queue").glob("*.log")) == []


@pytest.mark.parametrize("bad", [bad_shown, bad_submission, bad_end])
async def test_an_event_that_the_store_refuses_does_not_hold_up_the_next_start(open_seat: Any, bad: Any) -> None:
    seat = await open_seat()
    seat.submit(A, 0)
    seat.queue.start()
    seat.recorder._report(bad(seat.recorder.live.get(A).run))
    seat.submit(B, 1)
    await seat.die()
    again = await open_seat()
    states = await again.states()
    assert (states[A], states[B]) == ("completed" if bad is bad_end else "failed", "pending")
    assert again.waiting() == [B, D] or again.waiting() == [D, B] or again.waiting() == [B]


@pytest.mark.parametrize("levels", [300, 980, 3000])
async def test_records_of_earlier_versions_can_be_read_whatever_their_depth(library: Any, levels: int) -> None:
    from comfy_assets_node.comfy_assets.host.execution import SubmittedPrompt

    queue = library.host.execution
    queue.submit(SubmittedPrompt(0, A, {"2": {"class_type": "X", "inputs": {}}}, {}, ["2"]))
    queue.start()
    queue.finish({}, {"status_str": "error", "completed": False, "messages": [["execution_error", {}]]})
    await library.get(f"/api/jobs/{A}")
    nest = b"[" * levels + b"]" * levels
    result = b'{"outputs":{"2":{"text":[%s,"kept"]}},"meta":{},"status":null}' % nest
    error = b'{"exception_message":"no","current_inputs":{"a":%s}}' % nest
    async with library.services.db.transaction() as tx:
        await tx.execute("UPDATE job_records SET result = ?, error = ?", (zlib.compress(result), error.decode()))
        await tx.execute("UPDATE documents SET body = ?", (zlib.compress(b'{"2":{"inputs":{"a":%s}}}' % nest),))
        await tx.execute("UPDATE job_records SET extra_data = ?", ((b'{"a":%s}' % nest).decode(),))
    for path in ("/api/jobs", f"/api/jobs/{A}", f"/api/job/{A}/status", "/api/history_v2", f"/api/history_v2/{A}"):
        async with library.client.get(path) as response:
            assert response.status == 200, (path, await response.text())
            assert await response.read()
    async with library.client.get(f"/api/jobs/{A}") as response:
        assert b'"kept"' in await response.read()


async def until(condition: Any) -> None:
    async with asyncio.timeout(10) if hasattr(asyncio, "timeout") else _no_limit():
        while not await condition():
            await asyncio.sleep(0.01)


class _no_limit:
    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *_: object) -> None: ...


@pytest.fixture
def quick_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "CHECK_S", 0.05)


@pytest.mark.usefixtures("quick_checks")
@pytest.mark.parametrize(("is_interrupted", "state"), [(False, "failed"), (True, "cancelled")])
async def test_a_running_job_that_no_queue_holds_ends(open_seat: Any, is_interrupted: bool, state: str) -> None:
    seat = await open_seat()
    seat.submit(A, 0)
    seat.queue.start()
    if is_interrupted:
        seat.queue.cancel(A)
    await seat.states()
    seat.queue.running = None  # as a pack does that replaces what the server calls at the end

    async def is_over() -> bool:
        return (await seat.states())[A] not in ("pending", "in_progress")

    await until(is_over)
    assert await seat.states() == {A: state}
    if state == "failed":
        error = json.loads((await seat.job(A)).error)
        assert error["exception_type"] == "EndNotReported" and error["exception_message"]


@pytest.mark.usefixtures("quick_checks")
async def test_an_end_that_is_told_late_counts(open_seat: Any) -> None:
    seat = await open_seat()
    seat.recorder._redaction.add(A, ["a-secret-text"])
    seat.submit(A, 0)
    running = seat.queue.start()
    await seat.states()
    seat.queue.running = None

    async def has_failed() -> bool:
        return (await seat.states())[A] == "failed"

    await until(has_failed)
    seat.queue.running = running
    seat.end(outputs={"2": {"text": ["late a-secret-text"]}})
    assert await seat.states() == {A: "completed"}
    record = await seat.services.jobs.record(A, "default")
    assert record.job.error is None
    assert json.loads(record.result)["outputs"] == {"2": {"text": ["late [REDACTED]"]}}
    counts = await seat.services.db.fetch_all("SELECT status, n FROM job_counts WHERE n <> 0")
    assert counts == [(JOB_STATUSES.index("completed"), 1)]


async def test_a_job_that_is_held_is_never_presumed_to_be_over(open_seat: Any) -> None:
    seat = await open_seat()
    seat.submit(A, 0)
    seat.submit(B, 1)
    seat.queue.start()
    monitor = recovery.LostJobMonitor(seat.services.db, seat.queue, seat.recorder, seat.services._take_over)
    for _ in range(4):
        await monitor.check()
    assert await seat.states() == {A: "in_progress", B: "pending"}


async def test_a_job_is_missed_twice_before_it_ends(open_seat: Any) -> None:
    seat = await open_seat()
    seat.submit(A, 0)
    running = seat.queue.start()
    monitor = recovery.LostJobMonitor(seat.services.db, seat.queue, seat.recorder, seat.services._take_over)
    for _ in range(3):  # missed every other time
        seat.queue.running = None
        await monitor.check()
        seat.queue.running = running
        await monitor.check()
    assert await seat.states() == {A: "in_progress"}
    seat.queue.running = None
    await monitor.check()
    await monitor.check()
    assert await seat.states() == {A: "failed"}


@pytest.mark.usefixtures("quick_checks")
async def test_jobs_of_a_server_that_dies_are_taken_over_by_one_at_work(open_seat: Any) -> None:
    first, second = await open_seat(), await open_seat()
    second.submit(A, 0)
    second.submit(B, 1)
    second.submit(C, 2)
    second.queue.start()
    await second.states()
    second.submit(D, 3)  # in its journal alone
    await asyncio.sleep(0.2)
    assert (await first.states())[A] == "in_progress" and first.waiting() == []
    await second.die()

    async def are_ours() -> bool:
        return len(first.waiting()) == 3

    await until(are_ours)
    assert first.waiting() == [B, C, D]
    assert await first.states() == {A: "failed", B: "pending", C: "pending", D: "pending"}
    assert await first.services.jobs.cancel(B, "default") is True
    assert await first.services.jobs.delete([A, B], "default") == [A, B]
    first.queue.start()
    first.end()
    assert await first.states() == {C: "completed", D: "pending"}


@pytest.mark.parametrize("back_ms", [1000, 7_200_000])
async def test_a_clock_that_is_set_back(open_seat: Any, monkeypatch: pytest.MonkeyPatch, back_ms: int) -> None:
    from comfy_assets_node.comfy_assets.jobs import events, recorder

    real = recorder.now_ms
    seat = await open_seat()
    for name in (A, B, C):
        seat.submit(name, 0, create_time=real())
    seat.queue.start()
    await seat.states()
    for module in (recorder, events):
        monkeypatch.setattr(module, "now_ms", lambda: real() - back_ms)
    seat.end()
    seat.queue.start()
    seat.end()
    seat.queue.cancel(C)
    assert await seat.states() == {A: "completed", B: "completed", C: "cancelled"}
    for name in (A, B, C):
        job = await seat.job(name)
        assert job.created_at <= job.started_at <= job.finished_at <= job.updated_at
        assert job.duration == job.finished_at - job.started_at


async def test_two_runs_of_one_id_share_nothing(open_seat: Any) -> None:
    seat = await open_seat()
    seat.submit(A, 0)
    seat.queue.start()
    first = seat.recorder.live.get(A).run
    seat.end()
    seat.submit(A, 0)
    assert seat.recorder.live.get(A).run != first
    for late in (
        events.JobStarted(A, 1, first),
        events.OutputShown(A, 2, '{"9":{"text":["first"]}}', first),
        events.JobInterrupted(A, 3, first),
        events.JobDropped(A, 4, first),
        events.JobEnded(A, 5, 3, events.EMPTY_RESULT, run=first),
    ):
        seat.recorder._report(late)
        assert await seat.states() == {A: "pending"}
    seat.queue.start()
    seat.end(outputs={})
    record = await seat.services.jobs.record(A, "default")
    assert (record.job.outputs_count, json.loads(record.result)["outputs"]) == (0, {})


async def test_a_prompt_that_another_pack_puts_under_an_id_in_use_gets_its_own(open_seat: Any) -> None:
    seat = await open_seat()
    seat.submit(A, 0)
    seat.queue.start()
    seat.submit(A, 1)
    (waiting,) = seat.waiting()
    assert waiting != A
    assert await seat.states() == {A: "in_progress", waiting: "pending"}
    seat.end(outputs={"2": {"text": ["one"]}})
    seat.queue.start()
    seat.end(outputs={"2": {"text": ["two"]}})
    for job_id, said in ((A, "one"), (waiting, "two")):
        record = await seat.services.jobs.record(job_id, "default")
        assert json.loads(record.result)["outputs"] == {"2": {"text": [said]}}


async def test_events_that_are_written_twice_change_nothing(open_seat: Any) -> None:
    seat = await open_seat()
    seat.submit(A, 0)
    told = list(seat.recorder._waiting)
    seat.queue.start()
    seat.end()
    await seat.states()
    before = await seat.services.db.fetch_all("SELECT * FROM jobs")
    await store.record(seat.services.db, told, seat.journal.seat)
    assert await seat.services.db.fetch_all("SELECT * FROM jobs") == before


async def test_journals_of_earlier_versions_are_understood(open_seat: Any, tmp_path: Path) -> None:
    folder = tmp_path / "user" / "__comfy_assets" / "queue"
    folder.mkdir(parents=True)
    lines: list[list[Any]] = [
        ["Submitted", A, 5, "default", 0.0, "{}", None, "{}", "[]", None, None],
        ["Started", A, 6],
        ["Shown", A, 7, '{"2":{"text":["old"]}}'],
        ["Ended", A, 8, 2, '{"outputs":{"2":{"text":["old"]}},"meta":{},"status":null}', None],
        ["Submitted", B, 9, "default", 1.0, "{}", None, "{}", "[]", None, None],
        ["Dropped", B, 10],
    ]
    (folder / "1-1.log").write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    seat = await open_seat()
    assert await seat.states() == {A: "completed", B: "cancelled"}
    assert (await seat.job(A)).outputs_count == 0


@pytest.mark.parametrize(
    ("old", "new", "is_replaced", "owner"),
    [
        ("ann", "ann", True, "ann"),
        ("ann", "ben", False, "ann"),
        ("ann", "", True, "ann"),  # what a node pack submits goes on as the user's
        ("", "ann", True, "ann"),
    ],
)
@pytest.mark.parametrize("is_removed", [False, True])
async def test_no_user_takes_over_another_users_record(
    tmp_path: Path, old: str, new: str, is_replaced: bool, owner: str, is_removed: bool
) -> None:
    """However the event has come into being: requests for it are refused before."""
    db = await Database.open(tmp_path / "library.db")
    try:
        first = events.JobSubmitted(A, 1, old, 0.0, '{"1": {"inputs": {"image": "a.png"}}}', None, "{}", "[]", run=1)
        await store.record(db, [first, events.JobEnded(A, 2, 2, events.EMPTY_RESULT, run=1)], 1)
        if is_removed:
            (row,) = await db.fetch_all("SELECT id FROM jobs")
            async with db.transaction() as tx:
                await store.remove(tx, [row[0]])
        second = events.JobSubmitted(A, 3, new, 0.0, "{}", None, "{}", "[]", run=2)
        await store.record(
            db, [second, events.JobStarted(A, 4, 2), events.JobEnded(A, 5, 3, events.EMPTY_RESULT, run=2)], 1
        )
        rows = await db.fetch_all("SELECT owner, run, status FROM jobs")
        if is_replaced:
            assert rows == [(owner, 2, 3)]
        else:
            assert rows == ([] if is_removed else [(owner, 1, 2)])
        known = (await job_rows.stored_ids(db, [A]))[A]
        assert known.owner == owner
    finally:
        await db.close()
