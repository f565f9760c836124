"""``comfy-assets export`` and ``import``."""

from __future__ import annotations

import asyncio
import io
import json
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from comfy_assets_node.comfy_assets.cli import main
from comfy_assets_node.comfy_assets.db.connection import Database
from comfy_assets_node.comfy_assets.workflows.service import About, WorkflowService
from PIL import Image

CHILD = Path(__file__).with_name("child.py")
DAY_NS = 86_400 * 10**9
TABLES = ("assets", "files", "folders", "contents", "tag_sets", "tasks", "trash", "workflows", "workflow_versions")


def picture(colour: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(out, "PNG")
    return out.getvalue()


def weights(fill: int) -> bytes:
    header = b'{"w":{"dtype":"F16","shape":[4],"data_offsets":[0,8]}}'
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + bytes([fill]) * 8


RED, BLUE = picture("red"), picture("blue")
LORA = weights(1)
GRAPH: dict[str, Any] = {
    "nodes": [
        {"id": 1, "type": "LoadImage", "widgets_values": ["sub/red.png", "image"]},
        {"id": 2, "type": "LoadImage", "widgets_values": ["blue.png [output]", "image"]},
        {"id": 3, "type": "LoraLoader", "widgets_values": ["style/fine.safetensors", 1.0]},
    ]
}
TEXT = json.dumps(GRAPH, indent=3).encode() + b"\n"
FILES = {"input/sub/red.png": RED, "output/blue.png": BLUE, "models/loras/style/fine.safetensors": LORA}


def hash_of(content: bytes) -> str:
    return "blake3:" + blake3(content).hexdigest()


class Place:
    """A base directory with a library, and the command run on it."""

    def __init__(self, path: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.path = path
        self.capture = capture
        for kind in ("models/checkpoints", "models/loras", "input", "output", "user"):
            (path / kind).mkdir(parents=True)

    def write(self, relative: str, content: bytes) -> Path:
        path = self.path / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        stamp = path.stat().st_mtime_ns - DAY_NS
        os.utime(path, ns=(stamp, stamp))
        return path

    def run(self, *arguments: object) -> tuple[int, str, str]:
        self.capture.readouterr()
        status = main([*map(str, arguments), "--base-directory", str(self.path)])
        out, err = self.capture.readouterr()
        return status, out, err

    def take(self, bundle: Path, *options: str, status: int = 0) -> Any:
        """Import; the report."""
        ended, out, err = self.run("import", bundle, "--json", *options)
        assert ended == status, err
        return json.loads(out)

    def refusal(self, bundle: Path, *options: str) -> str:
        """Import what is refused; the reason, when nothing has changed."""
        before = self.state()
        status, out, err = self.run("import", bundle, *options)
        assert (status, out) == (1, "")
        assert self.state() == before
        return err

    def scanned(self) -> Place:
        assert self.run("scan")[0] == 0
        return self

    def work(self, work: Callable[[Database], Any]) -> Any:
        """What some work on the store comes to."""

        async def run() -> Any:
            db = await Database.open(self.store)
            try:
                return await work(db)
            finally:
                await db.close()

        return asyncio.run(run())

    def save(self, text: bytes = TEXT, name: str | None = "portrait", description: str | None = None) -> str:
        """The id of a new workflow."""
        about = About(name, description)
        return str(self.work(lambda db: WorkflowService(db).create(about, text, "default")).id)

    def content(self, workflow_id: str) -> Any:
        return self.work(lambda db: WorkflowService(db).content(workflow_id, "default"))

    @property
    def store(self) -> Path:
        return self.path / "user" / "__comfy_assets" / "library.db"

    def rows(self, sql: str) -> list[Any]:
        async def fetch(db: Database) -> list[Any]:
            return await db.fetch_all(sql)

        return list(self.work(fetch))

    def files(self) -> dict[str, bytes]:
        """Everything outside the store."""
        return {
            path.relative_to(self.path).as_posix(): path.read_bytes() if path.is_file() else b""
            for kind in ("models", "input", "output")
            for path in sorted((self.path / kind).rglob("*"))
        }

    def state(self) -> Any:
        return self.files(), {table: self.rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in TABLES}


@pytest.fixture
def giver(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Place:
    """A library with a workflow and all that it needs."""
    place = Place(tmp_path / "giver", capsys)
    for relative, content in FILES.items():
        place.write(relative, content)
    return place.scanned()


@pytest.fixture
def taker(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Place:
    """An empty library."""
    return Place(tmp_path / "taker", capsys).scanned()


@pytest.fixture
def bundle(giver: Place, tmp_path: Path) -> Path:
    """A workflow with all its assets."""
    giver.save(description="Ein Bild")
    out = tmp_path / "out.zip"
    status, _, err = giver.run("export", "portrait", out, "--models")
    assert status == 0, err
    return out


def manifest_of(bundle: Path) -> Any:
    with zipfile.ZipFile(bundle) as archive:
        return json.loads(archive.read("manifest.json"))


def test_a_workflow_is_the_same_in_another_library(bundle: Path, taker: Place) -> None:
    report = taker.take(bundle)
    assert sorted((each["kind"], each["path"], each["outcome"]) for each in report["assets"]) == [
        ("input", "sub/red.png", "added"),
        ("models", "style/fine.safetensors", "added"),
        ("output", "blue.png", "added"),
    ]
    for relative, content in FILES.items():
        assert (taker.path / relative).read_bytes() == content
    with Image.open(taker.path / "input/sub/red.png") as image:
        image.load()
    content = taker.content(report["workflow"]["id"])
    assert content.text == TEXT
    assert len(content.asset_ids) == 3
    assert taker.rows("SELECT name, description, default_view FROM workflows") == [("portrait", "Ein Bild", "workflow")]
    before = taker.state()
    again = taker.take(bundle)
    assert (again["workflow"]["id"], again["workflow"]["created"]) == (report["workflow"]["id"], False)
    assert {each["outcome"] for each in again["assets"]} == {"have"}
    assert taker.state() == before
    status, _, _ = taker.run("scan")
    assert status == 0
    assert taker.rows("SELECT count(*) FROM assets") == [(3,)]
