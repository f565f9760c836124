"""The queue and the history, through the API and on their own."""

from __future__ import annotations

from typing import Any

import pytest
from comfy_assets_node.comfy_assets.host.standalone import queue as queue_module
from comfy_assets_node.comfy_assets.host.standalone.queue import PromptOutcome, PromptQueue, QueuedPrompt
from support.queue_ids import QueueIds, queue_ids

EMPTY: dict[str, Any] = {"class_type": "EmptyImage", "inputs": {"width": 1, "height": 1, "batch_size": 1, "color": 0}}
HELD: dict[str, Any] = {
    "e": EMPTY,
    "h": {"class_type": "Hold", "inputs": {"image": ["e", 0]}},
    "out": {"class_type": "PreviewImage", "inputs": {"images": ["h", 0]}},
}
QUICK = {"e": EMPTY, "out": {"class_type": "PreviewImage", "inputs": {"images": ["e", 0]}}}


async def hold(server: Any) -> str:
    """A prompt that runs until it is released."""
    held = str(await server.submit(HELD))
    await server.running(held)
    return held


async def test_order_front_and_number(server: Any) -> None:
    held = await hold(server)
    a = await server.submit(QUICK)
    b = await server.submit(QUICK)
    first = await server.submit(QUICK, front=True)
    very_first = await server.submit(QUICK, front=True)
    last = await server.submit(QUICK, number=1000)
    between = await server.submit(QUICK, number=1.5)
    expected = [very_first, first, a, between, b, last]
    assert queue_ids(server.host.execution).running == (held,)
    assert list(queue_ids(server.host.execution).pending) == expected
    listed = await server.json("/queue")
    assert [item[1] for item in listed["queue_running"]] == [held]
    assert [item[1] for item in listed["queue_pending"]] == expected
    number, prompt_id, graph, extra, outputs = listed["queue_pending"][0]
    assert number < 0 and prompt_id == very_first and graph == QUICK and outputs == ["out"]
    assert extra["create_time"] > 0
    assert (await server.json("/prompt"))["exec_info"]["queue_remaining"] == 7
    server.release()
    await server.finished(last)
    assert list(await server.json("/history")) == [held, *expected]


async def test_delete_and_clear(server: Any) -> None:
    held = await hold(server)
    a, b, c = [await server.submit(QUICK) for _ in range(3)]
    assert await server.post("/queue", {"delete": [a, held, "unknown"]}) == (200, None)
    assert queue_ids(server.host.execution).pending == (b, c)
    assert await server.post("/api/queue", {"clear": False}) == (200, None)
    assert queue_ids(server.host.execution).pending == (b, c)
    assert await server.post("/queue", {"clear": True}) == (200, None)
    assert queue_ids(server.host.execution) == QueueIds((held,), ())
    server.release()
    await server.finished(held)
    assert list(await server.json("/history")) == [held]


async def test_history_pages_and_deletion(server: Any) -> None:
    ids = [await server.submit(QUICK) for _ in range(5)]
    await server.finished(ids[-1])
    table = [
        ("", ids),
        ("?max_items=2", ids[-2:]),
        ("?max_items=2&offset=1", ids[1:3]),
        ("?offset=3", ids[3:]),
        ("?max_items=0", []),
        ("?max_items=99", ids),
    ]
    for query, expected in table:
        assert list(await server.json("/history" + query)) == expected, query
    assert await server.post("/history", {"delete": [ids[0], "unknown"]}) == (200, None)
    assert list(await server.json("/history")) == ids[1:]
    assert await server.json(f"/history/{ids[0]}") == {}
    assert await server.post("/api/history", {"clear": True}) == (200, None)
    assert await server.json("/api/history") == {}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/queue", b"{"),
        ("/queue", b"[]"),
        ("/queue", b'{"delete": "x"}'),
        ("/queue", b'{"delete": [1]}'),
        ("/queue", b""),
        ("/history", b"nope"),
        ("/history", b'{"delete": {"a": 1}}'),
        ("/interrupt", b"{"),
        ("/interrupt", b"[]"),
        ("/interrupt", b'{"prompt_id": 5}'),
    ],
)
async def test_malformed_bodies_are_refused(server: Any, path: str, body: bytes) -> None:
    async with server.client.post(path, data=body) as response:
        assert response.status == 400
        assert (await response.json())["error"]


async def test_malformed_history_queries_are_refused(server: Any) -> None:
    async with server.client.get("/history?max_items=many") as response:
        assert response.status == 400


def prompt(prompt_id: str, number: float = 0) -> QueuedPrompt:
    return QueuedPrompt(number, prompt_id, {}, {}, ())


def test_the_history_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "MAX_HISTORY", 3)
    queue = PromptQueue(lambda: None)
    for index in range(5):
        queue.put(prompt(str(index)))
        running = queue.take(lambda: None)
        assert running is not None
        queue.finish(running, PromptOutcome(True, {}, {}, ()))
    assert list(queue.history()) == ["2", "3", "4"]


def test_every_change_is_told_and_a_closed_queue_gives_nothing() -> None:
    remaining: list[int] = []
    queue = PromptQueue(lambda: remaining.append(queue.remaining()))
    queue.put(prompt("a"))
    queue.put(prompt("b"))
    running = queue.take(lambda: None)
    assert running is not None and queue.interrupt("b") is False and queue.interrupt("a") is True
    assert running.interrupted.is_set()
    queue.finish(running, PromptOutcome(False, {}, {}, ()))
    assert queue.drop_many(["b", "b", "unknown"]) == ["b"]
    assert remaining == [1, 2, 2, 1, 0]
    assert queue.drop_many(["b"]) == [] and queue.interrupt() is False
    queue.put(prompt("c"))
    queue.close()
    assert queue.take(lambda: None) is None
    assert queue_ids(queue).pending == ("c",)
