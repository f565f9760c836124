"""The store's files taken away under an open store: noticed, told, and nothing that was committed is lost."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from comfy_assets_node.comfy_assets.db import connection as connection_module
from comfy_assets_node.comfy_assets.db.connection import Database
from comfy_assets_node.comfy_assets.errors import StoreUnavailableError

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows lets nobody remove a file that is open")

# Another process: POSIX locks are those of a process.
_OUTSIDE = """
import sqlite3, sys
c = sqlite3.connect(sys.argv[1])
print(c.execute(sys.argv[2]).fetchall())
c.commit()
c.close()
"""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "data" / "library.db"


@pytest.fixture
async def db(store: Path) -> AsyncIterator[Database]:
    database = await Database.open(store)
    yield database
    await database.close()


async def add(db: Database, name: str) -> None:
    async with db.transaction() as tx:
        await tx.execute("INSERT INTO tags (name) VALUES (?)", (name,))


async def outside(store: Path, sql: str = "SELECT name FROM tags ORDER BY id") -> str:
    """Run a statement in a process of its own, which closes the store as the last one if it takes itself for it."""
    run = asyncio.create_subprocess_exec(sys.executable, "-c", _OUTSIDE, str(store), sql, stdout=subprocess.PIPE)
    return (await (await run).communicate())[0].decode().strip()


def names(path: Path) -> list[str]:
    """What a copy that nobody has open holds."""
    with closing(sqlite3.connect(path)) as conn:
        return [row[0] for row in conn.execute("SELECT name FROM tags ORDER BY id")]


def log_of(store: Path) -> Path:
    return store.with_name(f"{store.name}-wal")


def lose_locks(store: Path) -> None:
    """What any code does that reads a file of the store in the server's process."""
    store.read_bytes()


async def test_a_reader_of_the_file_and_another_process_take_the_log(db: Database, store: Path) -> None:
    await add(db, "before")
    lose_locks(store)
    await outside(store)
    assert not log_of(store).exists(), "the case is not the one it is meant to be"
    await add(db, "after")
    assert await outside(store) == "[('before',), ('after',)]"
    assert await db.fetch_all("SELECT name FROM tags ORDER BY id") == [("before",), ("after",)]
    assert not list(store.parent.glob("*rescued*"))


async def test_again_and_again(db: Database, store: Path) -> None:
    for number in range(6):
        await add(db, f"{number}")
        lose_locks(store)
        await outside(store)
    kept = await outside(store)
    assert kept == str([(f"{number}",) for number in range(6)])


@pytest.mark.parametrize("what", ["the log", "log and index", "all", "the folder", "the file"])
async def test_removed_by_hand(db: Database, store: Path, what: str, caplog: pytest.LogCaptureFixture) -> None:
    """Acknowledged and in the log alone: the open connections are the only ones that still have it."""
    for name in ("a", "b"):
        await add(db, name)
    gone = {
        "the log": ["-wal"],
        "log and index": ["-wal", "-shm"],
        "all": ["", "-wal", "-shm"],
        "the file": [""],
        "the folder": [],
    }[what]
    for suffix in gone:
        Path(f"{store}{suffix}").unlink()
    if what == "the folder":
        shutil.rmtree(store.parent)
    await add(db, "c")
    assert await outside(store) == "[('a',), ('b',), ('c',)]"
    assert await db.fetch_one("SELECT count(*) FROM tags") == (3,)
    assert "removed while the server ran" in caplog.text
    assert sorted(path.name for path in store.parent.iterdir()) == ["library.db", "library.db-shm", "library.db-wal"]


async def test_noticed_without_a_write(db: Database, store: Path, caplog: pytest.LogCaptureFixture) -> None:
    await add(db, "a")
    log_of(store).unlink()
    for _ in range(100):
        if "removed while the server ran" in caplog.text:  # the log itself is there before its content
            break
        await asyncio.sleep(0.1)
    assert await outside(store) == "[('a',)]"


