"""New stores for tests: copies of one that the migrations have made, once a process.

Hundreds of tests begin with a new store. To make one takes more processor time than most of these tests do.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import NamedTuple

from comfy_assets_node.comfy_assets.db import connection, migrate

_prepare = connection._prepare
_create_search_tables = migrate.create_search_tables


def use_template() -> None:
    """Let this process copy its new stores. An existing store is migrated and examined as ever."""
    connection._prepare = _copy_and_prepare


def _copy_and_prepare(path: Path) -> bool:
    # A test that replaces this function wants a store without search tables, or none of a capable SQLite.
    if not path.exists() and migrate.create_search_tables is _create_search_tables:
        template = _template(tuple(migrate.migrations()))
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(template.path, path)
        return template.can_search
    return _prepare(path)


class _Template(NamedTuple):
    path: Path
    can_search: bool


@cache
def _template(steps: tuple[migrate.Migration, ...]) -> _Template:
    """Return a new store with these migrations; in a folder that lasts as long as the process."""
    path = Path(_folder().name) / f"new-{len(steps)}.db"
    can_search = _prepare(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # so that the file alone is the whole store
    return _Template(path, can_search)


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="comfy-assets-tests-")
