"""Workflows on whole servers: the standalone host, and ComfyUI if there is one."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

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
    (base / "input/shared.png").write_bytes(b"shared")
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


FILES = "user/default/workflows"


def userdata(path: str, encodings: int = 1) -> str:
    file = f"workflows/{path}"
    for _ in range(encodings):
        file = quote(file, safe="")
    return f"/api/userdata/{file}"


def listed(server: Any) -> dict[str, str]:
    return {each.get("name", ""): each["id"] for each in server.get(f"{URL}?limit=100").json["data"]}


def test_the_files_of_the_page_are_the_workflows(server: Any) -> None:
    """Saved, renamed and deleted through the server's own routes; written and edited outside of it."""
    if server.post(userdata("probe.txt"), {}).status in (404, 405):
        pytest.skip("this server keeps no files of users")
    own = "0d8c0f3e-7c1b-4a0e-8f7e-0a4f5a1c9b01"
    assert server.post(userdata("Größe 1.json"), {**PAGE, "id": own}).status == 200
    assert listed(server)["Größe 1"] == own
    assert server.post(userdata("Größe 1.json", 2), {**PAGE, "id": own, "n": 2}).status == 200
    assert server.get(f"{URL}/{own}").json["latest_version"] == 2
    moved = server.post(f"{userdata('Größe 1.json')}/move/{quote('workflows/sub/b.json', safe='')}", {})
    assert moved.status == 200, moved
    assert listed(server)["b"] == own

    file = server.base / FILES / "sub" / "b.json"
    file.write_text(json.dumps({**PAGE, "id": own, "n": 3}))
    assert server.get(f"{URL}/{own}/content").json["workflow_json"]["n"] == 3
    saved = server.post(f"{URL}/{own}/versions", {"base_version": 3, "workflow_json": {"id": own, "n": 4}})
    assert (saved.status, json.loads(file.read_text())["n"]) == (201, 4)
    file.rename(file.with_name("c.json"))
    server.wait_for(f"{URL}?limit=100", lambda answer: "c" in {each.get("name") for each in answer["data"]})
    assert listed(server)["c"] == own

    assert server.send("DELETE", userdata("sub/c.json")).status == 204
    assert server.get(f"{URL}/{own}").status == 404
    assert server.post(userdata("d.json"), {**PAGE, "id": own}).status == 200
    assert server.get(f"{URL}/{own}").json["latest_version"] == 5


def test_what_a_client_saves_is_a_file(server: Any) -> None:
    made = create(server, name="from: a client")
    file = server.base / FILES / "from_ a client.json"
    assert json.loads(file.read_text()) == PAGE
    assert server.send("DELETE", f"{URL}/{made['id']}").status == 204
    assert not file.exists()


def test_a_share(server: Any) -> None:
    """Published, opened, published again and withdrawn; the assets are read by whoever has the id."""
    (asset,) = server.get("/api/assets?name_contains=shared").json["assets"]
    create(server, name="shared")
    publish = f"{userdata('shared.json')}/publish"
    assert server.get(publish).json["share_id"] == ""
    share = server.post(publish, {"asset_ids": [asset["id"]]}).json
    opened = server.get(f"{URL}/published/{share['share_id']}").json
    assert (opened["name"], opened["workflow_json"]) == ("shared", PAGE)
    (published,) = opened["assets"]
    assert (published["in_library"], server.get(published["storage_url"]).body) == (True, b"shared")
    assert server.send("DELETE", f"/api/assets/{asset['id']}").json["code"] == "ASSET_IN_USE"
    wanted = {"share_id": share["share_id"], "published_asset_ids": [published["id"]]}
    assert server.post("/api/assets/import", wanted).json["assets"][0]["id"] == asset["id"]
    again = server.post(publish, {"asset_ids": []}).json
    assert (again["share_id"], again["assets"]) == (share["share_id"], [])
    assert server.send("DELETE", publish).status == 204
    assert server.get(f"{URL}/published/{share['share_id']}").status == 404
