"""Collect all words of assets: of names, tags, folders and types, and of the documents in files."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache

import msgspec

from ..db import fulltext
from ..db.compression import decompress_within
from ..db.connection import Database, Transaction
from ..db.fulltext import EVERY, IndexedAsset, IndexEntry, StoredText
from ..models import MISSING_TAG, MODEL_TYPE_PREFIX
from .decoding import MAX_DOCUMENT
from .documents import model_stem, words_in, words_in_facts
from .graph_generation import MODEL_SUFFIX
from .words import MARKS, Field, marked, words_of

_Db = Database | Transaction
_Keyed = tuple[str, int]  # a document's key in a content, and its id: the key tells how it is read
_Text = tuple[str, bytes]  # the same with the digest

_DOCUMENTS = 64  # documents read at a time, and no more than these bytes of them, so that they do not fill the memory
_BYTES = 4 << 20
_REMEMBERED = 2048  # documents whose words are kept: images of one run share theirs
_REMEMBERED_WORDS = 1_000_000  # of all these together: training tags of models are many
_GRAPH, _WORKFLOW = "prompt", "workflow"  # keys: of graphs as they were executed, also of a job, and as pages save them

# What ``has:`` asks for, by the mark of the words that show it.
_SHOWN_BY = {
    Field.POSITIVE.value: "prompt",
    Field.NEGATIVE.value: "negative",
    Field.MODEL.value: "model",
    Field.LORA.value: "lora",
    Field.SEED.value: "seed",
}
_HAS_WORKFLOW, _HAS_PREVIEW = f"{Field.HAS.value}workflow", f"{Field.HAS.value}preview"
_GRAPH_KEYS = frozenset({_GRAPH, _WORKFLOW})
HAS = (*_SHOWN_BY.values(), "workflow", "preview")

_decode_documents = msgspec.json.Decoder(list[_Keyed]).decode


class AssetWords:
    """Collects the words of assets, and keeps those of the latest documents."""

    def __init__(self) -> None:
        self._known: dict[_Text, tuple[str, ...]] = {}

    async def prepare(self, db: _Db, rows: Sequence[IndexedAsset]) -> None:
        """Read the documents of assets ahead of a transaction."""
        await self._words_of_documents(db, rows)

    async def entries(self, db: _Db, rows: Sequence[IndexedAsset]) -> list[IndexEntry]:
        """Return the index entries of assets in the given state, without deleted ones.

        The same state always has the same words: by them the entries are removed again.
        """
        shown = [row for row in rows if row.tags is not None]
        documents = await self._words_of_documents(db, shown)
        return await asyncio.to_thread(_asset_entries, shown, documents)

    async def _words_of_documents(self, db: _Db, rows: Sequence[IndexedAsset]) -> dict[_Keyed, tuple[str, ...]]:
        """Return the words of the documents of assets, without workflows that repeat a prompt."""
        known = await self._words_of(db, {each for row in rows for each in _documents(row)})
        return known | await self._words_of(db, {each for row in rows for each in _workflows(row, known)})

    async def _words_of(self, db: _Db, wanted: Collection[_Keyed]) -> dict[_Keyed, tuple[str, ...]]:
        """Return the words of these documents."""
        texts = await fulltext.texts_of(db, {number for _, number in wanted}) if wanted else {}
        unknown = sorted(each for each in wanted if each[1] in texts and _text(each, texts) not in self._known)
        for part in _parts(unknown, texts):
            bodies = await fulltext.document_bodies(db, [number for _, number in part])
            words = await asyncio.to_thread(_words_in_bodies, part, bodies)
            self._known |= {_text(each, texts): words[each] for each in part}
        known = {each: self._known[_text(each, texts)] if each[1] in texts else () for each in wanted}
        # The oldest go first: a dictionary keeps the order of insertion.
        count = sum(map(len, self._known.values())) if unknown else 0
        while len(self._known) > _REMEMBERED or count > _REMEMBERED_WORDS:
            count -= len(self._known.pop(next(iter(self._known))))
        return known


def _text(document: _Keyed, texts: Mapping[int, StoredText]) -> _Text:
    # By the digest: SQLite gives the id of a removed document to another one.
    return document[0], texts[document[1]].digest


def _documents(row: IndexedAsset) -> list[_Keyed]:
    """Return the documents whose words an asset may have, without its workflows."""
    documents = [each for each in _decode_documents(row.documents) if each[0] != _WORKFLOW]
    documents += (each for _, own in _sidecars(row) for each in own)
    return [*documents, (_GRAPH, row.graph_id)] if row.graph_id is not None else documents


def _workflows(row: IndexedAsset, known: Mapping[_Keyed, tuple[str, ...]]) -> list[_Keyed]:
    """Return the workflows of an asset, as far as their words count."""
    own = _decode_documents(row.documents)
    return [] if _has_prompt(own, known) else [each for each in own if each[0] == _WORKFLOW]


def _has_prompt(own: Sequence[_Keyed], documents: Mapping[_Keyed, tuple[str, ...]]) -> bool:
    """Return whether there is a prompt with words. A workflow repeats it, and adds nodes that were not executed."""
    return any(key == _GRAPH and documents[key, number] for key, number in own)


def _sidecars(row: IndexedAsset) -> list[tuple[str, list[_Keyed]]]:
    """Return the metadata and documents of each description beside a model."""
    if row.sidecars == "[]":
        return []
    # The documents are JSON in a text, as SQLite groups them.
    described = msgspec.json.decode(row.sidecars, type=list[tuple[str, str | list[_Keyed]]])
    return [(facts, _decode_documents(own) if isinstance(own, str) else own) for facts, own in described]


def are_indexed_alike(one: IndexedAsset, other: IndexedAsset | None) -> bool:
    """Return whether two states of an asset are sure to have the same words."""
    if other is None or one._replace(tags=None) != other._replace(tags=None):
        return False
    if one.tags is None or other.tags is None:
        return one.tags == other.tags
    return set(_indexed_tags(one.tags)) == set(_indexed_tags(other.tags))


def _indexed_tags(tags: str) -> list[str]:
    """Return the tags that are indexed. ``missing`` is not: it comes and goes for whole drives."""
    return [tag for tag in msgspec.json.decode(tags, type=list[str]) if tag != MISSING_TAG]


def _parts(wanted: Sequence[_Keyed], texts: Mapping[int, StoredText]) -> Iterator[list[_Keyed]]:
    """Divide documents into parts of a moderate size; a large one is a part of its own."""
    part: list[_Keyed] = []
    size = 0
    for each in wanted:
        own = texts[each[1]].size
        if part and (len(part) == _DOCUMENTS or size + own > _BYTES):
            yield part
            part, size = [], 0
        part.append(each)
        size += own
    if part:
        yield part


def _words_in_bodies(wanted: Sequence[_Keyed], bodies: dict[int, bytes]) -> dict[_Keyed, tuple[str, ...]]:
    return {(key, number): words_in(key, _inflate(bodies.get(number, b""))) for key, number in wanted}


def _inflate(body: bytes) -> bytes:
    """Return a document's text, or nothing if it is damaged or larger than any that is read."""
    try:
        return decompress_within(body, MAX_DOCUMENT) or b""
    except zlib.error:
        return b""


