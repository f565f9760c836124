"""References to assets in submitted prompts: find them, resolve them to file names, and replace them by these.

A reference is the whole value of an input: ``blake3:`` and a hash, or ``asset:`` and an id. Pickers of ComfyUI's page
add the folder, as in ``blake3:… [output]``, which does not matter for the content. Any other text, such as a longer one
or a malformed hash, is an ordinary string. Links between nodes are never references. In other lists, which
clients send as ``{"__value__": […]}``, each item may be one.

Comfy API v2 names assets by objects instead, at any depth of a value: ``{"__type": "core/ASSET", "info": {"id": …}}``.
The id alone decides; ``hash`` and ``file_path`` beside it are hints of other clients.

A reference resolves to the file name that a node's input needs on this server. If several files have the content, one
among the input's choices is preferred. Otherwise the order is: the asset's own file, the input folder, models, outputs,
temporary files.
"""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal

from ...db import assets, contents
from ...db.connection import Database
from ...db.contents import ContentFile
from ...fs.paths import extended, extended_path, stat_as_recorded
from ...graphs import prompt_nodes
from ...host.base import Host, HostFolders, LibraryFolder
from ...ids import canonical_id
from ..roots import Place, Roots, absolute

MARKS = (b"blake3:", b"asset:")  # a body without these bytes need not be decoded: it has no references in texts
_WRAPPED = "__value__"  # a list as such is a link in a prompt, so ComfyUI wraps lists that are values
_TYPE_MEMBER, _ASSET_TYPE, _INFO = "__type", "core/ASSET", "info"
_MAX_ID = 256  # characters of an id that is repeated in an error
_MAX_REACHED, _MAX_OUTPUTS = 10_000, 1000  # each error of a prompt is a search
_NO_ID, _NO_UUID = "The object has no id.", "The id is no UUID."
_REASONS = {
    "unknown": "There is no such asset.",
    "missing": "The asset's file is not there.",
    "not_loadable": "The asset's file is in no folder that a node loads it from.",
}
_KIND_ORDER = {"input": 0, "models": 1, "output": 2, "temp": 3}
_HEX = "[0-9a-fA-F]"
_FOLDER = r"(?: \[(?:input|output|temp)\])?"
_REFERENCE = re.compile(rf"(?:blake3:({_HEX}{{64}})|asset:({_HEX}{{8}}(?:-{_HEX}{{4}}){{3}}-{_HEX}{{12}})){_FOLDER}")

ReferenceFault = Literal["unknown", "missing", "not_loadable"]


@dataclass(frozen=True)
class AssetReference:
    """The id of an asset in canonical form, or the blake3 digest of its content."""

    asset_id: str | None = None
    digest: bytes | None = None


@dataclass(frozen=True)
class ReferenceUse:
    """One occurrence of a reference in a prompt: the node, the input, and the text that was parsed."""

    node_id: str
    class_type: str
    input_name: str
    text: str
    reference: AssetReference


ReferenceValues = Mapping[tuple[str, str, str], str]  # (node id, input name, text of the reference) -> what replaces it


def parse_reference(text: str) -> AssetReference | None:
    """Return the reference in a text, or None for any other text."""
    match = _REFERENCE.fullmatch(text)
    if match is None:
        return None
    return AssetReference(digest=bytes.fromhex(match[1])) if match[1] else AssetReference(asset_id=match[2].lower())


def find_references(body: object, limit: int | None = None) -> list[ReferenceUse]:
    """Return the references in a submitted body, in the order of its nodes, at most ``limit`` of them."""
    found: dict[ReferenceUse, None] = {}
    for use in _uses(body):
        found[use] = None
        if len(found) == limit:
            break
    return list(found)


def _uses(body: object) -> Iterator[ReferenceUse]:
    for node_id, node, inputs in _nodes(body):
        class_type = node.get("class_type")
        for name, value in inputs.items():
            for text in _texts(value):
                if (reference := parse_reference(text)) is not None:
                    kind = class_type if isinstance(class_type, str) else ""
                    yield ReferenceUse(node_id, kind, name, text, reference)


def replace_references(body: dict[str, Any], values: ReferenceValues) -> dict[str, Any]:
    """Replace references in the body by their values, in place; references without a value stay. Return the body."""
    for node_id, _, inputs in _nodes(body):
        for name, value in inputs.items():
            inputs[name] = _replace_in_value(value, partial(_value_of, values, node_id, name))
    return body


