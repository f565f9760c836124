"""Bring a store file to the current schema, or raise an error that says why not.

Synchronous: runs once, in a thread, before the connections of ``connection.Database`` are opened.
"""

from __future__ import annotations

import logging
import re
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ..errors import StoreTooNewError
from ..fs import shared_files
from ..store_guard import is_open_store_file
from .store_files import LOCK_TIMEOUT_S, close_guarded, connect_read_only

log = logging.getLogger("comfy_assets.db")

MIGRATIONS = Path(__file__).with_name("migrations")
KEPT_BACKUPS = 3
_MAGIC = b"SQLite format 3\0"
_SIDE_FILES = ("", "-wal", "-shm", "-journal")


@dataclass(frozen=True)
class Migration:
    """One numbered step: ``0001_library.sql`` brings the schema to version 1."""

    version: int
    path: Path


def migrations(folder: Path = MIGRATIONS) -> list[Migration]:
    """Return the steps in order. Raises ValueError unless their numbers are 1, 2, 3 …"""
    found = [
        Migration(int(match[1]), path)
        for path in sorted(folder.glob("*.sql"))
        if (match := re.fullmatch(r"(\d{4})_\w+\.sql", path.name))
    ]
    if [step.version for step in found] != list(range(1, len(found) + 1)):
        raise ValueError(f"migrations are not numbered without gaps: {[s.path.name for s in found]}")
    return found


def prepare(path: Path, steps: list[Migration] | None = None) -> None:
    """Create or migrate the store at ``path``.

    A file that is not a readable database is renamed, and a new store is created. Raises StoreTooNewError for a file of
    a newer version, and sqlite3.Error or OSError if the folder cannot be written.
    """
    steps = migrations() if steps is None else steps
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not (_looks_like_sqlite(path) and _is_readable(path)):
        _set_aside(path)
    conn = _connect(path)
    try:
        _migrate(conn, path, steps)
    finally:
        close_guarded(conn, path)


def _connect(path: Path) -> sqlite3.Connection:
    conn = sqlite3.connect(path, isolation_level=None, timeout=LOCK_TIMEOUT_S)
    conn.execute("PRAGMA fullfsync = ON")  # on macOS fsync leaves the order of writes to the drive
    return conn


def _looks_like_sqlite(path: Path) -> bool:
    """Return whether the file begins like a database, or is empty and will become one.

    This is checked before SQLite opens the file, which would write to, and delete, the write-ahead log of a file that
    it cannot read.
    """
    if is_open_store_file(path.stat()):
        return True  # reading it would drop this process's locks on it (POSIX)
    # A backup or a virus scanner may lock the file for some seconds.
    head = shared_files.read_shared(path, len(_MAGIC), patience_s=LOCK_TIMEOUT_S)
    looks_right = head == _MAGIC if head else not _has_log(path)
    if not looks_right:
        log.error("The library store %s is not a database.", path.name)
    return looks_right


def _has_log(path: Path) -> bool:
    """Return whether there is a write-ahead log that is not empty, as after a crash."""
    try:
        return path.with_name(path.name + "-wal").stat().st_size > 0
    except FileNotFoundError:
        return False


def _is_readable(path: Path) -> bool:
    """Return whether SQLite can read the file: its schema, and after a crash (a log was left) all its pages."""
    unclean = _has_log(path)
    try:
        with closing(connect_read_only(path)) as conn:
            conn.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if not unclean:
                return True
            problems = conn.execute("PRAGMA quick_check(1)").fetchone()
            return problems is not None and problems[0] == "ok"
    except sqlite3.OperationalError:  # a lock or the disk, which say nothing about the file
        raise
    except sqlite3.DatabaseError as error:
        log.error("The library store %s cannot be read: %s", path.name, error)
        return False


