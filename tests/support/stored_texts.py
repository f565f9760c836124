"""Every text that a data folder holds, however it is packed: for tests that look for what must not be there."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from comfy_assets_node.comfy_assets.db.compression import decompress

_SQLITE = b"SQLite format 3\0"


def stored_texts(folder: Path) -> Iterator[str]:
    """Yield what the files below a folder hold: whole, their lines as JSON, and each value of a database."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            yield path.name
            yield from texts_of(content)
            if content.startswith(_SQLITE):
                yield from _database_texts(path)


def _database_texts(path: Path) -> Iterator[str]:
    with closing(sqlite3.connect(path)) as conn:
        # Virtual tables are indexes; what they are made of is in ordinary tables.
        query = "SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%'"
        for (table,) in conn.execute(query).fetchall():
            for row in conn.execute(f'SELECT * FROM "{table}"'):
                for value in row:
                    if isinstance(value, str | bytes):
                        yield from texts_of(value)


def texts_of(value: str | bytes) -> Iterator[str]:
    """Yield a text, unpacked if it is compressed, and the texts in it where it is JSON, or lines of JSON."""
    if isinstance(value, bytes):
        value = _unpacked(value).decode(errors="replace")
    yield value
    for document in (value, *value.splitlines()):
        try:
            parsed = json.loads(document)
        except ValueError:
            continue
        yield from texts_in(parsed)


def texts_in(value: Any) -> Iterator[str]:
    """Yield the texts in a parsed value, names of members included, and what these hold where they are JSON."""
    if isinstance(value, dict):
        for name, member in value.items():
            yield name
            yield from texts_in(member)
    elif isinstance(value, list):
        for item in value:
            yield from texts_in(item)
    elif isinstance(value, str):
        yield value
        if value[:1] in '{["':  # a document in a document, such as a workflow in a graph
            yield from (text for text in texts_of(value) if text != value)


def _unpacked(value: bytes) -> bytes:
    try:
        return decompress(value)
    except zlib.error:
        return value
