"""Operations that the host answers itself: alike on every server, with clear refusals, and there on older ones too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.files import picture
from support.requests import multipart

JSON = {"Content-Type": "application/json"}
PACK = "some pack"


def png(width: int = 4, height: int = 3, alpha: int = 77) -> bytes:
    return picture((1, 2, 3, alpha), (width, height))


def prepare(base: Path) -> None:
    for name, content in {
        "input/o.png": png(alpha=255),
        "input/text.png": b"text",
        "models/loras/a.safetensors": b"123",
        f"custom_nodes/{PACK}/subgraphs/Blur.json": b'{"x": 1}',
        f"custom_nodes/{PACK}/__init__.py": b"NODE_CLASS_MAPPINGS = {}\n",
        "user/default/folder/x.json": b"1",
        "user/default/a.json": b"1",
    }.items():
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_bytes(content)


@pytest.fixture(scope="module")
def server(start: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    base: Path = tmp_path_factory.mktemp("stock")
    prepare(base)
    limits = {"COMFY_ASSETS_MAX_IMAGE_EDGE": "100", "COMFY_ASSETS_MAX_IMAGE_MB": "1"}
    with start(base, **limits) as running:
        running.wait_until_up()
        yield running


def form(file: bytes, name: str = "new.png", **fields: str) -> tuple[bytes, dict[str, str]]:
    return multipart([*fields.items(), ("image", (name, file))])


def refusal(answer: Any, status: int, code: str | None = None) -> None:
    """An ErrorResponse of the contract."""
    assert answer.status == status, answer
    assert answer.headers.get_content_type() == "application/json", answer
    body = answer.json
    assert isinstance(body["code"], str) and body["message"] and (code is None or body["code"] == code), body


def test_what_every_server_tells(server: Any) -> None:
    kinds: dict[str, type] = {
        "/api/embeddings": list, "/api/experiment/models": list, "/api/experiment/models/loras": list,
        "/api/extensions": list, "/api/features": dict, "/api/global_subgraphs": dict, "/api/i18n": dict,
        "/api/node_replacements": dict, "/api/object_info": dict, "/api/prompt": dict, "/api/system_stats": dict,
        "/api/settings": dict, "/api/users": dict, "/api/workflow_templates": dict, "/internal/folder_paths": dict,
        "/internal/logs": str, "/internal/logs/raw": dict, "/internal/files/input": list,
    }  # fmt: skip
    for path, kind in kinds.items():
        answer = server.get(path)
        assert answer.status == 200 and isinstance(answer.json, kind), (path, answer)
    models = server.get("/api/experiment/models/loras").json
    assert [(each["name"], each["pathIndex"]) for each in models] == [("a.safetensors", 0)]
    folders = {each["name"]: each["folders"] for each in server.get("/api/experiment/models").json}
    assert str(server.base / "models" / "loras") in folders["loras"]
    stats = server.get("/api/system_stats").json
    wanted = {"os", "python_version", "embedded_python", "comfyui_version", "pytorch_version", "argv", "ram_total"}
    assert wanted | {"ram_free"} <= stats["system"].keys()
    assert all({"name", "type"} <= device.keys() for device in stats["devices"]) and stats["devices"]
    assert any(name.startswith("o.png") for name in server.get("/internal/files/input").json)


def test_blueprints_of_packs(server: Any) -> None:
    found = server.get("/api/global_subgraphs").json
    ((subgraph_id, entry),) = [(key, each) for key, each in found.items() if each["name"] == "Blur"]
    assert entry["source"] == "custom_node" and PACK in entry["info"]["node_pack"]
    one = server.get(f"/api/global_subgraphs/{subgraph_id}")
    assert (one.status, one.json) == (200, {**entry, "data": '{"x": 1}'})
    refusal(server.get("/api/global_subgraphs/none"), 404)


def test_settings(server: Any) -> None:
    changed = server.post("/api/settings", {"Some.setting": [1], "Other": None})
    assert changed.status == 200 and changed.json["Some.setting"] == [1]
    one = server.post("/api/settings/Third", "text")
    assert (one.status, one.json) == (200, {"value": "text"})
    assert server.get("/api/settings/Third").json == "text"
    assert server.get("/api/settings").json == {**changed.json, "Third": "text"}
    for path, body in (
        ("/api/settings", b""), ("/api/settings", b"{"), ("/api/settings", b"[]"), ("/api/settings", b"5"),
        ("/api/settings/Third", b""), ("/api/settings/Third", b"{"),
    ):  # fmt: skip
        refusal(server.send("POST", path, body, JSON), 400)
    assert server.get("/api/settings").json == {**changed.json, "Third": "text"}


USERDATA = [
    ("GET", "?dir=", 400),
    ("GET", "?dir=..", 403),
    ("GET", "?dir=none", 404),
    ("GET", "?dir=a.json%2Fx%2Fy", 404),
    ("GET", "/none", 404),
    ("GET", "/a.json%2Fb%2Fc", 404),
    ("GET", "/folder", 404),
    ("GET", "/folder%252F", 404),
    ("GET", "/..%2f..", 403),
    ("POST", "/folder", 400),
    ("POST", "/a.json%2Fx%2Fy", 400),
    ("POST", "/%00", 400),
    ("POST", "/%2e%2e%2fx", 403),
    ("POST", "/a.json?overwrite=false", 409),
    ("POST", "/none/move/c.json", 404),
    ("POST", "/a.json/move/folder%2Fx.json%2Fy%2Fz", 400),
    ("POST", "/a.json/move/folder%2Fx.json?overwrite=false", 409),
    ("DELETE", "/folder", 404),
    ("DELETE", "/none", 404),
]


def test_userdata(server: Any) -> None:
    root = server.base / "user" / "default"
    for method, path, status in USERDATA:
        answer = server.send(method, f"/api/userdata{path}", b"new")
        assert (answer.status, answer.headers["Content-Type"][:10]) == (status, "text/plain"), (method, path, answer)
        assert answer.body, (method, path)
    assert server.get(f"/api/userdata/{300 * 'n'}").status in (400, 404)
    assert (root / "a.json").read_bytes() == (root / "folder" / "x.json").read_bytes() == b"1"
    assert server.send("POST", "/api/userdata/workflows%2Fw.json", b"{}").json == "workflows/w.json"
    listed = server.get("/api/userdata?dir=workflows&recurse=true&full_info=true").json
    assert [(each["path"], each["size"]) for each in listed] == [("w.json", 2)]
    moved = server.send("POST", "/api/userdata/workflows%2Fw.json/move/workflows%2Fv.json")
    assert moved.json == "workflows/v.json" and server.get("/api/userdata/workflows%2Fv.json").body == b"{}"
    assert server.send("DELETE", "/api/userdata/workflows%2Fv.json").status == 204


EMPTY = {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}}
SAVE = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "odd"}}
GRAPH = {"1": EMPTY, "2": SAVE}
# Members that servers stumble over.
ODD_PROMPTS: list[dict[str, Any]] = [
    {"prompt": None},
    {"prompt": GRAPH, "number": None},
    {"prompt": GRAPH, "number": "first"},
    {"prompt": GRAPH, "number": "nan"},
    {"prompt": GRAPH, "extra_data": None, "client_id": "x"},
    {"prompt": GRAPH, "client_id": ["x"]},
    {"prompt": GRAPH, "client_id": {"x": 1}},
    {"prompt": {**GRAPH, "1": {**EMPTY, "class_type": ["EmptyImage"]}}},
    {"prompt": {**GRAPH, "1": {**EMPTY, "inputs": None}}},
    {"prompt": {**GRAPH, "1": {**EMPTY, "inputs": "x"}}},
]


@pytest.mark.parametrize("path", ["/api/prompt", "/prompt"])
def test_odd_prompts(server: Any, path: str) -> None:
    for body in ODD_PROMPTS:
        answer = server.post(path, body)
        assert answer.status == 400 and answer.json["error"]["message"], (body, answer)
    job = server.post(path, {"prompt": GRAPH, "number": 5}).json["prompt_id"]
    server.wait_for(f"/api/jobs/{job}", lambda found: found["status"] == "completed", timeout_s=30)


def test_pictures(server: Any) -> None:
    body, headers = form(png())
    stored = server.send("POST", "/api/upload/image", body, headers)
    assert (stored.status, stored.json["name"], stored.json["type"]) == (200, "new.png", "input")
    for file, name, fields, code in (
        (png(), "bad.png", {"type": "models"}, None),
        (png(), "bad.png", {"subfolder": "../.."}, None),
        (png(), "bad.png", {"subfolder": "\0"}, None),
        (png(), "bad.png", {"subfolder": "o.png"}, None),
        (png(), "x" * 300, {}, None),
        (png(101, 1), "bad.png", {}, "IMAGE_TOO_LARGE"),
        (bytes((1 << 20) + 1), "bad.bin", {}, "IMAGE_TOO_LARGE"),
    ):
        body, headers = form(file, name, **fields)
        refusal(server.send("POST", "/api/upload/image", body, headers), 400, code)
    for broken, kind in ((b"zzz", headers), (body[:-20], headers), (b"{}", JSON), (b"", {})):
        refusal(server.send("POST", "/api/upload/image", broken, kind), 400)
    assert not [path for path in (server.base / "input").iterdir() if path.name.startswith(("bad", "xx"))]


def test_masks(server: Any) -> None:
    good = {"filename": "o.png", "type": "input"}
    body, headers = form(png(alpha=9), "masked.png", original_ref=json.dumps(good))
    stored = server.send("POST", "/api/upload/mask", body, headers)
    assert (stored.status, stored.json) == (200, {"name": "masked.png", "subfolder": "", "type": "input"})
    with Image.open(server.base / "input" / "masked.png") as image:
        assert image.getpixel((0, 0)) == (1, 2, 3, 9)
    for file, reference in (
        (png(), None), (png(), "{"), (png(), "[]"), (png(), "{}"), (png(), '{"filename": 5}'),
        (png(), json.dumps({**good, "filename": "none.png"})), (png(), json.dumps({**good, "filename": "../o.png"})),
        (png(), json.dumps({**good, "subfolder": ".."})), (png(), json.dumps({**good, "type": "models"})),
        (png(), json.dumps({**good, "filename": "text.png"})), (png(5), json.dumps(good)), (b"z", json.dumps(good)),
        (png(101, 1), json.dumps(good)),
    ):  # fmt: skip
        fields = {} if reference is None else {"original_ref": reference}
        body, headers = form(file, "bad.png", **fields)
        refusal(server.send("POST", "/api/upload/mask", body, headers), 400)
    assert not list((server.base / "input").glob("bad*"))


def test_views(server: Any) -> None:
    shown = server.get("/api/view?filename=o.png&type=input")
    assert (shown.status, shown.body) == (200, png(alpha=255))
    for query, status in (
        ("filename=none.png", 404),
        ("filename=o.png&type=none", 400),
        ("filename=..%2Fo.png", 400),
        ("filename=o.png&type=input&subfolder=..", 400),
        ("filename=text.png&type=input&preview=webp", 400),
        ("filename=text.png&type=input&channel=rgb", 400),
        ("filename=text.png&type=input&channel=a", 400),
    ):
        refusal(server.get(f"/api/view?{query}"), status)


def test_the_rest(server: Any) -> None:
    refusal(server.get("/api/experiment/models/none"), 404)
    for body in (b"", b"{", b"[]", b"{}", b'{"clientId": "x"}', b'{"clientId": 1, "enabled": true}'):
        refusal(server.send("PATCH", "/internal/logs/subscribe", body, JSON), 400)
    subscribed = server.send("PATCH", "/internal/logs/subscribe", b'{"clientId": "x", "enabled": true}', JSON)
    assert (subscribed.status, subscribed.body) == (200, b"")
    for body in (b"", b"[]", b"{}", b'{"username": 5}'):
        refusal(server.send("POST", "/api/users", body, JSON), 400)


def test_who_is_unknown(start: Any, tmp_path: Path) -> None:
    prepare(tmp_path)
    with start(tmp_path, "--multi-user") as server:
        server.wait_until_up()
        for headers in ({}, {"comfy-user": "nobody"}, {"comfy-user": "__comfy_assets"}):
            for method, path, kind in (
                ("GET", "/api/settings", "application/json"), ("GET", "/api/settings/x", "application/json"),
                ("POST", "/api/settings", "application/json"), ("POST", "/api/settings/x", "application/json"),
                ("GET", "/api/userdata?dir=folder", "text/plain"), ("GET", "/api/userdata/a.json", "text/plain"),
                ("POST", "/api/userdata/a.json", "text/plain"), ("DELETE", "/api/userdata/a.json", "text/plain"),
                ("POST", "/api/userdata/a.json/move/b.json", "text/plain"),
            ):  # fmt: skip
                answer = server.send(method, path, b"{}", headers)
                assert (answer.status, answer.headers.get_content_type()) == (401, kind), (method, path, answer)
        refusal(server.get("/api/view?filename=blake3:00"), 404)
        assert (tmp_path / "user/default/a.json").read_bytes() == b"1"