def _set_aside(path: Path) -> Path:
    """Rename an unreadable store and its side files, so that nothing is lost."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    target = path.with_name(f"{path.name}.unreadable-{stamp}")
    number = 1
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}.unreadable-{stamp}-{number}")
    has_log = _has_log(path)
    for suffix in _SIDE_FILES:
        source = path.with_name(path.name + suffix)
        if suffix in ("-wal", "-shm") and not has_log:
            shared_files.remove(source, missing_ok=True)  # an empty log and its index
        elif source.exists():
            shared_files.replace(source, target.with_name(target.name + suffix))
    log.error("It was kept as %s; the library is being rebuilt from the files on disk.", target.name)
    return target


def _migrate(conn: sqlite3.Connection, path: Path, steps: list[Migration]) -> None:
    version = int(conn.execute("PRAGMA user_version").fetchone()[0])
    if version > len(steps):
        raise StoreTooNewError(
            f"{path.name} has schema version {version}, newer than the {len(steps)} this version of "
            "comfy-assets knows. Update comfy-assets, or move the file away to start a new library."
        )
    if 0 < version < len(steps):
        _back_up(conn, path, version)
    _use_wal(conn)
    left = steps[version:]
    # A new store is made in one transaction: one for each step would wait for the disk dozens of times.
    for group in [left] if version == 0 else ([step] for step in left):
        _apply(conn, group)


def _use_wal(conn: sqlite3.Connection) -> None:
    """Switch to write-ahead logging. SQLite does not wait for other processes here, so this retries."""
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            conn.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(0.02)


def _apply(conn: sqlite3.Connection, steps: Sequence[Migration]) -> None:
    """Apply steps in one transaction, without those that another process applied while this one waited for the lock."""
    conn.execute("BEGIN IMMEDIATE")
    try:
        version = int(conn.execute("PRAGMA user_version").fetchone()[0])
        for step in steps:
            if version < step.version:
                for statement in _statements(step.path.read_text(encoding="utf-8")):
                    conn.execute(statement)
                conn.execute(f"PRAGMA user_version = {step.version}")
        conn.execute("COMMIT")
    except BaseException:
        if conn.in_transaction:
            conn.execute("ROLLBACK")
        raise


def _statements(script: str) -> Iterator[str]:
    """Split a script into statements, because ``executescript`` would commit the transaction."""
    lines: list[str] = []
    for line in script.splitlines(keepends=True):
        lines.append(line)
        if sqlite3.complete_statement("".join(lines)):
            yield "".join(lines)
            lines.clear()
    if "".join(lines).strip():
        yield "".join(lines)


def _back_up(conn: sqlite3.Connection, path: Path, version: int) -> None:
    """Copy the store to ``<name>.backup-v<version>-<time>``, and keep the newest backups."""
    target = path.with_name(f"{path.name}.backup-v{version}-{time.strftime('%Y%m%d-%H%M%S')}")
    try:
        with closing(_connect(target)) as copy:
            conn.backup(copy)
    except BaseException:
        shared_files.remove(target, missing_ok=True)  # half a backup is worse than none
        raise
    backups = sorted(path.parent.glob(f"{path.name}.backup-v*"), key=lambda p: p.stat().st_mtime)
    for old in backups[:-KEPT_BACKUPS]:
        shared_files.remove(old)
    log.info("The library store was backed up as %s before its migration.", target.name)


# search_names finds parts of names of three characters and more without reading the names. search_words holds each
# word of an asset once, separated by spaces; beginnings of one character have an index of their own. An index of those
# of two, which earlier releases made, is a third of the whole, and makes a search at most twice as fast. search_terms
# lists the words.
_SEARCH_TABLES = {
    "search_names": "fts5(name, content = '', columnsize = 0, tokenize = 'trigram case_sensitive 1')",
    "search_words": "fts5(words, content = '', columnsize = 0, detail = none, tokenize = 'ascii', prefix = 1)",
    "search_terms": "fts5vocab('search_words', 'instance')",
    "job_words": "fts5(words, content = '', columnsize = 0, detail = none, tokenize = 'ascii', prefix = '1 2')",
}


def create_search_tables(conn: sqlite3.Connection) -> bool:
    """Create the full-text tables if there are none; return whether this SQLite can use them (3.34 or newer with FTS5).

    They are not part of a migration, so that a SQLite without FTS5 still opens the store.
    """
    try:
        # If another SQLite created the tables, only using them would show that this one cannot.
        conn.execute("CREATE VIRTUAL TABLE temp.search_probe USING fts5(a, tokenize = 'trigram')")
        conn.execute("DROP TABLE temp.search_probe")
    except sqlite3.OperationalError as error:
        log.warning(
            "This Python's SQLite %s cannot search by words (%s); the rest works. SQLite 3.34 or newer with FTS5 can.",
            sqlite3.sqlite_version,
            error,
        )
        return False
    if conn.execute("SELECT 1 FROM sqlite_master WHERE name = 'job_words'").fetchone() is None:
        _create_all(conn)
    return True


def _create_all(conn: sqlite3.Connection) -> None:
    conn.execute("BEGIN IMMEDIATE")
    try:
        for name, module in _SEARCH_TABLES.items():
            conn.execute(f"CREATE VIRTUAL TABLE IF NOT EXISTS {name} USING {module}")
        conn.execute("COMMIT")
    except BaseException:
        conn.execute("ROLLBACK")
        raise
