"""A bundle taken over: all of it verified, then what the library lacks put in its places, then the workflow saved."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from ...assets.index.content_reader import digest_of, document
from ...assets.index.hash_run import HashProgress
from ...assets.media.metadata import FileMetadata, extract_path
from ...assets.media.mime import check_suffix, guess_mime, resolve_mime
from ...assets.roots import Roots, is_ignored
from ...assets.upload_fields import normalize_name
from ...background.cancel import CancelToken, uninterrupted
from ...db import assets, workflows
from ...db.connection import Database
from ...db.contents import Facts
from ...errors import ApiError, UnsupportedContentError
from ...fs import atomic
from ...fs.partial_file import LEFTOVER_AGE_S, PartialFile, remove_leftovers
from ...fs.paths import extended_path
from ...host.base import Host
from ...models import Location, Workflow, WorkflowFilter, WorkflowPage
from ...names import UnsafeName, relative_parts
from ...store_guard import is_protected
from ..document import parse_workflow
from ..service import WorkflowDetails, WorkflowService
from . import reader
from .format import BundledAsset, BundleRefused, is_code, is_unsafe
from .installer import Delivery, deliver, make_folder
from .reader import Bundle

Outcome = Literal["have", "added", "missing"]
MAX_SIZE = 100 * 10**9  # of all files of a bundle, unless the user says otherwise
_ROOM_LEFT = 64 << 20  # on a disk, beyond what comes
_PAGE = 100


@dataclass(frozen=True)
class Finding:
    """What became of an asset. ``found`` is where it is in the library; ``note`` what the user should know."""

    asset: BundledAsset
    outcome: Outcome
    found: str | None = None
    note: str | None = None


@dataclass(frozen=True)
class Imported:
    """The workflow, whether it is a new one, and what became of each asset."""

    workflow: Workflow
    is_new: bool
    findings: Sequence[Finding]


@dataclass
class _Plan:
    """What was decided of the assets: those settled, and those to be taken, each with its folder."""

    findings: dict[str, Finding] = field(default_factory=dict)
    wanted: dict[str, tuple[BundledAsset, Path]] = field(default_factory=dict)

    def miss(self, asset: BundledAsset, note: str) -> None:
        """Settle an asset that cannot be had."""
        self.findings[asset.place] = Finding(asset, "missing", note=note)


class Import:
    """One bundle taken over for a user. ``progress`` tells how far it is."""

    def __init__(
        self,
        db: Database,
        host: Host,
        service: WorkflowService,
        token: CancelToken,
        max_workflow: int,
        max_size: int = MAX_SIZE,
    ) -> None:
        """``max_workflow`` and ``max_size`` are how many bytes the workflow, and all files, may have."""
        self._db = db
        self._host = host
        self._service = service
        self._token = token
        self._max_workflow = max_workflow
        self._max_size = max_size
        self.progress = HashProgress(0, 0)

    async def run(self, path: Path, owner: str, *, unsafe_models: bool = False) -> Imported:
        """Take the bundle over. ``unsafe_models`` also takes files whose loading may run a stranger's program.

        Raises BundleRefused, StorageError, OSError; then nothing has changed.
        """
        with ExitStack() as stack:
            bundle = await uninterrupted(
                asyncio.to_thread(stack.enter_context, reader.opened(path, self._max_workflow, self._max_size)),
                self._token,
            )
            await self._check_workflow(bundle)
            roots = Roots(await asyncio.to_thread(self._host.folders))
            plan = await self._plan(bundle, roots, owner, unsafe_models=unsafe_models)
            await self._take(bundle, plan, roots, owner)
        workflow, is_new = await self._save(bundle, owner)
        return Imported(workflow, is_new, [plan.findings[asset.place] for asset in bundle.manifest.assets])

    async def _check_workflow(self, bundle: Bundle) -> None:
        try:
            await asyncio.to_thread(parse_workflow, bundle.text)
        except ApiError as error:
            raise BundleRefused(f"its workflow is none: {error.message}") from error

    async def _plan(self, bundle: Bundle, roots: Roots, owner: str, *, unsafe_models: bool) -> _Plan:
        """Decide what to take; nothing is written."""
        plan = _Plan()
        for asset in bundle.manifest.assets:
            location = await self._had(asset, owner)
            if location is not None:
                plan.findings[asset.place] = _had_as(asset, location, roots)
                continue
            try:
                folder = await asyncio.to_thread(_folder_for, asset, roots)
            except (UnsafeName, UnsupportedContentError, ValueError) as error:
                plan.miss(asset, getattr(error, "message", str(error)))
                continue
            if asset.member is None:
                plan.miss(asset, "not in the bundle")
            elif is_code(asset):
                plan.miss(asset, "it is a program, which is no model")
            elif is_unsafe(asset) and not unsafe_models:
                plan.miss(asset, "loading such a file can run a stranger's program; --unsafe-models takes it")
            else:
                plan.wanted[asset.place] = (asset, folder)
        return plan

    async def _had(self, asset: BundledAsset, owner: str) -> Location | None:
        """A file of the library with the content; in its own place, if there is one there."""
        found = [
            each.location
            for own in (True, False)
            for each in await assets.of_content(self._db, asset.digest, owner, own=own)
            if each.location is not None and each.is_present
        ]
        there = [place for place in found if await asyncio.to_thread(_is_there, place, asset.size)]
        return next((place for place in there if _is_place_of(asset, place)), there[0] if there else None)

    async def _take(self, bundle: Bundle, plan: _Plan, roots: Roots, owner: str) -> None:
        """Verify every byte of the bundle, and put the files wanted in their places."""
        await asyncio.to_thread(remove_leftovers, roots.destinations(), time.time() - LEFTOVER_AGE_S)
        with _Drafts() as drafts:
            work = asyncio.to_thread(self._extract, bundle, plan, drafts)
            deliveries = await uninterrupted(work, self._token)
            work_of_deliveries = deliver(self._db, roots, [each for _, each in deliveries], owner)
            paths = await uninterrupted(work_of_deliveries, self._token)
            drafts.keep_folders()
        if paths:
            self._host.emit("assets.changed", {"created": len(paths)})
        for (asset, delivery), path in zip(deliveries, paths, strict=True):
            await asyncio.to_thread(atomic.fsync_folder, path.parent)
            note = None
            if path.name != delivery.name:
                note = f"another file has its name: the workflow means {asset.path}, this one is {path.name}"
            plan.findings[asset.place] = Finding(asset, "added", str(path), note)

    def _extract(self, bundle: Bundle, plan: _Plan, drafts: _Drafts) -> list[tuple[BundledAsset, Delivery]]:
        """Read every member once; what is wanted is written beside its place under a hidden name."""
        members = {asset.member: asset for asset in bundle.manifest.assets if asset.member is not None}
        wanted: dict[str, list[tuple[BundledAsset, Path]]] = defaultdict(list)
        for asset, folder in plan.wanted.values():
            wanted[asset.hash].append((asset, folder))
        _check_room([(folder, asset.size) for asset, folder in plan.wanted.values()])
        self.progress = HashProgress(len(members), sum(asset.size for asset in members.values()))
        deliveries: list[tuple[BundledAsset, Delivery]] = []
        for member, asset in members.items():
            places = [each for each in wanted[asset.hash] if not self._adopt(*each, deliveries)]
            written = [drafts.begin(folder) for _, folder in places]
            self._read(bundle, member, asset, written)
            for (each, folder), file in zip(places, written, strict=True):
                self._accept(each, folder, file, plan, deliveries)
            self.progress.hashed += 1
        return deliveries

    def _adopt(self, asset: BundledAsset, folder: Path, deliveries: list[tuple[BundledAsset, Delivery]]) -> bool:
        """Whether the very file is in its place already: put there by an import that was cut short, or by hand."""
        path = folder.joinpath(*relative_parts(asset.path))
        try:
            known = extended_path(path).stat().st_size == asset.size
            if not known or digest_of(path, asset.size, self._token.check, lambda count: None) != asset.digest:
                return False
        except OSError:
            return False
        deliveries.append((asset, _delivery(asset, folder, None, path)))
        return True

    def _read(self, bundle: Bundle, member: str, asset: BundledAsset, written: Sequence[PartialFile]) -> None:
        def take(block: bytes) -> None:
            self._token.check()
            for file in written:
                file.write([block])
            self.progress.add_bytes(len(block))

        found = bundle.read(member, asset.size, take)
        if found != asset.digest or any(file.finish() != asset.digest for file in written):
            raise BundleRefused(f"the content of {asset.place} is not what its hash says")

    def _accept(
        self, asset: BundledAsset, folder: Path, file: PartialFile, plan: _Plan,
        deliveries: list[tuple[BundledAsset, Delivery]],
    ) -> None:  # fmt: skip
        try:
            deliveries.append((asset, _delivery(asset, folder, file.path, file.path)))
        except UnsupportedContentError as error:
            plan.miss(asset, error.message)

    async def _save(self, bundle: Bundle, owner: str) -> tuple[Workflow, bool]:
        """The user's workflow of this name and text: the one there is, linked to what is there now, or a new one."""
        said = bundle.manifest.workflow
        name = normalize_name(said.name) if said.name is not None else None
        offset = 0
        while True:
            wanted, page = WorkflowFilter(owner, name or ""), WorkflowPage(limit=_PAGE, offset=offset)
            listed = await workflows.list_page(self._db, wanted, page)
            for workflow in listed.items:
                if workflow.name == name and await self._is_same(workflow, bundle.text):
                    return workflow, False
            if not listed.has_more:
                break
            offset += _PAGE
        about = WorkflowDetails(name, said.description, said.default_view)
        return await self._service.create(about, bundle.text, owner), True

    async def _is_same(self, workflow: Workflow, text: bytes) -> bool:
        content = await self._service.content(workflow.id, workflow.owner)
        if content.text != text:
            return False
        named = (await asyncio.to_thread(parse_workflow, text)).references
        async with self._db.transaction() as tx:
            await workflows.link_files(tx, content.version.id, workflow.owner, named.files)
            await workflows.link_references(tx, content.version.id, workflow.owner, named.asset_ids, named.digests)
        return True


