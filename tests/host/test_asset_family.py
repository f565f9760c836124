"""Every operation of the asset family, every status it documents: one table, on the standalone host and on ComfyUI.

A refused request changes nothing: not a row that a client can see, not a file.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import os
import shutil
import socket
import sqlite3
import struct
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from blake3 import blake3
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
COMFYUI = os.environ.get("COMFYUI_PATH")
ZERO = "00000000-0000-0000-0000-000000000000"
UNKNOWN = "00000000-0000-7000-8000-00000000abcd"
MAX_UPLOAD_MB = 1
NAMES = {"ink.safetensors": "model", "scanned.png": "output", "photo.png": "input", "other.png": "other"}
START_TIMEOUT_S = 120


def png(color: int) -> bytes:
    """A small picture, another for each colour."""
    buffer = io.BytesIO()
    Image.new("RGB", (80, 40), (color & 255, color >> 8 & 255, color >> 16 & 255)).save(buffer, "PNG")
    return buffer.getvalue()


def safetensors(fill: int) -> bytes:
    text = json.dumps({"w": {"dtype": "F16", "shape": [2, 2], "data_offsets": [0, 8]}}).encode()
    return struct.pack("<Q", len(text)) + text + bytes([fill]) * 8


def digest(content: bytes) -> str:
    return "blake3:" + blake3(content).hexdigest()


def form(*parts: tuple[str, Any]) -> dict[str, Any]:
    """A multipart body; a part's value is text, bytes, or a pair of a file name and bytes."""
    boundary = uuid.uuid4().hex
    body = bytearray()
    for name, value in parts:
        file_name, content = value if isinstance(value, tuple) else (None, value)
        content = content.encode() if isinstance(content, str) else content
        named = f'; filename="{file_name}"' if file_name is not None else ""
        body += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'.encode()
        body += content + b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    return {"body": bytes(body), "headers": {"Content-Type": f"multipart/form-data; boundary={boundary}"}}


def body(value: Any) -> dict[str, Any]:
    """A JSON body."""
    return {"body": json.dumps(value).encode(), "headers": {"Content-Type": "application/json"}}


