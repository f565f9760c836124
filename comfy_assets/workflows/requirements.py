"""Find the files that a workflow names in the library, and replace names by those of the files that are present."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from .. import json_limits
from ..assets.service import require_asset
from ..db import assets, downloads, workflow_models
from ..db.connection import Database
from ..db.workflow_models import ExpectedContent
from ..errors import UnprocessableBodyError, VersionConflictError
from ..graphs import is_unicode
from ..json_text import decode_in_steps, dumps_in_steps
from ..models import MODEL_TYPE_PREFIX, Asset, Location
from .named_models import FileKey, ModelSource, NamedInWorkflow, named_in, replace_names, web_link
from .service import SavedVersion, WorkflowService

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
        linked = await workflow_models.linked_by_name(self._db, workflow.row_id, paths)
        expected = await workflow_models.expected_contents(self._db, workflow.row_id)
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
            value = loader_value(asset, named.kind, _category_of(named)) if asset.is_present else None
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
        at_place = await self._assets(await workflow_models.assets_at(self._db, owner, kind, named.file), owner)
        there = [asset for asset in at_place if asset.is_present]
        found.asset = next((each for each in there if _fits(each, named.kind, found.category)), None)
        stated = [each for each in expected if _is_expected(each, named, found.category)]
        found.size = next((each.size for each in stated), None)
        found.hashes = await self._digests(named, at_place, linked, stated, owner)
        if found.asset is not None:
            return found
        same = await workflow_models.assets_of_contents(self._db, owner, found.hashes)
        for by, ids in (
            ("hash", [*linked, *same]),
            ("name", [*(each.id for each in there), *await self._of_name(owner, kind, named)]),
        ):
            self._add_matches(found, "hash" if by == "hash" else "name", await self._assets(ids, owner))
        found.links += [link for asset in at_place if (link := _page_of(asset)) and link not in found.links]
        return found

    async def _of_name(self, owner: str, kind: str, named: NamedInWorkflow) -> list[str]:
        return await workflow_models.assets_called(self._db, owner, kind, named.file.name)

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
            value = loader_value(asset, kind, found.category)
            if by == "name" and value is None:
                continue  # another file that happens to have the name
            found.matches.append(FileMatch(asset, by, value))
        found.matches = sorted(found.matches, key=lambda match: (match.by != "hash", match.value is None))
        del found.matches[_MOST_MATCHES:]


def loader_value(asset: Asset, kind: str, category: str | None) -> str | None:
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
    own = _categories(asset)
    wanted = next((each for each in _names_of(category) if each in own), None) or next(iter(own), None)
    return location.prefix_in(wanted) if wanted is not None else None


def _fits(asset: Asset, kind: str, category: str | None) -> bool:
    """Return whether nodes that load such files list an asset."""
    if not _is_kind(asset, kind):
        return False
    return kind != "model" or category is None or bool({*_names_of(category)} & {*_categories(asset)})


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


def _categories(asset: Asset) -> list[str]:
    tags = msgspec.json.decode(asset.tags, type=list[str])
    return [tag.removeprefix(MODEL_TYPE_PREFIX) for tag in tags if tag.startswith(MODEL_TYPE_PREFIX)]


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
