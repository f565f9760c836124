"""The words of assets: from their names, their tags, and the documents in their files."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Sequence

import msgspec

from ..db import fulltext
from ..db.connection import Database, Transaction
from ..db.fulltext import DocumentLink, IndexedAsset, IndexEntry
from ..models import MISSING_TAG
from . import graph_text
from .words import RULES as WORD_RULES
from .words import words_of

RULES = f"{WORD_RULES}/{graph_text.RULES}"

_DOCUMENTS = 64  # documents read at a time, so that large ones do not fill the memory
_REMEMBERED = 2048  # documents whose words are kept: images of one run share theirs

_Db = Database | Transaction
_Keyed = tuple[str, int]  # a document's key in a content, and its id: the key tells how it is read


class AssetWords:
    """Collects the words of assets, and keeps those of the latest documents."""

    def __init__(self) -> None:
        self._known: dict[_Keyed, tuple[str, ...]] = {}

    async def prepare(self, db: _Db, rows: Sequence[IndexedAsset]) -> None:
        """Read the documents of assets ahead of a transaction."""
        await self._words_of_contents(db, rows, complete=False)

    async def entries(self, db: _Db, rows: Sequence[IndexedAsset], *, complete: bool = False) -> list[IndexEntry]:
        """Return the index entries of assets, without deleted ones.

        ``complete`` adds all words that an asset may have been indexed with when less of its content was known.
        """
        shown = [row for row in rows if row.tags is not None]
        contents = await self._words_of_contents(db, shown, complete=complete)
        return await asyncio.to_thread(_compose, shown, contents)

    async def _words_of_contents(
        self, db: _Db, rows: Sequence[IndexedAsset], *, complete: bool
    ) -> dict[int, list[str]]:
        ids = {row.content_id for row in rows if row.content_id is not None}
        words: dict[int, list[str]] = {content_id: [] for content_id in ids}
        for content_id, facts in (await fulltext.model_metadata(db, ids)).items():
            words[content_id] += graph_text.words_in_facts(facts)
        links = await fulltext.documents_of_contents(db, ids)
        if not complete:
            links = _without_doubles(links)
        known = await self._words_of_documents(db, {(link.key, link.document_id) for link in links})
        for link in links:
            words[link.content_id] += known[link.key, link.document_id]
        return words

    async def _words_of_documents(self, db: _Db, wanted: set[_Keyed]) -> dict[_Keyed, tuple[str, ...]]:
        unknown = [each for each in wanted if each not in self._known]
        for start in range(0, len(unknown), _DOCUMENTS):
            part = unknown[start : start + _DOCUMENTS]
            bodies = await fulltext.document_bodies(db, [document_id for _, document_id in part])
            self._known |= await asyncio.to_thread(_read, part, bodies)
        known = {each: self._known[each] for each in wanted}
        while len(self._known) > _REMEMBERED:
            del self._known[next(iter(self._known))]
        return known


def are_indexed_alike(one: IndexedAsset, other: IndexedAsset | None) -> bool:
    """Return whether two states of an asset are sure to have the same words."""
    if other is None or (one.name_key, one.content_id) != (other.name_key, other.content_id):
        return False
    if one.tags is None or other.tags is None:
        return one.tags == other.tags
    return set(_indexed_tags(one.tags)) == set(_indexed_tags(other.tags))


def _indexed_tags(tags: str) -> list[str]:
    """Return the tags that are indexed. ``missing`` is not: it comes and goes for whole drives."""
    return [tag for tag in msgspec.json.decode(tags, type=list[str]) if tag != MISSING_TAG]


def _without_doubles(links: list[DocumentLink]) -> list[DocumentLink]:
    """Leave out the workflow of a file with a prompt: it repeats the prompt, and adds nodes that were not executed."""
    prompts = {link.content_id for link in links if link.key == "prompt"}
    return [link for link in links if link.key != "workflow" or link.content_id not in prompts]


def _read(wanted: Sequence[_Keyed], bodies: dict[int, bytes]) -> dict[_Keyed, tuple[str, ...]]:
    return {(key, number): graph_text.words_in(key, _inflate(bodies.get(number, b""))) for key, number in wanted}


def _inflate(body: bytes) -> bytes:
    """Return a document's text, or nothing if it is damaged or larger than any that is read."""
    try:
        text = zlib.decompressobj().decompress(body, graph_text.MAX_DOCUMENT + 1)
    except zlib.error:
        return b""
    return text if len(text) <= graph_text.MAX_DOCUMENT else b""


def _compose(rows: Sequence[IndexedAsset], contents: dict[int, list[str]]) -> list[IndexEntry]:
    composed: list[IndexEntry] = []
    for row in rows:
        words = dict.fromkeys(words_of(row.name_key))
        for tag in _indexed_tags(row.tags or "[]"):
            words |= dict.fromkeys(words_of(tag))
        if row.content_id is not None:
            words |= dict.fromkeys(contents[row.content_id])
        composed.append(IndexEntry(row.id, (row.name_key, " ".join(words))))
    return composed