def _asset_entries(rows: Sequence[IndexedAsset], documents: Mapping[_Keyed, tuple[str, ...]]) -> list[IndexEntry]:
    entries: list[IndexEntry] = []
    for row in rows:
        words = dict.fromkeys(_words_of_row(row))
        words |= dict.fromkeys(words_in_facts(row.metadata or "{}"))
        for found in _words_of_texts(row, documents):
            words.update(dict.fromkeys(found))
        text = " ".join(words)
        entries.append(IndexEntry(row.id, (row.name_key, " ".join([text, *marked(Field.HAS, _shown(text))]))))
    return entries


def _words_of_texts(
    row: IndexedAsset, documents: Mapping[_Keyed, tuple[str, ...]]
) -> Iterator[Collection[str] | Iterator[str]]:
    """Yield the words of each of an asset's documents, and of the graph of its job."""
    own = _decode_documents(row.documents)
    # The documents may hold it none the less, as those of another asset.
    left_out = _WORKFLOW if _has_prompt(own, documents) else None
    for each in own:
        if each[0] == left_out:
            continue
        words = documents[each]
        if each[0] in _GRAPH_KEYS and words:
            yield (_HAS_WORKFLOW,)
        yield words
    if row.graph_id is not None:
        yield documents[_GRAPH, row.graph_id]
    for facts, described in _sidecars(row):
        yield words_in_facts(facts)
        # What made an example picture did not make the model.
        yield (word for each in described for word in documents[each] if word[0] not in MARKS)


def _words_of_row(row: IndexedAsset) -> Iterator[str]:
    """Yield the words of an asset itself: its name, type, folder and tags."""
    yield EVERY
    yield from words_of(row.name_key)
    yield from _words_of_type(row.mime_type, row.name_key.rpartition(".")[2] if "." in row.name_key else "")
    if row.has_preview or row.mime_type.startswith(("image/", "video/")):
        yield _HAS_PREVIEW
    yield from _words_of_folder(row.folder)
    yield from _words_of_tags(row.tags or "[]")
    if (field := _model_field(row)) is not None:
        yield from marked(field, words_of(model_stem(row.name_key)))


# Folders, tags and types are few. The results are the same for the same arguments, whatever is kept.


@lru_cache(maxsize=1024)
def _words_of_folder(folder: str) -> tuple[str, ...]:
    words = words_of(folder)
    return (*words, *marked(Field.FOLDER, words))


@lru_cache(maxsize=1024)
def _words_of_tags(tags: str) -> tuple[str, ...]:
    words = [words_of(tag) for tag in _indexed_tags(tags)]
    return tuple(word for each in words for word in (*each, *marked(Field.TAG, each)))


def _model_field(row: IndexedAsset) -> Field | None:
    """Return the field in which a model is found by its own name; None for everything else."""
    if '"models"' not in (row.tags or "") or not MODEL_SUFFIX.search(row.name_key):
        return None
    tags = _indexed_tags(row.tags or "[]")
    if "models" not in tags:
        return None
    return Field.LORA if "loras" in tags or f"{MODEL_TYPE_PREFIX}loras" in tags else Field.MODEL


@lru_cache(maxsize=1024)
def _words_of_type(mime_type: str, suffix: str) -> tuple[str, ...]:
    """Return the words that tell the type of a file: the subtype of its media type, and its suffix."""
    return tuple(marked(Field.TYPE, [*words_of(mime_type.partition("/")[2]), *words_of(suffix)]))


def _shown(text: str) -> list[str]:
    """Return the values of ``has:`` among the words of a text: a word can have a mark only at its beginning."""
    return [name for mark, name in _SHOWN_BY.items() if mark in text]


def words_of_graph(graph: bytes) -> list[str]:
    """Return the words of a job's graph as they are indexed."""
    words = dict.fromkeys([EVERY, *words_in(_GRAPH, graph)])
    return [*words, *marked(Field.HAS, _shown(" ".join(words)))]
