"""Listings, histograms and tags against a model in plain Python, for any filter, sort, order and page size."""

from __future__ import annotations

import asyncio
import json
import random
import unicodedata
from collections import Counter
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from comfy_assets_node.comfy_assets.background.interruption import Throttle
from comfy_assets_node.comfy_assets.background.tasks import TaskRunner
from comfy_assets_node.comfy_assets.db import assets, contents, files, fulltext, tags
from comfy_assets_node.comfy_assets.db.connection import Database, Transaction
from comfy_assets_node.comfy_assets.db.files import FolderRow
from comfy_assets_node.comfy_assets.db.listing import counts as listing_counts
from comfy_assets_node.comfy_assets.db.listing import facets as listing_tree
from comfy_assets_node.comfy_assets.db.listing import filters as listing_filters
from comfy_assets_node.comfy_assets.db.listing import folders as listing_folders
from comfy_assets_node.comfy_assets.db.listing import pages as listing_pages
from comfy_assets_node.comfy_assets.db.listing import tag_filters as listing_tag_filters
from comfy_assets_node.comfy_assets.models import (
    Asset,
    AssetFilter,
    CursorKey,
    FolderTerm,
    FolderTreeRequest,
    Page,
    PageRequest,
    SearchWord,
    TagRequest,
)
from comfy_assets_node.comfy_assets.search.index import SearchIndex
from comfy_assets_node.comfy_assets.search.words import words_of
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples

pytestmark = pytest.mark.slow

T = TypeVar("T")
OWNERS = ("", "anna", "ben")
TAGS = ("models", "output", "loras", "model_type:loras", "a", "b", "größe", "missing", "x")
NAMES = ("a.png", "A.png", "b.png", "größe.png", "GRÖSSE.png", "100%_x.png", "ß", "İstanbul.jpg")
# Folders on the disk, and their paths in the library. Two are one folder of a category.
FOLDERS = {
    "/out": "output",
    "/out/2026-01": "output/2026-01",
    "/out/2026-01/École": "output/2026-01/École",
    "/out/2026-01-b": "output/2026-01-b",
    "/out/2026-01.c/deep/er": "output/2026-01.c/deep/er",
    "/base/loras/Style": "models/loras/Style",
    "/more/loras/Style": "models/loras/Style",
    "/base/loras/style": "models/loras/style",
    "/base/vae": "models/vae",
}
# Times, sizes and names repeat, so that ties are broken in every order.
FACTS: tuple[dict[str, Any], ...] = (
    {},
    {"n": 1},
    {"n": 1.0},
    {"n": True},
    {"n": "1"},
    {"n": None},
    {"n": [1]},
    {"n": [[1], "v", {"a": 1}], "k": []},
    {"n": [None], "k": {"x": [1, {"y": None}], "a": 1.0}},
    {"k": {"a": True}},
    {"k": "v", "n": 2.5},
    {"k": "größe"},
    {"a.b": "dots", "": "empty"},
)


@dataclass(frozen=True)
class Row:
    """What the model knows of an asset."""

    id: int
    owner: str
    tags: frozenset[str]
    name: str
    size: int
    created_at: int
    updated_at: int
    last_access_at: int | None
    hash: bytes | None
    facts: dict[str, Any]
    user_facts: dict[str, Any] | None
    disk_folder: str | None

    @property
    def folder(self) -> str | None:
        return FOLDERS[self.disk_folder] if self.disk_folder else None


def make_rows(count: int) -> list[Row]:
    chance = random.Random(20)
    rows = []
    for number in range(1, count + 1):
        content = chance.choice([None, *range(12)])
        rows.append(
            Row(
                number,
                chance.choice(OWNERS),
                frozenset(chance.sample(TAGS, chance.randint(0, 4))),
                chance.choice(NAMES),
                chance.choice([0, 1, 5, 10**12]),
                chance.choice([1, 2, 3]),
                chance.choice([1, 2, 3]),
                chance.choice([None, 0, 7, 9]),
                None if content is None else bytes([content]) * 32,
                {} if content is None else FACTS[content % len(FACTS)],
                chance.choice([None, *FACTS]),
                chance.choice([None, *FOLDERS]),
            )
        )
    return rows


ROWS = make_rows(90)


