"""Every operation of the asset family, every status it documents: one table, on the standalone host and on ComfyUI.

A refused request changes nothing: not a row that a client can see, not a file.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import sqlite3
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from comfy_assets_node.routes import ROUTES
from PIL import Image
from support.contract import facts_contract
from support.files import picture, safetensors
from support.requests import multipart
from support.status_walker import Case, ServerWorld, json_request, take

pytestmark = pytest.mark.slow

ZERO = "00000000-0000-0000-0000-000000000000"
UNKNOWN = "00000000-0000-7000-8000-00000000abcd"
MAX_UPLOAD_MB = 1
NAMES = {
    "ink.safetensors": "model",
    "scanned.png": "output",
    "photo.png": "input",
    "other.png": "other",
    "note.txt": "note",
    "broken.png": "broken",
    "bomb.png": "bomb",
}


png = partial(picture, size=(80, 40))


def bomb() -> bytes:
    """A picture that says it has 3.6 thousand million pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    small = png(0)
    return small[:12] + header + struct.pack(">I", zlib.crc32(header)) + small[33:]


def digest(content: bytes) -> str:
    return "blake3:" + blake3(content).hexdigest()


def form(*parts: tuple[str, Any]) -> dict[str, Any]:
    """A multipart body; a part's value is text, bytes, or a pair of a file name and bytes."""
    body, headers = multipart(parts)
    return {"body": body, "headers": headers}


class World(ServerWorld):
    """A server with assets to work on."""

    def __init__(self, server: Any, user: str | None = None) -> None:
        super().__init__(server, user=user)
        self.users: dict[str, str] = {}
        self.numbers = iter(range(1, 1 << 20))

    def fill(self) -> None:
        """A scanned model, output and input; an upload, a reference, and one of each that is deleted."""
        for asset in self.listed():
            self.ids[NAMES[asset["name"]]] = asset["id"]
        for number, name in enumerate(("upload", "used", "deleted", "gone", "versioned"), start=1):
            self.ids[name] = self.upload(png(number), f"{name}.png")
        for name in ("deleted", "gone"):
            self.send("DELETE", f"/api/assets/{self.ids[name]}")
        answer = self.send(
            "POST",
            "/api/assets/from-hash",
            **json_request({"hash": digest(safetensors(1)), "tags": ["models", "loras"]}),
        )
        assert answer.status == 201, answer
        self.ids["reference"] = answer.json["id"]
        for kind, user, name in (("share", "holiday", "used"), ("workflow_version", "v7", "versioned")):
            self.execute(
                "INSERT INTO asset_uses (asset_id, kind, used_by) SELECT id, ?, ? FROM assets WHERE uuid = ?",
                kind,
                user,
                self.ids[name],
            )

    def execute(self, sql: str, *parameters: Any) -> None:
        """Set by hand what no operation sets yet."""
        with closing(sqlite3.connect(self.base / "user/__comfy_assets/library.db", timeout=10)) as conn, conn:
            assert conn.execute(sql, parameters).rowcount == 1

    def upload(self, content: bytes, name: str, *parts: tuple[str, Any]) -> str:
        answer = self.send("POST", "/api/assets", **form(("file", (name, content)), *parts))
        assert answer.status == 201, answer
        return str(answer.json["id"])

    def new_picture(self) -> bytes:
        return png(next(self.numbers) << 4)


def make_files(base: Path) -> Path:
    for name in ("models/loras", "input", "output"):
        (base / name).mkdir(parents=True)
    for name, content in {
        "models/loras/ink.safetensors": safetensors(1),
        "output/scanned.png": png(100),
        "input/photo.png": png(101),
        "output/other.png": png(102),
        "output/note.txt": b"a note",
        "output/broken.png": png(103)[:-60],
        "output/bomb.png": bomb(),
    }.items():
        (base / name).write_bytes(content)
    return base


