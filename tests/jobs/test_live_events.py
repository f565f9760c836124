"""Readers of a job's events: several of them, slow ones, and none, while other threads report."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.errors import JobNotFoundError
from comfy_assets_node.comfy_assets.host.execution import FinishedPrompt, NodePreview, SubmittedPrompt
from comfy_assets_node.comfy_assets.jobs import event_stream
from comfy_assets_node.comfy_assets.jobs.event_stream import EventStream, PreviewPicture, StatusChange
from comfy_assets_node.comfy_assets.jobs.live_jobs import LiveEvents
from comfy_assets_node.comfy_assets.jobs.progress import NodeProgress, ProgressSnapshot
from comfy_assets_node.comfy_assets.jobs.views import ShownOutput
from comfy_assets_node.comfy_assets.models import COMPLETED, FINAL, IN_PROGRESS, PENDING
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.examples import examples

JOB = "11111111-1111-4111-8111-111111111111"
GRAPH: Mapping[str, Any] = {
    "1": {"class_type": "Make", "inputs": {}},
    "2": {"class_type": "Save", "inputs": {"images": ["1", 0]}},
}


def prompt(prompt_id: str, number: float = 0) -> SubmittedPrompt:
    return SubmittedPrompt(number, prompt_id, GRAPH, {}, ["2"])


def running(value: float, most: float) -> dict[str, Any]:
    return {"1": {"state": "running", "value": value, "max": most, "display_node_id": "1"}}


def test_the_nodes_of_a_job_are_told_while_it_runs() -> None:
    live = LiveEvents()
    live.submitted(prompt(JOB))
    assert (live.begun_nodes(JOB), live.begun_nodes("unknown")) == ({}, {})
    live.started(JOB)
    live.progressed(JOB, running(3, 8))
    assert live.begun_nodes(JOB.upper()) == {"1": NodeProgress(3, 8, "running", "1")}
    live.finished(FinishedPrompt(JOB, {}, {}, None))
    assert live.begun_nodes(JOB) == {}


class TestThePlaceInTheQueue:
    def test_falls_as_others_begin_or_are_dropped(self) -> None:
        live = LiveEvents()
        for number, name in enumerate("abcd"):
            live.submitted(prompt(name, number))
        state = live.find("d")
        assert state is not None
        places = [live.position(state)]
        live.started("a")
        places.append(live.position(state))
        live.dropped(["b"])
        places.append(live.position(state))
        live.started("c")
        places.append(live.position(state))
        live.started("d")
        places.append(live.position(state))
        assert places == [4, 3, 2, 1, None]
        assert live.length() == 0

    def test_of_one_that_others_get_in_front_of(self) -> None:
        live = LiveEvents()
        live.submitted(prompt("a", 5))
        live.submitted(prompt("front", -1))
        live.submitted(prompt("same", 5))
        found = {name: live.find(name) for name in ("a", "front", "same")}
        assert [live.position(state) for state in found.values() if state] == [2, 1, 3]

    @settings(max_examples=examples(25, 100))
    @given(st.lists(st.tuples(st.sampled_from("sxfid"), st.integers(0, 9), st.floats(-5, 5)), max_size=40))
    def test_counts_those_before_it(self, steps: list[tuple[str, int, float]]) -> None:
        live = LiveEvents()
        waiting: list[tuple[float, int, str]] = []
        for order, (step, index, number) in enumerate(steps):
            name = f"job{index}"
            if step == "s" and live.find(name) is None:
                live.submitted(prompt(name, number))
                waiting.append((number, order, name))
            elif step == "x":
                live.started(name)
            elif step == "f":
                live.finished(FinishedPrompt(name, {}))
            elif step == "i":
                live.interrupting(name)
            elif step == "d":
                live.dropped([name])
            if step in "xfd":
                waiting = [each for each in waiting if each[2] != name]
            expected = {each[2]: place for place, each in enumerate(sorted(waiting), 1)}
            states = {each: live.find(each) for each in (f"job{i}" for i in range(10))}
            places = {each: live.position(state) for each, state in states.items() if state is not None}
            assert {each: place for each, place in places.items() if place is not None} == expected
        assert live.length() == len(waiting)


class TestReports:
    def test_cost_little_while_nobody_reads(self) -> None:
        """Some microseconds each: a node may report thousands of steps."""
        live = LiveEvents()
        live.submitted(prompt(JOB))
        live.started(JOB)
        nodes = running(1, 2)
        best = min(self._time_of(live, nodes) for _ in range(3))
        assert best < 20e-6

    @staticmethod
    def _time_of(live: LiveEvents, nodes: Mapping[str, Any]) -> float:
        start = time.perf_counter()
        for _ in range(1000):
            live.progressed(JOB, nodes)
        return (time.perf_counter() - start) / 1000

    async def test_do_not_wait_for_a_reader_that_does_nothing(self) -> None:
        live = LiveEvents()
        live.submitted(prompt(JOB))
        state = live.find(JOB)
        assert state is not None
        with live.watching(state):
            thread = threading.Thread(target=self._report_much, args=(live,))
            thread.start()
            await asyncio.to_thread(thread.join, 10)
            assert not thread.is_alive()
        assert (state.steps, len(state.shown), live.watched) == (5000, 100, 0)
        assert (state.phase, state.preview) == ("ended", None)
        assert live.find(JOB) is None

    @staticmethod
    def _report_much(live: LiveEvents) -> None:
        live.started(JOB)
        for step in range(5000):
            live.progressed(JOB, running(step, 5000))
        for number in range(100):
            live.shown(JOB, str(number), {})
        live.previewed(JOB, NodePreview("1", Image.new("RGB", (8, 8))))
        live.finished(FinishedPrompt(JOB, {}))

    async def test_wake_a_reader_at_starts_outputs_and_ends(self) -> None:
        live = LiveEvents()
        live.submitted(prompt(JOB))
        state = live.find(JOB)
        assert state is not None
        with live.watching(state) as watcher:
            for report in (
                lambda: live.started(JOB),
                lambda: live.shown(JOB, "2", {}),
                lambda: live.interrupting(JOB),
                lambda: live.finished(FinishedPrompt(JOB, {})),
            ):
                threading.Thread(target=report).start()
                assert await watcher.wait(5)
            assert not await watcher.wait(0)

    def test_of_unknown_prompts_change_nothing(self) -> None:
        live = LiveEvents()
        live.started("x")
        live.cached("x", ["1"])
        live.progressed("x", {})
        live.shown("x", "1", {})
        live.interrupting("x")
        live.dropped(["x"])
        live.finished(FinishedPrompt("x", {}))
        assert live.find("x") is None

    def test_the_last_progress_of_jobs_that_were_read_is_kept_for_a_while(self) -> None:
        live = LiveEvents()
        for number in range(300):
            live.submitted(prompt(f"j{number}"))
            live.started(f"j{number}")
            live.progressed(f"j{number}", {"1": {"state": "finished"}})
            state = live.find(f"j{number}")
            assert state is not None and state.progress() is not None
            live.finished(FinishedPrompt(f"j{number}", {}))
        assert live.last_progress("j0") is None
        assert live.last_progress("j299") == ProgressSnapshot(0.5, 1, 2)


async def read_all(seat: Any, pause_s: float = 0.0, events: list[Any] | None = None) -> list[Any]:
    """Read the events of the job from now on to the end, into a list that may be given, with a pause after each."""
    views = seat.services.job_views
    stream = EventStream(views, await views.job(JOB, "default"), "default")
    events = [] if events is None else events
    async for event in stream.events():
        events.append(event)
        await asyncio.sleep(pause_s)
    return events


def statuses(events: list[Any]) -> list[str]:
    return [event.status for event in events if isinstance(event, StatusChange)]


def outputs(events: list[Any]) -> list[str]:
    return [event.name for event in events if isinstance(event, ShownOutput)]


@pytest.fixture
async def seat(open_seat: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name in ("_PROGRESS_S", "_MOVE_S"):
        monkeypatch.setattr(event_stream, name, 0.02)
    return await open_seat()


def write(seat: Any, name: str) -> dict[str, Any]:
    """Write an output file; return what a node shows of it."""
    (seat.data.parent.parent / "output" / name).write_bytes(name.encode())
    return {"images": [{"filename": name, "subfolder": "", "type": "output"}]}


async def until(condition: Any) -> None:
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come about")


class TestStreams:
    async def test_of_a_job_from_its_submission_to_its_end(self, seat: Any) -> None:
        seat.submit(JOB)
        events: list[Any] = []
        reading = asyncio.create_task(read_all(seat, events=events))
        await until(lambda: seat.services.live_events.watched)
        seat.queue.start()
        await until(lambda: "running" in statuses(events))
        listeners = seat.queue.progress_listeners
        listeners.cached(JOB, [])
        listeners.progressed(JOB, {"2": {"state": "running", "value": 1, "max": 4}})
        listeners.previewed(JOB, NodePreview("2", Image.new("RGBA", (2048, 10))))
        first = write(seat, "first.png")
        seat.queue.show("2", first)
        state = seat.services.live_events.find(JOB)
        await until(lambda: state.recorded)
        seat.queue.finish({"2": first, "3": write(seat, "second.png")}, {"status_str": "success", "completed": True})
        await asyncio.wait_for(reading, 10)
        assert statuses(events) == ["queued", "running", "succeeded"]
        assert events[0] == StatusChange("queued", 1)
        assert outputs(events) == ["first.png", "second.png"]
        assert isinstance(events[-1], StatusChange)
        values = [event.value for event in events if isinstance(event, ProgressSnapshot)]
        assert values == sorted(values) and values[-1] == 1
        previews = [event for event in events if isinstance(event, PreviewPicture)]
        assert [each.node_id for each in previews] == ["2"]
        assert previews[0].data.startswith(b"\xff\xd8")
        assert seat.services.live_events.watched == 0

    async def test_an_output_is_an_asset_while_the_job_runs(self, seat: Any) -> None:
        seat.submit(JOB)
        seat.queue.start()
        seat.queue.show("2", write(seat, "early.png"))
        view = await seat.services.job_views.get(JOB, "default")
        assert (view.state, [output.name for output in view.outputs]) == ("running", ["early.png"])
        [[asset_id, job_id]] = await seat.services.db.fetch_all("SELECT uuid, job_id FROM assets")
        assert (view.outputs[0].id, job_id) == (asset_id, JOB)
        seat.queue.finish({"2": write(seat, "early.png")}, {"status_str": "success", "completed": True})
        view = await seat.services.job_views.get(JOB, "default")
        assert (view.state, [output.id for output in view.outputs]) == ("succeeded", [asset_id])

    async def test_a_slow_reader_gets_every_output_and_does_not_hold_up_others(self, seat: Any) -> None:
        seat.submit(JOB)
        seat.queue.start()
        slow = asyncio.create_task(read_all(seat, pause_s=0.15))
        quick = [asyncio.create_task(read_all(seat)) for _ in range(20)]
        await until(lambda: len(seat.services.live_events.find(JOB).watchers) == 21)
        shown = {str(number): write(seat, f"{number}.png") for number in range(4)}
        for node_id, output in shown.items():
            seat.queue.show(node_id, output)
            for step in range(50):
                seat.queue.progress_listeners.progressed(JOB, {"2": {"state": "running", "value": step, "max": 50}})
            await asyncio.sleep(0.03)
        seat.queue.finish(shown, {"status_str": "success", "completed": True})
        start = time.perf_counter()
        read = await asyncio.wait_for(asyncio.gather(*quick), 10)
        took = time.perf_counter() - start
        late = await asyncio.wait_for(slow, 20)
        for events in [*read, late]:
            assert outputs(events) == [f"{number}.png" for number in range(4)]
            assert statuses(events) == ["running", "succeeded"]
            assert isinstance(events[-1], StatusChange)
        assert len(late) <= max(map(len, read))
        assert took < 5

    @pytest.mark.parametrize(
        ("end", "last"),
        [
            (lambda seat: seat.end({"status_str": "error", "completed": False, "messages": []}), "failed"),
            (lambda seat: seat.queue.cancel(JOB) and seat.end({"status_str": "error", "messages": []}), "canceled"),
        ],
    )
    async def test_of_a_job_that_fails_or_is_cancelled(self, seat: Any, end: Any, last: str) -> None:
        seat.submit(JOB)
        seat.queue.start()
        reading = asyncio.create_task(read_all(seat))
        await until(lambda: seat.services.live_events.watched)
        await asyncio.sleep(0.05)
        end(seat)
        assert statuses(await asyncio.wait_for(reading, 10))[-1] == last

    async def test_of_a_job_that_is_dropped_while_it_waits(self, seat: Any) -> None:
        seat.submit(JOB)
        reading = asyncio.create_task(read_all(seat))
        await until(lambda: seat.services.live_events.watched)
        await asyncio.sleep(0.05)
        seat.queue.drop_many([JOB])
        assert statuses(await asyncio.wait_for(reading, 10)) == ["queued", "canceled"]

    async def test_opened_after_the_end_report_the_end(self, seat: Any) -> None:
        seat.submit(JOB)
        seat.queue.start()
        seat.queue.finish({"2": write(seat, "made.png")}, {"status_str": "success", "completed": True})
        events = await asyncio.wait_for(read_all(seat), 10)
        assert (statuses(events), outputs(events)) == (["succeeded"], ["made.png"])
        assert isinstance(events[-1], StatusChange)

    async def test_that_are_closed_leave_nothing_behind(self, seat: Any) -> None:
        seat.submit(JOB)
        views = seat.services.job_views
        events = EventStream(views, await views.job(JOB, "default"), "default").events()
        assert await anext(events) == StatusChange("queued", 1)
        await events.aclose()
        assert seat.services.live_events.watched == 0
        reading = asyncio.create_task(read_all(seat))
        await until(lambda: seat.services.live_events.watched)
        reading.cancel()
        await asyncio.wait([reading])
        assert seat.services.live_events.watched == 0

    async def test_end_when_the_server_stops(self, seat: Any) -> None:
        seat.submit(JOB)
        reading = asyncio.create_task(read_all(seat))
        await until(lambda: seat.services.live_events.watched)
        await seat.stop()
        assert statuses(await asyncio.wait_for(reading, 5)) == ["queued"]

    async def test_a_job_waits_again_after_a_restart(self, seat: Any, open_seat: Any) -> None:
        seat.submit(JOB)
        seat.submit("22222222-2222-4222-8222-222222222222", 1)
        await seat.stop()
        later = await open_seat()
        view = await later.services.job_views.get("22222222-2222-4222-8222-222222222222", "default")
        assert (view.state, view.position) == ("queued", 2)
        later.queue.start()
        later.end()
        assert (await later.services.job_views.get(JOB, "default")).state == "succeeded"


class TestViews:
    async def test_wait_for_the_end(self, seat: Any) -> None:
        seat.submit(JOB)
        seat.queue.start()
        waiting = asyncio.create_task(seat.services.job_views.get(JOB, "default", 20))
        await until(lambda: seat.services.live_events.watched)
        seat.end(outputs={})
        assert (await asyncio.wait_for(waiting, 5)).state == "succeeded"
        assert seat.services.live_events.watched == 0

    async def test_do_not_wait_longer_than_they_may(self, seat: Any) -> None:
        seat.submit(JOB)
        view = await asyncio.wait_for(seat.services.job_views.get(JOB, "default", 0.05), 5)
        assert (view.state, view.position) == ("queued", 1)

    async def test_texts_and_temporary_files_are_outputs_with_ids(self, seat: Any) -> None:
        seat.submit(JOB)
        seat.queue.start()
        shown = {"2": {"text": ["some text", "more"], "animated": [True]}}
        seat.queue.finish(shown, {"status_str": "success", "completed": True})
        first = (await seat.services.job_views.get(JOB, "default")).outputs
        assert [(each.name, each.mime_type, each.size) for each in first] == [
            ("2_0.txt", "text/plain", 9),
            ("2_1.txt", "text/plain", 4),
        ]
        again = (await seat.services.job_views.get(JOB, "default")).outputs
        assert [each.id for each in again] == [each.id for each in first]
        value = await seat.services.job_values.find(first[0].id, "default")
        assert (value.text, value.job_id) == (b"some text", JOB)
        assert await seat.services.job_values.find(JOB, "default") is None

    async def test_of_unknown_jobs(self, seat: Any) -> None:
        with pytest.raises(JobNotFoundError):
            await seat.services.job_views.get(JOB, "default")


class _Views:
    """Views of jobs without a store, for streams of one job."""

    def __init__(self) -> None:
        self.live = LiveEvents()
        self.status = PENDING
        self.made: list[ShownOutput] = []

    async def job(self, job_id: str, owner: str) -> Any:
        await asyncio.sleep(0)
        return SimpleNamespace(id=job_id, status=self.status)

    async def outputs(self, job: Any, owner: str, state: Any) -> list[ShownOutput]:
        await asyncio.sleep(0)
        return list(self.made)

    async def ending(self, job_id: str, owner: str) -> Any:
        has_ended = (await self.job(job_id, owner)).status in FINAL
        progress = ProgressSnapshot(1.0, 2, 2)
        return SimpleNamespace(has_ended=has_ended, progress=progress, outputs=self.made, state="succeeded")


async def _one_run(steps: str, paces: list[int]) -> list[list[Any]]:
    """Report the steps of a job, and read them at several paces; return what each reader gets."""
    views: Any = _Views()
    live = views.live
    live.submitted(prompt("before", 0))
    live.submitted(prompt(JOB, 1))

    async def read(pace: int) -> list[Any]:
        for _ in range(pace):  # some come late
            await asyncio.sleep(0)
        events = []
        stream = EventStream(views, await views.job(JOB, "default"), "default")
        async for event in stream.events():
            events.append(event)
            for _ in range(pace):
                await asyncio.sleep(0)
        return events

    readers = [asyncio.create_task(read(pace)) for pace in paces]
    for number, step in enumerate(f"s{steps}e"):
        if step == "s":
            live.started("before")
            await asyncio.sleep(0)
            live.started(JOB)
            views.status = IN_PROGRESS
        elif step == "c":
            live.cached(JOB, ["1"])
        elif step == "p":
            live.progressed(JOB, running(number % 7, 7))
        elif step == "i":
            live.interrupting(JOB)
        elif step == "v":
            live.previewed(JOB, NodePreview("1", Image.new("RGB", (1, 1))))
        elif step == "o":
            views.made.append(ShownOutput(str(number), str(number), "images", 0, f"{number}.png", "image/png", 1))
            live.shown(JOB, str(number), {})
        elif step == "e":
            views.status = COMPLETED
            live.finished(FinishedPrompt(JOB, {}))
        await asyncio.sleep(0)
    return list(await asyncio.wait_for(asyncio.gather(*readers), 20))


@settings(max_examples=examples(20, 60))
@given(st.text("cpivo", max_size=25), st.lists(st.integers(0, 12), min_size=1, max_size=4))
def test_readers_of_any_pace_get_every_output_once_and_the_end_last(steps: str, paces: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_PROGRESS_S", "_MOVE_S"):
            patch.setattr(event_stream, name, 0.0005)
        patch.setattr(event_stream, "_jpeg", lambda preview: b"a picture")
        for events in asyncio.run(_one_run(steps, paces)):
            assert outputs(events) == [f"{i}.png" for i, step in enumerate(f"s{steps}e") if step == "o"]
            found = statuses(events)
            assert found[-1] == "succeeded" and events[-1] == StatusChange("succeeded")
            order = ["queued", "running", "canceling", "succeeded"]
            assert found == sorted(found, key=order.index)
            values = [event.value for event in events if isinstance(event, ProgressSnapshot)]
            assert values == sorted(values)
            places = [event.queue_position for event in events if isinstance(event, StatusChange)]
            waiting = [place for place in places if place is not None]
            assert waiting == sorted(waiting, reverse=True)
