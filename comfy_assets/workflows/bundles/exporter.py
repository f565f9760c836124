"""Export a workflow or share into a bundle."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from ... import VERSION
from ...assets.index.content_reader import HashProgress, digest_of
from ...background.cancel import CancelToken, uninterrupted
from ...fs.paths import ChangedWhileReading
from ...ids import hash_text
from ...models import SharedAsset
from . import format, writer
from .collector import BundleContent, RequiredAsset
from .format import BundledAsset, BundleError, BundleKind, Manifest
from .writer import SourceFile

_KINDS: dict[str, BundleKind] = {"models": "models", "input": "input", "output": "output", "temp": "temp"}


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
        return Manifest(format.FORMAT, format.FORMAT_VERSION, made_by, content.workflow, entries)


class BundleExporter:
    """Writes one bundle. ``progress`` counts first the files that are read, then those that are written."""

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
        format.check_manifest(manifest)
        sources = list(plan.sources.values())
        self.progress = HashProgress(len(sources), sum(source.size for source in sources))
        writer.write_bundle(
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
        plan.entries.setdefault(entry.library_path.casefold(), entry)
        if source is not None and with_bytes:
            plan.sources.setdefault(digest, source)

    def _source(self, required: RequiredAsset) -> SourceFile:
        """Return a file with the content, after hashing it if needed. Raises OSError, ChangedWhileReading."""
        asset = required.asset
        for path in required.files:
            try:
                size = path.stat().st_size
            except OSError:
                continue
            digest = asset.hash
            if not digest:
                digest = digest_of(path, size, self._token.check, self.progress.add_bytes)
            elif size != asset.size:
                continue  # another copy may be unchanged; the writer verifies the hash
            return SourceFile(path, format.member_of(digest), size, digest)
        raise FileNotFoundError("its file is missing or is not what it was when the library read it")


def _entry(asset: SharedAsset, digest: bytes, size: int) -> BundledAsset:
    """Return the asset for the manifest. Raises BundleError if its path cannot be in a bundle."""
    kind = _KINDS.get(asset.kind)
    if kind is None:
        raise BundleError("it is in a folder that only this server has")
    entry = BundledAsset(hash_text(digest), size, asset.name, kind, asset.path, asset.category)
    format.check_asset(entry)
    return entry


def _reason(error: Exception) -> str:
    if isinstance(error, ChangedWhileReading):
        return "it changed while it was read"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
