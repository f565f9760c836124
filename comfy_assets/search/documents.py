"""Collect the words of documents in files: graphs, other programs' parameters, headers of models. Pure.

Documents come from strangers. Whatever they contain, the number of words and the time are bounded, and no exception is
raised. Words are distinct and come with the marks of their fields (see ``words``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from ..graphs import SEED_FOLLOWERS, Graph, GraphNode, Link, executed_graph, flattened_graph, saved_graphs, saved_nodes
from ..models import Generation
from .decoding import LONGEST_STRING, MAX_DOCUMENT, decode, prose, texts_in
from .generation import is_parameters, of_description, of_json, of_text
from .graph_generation import MODEL_SUFFIX, generation_of_graph, other_models, without_lora_tags
from .words import Field, marked, words_of

# Of one document. Prompts of people stay far below; the rest of a larger text is not searchable.
MAX_WORDS = 2000  # those of fields count twice
_MAX_CHARACTERS = 60_000
_MAX_VALUES = 20_000
_MAX_DEPTH = 6
_LEAST_SEED = 1_000_000  # a smaller number that is not named a seed is a size or a number of steps
# Of the header of a model, with the tags of all its training images.
_MAX_HEADER_WORDS = 20_000
_MAX_HEADER_CHARACTERS = 1_000_000
_REPEATS = re.compile(r"^\d+_")  # folders of training images: the number of repeats, then the subject

# Titles that the page gives to nodes that nearly every graph has: as words, they would find everything.
_COMMON_TITLES = frozenset(
    {
        "load checkpoint", "clip text encode (prompt)", "clip text encode (positive prompt)",
        "clip text encode (negative prompt)", "clip text encode (positive)", "clip text encode (negative)",
        "empty latent image", "vae decode", "vae encode", "save image", "preview image", "load image", "load lora",
        "load vae", "load diffusion model", "load clip", "dualcliploader", "upscale latent", "upscale image",
        "ksampler (advanced)", "load controlnet model", "apply controlnet", "load upscale model", "save video",
        "create video", "save audio", "load video", "load audio", "clip set last layer", "upscale image (using model)",
        "empty audio", "preview any", "primitive", "reroute", "note", "markdown note", "text", "string",
    }
)  # fmt: skip

_HEADER = "header"  # the key of the document
_HEADER_NAMES = (
    "modelspec.title", "title", "name", "ss_output_name", "modelspec.trigger_phrase", "trigger_phrase",
    "trained_words", "trigger_words", "activation text", "modelspec.tags", "tags", "modelspec.architecture",
    "modelspec.base_model", "base_model", "ss_base_model_version", "ss_sd_model_name", "sd_model", "sd version",
    "modelspec.author", "author", "modelspec.usage_hint", "software", "ss_training_comment", "modelspec.description",
    "description", "about", "notes", "negative text", "sd_checkpoint_name",
    "modelspec.license", "general.name", "general.author", "general.architecture",
    "general.basename", "general.description", "general.finetune", "general.tags",
)  # fmt: skip
_FACT_NAMES = (
    "name", "title", "trained_words", "base_model", "architecture", "quantization", "author", "artist", "album",
    "description", "tags",
)  # fmt: skip
_HAS_FACTS = re.compile(f'"(?:header|{"|".join(_FACT_NAMES)})"')


class _WordList:
    """The distinct words of a document, in the order in which they are added."""

    def __init__(self, most: int = MAX_WORDS, characters: int = _MAX_CHARACTERS) -> None:
        self.found: dict[str, None] = {}
        self._most = most
        self._room = characters
        self._added: set[tuple[str, tuple[Field, ...]]] = set()  # repeats, of which graphs are full, take no room

    def add(self, text: str, *fields: Field) -> None:
        """Add the words of a text, and those of its fields, while there is room."""
        if self._room <= 0 or len(self.found) >= self._most or (text, fields) in self._added:
            return
        self._added.add((text, fields))
        words = words_of(prose(text)[: self._room])
        self._room -= min(len(text), self._room)
        if not fields:
            self.found.update(dict.fromkeys(words))
            return
        marks = [field.value for field in fields]
        for word in words:
            self.found[word] = None
            for mark in marks:
                self.found[mark + word] = None

    def add_marked(self, text: str, field: Field) -> None:
        """Add the words of a text to a field alone."""
        self.found.update(dict.fromkeys(marked(field, words_of(text[:512]))))

    def words(self) -> tuple[str, ...]:
        """Return the words, at most as many as there may be."""
        return tuple(self.found)[: self._most]


def words_in(key: str, document: bytes) -> tuple[str, ...]:
    """Return the distinct words of one document of a file; none for an unknown key or content."""
    reader = _READERS.get(key)
    words = _WordList(_MAX_HEADER_WORDS, _MAX_HEADER_CHARACTERS) if key == _HEADER else _WordList()
    if reader is not None and len(document) <= MAX_DOCUMENT:
        # The tags of all training images are JSON in one string.
        value = decode(document, longest=MAX_DOCUMENT if key == _HEADER else LONGEST_STRING)
        if value is None:  # malformed, or so large that its texts are all that is read
            for text in texts_in(document):
                words.add(text)
        else:
            reader(words, value)
    return words.words()


def words_in_facts(metadata: str) -> tuple[str, ...]:
    """Return the words of a content's facts as lists show them: names and descriptions of models, titles of sounds."""
    words = _WordList()
    if _HAS_FACTS.search(metadata):
        try:
            facts = msgspec.json.decode(metadata)
        except (ValueError, msgspec.DecodeError, RecursionError):
            facts = None
        if isinstance(facts, dict):
            _add_members(words, facts, _FACT_NAMES)
            _add_header(words, facts.get("header"))
    return words.words()


