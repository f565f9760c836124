"""A share or workflow written into a bundle, with the bytes that are wanted, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from ... import VERSION
from ...assets.index.content_reader import digest_of
from ...assets.index.hash_run import HashProgress
from ...background.cancel import CancelToken, uninterrupted
from ...fs.stat import ChangedWhileReading
from ...ids import hash_text
from ...models import SharedAsset
from . import format, writer
from .collector import Needed, Subject
from .format import BundledAsset, BundleKind, BundleRefused, Manifest
from .writer import Source

_KINDS: dict[str, BundleKind] = {"models": "models", "input": "input", "output": "output", "temp": "temp"}


@dataclass(frozen=True)
class Wanted:
    """``models``: with the models' bytes; ``incomplete``: although files are away; ``force``: over what is there."""

    models: bool = False
    incomplete: bool = False
    force: bool = False


@dataclass(frozen=True)
class Exported:
    """What was written, and what should be in the bundle and is not."""

    manifest: Manifest
    problems: Sequence[str]


@dataclass
class _Contents:
    """What is to be written: assets by place, files by content, and the problems met."""

    entries: dict[str, BundledAsset] = field(default_factory=dict)
    sources: dict[bytes, Source] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def manifest(self, subject: Subject) -> Manifest:
        """The manifest of all this; bytes that are there for one asset are there for all of the same content."""
        found = tuple(
            msgspec.structs.replace(entry, member=self.sources[entry.digest].member)
            if entry.digest in self.sources
            else entry
            for entry in self.entries.values()
        )
        made_by = f"comfy-assets {VERSION}"
        return Manifest(format.FORMAT, format.FORMAT_VERSION, made_by, subject.workflow, found)


class Export:
    """One hand-over. ``progress`` tells how far it is."""

    def __init__(self, token: CancelToken) -> None:
        self._token = token
        self.progress = HashProgress(0, 0)

    async def run(self, subject: Subject, out: Path, wanted: Wanted) -> Exported:
        """Write the bundle.

        Raises FileExistsError, OSError, ChangedWhileReading, Cancelled, and BundleRefused for what cannot be handed
        over; then there is no bundle.
        """
        return await uninterrupted(asyncio.to_thread(self._run, subject, out, wanted), self._token)

    def _run(self, subject: Subject, out: Path, wanted: Wanted) -> Exported:
        if not wanted.force and out.exists():
            raise FileExistsError(f"{out} is there already; --force replaces it")
        self.progress = HashProgress(len(subject.needed), sum(each.asset.size for each in subject.needed))
        found = _Contents()
        for needed in subject.needed:
            self._add(needed, found, wanted)
        if found.problems and not wanted.incomplete:
            raise BundleRefused(f"nothing was written (--incomplete leaves these out): {'; '.join(found.problems)}")
        manifest = found.manifest(subject)
        format.check(manifest)
        sources = list(found.sources.values())
        self.progress = HashProgress(len(sources), sum(source.size for source in sources))
        writer.write(
            out, manifest, subject.text, sources,
            force=wanted.force, pause=self._token.check, count=self.progress.add_bytes,
        )  # fmt: skip
        return Exported(manifest, found.problems)

    def _add(self, needed: Needed, found: _Contents, wanted: Wanted) -> None:
        """Add an asset: with its bytes where they are wanted, and without where they are not or cannot be had."""
        asset = needed.asset
        with_bytes = asset.kind in ("input", "output") or (asset.kind == "models" and wanted.models)
        try:
            source = self._source(needed) if with_bytes or not asset.hash else None
        except (OSError, ChangedWhileReading) as error:
            found.problems.append(f"{asset.kind}/{asset.path}: {_reason(error)}")
            source = None
        digest, size = (source.digest, source.size) if source is not None else (asset.hash, asset.size)
        if not digest:
            return
        try:
            entry = _entry(asset, digest, size)
        except BundleRefused as error:
            found.problems.append(f"{asset.path}: {error}")
            return
        found.entries.setdefault(entry.place.casefold(), entry)
        if source is not None and with_bytes:
            found.sources.setdefault(digest, source)

    def _source(self, needed: Needed) -> Source:
        """A file with the content; that is read when nobody has before. Raises OSError, ChangedWhileReading."""
        asset = needed.asset
        for path in needed.files:
            try:
                size = path.stat().st_size
            except OSError:
                continue
            digest = asset.hash
            if not digest:
                digest = digest_of(path, size, self._token.check, self.progress.add_bytes)
            elif size != asset.size:
                continue
            return Source(path, format.member_of(digest), size, digest)
        raise FileNotFoundError("its file is not there, or is not what it was when the library read it")


def _entry(asset: SharedAsset, digest: bytes, size: int) -> BundledAsset:
    """Raises BundleRefused for a place that no bundle names."""
    kind = _KINDS.get(asset.kind)
    if kind is None:
        raise BundleRefused("it is in no folder that others have")
    entry = BundledAsset(hash_text(digest), size, asset.name, kind, asset.path, asset.category)
    format.check_asset(entry)
    return entry


def _reason(error: Exception) -> str:
    if isinstance(error, ChangedWhileReading):
        return "it changed while it was read"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
