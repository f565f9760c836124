"""The runner of background work: one of a name, cancelled, failed, closed; and what it records."""

from __future__ import annotations

import asyncio
import threading
import uuid
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.background import tasks as task_module
from comfy_assets_node.comfy_assets.background.interruption import Cancelled, CancelToken
from comfy_assets_node.comfy_assets.background.tasks import Task, TaskRunner


class Journal:
    """Keeps what the runner records; raises what it is told to raise."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, str, Any]] = []
        self.broken: set[str] = set()

    async def created(self, task_id: uuid.UUID, name: str, payload: dict[str, Any], owner: str, key: str) -> None:
        self._note("created", name, payload)

    async def progressed(self, task_id: uuid.UUID, result: dict[str, Any]) -> None:
        self._note("progressed", "", dict(result))

    async def finished(self, task_id: uuid.UUID, status: str, result: dict[str, Any], error: str | None) -> None:
        assert status in ("completed", "failed", "cancelled") and (error is None) == (status == "completed")
        self._note("finished", error or "", dict(result))

    def _note(self, what: str, text: str, value: Any) -> None:
        if what in self.broken:
            raise OSError("the disk is full")
        self.entries.append((what, text, value))


@pytest.fixture
def journal() -> Journal:
    return Journal()


async def _succeed(task: Task) -> None:
    task.result = {"n": 1}


async def _fail(task: Task) -> None:
    raise ValueError("no")


async def _stop(task: Task) -> None:
    raise Cancelled


async def _until_cancelled(task: Task) -> None:
    await asyncio.to_thread(task.token.sleep, 60)


@pytest.mark.parametrize(
    ("work", "status", "error"),
    [
        (_succeed, "completed", None),
        (_fail, "failed", "ValueError: no"),
        (_stop, "cancelled", task_module.CANCELLED),
    ],
)
async def test_outcomes(journal: Journal, work: Any, status: str, error: str | None) -> None:
    runner = TaskRunner(journal)
    task, started = runner.start("scan", work, {"roots": ["models"]})
    assert started and task.is_running
    await task.done.wait()
    assert (task.status, task.error) == (status, error)
    assert task.completed_at is not None and task.completed_at >= task.started_at
    assert journal.entries == [
        ("created", "scan", {"roots": ["models"]}),
        ("finished", error or "", task.result),
    ]
    assert runner.latest("scan") is task
    assert not runner.cancel("scan")


@pytest.mark.parametrize(("work", "failure"), [(_succeed, None), (_fail, ValueError), (_stop, Cancelled)])
async def test_work_that_somebody_waits_for(
    journal: Journal, work: Any, failure: type[Exception] | None, caplog: pytest.LogCaptureFixture
) -> None:
    """What it raises reaches who waits, and need not be logged as well; another of the name does not keep it."""
    runner = TaskRunner(journal)
    other, _ = runner.start("import", _until_cancelled)
    if failure is None:
        task = await runner.run("import", work, {"file": "a.zip"}, "ann")
        assert (task.status, task.owner, task.result) == ("completed", "ann", {"n": 1})
    else:
        with pytest.raises(failure):
            await runner.run("import", work)
    assert runner.latest("import") is other and other.is_running
    assert caplog.records == []
    await runner.close()


async def test_who_waits_is_cancelled(journal: Journal) -> None:
    runner = TaskRunner(journal)
    waiting = asyncio.create_task(runner.run("import", _until_cancelled))
    while not journal.entries:
        await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert journal.entries[-1] == ("finished", task_module.CANCELLED, {})


async def test_one_of_a_name_at_a_time(journal: Journal) -> None:
    runner = TaskRunner(journal)
    first, _ = runner.start("scan", _until_cancelled)
    again, started = runner.start("scan", _succeed)
    other, other_started = runner.start("hash", _succeed)
    assert (again, started, other_started) == (first, False, True)
    await other.done.wait()
    assert runner.cancel("scan")
    assert not runner.cancel("unheard of")
    await first.done.wait()
    assert first.status == "cancelled"
    third, started = runner.start("scan", _succeed)
    assert started and third is not first
    await third.done.wait()


async def test_close_waits_until_everything_has_stopped(journal: Journal) -> None:
    runner = TaskRunner(journal)
    tasks = [runner.start(name, _until_cancelled)[0] for name in "abc"]
    await asyncio.sleep(0)
    await runner.close()
    assert [t.status for t in tasks] == ["cancelled"] * 3
    assert all(t.done.is_set() for t in tasks)
    late, _ = runner.start("late", _until_cancelled)
    await late.done.wait()
    assert late.status == "cancelled"


async def test_cancel_all_from_another_thread(journal: Journal) -> None:
    runner = TaskRunner(journal)
    task, _ = runner.start("scan", _until_cancelled)
    thread = threading.Thread(target=runner.cancel_all)
    thread.start()
    await task.done.wait()
    thread.join()
    assert task.status == "cancelled"


@pytest.mark.parametrize("steps", [0, 1, 3])
async def test_cancelled_by_the_loop_at_any_step(journal: Journal, steps: int) -> None:
    """Also before its first step: whoever waits for the task must not wait for ever."""
    runner = TaskRunner(journal)
    task, _ = runner.start("scan", _until_cancelled)
    for _ in range(steps):
        await asyncio.sleep(0)
    running = next(t for t in asyncio.all_tasks() if t.get_name() == "comfy-assets scan")
    running.cancel()
    await asyncio.wait_for(task.done.wait(), 5)
    assert task.status == "cancelled"
    assert task.token.is_cancelled
    await runner.close()


@pytest.mark.parametrize("broken", ["created", "progressed", "finished"])
async def test_a_journal_that_fails(
    journal: Journal, broken: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(task_module, "PROGRESS_INTERVAL_S", 0.001)
    journal.broken.add(broken)
    runner = TaskRunner(journal)

    async def work(task: Task) -> None:
        task.result = {"n": 1}
        while broken == "progressed" and "could not be recorded" not in caplog.text:
            await asyncio.sleep(0.001)

    task, _ = runner.start("scan", work)
    await asyncio.wait_for(task.done.wait(), 5)
    assert task.status == ("failed" if broken == "created" else "completed")
    assert "disk is full" in caplog.text


async def test_progress_is_recorded_when_it_changes(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_module, "PROGRESS_INTERVAL_S", 0.001)
    runner = TaskRunner(journal)

    async def work(task: Task) -> None:
        for step in range(3):
            task.result = {"n": step}
            while ("progressed", "", {"n": step}) not in journal.entries:
                await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)

    task, _ = runner.start("scan", work)
    await asyncio.wait_for(task.done.wait(), 5)
    progress = [value for what, _, value in journal.entries if what == "progressed"]
    assert progress == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_a_token_wakes_who_sleeps() -> None:
    token = CancelToken()
    token.check()
    timer = threading.Timer(0.01, token.cancel)
    timer.start()
    with pytest.raises(Cancelled):
        token.sleep(60)
    timer.join()
    assert token.is_cancelled
    with pytest.raises(Cancelled):
        token.check()
