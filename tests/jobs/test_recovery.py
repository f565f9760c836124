"""What a server does about the jobs of servers that have ended, and that it leaves those at work alone."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import shutil
import sqlite3
import time
from io import FileIO
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.errors import JobElsewhereError
from comfy_assets_node.comfy_assets.host.testing import MemoryQueue
from comfy_assets_node.comfy_assets.jobs import journal, recorder, recovery, store
from comfy_assets_node.comfy_assets.jobs.events import JobDropped, JobStarted, JobSubmitted, encode

FAILURE = {"status_str": "error", "completed": False, "messages": [["execution_error", {"exception_message": "no"}]]}


def job_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


A, B, C, D, E, F = map(job_id, range(6))


def submission(at: int, name: str = A) -> JobSubmitted:
    return JobSubmitted(name, at, "", 0.0, '{"2": {"class_type": "X", "inputs": {}}}', None, "{}", '["2"]')


def journals(data: Path) -> list[str]:
    return sorted(path.name for path in (data / "queue").glob("*.log"))


async def test_jobs_of_a_killed_server(open_seat: Any) -> None:
    first = await open_seat()
    for number, name in [(5, A), (3, B), (4, C), (9, D), (-1, E)]:
        first.submit(name, number, client_id="page", extra_pnginfo={"workflow": {"id": "wf"}})
    first.queue.start()
    first.end()  # of E
    first.queue.start()  # B
    first.queue.show("2", {"images": [{"filename": "half.png", "subfolder": "", "type": "temp"}]})
    first.queue.show("3", {"text": ["shown too"]})
    first.queue.cancel(D)
    before = (await first.job(B)).created_at
    await first.die()
    second = await open_seat()
    assert await second.states() == {A: "pending", B: "failed", C: "pending", D: "cancelled", E: "completed"}
    assert second.waiting() == [C, A]
    restored = second.queue.waiting[0]
    assert (restored.prompt_id, restored.number, restored.outputs) == (C, 4, ["2"])
    assert restored.extra_data["client_id"] == "page"
    assert restored.extra_data["extra_pnginfo"] == {"workflow": {"id": "wf"}}
    record = await second.services.jobs.record(B, "default")
    error = json.loads(record.job.error)
    assert (error["exception_type"], bool(error["exception_message"])) == ("ServerStopped", True)
    assert (error["traceback"], error["current_inputs"], error["node_id"]) == ([], {}, "")
    assert json.loads(record.result)["outputs"] == {
        "2": {"images": [{"filename": "half.png", "subfolder": "", "type": "temp"}]},
        "3": {"text": ["shown too"]},
    }
    assert record.job.outputs_count == 1
    assert record.job.created_at == before <= record.job.started_at <= record.job.finished_at
    assert record.job.duration == record.job.finished_at - record.job.started_at
    second.queue.start()
    second.end()
    assert (await second.states())[C] == "completed"


async def test_what_the_memory_has_no_room_for_is_found_by_the_next_server(
    open_seat: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(recorder, "_MAX_WAITING", 2)
    first = await open_seat()
    for number, name in enumerate([A, B, C, D]):
        first.submit(name, number)
    assert await first.states() == {A: "pending", B: "pending"}
    first.submit(E, 5)
    assert await first.states() == {A: "pending", B: "pending", E: "pending"}
    assert [each.message for each in caplog.records if "takes no jobs" in each.message] != []
    await first.die()
    assert await (await open_seat()).states() == dict.fromkeys([A, B, C, D, E], "pending")


async def test_a_job_that_was_told_to_be_cancelled_is(open_seat: Any) -> None:
    first = await open_seat()
    first.submit(A, 0)
    first.queue.start()
    assert await first.services.jobs.cancel(A, "default")
    await first.die()
    second = await open_seat()
    assert await second.states() == {A: "cancelled"}
    record = await second.services.jobs.record(A, "default")
    assert record.job.error is None and second.waiting() == []


async def test_a_job_that_kills_the_server_does_so_once(open_seat: Any) -> None:
    seat = await open_seat()
    seat.submit(A, 0)
    seat.submit(B, 1)
    runs: list[str] = []
    for _ in range(3):
        if seat.waiting():
            runs.append(seat.queue.start().prompt_id)
        await seat.die()
        seat = await open_seat()
    assert runs == [A, B]
    assert await seat.states() == {A: "failed", B: "failed"}


async def test_restoring_may_be_turned_off(open_seat: Any) -> None:
    first = await open_seat()
    for number, name in enumerate([A, B, C]):
        first.submit(name, number)
    first.queue.start()
    await first.states()
    await first.die()
    second = await open_seat(restore=False)
    assert second.waiting() == []
    assert await second.states() == {A: "failed", B: "cancelled", C: "cancelled"}
    third = await open_seat()
    assert third.waiting() == []


@pytest.mark.parametrize("end", ["stop", "die"])
async def test_jobs_that_waited_through_several_runs_keep_their_order(open_seat: Any, end: str) -> None:
    expected: list[str] = []
    seat = await open_seat()
    for run in range(4):
        for number in range(3):
            expected.append(seat.submit(job_id(run * 10 + number), number=run * 3 + number))
        await getattr(seat, end)()
        seat = await open_seat()
        assert seat.waiting() == expected


async def test_a_server_at_work_is_left_alone(open_seat: Any) -> None:
    first = await open_seat()
    first.submit(A, 0)
    first.submit(B, 1)
    first.queue.start()
    await first.states()
    first.submit(C, 2)  # which is not in the store yet
    second = await open_seat()
    assert second.waiting() == []
    assert await second.states() == {A: "in_progress", B: "pending"}
    assert first.recorder.seat != second.recorder.seat
    second.submit(D, 0)
    assert await first.states() == {A: "in_progress", B: "pending", C: "pending"}
    assert await second.states() == {A: "in_progress", B: "pending", C: "pending", D: "pending"}
    first.end()
    first.queue.start()
    first.end(FAILURE)
    assert await second.states() == {A: "in_progress", B: "pending", C: "pending", D: "pending"}
    await first.states()
    assert await second.states() == {A: "completed", B: "failed", C: "pending", D: "pending"}
    assert (first.waiting(), second.waiting()) == ([C], [D])


async def test_requests_to_one_server_do_not_cancel_what_waits_at_another(open_seat: Any) -> None:
    first, second = await open_seat(), await open_seat()
    first.submit(A, 0)
    await first.states()
    with pytest.raises(JobElsewhereError):
        await second.services.jobs.cancel(A, "default")
    assert await second.services.control.cancel_pending("default") == []
    assert await second.services.jobs.delete([A], "default") == []
    assert await first.states() == {A: "pending"}
    assert first.waiting() == [A]


@pytest.mark.parametrize("in_store", [True, False])
async def test_what_a_dead_server_left_is_adopted_by_the_next_that_starts(open_seat: Any, in_store: bool) -> None:
    first, second = await open_seat(), await open_seat()
    first.submit(A, 0)
    first.submit(B, 1)
    first.queue.start()
    second.submit(C, 0)
    if in_store:
        await first.states()
    await first.die()
    assert (await second.states()).get(A) == ("in_progress" if in_store else None)
    third = await open_seat()
    assert third.waiting() == [B]
    assert second.waiting() == [C]
    assert await third.states() == {A: "failed", B: "pending", C: "pending"} or not in_store
    assert await second.states() == {A: "failed", B: "pending", C: "pending"}
    assert third.recorder.seat == 1
    await third.die()
    await second.die()
    fourth = await open_seat()
    assert sorted(fourth.waiting()) == [B, C]


@pytest.mark.parametrize("is_lock_removed", [False, True], ids=["locks stay", "locks are removed, as on Windows"])
async def test_two_dead_servers_are_adopted_by_one(open_seat: Any, is_lock_removed: bool) -> None:
    seats = [await open_seat() for _ in range(3)]
    for number, (seat, name) in enumerate(zip(seats, [A, B, C], strict=True)):
        seat.submit(name, -number)
    for number, seat in enumerate(seats[:2], 1):
        await seat.die()
        if is_lock_removed:
            (seat.data / "queue" / f"{number}.lock").unlink(missing_ok=True)
    heir = await open_seat()
    assert heir.waiting() == [B, A]
    assert seats[2].waiting() == [C]
    for name in [B, A]:
        assert heir.queue.start().prompt_id == name
        heir.end()
    await seats[2].states()
    assert await heir.states() == {A: "completed", B: "completed", C: "pending"}


async def test_a_last_line_that_was_not_written_to_its_end(open_seat: Any, seats: Any) -> None:
    first = await open_seat()
    first.submit(A, 0)
    first.submit(B, 1)
    await first.states()
    first.queue.start()
    first.submit(C, 2)
    await first.die()
    (log,) = [first.data / "queue" / name for name in journals(first.data)]
    lines = log.read_bytes().splitlines(keepends=True)
    assert len(lines) == 2
    for length in range(0, len(lines[1]) - 1, 40):
        base = first.data.parents[2] / f"cut at {length}"
        data = base / "user" / "__comfy_assets"
        shutil.copytree(first.data, data)
        (data / "queue" / log.name).write_bytes(lines[0] + lines[1][:length])
        async with seats(base) as start:
            second = await start()
            assert await second.states() == {A: "failed", B: "pending"}
            assert second.waiting() == [B]
            assert journals(data) == []
            second.submit(D, 5)
            await second.die()
            assert await (await start()).states() == {A: "failed", B: "pending", D: "pending"}


@pytest.mark.parametrize(
    "junk", [b"", b"\n", b"\0" * 4096, b"{}\n[]\n5\n", b'["Submitted"]\n', b'["Nothing","a",1]\n', bytes(range(256))]
)
async def test_junk_in_the_journal(open_seat: Any, junk: bytes) -> None:
    first = await open_seat()
    first.submit(A, 0)
    await first.die()
    (first.data / "queue" / "1-99.log").write_bytes(junk)
    (first.data / "queue" / "1-100.log").write_bytes(encode(submission(5, B)) + b"\n" + junk)
    (first.data / "queue" / "notes.txt").write_bytes(junk)
    second = await open_seat()
    assert await second.states() == {A: "pending", B: "pending"}
    assert journals(first.data) == []
    assert (first.data / "queue" / "notes.txt").exists()


async def test_events_that_are_in_the_store_already_change_nothing(open_seat: Any) -> None:
    """On Windows a file may be held open by a virus scanner just when it is to be removed."""
    seat = await open_seat()
    seat.submit(A, 0, create_time=10)
    seat.submit(B, 1, create_time=10)
    seat.submit(C, 2, create_time=10)
    left = seat.data / "queue" / journals(seat.data)[0]
    events = left.read_bytes()
    await seat.states()
    assert journals(seat.data) == []
    seat.queue.start()
    seat.end()
    seat.queue.start()
    seat.queue.cancel(C)
    await seat.states()
    await seat.die()
    left.write_bytes(events)
    again = await open_seat()
    assert await again.states() == {A: "completed", B: "failed", C: "cancelled"}
    assert again.waiting() == []
    assert (await again.job(A)).outputs_count == 1


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ([submission(9), JobStarted(A, 9), JobDropped(A, 9)], "completed"),
        ([submission(10), JobStarted(A, 10)], "completed"),
        ([submission(11)], "pending"),
        ([submission(11), JobStarted(A, 11)], "failed"),
        ([submission(9), JobStarted(A, 9), submission(10), submission(11), JobDropped(A, 11)], "cancelled"),
    ],
)
async def test_events_of_an_id_that_was_used_again(open_seat: Any, events: list[Any], state: str) -> None:
    seat = await open_seat()
    seat.submit(A, 0, create_time=10)
    seat.queue.start()
    seat.end()
    await seat.states()
    await seat.die()
    (seat.data / "queue" / "1-99.log").write_bytes(b"".join(encode(event) + b"\n" for event in events))
    assert await (await open_seat()).states() == {A: state}


async def test_the_files_of_a_journal_are_gone_once_they_are_in_the_store(open_seat: Any) -> None:
    seat = await open_seat()
    for round_number in range(3):
        seat.submit(job_id(round_number), round_number)
        assert len(journals(seat.data)) == 1
        await seat.states()
        assert journals(seat.data) == []
    seat.submit(F, 9)
    await seat.stop()
    assert journals(seat.data) == []
    again = await open_seat()
    assert len(again.waiting()) == 4


async def test_a_journal_that_cannot_be_written_is_told_of_once(
    open_seat: Any, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    data = tmp_path / "user" / "__comfy_assets"
    data.mkdir(parents=True)
    (data / "queue").write_text("a file where the folder should be")
    seat = await open_seat()
    seat.submit(A, 0)
    seat.submit(B, 1)
    seat.queue.start()
    assert await seat.states() == {A: "in_progress", B: "pending"}
    assert [record.message for record in caplog.records if "journal" in record.message] != []
    await seat.stop()
    again = await open_seat()
    assert await again.states() == {A: "failed", B: "pending"}


async def test_jobs_that_vanish_from_the_queue_are_cancelled(open_seat: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "CHECK_S", 0.02)
    seat = await open_seat()
    seat.submit(A, 0)
    seat.submit(B, 1)
    seat.submit(C, 2)
    seat.queue.start()
    await seat.states()
    del seat.queue.waiting[0]  # as another pack may: nobody is told
    while (await seat.states())[B] == "pending":
        await asyncio.sleep(0.01)
    assert await seat.states() == {A: "in_progress", B: "cancelled", C: "pending"}


async def test_a_store_that_is_busy_for_a_while_loses_nothing(
    open_seat: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    monkeypatch.setattr(recorder, "FLUSH_S", 0.01)
    seat = await open_seat()
    write, failures = store.write, []

    async def fail(tx: Any, steps: Any) -> None:
        await write(tx, steps)
        failures.append(1)
        if len(failures) < 3:
            raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(store, "write", fail)
    seat.submit(A, 0)
    while len(failures) < 2:
        await asyncio.sleep(0.01)
    seat.submit(B, 1)
    while len(failures) < 3:
        await asyncio.sleep(0.01)
    assert await seat.states() == {A: "pending", B: "pending"}
    assert journals(seat.data) == []
    assert "kept and tried again" in caplog.text


class Full(FileIO):
    """Takes the beginning of a line, as a file on a full disk may."""

    def write(self, data: Any) -> int:
        return super().write(data[:20])


async def test_a_full_disk_has_room_set_aside_for_the_journal(
    open_seat: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seat = await open_seat()
    seat.submit(A, 0)
    await seat.states()

    class AllFull(FileIO):
        """No file grows: what is there can be written over."""

        def write(self, data: Any) -> int:
            if self.mode != "rb+":
                raise OSError(errno.ENOSPC, "no space is left")
            return super().write(data)

    monkeypatch.setattr(journal, "FileIO", AllFull)
    seat.queue.start()
    for number, name in enumerate([B, C], 1):
        seat.submit(name, number)
    seat.end()
    monkeypatch.undo()
    assert "journal cannot be written" not in caplog.text
    await seat.die()
    again = await open_seat()
    assert await again.states() == {A: "completed", B: "pending", C: "pending"}
    assert journals(again.data) == []
    assert (again.data / "queue" / "1.reserve").stat().st_size > 0


async def test_a_line_that_a_full_disk_cuts_short_takes_no_other_with_it(
    open_seat: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(journal, "_RESERVED", 10)
    seat = await open_seat()
    seat.submit(A, 0)

    (log,) = journals(seat.data)
    seat.journal._file.close()
    seat.journal._file = Full(seat.data / "queue" / log, "ab")
    seat.submit(B, 1)
    seat.submit(C, 2)
    warnings = [each.getMessage() for each in caplog.records if "journal cannot be written" in each.getMessage()]
    assert len(warnings) == 1
    await seat.die()
    assert await (await open_seat()).states() == {A: "pending", C: "pending"}


async def test_a_waiting_job_that_cannot_be_read_or_executed_fails_and_the_rest_goes_on(open_seat: Any) -> None:
    first = await open_seat()
    for number, job_id in enumerate((A, B, C, D)):
        first.submit(job_id, number)
    await first.states()
    async with first.services.db.transaction() as tx:
        await tx.execute(
            "UPDATE job_records SET targets = '{' WHERE job_id = (SELECT id FROM jobs WHERE uuid = ?)", [B]
        )
    await first.stop()
    second = await open_seat(is_known=lambda class_type: False)
    assert await second.states() == dict.fromkeys((A, B, C, D), "failed")
    assert second.waiting() == []
    error = json.loads((await second.job(A)).error)
    assert (error["node_id"], error["node_type"], error["exception_type"]) == ("2", "SaveImage", "MissingNodeType")
    unreadable = json.loads((await second.job(B)).error)
    assert unreadable["exception_type"] == "InvalidPrompt" and "could not be read" in unreadable["exception_message"]


async def test_jobs_that_return_slowly_are_not_taken_for_lost(open_seat: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs that are in no queue end after a while; those that are on their way back into it do not."""
    monkeypatch.setattr(recovery, "CHECK_S", 0.02)
    first = await open_seat()
    for number, job_id in enumerate((A, B)):
        first.submit(job_id, number)
    await first.states()
    await first.stop()
    restore = MemoryQueue.restore

    def slow(self: MemoryQueue, prompts: Any) -> list[str]:
        time.sleep(0.5)
        return restore(self, prompts)

    monkeypatch.setattr(MemoryQueue, "restore", slow)
    second = await open_seat()
    await asyncio.sleep(0.3)
    assert await second.states() == {A: "pending", B: "pending"}
