"""Which references lose their content, and how many rows that is decided from."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
from comfy_assets_node.comfy_assets.db import assets, contents, files, trash
from comfy_assets_node.comfy_assets.db.assets import NewAsset
from comfy_assets_node.comfy_assets.db.connection import Database, Transaction
from comfy_assets_node.comfy_assets.db.contents import Facts
from comfy_assets_node.comfy_assets.ids import new_ids
from comfy_assets_node.comfy_assets.models import REFERENCE


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    db = await Database.open(tmp_path / "library.db")
    yield db
    await db.close()


async def refer(tx: Transaction, content: int, *tags: str) -> int:
    """A reference to content that is in no file."""
    entry = NewAsset(new_ids(1)[0], "", f"{content}.png", "image/png", tags, REFERENCE, 7)
    return await assets.add(tx, entry, 10, Facts(bytes([content]) * 32, 10, "{}"))


async def tags_of(tx: Transaction) -> dict[str, list[str]]:
    rows = await tx.fetch_all(
        "SELECT a.name, l.tags FROM assets a JOIN tag_sets s ON s.id = a.tag_set_id"
        " JOIN asset_tag_lists l ON l.id = a.id"
    )
    return {name: json.loads(tags) for name, tags in rows}


async def test_only_the_contents_in_question_are_looked_at(db: Database) -> None:
    async with db.transaction() as tx:
        first = await refer(tx, 1, "a")
        await refer(tx, 2, "a")
        touched = await contents.of_assets(tx, [first])
        await contents.update_missing_references(tx, set())
        assert await tags_of(tx) == {"1.png": ["a"], "2.png": ["a"]}
        await contents.update_missing_references(tx, touched)
        assert await tags_of(tx) == {"1.png": ["a", "missing"], "2.png": ["a"]}
        await contents.update_missing_references(tx)
        assert await tags_of(tx) == {"1.png": ["a", "missing"], "2.png": ["a", "missing"]}


async def test_what_has_not_been_read_holds_no_content(db: Database) -> None:
    async with db.transaction() as tx:
        first = await refer(tx, 1, "a")
        await tx.execute("UPDATE assets SET content_id = NULL")
        assert await contents.of_assets(tx, [first, first + 1]) == set()


async def test_what_a_batch_of_read_files_asks_does_not_grow_with_the_library(db: Database) -> None:
    """Whether deleted assets come back, and whether a file is missing or a reference there, is asked for each batch."""
    async with db.transaction() as tx:
        asked: list[str] = []

        class Noting:
            execute = tx.execute

            async def fetch_all(self, sql: str) -> Any:
                asked.append(sql)
                return await tx.fetch_all(sql)

            async def fetch_value(self, sql: str) -> Any:
                asked.append(sql)
                return await tx.fetch_value(sql)

        noting = cast("Transaction", Noting())
        await trash.reveal_changed(noting)
        assert not await files.any_missing(noting)
        assert not await contents.any_references(noting)
        await refer(tx, 1, "a")
        assert await contents.any_references(noting)
        for sql in asked:
            plan = [row[3] for row in await tx.fetch_all(f"EXPLAIN QUERY PLAN {sql}")]
            scans = [step for step in plan if step.startswith("SCAN") and "CONSTANT" not in step]
            assert all(step.startswith("SCAN t") or "files_missing" in step or "_referring" in step for step in scans)
