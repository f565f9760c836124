"""``comfy-assets export`` and ``import``."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import os
import shutil
import signal
import sqlite3
import stat
import struct
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from blake3 import blake3
from comfy_assets_node.comfy_assets.assets.collections import add_contents
from comfy_assets_node.comfy_assets.cli import main
from comfy_assets_node.comfy_assets.db import collections, shares
from comfy_assets_node.comfy_assets.db.connection import Database
from comfy_assets_node.comfy_assets.db.shares import NewShare
from comfy_assets_node.comfy_assets.host.base import HostFolders
from comfy_assets_node.comfy_assets.host.testing import MemoryHost
from comfy_assets_node.comfy_assets.models import SharedAsset
from comfy_assets_node.comfy_assets.workflows.service import WorkflowDetails, WorkflowService
from comfy_assets_node.comfy_assets.workflows.sync import WorkflowSync
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from support.examples import examples
from support.files import picture, safetensors
from support.windows import symbolic_links

pytestmark = pytest.mark.slow
CHILD = Path(__file__).with_name("child.py")
MIB = 1 << 20
DAY_NS = 86_400 * 10**9
TABLES = ("assets", "files", "folders", "contents", "tag_sets", "trash", "workflows", "workflow_versions")


RED, BLUE = picture("red"), picture("blue")
LORA = safetensors(1)
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
    """A base directory with a library, and a way to run the command on it."""

    def __init__(self, path: Path, capture: pytest.CaptureFixture[str] | None) -> None:
        self.path = path
        self.capture = capture
        for kind in ("models/checkpoints", "models/loras", "input", "output", "user"):
            (path / kind).mkdir(parents=True, exist_ok=True)

    def write(self, relative: str, content: bytes) -> Path:
        path = self.path / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        stamp = path.stat().st_mtime_ns - DAY_NS
        os.utime(path, ns=(stamp, stamp))
        return path

    def run(self, *arguments: object) -> tuple[int, str, str]:
        if self.capture is not None:
            self.capture.readouterr()
        status = main([*map(str, arguments), "--base-directory", str(self.path)])
        return (status, *self.capture.readouterr()) if self.capture is not None else (status, "", "")

    def take(self, bundle: Path, *options: str, status: int = 0) -> Any:
        """Import; the report."""
        ended, out, err = self.run("import", bundle, "--json", *options)
        assert ended == status, err
        return json.loads(out)

    def refusal(self, bundle: Path, *options: str) -> str:
        """Import a bundle that is rejected, check that nothing has changed, and return the reason."""
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

    def service(self, db: Database) -> WorkflowService:
        host = MemoryHost(self.store.parent, HostFolders((), (), self.path))
        return WorkflowService(db, WorkflowSync(db, host, MIB))

    def save(self, text: bytes = TEXT, name: str | None = "portrait", description: str | None = None) -> str:
        """Save a workflow, and return its id."""
        about = WorkflowDetails(name, description)
        return str(self.work(lambda db: self.service(db).create(about, text, "default")).id)

    def content(self, workflow_id: str) -> Any:
        return self.work(lambda db: self.service(db).content(workflow_id, "default"))

    @property
    def store(self) -> Path:
        return self.path / "user" / "__comfy_assets" / "library.db"

    def rows(self, sql: str) -> list[Any]:
        if not self.store.exists():

            async def create(db: Database) -> None:
                assert db.can_search

            self.work(create)
        # Not through Database, whose four connections and threads take longer than most of these tests.
        with closing(sqlite3.connect(self.store)) as connection:
            return connection.execute(sql).fetchall()

    def files(self) -> dict[str, bytes]:
        """Everything outside the store."""
        return {
            path.relative_to(self.path).as_posix(): path.read_bytes() if path.is_file() else b""
            for kind in ("models", "input", "output")
            for path in sorted((self.path / kind).rglob("*"))
        }

    def state(self) -> Any:
        """Return the files, and the rows without the times of workflow files.

        The time of a file that was written just before it was recorded is left open until the next sync.
        """
        return self.files(), {
            table: self.rows(f"SELECT {self.columns(table)} FROM {table} ORDER BY 1, 2") for table in TABLES
        }

    def columns(self, table: str) -> str:
        """The columns of a table, but for the times of workflow files."""
        [(names,)] = self.rows(
            f"SELECT group_concat(name) FROM pragma_table_info('{table}') WHERE name <> 'file_mtime_ns'"
        )
        return str(names)


def filled(path: Path, capture: pytest.CaptureFixture[str] | None) -> Place:
    """A library with all assets that the workflow needs."""
    place = Place(path, capture)
    for relative, content in FILES.items():
        place.write(relative, content)
    return place.scanned()


@pytest.fixture
def giver(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Place:
    """A library with all assets that the workflow needs."""
    return filled(tmp_path / "giver", capsys)


@pytest.fixture
def taker(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Place:
    """An empty library."""
    return Place(tmp_path / "taker", capsys).scanned()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A bundle with all the assets of the workflow."""
    folder = tmp_path_factory.mktemp("exported")
    giver = filled(folder / "giver", None)
    giver.save(description="Ein Bild")
    assert giver.run("export", "portrait", folder / "out.zip", "--models")[0] == 0
    return (folder / "out.zip").read_bytes()


