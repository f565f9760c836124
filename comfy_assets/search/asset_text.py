"""The words of assets: of their names, their tags, and the documents in their files."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Sequence

import msgspec

from ..db import fulltext
from ..db.connection import Database, Transaction
from ..db.fulltext import Entry, Indexed, Link
from ..models import MISSING_TAG
from . import graph_text
from .words import RULES as WORD_RULES
from .words import words_of

RULES = f"{WORD_RULES}/{graph_text.RULES}"

_DOCUMENTS = 64  # read at a time, so that large ones do not fill the memory
_REMEMBERED = 2048  # documents; pictures of one run share theirs

_Db = Database | Transaction


class SearchWords:
    """Finds the words of assets. Those of documents are remembered for a while."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], tuple[str, ...]] = {}

    async def prepare(self, db: _Db, rows: Sequence[Indexed]) -> None:
        """Read what the assets' documents say, which is then remembered."""
        await self._of_contents(db, rows, complete=False)

    async def entries(self, db: _Db, rows: Sequence[Indexed], *, complete: bool = False) -> list[Entry]:
        """The assets as the indexes take them, without those that are not to be found.

        ``complete`` adds all words that they may have been indexed with when less of their contents was known.
        """
        shown = [row for row in rows if row.tags is not None]
        contents = await self._of_contents(db, shown, complete=complete)
        return await asyncio.to_thread(_compose, shown, contents)

    async def _of_contents(self, db: _Db, rows: Sequence[Indexed], *, complete: bool) -> dict[int, list[str]]:
        """The words that contents say."""
        ids = {row.content_id for row in rows if row.content_id is not None}
        words: dict[int, list[str]] = {content_id: [] for content_id in ids}
        for content_id, facts in (await fulltext.model_facts(db, ids)).items():
            words[content_id] += graph_text.words_in_facts(facts)
        links = await fulltext.links(db, ids)
        if not complete:
            links = _without_doubles(links)
        known = await self._of_documents(db, {(link.key, link.document_id) for link in links})
        for link in links:
            words[link.content_id] += known[link.key, link.document_id]
        return words

    async def _of_documents(self, db: _Db, wanted: set[tuple[str, int]]) -> dict[tuple[str, int], tuple[str, ...]]:
        unknown = [each for each in wanted if each not in self._known]
        for start in range(0, len(unknown), _DOCUMENTS):
            part = unknown[start : start + _DOCUMENTS]
            bodies = await fulltext.bodies(db, [document_id for _, document_id in part])
            self._known |= await asyncio.to_thread(_read, part, bodies)
        known = {each: self._known[each] for each in wanted}
        while len(self._known) > _REMEMBERED:
            del self._known[next(iter(self._known))]
        return known


def are_alike(one: Indexed, other: Indexed | None) -> bool:
    """Whether two states of an asset are indexed alike for sure."""
    if other is None or (one.name_key, one.content_id) != (other.name_key, other.content_id):
        return False
    return one.tags == other.tags or (
        one.tags is not None and other.tags is not None and _shown_tags(one.tags) == _shown_tags(other.tags)
    )


def _shown_tags(tags: str) -> list[str]:
    """The tags that are words: whether a file is missing changes too often, for too many, to be one."""
    return [tag for tag in msgspec.json.decode(tags, type=list[str]) if tag != MISSING_TAG]


def _without_doubles(links: list[Link]) -> list[Link]:
    """The workflows of files with a prompt left out: they say the same once more, and what was not executed."""
    prompts = {link.content_id for link in links if link.key == "prompt"}
    return [link for link in links if link.key != "workflow" or link.content_id not in prompts]


def _read(wanted: Sequence[tuple[str, int]], bodies: dict[int, bytes]) -> dict[tuple[str, int], tuple[str, ...]]:
    return {(key, number): graph_text.words_in(key, _inflate(bodies.get(number, b""))) for key, number in wanted}


def _inflate(body: bytes) -> bytes:
    """A document's text; nothing if it is damaged, or larger than any that is read."""
    try:
        text = zlib.decompressobj().decompress(body, graph_text.MAX_DOCUMENT + 1)
    except zlib.error:
        return b""
    return text if len(text) <= graph_text.MAX_DOCUMENT else b""


def _compose(rows: Sequence[Indexed], contents: dict[int, list[str]]) -> list[Entry]:
    composed: list[Entry] = []
    for row in rows:
        words = dict.fromkeys(words_of(row.name_key))
        for tag in _shown_tags(row.tags or "[]"):
            words |= dict.fromkeys(words_of(tag))
        if row.content_id is not None:
            words |= dict.fromkeys(contents[row.content_id])
        composed.append(Entry(row.id, row.name_key, " ".join(words)))
    return composed
