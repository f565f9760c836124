"""Progress, cached nodes and previews in the messages of ComfyUI, as listeners get them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.host.comfyui_queue import ComfyUIQueue
from comfy_assets_node.comfy_assets.host.execution import NodePreview
from comfy_assets_node.comfy_assets.host.prompt_problems import unchecked
from comfyui_queue import FakeServer, NewQueue
from PIL import Image

PICTURE = Image.new("RGB", (4, 4))
NODES = {"1": {"value": 1, "max": 2, "state": "running", "display_node_id": "1"}}


class Listener:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def cached(self, prompt_id: str, node_ids: Sequence[str]) -> None:
        self.told.append((prompt_id, list(node_ids)))

    def progressed(self, prompt_id: str, nodes: Mapping[str, Any]) -> None:
        self.told.append((prompt_id, dict(nodes)))

    def previewed(self, prompt_id: str, preview: NodePreview) -> None:
        self.told.append((prompt_id, preview.node_id, preview.picture, preview.max_size))


@pytest.fixture
def server() -> Any:
    """A server whose messages are read, and the listener."""
    server: Any = FakeServer(NewQueue)
    server.last_prompt_id, server.last_node_id = "p", "7"
    queue = ComfyUIQueue(server, lambda: None, lambda prompt: None, 0, unchecked)
    server.listener = Listener()
    queue.watch_progress(server.listener)
    return server


@pytest.mark.parametrize(
    ("event", "data", "told"),
    [
        ("progress_state", {"prompt_id": "p", "nodes": NODES}, ("p", NODES)),
        ("execution_cached", {"prompt_id": "p", "nodes": ["1", 2]}, ("p", ["1", "2"])),
        (2, ("JPEG", PICTURE, 512), ("p", "7", PICTURE, 512)),
        (2, ("JPEG", PICTURE, None), ("p", "7", PICTURE, None)),
        (
            4,
            (("PNG", PICTURE, 64), {"prompt_id": "q", "node_id": "3.1", "display_node_id": "3"}),
            ("q", "3", PICTURE, 64),
        ),
    ],
)
def test_are_read(server: Any, event: Any, data: Any, told: Any) -> None:
    server.send_sync(event, data, "client")
    assert server.listener.told == [told]


@pytest.mark.parametrize(
    ("event", "data"),
    [
        ("progress_state", None),
        ("progress_state", {"prompt_id": "p"}),
        ("progress_state", {"prompt_id": "p", "nodes": ["1"]}),
        ("execution_cached", {"prompt_id": "p", "nodes": 3}),
        ("execution_cached", "text"),
        (2, b"bytes"),
        (2, ("JPEG",)),
        (2, ("JPEG", "no picture", 1)),
        (4, (("PNG", PICTURE, 64),)),
        (4, (PICTURE, {})),
        (4, ("PNG", {"prompt_id": "p"})),
        (3, b"text"),
        (["no", "key"], {}),
        ("other", {"nodes": NODES}),
    ],
)
def test_others_are_passed_on_and_nothing_else(server: Any, event: Any, data: Any) -> None:
    server.send_sync(event, data)
    assert server.listener.told == []
    assert server.sent == [event]


def test_a_listener_that_raises_holds_nothing_up(server: Any, caplog: pytest.LogCaptureFixture) -> None:
    def fail(*_: Any) -> None:
        raise LookupError("it broke")

    server.listener.progressed = fail
    with caplog.at_level(logging.ERROR, "comfy_assets"):
        server.send_sync("progress_state", {"prompt_id": "p", "nodes": NODES})
    assert "it broke" in caplog.text
    assert server.sent