async def fill(tx: Transaction) -> None:
    folders = [FolderRow(path, "output", logical, None, "[]", "", None) for path, logical in FOLDERS.items()]
    folder_ids = await files.put_folders(tx, folders)
    for row in ROWS:
        if row.hash is not None:
            await tx.execute(
                "INSERT OR IGNORE INTO contents (hash, size, metadata) VALUES (?, 0, ?)",
                (row.hash, json.dumps(row.facts)),
            )
        await tx.execute(
            "INSERT INTO assets (id, uuid, tag_set_id, content_id, name, name_key, mime_type, size, created_at,"
            " updated_at, last_access_at, user_metadata)"
            " VALUES (?, ?, ?, (SELECT id FROM contents WHERE hash = ?), ?, ?, 'm', ?, ?, ?, ?, ?)",
            (
                row.id,
                f"id-{row.id}",
                await tags.intern(tx, row.owner, tags.split(row.tags)[0], missing="missing" in row.tags),
                row.hash,
                row.name,
                row.name.casefold(),
                row.size,
                row.created_at,
                row.updated_at,
                row.last_access_at,
                None if row.user_facts is None else json.dumps(row.user_facts),
            ),
        )
        await tags.retag(tx, [row.id], add=tags.split(row.tags)[1])
        if row.disk_folder:
            await tx.execute(
                "INSERT INTO files (id, folder_id, name, size, mtime_ns, inode) VALUES (?1, ?2, ?1, 0, 0, 0)",
                (row.id, folder_ids[row.disk_folder]),
            )


class Store:
    """The open store, for tests that are not coroutines themselves."""

    def __init__(self, path: Path) -> None:
        self.loop = asyncio.new_event_loop()
        self.db = self.run(Database.open(path))
        self.run(self._fill())

    async def _fill(self) -> None:
        async with self.db.transaction() as tx:
            await fill(tx)
        await SearchIndex(self.db, TaskRunner(None), Throttle(lambda: False)).catch_up()  # type: ignore[arg-type]

    def run(self, work: Awaitable[T]) -> T:
        return self.loop.run_until_complete(work)

    def close(self) -> None:
        self.run(self.db.close())
        self.run(self.loop.shutdown_default_executor())
        self.loop.close()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    opened = Store(tmp_path_factory.mktemp("listing") / "library.db")
    yield opened
    opened.close()


# The model


