"""The event stream of a job, read by the official Python SDK."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import pytest
from comfy_sdk import Event, OutputReady, Preview, Progress, StatusChange
from support.sdk import (
    WAIT_S,
    Graph,
    SdkServer,
    check_job,
    content_of,
    events_of,
    make_client,
    one_node,
    output_ids,
    picture,
    statuses,
    wait_for,
    word,
    work,
)
from support.tcp_cutter import TcpCutter

pytestmark = pytest.mark.slow

STREAMS = 20
KEEP_ALIVE_S = 15


def check_stream(events: list[Event], outputs: list[str], end: str = "succeeded") -> None:
    """Each output once, and before the end, which is the last event."""
    assert isinstance(events[-1], StatusChange) and events[-1].status == end, events[-3:]
    assert sorted(output_ids(events)) == sorted(outputs)


def test_a_stream_tells_a_job_from_its_submission_to_its_end(server: SdkServer) -> None:
    gate = word()
    job = server.submit(work(gate, steps=4))
    stream = job.events()
    first = next(stream)
    assert isinstance(first, StatusChange) and first.status in ("queued", "running")
    server.open(gate)
    events = [first, *stream]
    assert statuses(events) in (["queued", "running", "succeeded"], ["running", "succeeded"])
    assert job.refresh().status == "succeeded"


def _each_is_told(server: SdkServer, count: int) -> None:
    """Most are told of their end within a second; on a busy machine a few may come later."""
    late: list[timedelta] = []
    for _ in range(count):
        job = server.submit(picture("told", size=4))
        events = events_of(job)
        told_at = datetime.now(timezone.utc)
        model = check_job(server.raw_job(job.id))
        check_stream(events, [output.id for output in model.outputs])
        assert len(model.outputs) == 1 and model.completed_at is not None
        late.append(told_at - model.completed_at)
    assert sorted(late)[count // 2] < timedelta(seconds=1), late


def test_each_of_many_jobs_is_told_to_its_end(server: SdkServer) -> None:
    _each_is_told(server, 20)


@pytest.mark.slow
def test_each_of_200_jobs_is_told_to_its_end(server: SdkServer) -> None:
    _each_is_told(server, 200)


def test_a_waiting_job_sees_its_position_fall(server: SdkServer) -> None:
    gates = [word(), word(), word()]
    first, second, third = (server.submit(work(gate)) for gate in gates)
    wait_for(first, "running")
    stream = third.events()
    events = [next(stream)]
    positions: list[int] = []
    for event in [events[0], *_opening(server, gates, stream)]:
        if isinstance(event, StatusChange) and event.status == "queued":
            assert event.queue_position is not None
            positions.append(event.queue_position)
    assert len(set(positions)) == 2 and positions == sorted(positions, reverse=True), positions
    assert second.refresh().status == third.refresh().status == "succeeded"


def _opening(server: SdkServer, gates: list[str], stream: Iterator[Event]) -> Iterator[Event]:
    """The events of a stream, while one gate after the other opens."""
    for gate in gates[:-1]:
        server.open(gate)
        event = next(event for event in stream if isinstance(event, StatusChange))
        yield event
    server.open(gates[-1])
    yield from stream


def fast_and_slow(gate: str) -> Graph:
    """A picture that is saved first, whichever way nodes are ordered, and a node that waits."""
    slow = {
        "3": {"class_type": "EmptyImage", "inputs": {"width": 4, "height": 4, "batch_size": 1, "color": 1}},
        "4": {"class_type": "ImageInvert", "inputs": {"image": ["3", 0]}},
        "5": {"class_type": "ImageInvert", "inputs": {"image": ["4", 0]}},
    }
    waiting = work(gate)["1"]
    waiting["inputs"]["image"] = ["5", 0]
    return {**picture(size=4), **slow, "6": waiting}


def test_an_output_is_told_before_a_slow_sibling_ends(server: SdkServer) -> None:
    gate = word()
    job = server.submit(fast_and_slow(gate))
    stream = job.events()
    output = next(event.output for event in stream if isinstance(event, OutputReady))
    assert (output.node_id, output.type) == ("2", "image")
    assert content_of(output).startswith(b"\x89PNG")
    job.refresh()
    assert job.status == "running" and [each.id for each in job.outputs] == [output.id]
    server.open(gate)
    rest = list(stream)
    check_stream(rest, [])


def test_many_streams_of_one_job_end_alike(server: SdkServer) -> None:
    gate = word()
    job = server.submit(fast_and_slow(gate))
    found: list[list[Event]] = [[] for _ in range(STREAMS)]
    begun = threading.Barrier(STREAMS + 1)

    def read(number: int) -> None:
        with closing(make_client(server.http.url)) as client:
            for index, event in enumerate(client.jobs.get(job.id).events()):
                if index == 0:
                    begun.wait(WAIT_S)
                found[number].append(event)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(STREAMS)]
    for thread in threads:
        thread.start()
    begun.wait(WAIT_S)
    server.open(gate)
    for thread in threads:
        thread.join(WAIT_S)
    ids = [output.id for output in job.refresh().outputs]
    for events in found:
        check_stream(events, ids)


def test_a_reader_that_stops_reading_holds_nobody_up(server: SdkServer) -> None:
    gate = word()
    job = server.submit(work(gate, steps=50, preview=True))
    with closing(http.client.HTTPConnection("127.0.0.1", server.http.port, timeout=WAIT_S)) as idle:
        idle.request("GET", f"/api/v2/jobs/{job.id}/events")
        assert idle.getresponse().status == 200
        server.open(gate)
        check_stream(events_of(job), [])


@pytest.mark.parametrize("graph", [picture(), one_node("SdkFail", message="it broke for the stream")])
def test_a_stream_that_is_opened_after_the_end_tells_the_end(server: SdkServer, graph: Graph) -> None:
    job = server.submit(graph).wait(WAIT_S)
    events = events_of(job)
    check_stream(events, [output.id for output in job.outputs], job.status)


def test_a_broken_connection_is_resumed(server: SdkServer) -> None:
    gate = word()
    job_id = server.submit(fast_and_slow(gate)).id
    with TcpCutter(server.http.port) as cutter, closing(make_client(cutter.url)) as client:
        job = client.jobs.get(job_id)
        stream = job.events()
        events = [next(stream)]
        while not output_ids(events):
            events.append(next(stream))
        cutter.cut()
        again = next(stream)  # the state of a new connection
        assert isinstance(again, StatusChange) and again.status == "running"
        assert cutter.connections > 1
        server.open(gate)
        rest = list(stream)
        check_stream(rest, [output.id for output in job.refresh().outputs])


def test_progress_never_falls_and_counts_cached_nodes(server: SdkServer) -> None:
    shared = picture(size=4)
    server.run(shared)  # its nodes are cached by now
    graph = {**shared, "3": work(steps=30)["1"], "4": work(steps=30)["1"]}
    job = server.submit(graph)
    events = [event for event in events_of(job) if isinstance(event, Progress)]
    values = [event.value for event in events]
    assert values == sorted(values) and all(0 <= value <= 1 for value in values), values
    assert {event.nodes_total for event in events} == {4}, events
    model = check_job(server.raw_job(job.id))
    assert model.progress is not None
    assert (model.progress.value, model.progress.nodes_done, model.progress.nodes_total) == (1.0, 4, 4)


def test_polled_progress_tells_the_node_and_its_step(server: SdkServer) -> None:
    with server.held(steps=7) as job:
        deadline = time.monotonic() + WAIT_S
        while True:
            progress = check_job(server.raw_job(job.id)).progress
            if progress is not None and progress.step == 7:
                break
            assert time.monotonic() < deadline, progress
            time.sleep(0.02)
        assert (progress.current_node, progress.current_node_class, progress.steps) == ("1", "SdkWork", 7)
        assert (progress.nodes_done, progress.nodes_total) == (0, 1) and 0 < progress.value <= 1


def test_progress_is_told_at_most_twice_a_second(server: SdkServer) -> None:
    job = server.submit(work(steps=120))
    started = time.monotonic()
    count = sum(isinstance(event, Progress) for event in job.events())
    # One at the beginning and one at the end, besides two a second.
    assert count <= 2 * (time.monotonic() - started) + 3, count


def test_a_preview_is_a_picture(server: SdkServer) -> None:
    gate = word()
    job = server.submit(work(gate, steps=20, preview=True))
    preview = next(event for event in job.events() if isinstance(event, Preview))
    assert (preview.node_id, preview.content_type) == ("1", "image/jpeg")
    assert preview.to_pil().size == (32, 32)
    # Another stream begins with the latest preview.
    late = next(event for event in job.events() if isinstance(event, Preview))
    assert late.to_pil().size == (32, 32)
    server.open(gate)
    job.wait(WAIT_S)


def _lines(server: SdkServer, job_id: str, seconds: float) -> list[tuple[float, bytes]]:
    """The lines of a stream, with the seconds at which they came."""
    started = time.monotonic()
    found: list[tuple[float, bytes]] = []
    with closing(http.client.HTTPConnection("127.0.0.1", server.http.port, timeout=KEEP_ALIVE_S + 5)) as connection:
        connection.request("GET", f"/api/v2/jobs/{job_id}/events", headers={"Accept": "text/event-stream"})
        response = connection.getresponse()
        assert response.headers["Content-Type"].partition(";")[0] == "text/event-stream"
        while time.monotonic() - started < seconds:
            found.append((time.monotonic() - started, response.readline()))
    return found


@pytest.mark.slow
def test_an_idle_stream_lives(server: SdkServer) -> None:
    with server.held() as job:
        lines = _lines(server, job.id, 60)
        times = [0.0, *(at for at, _ in lines)]
        assert max(later - earlier for earlier, later in pairwise(times)) < KEEP_ALIVE_S + 1
        assert any(line.startswith(b":") for _, line in lines)
        assert job.refresh().status == "running"


def test_the_stream_is_the_format_of_events(server: SdkServer) -> None:
    """As browsers read it: names and data of one line each, and no compression."""
    job = server.run(picture())
    answer = server.http.get(f"/api/v2/jobs/{job.id}/events", **{"Accept-Encoding": "gzip, deflate"})
    assert answer.headers.get("Content-Encoding") is None
    assert "no-cache" in answer.headers.get("Cache-Control", "") or "no-store" in answer.headers.get(
        "Cache-Control", ""
    )
    frames = [_frame(part) for part in answer.body.decode().split("\n\n") if part and not part.startswith(":")]
    assert {frame["event"] for frame in frames} <= {"status", "progress", "preview", "output"}
    assert frames[-1]["event"] == "status"


def _frame(text: str) -> dict[str, Any]:
    lines = [line.partition(": ") for line in text.splitlines() if not line.startswith(":")]
    assert [name for name, _, _ in lines] == ["event", "data"], text
    return {name: value for name, _, value in lines}
