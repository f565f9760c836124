"""A real ComfyUI with this pack and a pack that mounts an agent's application: each receives its own requests."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import agent
from support.servers import COMFYUI

pytestmark = [
    pytest.mark.comfyui,
    pytest.mark.skipif(not COMFYUI, reason="COMFYUI_PATH names no ComfyUI checkout"),
]

# Behind the module of the agent, which makes a pack of it.
MOUNT = """
from server import PromptServer

StubAgent().register(PromptServer.instance.app)
NODE_CLASS_MAPPINGS = {}
"""
URL = "/api/workflows"
OURS = f"{URL}?provider=comfy-assets"
GRAPH = {"nodes": [], "links": [], "version": 0.4}


def test_each_receives_its_own(tmp_path: Path, start_comfyui: Callable[..., Any]) -> None:
    packs = tmp_path / "custom_nodes"
    packs.mkdir()
    (packs / "agent_for_tests.py").write_text(Path(agent.__file__).read_text() + MOUNT)
    with start_comfyui(tmp_path) as server:
        server.wait_until_up()
        server.wait_for(OURS, lambda body: "data" in body)
        body = {"name": "plan", "workflow_json": GRAPH}
        for answer in (server.get(f"{URL}?limit=100&after=abc"), server.post(URL, body), server.get("/api/agent/x")):
            assert answer.status == 200 and answer.json["agent"], answer
        made = server.post(OURS, body)
        assert made.status == 201, made
        path = f"{URL}/{made.json['id']}"
        assert server.get(path).json["name"] == "plan"
        assert [each["id"] for each in server.get(OURS).json["data"]] == [made.json["id"]]
        hosted = server.get(URL, **{"X-API-Key": "comfyui-0123456789"})
        assert [each["id"] for each in hosted.json["data"]] == [made.json["id"]]
        for name in (agent.AGENT_ID, agent.AGENT_ID.replace("/", "%2F"), "plan.json", "plan.json/content"):
            assert server.get(f"{URL}/{name}").json == agent.agent_answer("GET", "")
        sent = server.send("PATCH", f"{URL}/plan.json", b'{"name": 7}', {"Content-Type": "application/json"})
        assert sent.json == agent.agent_answer("PATCH", '{"name": 7}')
        missing = server.get(f"{URL}/{uuid.uuid4()}")
        assert (missing.status, missing.json["code"]) == (404, "WORKFLOW_NOT_FOUND")
