"""Messages that let ComfyUI's own panels load their lists again."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.assets import page_refresh
from comfy_assets_node.comfy_assets.assets.prompts import output_recorder
from support.files import picture

JOB = "11111111-1111-4111-8111-111111111111"
COMPLETED, LISTED = "assets.seed.completed", "assets.seed.fast_complete"
MEMBERS = {"phase", "created", "elapsed", "enriched", "skipped", "total", "source"}


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_recorder, "IDLE_S", 0.01)
    monkeypatch.setattr(page_refresh, "DELAY_S", 0.02)
    monkeypatch.setattr(page_refresh, "INTERVAL_S", 0.05)


def sent(library: Any, event: str = COMPLETED) -> list[dict[str, Any]]:
    """The messages about changes so far."""
    return [dict(e.data) for e in library.host.events if e.type == event and e.data.get("source") == "changes"]


async def next_message(library: Any, act: Callable[[], Any]) -> dict[str, Any]:
    """The first message after an act, and after all that came before it."""
    await asyncio.sleep(0.15)
    before = len(sent(library))
    await act()
    deadline = time.monotonic() + 10
    while len(sent(library)) == before and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    return sent(library)[before]


async def upload(library: Any, name: str, tags: str, color: int) -> dict[str, Any]:
    import aiohttp

    form = aiohttp.FormData()
    form.add_field("tags", tags)
    form.add_field("file", picture(color), filename=name)
    response = await library.client.post("/api/assets", data=form)
    assert response.status == 201, await response.text()
    return dict(await response.json())


async def test_what_is_new_is_added_at_the_head_of_the_lists(library: Any) -> None:
    message = await next_message(library, lambda: upload(library, "a.png", '["output"]', 1))
    assert message.keys() == MEMBERS
    assert (message["phase"], message["created"], message["total"]) == ("fast", 1, 1)


@pytest.mark.parametrize("change", ["rename", "tag", "delete", "restore"])
async def test_other_changes_load_the_lists_again(library: Any, change: str) -> None:
    asset = await upload(library, "a.png", '["output"]', 1)
    path = f"/api/assets/{asset['id']}"
    if change == "restore":
        await library.client.delete(path)

    async def act() -> None:
        if change == "rename":
            response = await library.client.put(path, json={"name": "b.png"})
        elif change == "tag":
            response = await library.client.post(f"{path}/tags", json={"tags": ["x"]})
        elif change == "delete":
            response = await library.client.delete(path)
        else:
            response = await library.client.post(f"{path}/restore")
        assert response.status < 300, await response.text()

    message = await next_message(library, act)
    assert message["phase"] == "full"  # a restored asset returns to its former place in the order


async def test_an_old_file_is_not_at_the_head(library: Any) -> None:
    for number in range(12):
        library.write(f"output/{number}.png", picture(number))
    message = await next_message(library, library.scan)
    assert (message["phase"], message["created"]) == ("fast", 12)
    old = library.write("output/old.png", picture(99))
    os.utime(old, (1, 1))
    message = await next_message(library, library.scan)
    assert (message["phase"], message["created"]) == ("full", 1)


async def test_many_new_assets_load_the_lists_again(library: Any) -> None:
    for number in range(page_refresh._MAX_ADDED + 1):
        library.write(f"output/{number}.txt", str(number).encode())
    message = await next_message(library, library.scan)
    assert (message["phase"], message["created"]) == ("full", page_refresh._MAX_ADDED + 1)


async def test_the_end_of_a_scan(library: Any) -> None:
    library.write("output/a.png", picture(1))
    await library.scan()
    await library.scan()
    ends = [e.data for e in library.host.events if e.type == COMPLETED and e.data["source"] == "scan"]
    assert [(end["phase"], end["enriched"]) for end in ends] == [("enrich", 1), ("fast", 0)]
    assert all(end.keys() >= MEMBERS for end in ends)


async def test_the_library_of_models_is_loaded_again_for_models_alone(library: Any) -> None:
    await next_message(library, lambda: upload(library, "a.png", '["output"]', 1))
    assert sent(library, LISTED) == []
    library.write("models/loras/a.safetensors", b"x")
    await next_message(library, library.scan)
    await asyncio.sleep(0.1)
    assert len(sent(library, LISTED)) == 1  # its own message does not count as a change


async def test_messages_are_batched(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_refresh, "INTERVAL_S", 0.2)
    began = time.monotonic()
    for _ in range(20):
        library.host.emit("assets.changed", {"created": 1})
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.3)
    messages = sent(library)
    assert sum(message["created"] for message in messages) == 20
    assert len(messages) <= (time.monotonic() - began) / 0.2 + 1


async def test_nothing_is_sent_after_the_end(library: Any) -> None:
    library.host.emit("assets.changed", {"created": 1})
    await library.services.page_refresh.close()
    library.host.emit("assets.changed", {"created": 1})
    await asyncio.sleep(0.1)
    assert sent(library) == []


async def test_reading_alone_is_no_reason(library: Any) -> None:
    library.host.emit("assets.changed", {"hashed": 3})
    await asyncio.sleep(0.1)
    assert sent(library) == []
