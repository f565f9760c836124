"""Rows of downloads: claimed once, continued by one server, kept while somebody may ask again."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from comfy_assets_node.comfy_assets.db import downloads
from comfy_assets_node.comfy_assets.db.connection import Database
from comfy_assets_node.comfy_assets.db.downloads import DownloadRow


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    database = await Database.open(tmp_path / "library.db")
    yield database
    await database.close()


def row(number: int, **more: Any) -> DownloadRow:
    fields = {"owner": "ann", "instance": 1, "key": f"key{number}", "is_active": True, "folder": "/models"}
    return DownloadRow(id=uuid.UUID(int=number).bytes, request="{}", source="{}", **{**fields, **more})


async def test_one_of_many_requests_for_a_file_gets_it(db: Database) -> None:
    claimed = await asyncio.gather(*(downloads.claim(db, row(number, key="same"), 100) for number in range(10)))
    assert len({found.id for found in claimed if found is not None}) == 1
    assert (await downloads.active_by_key(db, "same")) == claimed[0]


async def test_no_more_than_the_limit_are_active(db: Database) -> None:
    assert [await downloads.claim(db, row(number), 2) is not None for number in range(3)] == [True, True, False]
    await downloads.interrupt(db, uuid.UUID(int=0))
    assert await downloads.claim(db, row(2), 2) is not None


async def test_an_interrupted_one_is_continued_under_another_id(db: Database) -> None:
    await downloads.claim(db, row(1), 100)
    await downloads.record_progress(db, uuid.UUID(int=1), 1000, '"one"')
    await downloads.interrupt(db, uuid.UUID(int=1))
    assert await downloads.active_by_key(db, "key1") is None
    again = await downloads.claim(db, row(2, key="key1", folder="/elsewhere"), 100)
    assert again is not None
    assert (again.id, again.folder, again.flushed, again.validator) == (row(2).id, "/models", 1000, '"one"')
    assert await downloads.keys(db) == {"key1"}


async def test_those_of_ended_servers_are_adopted_once(db: Database) -> None:
    for number, instance in enumerate((1, 1, 2, 3)):
        await downloads.claim(db, row(number, instance=instance), 100)
    await downloads.interrupt(db, uuid.UUID(int=1))
    found = await asyncio.gather(*(downloads.adopt(db, server, {2, 8, 9}) for server in (8, 9)))
    assert sorted(each.key for adopted in found for each in adopted) == ["key0", "key3"]
    instances: dict[str, int] = dict(await db.fetch_all("SELECT key, instance FROM downloads"))
    assert instances["key2"] == 2 and instances["key1"] == 1


async def test_old_interrupted_ones_are_removed(db: Database) -> None:
    for number in range(3):
        await downloads.claim(db, row(number), 100)
    for number in range(2):
        await downloads.interrupt(db, uuid.UUID(int=number))
    async with db.transaction() as tx:
        await tx.execute("UPDATE downloads SET updated_at = ? WHERE key IN ('key0', 'key2')", (5,))
    removed = await downloads.remove_interrupted(db, 6)
    assert [each.key for each in removed] == ["key0"]
    assert await downloads.keys(db) == {"key1", "key2"}


async def test_contents_are_known_by_their_sha256(db: Database) -> None:
    await downloads.claim(db, row(1), 100)
    assert await downloads.blake3_of(db, b"s" * 32) is None
    await downloads.record_verified(db, uuid.UUID(int=1), b"b" * 32, b"s" * 32)
    await downloads.record_verified(db, uuid.UUID(int=1), b"c" * 32, b"s" * 32)
    assert await downloads.blake3_of(db, b"s" * 32) == b"c" * 32
    stored = await downloads.active_by_key(db, "key1")
    assert stored == msgspec.structs.replace(row(1), verified=b"c" * 32)
    await downloads.remove(db, uuid.UUID(int=1))
    assert await downloads.keys(db) == set()
