"""getUser, submitFeedback and getFeatures."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from comfy_assets_node.comfy_assets import feedback
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.routes.server import page_flags

FEEDBACK = "/api/feedback"


def kept(library: Any, name: str = feedback.NAME) -> list[dict[str, Any]]:
    """The entries written down."""
    path = library.host.data_directory() / name
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


async def test_who_asks(library: Any, api: Any, make_library: Any, api_of: Any) -> None:
    assert await api.get("/api/user") == {"id": "default", "status": "active"}
    await library.services.stop()
    shared = api_of(await make_library(users=frozenset({"ann"})))
    assert await shared.as_user("ann").get("/api/user") == {"id": "ann", "status": "active"}
    await shared.as_user("bob").get("/api/user", 401)


TAKEN: list[dict[str, Any]] = [
    {"type": "general"},
    {"type": "missing_nodes", "content": "größe\n" * 100, "rating": 5, "metadata": {"nodes": ["a", {"b": None}]}},
    {"type": "missing_models", "rating": 1, "content": "x" * 20_000, "unknown": [1]},
]
REFUSED: list[tuple[Any, str | None]] = [
    ({}, "type"),
    ({"type": "praise"}, "type"),
    ({"type": 1}, "type"),
    ({"type": "general", "rating": 0}, "rating"),
    ({"type": "general", "rating": 6}, "rating"),
    ({"type": "general", "rating": 2.5}, "rating"),
    ({"type": "general", "content": 5}, "content"),
    ({"type": "general", "content": "x" * 20_001}, "content"),
    ({"type": "general", "metadata": []}, "metadata"),
    ({"type": "general", "metadata": {"x": "y" * 70_000}}, "metadata"),
    ([], None),
    (None, "type"),
]


async def test_feedback_is_written_down(library: Any, api: Any) -> None:
    for body in TAKEN:
        assert (await api.send("POST", FEEDBACK, 201, json=body)).json == {}
    entries = kept(library)
    assert [entry["type"] for entry in entries] == [body["type"] for body in TAKEN]
    assert [entry["user"] for entry in entries] == ["default"] * 3
    assert entries[1]["metadata"] == TAKEN[1]["metadata"] and entries[1]["content"] == TAKEN[1]["content"]


async def test_feedback_that_is_refused(library: Any, api: Any) -> None:
    for body, field in REFUSED:
        answer = (await api.send("POST", FEEDBACK, 400, json=body)).json
        assert (answer["code"], answer.get("details", {}).get("field")) == ("INVALID_BODY", field), body
    await api.send("POST", FEEDBACK, 400, data=b"{")
    assert kept(library) == []


async def test_feedback_takes_bounded_room(library: Any, api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feedback, "_MAX_BYTES", 1000)
    for number in range(20):
        await api.send("POST", FEEDBACK, 201, json={"type": "general", "content": f"{number:03}" * 20})
    folder = library.host.data_directory()
    assert all(path.stat().st_size <= 1000 for path in folder.glob("feedback*"))
    numbers = [
        entry["content"][:3] for name in (f"{feedback.NAME}.old", feedback.NAME) for entry in kept(library, name)
    ]
    assert numbers == [f"{number:03}" for number in range(20 - len(numbers), 20)] and len(numbers) > 5


async def test_feedback_from_many_at_once(library: Any, api: Any) -> None:
    bodies = [{"type": "general", "content": f"{number}" * 500} for number in range(40)]
    await asyncio.gather(*(api.send("POST", FEEDBACK, 201, json=body) for body in bodies))
    assert sorted(entry["content"] for entry in kept(library)) == sorted(body["content"] for body in bodies)


async def test_feedback_that_cannot_be_written(library: Any, api: Any) -> None:
    (library.host.data_directory() / feedback.NAME).mkdir()
    assert (await api.send("POST", FEEDBACK, 500, json={"type": "general"})).json["code"] == "STORAGE_FAILED"


CLOSED = {"open_to_network": False, "login_enabled": False, **page_flags(Config())}
BOTH = {"max_upload_size", "supports_preview_metadata"}


@pytest.mark.parametrize(
    ("theirs", "expected"),
    [
        (None, {**CLOSED, "supports_preview_metadata": False, "max_upload_size": 5 << 20}),
        ({"a": {"b": 1}}, {**CLOSED, "a": {"b": 1}, "supports_preview_metadata": False, "max_upload_size": 5 << 20}),
        (
            {"a": 1, "supports_preview_metadata": True, "max_upload_size": 7},
            {**CLOSED, "a": 1, "supports_preview_metadata": True, "max_upload_size": 7},
        ),
        (
            {"supports_preview_metadata": True},
            {**CLOSED, "supports_preview_metadata": True, "max_upload_size": 5 << 20},
        ),
    ],
)
async def test_features(make_library: Any, aiohttp_client: Any, api_of: Any, theirs: Any, expected: Any) -> None:
    """The host's own words stay; what it does not say is added, also where it has no such operation."""
    library = await make_library(Config(scan_on_start=False, max_upload_size=5 << 20))
    app = web.Application(middlewares=[library.host.plugin.middleware])

    async def features(_: web.Request) -> web.Response:
        return web.json_response(theirs)

    if theirs is not None:
        app.router.add_get("/api/features", features)
    api = api_of(SimpleNamespace(client=await aiohttp_client(app)))
    assert await api.get("/api/features") == expected
