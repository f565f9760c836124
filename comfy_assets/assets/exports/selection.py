"""The contents of an export: files of the assets and of jobs' outputs that a user can see."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import zlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from blake3 import blake3

from ... import store_guard
from ...background.tasks import TaskFailedError
from ...db import assets, contents, exports
from ...db.connection import Database
from ...db.exports import ExportedJob
from ...fs.paths import extended
from ...host.base import Host
from ...ids import hash_text
from ...models import Asset, Location
from ..host_files import AssetAliases
from ..prompts.outputs import shown_items
from ..roots import Roots, absolute
from .archive import ExportedFile, NamingStrategy

MAX_FILES = 20_000
_BATCH = 500  # assets read at a time, so that the event loop never waits long
_MAX_RESULT = 2 << 20  # bytes of a job's outputs in which previews are looked for


class ExportSelection(msgspec.Struct, frozen=True, kw_only=True):
    """A request for an export: assets by their ids, and the outputs of jobs.

    ``job_asset_name_filters`` names, for some of the jobs, the only outputs that are wanted: by the asset's name, its
    path in the folder, or its hash. ``include_previews``: also the temporary files that the jobs showed.
    ``announce``: events tell pages of the export.
    """

    asset_ids: tuple[str, ...] = ()
    job_ids: tuple[str, ...] = ()
    naming_strategy: NamingStrategy = "group_by_job_time"
    job_asset_name_filters: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    include_previews: bool = False
    announce: bool = True

    @property
    def key(self) -> str:
        """The same text for the same selection, in any order."""
        ordered = msgspec.structs.replace(
            self, asset_ids=tuple(sorted(self.asset_ids)), job_ids=tuple(sorted(self.job_ids))
        )
        return f"asset_export:{blake3(msgspec.json.encode(ordered, order='sorted')).hexdigest()}"


class FailedAsset(msgspec.Struct, frozen=True, omit_defaults=True):
    """An asset that is not in the archive. ``error`` is ``not_found``, ``content_missing`` or ``fetch_failed``."""

    asset_id: str
    error: str
    job_id: str | None = None
    asset_name: str | None = None
    reason: str | None = None


@dataclass
class CollectedFiles:
    """The files of a selection with their sizes, the assets without one, and the jobs that are not known."""

    files: list[ExportedFile] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    failed: list[FailedAsset] = field(default_factory=list)
    unknown_jobs: list[str] = field(default_factory=list)
    job_times: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _WantedAsset:
    asset: Asset
    job_id: str | None


class ExportCollector:
    """Finds the files of selections."""

    def __init__(
        self, db: Database, host: Host, aliases: AssetAliases, outputs_recorded: Callable[[], Awaitable[None]]
    ) -> None:
        """``outputs_recorded`` waits until the outputs of all ended jobs are assets."""
        self._db = db
        self._host = host
        self._aliases = aliases
        self._outputs_recorded = outputs_recorded

    async def collect(self, selection: ExportSelection, owner: str) -> CollectedFiles:
        """Return the files of a selection, as the user sees it. Raises TaskFailedError if there are too many."""
        found = CollectedFiles()
        if selection.job_ids:
            await self._outputs_recorded()
        jobs = await exports.jobs(self._db, selection.job_ids, owner)
        found.unknown_jobs = [job_id for job_id in selection.job_ids if job_id not in jobs]
        wanted = await self._outputs(selection, list(jobs), owner)
        await self._add_by_id(wanted, selection.asset_ids, owner, found)
        if len(wanted) > MAX_FILES:
            raise TaskFailedError(f"An export can have at most {MAX_FILES:,} files; select fewer.")
        previews = await self._previews(selection, jobs, found) if selection.include_previews else []
        await self._locate(list(wanted.values()), previews, found)
        found.job_times = {job_id: job.created_at for job_id, job in jobs.items()}
        others = {each.job_id for each in found.files if each.job_id is not None} - jobs.keys()
        further = await exports.jobs(self._db, others, owner)
        found.job_times |= {job_id: job.created_at for job_id, job in further.items()}
        return found

    async def _outputs(self, selection: ExportSelection, job_ids: Sequence[str], owner: str) -> dict[str, _WantedAsset]:
        """Return the outputs of the jobs that pass the filters, by the ids of the assets."""
        pairs = await exports.output_ids(self._db, job_ids, owner, MAX_FILES + 1) if job_ids else []
        visible = await self._visible([asset_id for _, asset_id in pairs], owner)
        return await asyncio.to_thread(_filtered, pairs, visible, selection.job_asset_name_filters)

    async def _add_by_id(
        self, wanted: dict[str, _WantedAsset], ids: Sequence[str], owner: str, found: CollectedFiles
    ) -> None:
        """Add the assets of these ids, and the unknown ones to the failures."""
        visible = await self._visible(ids, owner)
        unknown = await asyncio.to_thread(lambda: [asset_id for asset_id in ids if asset_id not in visible])
        if unknown and await self._aliases.learn(unknown):
            visible |= await self._visible(unknown, owner)
        await asyncio.to_thread(_add_wanted, wanted, ids, visible, found)

    async def _visible(self, ids: Sequence[str], owner: str) -> dict[str, Asset]:
        visible: dict[str, Asset] = {}
        distinct = list(dict.fromkeys(ids))
        for first in range(0, len(distinct), _BATCH):
            visible |= await assets.visible(self._db, distinct[first : first + _BATCH], owner)
        return visible

    async def _previews(
        self, selection: ExportSelection, jobs: Mapping[str, ExportedJob], found: CollectedFiles
    ) -> list[ExportedFile]:
        """Return the temporary files that the jobs showed, without looking whether they exist."""
        temp = self._host.folders().temp
        previews: list[ExportedFile] = []
        for job_id, job in jobs.items() if temp is not None else ():
            result = await exports.results(self._db, job.row_id)
            names = selection.job_asset_name_filters.get(job_id)
            shown = await asyncio.to_thread(_temporary_files, result) if result is not None else []
            if shown is None:
                found.failed.append(FailedAsset("", "fetch_failed", job_id, reason="its outputs cannot be read"))
                continue
            for subfolder, name in shown:
                if temp is not None and (names is None or name in names):
                    previews.append(
                        ExportedFile(temp / subfolder / name, subfolder, name, job.created_at, None, job_id)
                    )
            if len(previews) > MAX_FILES:
                raise TaskFailedError(f"An export can have at most {MAX_FILES:,} previews; select fewer.")
        return previews

    async def _locate(
        self, wanted: Sequence[_WantedAsset], previews: Sequence[ExportedFile], found: CollectedFiles
    ) -> None:
        """Add the files that exist; a file elsewhere with the same content serves for one that is missing."""
        lookup = _LibraryFiles(self._host)
        there = await asyncio.to_thread(lambda: [lookup.find(each.asset.location) for each in wanted])
        for index, each in enumerate(wanted):
            if there[index] is None and each.asset.hash is not None:
                other = await contents.stand_in(self._db, each.asset.hash)
                there[index] = await asyncio.to_thread(lookup.find, other)
        await asyncio.to_thread(_add_files, found, wanted, there)
        for file, size in await asyncio.to_thread(lambda: list(lookup.temporary(previews))):
            found.files.append(file)
            found.sizes.append(size)


def _filtered(
    pairs: Iterable[tuple[str, str]], visible: Mapping[str, Asset], filters: Mapping[str, Sequence[str]]
) -> dict[str, _WantedAsset]:
    """Return the outputs (pairs of a job and an asset) that pass the filters of their jobs, by the ids of assets."""
    wanted: dict[str, _WantedAsset] = {}
    for job_id, asset_id in pairs:
        asset = visible.get(asset_id)
        if asset is not None and _passes(asset, filters.get(job_id)):
            wanted.setdefault(asset.id, _WantedAsset(asset, job_id))
    return wanted


def _add_wanted(
    wanted: dict[str, _WantedAsset], ids: Iterable[str], visible: Mapping[str, Asset], found: CollectedFiles
) -> None:
    """Add the assets of these ids that are visible, and the others to the failures."""
    for asset_id in ids:
        asset = visible.get(asset_id)
        if asset is None:
            found.failed.append(FailedAsset(asset_id, "not_found"))
        else:
            wanted.setdefault(asset.id, _WantedAsset(asset, asset.job_id))


def _add_files(found: CollectedFiles, wanted: Iterable[_WantedAsset], there: Iterable[tuple[Path, int] | None]) -> None:
    """Add the assets with the paths and sizes of their files, or to the failures without one."""
    for each, file in zip(wanted, there, strict=True):
        asset = each.asset
        if file is None:
            found.failed.append(FailedAsset(asset.id, "content_missing", each.job_id, asset.name))
            continue
        path, size = file
        folder = asset.location.logical.partition("/")[2] if asset.location is not None else ""
        found.files.append(ExportedFile(path, folder, asset.name, asset.created_at, asset.id, each.job_id))
        found.sizes.append(size)


def _passes(asset: Asset, names: Iterable[str] | None) -> bool:
    if names is None:
        return True
    known = {asset.name}
    if asset.location is not None:
        folder = asset.location.logical.partition("/")[2]
        known |= {asset.location.name, f"{folder}/{asset.location.name}" if folder else asset.location.name}
        known.add(f"{folder}/{asset.name}" if folder else asset.name)
    if asset.hash is not None:
        known.add(hash_text(asset.hash))
    return not known.isdisjoint(names)


def _temporary_files(result: bytes) -> list[tuple[str, str]] | None:
    """Return subfolder and name of each temporary file in a job's outputs; None if these cannot be read. Blocks."""
    unpacker = zlib.decompressobj()
    text = unpacker.decompress(result, _MAX_RESULT)
    if unpacker.unconsumed_tail:
        return None
    try:
        outputs = json.loads(text).get("outputs")
    except (ValueError, RecursionError):
        return None
    found: dict[tuple[str, str], None] = {}
    for _, item in shown_items(outputs) if isinstance(outputs, dict) else ():
        if isinstance(item, dict) and item.get("type") == "temp":
            subfolder, name = item.get("subfolder") or "", item.get("filename")
            if isinstance(subfolder, str) and isinstance(name, str) and name:
                found[subfolder, name] = None
    return list(found)


class _LibraryFiles:
    """Finds files that are in the folders of the library as configured now. Blocks."""

    def __init__(self, host: Host) -> None:
        self._roots = Roots(host.folders())

    def find(self, location: Location | None) -> tuple[Path, int] | None:
        """Return the path and the size of the file at a location, or None."""
        if location is None or location.missing:
            return None
        path = Path(location.folder) / location.name
        if self._roots.place(absolute(path.parent)) is None:
            return None
        size = _size_of(path)
        return None if size is None else (path, size)

    def temporary(self, previews: Iterable[ExportedFile]) -> Iterable[tuple[ExportedFile, int]]:
        """Yield the temporary files that exist, with their sizes. Nodes may have named files anywhere."""
        for file in previews:
            place = self._roots.place(absolute(file.path.parent))
            size = _size_of(file.path) if place is not None and place.kind == "temp" else None
            if size is not None:
                yield file, size


def _size_of(path: Path) -> int | None:
    try:
        info = os.stat(extended(str(path)))  # noqa: PTH116 - called for every file
    except (OSError, ValueError):
        return None
    return info.st_size if stat.S_ISREG(info.st_mode) and not store_guard.is_open_store_file(info) else None
