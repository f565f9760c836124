"""Split texts into words, and collect the words of documents in files: prompts, workflows, model headers. Pure.

Indexed texts and queries follow the same rules. Documents come from strangers. Whatever they contain, the number of
words and the time are bounded, and no exception is raised.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from ..errors import InvalidQueryError
from ..graph_nodes import prompt_nodes, saved_graphs, saved_nodes
from ..models import SearchWord

# The versions of the rules for texts, of this Python's Unicode data, and of the rules for documents. An index made by
# other rules is built again, because queries would not match its words.
RULES = f"1/{unicodedata.unidata_version}/1"

_MAX_WORD = 64  # characters; longer words are equal if these are
_MAX_QUERY = 500  # characters
_MAX_QUERY_WORDS = 20

_ASCII_WORD = re.compile(r"[a-z0-9]+")
_ACCENTS = re.compile("[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]")
# Chinese and Japanese have no spaces between words, so each character counts as a word.
_IDEOGRAPH = "[\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
_WORD_OR_IDEOGRAPH = re.compile(f"{_IDEOGRAPH}|(?:(?!{_IDEOGRAPH}).)+", re.DOTALL)
_QUOTED = re.compile(r'"([^"]*)"|([^"\s]+)')

MAX_DOCUMENT = 1 << 20  # bytes; decoding holds the interpreter lock for some milliseconds
# Of one document. Prompts of people stay far below; the rest of a larger text is not searchable.
MAX_WORDS = 512
_MAX_CHARACTERS = 30_000
_MAX_VALUES = 20_000
_MAX_DEPTH = 6
_BLOB = 512  # a longer text without a space is not language
_SEED_FOLLOWERS = frozenset({"fixed", "increment", "decrement", "randomize"})  # values of the widget behind a seed
_LEAST_SEED = 1_000_000  # a smaller number that is not named a seed is a size or a number of steps
_MAX_TRAINED = 64  # tags of a model's training images

_MODEL_SUFFIX = re.compile(r"\.(?:safetensors|sft|ckpt|pth?|bin|gguf|onnx)$", re.IGNORECASE)
_SETTINGS = re.compile(r"^Steps: ", re.MULTILINE)  # the last line that other user interfaces write
_SETTING = re.compile(r'(?:Sampler|Schedule type|Seed|Model|VAE|Lora hashes): ("[^"]*"|[^,\n]*)')
_MAX_SETTINGS = 8192
_NEGATIVE = re.compile(r"^Negative prompt:", re.MULTILINE)
_NETWORK_HASH = re.compile(r": [0-9a-f]{8,}")
_MALFORMED = (ValueError, msgspec.DecodeError, RecursionError)  # in old releases, DecodeError is no ValueError
_REPEATS = re.compile(r"^\d+_")  # folders of training images: the number of repeats, then the subject


def words_of(text: str) -> list[str]:
    """Return the words of a text in order: runs of letters and digits, without case and accents.

    No word contains an ASCII character other than ``a`` to ``z`` and ``0`` to ``9``.
    """
    if text.isascii():  # most names and prompts; much faster
        found = _ASCII_WORD.findall(text.lower())
    else:
        found = [word for part in _fold(text).split() for word in _WORD_OR_IDEOGRAPH.findall(part)]
    return [word[:_MAX_WORD] for word in found]


def _fold(text: str) -> str:
    """Return the text in lower case without accents, with spaces for characters that belong to no word."""
    # Folded twice: decomposition may produce capital letters, as of a mathematical bold A.
    decomposed = unicodedata.normalize("NFKD", text.casefold()).casefold()
    # Composed again, so that a Japanese kana and its voiced sound mark stay one character, and thus one word.
    composed = unicodedata.normalize("NFC", _ACCENTS.sub("", decomposed))
    return "".join(character if _is_of_words(character) else " " for character in composed)


def _is_of_words(character: str) -> bool:
    """Return whether a character is a letter, a digit, or a combining vowel sign of a script."""
    return character.isalnum() or unicodedata.category(character)[0] == "M"


def parse_query(text: str) -> tuple[SearchWord, ...]:
    """Parse a query: each word is the beginning of a word; words in double quotes are whole.

    An unclosed quote is ignored, and an empty query has no words. Raises InvalidQueryError for a query that is too
    long, or without a letter or digit.
    """
    if not text.strip():
        return ()
    if len(text) > _MAX_QUERY:
        raise _invalid(f"At most {_MAX_QUERY} characters can be looked for.")
    found = dict.fromkeys(
        SearchWord(word, bool(quoted)) for quoted, bare in _QUOTED.findall(text) for word in words_of(quoted or bare)
    )
    if not found:
        raise _invalid("There is no letter or digit to look for.")
    if len(found) > _MAX_QUERY_WORDS:
        raise _invalid(f"At most {_MAX_QUERY_WORDS} words can be looked for.")
    return tuple(found)


def _invalid(reason: str) -> InvalidQueryError:
    return InvalidQueryError(f"q cannot be used. {reason}", details={"field": "q"})


class _Header(msgspec.Struct, gc=False):
    """The members of a safetensors file's ``__metadata__`` that people search by."""

    title: str = msgspec.field(default="", name="modelspec.title")
    architecture: str = msgspec.field(default="", name="modelspec.architecture")
    author: str = msgspec.field(default="", name="modelspec.author")
    description: str = msgspec.field(default="", name="modelspec.description")
    trigger_phrase: str = msgspec.field(default="", name="modelspec.trigger_phrase")
    tags: str = msgspec.field(default="", name="modelspec.tags")
    output_name: str = msgspec.field(default="", name="ss_output_name")
    base_model: str = msgspec.field(default="", name="ss_base_model_version")
    trained_on: str = msgspec.field(default="", name="ss_sd_model_name")
    tag_frequency: str = msgspec.field(default="", name="ss_tag_frequency")