def _add_generation(words: _WordList, made: Generation, others: Iterable[str] = ()) -> None:
    """Add a picture's generation data to its fields: names first, so that a long prompt does not crowd them out."""
    for lora in made.loras:
        words.add(model_stem(lora.name), Field.LORA)
    for name in (*made.models, *others):
        words.add(model_stem(name), Field.MODEL)
    if made.seed is not None:
        words.add(str(made.seed), Field.SEED)
    words.add(f"{made.sampler} {made.scheduler}")
    words.add(without_lora_tags(made.positive), Field.POSITIVE)
    words.add(without_lora_tags(made.negative), Field.NEGATIVE)


def model_stem(name: str) -> str:
    """Return the name of a model's file without its suffix."""
    name = name.strip()
    return MODEL_SUFFIX.sub("", name) if "." in name else name


def _add_prompt(words: _WordList, value: Any) -> None:
    _add_graph(words, executed_graph(value), ())


def _add_workflow(words: _WordList, value: Any) -> None:
    """Add the words of a graph in the page's form: of nodes that are switched off as well, and of groups."""
    nodes = (node for graph in saved_graphs(value) for node in saved_nodes(graph))
    extra = [leaf for node in nodes for leaf in _leaves("", node.get("widgets_values"))]
    groups = [each.get("title") for graph in saved_graphs(value) for each in _objects(graph.get("groups"))]
    _add_graph(words, flattened_graph(value), [*extra, *((False, title) for title in groups if isinstance(title, str))])