async def test_another_program_has_written_since(db: Database, store: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither history is thrown away: the store goes on with the other's, and this one is kept beside it."""
    await add(db, "checkpointed")
    lose_locks(store)
    await outside(store)
    db._watch.cancel()
    with pytest.raises(StoreUnavailableError, match="may not have been kept"):
        async with db.transaction() as tx:
            await tx.execute("INSERT INTO tags (name) VALUES ('mine')")
            for suffix in ("-wal", "-shm"):
                Path(f"{store}{suffix}").unlink()
            await outside(store, "UPDATE last_commit SET writer = 'other' RETURNING id")
    (copy,) = store.parent.glob("library.db.rescued-*")
    assert names(copy) == ["checkpointed", "mine"]
    assert copy.name in caplog.text
    await add(db, "later")
    assert await outside(store) == "[('checkpointed',), ('later',)]"


async def test_replaced_by_another_file(db: Database, store: Path, tmp_path: Path) -> None:
    """Somebody restores a backup without stopping the server."""
    await add(db, "old")
    async with db.transaction() as tx:
        await tx.execute("INSERT INTO tags (name) VALUES ('newer')")
    backup = tmp_path / "backup.db"
    other = await Database.open(backup)
    await add(other, "of the backup")
    await other.close()
    backup.replace(store)
    with pytest.raises(StoreUnavailableError, match=r"was replaced while the server ran.*Restart"):
        await add(db, "lost?")
    with pytest.raises(StoreUnavailableError, match="Restart"):
        await db.fetch_all("SELECT 1")
    assert db.problem is not None
    (copy,) = store.parent.glob("library.db.rescued-*")
    assert names(copy) == ["old", "newer"]
    assert not log_of(store).exists(), "the former file's log must not be applied to the new file"
    assert names(store) == ["of the backup"]


async def test_nothing_is_given_up_while_no_copy_can_be_made(
    db: Database, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add(db, "a")
    log_of(store).unlink()
    real = connection_module.store_files.open_copy

    def full(copy: Path) -> sqlite3.Connection:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(connection_module.store_files, "open_copy", full)
    with pytest.raises(StoreUnavailableError, match="disk is full"):
        await add(db, "refused")
    assert await db.fetch_all("SELECT name FROM tags") == [("a",)]
    monkeypatch.setattr(connection_module.store_files, "open_copy", real)
    await add(db, "b")
    assert await outside(store) == "[('a',), ('b',)]"


async def test_a_long_query_is_ended_for_it(db: Database, store: Path) -> None:
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
    query = asyncio.create_task(db.fetch_all(endless))
    await asyncio.sleep(0.05)
    await add(db, "a")
    log_of(store).unlink()
    await add(db, "b")
    with pytest.raises(sqlite3.OperationalError, match="opened again"):
        await query
    assert await outside(store) == "[('a',), ('b',)]"


async def test_closing_does_not_take_the_log_from_another_process(db: Database, store: Path) -> None:
    """A second server, or a command, that believes to be the last one."""
    await add(db, "a")
    lose_locks(store)
    identity = log_of(store).stat().st_ino
    code = (
        "import asyncio, sys; sys.path.insert(0, sys.argv[2]); import checkout; checkout.load()\n"
        "from pathlib import Path\n"
        "from comfy_assets_node.comfy_assets.db.connection import Database\n"
        "async def main():\n"
        "    db = await Database.open(Path(sys.argv[1]))\n"
        "    async with db.transaction() as tx:\n"
        "        await tx.execute(\"INSERT INTO tags (name) VALUES ('theirs')\")\n"
        "    await db.close()\n"
        "asyncio.run(main())\n"
    )
    fault = Path(__file__).resolve().parents[1] / "fault"
    for _ in range(2):
        run = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code.replace("theirs", f"theirs {_}"), str(store), str(fault)
        )
        assert await run.wait() == 0
        assert log_of(store).stat().st_ino == identity
        await add(db, f"mine {_}")
    assert await outside(store) == "[('a',), ('theirs 0',), ('mine 0',), ('theirs 1',), ('mine 1',)]"
