"""Workflows on whole servers: the standalone host, and ComfyUI if there is one."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

URL = "/api/workflows"
PAGE = {
    "nodes": [{"id": 1, "type": "LoadImage", "widgets_values": ["photo.png", "image"]}],
    "links": [],
    "version": 0.4,
}
MIB = 1 << 20


@pytest.fixture(scope="module")
def server(start: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    base: Path = tmp_path_factory.mktemp("workflows")
    (base / "input").mkdir()
    (base / "input/photo.png").write_bytes(b"photo")
    with start(base) as running:
        running.wait_until_up()
        running.wait_until_read()
        yield running


def create(server: Any, **members: Any) -> Any:
    answer = server.post(URL, {"workflow_json": PAGE, **members})
    assert answer.status == 201, answer
    return answer.json


def test_a_life(server: Any) -> None:
    made = create(server, name="Portrait")
    one = f"{URL}/{made['id']}"
    assert server.post(f"{one}/versions", {"base_version": 1, "workflow_json": {"n": 2}}).json["version"] == 2
    stale = server.post(f"{one}/versions", {"base_version": 1, "workflow_json": {"n": 3}})
    assert (stale.status, stale.json["details"]) == (409, {"base_version": 1, "latest_version": 2})
    assert server.get(f"{one}/content").json["workflow_json"] == {"n": 2}
    assert server.get(f"{one}/versions/1").json["workflow_json"] == PAGE
    forked = server.post(f"{one}/fork", {"source_version": 1, "name": "Fork"}).json
    assert forked["forked_from"]["workflow_id"] == made["id"]
    renamed = server.send("PATCH", one, b'{"name": "Landscape"}', {"Content-Type": "application/json"})
    assert (renamed.status, renamed.json["name"]) == (200, "Landscape")
    names = [each["name"] for each in server.get(f"{URL}?sort=name&order=asc").json["data"]]
    assert names == ["Fork", "Landscape"]
    (asset_id,) = server.get(f"{URL}/{forked['id']}/content").json["dependency_asset_ids"]
    assert server.send("DELETE", f"/api/assets/{asset_id}").json["code"] == "ASSET_IN_USE"
    for workflow in (made, forked):
        assert server.send("DELETE", f"{URL}/{workflow['id']}").status == 204
    assert server.get(one).status == 404
    assert server.get(URL).json["pagination"]["total"] == 0
    assert server.send("DELETE", f"/api/assets/{asset_id}").status == 204


def test_of_many_writers_one_wins(server: Any) -> None:
    made = create(server)
    path = f"{URL}/{made['id']}/versions"
    with ThreadPoolExecutor(16) as pool:
        writes = pool.map(lambda n: server.post(path, {"base_version": 1, "workflow_json": {"n": n}}), range(100))
    assert sorted(answer.status for answer in writes) == [201] + [409] * 99
    assert server.get(f"{URL}/{made['id']}").json["latest_version"] == 2


def test_sizes(server: Any) -> None:
    large = {"x": "y" * (5 * MIB)}
    made = create(server, workflow_json=large)
    assert server.get(f"{URL}/{made['id']}/content").json["workflow_json"] == large
    refused = server.post(URL, {"workflow_json": {"x": "y" * (20 * MIB)}})
    assert (refused.status, refused.json["details"]["max_bytes"]) == (422, 20 * MIB)
    assert json.loads(refused.body)["code"] == "WORKFLOW_TOO_LARGE"