def _value_of(values: ReferenceValues, node_id: str, input_name: str, text: str) -> str:
    return values.get((node_id, input_name, text), text)


class DependentOutputs:
    """Finds the output nodes that depend on a node, for ``dependent_outputs`` in node errors. Reads the graph once."""

    def __init__(self, body: object, is_output: Callable[[str], bool]) -> None:
        self._users: dict[str, list[str]] = defaultdict(list)
        self._outputs: list[str] = []
        is_output = lru_cache(maxsize=None)(is_output)
        for node_id, node, inputs in _nodes(body):
            kind = node.get("class_type")
            if isinstance(kind, str) and is_output(kind):
                self._outputs.append(node_id)
            for value in inputs.values():
                if _is_link(value):
                    self._users[value[0]].append(node_id)

    def of(self, node_id: str) -> list[str]:
        """Return the output nodes that depend on a node, itself included, in the order of the graph.

        The search ends after 10,000 dependent nodes, so some outputs of a huge graph may be missing.
        """
        reached, waiting = {node_id}, [node_id]
        while waiting and len(reached) < _MAX_REACHED:
            new = set(self._users.get(waiting.pop(), ())) - reached
            reached |= new
            waiting += new
        return [output for output in self._outputs if output in reached][:_MAX_OUTPUTS]


def _nodes(body: object) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    return prompt_nodes(body.get("prompt") if isinstance(body, dict) else None)


def _texts(value: Any) -> Iterator[str]:
    inner = value.get(_WRAPPED) if isinstance(value, dict) else value
    if isinstance(inner, str):
        yield inner
    elif isinstance(inner, list) and not _is_link(inner):
        yield from (item for item in inner if isinstance(item, str))