class _Facts(msgspec.Struct, gc=False):
    header: _Header = msgspec.field(default_factory=_Header)


_decode_header = msgspec.json.Decoder(_Header).decode
_decode_facts = msgspec.json.Decoder(_Facts).decode
_decode_text = msgspec.json.Decoder(str).decode


def words_in(key: str, document: bytes) -> tuple[str, ...]:
    """Return the distinct words of one document of ``FileMetadata``; none for an unknown key or content."""
    reader = _READERS.get(key)
    if reader is None or len(document) > MAX_DOCUMENT:
        return ()
    try:
        return _distinct(reader(document))
    except _MALFORMED:
        return ()


def words_in_facts(metadata: str) -> tuple[str, ...]:
    """Return the words of a model's header as lists show it; ``metadata`` is the content's."""
    if '"header"' not in metadata:
        return ()
    try:
        return _distinct(_header_texts(_decode_facts(metadata).header))
    except _MALFORMED:
        return ()


def _distinct(texts: Iterable[str]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    room = _MAX_CHARACTERS
    for text in texts:
        found.update(dict.fromkeys(words_of(text[:room])))
        room -= len(text)
        if room <= 0 or len(found) >= MAX_WORDS:
            break
    return tuple(found)[:MAX_WORDS]


def _prompt_texts(document: bytes) -> list[str]:
    """Return the texts in the inputs of a graph in API format, without links to other nodes."""
    nodes = msgspec.json.decode(document, type=dict[str, Any])
    values = (
        (name, value)
        for _, _, inputs in prompt_nodes(nodes)
        for name, value in inputs.items()
        if not _is_link(value, nodes)
    )
    return _ordered(leaf for name, value in values for leaf in _leaves(name, value))


def _is_link(value: Any, nodes: dict[str, Any]) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and value[0] in nodes


def _workflow_texts(document: bytes) -> list[str]:
    """Return the texts in the widgets of a graph in the frontend's format, including its subgraphs."""
    workflow = msgspec.json.decode(document)
    widgets = (node.get("widgets_values") for graph in saved_graphs(workflow) for node in saved_nodes(graph))
    return _ordered(leaf for value in widgets for leaf in _leaves("", value))


def _leaves(name: str, value: Any) -> Iterator[str]:
    """Return the texts and seeds in a value, in nested lists and objects too."""
    waiting = [(name, value, 0)]
    for _ in range(_MAX_VALUES):
        if not waiting:
            return
        name, value, depth = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, int) and not isinstance(value, bool):
            if name.endswith("seed") or value >= _LEAST_SEED:
                yield str(value)
        elif isinstance(value, dict) and depth < _MAX_DEPTH:
            waiting += [(key, item, depth + 1) for key, item in reversed(value.items())]
        elif isinstance(value, list) and depth < _MAX_DEPTH:
            waiting += [(_name_at(name, value, at), value[at], depth + 1) for at in range(len(value) - 1, -1, -1)]


def _name_at(name: str, values: list[Any], at: int) -> str:
    """Return the name of a value in a list. Widgets have no names, but the widget behind a seed reveals it."""
    follower = values[at + 1] if at + 1 < len(values) else None
    return "seed" if isinstance(follower, str) and follower in _SEED_FOLLOWERS else name


def _ordered(leaves: Iterable[str]) -> list[str]:
    """Put names before prose, so that a long prompt does not crowd out the models. Binary data is left out."""
    names: list[str] = []
    prose: list[str] = []
    for _, text in zip(range(_MAX_VALUES), leaves, strict=False):
        if _MODEL_SUFFIX.search(text):
            names.append(_MODEL_SUFFIX.sub("", text))
        elif " " not in text[:_BLOB] and "\n" not in text[:_BLOB]:
            if len(text) <= _BLOB or not text.isascii():
                names.append(text)
        else:
            prose.append(text)
    return names + prose


def _parameters_texts(document: bytes) -> list[str]:
    """Return the texts of other user interfaces' parameters: the prompts, and some of the settings behind them."""
    text = _decode_text(document)
    *_, end = [len(text), *(match.start() for match in _SETTINGS.finditer(text))]
    names = [_NETWORK_HASH.sub("", name) for name in _SETTING.findall(text[end : end + _MAX_SETTINGS])]
    return [*names, _NEGATIVE.sub("", text[:end])]


def _header_texts(header: _Header) -> list[str]:
    stated = [
        header.title,
        header.output_name,
        header.trigger_phrase,
        header.tags,
        header.architecture,
        header.base_model,
        header.trained_on,
        header.author,
    ]
    return [*(_MODEL_SUFFIX.sub("", text) for text in stated), *_trained(header.tag_frequency), header.description]


def _trained(tag_frequency: str) -> list[str]:
    """Return the names of the training images' folders, and their most frequent tags."""
    if not tag_frequency:
        return []
    folders = msgspec.json.decode(tag_frequency)
    if not isinstance(folders, dict):
        return []
    counts: dict[str, int] = {}
    for tags in folders.values():
        for tag, count in tags.items() if isinstance(tags, dict) else ():
            if isinstance(count, int):
                counts[tag] = counts.get(tag, 0) + count
    names = [_REPEATS.sub("", name) for name in folders]
    return [*names[:_MAX_TRAINED], *sorted(counts, key=lambda tag: -counts[tag])[:_MAX_TRAINED]]


_READERS: dict[str, Callable[[bytes], list[str]]] = {
    "prompt": _prompt_texts,
    "workflow": _workflow_texts,
    "parameters": _parameters_texts,
    "header": lambda document: _header_texts(_decode_header(document)),
}
