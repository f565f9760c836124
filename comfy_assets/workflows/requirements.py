"""Find the files that a workflow names in the library, and replace names by those of the files that are present.

Workflows come from strangers: members of a wrong type are skipped, and everything taken from one is bounded.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, MutableSequence, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

import msgspec

from .. import asset_kinds, json_limits
from ..assets.service import require_asset
from ..db import assets, downloads, workflow_requirements
from ..db.connection import Database
from ..db.workflow_requirements import ExpectedContent
from ..errors import UnprocessableBodyError, VersionConflictError
from ..graphs import NamedFile, is_saved_format, is_unicode, named_file, prompt_nodes, saved_graphs, saved_nodes
from ..json_text import decode_in_steps, dumps_in_steps
from ..models import Asset, Location
from .service import SavedVersion, WorkflowService

NamedKind = Literal["model", "input"]
RequirementStatus = Literal["present", "elsewhere", "missing"]
MatchKind = Literal["hash", "name"]

_MOST_MATCHES = 5
_KINDS = {"model": "models", "input": "input"}  # the kinds of folders
# Names of categories in workflows of older versions of ComfyUI.
_LEGACY = {"unet": "diffusion_models", "clip": "text_encoders"}
# The category whose files nodes of these types load, where the workflow does not state it.
_LOADED = {
    "CheckpointLoaderSimple": "checkpoints",
    "LoraLoader": "loras",
    "LoraLoaderModelOnly": "loras",
    "VAELoader": "vae",
    "ControlNetLoader": "controlnet",
    "UNETLoader": "diffusion_models",
    "CLIPLoader": "text_encoders",
    "DualCLIPLoader": "text_encoders",
    "TripleCLIPLoader": "text_encoders",
    "QuadrupleCLIPLoader": "text_encoders",
    "CLIPVisionLoader": "clip_vision",
    "UpscaleModelLoader": "upscale_models",
    "StyleModelLoader": "style_models",
}
MAX_NAMED = 500
_MAX_VALUES = 100_000  # values of widgets that are looked at
_MAX_DEPTH = 4  # of lists and objects inside the value of a widget
_MAX_NODE_TYPES = 5
_MAX_SOURCES = 5  # links of one file
_MAX_URL = 2048
_SHA256 = re.compile(r"[0-9a-f]{64}", re.IGNORECASE)
_INPUT_SUFFIXES = frozenset({
    "png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff", "avif", "heic", "jxl", "exr", "hdr",
    "mp4", "webm", "mov", "mkv", "avi", "m4v", "wav", "mp3", "flac", "ogg", "opus", "m4a", "aac",
    "glb", "gltf", "obj", "stl", "ply", "fbx", "latent",
})  # fmt: skip


class ModelSource(NamedTuple):
    """A link to a model, with the category and the sha256 digest that are stated with it."""

    url: str
    category: str | None = None
    sha256: bytes | None = None


class FileKey(NamedTuple):
    """A file as a workflow names it, and the category of models that is stated for it."""

    text: str
    category: str | None = None


@dataclass
class NamedInWorkflow:
    """A file that nodes name, the types of some of these nodes, and the sources that the workflow states for it."""

    key: FileKey
    kind: NamedKind
    file: NamedFile
    node_types: list[str] = field(default_factory=list)
    sources: list[ModelSource] = field(default_factory=list)


@dataclass(frozen=True)
class FileMatch:
    """An asset that may be the file that a workflow names otherwise: it has the content, or only the name.

    ``value`` is the name by which the node would load it, or None if loaders of that category do not list it.
    """

    asset: Asset
    by: MatchKind
    value: str | None


@dataclass
class Requirement:
    """A file named by a workflow: its asset, other candidates, and links to sources.

    ``hashes`` are blake3 digests that the file is known to have. ``size`` is in bytes; None if it is not known.
    """

    named: NamedInWorkflow
    category: str | None
    asset: Asset | None = None
    matches: list[FileMatch] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    hashes: list[bytes] = field(default_factory=list)
    size: int | None = None

    @property
    def status(self) -> RequirementStatus:
        """The state of the file in the library."""
        if self.asset is not None:
            return "present"
        return "elsewhere" if self.matches else "missing"


class Relink(msgspec.Struct, frozen=True):
    """A name in a workflow, with its category if one is stated, and the asset that it shall stand for."""

    name: str
    asset_id: str
    category: str | None = None


class WorkflowRequirements:
    """The models and input files that workflows need."""

    def __init__(self, db: Database, service: WorkflowService) -> None:
        self._db = db
        self._service = service

    async def needed(self, workflow_id: str, owner: str, number: int | None = None) -> tuple[int, list[Requirement]]:
        """Return the number of a version, by default the latest, and the files that it needs, missing ones first.

        Raises the errors of ``WorkflowService.content``.
        """
        content = await self._service.content(workflow_id, owner, number)
        named = await asyncio.to_thread(lambda: named_in(_decoded(content.text)))
        workflow = await self._service.get(workflow_id, owner)
        paths = [_path_of(each) for each in named]
        linked = await workflow_requirements.linked_by_name(self._db, workflow.row_id, paths)
        expected = await workflow_requirements.expected_contents(self._db, workflow.row_id)
        found = [await self._examine(each, linked.get(_path_of(each), []), expected, owner) for each in named]
        order: dict[RequirementStatus, int] = {"missing": 0, "elsewhere": 1, "present": 2}
        return content.version.number, sorted(found, key=lambda each: (each.named.kind != "model", order[each.status]))

    async def relink(self, workflow_id: str, base: int, links: Sequence[Relink], owner: str) -> SavedVersion:
        """Save a version in which files are named as the given assets are loaded.

        Raises the errors of ``WorkflowService.create_version``, AssetNotFoundError, and UnprocessableBodyError for a
        name that the workflow does not have, and for an asset that its nodes could not load.
        """
        content = await self._service.content(workflow_id, owner)
        if content.version.number != base:
            latest = content.version.number
            raise VersionConflictError(
                f"The change is based on version {base}, but the latest is {latest}.",
                details={"base_version": base, "latest_version": latest},
            )
        known = {each.key: each for each in await asyncio.to_thread(lambda: named_in(_decoded(content.text)))}
        values: dict[FileKey, str] = {}
        for index, link in enumerate(links):
            named = known.get(FileKey(link.name, link.category))
            if named is None:
                raise _bad_link(index, "name", f"No node of the workflow names {link.name}.")
            asset = await require_asset(self._db, link.asset_id, owner)
            value = _loader_value(asset, named.kind, _category_of(named)) if asset.is_present else None
            if value is None:
                raise _bad_link(index, "asset_id", f"{asset.name} is not where nodes would find it.")
            values[named.key] = value
        text = await asyncio.to_thread(_renamed, content.text, values)
        return await self._service.create_version(workflow_id, base, text, owner)

    async def _examine(
        self, named: NamedInWorkflow, linked: Sequence[str], expected: Sequence[ExpectedContent], owner: str
    ) -> Requirement:
        found = Requirement(named, _category_of(named), links=_links(named.sources))
        kind = _KINDS[named.kind]
        at_place = await self._assets(await workflow_requirements.assets_at(self._db, owner, kind, named.file), owner)
        there = [asset for asset in at_place if asset.is_present]
        found.asset = next((each for each in there if _fits(each, named.kind, found.category)), None)
        stated = [each for each in expected if _is_expected(each, named, found.category)]
        found.size = next((each.size for each in stated), None)
        found.hashes = await self._digests(named, at_place, linked, stated, owner)
        if found.asset is not None:
            return found
        same = await workflow_requirements.assets_of_contents(self._db, owner, found.hashes)
        for by, ids in (
            ("hash", [*linked, *same]),
            ("name", [*(each.id for each in there), *await self._of_name(owner, kind, named)]),
        ):
            self._add_matches(found, "hash" if by == "hash" else "name", await self._assets(ids, owner))
        found.links += [link for asset in at_place if (link := _page_of(asset)) and link not in found.links]
        return found

    async def _of_name(self, owner: str, kind: str, named: NamedInWorkflow) -> list[str]:
        return await workflow_requirements.assets_called(self._db, owner, kind, named.file.name)

    async def _assets(self, ids: Sequence[str], owner: str) -> list[Asset]:
        found = await assets.visible(self._db, ids, owner) if ids else {}
        return [found[asset_id] for asset_id in dict.fromkeys(ids) if asset_id in found]

    async def _digests(
        self,
        named: NamedInWorkflow,
        at_place: Sequence[Asset],
        linked: Sequence[str],
        stated: Sequence[ExpectedContent],
        owner: str,
    ) -> list[bytes]:
        """Return the contents that the file is known to have: by a bundle, its record, or the links of the workflow."""
        digests = [each.hash for each in stated]
        for source in named.sources:
            if source.sha256 is not None and (digest := await downloads.blake3_of(self._db, source.sha256)):
                digests.append(digest)
        before = await assets.get_many(self._db, linked) if linked else {}
        own = [*at_place, *(each for each in before.values() if each.owner in ("", owner))]
        return list(dict.fromkeys([*digests, *(each.hash for each in own if each.hash is not None)]))

    def _add_matches(self, found: Requirement, by: MatchKind, candidates: Sequence[Asset]) -> None:
        known = {match.asset.id for match in found.matches}
        kind = found.named.kind
        for asset in candidates:
            if asset.id in known or not asset.is_present or not _is_kind(asset, kind):
                continue
            value = _loader_value(asset, kind, found.category)
            if by == "name" and value is None:
                continue  # another file that happens to have the name
            found.matches.append(FileMatch(asset, by, value))
        found.matches = sorted(found.matches, key=lambda match: (match.by != "hash", match.value is None))
        del found.matches[_MOST_MATCHES:]


def _loader_value(asset: Asset, kind: str, category: str | None) -> str | None:
    """Return the name by which a node loads an asset, or None if nodes for this kind and category do not list it."""
    location = asset.location
    if location is None or not _fits(asset, kind, category):
        return None
    if kind != "model":
        inside = location.logical.partition("/")[2]
        name = f"{inside}/{location.name}" if inside else location.name
        return name if location.kind == "input" else f"{name} [{location.kind}]"
    prefix = _prefix(location, asset, category)
    if prefix is None:
        return None
    # Loaders list the paths of the system.
    return (f"{prefix}/{location.name}" if prefix else location.name).replace("/", os.sep)


def _prefix(location: Location, asset: Asset, category: str | None) -> str | None:
    own = asset.categories
    wanted = next((each for each in _names_of(category) if each in own), None) or next(iter(own), None)
    return location.prefix_in(wanted) if wanted is not None else None


def _fits(asset: Asset, kind: str, category: str | None) -> bool:
    """Return whether nodes that load such files list an asset."""
    if not _is_kind(asset, kind):
        return False
    return kind != "model" or category is None or bool({*_names_of(category)} & {*asset.categories})


def _is_kind(asset: Asset, kind: str) -> bool:
    location = asset.location
    if location is None:
        return False
    return location.kind == "models" if kind == "model" else location.kind in ("input", "output")


def _names_of(category: str | None) -> list[str]:
    """Return the names that a category has on older and newer servers."""
    if category is None:
        return []
    newer = _LEGACY.get(category, category)
    return [category, newer, *(old for old, new in _LEGACY.items() if new == newer)]


def _category_of(named: NamedInWorkflow) -> str | None:
    if named.kind != "model" or named.key.category is not None:
        return named.key.category
    return next((_LOADED[node] for node in named.node_types if node in _LOADED), None)


def _is_expected(each: ExpectedContent, named: NamedInWorkflow, category: str | None) -> bool:
    if each.path != _path_of(named):
        return False
    if named.kind != "model":
        return each.category == ""
    return each.category != "" and (category is None or each.category in _names_of(category))


def _path_of(named: NamedInWorkflow) -> str:
    """Return the path of a file inside its category or folder, with forward slashes."""
    return f"{named.file.folder}/{named.file.name}" if named.file.folder else named.file.name


def _links(sources: Iterable[ModelSource]) -> list[str]:
    return list(dict.fromkeys(source.url for source in sources if source.url))


def _page_of(asset: Asset) -> str | None:
    """Return the page of a model whose file is gone, as far as its header or a file beside it says."""
    facts: dict[str, Any] = msgspec.json.decode(asset.metadata or "{}")
    return web_link(facts.get("repo_url"))


def _decoded(text: bytes) -> Any:
    """Decode a stored text; numbers of any size stay as they are. Blocks."""
    return decode_in_steps(text, json_limits.shape_of(text).values, json.JSONDecoder())


def _renamed(text: bytes, values: dict[FileKey, str]) -> bytes:
    """Return the text of a workflow with other names for files. Blocks."""
    workflow = _decoded(text)
    replace_names(workflow, {key: value for key, value in values.items() if is_unicode(value)})
    return dumps_in_steps(workflow).encode()


def _bad_link(index: int, member: str, message: str) -> UnprocessableBodyError:
    return UnprocessableBodyError(message, details={"field": f"links[{index}].{member}"})


class _Slot(NamedTuple):
    """A text in the widgets or inputs of a node, and the list or object that has it."""

    node: Mapping[str, Any]
    holder: MutableSequence[Any] | MutableMapping[str, Any]
    at: Any
    text: str
    depth: int


def named_in(workflow: object) -> list[NamedInWorkflow]:
    """Return the models and the input files that the nodes of a workflow name, at most ``MAX_NAMED``."""
    found: dict[FileKey, NamedInWorkflow] = {}
    everywhere = _stated_sources(workflow.get("models")) if isinstance(workflow, dict) else {}
    for slot, named in _named_slots(workflow):
        if named.key not in found and len(found) == MAX_NAMED:
            continue
        known = found.setdefault(named.key, named)
        stated = named.sources or everywhere.get(_base_name(slot.text), [])
        known.sources += [source for source in stated if source not in known.sources]
        del known.sources[_MAX_SOURCES:]
        node_type = slot.node.get("type") or slot.node.get("class_type")
        if isinstance(node_type, str) and node_type not in known.node_types:
            known.node_types = [*known.node_types, node_type][:_MAX_NODE_TYPES]
    return list(found.values())


def replace_names(workflow: object, values: Mapping[FileKey, str]) -> set[FileKey]:
    """Replace the names of files in the nodes of a workflow, in place. Return those that were found."""
    replaced: set[FileKey] = set()
    for slot, named in list(_named_slots(workflow)):
        value = values.get(named.key)
        if value is not None:
            slot.holder[slot.at] = value
            replaced.add(named.key)
    return replaced


def _named_slots(workflow: object) -> Iterator[tuple[_Slot, NamedInWorkflow]]:
    node, stated = None, dict[str, list[ModelSource]]()
    for _, slot in zip(range(_MAX_VALUES), _slots(workflow), strict=False):
        file = named_file(slot.text)
        if file is None or not is_unicode(slot.text):
            continue
        if slot.node is not node:
            node, stated = slot.node, _sources_of(slot.node)
        suffix = file.name.lower().rpartition(".")[2]
        if suffix in asset_kinds.MODEL_SUFFIXES and not file.kind:
            sources = stated.get(_base_name(slot.text), [])
            category = next((source.category for source in sources if source.category), None)
            yield slot, NamedInWorkflow(FileKey(slot.text, category), "model", file, sources=sources[:_MAX_SOURCES])
        elif suffix in _INPUT_SUFFIXES and slot.depth == 0 and file.kind in ("", "input"):
            # Deeper in a widget's value are descriptions of what the node showed last.
            yield slot, NamedInWorkflow(FileKey(slot.text), "input", file)


def _slots(workflow: object) -> Iterator[_Slot]:
    if not is_saved_format(workflow):
        for _, node, inputs in prompt_nodes(workflow):
            yield from _leaves(node, inputs)
        return
    for graph in saved_graphs(workflow):
        for node in saved_nodes(graph):
            values = node.get("widgets_values")
            if isinstance(values, (list, dict)):
                yield from _leaves(node, values)


def _leaves(node: Mapping[str, Any], values: list[Any] | dict[str, Any]) -> Iterator[_Slot]:
    waiting: list[tuple[Any, int]] = [(values, 0)]
    while waiting:
        holder, depth = waiting.pop()
        for at, item in enumerate(holder) if isinstance(holder, list) else holder.items():
            if isinstance(item, str):
                yield _Slot(node, holder, at, item, depth)
            elif depth < _MAX_DEPTH and isinstance(item, (list, dict)):
                waiting.append((item, depth + 1))


def _sources_of(node: Mapping[str, Any]) -> dict[str, list[ModelSource]]:
    """Return the sources that templates state in the properties of a node, by the name of the file."""
    properties = node.get("properties")
    return _stated_sources(properties.get("models")) if isinstance(properties, dict) else {}


def _stated_sources(models: object) -> dict[str, list[ModelSource]]:
    found: dict[str, list[ModelSource]] = {}
    for entry in models[:MAX_NAMED] if isinstance(models, list) else ():
        name = entry.get("name") if isinstance(entry, dict) else None
        if isinstance(name, str):
            category = entry.get("directory")
            digest = entry.get("hash")
            is_sha256 = isinstance(digest, str) and _SHA256.fullmatch(digest) and _is_sha256(entry.get("hash_type"))
            source = ModelSource(
                web_link(entry.get("url")) or "",
                category if isinstance(category, str) and 0 < len(category) <= 128 else None,
                bytes.fromhex(digest) if is_sha256 else None,
            )
            found.setdefault(_base_name(name), []).append(source)
    return found


def _is_sha256(hash_type: object) -> bool:
    return hash_type is None or (isinstance(hash_type, str) and hash_type.lower().replace("-", "") == "sha256")


def web_link(url: object) -> str | None:
    """Return a link to a page or file of the web as it is, or None for anything else, such as a script."""
    if not isinstance(url, str) or len(url) > _MAX_URL or not url.isprintable() or " " in url:
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return url if parts.scheme in ("http", "https") and parts.hostname else None


def _base_name(text: str) -> str:
    """Return the last part of a path, with slashes of either system."""
    return text.replace("\\", "/").rpartition("/")[2]
