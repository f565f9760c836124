"""Bringing a store to the schema this code knows, and what becomes of files that cannot be."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.db import migrate
from comfy_assets_node.comfy_assets.db.connection import Database
from comfy_assets_node.comfy_assets.db.migrate import Migration, migrations, prepare
from comfy_assets_node.comfy_assets.errors import StoreError, StoreTooNewError
from comfy_assets_node.comfy_assets.fs import shared_files
from support.sharing import SharingViolation

ONE = "CREATE TABLE one (a TEXT);\n-- a remark; with a semicolon\nINSERT INTO one VALUES ('kept; here');\n"
TWO = """
CREATE TABLE two (b);
CREATE TRIGGER one_two AFTER INSERT ON one BEGIN
    INSERT INTO two VALUES (NEW.a);
    INSERT INTO two VALUES (NEW.a);
END;
"""
BROKEN = "CREATE TABLE three (c);\nINSERT INTO nowhere VALUES (1);\n"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "data" / "library.db"


def steps(folder: Path, *scripts: str) -> list[Migration]:
    folder.mkdir(exist_ok=True)
    for number, script in enumerate(scripts, 1):
        (folder / f"{number:04}_step.sql").write_text(script)
    return migrations(folder)


def rows(path: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as conn:
        return conn.execute(sql).fetchall()


def contents(folder: Path) -> dict[str, bytes]:
    """What lies in a folder, without the empty log and its index, which stay when a store is closed."""
    found = {p.name: p.read_bytes() for p in folder.iterdir()}
    if found.get("library.db-wal") == b"":
        found = {name: data for name, data in found.items() if name not in ("library.db-wal", "library.db-shm")}
    return found


def test_a_fresh_store(store: Path) -> None:
    prepare(store)
    assert rows(store, "PRAGMA user_version") == [(len(migrations()),)]
    assert rows(store, "PRAGMA journal_mode") == [("wal",)]
    assert [*contents(store.parent)] == ["library.db"]
    prepare(store)


@pytest.mark.parametrize(
    "names",
    [
        ["0002_x.sql"],
        ["0001_x.sql", "0003_x.sql"],
        ["0001_x.sql", "0001_y.sql"],
    ],
)
def test_numbers_without_gaps(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match="numbered"):
        migrations(tmp_path)


def test_other_files_are_no_migrations(tmp_path: Path) -> None:
    for name in ("0001_x.sql", "notes.sql", "0002_x.sql.bak"):
        (tmp_path / name).touch()
    assert [m.version for m in migrations(tmp_path)] == [1]


def test_every_step_is_applied_once(store: Path, tmp_path: Path) -> None:
    prepare(store, steps(tmp_path / "m", ONE, TWO))
    prepare(store, steps(tmp_path / "m", ONE, TWO))
    assert rows(store, "SELECT a FROM one") == [("kept; here",)]
    with closing(sqlite3.connect(store)) as conn:
        conn.execute("INSERT INTO one VALUES ('x')")
        assert conn.execute("SELECT count(*) FROM two").fetchone() == (2,)


def test_an_older_store_is_backed_up_before_it_is_migrated(store: Path, tmp_path: Path) -> None:
    prepare(store, steps(tmp_path / "m", ONE))
    with closing(sqlite3.connect(store)) as conn, conn:
        conn.execute("INSERT INTO one VALUES ('mine')")
    prepare(store, steps(tmp_path / "m", ONE, TWO))
    assert rows(store, "PRAGMA user_version") == [(2,)]
    assert rows(store, "SELECT a FROM one") == [("kept; here",), ("mine",)]
    [backup] = store.parent.glob("library.db.backup-v1-*")
    assert rows(backup, "SELECT a FROM one") == [("kept; here",), ("mine",)]
    assert rows(backup, "PRAGMA user_version") == [(1,)]
    assert rows(backup, "PRAGMA integrity_check") == [("ok",)]


def test_the_newest_backups_are_kept(store: Path, tmp_path: Path) -> None:
    prepare(store, steps(tmp_path / "m", ONE))
    for number in range(5):
        old = store.with_name(f"library.db.backup-v0-{number}")
        old.write_bytes(b"")
        os.utime(old, (number + 1, number + 1))
    prepare(store, steps(tmp_path / "m", ONE, TWO))
    kept = sorted(p.name for p in store.parent.glob("*.backup-*"))
    assert len(kept) == migrate.KEPT_BACKUPS
    assert kept[:2] == ["library.db.backup-v0-3", "library.db.backup-v0-4"]


def test_a_failing_migration_leaves_the_store_as_it_was(store: Path, tmp_path: Path) -> None:
    prepare(store, steps(tmp_path / "m", ONE))
    before = rows(store, "SELECT sql FROM sqlite_master")
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        prepare(store, steps(tmp_path / "m", ONE, TWO, BROKEN))
    # The step that worked stays; of the one that failed nothing is left.
    assert rows(store, "PRAGMA user_version") == [(2,)]
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        prepare(store, steps(tmp_path / "m", ONE, TWO, BROKEN))
    assert rows(store, "PRAGMA user_version") == [(2,)]
    assert rows(store, "SELECT a FROM one") == [("kept; here",)]
    assert set(before) < set(rows(store, "SELECT sql FROM sqlite_master"))
    assert rows(store, "SELECT name FROM sqlite_master WHERE name = 'three'") == []


def test_a_backup_that_fails_leaves_nothing(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(store, steps(tmp_path / "m", ONE))
    before = contents(store.parent)
    real = migrate._connect

    def connect(path: Path) -> sqlite3.Connection:
        conn = real(path)
        if "backup" in path.name:
            conn.execute("CREATE TABLE half (a)")
            conn.execute("BEGIN IMMEDIATE")  # a backup into a busy database fails
        return conn

    monkeypatch.setattr(migrate, "_connect", connect)
    with pytest.raises(sqlite3.Error):
        prepare(store, steps(tmp_path / "m", ONE, TWO))
    assert contents(store.parent) == before


async def test_a_newer_store_is_refused_and_not_touched(store: Path) -> None:
    prepare(store)
    with closing(sqlite3.connect(store)) as conn:
        conn.execute("PRAGMA user_version = 99")
    before = contents(store.parent)
    with pytest.raises(StoreTooNewError, match=r"version 99.*[Uu]pdate"):
        await Database.open(store)
    assert contents(store.parent) == before


GARBAGE = bytes(range(256)) * 64
STAMP = len("20260131-235959")


def _left_by_a_crash(store: Path) -> None:
    """A store with a write-ahead log that has not been folded in."""
    prepare(store)
    copies = store.parent / "copies"
    copies.mkdir()
    with closing(sqlite3.connect(store, isolation_level=None)) as conn:
        conn.execute("PRAGMA wal_autocheckpoint = 0")
        conn.execute("BEGIN")
        conn.executemany("INSERT INTO tags (name) VALUES (?)", [(f"tag {n}",) for n in range(5000)])
        conn.execute("COMMIT")
        for suffix in ("", "-wal"):
            (copies / f"{store.name}{suffix}").write_bytes(Path(f"{store}{suffix}").read_bytes())
    for path in (*store.parent.glob("library.db*"),):
        path.unlink()
    for path in copies.iterdir():
        path.rename(store.parent / path.name)
    copies.rmdir()


def _garbage(store: Path) -> None:
    store.write_bytes(GARBAGE)


def _garbage_with_a_log(store: Path) -> None:
    _left_by_a_crash(store)
    store.write_bytes(GARBAGE)
    Path(f"{store}-shm").write_bytes(b"shared")


def _emptied_with_a_log(store: Path) -> None:
    _left_by_a_crash(store)
    store.write_bytes(b"")


def _truncated(store: Path) -> None:
    prepare(store)
    store.write_bytes(store.read_bytes()[:8192])


def _head_only(store: Path) -> None:
    prepare(store)
    store.write_bytes(store.read_bytes()[:50])


def _damaged_inside(store: Path) -> None:
    _left_by_a_crash(store)
    data = store.read_bytes()
    store.write_bytes(data[:4096] + GARBAGE[:4096] * (len(data) // 4096 - 1))


@pytest.mark.parametrize(
    "damage",
    [_garbage, _garbage_with_a_log, _emptied_with_a_log, _truncated, _head_only, _damaged_inside],
)
async def test_an_unreadable_store_is_set_aside(store: Path, damage: Any) -> None:
    store.parent.mkdir()
    damage(store)
    lost = contents(store.parent)
    database = await Database.open(store)
    assert await database.fetch_all("SELECT count(*) FROM assets") == [(0,)]
    await database.close()
    aside = {n: data for n, data in contents(store.parent).items() if ".unreadable-" in n}
    kept = {"library.db" + n.partition(".unreadable-")[2][STAMP:]: data for n, data in aside.items()}
    assert kept.items() >= lost.items()


def test_set_aside_twice_in_a_second(store: Path) -> None:
    store.parent.mkdir()
    for number in range(3):
        store.write_bytes(b"garbage %d" % number)
        prepare(store)
    aside = [p for p in store.parent.iterdir() if ".unreadable-" in p.name]
    assert sorted(p.read_bytes() for p in aside) == [b"garbage 0", b"garbage 1", b"garbage 2"]


async def test_what_a_crash_left_in_the_log_is_there(store: Path) -> None:
    store.parent.mkdir()
    _left_by_a_crash(store)
    database = await Database.open(store)
    assert await database.fetch_all("SELECT count(*) FROM tags") == [(5000,)]
    await database.close()
    assert [*contents(store.parent)] == ["library.db"]


@pytest.mark.parametrize("kind", ["its folder is a file", "it is a folder"])
async def test_a_place_that_cannot_be_written(store: Path, kind: str) -> None:
    if kind == "it is a folder":
        store.mkdir(parents=True)
    else:
        store.parent.write_bytes(b"")
    with pytest.raises(StoreError, match=r"library\.db"):
        await Database.open(store)


async def test_a_store_with_foreign_tables_is_left_alone(store: Path) -> None:
    store.parent.mkdir()
    with closing(sqlite3.connect(store)) as conn, conn:
        conn.execute("CREATE TABLE assets (mine)")
        conn.execute("INSERT INTO assets VALUES ('precious')")
    with pytest.raises(StoreError, match="assets"):
        await Database.open(store)
    assert rows(store, "SELECT mine FROM assets") == [("precious",)]
    assert rows(store, "PRAGMA user_version") == [(0,)]


@pytest.mark.parametrize("name", ["with space", "50%", "a?b#c", "größe"])
async def test_odd_folder_names(tmp_path: Path, name: str) -> None:
    if os.name == "nt" and "?" in name:
        pytest.skip("Windows has no such names")
    for _ in range(2):
        database = await Database.open(tmp_path / name / "library.db")
        await database.close()
    assert [*contents(tmp_path / name)] == ["library.db"]


def test_a_store_that_is_locked_for_a_moment_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows a backup or a virus scanner may lock it for some seconds when the server starts."""
    path = tmp_path / "library.db"
    prepare(path)
    real, attempts = shared_files.open_shared, 0

    def open_locked(which: Path) -> Any:
        nonlocal attempts
        attempts += 1
        if attempts > 4:
            return real(which)
        raise SharingViolation

    monkeypatch.setattr(shared_files, "WINDOWS", True)
    monkeypatch.setattr(shared_files, "PATIENCE_S", 0)
    monkeypatch.setattr(shared_files, "open_shared", open_locked)
    prepare(path)
    assert attempts == 5
    assert [each.name for each in tmp_path.iterdir() if "unreadable" in each.name] == []
