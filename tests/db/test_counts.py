"""Whatever happens to assets, in whatever order: counts kept by triggers equal a recount, tags are as told."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from comfy_assets_node.comfy_assets.db import assets, contents, files, migrate, moves, tags, trash
from comfy_assets_node.comfy_assets.db.assets import NewAsset
from comfy_assets_node.comfy_assets.db.connection import Database, Transaction
from comfy_assets_node.comfy_assets.db.contents import Facts, Hashed, Unreadable
from comfy_assets_node.comfy_assets.db.files import FileGroup, FolderRow, NewFileRow
from comfy_assets_node.comfy_assets.db.listing import counts as listing_counts
from comfy_assets_node.comfy_assets.ids import new_ids
from comfy_assets_node.comfy_assets.models import REFERENCE, UPLOADED, AssetFilter, TagRequest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples

pytestmark = pytest.mark.slow

FOLDERS = ("/one", "/two")
PLACE = {"/one": ("models", "loras", "model_type:loras"), "/two": ("output",)}
LOGICAL = {"/one": "models/loras", "/two": "output/two"}


# Each table of counts, and what it must hold.
RECOUNTS = {
    "(SELECT id, asset_count FROM tag_sets)": "SELECT id, (SELECT count(*) FROM assets WHERE tag_set_id = s.id)"
    " FROM tag_sets s",
    "tag_counts": "SELECT u.tag_id, a.tag_set_id, count(*) FROM asset_tags u JOIN assets a ON a.id = u.asset_id"
    " GROUP BY 1, 2",
    "(SELECT * FROM tag_totals WHERE n > 0)": "SELECT s.owner, t.name, count(*) FROM asset_tags u"
    " JOIN assets a ON a.id = u.asset_id JOIN tag_sets s ON s.id = a.tag_set_id JOIN tags t ON t.id = u.tag_id"
    " WHERE s.hidden = 0 GROUP BY 1, 2",
    "(SELECT owner, name FROM tag_totals WHERE n = 0)": "SELECT '', name FROM tags t"
    " WHERE NOT EXISTS (SELECT 1 FROM asset_tags WHERE tag_id = t.id)"
    " AND NOT EXISTS (SELECT 1 FROM tag_set_tags WHERE tag_id = t.id)",
    "(SELECT id, folder_id FROM assets WHERE folder_id IS NOT NULL)": "SELECT id, folder_id FROM files",
    "(SELECT * FROM folder_counts WHERE direct <> 0 OR total <> 0)": "SELECT e.node_id, a.tag_set_id, sum(e.is_direct),"
    " count(*) FROM files f JOIN assets a ON a.id = f.id JOIN folder_ancestors e ON e.folder_id = f.folder_id"
    " GROUP BY 1, 2",
    "(SELECT first_id, 1 FROM counted_apart)": f"SELECT {tags.NO_ID}, 1",
    "(SELECT asset_id, tag_id FROM asset_tags)": "SELECT u.asset_id, u.tag_id FROM asset_tags u"
    " JOIN assets a ON a.id = u.asset_id WHERE u.created_at = a.created_at AND NOT EXISTS"
    " (SELECT 1 FROM tag_set_tags WHERE tag_id = u.tag_id AND tag_set_id = a.tag_set_id)",
}


class TaggedStoreModel:
    """The store, and beside it what each asset's tags and place should be."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.tags: dict[int, set[str]] = {}
        self.files: dict[int, tuple[str, str]] = {}
        self.hashes: dict[int, bytes | None] = {}
        self.owners: dict[int, str] = {}
        self.hidden: dict[int, bytes | None] = {}  # deleted ones, with what they held then
        self.folder_ids: dict[str, int] = {}
        self.names = 0

    def some(self, picks: Iterable[int]) -> list[int]:
        """Ids of assets with a file, chosen by numbers of any size."""
        known = sorted(self.files)
        return sorted({known[pick % len(known)] for pick in picks}) if known else []

    async def add(self, tx: Transaction, folder: str, count: int) -> None:
        self.folder_ids = await files.put_folders(
            tx, [FolderRow(f, PLACE[f][0], LOGICAL[f], None, json.dumps(["loras"]), f, None) for f in FOLDERS]
        )
        set_id = await tags.intern(tx, "", PLACE[folder])
        alike = FileGroup(self.folder_ids[folder], set_id, "image/png")
        found: list[NewFileRow] = []
        for _ in range(count):
            self.names += 1
            name = f"{self.names}.png"
            found.append((0, name, name, 10, self.names, self.names))
        first = int(await tx.fetch_value("SELECT coalesce(max(id), 0) FROM assets")) + 1
        await files.insert_new(tx, [alike], found, 10**13)
        for number, row in enumerate(found, first):
            self.tags[number], self.files[number] = set(PLACE[folder]), (folder, row[1])
            self.hashes[number], self.owners[number] = None, ""

    async def uploaded(self, tx: Transaction, owner: str, folder: str, content: int) -> None:
        """A file with all that is known of it."""
        self.names += 1
        row_id = await assets.add(tx, self._entry(owner, UPLOADED, (*PLACE[folder], "a")), 10, self._facts(content))
        row = FolderRow(folder, PLACE[folder][0], LOGICAL[folder], None, json.dumps(["loras"]), folder, None)
        await assets.put_file(tx, row_id, row, f"{self.names}.png", (10, self.names, self.names))
        self.tags[row_id], self.files[row_id] = {*PLACE[folder], "a"}, (folder, f"{self.names}.png")
        self.hashes[row_id], self.owners[row_id] = bytes([content]) * 32, owner
        await self.settled(tx)

    async def referred(self, tx: Transaction, owner: str, content: int) -> None:
        """An asset without a file."""
        self.names += 1
        row_id = await assets.add(tx, self._entry(owner, REFERENCE, ("b",)), 10, self._facts(content))
        self.tags[row_id], self.hashes[row_id], self.owners[row_id] = {"b"}, bytes([content]) * 32, owner
        await self.settled(tx)

    def _entry(self, owner: str, origin: int, place: tuple[str, ...]) -> NewAsset:
        return NewAsset(new_ids(1)[0], owner, f"{self.names}.png", "image/png", place, origin, 7)

    @staticmethod
    def _facts(content: int) -> Facts:
        return Facts(bytes([content]) * 32, 10, "{}")

    async def settled(self, tx: Transaction) -> None:
        """References are missing while no file holds their content."""
        await contents.update_missing_references(tx)
        there = {self.hashes[i] for i in self.files if "missing" not in self.tags[i]}
        for i in set(self.tags) - set(self.files):
            self.tags[i] = self.tags[i] - {"missing"} | (set() if self.hashes[i] in there else {"missing"})

    async def hid(self, tx: Transaction, ids: list[int]) -> None:
        for i in ids:
            if i not in self.hidden:
                await trash.hide(tx, i, 9, None)
                self.hidden[i] = self.hashes[i]

    async def revealed(self, tx: Transaction, ids: list[int]) -> None:
        for i in ids:
            if i in self.hidden:
                await trash.reveal(tx, i)
                del self.hidden[i]

    async def missing(self, tx: Transaction, ids: list[int]) -> None:
        marked = await files.mark_missing(tx, ids)
        assert marked == sum("missing" not in self.tags[i] for i in ids)
        for i in ids:
            self.tags[i].add("missing")
        await self.settled(tx)

    async def present(self, tx: Transaction, ids: list[int]) -> None:
        await files.mark_present(tx, ids)
        for i in ids:
            self.tags[i].discard("missing")
        await self.settled(tx)

    async def changed(self, tx: Transaction, ids: list[int]) -> None:
        await files.mark_changed(tx, [(i, 11, 99, i) for i in ids], 5)
        for i in ids:
            self.hashes[i] = None
            # What was never known, or had been gone, is other content for sure.
            if i in self.hidden and (self.hidden[i] is None or "missing" in self.tags[i]):
                del self.hidden[i]

    async def hashed(self, tx: Transaction, ids: list[int], content: int, *, stale: bool) -> None:
        """A result for another time than the row's is not recorded."""
        digest = bytes([content]) * 32
        rows = await tx.fetch_all("SELECT id, size, mtime_ns FROM files WHERE id IN (SELECT value FROM json_each(?))",
                                  (json.dumps(ids),))  # fmt: skip
        await contents.record(tx, [Hashed(i, size, mtime + stale, digest, "{}") for i, size, mtime in rows])
        for i in [] if stale else ids:
            self.hashes[i] = digest
        for i, held in list(self.hidden.items()):
            if self.hashes[i] is not None and held not in (None, self.hashes[i]):
                del self.hidden[i]
            elif held is None:
                self.hidden[i] = self.hashes[i]
        await self.settled(tx)

    async def chained(self, tx: Transaction, ids: list[int], steps: list[tuple[Any, ...]]) -> None:
        """Several things that happen to the same assets, one after the other."""
        for kind, *rest in steps:
            chosen = [i for i in ids if i in self.files]
            if kind == "hashed":
                await self.hashed(tx, chosen, *rest, stale=False)
            else:
                await getattr(self, kind)(tx, chosen)

    async def unreadable(self, tx: Transaction, ids: list[int]) -> None:
        """Only files that are still to be read are tried."""
        ids = [i for i in ids if self.hashes[i] is None]
        await contents.record_unreadable(tx, [Unreadable(i, "no") for i in ids])

    async def tagged(self, tx: Transaction, ids: list[int], add: set[str], remove: set[str]) -> None:
        for i in ids:
            await tags.retag(tx, [i], add=add, remove=remove)
            self.tags[i] = (self.tags[i] - remove) | add

    async def replaced(self, tx: Transaction, ids: list[int], wanted: set[str]) -> None:
        await tags.replace_place_tags(tx, ids, ["loras"], wanted)
        for i in ids:
            former = {t for t in self.tags[i] if t in (*tags.ROOT_TAGS, "loras") or t.startswith("model_type:")}
            self.tags[i] = (self.tags[i] - former) | wanted

    async def adopted(self, tx: Transaction, ids: list[int]) -> None:
        """The first half of the assets get the files of the second half."""
        ids = [i for i in ids if i not in self.hidden]
        half = len(ids) // 2
        old_of = dict(zip(ids[half:], ids[:half], strict=False))
        await self.missing(tx, list(old_of.values()))
        await moves.adopt_files(tx, old_of)
        for new, old in old_of.items():
            self.files[old] = self.files.pop(new)
            self.tags[old].discard("missing")
            del self.tags[new], self.owners[new]
            self.hashes[old] = self.hashes.pop(new) or self.hashes[old]
        await self.settled(tx)

    async def deleted(self, tx: Transaction, ids: list[int]) -> None:
        await tx.execute_many("DELETE FROM assets WHERE id = ?", [(i,) for i in ids])
        for i in ids:
            del self.tags[i], self.files[i], self.hashes[i], self.owners[i]
            self.hidden.pop(i, None)
        await self.settled(tx)

    def visible(self, owner: str) -> list[set[str]]:
        """The tags of each asset that a user may know of."""
        return [t for i, t in self.tags.items() if i not in self.hidden and self.owners[i] in ("", owner)]

    async def check(self) -> None:
        rows = await self.db.fetch_all(
            "SELECT a.id, l.tags, f.missing, d.path, f.name, f.state, c.hash, s.owner, s.hidden FROM assets a"
            " JOIN tag_sets s ON s.id = a.tag_set_id"
            " JOIN asset_tag_lists l ON l.id = a.id LEFT JOIN files f ON f.id = a.id"
            " LEFT JOIN folders d ON d.id = f.folder_id LEFT JOIN contents c ON c.id = a.content_id"
        )
        assert {row[0]: set(json.loads(row[1])) for row in rows} == self.tags
        assert {row[0]: row[3:5] for row in rows if row[3]} == self.files
        assert {row[0]: row[6] for row in rows} == self.hashes
        assert {row[0]: row[7] for row in rows} == self.owners
        assert {row[0] for row in rows if row[8]} == set(self.hidden)
        for row in rows:
            if row[3]:
                assert bool(row[2]) == ("missing" in json.loads(row[1]))
                assert (row[5] == files.HASHED) == (row[6] is not None)
        uuids = [uuid for (uuid,) in await self.db.fetch_all("SELECT uuid FROM assets")]
        for asset in (await assets.get_many(self.db, uuids)).values():
            assert json.loads(asset.tags) == list(tags.canonical(self.tags[asset.row_id]))
        for table in RECOUNTS:
            assert await self.db.fetch_all(f"SELECT * FROM {table} ORDER BY 1, 2") == await self.db.fetch_all(
                f"{RECOUNTS[table]} ORDER BY 1, 2"
            ), table
        assert await assets.count(self.db) == len(self.tags) - len(self.hidden)
        for owner in ("anna", "nobody"):
            wanted = Counter(t for ts in self.visible(owner) for t in ts)
            listed = await listing_counts.list_tags(self.db, TagRequest(owner, order="name_asc", limit=100))
            assert {t.name: t.count for t in listed.items} == wanted
            told = await listing_counts.histogram(self.db, AssetFilter(owner), 100)
            assert {t.name: t.count for t in told} == wanted
        assert await self.db.fetch_all("PRAGMA foreign_key_check") == []


