"""``kill -9`` at random moments of a scan: the store opens, no row lies, and the next run completes."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from blake3 import blake3
from comfy_assets_node.comfy_assets.db import migrate

FILES = 3000
KILLS = 20
SEED = 20
OLD_NS = 1_600_000_000_000_000_000
HASHED = 1


class Disk:
    """A library whose files are made, changed, moved and deleted at random."""

    def __init__(self, base: Path, chance: random.Random) -> None:
        self.base, self.chance = base, chance
        self.paths: list[Path] = []
        self.ticks = 0
        for kind in ("models/loras", "input", "output"):
            (base / kind).mkdir(parents=True)
        self.add(FILES)

    def write(self, path: Path) -> None:
        """Content of its own, small or a few blocks long, and a time that no other file has."""
        self.ticks += 1
        size = self.chance.choice([10, 500, 40_000])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%d " % self.ticks + bytes(size))
        stamp = OLD_NS + self.ticks * 1_000_000_007
        os.utime(path, ns=(stamp, stamp))

    def add(self, count: int) -> None:
        for _ in range(count):
            folder = self.chance.choice(["models/loras", "input", "output"])
            path = self.base / folder / str(self.chance.randrange(40)) / f"{self.ticks}.safetensors"
            self.write(path)
            self.paths.append(path)

    def shuffle(self) -> None:
        """What may have happened between two starts of a server."""
        self.chance.shuffle(self.paths)
        for path in self.paths[:600]:
            self.write(path)
        for index in range(600, 900):
            target = self.base / "output" / "moved" / f"{self.ticks}-{index}.safetensors"
            target.parent.mkdir(exist_ok=True)
            self.paths[index] = self.paths[index].rename(target)
        for path in self.paths[900:1100]:
            path.unlink()
        del self.paths[900:1100]
        self.add(200)


def start(base: Path) -> subprocess.Popen[str]:
    """A child that is about to open the store and scan."""
    child = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("scan_child.py")), str(base)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "begin\n"
    return child


def run_to_the_end(base: Path) -> float:
    """Scan and hash everything; answers the seconds it took."""
    child = start(base)
    began = time.monotonic()
    output, _ = child.communicate(timeout=120)
    assert (child.returncode, output) == (0, "completed\n")
    return time.monotonic() - began


def kill_after(base: Path, seconds: float) -> bool:
    """Kill the child in the middle of its work; answers whether it was, rather than at its end."""
    child = start(base)
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        child.kill()
    output, _ = child.communicate()
    return "completed" not in output


def assert_true(base: Path) -> list[tuple[str, int, bool]]:
    """What the store says holds; answers path, state and whether it is missing for each file."""
    path = base / "user" / "library.db"
    if not path.exists():
        return []
    with closing(sqlite3.connect(path)) as conn:
        assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert conn.execute("PRAGMA foreign_key_check").fetchall() == []
        if conn.execute("PRAGMA user_version").fetchone()[0] < migrate.migrations()[-1].version:
            return []  # killed while the store was made
        counts = conn.execute(
            "SELECT asset_count, (SELECT count(*) FROM assets WHERE tag_set_id = s.id) FROM tag_sets s"
        ).fetchall()
        assert all(kept == real for kept, real in counts)
        rows = conn.execute(
            "SELECT d.path, f.name, f.size, f.mtime_ns, f.state, f.missing, a.size, l.tags, c.hash"
            " FROM assets a JOIN tag_sets s ON s.id = a.tag_set_id"
            " JOIN asset_tag_lists l ON l.id = a.id JOIN files f ON f.id = a.id"
            " JOIN folders d ON d.id = f.folder_id LEFT JOIN contents c ON c.id = a.content_id"
        ).fetchall()
        assert len(rows) == conn.execute("SELECT count(*) FROM assets").fetchone()[0]
    for folder, name, size, mtime_ns, state, missing, asset_size, tags, digest in rows:
        assert (state == HASHED) == (digest is not None)
        assert bool(missing) == ("missing" in json.loads(tags))
        assert size == asset_size
        file = Path(folder) / name
        if digest is not None and file.exists() and file.stat().st_mtime_ns == mtime_ns:
            data = file.read_bytes()
            assert (len(data), blake3(data).digest()) == (size, digest)
    return [(str(Path(row[0]) / row[1]), row[4], bool(row[5])) for row in rows]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no kill -9")
def test_killed_at_random_moments(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    disk = Disk(tmp_path, chance)
    first_run = run_to_the_end(tmp_path)
    assert_true(tmp_path)
    disk.shuffle()
    later_run = run_to_the_end(tmp_path)
    hits = 0
    for number in range(KILLS):
        if number % 2:
            disk.shuffle()
        else:
            shutil.rmtree(tmp_path / "user")
        hits += kill_after(tmp_path, chance.random() * (later_run if number % 2 else first_run) * 0.9)
        assert_true(tmp_path)
    assert hits >= KILLS / 4  # a machine that becomes faster meanwhile ends some runs before they are killed
    run_to_the_end(tmp_path)
    rows = assert_true(tmp_path)
    present = Counter(path for path, _, missing in rows if not missing)
    assert present == Counter(map(str, disk.paths))
    assert all(state == HASHED for _, state, missing in rows if not missing)
    aside = [p.name for p in (tmp_path / "user").iterdir() if "unreadable" in p.name]
    assert aside == []