class _Drafts:
    """Files being written, and the folders made for them: gone at the end, except what has found its place."""

    def __init__(self) -> None:
        self._drafts: list[PartialFile] = []
        self._made: list[Path] = []

    def __enter__(self) -> _Drafts:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._drafts:
            file.discard()
        for folder in reversed(self._made):
            atomic.remove_if_empty(folder)

    def begin(self, folder: Path) -> PartialFile:
        """Begin a file in a folder, which is made if there is none. Raises OSError."""
        self._made += make_folder(folder)
        file = PartialFile(folder)
        self._drafts.append(file)
        return file

    def keep_folders(self) -> None:
        """Let the folders that were made stay, also those in which nothing is."""
        self._made.clear()


def _delivery(asset: BundledAsset, folder: Path, source: Path | None, content: Path) -> Delivery:
    """Raises UnsupportedContentError for a model that is not what its name says."""
    *between, name = relative_parts(asset.path)
    extracted = extract_path(name, content)
    mime_type = extracted.mime_type or guess_mime(name)
    if asset.kind == "models":
        mime_type = resolve_mime(name, None, extracted.mime_type)
    facts = _facts(asset, extracted)
    return Delivery(source, folder.joinpath(*between), name, normalize_name(asset.name), mime_type, facts)


def _facts(asset: BundledAsset, extracted: FileMetadata) -> Facts:
    documents = tuple(document(key, text) for key, text in extracted.documents.items())
    return Facts(asset.digest, asset.size, msgspec.json.encode(extracted.facts).decode(), documents)


