"""Whatever happens to a library, both searches answer what looking at every asset answers."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.app import Services
from comfy_assets_node.comfy_assets.assets.fields import UploadFields
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.db import contents, fulltext
from comfy_assets_node.comfy_assets.db.connection import Database
from comfy_assets_node.comfy_assets.db.fulltext import EVERY
from comfy_assets_node.comfy_assets.host.base import HostFolders, LibraryFolder
from comfy_assets_node.comfy_assets.host.testing import MemoryHost
from comfy_assets_node.comfy_assets.models import AssetEdit, AssetFilter, PageRequest
from comfy_assets_node.comfy_assets.search import index
from comfy_assets_node.comfy_assets.search.documents import words_in, words_in_facts
from comfy_assets_node.comfy_assets.search.query import parse_query
from comfy_assets_node.comfy_assets.search.words import Field, words_of
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.examples import examples
from support.files import picture

pytestmark = pytest.mark.slow

NAMES = ["red dragon.png", "Größe_01.png", "dragonfly.png", "日本 01.png"]
TAGS = ["red", "book 01", "größe"]
TEXTS = ["a red dragon", "größe 01", "", "knight, 城"]
QUERIES = ["dragon", '"dragon"', "red", "red dragon", "gros 01", "k", "png out", "城", "book", "missing", "seed 7"]
NEEDLES = ["dragon", "RAGON", "größe", "01.", "0", ".png", "日本 ", "zz"]


def picture_of(text: str) -> bytes:
    """A picture whose graph says the text."""
    return picture(
        size=(2, 2), prompt=json.dumps({"1": {"inputs": {"text": text}}, "2": {"inputs": {"seed": len(text)}}})
    )


MARKS = {EVERY, *(field.value for field in Field)}

PICTURES = [picture_of(text) for text in TEXTS]


class SearchedLibraryModel:
    """A library to which things happen."""

    def __init__(self, base: Path, services: Services) -> None:
        self.base, self.services = base, services
        self.ticks = 0

    async def ids(self, hidden: int = 0) -> list[str]:
        rows = await self.services.db.fetch_all(
            "SELECT a.uuid FROM assets a JOIN tag_sets s ON s.id = a.tag_set_id WHERE s.hidden = ? ORDER BY a.id",
            (hidden,),
        )
        return [row[0] for row in rows]

    async def some(self, number: int, hidden: int = 0) -> str | None:
        ids = await self.ids(hidden)
        return ids[number % len(ids)] if ids else None

    async def wrote(self, name: int, content: int) -> None:
        """A file is new, or other than before."""
        path = self.base / "output" / NAMES[name]
        path.write_bytes(PICTURES[content])
        self.ticks += 1
        os.utime(path, (10**9 + self.ticks, 10**9 + self.ticks))

    async def removed(self, name: int) -> None:
        (self.base / "output" / NAMES[name]).unlink(missing_ok=True)

    async def moved(self, name: int, other: int) -> None:
        path = self.base / "output" / NAMES[name]
        if path.exists():
            path.replace(self.base / "input" / NAMES[other])

    async def scanned(self) -> None:
        task, _ = self.services.indexer.start_scan()
        await task.done.wait()
        await self.services.indexer.finish()
        assert self.services.indexer.status()["status"] == "completed"

    async def uploaded(self, name: int, content: int, tag: int) -> None:
        tags = ("input", TAGS[tag])
        async with self.services.uploads.receive(tags) as draft:
            draft.write([PICTURES[content]])
            await self.services.uploads.complete(draft, UploadFields(tags, NAMES[name]), "")

    async def renamed(self, number: int, name: int) -> None:
        if asset := await self.some(number):
            await self.services.assets.update(asset, AssetEdit(name=NAMES[name]), "")

    async def tagged(self, number: int, tag: int) -> None:
        if asset := await self.some(number):
            await self.services.assets.add_tags(asset, (TAGS[tag],), "")

    async def untagged(self, number: int, tag: int) -> None:
        if asset := await self.some(number):
            await self.services.assets.remove_tags(asset, (TAGS[tag],), "")

    async def deleted(self, number: int) -> None:
        if asset := await self.some(number):
            await self.services.trash.delete(asset, "")

    async def restored(self, number: int) -> None:
        if asset := await self.some(number, hidden=1):
            await self.services.trash.restore(asset)

    async def emptied(self) -> None:
        await self.services.trash_purge.empty()

    async def indexed(self) -> None:
        """A step of the background's; how far it gets is what the batches' size makes of it."""
        await self.services.search._step()

    async def looked_for_words(self) -> None:
        everything = await naive(self.services.db)
        for query in QUERIES:
            wanted = {name: tags for name, (tags, words) in everything.items() if passes(words, query)}
            await self.compare(AssetFilter("", words=parse_query(query).words), wanted)

    async def looked_for_names(self) -> None:
        everything = await naive(self.services.db)
        rows = dict(await self.services.db.fetch_all("SELECT uuid, name FROM assets"))
        for needle in NEEDLES:
            wanted = {i: tags for i, (tags, _) in everything.items() if needle.casefold() in rows[i].casefold()}
            await self.compare(AssetFilter("", name_contains=needle), wanted)

    async def compare(self, asked: AssetFilter, wanted: dict[str, list[str]]) -> None:
        page = await self.services.assets.list(asked, PageRequest(limit=500))
        assert {asset.id for asset in page.items} == set(wanted), asked
        assert page.total == len(page.items) == len(wanted)
        counts = {tag.name: tag.count for tag in await self.services.assets.histogram(asked, 100)}
        assert counts == Counter(tag for tags in wanted.values() for tag in tags), asked


async def naive(db: Database) -> dict[str, tuple[list[str], set[str]]]:
    """The tags and words of every asset that is not deleted, by id."""
    rows = await db.fetch_all(
        "SELECT a.uuid, a.name, coalesce(d.logical, ''), l.tags, c.hash, c.metadata FROM assets a"
        " JOIN tag_sets s ON s.id = a.tag_set_id JOIN asset_tag_lists l ON l.id = a.id"
        " LEFT JOIN folders d ON d.id = a.folder_id"
        " LEFT JOIN contents c ON c.id = a.content_id WHERE s.hidden = 0"
    )
    found = {}
    for uuid, name, folder, text, digest, facts in rows:
        tags = json.loads(text)
        words = {word for part in (name, folder, *tags) if part != "missing" for word in words_of(part)}
        if digest is not None:
            documents = await contents.documents_of(db, digest)
            words |= {word for key, document in documents.items() for word in words_in(key, document)}  # type: ignore[arg-type]
            words |= set(words_in_facts(facts))
        found[uuid] = (tags, {word for word in words if word[0] not in MARKS})
    return found


def passes(words: set[str], query: str) -> bool:
    return all(
        any(word == wanted.text if wanted.is_whole else word.startswith(wanted.text) for word in words)
        for wanted in parse_query(query).words
    )


number, name, content, tag = st.integers(0, 5), st.integers(0, 3), st.integers(0, 3), st.integers(0, 2)
operations = st.one_of(
    st.tuples(st.just("wrote"), name, content),
    st.tuples(st.just("removed"), name),
    st.tuples(st.just("moved"), name, name),
    st.tuples(st.just("scanned")),
    st.tuples(st.just("uploaded"), name, content, tag),
    st.tuples(st.just("renamed"), number, name),
    st.tuples(st.sampled_from(["tagged", "untagged"]), number, tag),
    st.tuples(st.sampled_from(["deleted", "restored"]), number),
    st.tuples(st.just("emptied")),
    st.tuples(st.just("indexed")),
    st.tuples(st.just("looked_for_words")),
)


async def run(base: Path, steps: list[tuple[Any, ...]]) -> None:
    for kind in ("input", "output", "user"):
        (base / kind).mkdir()
    folders = HostFolders((LibraryFolder("input", base / "input"), LibraryFolder("output", base / "output")))
    services = Services(MemoryHost(base / "user", folders), Config(scan_on_start=False))
    await services.start()
    try:
        model = SearchedLibraryModel(base, services)
        for start in range(2):
            await model.wrote(start, start)
        for operation, *arguments in [("scanned",), *steps]:
            await getattr(model, operation)(*arguments)
            await model.looked_for_names()
        await model.looked_for_words()
        await model.looked_for_names()
        assert await services.db.fetch_all("SELECT count(*) FROM search_stale") == [(0,)]
        await check_index(services.db)
    finally:
        await services.stop()


async def check_index(db: Database) -> None:
    """The index of words holds each asset with its words, and nothing else."""
    listed = [row for row in await db.fetch_all("SELECT doc, term FROM search_terms") if row[1][0] not in MARKS]
    ids = dict(await db.fetch_all("SELECT id, uuid FROM assets"))
    everything = await naive(db)
    assert {(ids[row], term) for row, term in listed} == {
        (uuid, word) for uuid, (_, words) in everything.items() for word in words
    }
    async with db.transaction() as tx:
        for table in ("search_words", "search_names"):
            await tx.execute(f"INSERT INTO {table} ({table}) VALUES ('integrity-check')")


@pytest.mark.parametrize("batch", [1, 500])
@settings(max_examples=examples(10, 25), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(operations, min_size=3, max_size=12))
@example(steps=[("removed", 0), ("scanned",), ("wrote", 0, 1), ("scanned",)])  # the former file is in ".replaced" now
def test_any_sequence(batch: int, steps: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "_BATCH", batch)
        patch.setattr(fulltext, "_MAX_COMPLETIONS", 1)
        asyncio.run(run(Path(folder), steps))
