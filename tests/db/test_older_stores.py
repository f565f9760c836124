"""Stores of earlier releases are migrated without a difference in what the API says of them."""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.background.interruption import Throttle
from comfy_assets_node.comfy_assets.background.tasks import TaskRunner
from comfy_assets_node.comfy_assets.db import assets, tags
from comfy_assets_node.comfy_assets.db.connection import Database
from comfy_assets_node.comfy_assets.db.listing import counts
from comfy_assets_node.comfy_assets.db.migrate import migrations, prepare
from comfy_assets_node.comfy_assets.models import AssetFilter, PageRequest, SearchWord, TagRequest
from comfy_assets_node.comfy_assets.search.index import SearchIndex

from .test_counts import RECOUNTS

STORES = Path(__file__).with_name("stores")
# Written by the release before users' tags had a table of their own, with what its API said of it.
V11 = json.loads((STORES / "store_v11.json").read_text(encoding="utf-8"))


@pytest.fixture
async def migrated(tmp_path: Path) -> Any:
    path = tmp_path / "library.db"
    path.write_bytes(gzip.decompress((STORES / "store_v11.db.gz").read_bytes()))
    database = await Database.open(path)
    yield database
    await database.close()


async def check_counts(db: Database) -> None:
    for table, recount in RECOUNTS.items():
        kept = await db.fetch_all(f"SELECT * FROM {table} ORDER BY 1, 2")
        assert kept == await db.fetch_all(f"{recount} ORDER BY 1, 2"), table
    assert await db.fetch_all("PRAGMA foreign_key_check") == []
    assert await db.fetch_all("PRAGMA integrity_check") == [("ok",)]


async def test_assets_have_the_tags_that_they_had(migrated: Database) -> None:
    for owner, wanted in V11["assets"].items():
        found = [
            [asset.id, asset.name, asset.owner, json.loads(asset.tags)]
            for offset in range(0, 100, 20)
            for asset in (await assets.list_page(migrated, AssetFilter(owner), PageRequest(offset=offset))).items
        ]
        assert [row[:3] for row in found] == [row[:3] for row in wanted]
        for (*_, now), (*_, before) in zip(found, wanted, strict=True):
            assert now == before
    await check_counts(migrated)


async def test_tags_have_the_counts_that_they_had(migrated: Database) -> None:
    for key, wanted in V11["tags"].items():
        owner, zero, public = key.split(",")
        request = TagRequest(owner, include_public=public == "True", include_zero=zero == "True", limit=100)
        assert [[t.name, t.count] for t in (await counts.list_tags(migrated, request)).items] == wanted, key


async def test_histograms_are_as_they_were(migrated: Database) -> None:
    for key, wanted in V11["histograms"].items():
        owner, *names = key.split(";")
        include, exclude = (tuple(filter(None, text.split(","))) for text in names)
        found = await counts.histogram(migrated, AssetFilter(owner, tags_all=include, tags_none=exclude), 100)
        assert [[t.name, t.count] for t in found] == wanted, key


async def test_search_finds_what_it_did_and_what_changes(migrated: Database) -> None:
    index = SearchIndex(migrated, TaskRunner(None), Throttle(lambda: False))  # type: ignore[arg-type]
    await index.catch_up()

    async def found(word: str) -> set[str]:
        wanted = AssetFilter("anna", words=(SearchWord(word, is_whole=True),))
        return {asset.id for asset in (await assets.list_page(migrated, wanted, PageRequest(limit=100))).items}

    tagged = {asset_id for asset_id, _, _, names in V11["assets"]["anna"] if "red dragon" in names}
    later = {asset_id for asset_id, _, _, names in V11["assets"]["anna"] if "later" in names}
    assert await found("dragon") == tagged
    assert await found("later") == later and later
    rows = await migrated.fetch_all("SELECT id FROM assets")
    async with migrated.transaction() as tx:
        await tags.retag(tx, [row[0] for row in rows], remove=("red dragon",), add=("blue",))
    await index.catch_up()
    assert await found("dragon") == set()
    assert len(await found("blue")) == len(V11["assets"]["anna"])
    await check_counts(migrated)


# Owners, tags and how many assets have them; "hidden" sets came with the second schema.
SETS = (
    ("", ["models", "loras", "model_type:loras", "mine"], 2),
    ("", ["models", "loras", "model_type:loras", "mine", "missing"], 1),
    ("", ["models", "loras", "model_type:loras"], 1),
    ("", ["models", "a", "style"], 1),
    ("anna", ["output", "a", "b", "größe", "loras"], 2),
    ("anna", ["output", "missing"], 1),
    ("anna", [], 1),
)


@pytest.mark.parametrize("version", range(1, 12))  # the next keeps users' tags apart
async def test_every_earlier_schema(tmp_path: Path, version: int) -> None:
    path = tmp_path / "library.db"
    prepare(path, migrations()[:version])
    wanted: dict[str, tuple[str, list[str]]] = {}
    with closing(sqlite3.connect(path)) as conn, conn:
        conn.execute(
            "INSERT INTO folders (id, path, kind, logical, categories, place_key)"
            " VALUES (1, '/models/style', 'models', 'models/style', '[\"style\"]', '')"
        )
        for set_id, (owner, names, count) in enumerate(SETS, 1):
            conn.execute("INSERT INTO tag_sets (id, owner, tags) VALUES (?, ?, ?)", (set_id, owner, json.dumps(names)))
            for name in names:
                conn.execute("INSERT OR IGNORE INTO tags (name) VALUES (?)", (name,))
                conn.execute("INSERT INTO tag_set_tags SELECT id, ? FROM tags WHERE name = ?", (set_id, name))
            for number in range(count):
                uuid = f"{set_id}-{number}"
                wanted[uuid] = (owner, names)
                conn.execute(
                    "INSERT INTO assets (uuid, tag_set_id, name, name_key, mime_type, size, created_at, updated_at)"
                    " VALUES (?1, ?2, ?1, ?1, 'm', 0, ?2, 0)",
                    (uuid, set_id),
                )
                if "style" in names:
                    conn.execute(
                        "INSERT INTO files (id, folder_id, name, size, mtime_ns, inode)"
                        " SELECT max(id), 1, 'a', 0, 0, 0 FROM assets"
                    )
        conn.execute("INSERT INTO tags (name) VALUES ('known')")
    db = await Database.open(path)
    try:
        found = await assets.get_many(db, list(wanted))
        assert {a.id: (a.owner, json.loads(a.tags)) for a in found.values()} == wanted
        sets = await db.fetch_all("SELECT tags FROM tag_sets WHERE tags LIKE '%style%'")
        assert sets == [('["models","style"]',)]
        recount = Counter(name for _, names in wanted.values() for name in names)
        page = await counts.list_tags(db, TagRequest("anna", include_zero=True))
        assert {t.name: t.count for t in page.items} == {**recount, "known": 0}
        await check_counts(db)
    finally:
        await db.close()