ids = st.lists(st.integers(0, 5), min_size=1, max_size=4)
user_tags = st.sets(st.sampled_from(["a", "b", "größe"]), max_size=2)
steps_of_one = st.one_of(
    st.tuples(st.sampled_from(["hid", "changed", "missing", "present"])),
    st.tuples(st.just("hashed"), st.integers(0, 3)),
)
operations = st.one_of(
    st.tuples(st.just("add"), st.sampled_from(FOLDERS), st.integers(1, 4)),
    st.tuples(st.just("uploaded"), st.sampled_from(["", "anna"]), st.sampled_from(FOLDERS), st.integers(0, 3)),
    st.tuples(st.just("referred"), st.just("anna"), st.integers(0, 3)),
    st.tuples(
        st.sampled_from(
            ["missing", "present", "changed", "unreadable", "adopted", "deleted", "hid", "hid", "revealed"]
        ),
        ids,
    ),
    st.tuples(st.just("hashed"), ids, st.integers(0, 3), st.booleans()),
    st.tuples(st.just("tagged"), ids, user_tags, user_tags),
    st.tuples(st.just("replaced"), ids, st.sampled_from([set(PLACE["/one"]), set(PLACE["/two"]), {"models", "vae"}])),
    st.tuples(st.just("chained"), ids, st.lists(steps_of_one, min_size=3, max_size=6)),
    st.tuples(st.just("tidied")),
)