def _objects(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _add_graph(words: _WordList, graph: Graph, extra: Iterable[tuple[bool, str]]) -> None:
    leaves = [
        leaf
        for node in graph.values()
        for name, value in node.inputs.items()
        if not isinstance(value, Link)
        for leaf in _leaves(name, value)
    ][:_MAX_VALUES]
    leaves += extra
    for is_seed, text in leaves:
        if is_seed:
            words.add(text, Field.SEED)
    for node in graph.values():
        _add_node(words, node)
    _add_generation(words, generation_of_graph(graph), other_models(graph))
    # Names before prose, for the same reason.
    for _, text in sorted(leaves, key=lambda leaf: " " in leaf[1] or "\n" in leaf[1]):
        words.add(without_lora_tags(model_stem(text)))


def _add_node(words: _WordList, node: GraphNode) -> None:
    words.add_marked(node.type, Field.NODE)
    title = node.title.strip().lower()
    if title and title not in _COMMON_TITLES and words_of(title) != words_of(node.type):
        words.add(node.title)


def _leaves(name: str, value: Any) -> Iterator[tuple[bool, str]]:
    """Yield the texts and seeds in a value, in nested lists and objects too; seeds are flagged."""
    waiting = [(name, value, 0)]
    for _ in range(_MAX_VALUES):
        if not waiting:
            return
        name, value, depth = waiting.pop()
        if isinstance(value, str):
            yield False, value
        elif isinstance(value, int) and not isinstance(value, bool):
            if name.endswith("seed") or value >= _LEAST_SEED:
                yield name.endswith("seed"), str(value) if value < 1 << 64 else ""
        elif isinstance(value, dict) and depth < _MAX_DEPTH:
            waiting += [(str(key), item, depth + 1) for key, item in reversed(value.items())]
        elif isinstance(value, list) and depth < _MAX_DEPTH:
            waiting += [(_name_at(name, value, at), value[at], depth + 1) for at in range(len(value) - 1, -1, -1)]


def _name_at(name: str, values: list[Any], at: int) -> str:
    """Return the name of a value in a list. Widgets have no names, but the widget behind a seed reveals it."""
    follower = values[at + 1] if at + 1 < len(values) else None
    return "seed" if isinstance(follower, str) and follower in SEED_FOLLOWERS else name


def _add_parameters(words: _WordList, value: Any) -> None:
    """Add another program's parameters: the prompts and names of A1111's text, or the values of JSON."""
    _add_generation(words, of_text(value))
    if not isinstance(value, str):
        _add_values(words, value)
    elif not is_parameters(value):
        words.add(value)


def _add_object(words: _WordList, value: Any) -> None:
    _add_generation(words, of_json(value))
    _add_values(words, value)


def _add_values(words: _WordList, value: Any) -> None:
    for _, text in _leaves("", value):
        words.add(without_lora_tags(model_stem(text)))


def _add_description(words: _WordList, value: Any) -> None:
    if isinstance(value, str):
        _add_generation(words, of_description(value))
        words.add(without_lora_tags(value))


def _add_header(words: _WordList, value: Any) -> None:
    """Add the metadata in the header of a model."""
    if isinstance(value, dict):
        _add_members(words, value, _HEADER_NAMES[:-8])
        for text in _trained(value.get("ss_tag_frequency")):
            words.add(text)
        _add_members(words, value, _HEADER_NAMES[-8:])


def _add_members(words: _WordList, members: dict[str, Any], names: Iterable[str]) -> None:
    for name in names:
        value = members.get(name)
        if isinstance(value, str) and value[:1] in ("[", "{"):  # JSON in a text, as of trained_words
            value = decode(value.encode("utf-8", "replace")) or value
        for _, text in _leaves("", value):
            words.add(model_stem(text))


def _trained(frequency: Any) -> list[str]:
    """Return the names of the training images' folders, and their tags, the most frequent first."""
    folders = decode(frequency.encode("utf-8", "replace")) if isinstance(frequency, str) else frequency
    if not isinstance(folders, dict):
        return []
    counts: dict[str, int] = {}
    for tags in folders.values():
        for tag, count in tags.items() if isinstance(tags, dict) else ():
            if isinstance(count, int):
                counts[tag] = counts.get(tag, 0) + count
    names = [_REPEATS.sub("", name) for name in folders]
    return [*names, *sorted(counts, key=lambda tag: -counts[tag])]


_READERS: dict[str, Callable[[_WordList, Any], None]] = {
    "prompt": _add_prompt,
    "workflow": _add_workflow,
    "parameters": _add_parameters,
    "generation": _add_object,
    "description": _add_description,
    _HEADER: _add_header,
}