def same(wanted: Any, found: Any) -> bool:
    """JSON equality: 1 is 1.0, but neither true nor "1"; the order of members does not matter."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return wanted.keys() == found.keys() and all(same(wanted[key], found[key]) for key in wanted)
    if isinstance(wanted, list) and isinstance(found, list):
        return len(wanted) == len(found) and all(map(same, wanted, found))
    if isinstance(wanted, bool) or isinstance(found, bool):
        return wanted is found
    if isinstance(wanted, int | float):
        return isinstance(found, int | float) and wanted == found
    return type(wanted) is type(found) and wanted == found


def has_field(row: Row, key: str, wanted: Any) -> bool:
    values = [facts[key] for facts in (row.facts, row.user_facts or {}) if key in facts]
    elements = [element for value in values for element in (value if isinstance(value, list) else [value])]
    elements = [element for element in elements if element is not None]
    accepted = wanted if isinstance(wanted, list) else [wanted]
    return any(not elements if item is None else any(same(item, each) for each in elements) for item in accepted)


def has_word(row: Row, wanted: SearchWord) -> bool:
    texts = (row.name, row.folder or "", *row.tags - {"missing"})
    words = [word for text in texts for word in words_of(text)]
    return any(word == wanted.text if wanted.is_whole else word.startswith(wanted.text) for word in words)


def lies_in(row: Row, term: FolderTerm) -> bool:
    path = unicodedata.normalize("NFC", term.path)  # there is no folder with the decomposed name
    return row.folder == path or (term.is_recursive and (row.folder or "").startswith(f"{path}/"))


def passes(row: Row, wanted: AssetFilter) -> bool:
    return (
        (row.owner == wanted.owner or (wanted.include_public and row.owner == ""))
        and set(wanted.tags_all) <= row.tags
        and (not wanted.tags_any or not row.tags.isdisjoint(wanted.tags_any))
        and row.tags.isdisjoint(wanted.tags_none)
        and wanted.name_contains.casefold() in row.name.casefold()
        and all(has_word(row, word) for word in wanted.words)
        and (wanted.hash is None or wanted.hash == row.hash)
        and (wanted.folder is None or lies_in(row, wanted.folder))
        and all(has_field(row, key, value) for key, value in wanted.metadata.items())
    )


SORT_KEYS = {
    "name": lambda row: row.name.casefold(),
    "created_at": lambda row: row.created_at,
    "updated_at": lambda row: row.updated_at,
    "size": lambda row: row.size,
    "last_access_time": lambda row: row.last_access_at or 0,
}


def expected(wanted: AssetFilter, sort: str, order: str) -> list[int]:
    found = [row for row in ROWS if passes(row, wanted)]
    found.sort(key=lambda row: (SORT_KEYS[sort](row), row.id), reverse=order == "desc")
    return [row.id for row in found]


# What is asked

scalars = st.sampled_from(["v", "größe", "1", 1, 2.5, 1.0, True, False, None, "dots", "empty"])
structures: st.SearchStrategy[Any] = st.sampled_from(
    [
        {},
        {"a": 1},
        {"a": 1.0, "x": [1, {"y": None}]},
        {"a": 1, "x": [1, {"y": 0}]},
        {"a": True},
        {"a": {"b": 1}},
        [1],
        [],
    ]
)
tag_names = st.sampled_from([*TAGS, "nobody has this"])
some_tags = st.lists(tag_names, max_size=2, unique=True).map(tuple)
filters = st.builds(
    AssetFilter,
    owner=st.sampled_from([*OWNERS, "somebody else"]),
    include_public=st.booleans(),
    tags_all=some_tags,
    tags_any=st.one_of(some_tags, st.lists(tag_names, min_size=2, max_size=4, unique=True).map(tuple)),
    tags_none=some_tags,
    name_contains=st.sampled_from(["", "", "", ".png", "GRÖSSE", "ss", "%", "_", "i̇", "zzz"]),
    metadata=st.one_of(
        st.just({}),
        st.dictionaries(
            st.sampled_from(["n", "k", "a.b", "", "absent"]),
            st.one_of(scalars, structures.filter(bool), st.lists(st.one_of(scalars, structures), max_size=3)),
            max_size=5,
        ),
    ),
    hash=st.one_of(st.none(), st.none(), st.sampled_from([bytes([3]) * 32, bytes([99]) * 32])),
    words=st.one_of(
        st.just(()),
        st.lists(
            st.builds(
                SearchWord,
                st.sampled_from(["png", "p", "gr", "grosse", "gros", "100", "mod", "missing"]),
                st.booleans(),
                st.just(""),
            ),
            max_size=2,
        ).map(tuple),
    ),
)
in_folders = st.builds(
    AssetFilter,
    owner=st.sampled_from(OWNERS),
    include_public=st.booleans(),
    tags_all=st.one_of(st.just(()), some_tags),
    tags_none=st.sampled_from([(), (), ("missing",), ("a",)]),
    name_contains=st.sampled_from(["", "", "", ".png"]),
    hash=st.sampled_from([None, None, None, bytes([3]) * 32]),
    words=st.sampled_from([(), (), (), (SearchWord("png", True),)]),
    metadata=st.sampled_from([{}, {}, {}, {"n": 1}]),
    folder=st.builds(
        FolderTerm,
        path=st.sampled_from(
            [*dict.fromkeys(FOLDERS.values()), "models", "models/loras", "outp", "output/2026-01/E\u0301cole"]
        ),
        is_recursive=st.booleans(),
    ),
)
sorts = st.sampled_from(sorted(SORT_KEYS))
orders = st.sampled_from(["asc", "desc"])


async def by_cursor(db: Database, wanted: AssetFilter, first: PageRequest) -> list[Page[Asset]]:
    pages = [await assets.list_page(db, wanted, first)]
    while pages[-1].has_more:
        assert len(pages) <= len(ROWS)
        after = pages[-1].next_key
        pages.append(await assets.list_page(db, wanted, PageRequest(first.sort, first.order, first.limit, 0, after)))
    return pages


async def by_offset(db: Database, wanted: AssetFilter, first: PageRequest) -> list[Page[Asset]]:
    offsets = range(0, len(ROWS) + first.limit, first.limit)
    return [
        await assets.list_page(db, wanted, PageRequest(first.sort, first.order, first.limit, offset))
        for offset in offsets
    ]


@settings(max_examples=examples(90, 300), deadline=None)
@given(
    wanted=filters | in_folders,
    sort=sorts,
    order=orders,
    limit=st.sampled_from([1, 7, 30, 89, 90, 500]),
    least=st.sampled_from([0, 8000]),
    first_look=st.sampled_from([1, 30]),
)
def test_every_asset_once_and_in_order(
    store: Store, wanted: AssetFilter, sort: Any, order: Any, limit: int, least: int, first_look: int
) -> None:
    ids = expected(wanted, sort, order)
    if limit == 1 and len(ids) > 20:
        limit = 7
    first = PageRequest(sort, order, limit)
    with pytest.MonkeyPatch.context() as patch:
        # Small numbers make of these few rows what is done with many.
        patch.setattr(listing_filters, "GATHER_LIMIT", least)
        patch.setattr(listing_pages, "GATHER_LIMIT", least)
        patch.setattr(listing_pages, "_LEAST_WALK", least)
        patch.setattr(listing_pages, "_FIRST_LOOK", first_look)
        patch.setattr(listing_pages, "isqrt", lambda number: 0)
        patch.setattr(listing_pages, "_LEAST_LOOK", 3)
        patch.setattr(listing_pages, "_MOST_LOOK", 8)
        patch.setattr(listing_pages, "_PATIENCE", 5)
        patch.setattr(fulltext, "_MAX_COMPLETIONS", 1)
        patch.setattr(listing_folders, "_MOST_BY_INDEX", least)
        pages = store.run(by_cursor(store.db, wanted, first))
        offset_pages = store.run(by_offset(store.db, wanted, first))
    for found in (pages, offset_pages):
        assert [asset.row_id for page in found for asset in page.items] == ids
        assert {page.total for page in found} == {len(ids)}
    assert all(len(page.items) == limit for page in pages[:-1])
    assert pages[-1].next_key is None
    for number, page in enumerate(offset_pages):
        assert page.has_more == ((number + 1) * limit < len(ids))


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_the_order_of_names_is_used_only_where_it_is_true(store: Store, order: Any) -> None:
    wanted = AssetFilter("anna", name_contains=".png")
    found: Any = store.run(listing_filters.select(store.db, wanted))
    ids = expected(wanted, "name", order)
    names = {row.id: row.name.casefold() for row in ROWS}
    other = next(row.id for row in ROWS if row.id not in ids)

    def page(offset: int = 0, after: CursorKey | None = None, selection: Any = found) -> list[int] | None:
        return store.run(listing_pages._by_name(store.db, selection, PageRequest("name", order, 5, offset, after)))

    assert page() == ids[:6]
    assert page(3) == ids[3:9]
    assert page(3, CursorKey(names[ids[7]], ids[7])) == ids[8:14]  # a cursor goes before an offset
    assert page(after=CursorKey("renamed since", ids[7])) is None
    assert page(after=CursorKey(names[other], other)) is None
    assert page(after=CursorKey("removed", len(ROWS) + 1)) is None
    assert page(selection=replace(found, total=found.total + 1)) is None


def test_the_order_of_names_follows_the_index(tmp_path: Path) -> None:
    store = Store(tmp_path / "library.db")

    def change(sql: str) -> list[int] | None:
        async def work() -> Any:
            async with store.db.transaction() as tx:
                await tx.execute(sql)
            return await listing_pages.name_order(store.db)

        found = store.run(work())
        return None if found is None else found.tolist()

    by_name = sorted(ROWS, key=lambda row: (row.name.casefold(), row.id))
    assert change("DELETE FROM assets WHERE 0") == [row.id for row in by_name]
    assert change("UPDATE assets SET name = 'zzz', name_key = 'zzz' WHERE id = 1") is None
    store.run(SearchIndex(store.db, TaskRunner(None), Throttle(lambda: False)).catch_up())  # type: ignore[arg-type]
    renamed = [row.id for row in by_name if row.id != 1]
    assert change("DELETE FROM assets WHERE 0") == [*renamed, 1]
    columns = "tag_set_id, name, name_key, mime_type, size, created_at, updated_at"
    added = f"INSERT INTO assets (id, uuid, {columns}) SELECT 999, 'id-999', {columns} FROM assets WHERE id = 1"
    assert change(added) is None
    found: Any = store.run(listing_filters.select(store.db, AssetFilter("anna", words=(SearchWord("png", True),))))
    assert store.run(listing_pages._by_name(store.db, found, PageRequest("name", "asc", 5))) is None
    store.close()


@settings(max_examples=100, deadline=None)
@given(wanted=filters | in_folders, limit=st.sampled_from([1, 3, 100]), cost=st.sampled_from([0, 1, 1000]))
def test_histogram_counts_what_a_listing_shows(store: Store, wanted: AssetFilter, limit: int, cost: int) -> None:
    counts = Counter(tag for row in ROWS if passes(row, wanted) for tag in row.tags)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listing_counts, "ROW_COST", cost)
        patch.setattr(listing_tag_filters, "ROW_COST", cost)
        patch.setattr(listing_folders, "ROW_COST", cost)
        found = store.run(listing_counts.histogram(store.db, wanted, limit))
    assert [(t.name, t.count) for t in found] == ordered[:limit]


def tree_of(wanted: AssetFilter, request: FolderTreeRequest) -> list[tuple[str, int, int]]:
    """The folders with passing assets, in the order of the tree, each with its own assets and with all."""
    direct, total = Counter[str](), Counter[str]()
    for row in ROWS:
        if row.folder is None or not passes(row, wanted):
            continue
        direct[row.folder] += 1
        parts = row.folder.split("/")
        total.update("/".join(parts[:end]) for end in range(1, len(parts) + 1))
    start = request.prefix.split("/") if request.prefix else []
    found = [
        (path, direct[path], total[path])
        for path in sorted(total, key=lambda path: path.split("/"))
        if path.split("/")[: len(start)] == start
        and (request.depth is None or path.count("/") + 1 <= len(start) + request.depth)
    ]
    if request.after is not None:
        found = [each for each in found if each[0].split("/") > request.after.split("/")]
    return found


@settings(max_examples=80, deadline=None)
@given(
    wanted=filters | in_folders,
    prefix=st.sampled_from(["", "", "output", "models", "output/2026-01", "models/loras/Style", "output/2026"]),
    depth=st.sampled_from([None, None, 0, 1, 2]),
    limit=st.sampled_from([1, 2, 100]),
    cost=st.sampled_from([0, 1000]),
)
def test_the_tree_counts_what_a_listing_shows(
    store: Store, wanted: AssetFilter, prefix: str, depth: int | None, limit: int, cost: int
) -> None:
    found: list[tuple[str, int, int]] = []
    after: str | None = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listing_tree, "ROW_COST", cost)
        while True:
            request = FolderTreeRequest(prefix, depth, limit, after)
            page, has_more = store.run(listing_tree.folder_tree(store.db, wanted, request))
            found += [(each.path, each.direct, each.total) for each in page]
            assert has_more == (len(tree_of(wanted, request)) > limit)
            if not has_more:
                break
            after = page[-1].path
    assert found == tree_of(wanted, FolderTreeRequest(prefix, depth))


@settings(max_examples=100, deadline=None)
@given(
    owner=st.sampled_from([*OWNERS, "somebody else"]),
    include_public=st.booleans(),
    prefix=st.sampled_from(["", "m", "model_type:", "GR", "gr", "%"]),
    include_zero=st.booleans(),
    order=st.sampled_from(["count_desc", "name_asc"]),
    limit=st.sampled_from([1, 4, 100]),
    offset=st.sampled_from([0, 1, 3, 50]),
)
def test_tags_in_use(
    store: Store,
    owner: str,
    include_public: bool,
    prefix: str,
    include_zero: bool,
    order: Any,
    limit: int,
    offset: int,
) -> None:
    visible = AssetFilter(owner, include_public)
    counts = Counter(tag for row in ROWS if passes(row, visible) for tag in row.tags)
    names = [(name, count) for name, count in counts.items() if name.startswith(prefix)]
    names.sort(key=lambda item: item[0] if order == "name_asc" else (-item[1], item[0]))
    page = store.run(
        listing_counts.list_tags(
            store.db,
            TagRequest(
                owner,
                include_public=include_public,
                prefix=prefix,
                include_zero=include_zero,
                order=order,
                limit=limit,
                offset=offset,
            ),
        )
    )
    found = [(t.name, t.count) for t in page.items]
    assert found == names[offset : offset + limit]
    assert (page.total, page.has_more) == (len(names), offset + limit < len(names))


@pytest.mark.parametrize("row", ROWS[:20], ids=lambda row: str(row.id))
@pytest.mark.parametrize("owner", [*OWNERS, "somebody else"])
def test_one_asset(store: Store, row: Row, owner: str) -> None:
    found = store.run(assets.get(store.db, f"id-{row.id}", owner))
    assert (found is not None) == (row.owner in ("", owner))
    if found is not None:
        assert (found.row_id, found.name, found.hash) == (row.id, row.name, row.hash)
        assert frozenset(json.loads(found.tags)) == row.tags


@pytest.mark.parametrize("owner", [*OWNERS, "somebody else"])
def test_content_is_told_of_to_those_who_can_reach_it(store: Store, owner: str) -> None:
    for content in range(13):
        digest = bytes([content]) * 32
        reachable = any(row.hash == digest and row.owner in ("", owner) for row in ROWS)
        assert store.run(contents.hash_exists(store.db, digest, owner)) == reachable


def test_count(store: Store) -> None:
    assert store.run(assets.count(store.db)) == len(ROWS)
