"""A short run of the load and its faults: clients of two users at work, files changing, the server killed, its store
locked and its disk full, a node pack removed; then the audit.

And the audit itself: whatever is spoilt in what the run has left, it finds.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

LOAD = Path(__file__).resolve().parents[1] / "benchmarks" / "load"
sys.path.append(str(LOAD))
from audit_store import audit, leftovers  # noqa: E402
from notes import Notes  # noqa: E402
from server import Server  # noqa: E402
from users import users_of  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="Windows lets nobody rename or remove what the server is reading"),
]

A_FILE_THAT_IS_THERE = "SELECT id FROM files WHERE missing = 0 ORDER BY id LIMIT 1"
ITS_TAGS = f"SELECT tag_set_id FROM assets WHERE id = ({A_FILE_THAT_IS_THERE})"
TWO_VERSIONS = "SELECT id FROM workflows WHERE deleted_at IS NULL AND latest_version > 1 ORDER BY id LIMIT 1"


@dataclass(frozen=True)
class Left:
    """What a run has left: the audit's view of it, and what the run printed."""

    server: Server
    notes: Notes
    status: int
    output: str

    @property
    def store(self) -> Path:
        return self.server.data / "library.db"

    def change(self, *statements: str) -> None:
        """Change the store behind the project's back."""
        with closing(sqlite3.connect(self.store)) as db, db:
            for statement in statements:
                db.execute(statement)

    def one(self, query: str) -> tuple[str, ...]:
        with closing(sqlite3.connect(self.store)) as db:
            row: tuple[str, ...] = db.execute(query).fetchone()
        return row

    def file(self) -> Path:
        """A file of the library that is there."""
        return Path(*self.one(
            "SELECT d.path, f.name FROM files f JOIN folders d ON d.id = f.folder_id WHERE f.missing = 0"
            " AND f.size > 1 ORDER BY f.id LIMIT 1"
        ))  # fmt: skip

    def workflow(self) -> Path:
        """The file of a workflow."""
        path, owner = self.one("SELECT path, owner FROM workflows WHERE deleted_at IS NULL ORDER BY id LIMIT 1")
        return self.server.workflows_of(owner) / path


def run_load(*options: str) -> subprocess.CompletedProcess[str]:
    """Run the load with every fault for a few seconds; how long an interrupt takes is not asked of a busy machine."""
    faults = (
        "--users",
        "2",
        "--faults",
        "all",
        "--kills",
        "1",
        "--times",
        "1",
        "--outage-s",
        "1",
        "--interrupt-s",
        "20",
    )
    command = [sys.executable, str(LOAD), "--seconds", "8", "--clients", "12", *faults, *options]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Left]:
    base = tmp_path_factory.mktemp("load")
    done = run_load("--folder", str(base))
    notes = Notes(base)
    found = Left(Server(base, users=users_of(2)), notes, done.returncode, done.stdout)
    with closing(sqlite3.connect(found.store)) as db:  # into one file, which is soon copied
        db.execute("PRAGMA journal_mode = DELETE")
    yield found
    notes.close()


@pytest.fixture
def kept(left: Left) -> Iterator[Left]:
    """The same, with its store brought back afterwards."""
    store = left.store.read_bytes()
    yield left
    left.store.write_bytes(store)


def test_what_was_answered_under_load_is_there_after_a_kill(left: Left) -> None:
    assert left.status == 0, left.output
    assert "nothing is amiss" in left.output
    assert audit(left.server, left.notes) == []


