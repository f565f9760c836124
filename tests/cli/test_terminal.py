"""Nothing that a command prints controls the terminal, whatever files, workflows and errors are called."""

from __future__ import annotations

import argparse
import ast
import asyncio
import json
import os
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets import cli
from comfy_assets_node.comfy_assets.cli import main
from comfy_assets_node.comfy_assets.jobs import store
from comfy_assets_node.comfy_assets.jobs.events import JobEnded, JobEvent, JobSubmitted
from comfy_assets_node.comfy_assets.logs import escaped
from comfy_assets_node.comfy_assets.models import FAILED

SEEN = "\x9b2J\u202etxt"
CODES = f"\x1b]0;PWNED\x07\x1b[31m{SEEN}"
NAME = f"PWNED{SEEN}" if os.name == "nt" else f"a{CODES}\r\nb"  # of existing files; Windows takes none below a space
JOB = "00000000-0000-4000-8000-000000000001"


class Fixture:
    """A library whose files, workflows and jobs have such names, and a way to run the command beside its server."""

    def __init__(self, library: Any, capture: pytest.CaptureFixture[str]) -> None:
        self.library = library
        self.capture = capture

    async def prepare(self) -> None:
        for number, folder in enumerate(("input", "output")):
            path = self.library.write(f"{folder}/{NAME}.png", b"twice the same")
            stamp = time.time_ns() - (number + 1) * 86_400 * 10**9
            os.utime(path, ns=(stamp, stamp))
        lost = self.library.write(f"input/lost {NAME}.png", b"lost")
        await self.library.scan()
        lost.unlink()
        damaged = self.library.base / "output" / f"{NAME}.png"
        info = damaged.stat()
        damaged.write_bytes(b"twice the SAME")
        os.utime(damaged, ns=(info.st_mtime_ns, info.st_mtime_ns))
        self.deleted = await self.save({})
        async with self.library.client.delete(f"/api/workflows/{self.deleted}"):
            pass
        node = {"id": 1, "type": "LoadImage", "widgets_values": [f"{NAME}.png", "image"]}
        self.saved = await self.save({"nodes": [node]}, "plain")
        # The other one is in use.
        (self.kept,) = [each["id"] for each in await self.library.assets() if each["file_path"].startswith("output")]
        (asset, *_) = [each for each in await self.library.assets() if each["name"].startswith("lost")]
        async with self.library.client.delete(f"/api/assets/{asset['id']}") as response:
            assert response.status == 204
        self.asset = asset["id"]
        error = {"node_id": "1", "node_type": NAME, "exception_message": NAME, "exception_type": NAME, "traceback": []}
        events: list[JobEvent] = [
            JobSubmitted(
                JOB, 1, "default", 1.0, json.dumps({"1": {"class_type": NAME, "inputs": {}}}), None, "{}", "[]"
            ),
            JobEnded(JOB, 2, FAILED, '{"outputs": {}}', json.dumps(error)),
        ]
        async with self.library.services.db.transaction() as tx:
            await store.write(tx, store.rows_of(events, seat=99))

    async def save(self, graph: Any, name: str = CODES) -> str:
        """Save a workflow with such a name, and return its id."""
        body = {"name": name, "workflow_json": graph}
        async with self.library.client.post("/api/workflows", json=body) as response:
            if response.status != 201:  # such names are refused, but may be in a store from elsewhere
                body["name"] = "renamed"
                async with self.library.client.post("/api/workflows", json=body) as again:
                    workflow_id = str((await again.json())["id"])
                async with self.library.services.db.transaction() as tx:
                    await tx.execute("UPDATE workflows SET name = ? WHERE uuid = ?", (CODES, workflow_id))
                return workflow_id
            return str((await response.json())["id"])

    async def run(self, *arguments: str) -> tuple[int, str]:
        """Status, and all that was printed."""
        self.capture.readouterr()
        try:
            status = await asyncio.to_thread(main, [*arguments, "--base-directory", str(self.library.base)])
        except SystemExit as error:
            status = int(error.code or 0)
        return status, "".join(self.capture.readouterr())


@pytest.fixture
async def prepared(library: Any, capsys: pytest.CaptureFixture[str]) -> Fixture:
    fixture = Fixture(library, capsys)
    await fixture.prepare()
    return fixture


def commands(parser: argparse.ArgumentParser, *above: str) -> Iterator[str]:
    """Every command by its words."""
    found = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not found:
        yield " ".join(above)
    for action in found:
        for name, below in action.choices.items():
            yield from commands(below, *above, name)


