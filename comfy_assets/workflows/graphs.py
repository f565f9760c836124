"""What a saved workflow names: the files its nodes load, and assets by hash or id. Pure.

It is in the form that the page saves, with widgets, or in the one that the server executes, with inputs. Workflows are
strangers': whatever they hold, a bounded number of names comes of them, and never an exception.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ..assets.prompts.references import parse_reference
from ..graph_nodes import is_saved_format, prompt_nodes, saved_graphs, saved_nodes
from ..jobs.graph_files import NamedFile, named_file

_MAX_NAMES = 1000
_MAX_VALUES = 100_000
_MAX_DEPTH = 4  # of lists and objects inside a widget's value


@dataclass(frozen=True)
class Named:
    """Files, ids of assets in canonical form, and blake3 digests of contents."""

    files: frozenset[NamedFile] = field(default_factory=frozenset)
    asset_ids: frozenset[str] = field(default_factory=frozenset)
    digests: frozenset[bytes] = field(default_factory=frozenset)


def names_in(workflow: object) -> Named:
    """What the nodes of a workflow name, those inside its subgraphs too."""
    files: set[NamedFile] = set()
    asset_ids: set[str] = set()
    digests: set[bytes] = set()
    for _, text in zip(range(_MAX_VALUES), _texts(workflow), strict=False):
        if len(files) + len(asset_ids) + len(digests) >= _MAX_NAMES:
            break
        reference = parse_reference(text)
        if reference is not None and reference.digest is not None:
            digests.add(reference.digest)
        elif reference is not None and reference.asset_id is not None:
            asset_ids.add(reference.asset_id)
        elif (file := named_file(text)) is not None and _is_unicode(text):
            files.add(file)
    return Named(frozenset(files), frozenset(asset_ids), frozenset(digests))


def _is_unicode(text: str) -> bool:
    """Whether it has no half of a character pair, which no file's name has and the store cannot be asked for."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _texts(workflow: object) -> Iterator[str]:
    if not is_saved_format(workflow):
        for _, _, inputs in prompt_nodes(workflow):
            yield from _leaves(inputs)
        return
    for graph in saved_graphs(workflow):
        for node in saved_nodes(graph):
            yield from _leaves(node.get("widgets_values"))  # inputs are sockets here and hold no values


def _leaves(value: object) -> Iterator[str]:
    """The texts in a value, in whatever lists and objects they are."""
    waiting = [(value, 0)]
    while waiting:
        value, depth = waiting.pop()
        if isinstance(value, str):
            yield value
        elif depth <= _MAX_DEPTH and isinstance(value, (list, Mapping)):
            waiting += [(item, depth + 1) for item in (value if isinstance(value, list) else value.values())]