@pytest.fixture(scope="module")
def world(start: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server as most have it, with one user."""
    base = make_files(tmp_path_factory.mktemp("world") / "base")
    with start(base, COMFY_ASSETS_MAX_UPLOAD_MB=str(MAX_UPLOAD_MB)) as server:
        server.wait_until_read()
        world = World(server)
        world.fill()
        for name in ("broken.png", "bomb.png"):  # from then on their lists give no thumbnail of them
            assert server.get(f"{VIEW}{name}").status == 400
        yield world


@pytest.fixture(scope="module")
def shared_world(start: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server with two users; the requests are Bob's, the uploads Ann's."""
    with start(make_files(tmp_path_factory.mktemp("shared") / "base"), "--multi-user") as server:
        server.wait_until_up()
        ann, bob = (server.post("/users", {"username": name}).json for name in ("ann", "bob"))
        server.wait_until_read(**{"comfy-user": ann})
        owner = World(server, ann)
        owner.fill()
        world = World(server, bob)
        world.ids, world.users = owner.ids, {"ann": ann, "bob": bob, "nobody": "nobody"}
        yield world


@pytest.fixture(scope="module")
def broken_world(start: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server whose store cannot be opened."""
    base = make_files(tmp_path_factory.mktemp("broken") / "base")
    (base / "user").mkdir()
    (base / "user" / "__comfy_assets").write_text("a file where the folder should be")
    with start(base) as server:
        server.wait_until_up()
        world = World(server)
        world.ids = dict.fromkeys((*NAMES.values(), "upload", "reference"), UNKNOWN)
        yield world


Request = Callable[[World], dict[str, Any]]


def error(code: str, field_name: str | None = None) -> dict[str, Any]:
    return {"code": code, **({"details.field": field_name} if field_name else {})}


def upload(*parts: tuple[str, Any], name: str = "new.png", content: bytes | None = None) -> Request:
    """An upload of a new picture, or of this content, the file first."""
    return lambda world: form(("file", (name, content if content is not None else world.new_picture())), *parts)


def file_last(*parts: tuple[str, Any]) -> Request:
    return lambda world: form(*parts, ("file", ("last.png", world.new_picture())))


def json_body(value: Any) -> Request:
    return lambda world: json_request(value)


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
    Case(
        "an id that another asset has",
        POST,
        ASSETS,
        200,
        {"id": "{upload}", "created_new": False, "name": "upload.png"},
        lambda world: upload(("id", world.ids["upload"]))(world),
    ),
    Case(
        "an id that a deleted asset had",
        POST,
        ASSETS,
        201,
        {"id": "{gone}"},
        lambda world: upload(("id", world.ids["gone"]))(world),
        on_disk,
    ),
    Case("a name that is no text", POST, ASSETS, 400, error("INVALID_BODY", "name"), upload(("name", b"\xff"))),
    Case(
        "a field that is too long",
        POST,
        ASSETS,
        400,
        error("INVALID_BODY", "user_metadata"),
        upload(("user_metadata", '"' + "x" * (300 << 10) + '"')),
    ),
    Case(
        "too many fields",
        POST,
        ASSETS,
        400,
        error("INVALID_BODY"),
        upload(*((f"f{number}", "x") for number in range(101))),
    ),
    Case("a field given twice", POST, ASSETS, 400, error("INVALID_BODY", "name"), upload(("name", "a"), ("name", "b"))),
    Case(
        "a part without a name",
        POST,
        ASSETS,
        400,
        error("INVALID_BODY"),
        raw(b"--x\r\nContent-Type: text/plain\r\n\r\na\r\n--x--\r\n", "multipart/form-data; boundary=x"),
    ),
    Case(
        "a form in a form",
        POST,
        ASSETS,
        400,
        error("INVALID_BODY"),
        raw(
            b"--x\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n--y\r\n\r\na\r\n--y--\r\n--x--\r\n",
            "multipart/form-data; boundary=x",
        ),
    ),
    Case("a file that is called ..", POST, ASSETS, 400, error("INVALID_NAME", "file"), upload(name="..")),
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
    Case("neither multipart nor a link", POST, ASSETS, 400, error("INVALID_BODY"), json_body({})),
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
            json_body({"hash": MODEL_HASH, "tags": ["x"], **value}),  # type: ignore[dict-item]
        )
        for value, code in [
            ({"tags": []}, "INVALID_BODY"),
            ({"tags": "x"}, "INVALID_BODY"),
            ({"tags": [1]}, "INVALID_BODY"),
            ({"tags": None}, "INVALID_BODY"),
            ({"hash": 1}, "INVALID_BODY"),
            ({"hash": None}, "INVALID_BODY"),
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
        for content in (b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"tags": ["x"]}')
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
        lambda world: json_request(
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
        lambda world: json_request({"preview_id": world.ids["deleted"]}),
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
    Case(
        "an asset in a workflow",
        DELETE,
        "/api/assets/{versioned}",
        409,
        {"code": "ASSET_IN_USE", "details.used_by": [{"kind": "workflow_version", "id": "v7"}]},
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
    Case(
        "content to look at",
        GET,
        ONE + "/content?disposition=inline",
        200,
        {},
        check=lambda _, answer: answer == png(1),
    ),
    Case("content in another way", GET, ONE + "/content?disposition=x", 400, error("INVALID_QUERY", "disposition")),
    *(
        Case(f"a page with {query}", GET, f"/api/assets?{query}", 400, error(code, query.partition("=")[0]))
        for query, code in [
            ("limit=501", "INVALID_QUERY"),
            ("limit=x", "INVALID_QUERY"),
            ("offset=-1", "INVALID_QUERY"),
            ("sort=colour", "INVALID_QUERY"),
            ("order=up", "INVALID_QUERY"),
            ("include_public=perhaps", "INVALID_QUERY"),
            ("metadata_filter=[", "INVALID_QUERY"),
            ("metadata_filter=1", "INVALID_QUERY"),
            ("include_tags=" + ",".join(map(str, range(101))), "INVALID_TAG_FILTER"),
            ("exclude_tags=" + ",".join(map(str, range(101))), "INVALID_TAG_FILTER"),
            ("name_contains=%00", "INVALID_QUERY"),
            ("after=e30&sort=last_access_time", "INVALID_CURSOR"),
        ]
    ),
    *(
        Case(f"{path} with {query}", GET, f"{path}?{query}", 400, error("INVALID_QUERY", query.partition("=")[0]))
        for path, queries in [
            ("/api/tags", ["limit=1001", "offset=-1", "order=up", "include_zero=2", "include_public=2", "prefix=%00"]),
            ("/api/assets/tags/refine", ["limit=1001", "metadata_filter=x", "include_public=2", "name_contains=%00"]),
        ]
        for query in queries
    ),
]


def is_jpeg(world: World, answer: Any) -> bool:
    return Image.open(io.BytesIO(answer)).format == "JPEG"


VIEW = "/api/view?res=64&filename="
SHOW = [
    Case("a thumbnail", GET, VIEW + "scanned.png", 200, {}, check=is_jpeg),
    Case("the transparency", GET, VIEW + "scanned.png&channel=alpha", 200, {}, check=is_jpeg),
    Case("a thumbnail of an input", GET, VIEW + "photo.png&type=input", 200, {}, check=is_jpeg),
    Case("a thumbnail by its hash", GET, VIEW + digest(png(100)), 200, {}, check=is_jpeg),
    *(
        Case(
            f"a thumbnail with {query}",
            GET,
            f"/api/view?filename=scanned.png&{query}",
            400,
            error("INVALID_QUERY", name),
        )
        for query, name in [
            ("res=63", "res"),
            ("res=1025", "res"),
            ("res=x", "res"),
            ("res=64&channel=x", "channel"),
            ("res=64&type=models", "type"),
        ]
    ),
    Case("a thumbnail of nothing", GET, "/api/view?res=64", 400, error("INVALID_QUERY", "filename")),
    Case("a thumbnail from elsewhere", GET, VIEW + "../scanned.png", 400, error("INVALID_NAME", "filename")),
    Case("a folder elsewhere", GET, VIEW + "scanned.png&subfolder=..", 400, error("INVALID_NAME", "subfolder")),
    Case("a thumbnail of a text", GET, VIEW + "note.txt", 400, error("NO_THUMBNAIL")),
    Case("a thumbnail of half a picture", GET, VIEW + "broken.png", 400, error("IMAGE_UNREADABLE")),
    Case("a thumbnail of a bomb", GET, VIEW + "bomb.png", 400, error("IMAGE_TOO_LARGE")),
    Case("a thumbnail of what is not there", GET, VIEW + "x.png", 404, error("FILE_NOT_FOUND")),
    Case("a hash that nothing has", GET, VIEW + "blake3:" + "0" * 64, 404, error("FILE_NOT_FOUND")),
]

SEED, PRUNE = "/api/assets/seed", "/api/assets/prune"
UPKEEP = [
    *(
        Case(
            f"a scan of {str(value)[:30]}", POST, SEED, 400, error("INVALID_BODY", "roots"), json_body({"roots": value})
        )
        for value in ([], ["nowhere"], ["input", "../x"], ["/"], ["input/sub"], "input")
    ),
    Case("a scan of a number", POST, SEED, 400, error("INVALID_BODY"), json_body({"roots": [1]})),
    Case("a scan of half a body", POST, SEED, 400, error("INVALID_BODY"), raw(b"{")),
    Case("no scan to stop", POST, SEED + "/cancel", 200, {"status": "idle"}),
    Case("how the scan went", GET, SEED + "/status", 200, {"status": "completed"}),
    Case("nothing to mark", POST, PRUNE, 200, {"status": "completed", "marked": 0}),
    Case(
        "a scan",
        POST,
        SEED,
        200,
        {"status": "started"},
        json_body({"roots": ["input", "loras"]}),
        check=lambda world, answer: world.server.wait_until_read() is None,
    ),
]

# Every operation, asked for something that it would do.
WORKING: list[tuple[str, str, Request]] = [
    (GET, ASSETS, lambda world: {}),
    (POST, ASSETS, upload()),
    (POST, FROM_HASH, json_body({"hash": OUTPUT_HASH, "tags": ["output"]})),
    (GET, ONE, lambda world: {}),
    (PUT, ONE, json_body({"name": "other"})),
    (DELETE, ONE, lambda world: {}),
    (GET, ONE + "/content", lambda world: {}),
    (POST, TAGS, json_body({"tags": ["x"]})),
    (DELETE, TAGS, json_body({"tags": ["x"]})),
    (HEAD, "/api/assets/hash/" + MODEL_HASH, lambda world: {}),
    (GET, "/api/tags", lambda world: {}),
    (GET, "/api/assets/tags/refine", lambda world: {}),
    (POST, SEED, lambda world: {}),
    (GET, SEED + "/status", lambda world: {}),
    (POST, SEED + "/cancel", lambda world: {}),
    (POST, PRUNE, lambda world: {}),
    (GET, VIEW + "scanned.png", lambda world: {}),
]


def by(user: str, request: Request) -> Request:
    """The same request, of another user."""

    def changed(world: World) -> dict[str, Any]:
        options = request(world)
        return {**options, "headers": {**options.get("headers", {}), "comfy-user": world.users[user]}}

    return changed


# Pictures in a page come without a user, so that viewFile answers anybody.
UNKNOWN_USER = [
    Case(f"{method} {path} of nobody", method, path, 401, error("UNAUTHORIZED"), by("nobody", request))
    for method, path, request in WORKING
    if path != VIEW + "scanned.png"
]
ANOTHERS = [
    *(
        Case(f"{method} {path} of Ann's", method, path, 404, error("ASSET_NOT_FOUND"), request)
        for method, path, request in WORKING
        if path.startswith(ONE)
    ),
    Case("Ann's content", HEAD, "/api/assets/hash/" + digest(png(1)), 404),
    Case("Ann's picture", GET, VIEW + digest(png(1)), 404, error("FILE_NOT_FOUND")),
    Case("her assets", GET, "/api/assets?include_tags=input", 200, {"total": 1}),
    Case("her tags", GET, "/api/assets/tags/refine?include_tags=input", 200, {"tag_counts.input": 1}),
    Case(
        "a reference to Ann's content",
        POST,
        FROM_HASH,
        404,
        error("ASSET_NOT_FOUND", "hash"),
        json_body({"hash": digest(png(1)), "tags": ["input"]}),
    ),
    Case(
        "Ann's id",
        POST,
        ASSETS,
        400,
        error("INVALID_ID", "id"),
        lambda world: upload(("id", world.ids["upload"]))(world),
    ),
    Case(
        "Ann's picture as a preview",
        POST,
        ASSETS,
        400,
        error("INVALID_PREVIEW_ID", "preview_id"),
        lambda world: upload(("preview_id", world.ids["upload"]))(world),
    ),
    Case(
        "Ann's picture as the preview of a model",
        PUT,
        "/api/assets/{model}",
        404,
        error("ASSET_NOT_FOUND", "preview_id"),
        lambda world: json_request({"preview_id": world.ids["upload"]}),
    ),
    Case("Ann's content once more", POST, ASSETS, 201, {"created_new": True}, upload(content=png(1)), on_disk),
]
STORE_AWAY = [
    Case(f"{method} {path} without a store", method, path, 500, error("STORE_UNAVAILABLE"), request)
    for method, path, request in WORKING
]


def run_all(world: World, cases: list[Case]) -> None:
    wrong = []
    for case in cases:
        try:
            take(world, case)
        except (AssertionError, LookupError, TypeError) as error:
            wrong.append(repr(error))
    assert not wrong, "\n".join(wrong)


FAMILY = {
    "read": READ,
    "show": SHOW,
    "refer": REFER,
    "create": CREATE,
    "update": UPDATE,
    "tags": EDIT_TAGS,
    "unknown ids": UNKNOWN_IDS,
    "delete": REMOVE,
    "upkeep": UPKEEP,
}


@pytest.mark.parametrize("group", FAMILY)
def test_the_family(world: World, group: str) -> None:
    world.ids["spare"] = world.upload(world.new_picture(), "spare.png")
    run_all(world, FAMILY[group])


@pytest.mark.parametrize("cases", [UNKNOWN_USER, ANOTHERS], ids=["an unknown user", "another's assets"])
def test_several_users(shared_world: World, cases: list[Case]) -> None:
    run_all(shared_world, cases)


def test_a_store_that_cannot_be_opened(broken_world: World) -> None:
    run_all(broken_world, STORE_AWAY)


@contextmanager
def blocked(folder: Path) -> Iterator[None]:
    """A file where a folder should be."""
    aside = folder.with_name(folder.name + "-aside")
    if folder.exists():
        folder.rename(aside)
    folder.write_bytes(b"")
    try:
        yield
    finally:
        folder.unlink()
        if aside.exists():
            aside.rename(folder)


def test_a_disk_that_refuses(world: World) -> None:
    world.ids["kept"] = world.upload(world.new_picture(), "kept.png")
    with blocked(world.base / "temp"):
        take(world, Case("no folder", POST, ASSETS, 500, error("STORAGE_FAILED"), upload(("tags", '["temp"]'))))
    with blocked(world.base / "user/__comfy_assets/trash"):
        take(world, Case("no trash", DELETE, "/api/assets/{kept}", 500, error("STORAGE_FAILED")))


def test_a_file_that_has_vanished(world: World) -> None:
    world.ids["vanished"] = world.upload(world.new_picture(), "vanished.png")
    (world.base / "input/vanished.png").unlink()
    answer = world.send(GET, f"/api/assets/{world.ids['vanished']}/content")
    assert (answer.status, answer.json["code"]) == (404, "ASSET_CONTENT_MISSING")


def test_every_status_of_every_operation_has_a_row() -> None:
    """302 is for servers that keep files elsewhere."""
    documented = facts_contract().statuses()
    cases = [case for group in FAMILY.values() for case in group] + UNKNOWN_USER + ANOTHERS + STORE_AWAY
    seen = {(operation_of(case), case.status) for case in cases}
    prefixes = ("/api/assets", "/api/tags", "/api/view")
    family = [route for route in ROUTES if route.path.startswith(prefixes) and route.operation.id in documented]
    wanted = {
        (route.operation.id, status)
        for route in family
        for status in documented[route.operation.id][1]
        if status != 302
    }
    assert wanted - seen == set()
    assert {route.operation.id for route in family} == {operation for operation, _ in seen}


def operation_of(case: Case) -> str:
    """The operation that a row is about."""
    path = case.path.partition("?")[0]
    for route in sorted(ROUTES, key=lambda route: "{" in route.path):  # fixed paths first
        if route.method == case.method and re.fullmatch(re.sub(r"{\w+}", "[^/]+", route.path), path):
            return route.operation.id
    raise LookupError(path)