@pytest.mark.parametrize(
    ("statements", "finding"),
    [
        (["UPDATE tag_sets SET asset_count = asset_count + 1 WHERE asset_count > 0"], "tag_sets: "),
        (["UPDATE workflow_counts SET n = n + 1"], "workflow_counts: "),
        (["UPDATE job_counts SET n = n - 1"], "job_counts: "),
        ([f"UPDATE files SET missing = 1 WHERE id = ({A_FILE_THAT_IS_THERE})"], "missing is 1"),
        (
            [f"UPDATE OR REPLACE tag_sets SET tags = json_insert(tags, '$[#]', 'missing') WHERE id = ({ITS_TAGS})"],
            "missing is 0",
        ),
        ([f"UPDATE files SET size = size + 1 WHERE id = ({A_FILE_THAT_IS_THERE})"], "its size or hash is other"),
        (["UPDATE files SET state = 0 WHERE state = 1"], "it is not hashed"),
        ([f"DELETE FROM files WHERE id = ({A_FILE_THAT_IS_THERE})"], "no row: "),
        (
            [f"UPDATE assets SET content_id = NULL WHERE id = ({A_FILE_THAT_IS_THERE})"],
            "a hashed file has no content: ",
        ),
        (
            [f"DELETE FROM workflow_versions WHERE version = 1 AND workflow_id = ({TWO_VERSIONS})"],
            "a version is missing among ",
        ),
        (
            [f"UPDATE workflows SET latest_version = latest_version - 1 WHERE id = ({TWO_VERSIONS})"],
            "a version is beyond the latest of ",
        ),
        (["UPDATE workflows SET file_version = 0 WHERE deleted_at IS NULL"], "whose file is behind: "),
        (["UPDATE jobs SET status = 1 WHERE status = 2"], "a job is not over: "),
        (["DELETE FROM job_records"], "a job has no record: "),
        (["INSERT INTO asset_uses (asset_id, kind, used_by) VALUES (987654321, 'share', 'x')"], "foreign key: "),
    ],
    ids=lambda value: value.strip(": ") if isinstance(value, str) else "",
)
def test_what_is_amiss_in_the_store_is_found(kept: Left, statements: list[str], finding: str) -> None:
    triggers = [f"DROP TRIGGER {name}" for name in _triggers(kept)]  # they would keep the counts right
    kept.change(*triggers, *statements)
    assert any(finding in each for each in audit(kept.server, kept.notes))


def _triggers(left: Left) -> list[str]:
    with closing(sqlite3.connect(left.store)) as db:
        return [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")]


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _double(path: Path) -> None:
    path.with_name(f"another {path.name}").write_bytes(path.read_bytes())


@pytest.mark.parametrize(
    ("where", "spoil", "finding"),
    [
        (Left.file, _cut, "its size or hash is other"),
        (Left.file, Path.unlink, "it is there: False"),
        (Left.file, _double, "no row: "),
        (Left.workflow, _cut, "does not hold the latest version"),
        (Left.workflow, Path.unlink, "is not there"),
        (Left.workflow, _double, "is no workflow"),
    ],
)
def test_what_is_amiss_on_the_disk_is_found(
    left: Left, where: Callable[[Left], Path], spoil: Callable[[Path], None], finding: str
) -> None:
    path = where(left)
    content = path.read_bytes()
    try:
        spoil(path)
        assert any(finding in each for each in audit(left.server, left.notes))
    finally:
        path.write_bytes(content)
        path.with_name(f"another {path.name}").unlink(missing_ok=True)
    assert audit(left.server, left.notes) == []


def test_passing_files_that_stay_are_found(left: Left) -> None:
    stray = left.server.workflows_of("bob") / ".comfy-assets-0.part"
    stray.touch()
    try:
        assert leftovers(left.server.base) == [stray]
    finally:
        stray.unlink()


def test_texts_that_were_answered_and_are_gone_are_found(left: Left, tmp_path: Path) -> None:
    notes = Notes(tmp_path)
    try:
        notes.shared_versions.append(("nobody's", 1, {"n": "promised"}))
        notes.page_texts.append({"n": "saved by the page"})
        notes.rivals["no asset"] = b"content"
        found = audit(left.server, notes)
    finally:
        notes.close()
    assert len(found) == 3
    assert all(any(what in each for each in found) for what in ("promised", "saved by the page", "no asset"))


@pytest.mark.comfyui
@pytest.mark.skipif("COMFYUI_PATH" not in os.environ, reason="COMFYUI_PATH names no ComfyUI checkout")
def test_the_same_on_a_comfyui(tmp_path: Path) -> None:
    comfyui = ("--comfyui", os.environ["COMFYUI_PATH"], "--python", os.environ.get("COMFYUI_PYTHON", sys.executable))
    done = run_load("--seconds", "20", "--folder", str(tmp_path), *comfyui)
    assert done.returncode == 0, done.stdout
    assert "nothing is amiss" in done.stdout
