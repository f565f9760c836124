"""Credentials that clients of the hosted service send along: nobody is refused for them, and nothing keeps them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.routes import ROUTES
from support.stored_texts import stored_texts
from support.windows import ctrl_break

KEY, TOKEN, SESSION = "comfyui-5ecre7-k3y", "eyJhbGciOi.5ecre7.t0ken", "5ecre7-s3ssion"
SECRETS = (KEY, TOKEN, SESSION)
HEADERS = {"X-API-Key": KEY, "Authorization": f"Bearer {TOKEN}", "Cookie": f"session={SESSION}; other=1"}
SOME_ID = "00000000-0000-4000-8000-000000000000"
TELLTALE = {
    "type": "general",
    "content": f"It says {KEY} and Bearer {TOKEN}",
    "metadata": {"cookie": SESSION, "headers": [{"X-API-Key": KEY}]},
}
GRAPH = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 2, "height": 2, "batch_size": 1, "color": 0}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "made"}},
}
PROMPT = {"prompt": GRAPH, "extra_data": {"api_key_comfy_org": KEY, "auth_token_comfy_org": TOKEN}}
JSON = {"Content-Type": "application/json"}


def ended(server: Any, prompt_id: str) -> None:
    path = f"/api/jobs/{prompt_id}"
    server.wait_for(path, lambda job: job["status"] in ("completed", "failed", "cancelled"))


@pytest.mark.slow
@ctrl_break
def test_credentials_mean_nothing_and_are_kept_nowhere(tmp_path: Path, start: Callable[..., Any]) -> None:
    with start(tmp_path) as server:
        server.wait_until_up()
        answer = server.post("/api/prompt", PROMPT, **HEADERS)
        assert answer.status == 200, answer.body
        ended(server, answer.json["prompt_id"])
        for route in ROUTES:
            path = route.path.replace("{hash}", "blake3:" + "0" * 64)
            for name in ("{id}", "{job_id}", "{prompt_id}", "{workflow_id}", "{task_id}", "{share_id}", "{file}"):
                path = path.replace(name, SOME_ID)
            body = TELLTALE if route.operation.id == "submitFeedback" else {}
            sent = None if route.method in ("GET", "HEAD") else json.dumps(body).encode()
            answer = server.send(route.method, path, sent, {**HEADERS, **JSON})
            assert answer.status not in (401, 403) and answer.status < 500, (route.operation.id, answer)
            plain = None if sent is None else sent.replace(KEY.encode(), b"").replace(TOKEN.encode(), b"")
            plain = None if plain is None else plain.replace(SESSION.encode(), b"")
            without = server.send(route.method, path, plain, JSON)
            assert answer.status == without.status, (route.operation.id, answer, without)
        failing = {**PROMPT, "prompt": {**GRAPH, "2": {"class_type": "NoSuchNode", "inputs": {}}}}
        assert server.post("/api/prompt", failing, **HEADERS).status == 400
        server.interrupt()
        assert [secret for secret in SECRETS if secret in server.log] == []
    feedback = next(tmp_path.rglob("feedback.jsonl")).read_text().splitlines()
    assert "[REDACTED]" in json.loads(feedback[0])["content"]
    assert json.loads(feedback[0])["metadata"] == {"cookie": "[REDACTED]", "headers": [{"X-API-Key": "[REDACTED]"}]}
    assert list(leaks(tmp_path)) == []


def leaks(base: Path) -> Iterator[tuple[str, str]]:
    """Where a secret is: in the log, in any file, and in whatever the store holds, unpacked."""
    texts = [("server.log", (base / "server.log").read_text())]
    for folder in [path for path in base.iterdir() if path.is_dir() and path.name != "custom_nodes"]:
        texts += [(folder.name, text) for text in stored_texts(folder)]
    assert ("user", "EmptyImage") in texts, "the job's graph is not among them"
    yield from ((place, secret) for place, text in texts for secret in SECRETS if secret in text)
