"""Streams of events of Comfy API v2, over HTTP on a standalone host."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
import pytest
from comfy_assets_node.comfy_assets.jobs import event_stream
from comfy_assets_node.routes.v2 import events as routes
from PIL import Image
from support.v2 import DOCUMENT
from v2_studio import JOBS, TRIVIAL, WAITING, Make, Studio, painted


class Event(NamedTuple):
    """An event of a stream; a comment has the name "" and no data."""

    name: str
    data: Any


@asynccontextmanager
async def stream(studio: Studio, job_id: str) -> AsyncIterator[AsyncIterator[Event]]:
    """The events of a job, each as soon as it comes."""
    url = studio.api.client.make_url(f"{JOBS}/{job_id}/events")
    async with studio.api.client.session.get(url, headers=studio.api.headers) as response:
        assert response.status == 200, await response.text()
        assert response.headers["Content-Type"].startswith("text/event-stream")
        assert response.headers["X-Comfy-Request-Id"]
        yield _events(response)


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[Event]:
    name, data = "", ""
    async for raw in response.content:
        line = raw.decode().rstrip("\n")
        if line.startswith(":"):
            yield Event("", None)
        elif line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            data = line.removeprefix("data: ")
        elif data:
            yield Event(name, json.loads(data))
            name, data = "", ""


async def read(studio: Studio, job_id: str) -> list[Event]:
    """All events of a job from now on, without comments."""
    async with stream(studio, job_id) as events:
        return [event async for event in events if event.name]


def of(events: list[Event], name: str) -> list[Any]:
    return [event.data for event in events if event.name == name]


def statuses(events: list[Event]) -> list[str]:
    return [data["status"] for data in of(events, "status")]


async def gone(studio: Studio) -> None:
    """Wait until nothing is left of any stream."""
    for _ in range(500):
        if not studio.services.live_events.watched and not routes._open:
            return
        await asyncio.sleep(0.01)
    raise AssertionError((studio.services.live_events.watched, routes._open))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "_PROGRESS_S", 0.05)
    monkeypatch.setattr(event_stream, "_MOVE_S", 0.02)
    monkeypatch.setattr(routes, "_LOOK_S", 0.05)


async def test_from_the_submission_to_the_end(studio: Studio) -> None:
    job = await studio.post({"t": {"class_type": "Text", "inputs": {}}, **TRIVIAL, **WAITING})
    events: list[Event] = []
    async with stream(studio, job["id"]) as coming:
        async for event in coming:
            events.append(event)
            if len(of(events, "output")) == 3 and len(of(events, "preview")) > 1:
                studio.release()  # every output before the end of a slow sibling
    assert statuses(events)[-2:] == ["running", "succeeded"]
    assert events[0].name == "status" and events[-1].name == "status"
    values = [data["value"] for data in of(events, "progress")]
    assert values == sorted(values) and values[-1] == 1
    ended = await studio.get(job["id"])
    sent = {data["id"]: data for data in of(events, "output")}
    assert len(sent) == len(of(events, "output"))
    assert sent.keys() == {output["id"] for output in ended["outputs"]}
    for output in ended["outputs"]:
        assert sent[output["id"]].keys() == output.keys()
    preview = of(events, "preview")[0]
    assert (preview["node_id"], preview["content_type"]) == ("w", "image/jpeg")
    with Image.open(io.BytesIO(base64.b64decode(preview["data_base64"]))) as picture:
        assert (picture.format, picture.size) == ("JPEG", (8, 8))
    await gone(studio)


async def test_who_connects_gets_the_state_as_it_is(studio: Studio) -> None:
    job = await studio.post(WAITING)
    await studio.until(job["id"], "running")
    await asyncio.sleep(0.1)
    async with stream(studio, job["id"]) as coming:
        first = [await anext(coming) for _ in range(3)]
    assert [event.name for event in first] == ["status", "progress", "preview"]
    assert first[0].data == {"status": "running", "queue_position": None}
    assert first[1].data["current_node_class"] == "Wait"
    await gone(studio)
    studio.release()


async def test_the_place_in_the_queue_falls(studio: Studio) -> None:
    first = await studio.post(WAITING)
    await studio.until(first["id"], "running")
    second, third = await studio.post(), await studio.post()
    reading = asyncio.create_task(read(studio, third["id"]))
    await asyncio.sleep(0.2)
    await studio.api.send("POST", f"{JOBS}/{second['id']}/cancel")
    await asyncio.sleep(0.2)
    studio.release()
    events = await asyncio.wait_for(reading, 10)
    places = [data["queue_position"] for data in of(events, "status") if data["status"] == "queued"]
    assert places == [2, 1]
    assert statuses(events)[-1] == "succeeded"


async def test_twenty_streams_end_alike(studio: Studio) -> None:
    job = await studio.post({**TRIVIAL, **WAITING})
    await studio.until(job["id"], "running")
    reading = [asyncio.create_task(read(studio, job["id"])) for _ in range(20)]
    state = studio.services.live_events.find(job["id"])
    while len(state.watchers) < 20:
        await asyncio.sleep(0.01)
    studio.release()
    for events in await asyncio.wait_for(asyncio.gather(*reading), 20):
        assert statuses(events) == ["running", "succeeded"]
        assert [data["name"] for data in of(events, "output")] == ["made_00001_.png"]
        assert events[-1].name == "status"
    await gone(studio)


async def test_many_jobs_each_with_a_stream(studio: Studio) -> None:
    jobs = [await studio.post(painted(color)) for color in range(30)]
    for events in await asyncio.gather(*(read(studio, job["id"]) for job in jobs)):
        assert statuses(events)[-1] == "succeeded"
        assert len(of(events, "output")) == 1


async def test_after_the_end(studio: Studio) -> None:
    job = await studio.run()
    events = await asyncio.wait_for(read(studio, job["id"]), 5)
    assert statuses(events) == ["succeeded"]
    assert [data["id"] for data in of(events, "output")] == [output["id"] for output in job["outputs"]]
    assert events[-1].name == "status"


@pytest.mark.parametrize("how", ["page", "client"])
async def test_of_a_job_that_is_cancelled(studio: Studio, how: str) -> None:
    job = await studio.post(WAITING)
    await studio.until(job["id"], "running")
    reading = asyncio.create_task(read(studio, job["id"]))
    await asyncio.sleep(0.1)
    if how == "page":
        await studio.api.client.post("/api/interrupt", json={})
    else:
        await studio.api.send("POST", f"{JOBS}/{job['id']}/cancel")
    found = statuses(await asyncio.wait_for(reading, 10))
    assert (found[0], found[-1]) == ("running", "canceled")


async def test_comments_come_while_nothing_happens(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "_KEEP_ALIVE_S", 0.2)
    first, second = await studio.post(WAITING), await studio.post()
    await studio.until(first["id"], "running")
    async with stream(studio, second["id"]) as coming:
        names = [(await asyncio.wait_for(anext(coming), 5)).name for _ in range(4)]
    assert names == ["status", "", "", ""]
    studio.release()


def test_comments_come_within_fifteen_seconds() -> None:
    assert routes._KEEP_ALIVE_S <= 12


async def test_a_client_that_is_killed_leaves_nothing_behind(studio: Studio) -> None:
    job = await studio.post(WAITING)
    await studio.until(job["id"], "running")
    reader, writer = await asyncio.open_connection("127.0.0.1", studio.api.client.port)
    writer.write(f"GET {JOBS}/{job['id']}/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    assert b"200" in await reader.readline()
    await reader.readuntil(b"event: progress")
    assert studio.services.live_events.watched == 1
    writer.transport.abort()
    await gone(studio)
    events = asyncio.create_task(read(studio, job["id"]))
    await asyncio.sleep(0.1)
    studio.release()
    assert statuses(await asyncio.wait_for(events, 10)) == ["running", "succeeded"]


async def test_a_client_that_reads_nothing_does_not_hold_up_others(studio: Studio) -> None:
    job = await studio.post({**TRIVIAL, **WAITING})
    await studio.until(job["id"], "running")
    _, writer = await asyncio.open_connection("127.0.0.1", studio.api.client.port, limit=1)
    writer.write(f"GET {JOBS}/{job['id']}/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    await writer.drain()
    reading = asyncio.create_task(read(studio, job["id"]))
    await asyncio.sleep(0.3)
    studio.release()
    assert statuses(await asyncio.wait_for(reading, 10))[-1] == "succeeded"
    writer.transport.abort()
    await gone(studio)


async def test_too_many_are_refused(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "MAX_STREAMS", 2)
    job = await studio.post(WAITING)
    async with stream(studio, job["id"]) as one, stream(studio, job["id"]):
        await anext(one)
        answer = await studio.api.send("GET", f"{JOBS}/{job['id']}/events", 429)
        assert (answer.error["code"], answer.error["details"]["max_streams"]) == ("too_many_streams", 2)
        assert int(answer.headers["Retry-After"]) >= 1
    await gone(studio)
    async with stream(studio, job["id"]) as coming:
        assert (await anext(coming)).name == "status"
    studio.release()


async def test_they_end_when_the_server_stops(studio: Studio) -> None:
    job = await studio.post(WAITING)
    await studio.until(job["id"], "running")
    reading = asyncio.create_task(read(studio, job["id"]))
    await asyncio.sleep(0.1)
    studio.services.live_events.close()
    assert "succeeded" not in statuses(await asyncio.wait_for(reading, 5))
    studio.release()


async def test_a_job_runs_after_a_restart_and_its_stream_goes_on(make_studio: Make) -> None:
    studio = await make_studio()
    first, second = await studio.post(WAITING), await studio.post()
    await studio.until(first["id"], "running")
    await studio.api.client.close()
    again = await make_studio()
    events = await asyncio.wait_for(read(again, second["id"]), 10)
    assert statuses(events)[-1] == "succeeded"
    assert len(of(events, "output")) == 1
    assert (await again.get(first["id"]))["status"] in ("canceled", "failed")


def test_the_document_names_the_events() -> None:
    text = DOCUMENT["paths"]["/api/v2/jobs/{id}/events"]["get"]["responses"]["200"]
    assert "text/event-stream" in text["content"]
    assert all(f"`{name}`" in text["description"] for name in ("status", "progress", "preview", "output"))