def _replace_in_value(value: Any, new: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return new(value)
    if isinstance(value, dict) and _WRAPPED in value:
        return {**value, _WRAPPED: _replace_in_list(value[_WRAPPED], new)}
    return _replace_in_list(value, new)


def _replace_in_list(value: Any, new: Callable[[str], str]) -> Any:
    if isinstance(value, list) and not _is_link(value):
        return [new(item) if isinstance(item, str) else item for item in value]
    return new(value) if isinstance(value, str) else value


def _is_link(value: Any) -> bool:
    """Return whether the server interprets a value as a link: a node's id and the number of its output."""
    if not isinstance(value, list) or len(value) != 2:
        return False
    return isinstance(value[0], str) and isinstance(value[1], (int, float))


@dataclass(frozen=True)
class UnresolvedReference:
    """A reference without a value: unknown to the user, its file missing, or in no folder that a loader reads."""

    use: ReferenceUse
    fault: ReferenceFault


@dataclass(frozen=True)
class ReferenceResolution:
    """Values of the references in a prompt, and the references that have none."""

    values: ReferenceValues
    problems: Sequence[UnresolvedReference]


@dataclass(frozen=True)
class _CandidateFiles:
    """Files with the content that a reference names. ``own`` is the row of the referenced asset itself."""

    copies: Sequence[ContentFile]
    own: int | None = None


@dataclass(frozen=True)
class _LoadableValues:
    """Values for a reference, best first; ``is_there`` is False if none of its files exists."""

    is_there: bool = False
    values: Sequence[str] = field(default_factory=list)


class ReferenceResolver:
    """Resolves references in prompts to file names."""

    def __init__(self, db: Database, host: Host) -> None:
        self._db = db
        self._host = host

    async def resolve(self, uses: Sequence[ReferenceUse], owner: str) -> ReferenceResolution:
        """Return the value of each reference, for the assets that this user can see and the files that exist now."""
        candidates = {
            reference: await self._candidates(reference, owner) for reference in {use.reference for use in uses}
        }
        return await asyncio.to_thread(self._decide, uses, candidates)

    async def _candidates(self, reference: AssetReference, owner: str) -> _CandidateFiles | None:
        """Return the files that a reference may stand for, or None if the user can see no such asset."""
        if reference.digest is not None:
            if not await contents.content_is_known(self._db, reference.digest, owner):
                return None
            return _CandidateFiles(await contents.files_of_content(self._db, reference.digest, owner))
        asset = await assets.get(self._db, reference.asset_id or "", owner)
        if asset is None:
            return None
        own = await contents.files_of_asset(self._db, asset.row_id)
        others = await contents.files_of_content(self._db, asset.hash, owner) if asset.hash else []
        # The asset's own file counts even if it has changed since it was hashed.
        return _CandidateFiles([*own, *(copy for copy in others if copy.row_id != asset.row_id)], asset.row_id)

    def _decide(
        self, uses: Sequence[ReferenceUse], candidates: dict[AssetReference, _CandidateFiles | None]
    ) -> ReferenceResolution:
        """Choose a value for each reference. Blocks: examines files, and reads the choices of nodes."""
        lookup = _FileLookup(self._host.folders())
        found = {reference: lookup.values_for(files) for reference, files in candidates.items() if files is not None}
        values: dict[tuple[str, str, str], str] = {}
        problems: list[UnresolvedReference] = []
        for use in uses:
            loadable = found.get(use.reference)
            if loadable is None:
                problems.append(UnresolvedReference(use, "unknown"))
            elif not loadable.values:
                problems.append(UnresolvedReference(use, "not_loadable" if loadable.is_there else "missing"))
            else:
                values[use.node_id, use.input_name, use.text] = self._choose(use, loadable.values)
        return ReferenceResolution(values, problems)

    def _choose(self, use: ReferenceUse, values: Sequence[str]) -> str:
        if len(values) == 1:
            return values[0]
        # Asking a node for its choices may list folders, so it is done only if there is something to choose.
        offered = self._host.choices(use.class_type, use.input_name) or ()
        return next((value for value in values if value in offered), values[0])


class _FileLookup:
    """Examines files on the disk and returns the names that loaders use for them. Blocks."""

    def __init__(self, folders: HostFolders) -> None:
        self._folders = folders.folders
        roots = Roots(folders)
        self._place = lru_cache(maxsize=None)(lambda folder: roots.place(absolute(Path(folder))))

    def values_for(self, candidates: _CandidateFiles) -> _LoadableValues:
        """Return the values for the files that exist."""
        there = [copy for copy in candidates.copies if _is_there(copy, is_own=copy.row_id == candidates.own)]
        placed = [(copy, place) for copy in there if (place := self._place(copy.folder)) is not None]
        placed.sort(key=lambda each: (each[0].row_id != candidates.own, not each[0].visible, _KIND_ORDER[each[1].kind]))
        values = [value for copy, place in placed for value in self._values(copy, place)]
        return _LoadableValues(bool(placed), list(dict.fromkeys(values)))

    def _values(self, copy: ContentFile, place: Place) -> Iterator[str]:
        if place.kind == "models":
            yield from self._loader_values(Path(copy.folder) / copy.name, place)
            return
        subfolder = place.logical.partition("/")[2]
        name = f"{subfolder}/{copy.name}" if subfolder else copy.name
        yield name if place.kind == "input" else f"{name} [{place.kind}]"

    def _loader_values(self, path: Path, place: Place) -> Iterator[str]:
        """Yield the paths inside the file's categories, those whose loaders list its suffix first.

        A loader opens the first file of this name in its folders, so a category in which another file comes first is
        left out: it would load another model.
        """
        suffix = path.suffix.lower()
        for folder in sorted(place.categories, key=lambda f: bool(f.extensions) and suffix not in f.extensions):
            inside = path.relative_to(folder.path)
            if (first := self._first(folder, inside)) is not None and _is_same_file(first, path):
                yield str(inside)

    def _first(self, category: LibraryFolder, inside: Path) -> Path | None:
        candidates = (absolute(f.path) / inside for f in self._folders if f.category == category.category)
        return next((path for path in candidates if Path(extended(str(path))).is_file()), None)


def _is_same_file(one: Path, other: Path) -> bool:
    try:
        return one == other or extended_path(one).samefile(extended_path(other))
    except OSError:
        return False


def _is_there(copy: ContentFile, *, is_own: bool) -> bool:
    """Return whether the file exists and, unless it is the asset's own, is as it was when its content was read."""
    path = extended_path(copy.folder, copy.name)
    try:
        return path.is_file() if is_own else stat_as_recorded(path, copy.size, copy.mtime_ns) is not None
    except ValueError:  # a null character, before Python 3.14
        return False


# Hosts rewrite a prompt while they handle its request, in the same task, so a context variable connects both.
_values: ContextVar[ReferenceValues | None] = ContextVar("comfy_assets_prompt_values", default=None)


@contextmanager
def use_values(values: ReferenceValues) -> Iterator[None]:
    """Make ``apply_values`` insert these values into the prompt that is submitted in the block."""
    token = _values.set(values)
    try:
        yield
    finally:
        _values.reset(token)


def apply_values(body: dict[str, Any]) -> dict[str, Any]:
    """Rewrite a submitted body with the values of the current request; registered with the host."""
    values = _values.get()
    return body if values is None else replace_references(body, values)


@dataclass(frozen=True)
class AssetProblem:
    """An object that stands for no usable asset. ``id`` is None if it has none."""

    node_id: str
    input_name: str
    id: str | None
    reason: str


@dataclass(frozen=True)
class AssetValue:
    """An object in an input's value: ``given`` is its id, and ``use`` None if that is no UUID."""

    use: ReferenceUse | None
    node_id: str
    input_name: str
    given: str | None


def find_asset_values(graph: object, limit: int) -> list[AssetValue]:
    """Return the objects in a graph that name assets, at most ``limit`` of them."""
    found: list[AssetValue] = []
    for node_id, node, inputs in prompt_nodes(graph):
        kind = node.get("class_type")
        for name, value in inputs.items():
            for item in _objects_in(value):
                found.append(_asset_value(node_id, kind if isinstance(kind, str) else "", str(name), item))
                if len(found) == limit:
                    return found
    return found


def _asset_value(node_id: str, class_type: str, input_name: str, item: Mapping[str, Any]) -> AssetValue:
    given = _id_in(item)
    asset_id = canonical_id(given) if given is not None else None
    use = None
    if asset_id is not None:
        use = ReferenceUse(node_id, class_type, input_name, asset_id, AssetReference(asset_id=asset_id))
    return AssetValue(use, node_id, input_name, given)


def _id_in(item: Mapping[str, Any]) -> str | None:
    info = item.get(_INFO)
    given = info.get("id") if isinstance(info, Mapping) else None
    return given[:_MAX_ID] if isinstance(given, str) else None


def _is_asset(value: object) -> bool:
    return isinstance(value, dict) and value.get(_TYPE_MEMBER) == _ASSET_TYPE


def _objects_in(value: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the objects in a value at any depth, in no particular order. Nothing recurses: values come from outside."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if _is_asset(item):
            yield item
        elif isinstance(item, dict):
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item


def replace_asset_values(graph: dict[str, Any], names: ReferenceValues) -> None:
    """Replace the objects in a graph by names of files, in place. The text of a reference is the id of the asset."""
    for node_id, _, inputs in prompt_nodes(graph):
        for name, value in inputs.items():
            inputs[name] = _replaced(value, node_id, str(name), names)


def _replaced(value: Any, node_id: str, name: str, names: ReferenceValues) -> Any:
    def name_of(item: Mapping[str, Any]) -> str:
        return names[node_id, name, canonical_id(_id_in(item) or "") or ""]

    if _is_asset(value):
        return name_of(value)
    is_changed = False
    holders = [value] if isinstance(value, (list, dict)) else []
    while holders:
        holder = holders.pop()
        for key, item in list(holder.items() if isinstance(holder, dict) else enumerate(holder)):
            if _is_asset(item):
                holder[key], is_changed = name_of(item), True
            elif isinstance(item, (list, dict)):
                holders.append(item)
    # A list of an asset is no link between nodes, and a list of a name and a number would be one.
    return {_WRAPPED: value} if is_changed and isinstance(value, list) else value


async def resolve_asset_values(
    resolver: ReferenceResolver, found: Sequence[AssetValue], owner: str
) -> tuple[ReferenceValues, list[AssetProblem]]:
    """Return the names for the objects, of assets that this user can see, and the objects that have none."""
    problems = [
        AssetProblem(each.node_id, each.input_name, each.given, _NO_ID if each.given is None else _NO_UUID)
        for each in found
        if each.use is None
    ]
    uses = list(dict.fromkeys(each.use for each in found if each.use is not None))
    resolution = await resolver.resolve(uses, owner)
    problems += [
        AssetProblem(each.use.node_id, each.use.input_name, each.use.text, _REASONS[each.fault])
        for each in resolution.problems
    ]
    return resolution.values, problems
