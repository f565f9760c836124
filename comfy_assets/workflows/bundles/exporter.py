"""Export a workflow or share, found by id, name or path, into a bundle with the assets that it needs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import msgspec
from blake3 import blake3

from ... import VERSION
from ...assets.index.content_reader import HashProgress, digest_of
from ...assets.roots import Roots, current_roots
from ...background.interruption import CancelToken, uninterrupted
from ...db import assets, collections, contents, shares, workflows
from ...db.collections import CollectionOfAssets
from ...db.compression import decompress
from ...db.connection import Database
from ...errors import WorkflowNotFoundError
from ...fs.paths import ChangedWhileReading, extended_path
from ...host.base import Host
from ...ids import canonical_id, hash_text
from ...models import Asset, Location, SharedAsset, Workflow
from ..document import parse_workflow
from ..service import WorkflowService
from ..shares import snapshot_of
from . import archive
from .archive import BundledAsset, BundledCollection, BundledWorkflow, BundleError, BundleKind, Manifest, SourceFile

_KINDS: dict[str, BundleKind] = {"models": "models", "input": "input", "output": "output", "temp": "temp"}


@dataclass(frozen=True)
class RequiredAsset:
    """An asset of the workflow, and the files that may hold its content. Its hash is empty if it is not known."""

    asset: SharedAsset
    files: Sequence[Path]


@dataclass(frozen=True)
class BundleContent:
    """A workflow as the manifest describes it, its text, the assets that it needs, and its owner.

    ``collections`` are those of the owner that have any of the assets. A share has none: it is what was published.
    """

    workflow: BundledWorkflow
    text: bytes
    required: Sequence[RequiredAsset]
    owner: str
    collections: Sequence[CollectionOfAssets] = ()


async def collect(
    db: Database, host: Host, service: WorkflowService, name: str, version: int | None = None
) -> BundleContent:
    """Collect a share or workflow. ``name`` is its id, the name of a workflow, or the path of its file.

    Raises WorkflowNotFoundError, WorkflowVersionNotFoundError, and ValueError if several workflows have the name.
    """
    share = await _share(db, name) if version is None else None  # a share never gets another version
    return share if share is not None else await _saved(db, host, service, name, version)


async def _share(db: Database, share_id: str) -> BundleContent | None:
    """Return a share as it was published."""
    found = await shares.get(db, share_id)
    if found is None:
        return None
    snapshot, body = found
    text = await asyncio.to_thread(decompress, body)
    workflow = await workflows.get(db, snapshot.workflow_id)
    description = BundledWorkflow(
        _hash_of(text),
        len(text),
        snapshot.name,
        workflow.description if workflow is not None else None,
        workflow.default_view if workflow is not None else "workflow",
        snapshot.workflow_id,
        snapshot.version,
        snapshot.share_id,
    )
    required = []
    for asset in snapshot.assets:
        files = await contents.files_of_content(db, asset.hash, snapshot.owner)
        required.append(RequiredAsset(asset, [Path(file.folder, file.name) for file in files]))
    return BundleContent(description, text, required, snapshot.owner)


async def _saved(db: Database, host: Host, service: WorkflowService, name: str, version: int | None) -> BundleContent:
    """Return a workflow with the assets linked to the version, and the assets that its file names refer to now."""
    workflow = await _workflow(db, name)
    content = await service.content(workflow.id, workflow.owner, version)
    references = (await asyncio.to_thread(parse_workflow, content.text)).references
    # Files may have been added since the version was saved, and linked ones renamed.
    ids = {*content.asset_ids, *await workflows.assets_called(db, workflow.owner, references.files)}
    found = await assets.get_many(db, sorted(ids))
    roots = await current_roots(host)
    description = BundledWorkflow(
        _hash_of(content.text),
        len(content.text),
        workflow.name,
        workflow.description,
        workflow.default_view,
        workflow.id,
        content.version.number,
    )
    hashes = [asset.hash for asset in found.values() if asset.hash is not None]
    return BundleContent(
        description,
        content.text,
        [_required(asset, roots) for asset in found.values()],
        workflow.owner,
        (await collections.of_contents(db, hashes, workflow.owner))[: archive.MAX_COLLECTIONS],
    )


async def _workflow(db: Database, name: str) -> Workflow:
    workflow_id = canonical_id(name)
    found = await workflows.get(db, workflow_id) if workflow_id is not None else None
    matches = [found] if found is not None else await workflows.called(db, name)
    if not matches:
        raise WorkflowNotFoundError(f"There is no share or workflow with the id, name or file {name}.")
    if len(matches) > 1:
        ids = ", ".join(workflow.id for workflow in matches)
        raise ValueError(f"several workflows are named {name}; use the id of one of them: {ids}")
    return matches[0]


def _required(asset: Asset, roots: Roots) -> RequiredAsset:
    location = asset.location
    if location is None:
        return RequiredAsset(_shared_asset(asset, "", None, asset.name), ())
    # Missing and unread files are required as well: the export reports them, or reads them.
    present = msgspec.structs.replace(asset, hash=asset.hash or b"", location=_present(location))
    shared = snapshot_of(present, asset.id, roots) or _as_recorded(asset, location)
    return RequiredAsset(shared, [Path(location.folder, location.name)])


def _present(location: Location) -> Location:
    return msgspec.structs.replace(location, missing=False)


def _as_recorded(asset: Asset, location: Location) -> SharedAsset:
    """Describe an asset in a folder that only the server knows, by what was recorded when it was scanned."""
    categories = sorted(asset.categories)
    category = categories[0] if categories and location.loader_prefix is not None else None
    inside = location.prefix_in(category) if category else PurePosixPath(*PurePosixPath(location.logical).parts[1:])
    return _shared_asset(asset, location.kind, category, str(PurePosixPath(inside or "", location.name)))


def _shared_asset(asset: Asset, kind: str, category: str | None, path: str) -> SharedAsset:
    return SharedAsset(
        asset.id, asset.hash or b"", asset.name, asset.size, asset.mime_type, kind, category, path
    )  # fmt: skip


def _hash_of(text: bytes) -> str:
    return hash_text(blake3(text).digest())


@dataclass(frozen=True)
class ExportOptions:
    """``models``: include model files. ``incomplete``: export even if files are missing. ``force``: replace a file."""

    models: bool = False
    incomplete: bool = False
    force: bool = False


@dataclass(frozen=True)
class ExportResult:
    """The manifest that was written, and a line for each asset that could not be included."""

    manifest: Manifest
    problems: Sequence[str]


@dataclass
class _ExportPlan:
    """The assets to write by library path, the files to include by content, and problems."""

    entries: dict[str, BundledAsset] = field(default_factory=dict)
    sources: dict[bytes, SourceFile] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def manifest(self, content: BundleContent) -> Manifest:
        """Return the manifest. Bytes that are included for one asset serve all assets with the same content."""
        entries = tuple(
            msgspec.structs.replace(entry, member=self.sources[entry.digest].member)
            if entry.digest in self.sources
            else entry
            for entry in self.entries.values()
        )
        made_by = f"comfy-assets {VERSION}"
        included = {entry.hash for entry in entries}
        bundled = tuple(
            BundledCollection(each.name, hashes, each.description)
            for each in content.collections
            if (hashes := tuple(text for text in map(hash_text, each.hashes) if text in included))
        )
        return Manifest(archive.FORMAT, archive.FORMAT_VERSION, made_by, content.workflow, entries, bundled)


class BundleExporter:
    """Writes one bundle. ``progress`` counts the files that are read, then the files that are written."""

    def __init__(self, token: CancelToken) -> None:
        self._token = token
        self.progress = HashProgress(0, 0)

    async def run(self, content: BundleContent, out: Path, options: ExportOptions) -> ExportResult:
        """Write the bundle.

        Writes nothing if it raises FileExistsError, OSError, ChangedWhileReading, Cancelled, or BundleError for a
        workflow that cannot be exported.
        """
        return await uninterrupted(asyncio.to_thread(self._run, content, out, options), self._token)

    def _run(self, content: BundleContent, out: Path, options: ExportOptions) -> ExportResult:
        if not options.force and out.exists():
            raise FileExistsError(f"{out} exists already; --force replaces it")
        self.progress = HashProgress(len(content.required), sum(each.asset.size for each in content.required))
        plan = _ExportPlan()
        for required in content.required:
            self._add(required, plan, options)
        if plan.problems and not options.incomplete:
            raise BundleError(f"nothing was written (--incomplete leaves these out): {'; '.join(plan.problems)}")
        manifest = plan.manifest(content)
        archive.check_manifest(manifest)
        sources = list(plan.sources.values())
        self.progress = HashProgress(len(sources), sum(source.size for source in sources))
        archive.write_bundle(
            out, manifest, content.text, sources,
            force=options.force, pause=self._token.check, count=self.progress.add_bytes,
        )  # fmt: skip
        return ExportResult(manifest, plan.problems)

    def _add(self, required: RequiredAsset, plan: _ExportPlan, options: ExportOptions) -> None:
        """Add an asset with its bytes, or without them if they are not to be included or cannot be read."""
        asset = required.asset
        # Temporary files are recreated by running the workflow. Models are large and often published elsewhere.
        with_bytes = asset.kind in ("input", "output") or (asset.kind == "models" and options.models)
        try:
            source = self._source(required) if with_bytes or not asset.hash else None
        except (OSError, ChangedWhileReading) as error:
            plan.problems.append(f"{asset.kind}/{asset.path}: {_reason(error)}")
            source = None
        # The manifest identifies assets by their hashes: one that has no hash and cannot be read is left out.
        digest, size = (source.digest, source.size) if source is not None else (asset.hash, asset.size)
        if not digest:
            return
        try:
            entry = _entry(asset, digest, size)
        except BundleError as error:
            plan.problems.append(f"{asset.path}: {error}")
            return
        # A manifest names a path only once, in any case, since not every file system tells them apart.
        plan.entries.setdefault(entry.library_path.casefold(), entry)
        if source is not None and with_bytes:
            plan.sources.setdefault(digest, source)

    def _source(self, required: RequiredAsset) -> SourceFile:
        """Return a file with the content, after hashing it if needed. Raises OSError, ChangedWhileReading."""
        asset = required.asset
        for path in required.files:
            try:
                size = extended_path(path).stat().st_size
            except OSError:
                continue
            digest = asset.hash
            if not digest:
                digest = digest_of(path, size, self._token.check, self.progress.add_bytes)
            elif size != asset.size:
                continue  # another copy may be unchanged; the writer verifies the hash
            return SourceFile(path, archive.member_of(digest), size, digest)
        raise FileNotFoundError("its file is missing or is not what it was when the library read it")


def _entry(asset: SharedAsset, digest: bytes, size: int) -> BundledAsset:
    """Return the asset for the manifest. Raises BundleError if its path cannot be in a bundle."""
    kind = _KINDS.get(asset.kind)
    if kind is None:
        raise BundleError("it is in a folder that only this server has")
    entry = BundledAsset(hash_text(digest), size, asset.name, kind, asset.path, asset.category)
    archive.check_asset(entry)
    return entry


def _reason(error: Exception) -> str:
    if isinstance(error, ChangedWhileReading):
        return "it changed while it was read"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