async def perform(model: TaggedStoreModel, tx: Transaction, operation: tuple[Any, ...]) -> None:
    kind, *rest = operation
    if kind == "tidied":
        await tags.drop_unused_sets(tx)
    elif kind in ("add", "uploaded", "referred"):
        await getattr(model, kind)(tx, *rest)
    elif chosen := model.some(rest[0]):
        if kind == "hashed":
            await model.hashed(tx, chosen, rest[1], stale=rest[2])
        else:
            await getattr(model, kind)(tx, chosen, *rest[1:])


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "library.db"
    migrate.prepare(path)
    return path


async def run(path: Path, steps: list[tuple[Any, ...]]) -> None:
    db = await Database.open(path)
    try:
        model = TaggedStoreModel(db)
        for operation in [("add", "/one", 3), ("add", "/two", 2), *steps]:
            async with db.transaction() as tx:
                await perform(model, tx, operation)
            await model.check()
        assert await db.fetch_all("PRAGMA integrity_check") == [("ok",)]
    finally:
        await db.close()


@settings(max_examples=examples(80, 300), deadline=None)
@given(steps=st.lists(operations, max_size=10), together=st.booleans())
def test_any_sequence(template: Path, steps: list[tuple[Any, ...]], together: bool) -> None:
    """Assets that change ``together`` are counted by a statement for all of them, as thousands are."""
    few = 0 if together else 100
    with tempfile.TemporaryDirectory(dir=template.parent) as folder, patch.object(tags, "FEW_CHANGES", few):
        path = Path(shutil.copy(template, folder))
        asyncio.run(run(path, steps))


