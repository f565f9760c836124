"""A workflow handed over: found, with the assets that it needs, and written into a bundle."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import msgspec
from blake3 import blake3

from .. import VERSION
from ..assets.hasher import ChangedWhileReading
from ..assets.hashing import HashProgress
from ..assets.roots import Roots
from ..db import assets, workflows
from ..db.connection import Database
from ..errors import WorkflowNotFoundError
from ..host.base import Host
from ..models import MODEL_TYPE_PREFIX, Asset, Location, Workflow
from ..tasks.cancel import CancelToken, uninterrupted
from . import bundle_writing, bundles
from .bundle_writing import Source
from .bundles import BundledAsset, BundledWorkflow, BundleKind, BundleRefused, Manifest
from .drafts import draft
from .service import WorkflowService

_KINDS: dict[str, BundleKind] = {"models": "models", "input": "input", "output": "output", "temp": "temp"}


@dataclass(frozen=True)
class Subject:
    """What is to be handed over: the workflow as a manifest tells it, its text, and the ids of its assets."""

    workflow: BundledWorkflow
    text: bytes
    owner: str
    asset_ids: Sequence[str]


@dataclass(frozen=True)
class Exported:
    """What was written, and the problems there were: assets whose bytes should be in the bundle and are not."""

    manifest: Manifest
    problems: Sequence[str]


async def find(db: Database, called: str, version: int | None = None) -> Subject:
    """What is meant by an id, a name, or the path of a file in a user's workflows folder.

    Raises WorkflowNotFoundError, WorkflowVersionNotFoundError, and ValueError when several have the name.
    """
    workflow = await _workflow(db, called)
    content = await WorkflowService(db).content(workflow.id, workflow.owner, version)
    named = (await asyncio.to_thread(draft, content.text)).named
    ids = {*content.asset_ids, *await workflows.assets_called(db, workflow.owner, named.files)}
    bundled = BundledWorkflow(
        f"blake3:{blake3(content.text).hexdigest()}",
        len(content.text),
        workflow.name,
        workflow.description,
        workflow.default_view,
        workflow.id,
        content.version.number,
    )
    return Subject(bundled, content.text, workflow.owner, sorted(ids))


async def _workflow(db: Database, called: str) -> Workflow:
    try:
        found = await workflows.get(db, str(uuid.UUID(called)))
    except ValueError:
        found = None
    matches = [found] if found is not None else await workflows.called(db, called)
    if not matches:
        raise WorkflowNotFoundError(f"There is no workflow of the id, name or file {called}.")
    if len(matches) > 1:
        raise ValueError(
            f"several workflows are called {called}; say which by its id: {', '.join(w.id for w in matches)}"
        )
    return matches[0]


class Export:
    """One hand-over. ``progress`` tells how far it is."""

    def __init__(self, db: Database, host: Host, token: CancelToken) -> None:
        self._db = db
        self._host = host
        self._token = token
        self.progress = HashProgress(0, 0)

    async def run(
        self, subject: Subject, out: Path, *, models: bool = False, incomplete: bool = False, force: bool = False
    ) -> Exported:
        """Write the bundle. ``models`` puts their bytes in, ``incomplete`` leaves out what is not there.

        Raises FileExistsError, OSError, ChangedWhileReading, and BundleRefused for what cannot be handed over.
        """
        if not force and await asyncio.to_thread(out.exists):
            raise FileExistsError(f"{out} is there already; --force replaces it")
        found = await assets.get_many(self._db, subject.asset_ids)
        roots = Roots(await asyncio.to_thread(self._host.folders))
        work = asyncio.to_thread(self._write, subject, list(found.values()), roots, out, (models, incomplete, force))
        return await uninterrupted(work, self._token)

    def _write(
        self, subject: Subject, found: Sequence[Asset], roots: Roots, out: Path, options: tuple[bool, bool, bool]
    ) -> Exported:
        models, incomplete, force = options
        self.progress = HashProgress(len(found), sum(asset.size * (2 - (asset.hash is not None)) for asset in found))
        entries: dict[str, BundledAsset] = {}
        sources: dict[bytes, Source] = {}
        problems: list[str] = []
        for asset in found:
            try:
                entry, source = self._entry(asset, roots, with_bytes=models)
            except (OSError, ChangedWhileReading, BundleRefused) as error:
                problems.append(f"{_called(asset)}: {_reason(error)}")
                if (lost := _known(asset, roots)) is not None:
                    entries.setdefault(lost.place.casefold(), lost)
                continue
            entries.setdefault(entry.place.casefold(), entry)
            if source is not None:
                sources.setdefault(source.digest, source)
        if problems and not incomplete:
            raise BundleRefused(
                f"these cannot be read, so nothing was written (--incomplete leaves them out): {'; '.join(problems)}"
            )
        manifest = Manifest(
            bundles.FORMAT,
            bundles.FORMAT_VERSION,
            f"comfy-assets {VERSION}",
            subject.workflow,
            tuple(_with_member(entry, sources) for entry in entries.values()),
        )
        bundles.check(manifest)
        bundle_writing.write(
            out, manifest, subject.text, list(sources.values()),
            force=force, pause=self._token.check, count=self.progress.add_bytes,
        )  # fmt: skip
        return Exported(manifest, problems)

    def _entry(self, asset: Asset, roots: Roots, *, with_bytes: bool) -> tuple[BundledAsset, Source | None]:
        """How the asset is told of, and its file when its bytes are to be in the bundle."""
        if asset.location is None:
            raise FileNotFoundError("no file has its content")
        path = Path(asset.location.folder, asset.location.name)
        size = path.stat().st_size
        digest = asset.hash
        if digest is None or size != asset.size:
            digest = bundle_writing.digest_of(path, size, self._token.check, self.progress.add_bytes)
        entry = _described(asset, asset.location, digest, size, roots)
        if entry.kind == "temp" or (entry.kind == "models" and not with_bytes):
            return entry, None
        return entry, Source(path, bundles.member_of(digest), size, digest)


def _with_member(entry: BundledAsset, sources: dict[bytes, Source]) -> BundledAsset:
    """With its bytes, if they are in the bundle for this or for another of the same content."""
    source = sources.get(entry.digest)
    return entry if source is None else msgspec.structs.replace(entry, member=source.member)


def _known(asset: Asset, roots: Roots) -> BundledAsset | None:
    """What can be said of an asset whose file is away; None when too little is known."""
    if asset.hash is None or asset.location is None:
        return None
    try:
        return _described(asset, asset.location, asset.hash, asset.size, roots)
    except BundleRefused:
        return None


def _described(asset: Asset, location: Location, digest: bytes, size: int, roots: Roots) -> BundledAsset:
    """Raises BundleRefused for a place that no bundle can name."""
    kind = _KINDS.get(location.kind)
    if kind is None:
        raise BundleRefused("it is in no folder that others have")
    place = roots.place(Path(location.folder))
    names = place.category_names if place is not None else []
    if not names and location.loader_prefix is not None:
        tagged = (tag.removeprefix(MODEL_TYPE_PREFIX) for tag in _tags(asset) if tag.startswith(MODEL_TYPE_PREFIX))
        names = sorted(tagged)
    category = names[0] if kind == "models" and names else None
    prefix = location.loader_prefix if category else PurePosixPath(location.logical).relative_to(kind).as_posix()
    path = location.name if prefix in ("", ".", None) else f"{prefix}/{location.name}"
    entry = BundledAsset(f"blake3:{digest.hex()}", size, asset.name[: bundles.MAX_NAME], kind, path, category)
    bundles.check_asset(entry)
    return entry


def _tags(asset: Asset) -> list[str]:
    return msgspec.json.decode(asset.tags, type=list[str])


def _called(asset: Asset) -> str:
    return f"{asset.location.logical}/{asset.location.name}" if asset.location is not None else asset.name


def _reason(error: Exception) -> str:
    if isinstance(error, ChangedWhileReading):
        return "it changed while it was read"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