class World:
    """A server process over a library of its own, with assets to work on."""

    def __init__(self, base: Path, command: list[str], environment: dict[str, str]) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.base = base
        self.log = base / "server.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "--base-directory", str(base), "--port", str(self.port)],
                stdout=log, stderr=subprocess.STDOUT, env={**os.environ, **environment}, cwd=base,
            )  # fmt: skip
        self.ids: dict[str, str] = {}
        self.numbers = iter(range(1, 1 << 20))

    def send(self, method: str, path: str, **options: Any) -> tuple[int, Any, http.client.HTTPMessage]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with closing(connection):
            connection.request(method, path, options.get("body"), options.get("headers") or {})
            response = connection.getresponse()
            raw = response.read()
        is_json = response.headers.get_content_type() == "application/json" and method != "HEAD"
        return response.status, json.loads(raw) if is_json else raw, response.headers

    def wait_until_scanned(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                status = self.send("GET", "/api/assets/seed/status")[1]
            except OSError:
                status = {}
            if isinstance(status, dict) and (status.get("status"), status.get("phase")) == ("completed", "idle"):
                return
            time.sleep(0.05)
        raise AssertionError(self.log.read_text(errors="replace")[-4000:])

    def fill(self) -> None:
        """A scanned model, output and input; an upload, a reference, and one of each that is deleted."""
        for asset in self.listed():
            self.ids[NAMES[asset["name"]]] = asset["id"]
        self.ids["upload"] = self.upload(png(1), "upload.png")
        self.ids["used"] = self.upload(png(2), "used.png")
        self.ids["deleted"] = self.upload(png(3), "deleted.png")
        self.send("DELETE", f"/api/assets/{self.ids['deleted']}")
        status, asset, _ = self.send(
            "POST", "/api/assets/from-hash", **body({"hash": digest(safetensors(1)), "tags": ["models", "loras"]})
        )
        assert status == 201, asset
        self.ids["reference"] = asset["id"]
        self.execute(
            "INSERT INTO asset_uses SELECT id, 'share', 'holiday' FROM assets WHERE uuid = ?", self.ids["used"]
        )

    def execute(self, sql: str, *parameters: Any) -> None:
        """Set by hand what no operation sets yet."""
        with closing(sqlite3.connect(self.base / "user/__comfy_assets/library.db", timeout=10)) as conn, conn:
            assert conn.execute(sql, parameters).rowcount == 1

    def upload(self, content: bytes, name: str, *parts: tuple[str, Any]) -> str:
        status, asset, _ = self.send("POST", "/api/assets", **form(("file", (name, content)), *parts))
        assert status == 201, asset
        return str(asset["id"])

    def listed(self) -> list[dict[str, Any]]:
        return list(self.send("GET", "/api/assets?limit=500")[1]["assets"])

    def state(self) -> dict[str, Any]:
        """All that a request might have changed, save what the server itself writes."""
        assets = sorted(self.listed(), key=lambda asset: asset["id"])
        for asset in assets:
            asset.pop("last_access_time", None)
        files = {
            str(path.relative_to(self.base)): (path.stat().st_size, path.stat().st_mtime_ns)
            for kind in ("models", "input", "output", "temp", "user/__comfy_assets/trash")
            for path in (self.base / kind).rglob("*")
            if path.is_file()
        }
        return {
            "assets": assets,
            "files": files,
            "tags": self.send("GET", "/api/tags?limit=1000&include_zero=true")[1],
            "histogram": self.send("GET", "/api/assets/tags/refine?limit=1000")[1],
        }

    def new_picture(self) -> bytes:
        return png(next(self.numbers) << 4)


def make_base(base: Path) -> Path:
    for name in ("models/loras", "input", "output", "temp", "user", "custom_nodes"):
        (base / name).mkdir(parents=True)
    (base / "models/loras/ink.safetensors").write_bytes(safetensors(1))
    (base / "output/scanned.png").write_bytes(png(100))
    (base / "input/photo.png").write_bytes(png(101))
    (base / "output/other.png").write_bytes(png(102))
    return base


def standalone(base: Path) -> World:
    return World(
        make_base(base),
        [sys.executable, str(Path(__file__).with_name("standalone_child.py")), "serve"],
        {"COMFY_ASSETS_MAX_UPLOAD_MB": str(MAX_UPLOAD_MB)},
    )


def comfyui(base: Path) -> World:
    make_base(base)
    ignored = shutil.ignore_patterns(".git", ".*_cache", "__pycache__", "tests", ".hypothesis", "build")
    shutil.copytree(ROOT, base / "custom_nodes" / "comfy-assets", ignore=ignored)
    python = os.environ.get("COMFYUI_PYTHON", sys.executable)
    command = [python, str(Path(COMFYUI or "") / "main.py"), "--cpu", "--disable-api-nodes", "--listen", "127.0.0.1"]
    return World(base, command, {"COMFY_ASSETS_MAX_UPLOAD_MB": str(MAX_UPLOAD_MB)})


HOSTS = [
    pytest.param(standalone, id="standalone"),
    pytest.param(
        comfyui,
        id="comfyui",
        marks=[
            pytest.mark.comfyui,
            pytest.mark.skipif(not COMFYUI, reason="COMFYUI_PATH names no ComfyUI checkout"),
        ],
    ),
]


@pytest.fixture(scope="module", params=HOSTS)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = request.param(tmp_path_factory.mktemp("world") / "base")
    try:
        world.wait_until_scanned()
        world.fill()
        yield world
    finally:
        world.process.terminate()
        world.process.wait(20)


Request = Callable[[World], dict[str, Any]]


@dataclass(frozen=True)
class Case:
    """A request, and what must come of it. ``path`` may name an asset of the world in braces."""

    id: str
    method: str
    path: str
    status: int
    expected: dict[str, Any] = field(default_factory=dict)
    request: Request = lambda world: {}
    check: Callable[[World, Any], bool] = lambda world, answer: True


def error(code: str, field_name: str | None = None) -> dict[str, Any]:
    return {"code": code, **({"details.field": field_name} if field_name else {})}


def upload(*parts: tuple[str, Any], name: str = "new.png", content: bytes | None = None) -> Request:
    """An upload of a new picture, or of this content, the file first."""
    return lambda world: form(("file", (name, content if content is not None else world.new_picture())), *parts)


def file_last(*parts: tuple[str, Any]) -> Request:
    return lambda world: form(*parts, ("file", ("last.png", world.new_picture())))


def json_body(value: Any) -> Request:
    return lambda world: body(value)


def raw(content: bytes, content_type: str = "application/json") -> Request:
    return lambda world: {"body": content, "headers": {"Content-Type": content_type}}


def on_disk(world: World, answer: Any) -> bool:
    """The answer's file is where it says, with the content it says."""
    path = world.base / answer["file_path"]
    return path.is_file() and digest(path.read_bytes()) == answer["hash"] and path.stat().st_size == answer["size"]


def declared_hash(algorithm: str) -> Request:
    def request(world: World) -> dict[str, Any]:
        content = world.new_picture()
        value = digest(content) if algorithm == "blake3" else "sha256:" + hashlib.sha256(content).hexdigest()
        return form(("file", ("hashed.png", content)), ("hash", value))

    return request


POST, PUT, DELETE, GET, HEAD = "POST", "PUT", "DELETE", "GET", "HEAD"
ASSETS = "/api/assets"
TAGS = "/api/assets/{upload}/tags"
CREATE = [
    Case(
        "an upload",
        POST,
        ASSETS,
        201,
        {"created_new": True, "tags": ["input"], "mime_type": "image/png"},
        upload(),
        on_disk,
    ),
    Case(
        "all fields, the file last",
        POST,
        ASSETS,
        201,
        {
            "tags": ["output", "b"],
            "name": "A name",
            "user_metadata": {"k": [1, None]},
            "file_path": "output/A name.png",
        },
        file_last(("name", "A name"), ("tags", '["output", "b"]'), ("user_metadata", '{"k": [1, null]}')),
        on_disk,
    ),
    Case(
        "a model",
        POST,
        ASSETS,
        201,
        {"tags": ["models", "loras", "model_type:loras"], "loader_path": "pen.safetensors"},
        upload(("tags", '["models", "loras"]'), name="pen.safetensors", content=safetensors(9)),
        on_disk,
    ),
    Case(
        "tags as answers carry them",
        POST,
        ASSETS,
        201,
        {"tags": ["models", "loras", "model_type:loras", "x"]},
        upload(("tags", '["models", "x", "loras", "model_type:loras"]'), name="p.safetensors", content=safetensors(10)),
    ),
    Case("a temporary file", POST, ASSETS, 201, {"tags": ["temp"]}, upload(("tags", '["temp"]')), on_disk),
    Case("a blake3 hash", POST, ASSETS, 201, {}, declared_hash("blake3")),
    Case("a sha256 hash", POST, ASSETS, 201, {}, declared_hash("sha256")),
    Case(
        "an id of the client's",
        POST,
        ASSETS,
        201,
        {"id": "11111111-1111-4111-8111-111111111111"},
        upload(("id", "11111111-1111-4111-8111-111111111111")),
    ),
    Case(
        "the same id again",
        POST,
        ASSETS,
        200,
        {"id": "11111111-1111-4111-8111-111111111111", "created_new": False},
        upload(("id", "11111111-1111-4111-8111-111111111111")),
    ),
    Case(
        "the same content again",
        POST,
        ASSETS,
        200,
        {"created_new": False, "name": "upload.png"},
        upload(("tags", '["output", "other"]'), name="again.png", content=png(1)),
    ),
    Case(
        "content that lies in that place",
        POST,
        ASSETS,
        200,
        {"created_new": False, "name": "photo.png"},
        upload(name="again.png", content=png(101)),
    ),
    Case(
        "content that lies in another place",
        POST,
        ASSETS,
        201,
        {"file_path": "input/here.png"},
        upload(name="here.png", content=png(102)),
    ),
    Case(
        "a name that is taken",
        POST,
        ASSETS,
        201,
        {"file_path": "input/photo (1).png", "name": "photo (1).png"},
        upload(name="photo.png"),
        on_disk,
    ),
    Case(
        "a preview",
        POST,
        ASSETS,
        201,
        {"preview_id": "{input}"},
        lambda world: upload(("preview_id", world.ids["input"]))(world),
    ),
    Case("an unknown field", POST, ASSETS, 201, {}, upload(("frobnicate", "1"))),
    Case(
        "a hash that is another's",
        POST,
        ASSETS,
        400,
        error("HASH_MISMATCH", "hash"),
        upload(("hash", "blake3:" + "0" * 64)),
    ),
    Case(
        "a sha256 that is another's",
        POST,
        ASSETS,
        400,
        error("HASH_MISMATCH", "hash"),
        upload(("hash", "sha256:" + "0" * 64)),
    ),
    Case(
        "a hash of another kind", POST, ASSETS, 400, error("INVALID_HASH", "hash"), upload(("hash", "md5:" + "0" * 32))
    ),
    Case("a malformed id", POST, ASSETS, 400, error("INVALID_ID", "id"), upload(("id", "seven"))),
    Case("the zero id", POST, ASSETS, 400, error("INVALID_ID", "id"), upload(("id", ZERO))),
    Case(
        "an unknown preview",
        POST,
        ASSETS,
        400,
        error("INVALID_PREVIEW_ID", "preview_id"),
        upload(("preview_id", UNKNOWN)),
    ),
    Case(
        "the zero preview", POST, ASSETS, 400, error("INVALID_PREVIEW_ID", "preview_id"), upload(("preview_id", ZERO))
    ),
    *(
        Case(f"tags {text[:24]}", POST, ASSETS, 400, error("INVALID_TAGS", "tags"), upload(("tags", text)))
        for text in (
            "loras",
            "{}",
            '"input"',
            "[1]",
            "[null]",
            '[""]',
            '["a,b"]',
            '["a\\u0007"]',
            '["input", "output"]',
            '["models"]',
            '["models", "no-such-category"]',
            '["models", "loras", "checkpoints"]',
            '["missing"]',
            '["model_type:loras"]',
            json.dumps(["x" * 129]),
            json.dumps([f"t{n}" for n in range(101)]),
        )
    ),
    *(
        Case(
            f"user metadata {text[:24]}",
            POST,
            ASSETS,
            400,
            error("INVALID_BODY", "user_metadata"),
            upload(("user_metadata", text)),
        )
        for text in (
            "x",
            "[]",
            "1",
            "{",
            "[" * 100_000,
            '{"a":' * 40 + "1" + "}" * 40,
            json.dumps({"a": "x" * 70_000}),
            '{"a": NaN}',
            '{"a": 1e999999}',
        )
    ),
    *(
        Case(f"mime type {text}", POST, ASSETS, 400, error("INVALID_BODY", "mime_type"), upload(("mime_type", text)))
        for text in ("png", "image/", "image/png\r\nX: y", "a/b/c")
    ),
    *(
        Case(f"name {text[:20]!r}", POST, ASSETS, 400, error("INVALID_NAME", "name"), upload(("name", text)))
        for text in ("..", "a\x07b", "x" * 256)
    ),
    Case("no file", POST, ASSETS, 400, error("INVALID_BODY", "file"), lambda world: form(("name", "x"))),
    Case("an empty file", POST, ASSETS, 400, error("INVALID_BODY", "file"), upload(content=b"")),
    Case(
        "two files",
        POST,
        ASSETS,
        400,
        error("INVALID_BODY", "file"),
        lambda world: form(("file", ("a.png", png(7))), ("file", ("b.png", png(8)))),
    ),
    Case(
        "no form at all", POST, ASSETS, 400, error("INVALID_BODY"), raw(b"nothing", "multipart/form-data; boundary=x")
    ),
    Case("a form without a boundary", POST, ASSETS, 400, error("INVALID_BODY"), raw(b"nothing", "multipart/form-data")),
    Case(
        "a form that ends early",
        POST,
        ASSETS,
        400,
        error("INVALID_BODY"),
        lambda world: {**(f := form(("file", ("a.png", png(7))))), "body": f["body"][:-30]},
    ),
    Case(
        "a file that is too large",
        POST,
        ASSETS,
        413,
        {**error("FILE_TOO_LARGE", "file"), "details.max_bytes": MAX_UPLOAD_MB << 20},
        upload(name="a.bin", content=bytes((MAX_UPLOAD_MB << 20) + 1)),
    ),
    Case(
        "a form that is far too large",
        POST,
        ASSETS,
        413,
        error("FILE_TOO_LARGE"),
        upload(name="a.bin", content=bytes((MAX_UPLOAD_MB + 2) << 20)),
    ),
    Case(
        "the largest file",
        POST,
        ASSETS,
        201,
        {"size": MAX_UPLOAD_MB << 20},
        upload(name="a.bin", content=bytes(MAX_UPLOAD_MB << 20)),
    ),
    Case("no multipart", POST, ASSETS, 415, error("UNSUPPORTED_MEDIA_TYPE"), json_body({})),
    Case(
        "a picture that is none",
        POST,
        ASSETS,
        415,
        {**error("UNSUPPORTED_MEDIA_TYPE", "file"), "details.declared": "image/png"},
        upload(content=b"<html><script>alert(1)</script></html>"),
    ),
    Case(
        "declared a picture",
        POST,
        ASSETS,
        415,
        error("UNSUPPORTED_MEDIA_TYPE", "file"),
        upload(("mime_type", "image/webp"), name="a.bin", content=b"MZ executable"),
    ),
    Case(
        "a model that is none",
        POST,
        ASSETS,
        415,
        error("UNSUPPORTED_MEDIA_TYPE", "file"),
        upload(("tags", '["models", "loras"]'), name="a.safetensors", content=b"\x80\x02pickle"),
    ),
    Case(
        "a picture among models",
        POST,
        ASSETS,
        415,
        error("UNSUPPORTED_MEDIA_TYPE", "file"),
        upload(("tags", '["models", "loras"]'), name="a.png"),
    ),
]

FROM_HASH = "/api/assets/from-hash"
MODEL_HASH, OUTPUT_HASH = digest(safetensors(1)), digest(png(100))
REFER = [
    Case(
        "a reference",
        POST,
        FROM_HASH,
        201,
        {
            "created_new": True,
            "name": "Mine",
            "tags": ["output", "x"],
            "user_metadata": {"a": 1},
            "file_path": "output/scanned.png",
        },
        json_body({"hash": OUTPUT_HASH, "tags": ["output", "x"], "name": "Mine", "user_metadata": {"a": 1}}),
    ),
    Case(
        "the reference again",
        POST,
        FROM_HASH,
        200,
        {"created_new": False, "id": "{reference}"},
        json_body({"hash": MODEL_HASH, "tags": ["models", "loras", "more"]}),
    ),
    Case(
        "an own upload's content",
        POST,
        FROM_HASH,
        200,
        {"created_new": False, "id": "{upload}"},
        json_body({"hash": digest(png(1)), "tags": ["input"]}),
    ),
    Case(
        "unknown content",
        POST,
        FROM_HASH,
        404,
        error("ASSET_NOT_FOUND", "hash"),
        json_body({"hash": "blake3:" + "0" * 64, "tags": ["input"]}),
    ),
    Case(
        "deleted content",
        POST,
        FROM_HASH,
        404,
        error("ASSET_NOT_FOUND", "hash"),
        json_body({"hash": digest(png(3)), "tags": ["input"]}),
    ),
    *(
        Case(
            f"from-hash {value}",
            POST,
            FROM_HASH,
            400,
            error("INVALID_HASH", "hash"),
            json_body({"hash": value, "tags": ["x"]}),
        )
        for value in ("", "blake3:0", "sha256:" + "0" * 64, "BLAKE3:" + "0" * 64)
    ),
    *(
        Case(
            f"from-hash {str(value)[:40]}",
            POST,
            FROM_HASH,
            400,
            error(code),
            json_body({"hash": MODEL_HASH, "tags": ["x"], **value}),
        )
        for value, code in [
            ({"tags": []}, "INVALID_BODY"),
            ({"tags": "x"}, "INVALID_BODY"),
            ({"tags": [1]}, "INVALID_BODY"),
            ({"tags": None}, "INVALID_BODY"),
            ({"hash": 1}, "INVALID_BODY"),
            ({"hash": None}, "INVALID_BODY"),
            ({"tags": ["input", "output"]}, "INVALID_TAGS"),
            ({"tags": ["missing"]}, "INVALID_TAGS"),
            ({"tags": [" "]}, "INVALID_TAGS"),
            ({"name": "../x"}, "INVALID_NAME"),
            ({"name": 1}, "INVALID_BODY"),
            ({"mime_type": "x"}, "INVALID_BODY"),
            ({"user_metadata": []}, "INVALID_BODY"),
        ]
    ),
    *(
        Case(f"from-hash {content[:12]!r}", POST, FROM_HASH, 400, error("INVALID_BODY"), raw(content))
        for content in (b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000)
    ),
]

ONE = "/api/assets/{upload}"
UPDATE = [
    Case(
        "all members",
        PUT,
        ONE,
        200,
        {
            "name": "Renamed",
            "mime_type": "image/x-mine",
            "user_metadata": {"b": {"c": "d"}},
            "preview_id": "{input}",
            "file_path": "input/upload.png",
        },
        lambda world: body(
            {
                "name": "Renamed",
                "mime_type": "image/x-mine",
                "user_metadata": {"b": {"c": "d"}},
                "preview_id": world.ids["input"],
            }
        ),
    ),
    Case(
        "one member",
        PUT,
        ONE,
        200,
        {"name": "upload.png", "user_metadata": {"b": {"c": "d"}}},
        json_body({"name": "upload.png"}),
    ),
    Case(
        "a public asset",
        PUT,
        "/api/assets/{model}",
        200,
        {"user_metadata": {"stars": 5}},
        json_body({"user_metadata": {"stars": 5}}),
    ),
    Case(
        "metadata is replaced", PUT, "/api/assets/{model}", 200, {"user_metadata": {}}, json_body({"user_metadata": {}})
    ),
    Case("an unknown member beside", PUT, ONE, 200, {"name": "u"}, json_body({"name": "u", "other": 1})),
    Case(
        "the zero preview of an update",
        PUT,
        ONE,
        400,
        error("INVALID_PREVIEW_ID", "preview_id"),
        json_body({"preview_id": ZERO}),
    ),
    Case(
        "a malformed preview", PUT, ONE, 400, error("INVALID_PREVIEW_ID", "preview_id"), json_body({"preview_id": "x"})
    ),
    Case(
        "an unknown preview of an update",
        PUT,
        ONE,
        404,
        error("ASSET_NOT_FOUND", "preview_id"),
        json_body({"preview_id": UNKNOWN}),
    ),
    Case(
        "a deleted preview",
        PUT,
        ONE,
        404,
        error("ASSET_NOT_FOUND", "preview_id"),
        lambda world: body({"preview_id": world.ids["deleted"]}),
    ),
    *(
        Case(f"update {str(value)[:40]}", PUT, ONE, 400, error(code), json_body(value))
        for value, code in [
            ({}, "INVALID_BODY"),
            ({"other": 1}, "INVALID_BODY"),
            ({"name": None}, "INVALID_BODY"),
            ({"name": ""}, "INVALID_NAME"),
            ({"name": "  "}, "INVALID_NAME"),
            ({"name": "x" * 256}, "INVALID_NAME"),
            ({"name": "a\nb"}, "INVALID_NAME"),
            ({"name": "../x"}, "INVALID_NAME"),
            ({"name": 1}, "INVALID_BODY"),
            ({"name": "good", "mime_type": "bad"}, "INVALID_BODY"),
            ({"user_metadata": "x"}, "INVALID_BODY"),
            ({"name": "good", "user_metadata": {"a": "x" * 70_000}}, "INVALID_BODY"),
        ]
    ),
    *(
        Case(f"update with {content[:12]!r}", PUT, ONE, 400, error("INVALID_BODY"), raw(content))
        for content in (b"", b"{", b"[]", b"\xff")
    ),
]

EDIT_TAGS = [
    Case(
        "tags are added",
        POST,
        TAGS,
        200,
        {"added": ["a", "größe"], "already_present": [], "total_tags": ["input", "a", "größe"]},
        json_body({"tags": ["a", " größe ", "a"]}),
    ),
    Case(
        "some are there", POST, TAGS, 200, {"added": ["c"], "already_present": ["a"]}, json_body({"tags": ["a", "c"]})
    ),
    Case(
        "tags are removed",
        DELETE,
        TAGS,
        200,
        {"removed": ["c"], "not_present": ["z"], "total_tags": ["input", "a", "größe"]},
        json_body({"tags": ["c", "z"]}),
    ),
    Case("nothing to remove", DELETE, TAGS, 200, {"removed": [], "not_present": ["z"]}, json_body({"tags": ["z"]})),
    Case(
        "tags of a public asset", POST, "/api/assets/{output}/tags", 200, {"added": ["p"]}, json_body({"tags": ["p"]})
    ),
    *(
        Case(
            f"{method} reserved {tag}",
            method,
            TAGS,
            422,
            {**error("RESERVED_TAG", "tags"), "details.tags": [tag]},
            json_body({"tags": ["fine", tag]}),
        )
        for method in (POST, DELETE)
        for tag in ("models", "input", "output", "temp", "missing", "model_type:loras", "model_type:")
    ),
    Case(
        "the category of a model",
        DELETE,
        "/api/assets/{model}/tags",
        422,
        error("RESERVED_TAG"),
        json_body({"tags": ["loras"]}),
    ),
    Case(
        "too many tags",
        POST,
        TAGS,
        400,
        error("INVALID_TAGS", "tags"),
        json_body({"tags": [f"n{n}" for n in range(99)]}),
    ),
    *(
        Case(f"{method} tags {str(value)[:24]}", method, TAGS, 400, error(code), json_body(value))
        for method in (POST, DELETE)
        for value, code in [
            ({}, "INVALID_BODY"),
            ({"tags": []}, "INVALID_BODY"),
            ({"tags": "a"}, "INVALID_BODY"),
            ({"tags": [1]}, "INVALID_BODY"),
            ({"tags": None}, "INVALID_BODY"),
            ({"tags": [""]}, "INVALID_TAGS"),
            ({"tags": ["a,b"]}, "INVALID_TAGS"),
            ({"tags": ["x" * 129]}, "INVALID_TAGS"),
            ({"tags": ["a\u0000"]}, "INVALID_TAGS"),
        ]
    ),
]

REMOVE = [
    Case(
        "an asset in use",
        DELETE,
        "/api/assets/{used}",
        409,
        {"code": "ASSET_IN_USE", "details.used_by": [{"kind": "share", "id": "holiday"}]},
    ),
    Case("an upload is deleted", DELETE, "/api/assets/{spare}", 204, {}, check=lambda world, answer: answer == b""),
    Case("a reference is deleted", DELETE, "/api/assets/{reference}", 204, {}),
    Case(
        "a scanned file's record is deleted",
        DELETE,
        "/api/assets/{output}",
        204,
        {},
        check=lambda world, answer: (world.base / "output/scanned.png").is_file(),
    ),
]

UNKNOWN_IDS = [
    Case(
        f"{method} {path} of {wanted}",
        method,
        f"/api/assets/{wanted}{path}",
        404,
        error("ASSET_NOT_FOUND"),
        json_body(value),
    )
    for method, path, value in [
        (GET, "", None),
        (GET, "/content", None),
        (PUT, "", {"name": "x"}),
        (DELETE, "", None),
        (POST, "/tags", {"tags": ["x"]}),
        (DELETE, "/tags", {"tags": ["x"]}),
    ]
    for wanted in (UNKNOWN, ZERO, "no-uuid", "{deleted}")
]

READ = [
    Case("an asset", GET, ONE, 200, {"id": "{upload}"}),
    Case("its content", GET, ONE + "/content", 200, {}, check=lambda world, answer: answer == png(1)),
    Case(
        "a reference's content",
        GET,
        "/api/assets/{reference}/content",
        200,
        {},
        check=lambda world, answer: answer == safetensors(1),
    ),
    Case("content that is known", HEAD, "/api/assets/hash/" + MODEL_HASH, 200),
    Case("content that is not", HEAD, "/api/assets/hash/blake3:" + "0" * 64, 404),
    Case("content that was deleted", HEAD, "/api/assets/hash/" + digest(png(3)), 404),
    Case("no hash", HEAD, "/api/assets/hash/x", 400),
    Case("a page", GET, "/api/assets?include_tags=models", 200, {"total": 2}),
    Case("a page that cannot be", GET, "/api/assets?limit=0", 400, error("INVALID_QUERY", "limit")),
    Case("a cursor that is none", GET, "/api/assets?after=x", 400, error("INVALID_CURSOR", "after")),
    Case("tags", GET, "/api/tags?prefix=model_type", 200, {"total": 1}),
    Case("tags that cannot be", GET, "/api/tags?limit=0", 400, error("INVALID_QUERY", "limit")),
    Case("a histogram", GET, "/api/assets/tags/refine?include_tags=models", 200, {"tag_counts.loras": 2}),
    Case("a histogram that cannot be", GET, "/api/assets/tags/refine?limit=0", 400, error("INVALID_QUERY", "limit")),
]


def find(answer: Any, path: str) -> Any:
    """The member at a path with dots."""
    for part in path.split("."):
        answer = answer[part]
    return answer


def run(world: World, case: Case) -> None:
    before = world.state()
    path = case.path.format(**world.ids)
    status, answer, headers = world.send(case.method, quote(path, safe="/?=&:,"), **case.request(world))
    assert status == case.status, (case.id, status, answer)
    for member, value in case.expected.items():
        wanted = value.format(**world.ids) if isinstance(value, str) else value
        assert find(answer, member) == wanted, (case.id, member, answer)
    assert case.check(world, answer), (case.id, answer)
    if status >= 400 or case.method in (GET, HEAD):
        assert world.state() == before, case.id
    if status >= 400 and case.method != HEAD:
        assert headers.get_content_type() == "application/json"
        assert set(answer) <= {"code", "message", "details"} and answer["message"], answer


@pytest.mark.parametrize(
    "cases",
    [READ, REFER, CREATE, UPDATE, EDIT_TAGS, UNKNOWN_IDS, REMOVE],
    ids=["read", "refer", "create", "update", "tags", "unknown ids", "delete"],
)
def test_the_family(world: World, cases: list[Case]) -> None:
    world.ids["spare"] = world.upload(world.new_picture(), "spare.png")
    wrong = []
    for case in cases:
        try:
            run(world, case)
        except (AssertionError, LookupError) as error:
            wrong.append(repr(error))
    assert not wrong, "\n".join(wrong)