def _folder_for(asset: BundledAsset, roots: Roots) -> Path:
    """The folder below which the asset's path is to be. Raises ValueError and UnsupportedContentError."""
    if asset.kind == "temp":
        raise ValueError("it was a temporary file")
    if asset.kind == "models" and asset.category is None:
        raise ValueError("it is in no category of models")
    folder = roots.destination(asset.kind, asset.category)
    if folder is None:
        raise ValueError(f"there is no folder for {asset.category or asset.kind} here")
    parts = relative_parts(asset.path)
    check_suffix(parts[-1], asset.category, roots.suffixes(asset.category))
    if is_ignored(parts[-1], asset.size):
        raise ValueError("its name is one of files that are no assets")
    place = roots.place(folder.joinpath(*parts[:-1]))
    if place is None or place.kind != asset.kind or (asset.category and asset.category not in place.category_names):
        raise ValueError("its place belongs to something else here")
    if _leads_out(folder, folder.joinpath(*parts)):
        raise ValueError("a link leads out of the folder there")
    return folder


def _leads_out(folder: Path, path: Path) -> bool:
    """Return whether a link below the folder leads out of it. Blocks."""
    return not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)) or is_protected(path)


def _had_as(asset: BundledAsset, location: Location, roots: Roots) -> Finding:
    path = str(Path(location.folder, location.name))
    if _is_place_of(asset, location):
        return Finding(asset, "have", path)
    return Finding(asset, "have", path, f"under another name than the workflow's {asset.path}")


def _is_place_of(asset: BundledAsset, location: Location) -> bool:
    """Whether the file is found by the name that the workflow has for it."""
    if location.kind != asset.kind:
        return False
    if asset.kind == "models":
        inside = location.loader_prefix if asset.category else location.logical.partition("/")[2]
    else:
        inside = location.logical.partition("/")[2]
    return asset.path == "/".join(part for part in (inside, location.name) if part)


def _is_there(location: Location, size: int) -> bool:
    try:
        return extended_path(location.folder, location.name).stat().st_size == size
    except OSError:
        return False


def _check_room(wanted: Iterable[tuple[Path, int]]) -> None:
    """Raise BundleRefused where a disk has no room for what would be written to it."""
    needed: dict[int, int] = defaultdict(int)
    folders: dict[int, Path] = {}
    for folder, size in wanted:
        there = next(each for each in (folder, *folder.parents) if each.exists())
        volume = there.stat().st_dev
        needed[volume] += size
        folders[volume] = there
    for volume, size in needed.items():
        if size + _ROOM_LEFT > shutil.disk_usage(folders[volume]).free:
            raise BundleRefused(f"there is no room for {size:,} bytes at {folders[volume]}")
