"""Columns in memory are always what the table has, whatever happened to it in between."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets import asset_kinds
from comfy_assets_node.comfy_assets.asset_kinds import KINDS, kind_of
from comfy_assets_node.comfy_assets.db.connection import Database, Transaction
from comfy_assets_node.comfy_assets.db.listing import columns
from comfy_assets_node.comfy_assets.search.graph_generation import MODEL_SUFFIX

USER_DATA = [
    None,
    {},
    {"rating": 3, "favorite": True},
    {"rating": 4.5},
    {"rating": "5", "favorite": "true"},
    {"rating": 1e300},
    {"rating": -1, "favorite": 1},
    {"rating": None, "favorite": False},
]
NAMES = ["a.png", "b.safetensors", "c.txt", "d"]
TYPES = ["image/png", "video/mp4", "application/json", "application/octet-stream", "model/gltf-binary"]


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await Database.open(tmp_path / "library.db")
    async with opened.transaction() as tx:
        await tx.execute("INSERT INTO tag_sets (owner, tags) VALUES ('', '[]'), ('', '[\"output\"]')")
        for number, facts in enumerate(({"width": 4, "height": 2.0}, {"width": "wide"}), 1):
            await tx.execute(
                "INSERT INTO contents (id, hash, size, metadata) VALUES (?, ?, 0, ?)",
                (number, bytes([number]) * 32, json.dumps(facts)),
            )
    yield opened
    await opened.close()


async def add(tx: Transaction, chance: random.Random) -> None:
    await tx.execute(
        "INSERT INTO assets (uuid, tag_set_id, name, name_key, mime_type, size, created_at, updated_at) VALUES"
        " (?, 1, '', '', '', 0, 1, 1)",
        (f"{chance.random()}",),
    )
    await change(tx, chance, int(await tx.fetch_value("SELECT last_insert_rowid()")))


async def change(tx: Transaction, chance: random.Random, row_id: int) -> None:
    column, value = chance.choice(
        [
            ("tag_set_id", chance.choice([1, 2])),
            ("name_key", chance.choice(NAMES)),
            ("mime_type", chance.choice(TYPES)),
            ("size", chance.choice([0, 10**12])),
            ("created_at", chance.choice([-5, 0, 10**13])),
            ("updated_at", chance.choice([1, 2])),
            ("user_metadata", None if (data := chance.choice(USER_DATA)) is None else json.dumps(data)),
            ("job_id", chance.choice([None, "one", "two"])),
            ("content_id", chance.choice([None, 1, 2])),
            ("folder_id", chance.choice([None, 1, 2])),
        ]
    )
    await tx.execute(f"UPDATE assets SET {column} = ? WHERE id = ?", (value, row_id))


async def check(db: Database) -> None:
    """All columns, beside what a new reading of the table gives."""
    found = await columns.load(db, columns.COLUMNS)
    [(last,)] = await db.fetch_all("SELECT coalesce(max(id), 0) FROM assets")
    for name, definition in columns.COLUMNS.items():
        rows: list[Any] = await db.fetch_all(f"SELECT id, {definition.sql} FROM assets a WHERE {definition.where}")
        wanted = {row[0]: (hash(row[1]) if name == "job" else int(row[1])) for row in rows}
        assert found[name].tolist() == [wanted.get(row_id, 0) for row_id in range(last + 1)], name


@pytest.mark.parametrize("seed", range(3))
async def test_any_sequence_of_changes(db: Database, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(15):
        async with db.transaction() as tx:
            for _ in range(chance.randint(0, 3)):
                await add(tx, chance)
            rows = [row[0] for row in await tx.fetch_all("SELECT id FROM assets ORDER BY id")]
            for row_id in chance.sample(rows, min(len(rows), chance.randint(0, 3))):
                await change(tx, chance, row_id)
            if rows and chance.random() < 0.4:  # the last one's id is given to the next
                await tx.execute("DELETE FROM assets WHERE id = ?", (chance.choice([rows[-1], chance.choice(rows)]),))
            if chance.random() < 0.2:
                await tx.execute("UPDATE contents SET metadata = ?", (json.dumps({"width": chance.randint(1, 9)}),))
        if chance.random() < 0.8:
            await check(db)
    await check(db)


async def test_more_changes_than_are_kept(db: Database) -> None:
    chance = random.Random(1)
    async with db.transaction() as tx:
        for _ in range(10):
            await add(tx, chance)
    await check(db)
    async with db.transaction() as tx:
        await tx.execute(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 140000)"
            " INSERT INTO asset_changes (asset_id) SELECT 99 FROM n"
        )
        await tx.execute("UPDATE assets SET size = 77")
        assert int(await tx.fetch_value("SELECT count(*) FROM asset_changes")) < 70_000
    await check(db)
    # A restored store may have older changes.
    async with db.transaction() as tx:
        await tx.execute("UPDATE assets SET size = 78")
        await tx.execute("DELETE FROM asset_changes")
    await check(db)


async def test_the_store_tells_kinds_as_the_program_does(db: Database) -> None:
    names = [
        "x",
        "x.PNG",
        ".safetensors",
        "x.safetensors.png",
        "ß.Pt",
        *(f"x.{each}" for each in asset_kinds.MODEL_SUFFIXES),
    ]
    types = [*TYPES, *asset_kinds.MODEL_TYPES, *(f"{main}/x" for main in asset_kinds.MAIN_TYPES), "text", "x/jsonx", ""]
    for name, mime_type in itertools.product(names, types):
        sql = f"SELECT {columns.COLUMNS['kind'].sql} FROM (SELECT ? AS name_key, ? AS mime_type) a"
        [(number,)] = await db.fetch_all(sql, (name.casefold(), mime_type))
        assert KINDS[number - 1] == kind_of(name, mime_type), (name, mime_type)


def test_files_of_models_are_those_of_searches() -> None:
    for suffix in asset_kinds.MODEL_SUFFIXES:
        assert MODEL_SUFFIX.search(f"x.{suffix}")
    assert kind_of("x.png", "") == "other" and not MODEL_SUFFIX.search("x.png")