@pytest.fixture
def bundle(exported: bytes, tmp_path: Path) -> Path:
    """A workflow with all its assets."""
    out = tmp_path / "out.zip"
    out.write_bytes(exported)
    return out


@pytest.fixture(scope="module")
def never_changed(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """An empty library for tests that leave it unchanged."""
    return Place(tmp_path_factory.mktemp("empty") / "taker", None).scanned()


@pytest.fixture
def untouched(never_changed: Place, capsys: pytest.CaptureFixture[str]) -> Place:
    """An empty library that must not change."""
    never_changed.capture = capsys
    return never_changed


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


def collected(place: Place, owner: str = "default") -> list[Any]:
    """The collections of a user: name, description, and the names of the assets in their order."""
    rows = place.rows(
        "SELECT c.name, c.description, a.name FROM collections c"
        " LEFT JOIN collection_members m ON m.collection_id = c.id"
        f" LEFT JOIN assets a ON a.id = m.asset_id WHERE c.owner = '{owner}' ORDER BY c.name, m.position"
    )
    return [
        (name, description, [row[2] for row in members if row[2]])
        for (name, description), members in itertools.groupby(rows, key=lambda row: row[:2])
    ]


def test_collections_go_along(giver: Place, taker: Place, tmp_path: Path) -> None:
    """Those that have assets of the workflow, with these alone; they are added to ones that are there."""

    async def collect(db: Database) -> None:
        async with db.transaction() as tx:
            rows = dict(await tx.fetch_all("SELECT name, id FROM assets"))
            for owner, name, members in (
                ("default", "Wall", ["blue.png", "red.png"]),
                ("default", "Other", ["more.png"]),
                ("ann", "Anns", ["red.png"]),
            ):
                row_id = await collections.add(tx, f"{owner}-{name}", owner, name, f"about {name}", 1)
                await collections.put(tx, row_id, [rows[each] for each in members], None, 1)

    giver.write("output/more.png", picture("green"))
    giver.scanned().save()
    giver.work(collect)
    bundle = tmp_path / "out.zip"
    assert giver.run("export", "portrait", bundle, "--models")[0] == 0
    [bundled] = manifest_of(bundle)["collections"]
    assert (bundled["name"], len(bundled["hashes"])) == ("Wall", 2)
    taker.take(bundle)
    assert collected(taker) == [("Wall", "about Wall", ["blue.png", "red.png"])]
    before = taker.state()
    taker.take(bundle)
    assert taker.state() == before and collected(taker) == [("Wall", "about Wall", ["blue.png", "red.png"])]
    taker.work(lambda db: add_contents(db, "wall", None, [], "default"))
    with closing(sqlite3.connect(taker.store)) as connection:
        connection.execute(
            "DELETE FROM collection_members WHERE asset_id = (SELECT id FROM assets WHERE name = 'blue.png')"
        )
        connection.commit()
    taker.take(bundle)
    assert collected(taker) == [("Wall", "about Wall", ["red.png", "blue.png"])]


def tasks(place: Place) -> list[Any]:
    """Return owner, name, payload, result and error of each task of a bundle command."""
    columns = "owner, name, payload, result, error_message"
    rows = place.rows(f"SELECT {columns} FROM tasks WHERE name LIKE 'workflow%' AND status <> 'running' ORDER BY rowid")
    return [
        [owner, name, json.loads(payload), json.loads(result), error] for owner, name, payload, result, error in rows
    ]


def test_exports_and_imports_are_tasks(bundle: Path, giver: Place, taker: Place) -> None:
    giver.save()
    assert giver.run("export", "portrait", bundle, "--models", "--force")[0] == 0
    ((owner, name, payload, result, error),) = tasks(giver)
    assert (owner, name, error) == ("default", "workflow_export", None)
    assert (payload["bundle"], payload["version"], payload["models"]) == (bundle.name, 1, True)
    assert result == {"assets": 3, "problems": []}
    workflow_id = taker.take(bundle, "--user", "ann")["workflow"]["id"]
    told = {"workflow_id": workflow_id, "have": 0, "added": 3, "missing": 0}
    assert tasks(taker) == [["ann", "workflow_import", {"bundle": bundle.name}, told, None]]
    bundle.write_bytes(b"no archive")
    assert "no archive" not in taker.refusal(bundle)
    assert tasks(taker)[1][:3] == ["default", "workflow_import", {"bundle": bundle.name}]
    assert tasks(taker)[1][4].startswith("BundleError: ")


Rebuild = Callable[[dict[str, Any], dict[str, bytes]], Any]


def rebuilt(bundle: Path, change: Rebuild) -> Path:
    """Rewrite the bundle after a change to its manifest and members."""
    with zipfile.ZipFile(bundle) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    manifest = json.loads(members.pop("manifest.json"))
    more = change(manifest, members)
    target = bundle.with_name("changed.zip")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two members with one name
        with zipfile.ZipFile(target, "w") as archive:
            if "manifest.json" not in members:
                archive.writestr("manifest.json", json.dumps(manifest))
            for name, content in members.items():
                archive.writestr(name, content)
            for info, content in more or ():
                archive.writestr(info, content)
    return target


def asset(manifest: dict[str, Any], kind: str = "input") -> dict[str, Any]:
    """Return the asset of a kind in a manifest."""
    return next(each for each in manifest["assets"] if each["kind"] == kind)


def asset_with(kind: str = "input", **members: Any) -> Rebuild:
    """Change members of an asset."""
    return lambda manifest, _: asset(manifest, kind).update(members)


def of_kind(kind: str) -> Rebuild:
    return lambda manifest, _: manifest["assets"][0].update(kind=kind)


def of_workflow(**said: Any) -> Rebuild:
    return lambda manifest, _: manifest["workflow"].update(said)


def path_of(path: str) -> Rebuild:
    return asset_with(path=path)


def extra(name: str, content: bytes = b"x", mode: int = 0, method: int = zipfile.ZIP_STORED) -> Rebuild:
    """Add a member."""

    def change(manifest: dict[str, Any], members: dict[str, bytes]) -> Any:
        info = zipfile.ZipInfo(name)
        info.external_attr, info.compress_type = mode << 16, method
        return [(info, content)]

    return change


def in_another_form(mode: int = 0, method: int = zipfile.ZIP_STORED, name: str | None = None) -> Rebuild:
    """Store the image as another kind of member."""

    def change(manifest: dict[str, Any], members: dict[str, bytes]) -> Any:
        member = asset(manifest)["member"]
        return extra(name or member, members.pop(member), mode, method)(manifest, members)

    return change


def member(name: str, content: bytes | None) -> Rebuild:
    """Replace the content of a member, or remove it."""

    def change(manifest: dict[str, Any], members: dict[str, bytes]) -> None:
        if content is None:
            del members[name]
        else:
            members[name] = content

    return change


def wrong_bytes(manifest: dict[str, Any], members: dict[str, bytes]) -> None:
    members[asset(manifest)["member"]] = RED[:-1] + b"?"


def swapped(manifest: dict[str, Any], members: dict[str, bytes]) -> None:
    one, other = asset(manifest)["member"], asset(manifest, "models")["member"]
    members[one], members[other] = members[other], members[one]


def no_bytes(manifest: dict[str, Any], members: dict[str, bytes]) -> None:
    del members[asset(manifest)["member"]]


def twice(manifest: dict[str, Any], members: dict[str, bytes]) -> Any:
    return extra(asset(manifest)["member"], RED)(manifest, members)


def same_place(manifest: dict[str, Any], members: dict[str, bytes]) -> None:
    again = {**asset(manifest, "output"), "kind": "input", "path": asset(manifest)["path"].upper()}
    manifest["assets"].append(again)


def many(manifest: dict[str, Any], members: dict[str, bytes]) -> None:
    one = {**asset(manifest), "member": None}
    manifest["assets"] = [{**one, "path": f"{number}.png"} for number in range(10_001)]


def bomb(manifest: dict[str, Any], members: dict[str, bytes]) -> Any:
    content = bytes(65 << 20)
    said = asset(manifest)
    del members[said["member"]]
    said.update(hash=hash_of(content), size=len(content), member=f"assets/{blake3(content).hexdigest()}")
    return extra(said["member"], content, method=zipfile.ZIP_DEFLATED)(manifest, members)


def huge(manifest: dict[str, Any], members: dict[str, bytes]) -> None:
    asset(manifest)["size"] = 1 << 60


def workflow_of(text: bytes) -> Rebuild:
    def change(manifest: dict[str, Any], members: dict[str, bytes]) -> None:
        members["workflow.json"] = text
        manifest["workflow"].update(hash=hash_of(text), size=len(text))

    return change


def with_collections(*collections: dict[str, Any]) -> Rebuild:
    return said_of_all(collections=[*collections])


def said_of_all(**said: Any) -> Rebuild:
    return lambda manifest, _: manifest.update(said)


DEEP = b'{"format":"comfy-assets-bundle","version":1,"made_by":"x","workflow":' + b"[" * 200_000
HOSTILE: dict[str, tuple[Rebuild, str]] = {
    "a path that steps out": (path_of("../../evil.png"), "step to another folder"),
    "a path that steps out in the middle": (path_of("sub/../../evil.png"), "step to another folder"),
    "an absolute path": (path_of("/etc/evil.png"), "must be relative"),
    "a drive": (path_of("C:/evil.png"), "must be relative"),
    "a drive without a slash": (path_of("c:evil.png"), "must be relative"),
    "backslashes": (path_of("sub\\..\\evil.png"), "backslash"),
    "a share of Windows": (path_of("\\\\host\\evil.png"), "backslash"),
    "a device": (path_of("sub/NUL.png"), "reserved by Windows"),
    "a NUL": (path_of("evil.png\0.txt"), "control characters"),
    "an empty part": (path_of("sub//evil.png"), "must not be empty"),
    "an empty path": (path_of(""), "must not be empty"),
    "a hidden file": (path_of(".bashrc"), "hidden name"),
    "a hidden folder": (path_of(".git/config.txt"), "hidden name"),
    "a long name": (path_of("x" * 252 + ".png"), "too long"),
    "a long path": (path_of("x/" * 600 + "x.png"), "too long"),
    "a category that is a path": (asset_with("models", category="../loras"), "step to another folder"),
    "a category with parts": (asset_with("models", category="loras/x"), "category that is a path"),
    "a category of a picture": (asset_with(category="loras"), "category outside models"),
    "a kind that there is not": (of_kind("user"), "cannot be read"),
    "an empty name": (asset_with(name=""), "1 to 255 characters"),
    "a name that is a path": (asset_with(name="../x.png"), "step to another folder"),
    "a workflow whose name is a path": (of_workflow(name="../../x"), "step to another folder"),
    "a workflow with a long name": (of_workflow(name="x" * 256), "1 to 255 characters"),
    "a NUL in a description": (of_workflow(description="\0"), "NUL"),
    "a place of two": (same_place, "twice"),
    "no hash": (asset_with(hash="sha256:00", member=None), "no blake3 hash"),
    "a negative size": (asset_with(size=-1), "impossible size"),
    "a size that is no number": (asset_with(size="12"), "cannot be read"),
    "an impossible size": (asset_with(size=1 << 63), "impossible size"),
    "a size beyond the member's": (huge, "not of the size"),
    "bytes elsewhere": (asset_with(member="workflow.json"), "wrong place"),
    "bytes that are not there": (no_bytes, "which is not there"),
    "too many assets": (many, "more than 10,000"),
    "other bytes": (wrong_bytes, "not what its hash says"),
    "bytes of another": (swapped, "not of the size"),
    "a member nobody names": (extra("readme.txt"), "does not name"),
    "a member that steps out": (extra("../evil.txt"), "does not name"),
    "an absolute member": (extra("/etc/evil.txt"), "does not name"),
    "a member on a drive": (extra("C:\\evil.txt"), "does not name"),
    "a folder": (extra("assets/", b""), "no file"),
    "a link": (extra("assets/link", b"/etc/passwd", stat.S_IFLNK | 0o777), "no file"),
    "a link in an asset's place": (in_another_form(stat.S_IFLNK | 0o777), "no file"),
    "a pipe": (in_another_form(stat.S_IFIFO | 0o600), "no file"),
    "a device file": (in_another_form(stat.S_IFCHR | 0o600), "no file"),
    "another compression": (in_another_form(method=zipfile.ZIP_BZIP2), "compressed in a way"),
    "and another": (in_another_form(method=zipfile.ZIP_LZMA), "compressed in a way"),
    "a member twice": (twice, "two members"),
    "a member twice but for case": (extra("WORKFLOW.json"), "two members"),
    "a bomb": (bomb, "times as large"),
    "a second manifest": (extra("manifest.json ", b"{}"), "does not name"),
    "no workflow": (member("workflow.json", None), "no workflow.json"),
    "another workflow": (member("workflow.json", b"{}"), "not the one"),
    "a workflow that is a list": (workflow_of(b"[]"), "must be a JSON object"),
    "a workflow that is no JSON": (workflow_of(b"{"), "not valid JSON"),
    "a workflow too deep": (workflow_of(b'{"a":' + b"[" * 200_000), "its workflow is invalid"),
    "a manifest that is no JSON": (member("manifest.json", b"\xff\xfe"), "cannot be read"),
    "a manifest too deep": (member("manifest.json", DEEP), "cannot be read"),
    "a manifest too large": (member("manifest.json", b" " * (16 << 20) + b"{}"), "larger than"),
    "a manifest with more": (said_of_all(run="rm"), "cannot be read"),
    "another format": (said_of_all(format="other"), "another format"),
    "a later version": (said_of_all(version=2), "version 2"),
    "a long text": (said_of_all(made_by="x" * 300), "too long"),
    "a collection of another asset": (
        with_collections({"name": "x", "hashes": [hash_of(b"other")]}),
        "not in the bundle",
    ),
    "a collection twice": (with_collections({"name": "x", "hashes": []}, {"name": "X", "hashes": []}), "twice"),
    "a collection without a name": (with_collections({"name": " ", "hashes": []}), "invalid"),
    "a collection with a control character": (with_collections({"name": "a\nb", "hashes": []}), "invalid"),
    "a collection with more": (with_collections({"name": "x", "hashes": [], "run": "rm"}), "cannot be read"),
    "too many collections": (
        with_collections(*({"name": f"{n}", "hashes": []} for n in range(1001))),
        "more than 1,000",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_bundle_changes_nothing(bundle: Path, untouched: Place, case: str) -> None:
    change, reason = HOSTILE[case]
    assert reason in untouched.refusal(rebuilt(bundle, change))


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def encrypted(content: bytes) -> bytes:
    at = content.rindex(b"PK\1\2")
    return content[: at + 8] + b"\1" + content[at + 9 :]


def overlapping(content: bytes) -> bytes:
    """Let the record of the last member point to the data of the first one."""
    at = content.rindex(b"PK\1\2")
    return content[: at + 42] + bytes(4) + content[at + 46 :]


def endless(content: bytes) -> bytes:
    """Let the end record declare an enormous directory."""
    return content[:-10] + struct.pack("<L", 1 << 30) + content[-6:]


def without_manifest(content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("workflow.json", TEXT)
    return out.getvalue()


FORGED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "cut in half": (cut, "not a complete one"),
    "the last byte gone": (lambda content: content[:-1], "not a complete one"),
    "no manifest": (without_manifest, "no manifest.json"),
    "empty": (lambda content: b"", "no zip archive"),
    "something else": (lambda content: RED, "no zip archive"),
    "something in front": (lambda content: b"#!/bin/sh\n" + content, "in front"),
    "something behind": (lambda content: content + b"x", "not a complete one"),
    "encrypted": (encrypted, "encrypted"),
    "overlapping members": (overlapping, "overlap"),
    "an enormous directory": (endless, "too many members"),
    "its beginning overwritten": (lambda content: bytes(4) + content[4:], "damaged"),
}


@pytest.mark.parametrize("case", FORGED)
def test_a_forged_archive_changes_nothing(bundle: Path, untouched: Place, case: str) -> None:
    forge, reason = FORGED[case]
    bundle.write_bytes(forge(bundle.read_bytes()))
    assert reason in untouched.refusal(bundle)


def test_there_must_be_room(bundle: Path, untouched: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=64 << 20))
    assert "there is no room" in untouched.refusal(bundle)


def test_what_differs_is_told(bundle: Path, taker: Place) -> None:
    """Had under another name, beside another file of its name, and of an unknown category."""
    taker.write("input/mine.png", RED)
    taker.write("output/blue.png", picture("green"))
    taker.scanned()
    changed = rebuilt(bundle, asset_with("models", category="nunchaku"))
    report = taker.take(changed, status=3)
    told = {each["kind"]: (each["outcome"], each["note"]) for each in report["assets"]}
    assert told["input"] == ("have", "under another name than the workflow's sub/red.png")
    assert told["output"][0] == "added" and "blue (1).png" in told["output"][1]
    assert told["models"] == ("missing", "there is no folder for nunchaku here")
    assert (taker.path / "output/blue.png").read_bytes() == picture("green")
    assert (taker.path / "output/blue (1).png").read_bytes() == BLUE
    assert not (taker.path / "models/nunchaku").exists()


@pytest.mark.parametrize(
    ("path", "options", "outcome"),
    [
        ("fine.ckpt", (), "missing"),
        ("fine.CKPT", (), "missing"),
        ("fine.ckpt", ("--unsafe-models",), "added"),
        ("fine.exe", ("--unsafe-models",), "missing"),
    ],
)
def test_models_that_can_run_programs(bundle: Path, taker: Place, path: str, options: Any, outcome: str) -> None:
    changed = rebuilt(bundle, asset_with("models", path=path))
    report = taker.take(changed, *options, status=0 if outcome == "added" else 3)
    assert {each["kind"]: each["outcome"] for each in report["assets"]}["models"] == outcome
    assert (taker.path / "models/loras" / path).exists() is (outcome == "added")


@pytest.mark.parametrize("path", ["run.py", "a/RUN.PYC", "lib.so", "x.DLL", "a.sh", "page.html", "nb.ipynb", "x.js"])
@pytest.mark.parametrize("options", [(), ("--unsafe-models",)])
def test_programs_are_no_models(bundle: Path, taker: Place, path: str, options: Any) -> None:
    """Not even in a category that accepts any suffix."""
    changed = rebuilt(bundle, asset_with("models", path=path, category="classifiers"))
    report = taker.take(changed, *options, status=3)
    told = {each["kind"]: (each["outcome"], each.get("note")) for each in report["assets"]}
    assert told["models"] == ("missing", "it is a program, not a model")
    assert not list((taker.path / "models").rglob(Path(path).name))


@pytest.mark.parametrize("path", ["a.dill", "a.h5", "a.KERAS"])
def test_further_pickles_are_unsafe(bundle: Path, taker: Place, path: str) -> None:
    changed = rebuilt(bundle, asset_with("models", path=path, category="classifiers"))
    report = taker.take(changed, status=3)
    assert {each["kind"]: each["outcome"] for each in report["assets"]}["models"] == "missing"


@symbolic_links
@pytest.mark.parametrize("where", ["elsewhere", "user/default", "user/__comfy_assets", "custom_nodes"])
@pytest.mark.parametrize("is_deep", [False, True])
def test_no_link_is_written_through(bundle: Path, taker: Place, tmp_path: Path, where: str, is_deep: bool) -> None:
    target = tmp_path / "out" if where == "elsewhere" else taker.path / where
    target.mkdir(parents=True, exist_ok=True)
    (taker.path / "input" / "sub").symlink_to(target, target_is_directory=True)
    changed = rebuilt(bundle, asset_with("input", path="sub/more/red.png")) if is_deep else bundle
    report = taker.take(changed, status=3)
    told = {each["kind"]: (each["outcome"], each.get("note")) for each in report["assets"]}
    assert told["input"] == ("missing", "a link leads out of the folder there")
    assert told["output"][0] == "added"
    assert not list(target.rglob("*red*"))
    assert not list(target.rglob("*.part"))


@symbolic_links
def test_a_folder_that_is_a_link_itself_is_the_users_choice(bundle: Path, taker: Place, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (taker.path / "input").rmdir()
    (taker.path / "input").symlink_to(tmp_path / "disk", target_is_directory=True)
    taker.take(bundle)
    assert (tmp_path / "disk" / "sub" / "red.png").read_bytes() == RED


def _with_zeros(count: int, size: int) -> Rebuild:
    """Further assets of zeros, which all but vanish when they are compressed."""

    def change(manifest: Any, members: dict[str, bytes]) -> list[tuple[Any, bytes]]:
        more = []
        for number in range(count):
            content = bytes(size - 1) + bytes([number])
            name = "assets/" + hash_of(content).removeprefix("blake3:")
            asset = {"hash": hash_of(content), "size": size, "name": f"{number}.png", "kind": "input"}
            manifest["assets"].append({**asset, "path": f"zeros/{number}.png", "member": name})
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            more.append((info, content))
        return more

    return change


def test_many_members_that_grow_are_refused(bundle: Path, untouched: Place) -> None:
    """Each may become a thousand times as large, all of them together may not."""
    changed = rebuilt(bundle, _with_zeros(5, 20 * MIB))
    assert changed.stat().st_size < MIB / 2
    assert "100 times as large" in untouched.refusal(changed)


def test_the_size_of_all_files_is_limited(bundle: Path, untouched: Place) -> None:
    assert "--max-size" in untouched.refusal(bundle, "--max-size", "1kB")
    with pytest.raises(SystemExit):
        untouched.run("import", bundle, "--max-size", "1 parsec")


def test_few_lines_are_printed_of_many_assets(bundle: Path, taker: Place) -> None:
    """Missing assets are printed first."""

    def change(manifest: Any, members: dict[str, bytes]) -> None:
        for number in range(1000):
            asset = {"hash": hash_of(b"%d" % number), "size": 3, "name": "a.png", "kind": "input"}
            manifest["assets"].append({**asset, "path": f"a/{number}.png"})

    status, out, _ = taker.run("import", rebuilt(bundle, change))
    lines = out.splitlines()
    assert (status, len(lines)) == (3, 203)
    assert lines[0].split()[:2] == ["missing", "input/a/0.png"]
    assert lines[200] == "… and 803 more lines (--json prints all)"


def test_a_model_that_is_not_what_its_name_says(giver: Place, taker: Place, tmp_path: Path) -> None:
    giver.write("models/loras/style/fine.safetensors", b"\x80\x04 a pickle in disguise")
    giver.scanned().save()
    out = tmp_path / "out.zip"
    assert giver.run("export", "portrait", out, "--models")[0] == 0
    report = taker.take(out, status=3)
    assert {each["kind"]: each["outcome"] for each in report["assets"]}["models"] == "missing"
    assert not list((taker.path / "models").rglob("*.safetensors"))


def test_models_go_along_on_request(giver: Place, taker: Place, tmp_path: Path) -> None:
    giver.save()
    out = tmp_path / "out.zip"
    assert giver.run("export", "PORTRAIT", out)[0] == 0
    assert [each["kind"] for each in manifest_of(out)["assets"] if not each.get("member")] == ["models"]
    report = taker.take(out, status=3)
    assert {each["kind"]: each.get("note") for each in report["assets"]} == {
        "input": None, "output": None, "models": "not in the bundle",
    }  # fmt: skip
    taker.write("models/loras/style/fine.safetensors", LORA)
    report = taker.scanned().take(out)
    assert {each["outcome"] for each in report["assets"]} == {"have"}
    assert not report["workflow"]["created"]
    assert len(taker.content(report["workflow"]["id"]).asset_ids) == 3


def test_an_asset_that_was_lost_comes_back(bundle: Path, taker: Place) -> None:
    taker.take(bundle)
    ids = taker.rows("SELECT id, uuid FROM assets ORDER BY id")
    (taker.path / "input/sub/red.png").unlink()
    taker.scanned()
    report = taker.take(bundle)
    assert sorted(each["outcome"] for each in report["assets"]) == ["added", "have", "have"]
    assert taker.rows("SELECT id, uuid FROM assets ORDER BY id") == ids
    assert taker.rows("SELECT count(*) FROM files WHERE missing") == [(0,)]


def test_exports_that_fail_leave_nothing(giver: Place, tmp_path: Path) -> None:
    workflow = giver.save()
    folder = tmp_path / "to"
    folder.mkdir()
    out = folder / "out.zip"
    out.write_bytes(b"precious")
    status, _, err = giver.run("export", workflow, out)
    assert status == 1 and "--force" in err
    (giver.path / "input/sub/red.png").write_bytes(RED[:-1] + b"!")
    status, _, err = giver.run("export", workflow, out, "--force", "--incomplete")
    assert status == 1 and "not what it was" in err
    (giver.path / "input/sub/red.png").unlink()
    status, _, err = giver.run("export", workflow, out, "--force")
    assert status == 1 and "input/sub/red.png" in err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"out.zip": b"precious"}
    status, _, err = giver.run("export", workflow, out, "--force", "--incomplete")
    assert status == 3 and "input/sub/red.png" in err
    assert [each["path"] for each in manifest_of(out)["assets"] if each["kind"] != "models" and not each["member"]] == [
        "sub/red.png"
    ]
    for called, reason in (("nothing", "no share or workflow"), ("portrait", "several")):
        giver.save()
        status, _, err = giver.run("export", called, folder / "other.zip")
        assert status == 1 and reason in err
    assert [path.name for path in folder.iterdir()] == ["out.zip"]


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """Return a folder, and a bundle of one small image."""
    folder = tmp_path_factory.mktemp("fuzz")
    base = folder / "giver"
    (base / "input").mkdir(parents=True)
    (base / "input" / "red.png").write_bytes(RED)
    arguments = ["--base-directory", str(base)]
    assert main(["scan", *arguments]) == 0

    Place(base, None).save(b'{"nodes": [{"widgets_values": ["red.png"]}]}', "small")
    out = folder / "out.zip"
    assert main(["export", "small", str(out), *arguments]) == 0
    taker = folder / "taker"
    (taker / "input").mkdir(parents=True)
    assert main(["scan", "--base-directory", str(taker)]) == 0
    return folder, out.read_bytes()


@settings(max_examples=examples(25, 60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(flips=st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(1, 255)), min_size=1, max_size=3))
def test_flipped_bytes_are_refused_or_make_no_difference(
    libraries: tuple[Path, bytes], flips: list[tuple[int, int]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, valid = libraries
    content = bytearray(valid)
    for at, bits in flips:
        content[at % len(content)] ^= bits
    (folder / "flipped.zip").write_bytes(content)
    target = folder / "taker" / "input" / "red.png"
    status = main(["import", str(folder / "flipped.zip"), "--base-directory", str(folder / "taker")])
    assert status in (0, 1)
    assert "Traceback" not in capsys.readouterr().err
    if status == 0:
        assert target.read_bytes() == RED
    assert sorted(path.name for path in target.parent.iterdir()) in ([], ["red.png"])


@pytest.mark.skipif(os.name == "nt", reason="sends signals")
@pytest.mark.parametrize("moment", ["bundle extracted", "bundle placed", "bundle registered"])
def test_an_import_that_was_killed_can_be_run_again(bundle: Path, taker: Place, moment: str) -> None:
    arguments = ["import", str(bundle), "--base-directory", str(taker.path)]
    ended = subprocess.run([sys.executable, str(CHILD), moment, "kill", *arguments], capture_output=True, timeout=60)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    visible = {name: content for name, content in taker.files().items() if "/.comfy" not in name and content}
    assert visible.items() <= FILES.items()
    taker.take(bundle)
    assert {name: content for name, content in taker.files().items() if "/.comfy" not in name and content} == FILES
    assert taker.scanned().rows("SELECT count(*) FROM assets") == [(3,)]
    assert taker.rows("SELECT count(*) FROM workflows") == [(1,)]


@pytest.mark.skipif(os.name == "nt", reason="sends signals")
def test_ctrl_c_leaves_nothing(bundle: Path, giver: Place, taker: Place) -> None:
    before = taker.state()
    giver.save()
    out = bundle.with_name("new.zip")
    for place, moment, arguments in (
        (taker, "bundle extracted", ["import", str(bundle)]),
        (giver, "bundle copied", ["export", "portrait", str(out)]),
    ):
        command = [sys.executable, str(CHILD), moment, "wait", *arguments, "--base-directory", str(place.path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "there\n"
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130
    assert taker.state() == before
    assert [path.name for path in bundle.parent.iterdir() if path.is_file()] == ["out.zip"]


def test_a_share_is_handed_over_as_it_was_published(giver: Place, taker: Place, tmp_path: Path) -> None:
    workflow_id = giver.save()
    old = {"nodes": []}
    out = tmp_path / "share.zip"

    async def publish(db: Database) -> None:
        red = (await db.fetch_all("SELECT id, uuid FROM assets WHERE name = 'red.png'"))[0]
        published = SharedAsset(
            red[1], blake3(RED).digest(), "Red", len(RED), "image/png", "input", None, "sub/red.png"
        )
        async with db.transaction() as tx:
            row = await tx.fetch_value("SELECT id FROM workflows")
            await shares.publish(tx, NewShare("share-1", row, 1, "as published", 1), [(red[0], published)])
        await giver.service(db).create_version(workflow_id, 1, json.dumps(old).encode(), "default")

    giver.work(publish)
    assert giver.run("export", "share-1", out)[0] == 0
    said = manifest_of(out)
    assert (said["workflow"]["share_id"], said["workflow"]["version"]) == ("share-1", 1)
    report = taker.take(out)
    assert report["workflow"]["name"] == "as published"
    assert taker.content(report["workflow"]["id"]).text == TEXT
    assert [(each["name"], each["outcome"]) for each in report["assets"]] == [("Red", "added")]
    assert taker.rows("SELECT name FROM assets") == [("Red",)]


@pytest.mark.skipif(sys.platform != "linux", reason="memory is told in other units")
def test_a_large_file_is_never_in_memory(taker: Place, giver: Place, tmp_path: Path) -> None:
    """A sparse file of 200 MB is written and read with less than a tenth of that in memory."""
    with (giver.path / "input/long.mp4").open("wb") as stream:
        stream.truncate(200_000_000)
    giver.save(b'{"nodes": [{"widgets_values": ["long.mp4"]}]}', "film")
    giver.scanned()
    out = tmp_path / "out.zip"
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import checkout; checkout.load()\n"
        "from comfy_assets_node.comfy_assets.cli import main\n"
        "import resource\n"
        "assert main(sys.argv[3:]) == 0\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    fault = str(CHILD.parents[1] / "fault")

    def peak(place: Place, *arguments: str) -> int:
        """Return the peak memory of a run of the command, in kB."""
        command = [sys.executable, "-c", script, fault, "-", *arguments, "--base-directory", str(place.path)]
        return int(subprocess.run(command, capture_output=True, check=True, timeout=120).stdout.split()[-1])

    idle = peak(giver, "status")
    assert peak(giver, "export", "film", str(out)) < idle + 20_000
    assert peak(taker, "import", str(out)) < idle + 20_000
    assert (taker.path / "input/long.mp4").stat().st_size == 200_000_000


async def test_beside_a_server_that_is_scanning(library: Any, bundle: Path) -> None:
    """Imported assets are listed once by the server, whatever it was doing meanwhile."""
    arguments = ["import", str(bundle), "--base-directory", str(library.base)]
    running = asyncio.create_task(asyncio.to_thread(main, arguments))
    while not running.done():
        await library.scan()
    assert await running == 0
    await library.scan()
    found = await library.assets()
    assert sorted(each["name"] for each in found if each["name"] in ("blue.png", "fine.safetensors", "red.png")) == [
        "blue.png",
        "fine.safetensors",
        "red.png",
    ]
    saved = (await library.get("/api/workflows"))["data"]
    assert len(saved) == 1
    content = await library.get(f"/api/workflows/{saved[0]['id']}/content")
    assert content["workflow_json"] == GRAPH
    assert len(content["dependency_asset_ids"]) == 3
