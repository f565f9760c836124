"""Commands that end in the middle of their work, by ``kill -9`` or Ctrl-C, and commands beside a server."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.cli import main

CHILD = Path(__file__).with_name("child.py")
CONTENTS = {
    "models/loras/kept.bin": b"k" * 5000,
    "output/copy.bin": b"k" * 5000,
    "output/x.bin": b"x" * 300,
    "output/y.bin": b"x" * 300,
}
Start = Callable[..., "subprocess.Popen[str]"]

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="sends signals")]


@pytest.fixture
def start(base: Any) -> Iterator[Start]:
    """Start the command in a process that halts at a moment; none outlives the test."""
    started: list[subprocess.Popen[str]] = []

    def start(moment: str, how: str, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(CHILD), moment, how, *arguments, "--base-directory", str(base.path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def make(base: Any) -> dict[str, tuple[bytes, int]]:
    for age, (name, content) in enumerate(CONTENTS.items(), start=1):
        base.write(name, content, days_old=10 - age)
    base.scanned()
    return state(base)


def state(base: Any) -> dict[str, tuple[bytes, int]]:
    return {name: ((base.path / name).read_bytes(), (base.path / name).stat().st_mtime_ns) for name in CONTENTS}


def contents(base: Any) -> dict[str, bytes]:
    return {name: content for name, (content, _) in state(base).items()}


def names_of(base: Any, name: str) -> int:
    return (base.path / name).stat().st_nlink


def log_of(base: Any) -> str:
    [log] = base.store.parent.glob("*.jsonl")
    return str(log)


@pytest.mark.parametrize("moment", ["compared", "noted", "linked", "replaced", "restamping"])
def test_killed_while_linking(base: Any, start: Start, moment: str) -> None:
    before = make(base)
    child = start(moment, "kill", "duplicates", "--link", "--yes")
    _, errors = child.communicate(timeout=60)
    assert child.returncode == -signal.SIGKILL, errors
    assert contents(base) == CONTENTS
    logs = list(base.store.parent.glob("*.jsonl"))
    assert len(logs) == (moment != "compared")
    if logs:
        undone = base.run("duplicates", "--undo", str(logs[0]), "--yes", "--json")
        assert undone.status == 0
        assert undone.json["parted"] == (moment in ("replaced", "restamping"))
    assert state(base) == before
    assert base.hidden() == []
    assert base.run("verify").status == 0
    base.scanned()
    assert base.run("duplicates", "--link", "--yes", "--json").json["linked"] == 2
    assert base.hidden() == []


@pytest.mark.parametrize("moment", ["linked", "replaced", "restamping"])
def test_linking_goes_on_after_a_kill(base: Any, start: Start, moment: str) -> None:
    make(base)
    assert start(moment, "kill", "duplicates", "--link", "--yes").wait(60) == -signal.SIGKILL
    base.scanned()
    assert base.run("duplicates", "--link", "--yes").status == 0
    assert (names_of(base, "output/copy.bin"), names_of(base, "output/y.bin")) == (2, 2)
    assert contents(base) == CONTENTS
    assert base.hidden() == []


@pytest.mark.parametrize("moment", ["copied", "dressed", "replaced", "restamping"])
def test_killed_while_undoing(base: Any, start: Start, moment: str) -> None:
    before = make(base)
    base.run("duplicates", "--link", "--yes")
    log = log_of(base)
    child = start(moment, "kill", "duplicates", "--undo", log, "--yes")
    _, errors = child.communicate(timeout=60)
    assert child.returncode == -signal.SIGKILL, errors
    assert contents(base) == CONTENTS
    undone = base.run("duplicates", "--undo", log, "--yes", "--json")
    assert undone.status == 0
    assert undone.json["parted"] == (1 if moment in ("replaced", "restamping") else 2)
    assert state(base) == before
    assert base.hidden() == []
    base.scanned()
    assert base.run("verify", "--json").json["intact"] == len(CONTENTS)


@pytest.mark.parametrize(
    ("moment", "linked"),
    [("comparing", 0), ("compared", 1), ("noted", 1), ("replaced", 1)],
)
def test_ctrl_c_while_linking(base: Any, start: Start, moment: str, linked: int) -> None:
    """The current replacement is completed and reported, and no other is started."""
    make(base)
    child = start(moment, "wait", "duplicates", "--link", "--yes", "--json")
    assert child.stdout is not None
    assert child.stdout.readline() == "there\n"
    child.send_signal(signal.SIGINT)
    output, errors = child.communicate(timeout=60)
    assert child.returncode == 130, errors
    assert contents(base) == CONTENTS
    links = [names_of(base, "output/copy.bin") == 2, names_of(base, "output/y.bin") == 2]
    assert sum(links) == linked
    assert base.hidden() == []
    told = json.loads(output)
    if sys.version_info >= (3, 11):  # earlier versions do not wait for running work
        assert (told["linked"], told["log"] is not None) == (linked, bool(linked))
        # Recorded together with the link, so no scan reads the file again.
        assert all((base.path / n).stat().st_mtime_ns == base.row(n).mtime_ns for n in CONTENTS)


def test_ctrl_c_while_verifying(base: Any, start: Start) -> None:
    make(base)
    before = base.everything()
    child = start("reading", "wait", "verify", "--json")
    assert child.stdout is not None
    assert child.stdout.readline() == "there\n"
    child.send_signal(signal.SIGINT)
    output, errors = child.communicate(timeout=60)
    assert child.returncode == 130, errors
    assert json.loads(output.splitlines()[-1])["complete"] is False
    assert base.everything() == before


async def test_beside_a_server(make_library: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    """A server that is scanning sees the same assets and does not read any file again."""
    server = await make_library()
    for number in range(60):
        path = server.write(f"output/{number % 7}/{number}.bin", b"%d" % (number % 20) * 900)
        stamp = 1_600_000_000_000_000_000 + number * 10**9
        os.utime(path, ns=(stamp, stamp))
    await server.scan()
    before = {a["id"]: (a["file_path"], a["hash"], a["tags"], a["updated_at"]) for a in await server.assets()}
    base = ["--base-directory", str(server.base)]

    async def run(*arguments: str) -> int:
        return await asyncio.to_thread(main, [*arguments, *base])

    async def scans() -> None:
        for _ in range(5):
            assert (await server.scan())["status"] == "completed"

    statuses = await asyncio.gather(
        run("duplicates", "--link", "--yes"), scans(), run("verify"), run("status"), run("scan")
    )
    assert statuses[0] == 0
    assert len({path.stat().st_ino for path in server.base.glob("output/*/*.bin")}) == 20
    await server.scan()
    after = await server.assets()
    assert {a["id"]: (a["file_path"], a["hash"], a["tags"]) for a in after} == {k: v[:3] for k, v in before.items()}
    log = next((server.base / "user" / "__comfy_assets").glob("*.jsonl"))
    capsys.readouterr()
    assert await run("duplicates", "--undo", str(log), "--yes", "--json") == 0
    assert json.loads(capsys.readouterr().out)["parted"] == 40
    assert len({path.stat().st_ino for path in server.base.glob("output/*/*.bin")}) == 60


def test_tasks_of_a_server_are_left_alone(base: Any) -> None:
    """A command does not recover like a starting server: running tasks may belong to a running server."""
    make(base)
    base.query(
        "INSERT INTO tasks (id, name, idempotency_key, status, payload, created_at, updated_at)"
        " VALUES (x'00', 'asset_scan', 'k', 'running', '{}', 0, 0)"
    )
    for arguments in (("scan",), ("status",), ("verify",), ("duplicates",), ("trash", "list")):
        assert base.run(*arguments).status == 0
    assert base.query("SELECT status FROM tasks WHERE id = x'00'") == [("running",)]