async def test_a_tag_of_a_users_own_is_forgotten_with_its_last_asset(tmp_path: Path) -> None:
    """Nobody else learns of it; public tags stay known."""
    db = await Database.open(tmp_path / "library.db")
    async with db.transaction() as tx:
        rows = []
        for owner, names in (("anna", ("secret", "shared", "gone")), ("", ("shared", "public")), ("ben", ("gone",))):
            asset = NewAsset(new_ids(1)[0], owner, "a.png", "image/png", names, UPLOADED, 7)
            rows.append(await assets.add(tx, asset, 10, None))
        for row_id in (rows[1], rows[0]):
            await tags.retag(tx, [row_id], remove=("secret", "shared", "gone", "public"))
        await tags.drop_unused_sets(tx)
    page = await listing_counts.list_tags(
        db, TagRequest("clara", include_public=True, prefix="", include_zero=True, order="name_asc", limit=9, offset=0)
    )
    known = await db.fetch_all("SELECT name FROM tags ORDER BY name")
    await db.close()
    assert [t.name for t in page.items] == ["public"]
    assert known == [("gone",), ("public",)]


@pytest.mark.parametrize(
    ("given_tags", "ordered"),
    [
        ([], []),
        (["b", "a"], ["a", "b"]),
        (["missing", "z", "models"], ["models", "z", "missing"]),
        (["model_type:loras", "a", "loras", "models"], ["models", "loras", "model_type:loras", "a"]),
        (["a", "a"], ["a"]),
    ],
)
def test_the_order_of_tags(given_tags: list[str], ordered: list[str]) -> None:
    assert list(tags.canonical(given_tags)) == ordered
