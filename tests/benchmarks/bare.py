"""The unavoidable work, without a library around it: what the benchmarks compare with."""

from __future__ import annotations

import json
import os
import sqlite3
import struct
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from blake3 import blake3

ROOTS = ("models", "input", "output")


def walk_and_stat(base: Path) -> list[tuple[str, int, int]]:
    """Path, size and mtime of every file."""
    found: list[tuple[str, int, int]] = []

    def visit(folder: str) -> None:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir():
                    visit(entry.path)
                else:
                    info = entry.stat()
                    found.append((entry.path, info.st_size, info.st_mtime_ns))

    for root in ROOTS:
        visit(str(base / root))
    return found


def walk_stat_and_insert(base: Path, store: Path) -> None:
    """The same, written to a table in one transaction."""
    with closing(sqlite3.connect(store)) as conn:
        conn.execute("PRAGMA journal_mode = WAL")
        conn.execute("CREATE TABLE files (path TEXT PRIMARY KEY, size INTEGER, mtime INTEGER)")
        conn.executemany("INSERT INTO files VALUES (?, ?, ?)", walk_and_stat(base))
        conn.commit()


def hash_and_parse(paths: list[str], threads: int) -> None:
    """Read each file once: its blake3 hash, and the header or text chunks parsed as JSON."""

    def read(path: str) -> None:
        with open(path, "rb") as stream:
            data = stream.read()
        blake3(data).digest()
        (_parse_png if data[:4] == b"\x89PNG" else _parse_safetensors)(data)

    def read_all(part: list[str]) -> None:
        for path in part:
            read(path)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(read_all, [paths[i : i + 64] for i in range(0, len(paths), 64)]))


def _parse_safetensors(data: bytes) -> None:
    (length,) = struct.unpack_from("<Q", data)
    json.loads(data[8 : 8 + length])


def _parse_png(data: bytes) -> None:
    struct.unpack_from(">II", data, 16)
    position = 8
    while position + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        if kind == b"IDAT":
            return
        if kind == b"tEXt":
            json.loads(data[position + 8 : position + 8 + length].partition(b"\0")[2])
        position += 12 + length


def hash_mapped(path: Path) -> None:
    """One large file with blake3's own mapping and threads."""
    blake3(max_threads=blake3.AUTO).update_mmap(path).digest()