# Arguments of a command, and whether it prints names.
RUNS: dict[str, list[tuple[list[str], bool]]] = {
    "serve": [(["--extra-model-paths-config", CODES], True)],
    "scan": [([], False), (["--extra-model-paths-config", CODES], True)],
    "status": [([], False)],
    "assets list": [([], True), (["--kind", CODES], True)],
    "assets search": [(["type:png"], True), ([CODES], False), (["--saved", CODES], False)],
    "assets tag": [([CODES, "--add", "x"], True), (["KEPT", "--add", "best"], True)],
    "assets remove": [([CODES, "--yes"], True), (["KEPT", "--yes"], True)],
    "assets trash": [([CODES, "--yes"], True), (["KEPT", "--yes"], True)],
    "assets restore": [([CODES], True), (["ASSET"], True)],
    "collections list": [([], False), (["--deleted"], False)],
    "collections show": [([CODES], True)],
    "collections create": [([CODES], False), (["Mine", CODES], True), (["Mine", "KEPT"], False)],
    "collections rename": [([CODES, "Mine"], True)],
    "collections delete": [([CODES], True)],
    "collections restore": [([CODES], True)],
    "collections add": [([CODES, "KEPT"], True)],
    "collections remove": [([CODES, "KEPT"], True)],
    "duplicates": [([], True), (["--link", "--yes"], True), (["--undo", CODES, "--yes"], True)],
    "verify": [([], True)],
    "models unused": [([], False), (["--category", CODES], False)],
    "jobs list": [([], False), (["--status", CODES], True)],
    "jobs show": [([JOB], True), ([CODES], False)],
    "jobs prune": [(["--older-than", CODES], True), (["--keep", "1", "--yes"], False)],
    "workflows list": [([], False), (["--sort", CODES], True)],
    "workflows deleted": [([], True)],
    "workflows restore": [(["DELETED"], True), ([CODES], True)],
    "shares list": [([], False)],
    "export": [(["SAVED", "OUT"], False), ([CODES, "OUT"], True), (["SAVED", "HOSTILE_OUT"], True)],
    "import": [(["BUNDLE"], True), ([CODES], True)],
    "trash list": [([], True)],
    "trash restore": [(["ASSET"], True), ([CODES], True)],
    "trash empty": [(["--yes"], False)],
    "users add": [([CODES, "--no-password"], False), (["Ada"], False)],
    "users list": [([], False)],
    "users role": [(["Ada", "guest"], False), ([CODES, "guest"], False)],
    "users quota": [(["Ada", "--jobs", "3"], False), ([CODES], False)],
    "users passwd": [([CODES], True)],
    "users disable": [([CODES], False)],
    "users enable": [([CODES], False)],
    "users remove": [([CODES, "--yes"], False)],
    "users link": [([CODES], False)],
    "tokens create": [([CODES], True)],
    "tokens list": [(["--user", CODES], True)],
    "tokens revoke": [([CODES], False)],
    "login enable": [([], False)],
    "login disable": [(["--yes"], False)],
    "login status": [([], False)],
}


def test_every_command_is_run() -> None:
    assert set(RUNS) == set(commands(cli._parser()))


@pytest.mark.parametrize("command", sorted(RUNS))
async def test_no_control_character_is_printed(prepared: Fixture, command: str, tmp_path: Path) -> None:
    bundle = tmp_path / "hostile.zip"
    with zipfile.ZipFile(bundle, "w") as archive:
        archive.writestr(f"{CODES}/", b"")
    names = {"KEPT": prepared.kept, "DELETED": prepared.deleted, "SAVED": prepared.saved, "ASSET": prepared.asset}
    names |= {"OUT": str(tmp_path / "out.zip"), "HOSTILE_OUT": str(tmp_path / f"{CODES}.zip"), "BUNDLE": str(bundle)}
    for arguments, is_named in RUNS[command]:
        _, out = await prepared.run(*command.split(), *(names.get(each, each) for each in arguments))
        bad = [line for line in out.split("\n") if line and not line.replace("\t", " ").isprintable()]
        assert bad == [], arguments
        if is_named:
            assert "PWNED" in out and escaped(SEEN) in out, (arguments, out)


JSON_COMMANDS = ["duplicates", "assets list", "workflows deleted", "trash list", "verify", "jobs list", "status"]


@pytest.mark.parametrize("command", JSON_COMMANDS)
async def test_programs_get_the_names_as_they_are(prepared: Fixture, command: str) -> None:
    _, out = await prepared.run(*command.split(), "--json")
    told = json.loads(out.splitlines()[-1])
    assert all(line.isprintable() for line in out.splitlines())
    if command not in ("jobs list", "status"):
        assert any(SEEN in text for text in _texts(told))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)


def test_one_function_and_the_progress_bar_print() -> None:
    printing = []
    for path in Path(cli.__file__).parent.glob("*.py"):
        for definition in ast.parse(path.read_text(encoding="utf-8")).body:
            if any(map(_prints, ast.walk(definition))):
                printing.append((path.name, getattr(definition, "name", definition.lineno)))
    assert printing == [("output.py", "say"), ("output.py", "ProgressBar")]


def _prints(node: ast.AST) -> bool:
    is_print = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    return is_print or (isinstance(node, ast.Attribute) and node.attr == "write")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Größe 图片 C:\\x \U0001f468\u200d\U0001f469", "Größe 图片 C:\\x \U0001f468\u200d\U0001f469"),
        ("a\nb\tc\r\x00", "a\\nb\\tc\\r\\x00"),
        ("\x7f\x80\x9b\x9f", "\\x7f\\x80\\x9b\\x9f"),
        ("\u202e\u2066\u200f\u2028\ud800", "\\u202e\\u2066\\u200f\\u2028\\ud800"),
    ],
)
def test_escaping(text: str, shown: str) -> None:
    assert escaped(text) == shown
    assert escaped(shown) == shown
