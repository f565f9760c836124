"""The contents of an export: files of the assets and of jobs' outputs that a user can see, and their names there.

A strategy chooses the names. Nobody knows where an archive is extracted, so no name leads elsewhere, has characters
that some system cannot store, or differs from another only in case.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import stat
import zlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Literal

import msgspec
from blake3 import blake3

from .. import store_guard
from ..background.tasks import TaskFailedError
from ..db import assets, contents, exports
from ..db.connection import Database
from ..db.exports import ExportedJob
from ..fs.paths import extended
from ..host.base import Host
from ..ids import hash_text
from ..models import Asset, Location
from ..names import UnsafeName, numbered, safe_file_name, split_suffix
from .host_files import AssetAliases
from .prompts.outputs import shown_items
from .roots import Roots, absolute

NamingStrategy = Literal["group_by_job_id", "group_by_job_time", "preserve", "asset_id"]

MAX_FILES = 20_000
_BATCH = 500  # assets read at a time, so that the event loop never waits long
_MAX_RESULT = 2 << 20  # bytes of a job's outputs in which previews are looked for
_PREVIEWS = "previews"  # the folder of temporary files
_WITHOUT_JOB = "unknown"
_FALLBACK = "file"
_TIME = "%Y-%m-%dT%H-%M-%S"
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_LAST_MS = 253_402_300_799_000  # the end of the year 9999, the last that datetime knows


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


@dataclass(frozen=True)
class ExportedFile:
    """A file to export. ``folder`` is its path below the input, output or model folder, "" at its top.

    ``name`` is the asset's name, ``created_at`` its time (ms). A temporary preview has no asset, but its job.
    """

    path: Path
    folder: str
    name: str
    created_at: int
    asset_id: str | None = None
    job_id: str | None = None

    @property
    def is_preview(self) -> bool:
        """True for a temporary file that a job showed."""
        return self.asset_id is None


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


def member_names(found: Sequence[ExportedFile], strategy: NamingStrategy, job_times: Mapping[str, int]) -> list[str]:
    """Return the name of each file in the archive. ``job_times`` are times of creation (ms) of the known jobs."""
    folders = _job_folders(found, job_times) if strategy == "group_by_job_time" else {}
    used: dict[str, int] = {}
    return [_unique(_name(file, strategy, folders), used) for file in found]


def _name(file: ExportedFile, strategy: NamingStrategy, job_folders: Mapping[str, str]) -> str:
    inside = "/".join([*_safe_parts(file.folder), _safe(_with_suffix(file))])
    if strategy == "preserve":
        return inside
    if strategy == "asset_id":
        name = f"{file.asset_id}{split_suffix(file.path.name)[1]}" if file.asset_id is not None else inside
        return f"{_PREVIEWS}/{name}" if file.is_preview else name
    if strategy == "group_by_job_id":
        top = _safe(file.job_id) if file.job_id is not None else _WITHOUT_JOB
    else:
        top = job_folders[file.job_id] if file.job_id is not None else _moment(file.created_at).strftime(_TIME)
    return f"{top}/{_PREVIEWS}/{inside}" if file.is_preview else f"{top}/{inside}"


def _with_suffix(file: ExportedFile) -> str:
    """Return the asset's name; one without a suffix gets that of the file, by which systems know its type."""
    return file.name if split_suffix(file.name)[1] else file.name + split_suffix(file.path.name)[1]


def _job_folders(found: Iterable[ExportedFile], job_times: Mapping[str, int]) -> dict[str, str]:
    """Return a folder for each job: the second of its creation, or the next free one, in UTC.

    A job that is not known any more is named by the earliest of its files.
    """
    earliest: dict[str, int] = {}
    for file in found:
        if file.job_id is not None:
            earliest[file.job_id] = min(earliest.get(file.job_id, file.created_at), file.created_at)
    times = {job_id: job_times.get(job_id, at) for job_id, at in earliest.items()}
    folders: dict[str, str] = {}
    used: set[datetime] = set()
    for job_id, at in sorted(times.items(), key=lambda entry: (entry[1], entry[0])):
        moment = _moment(at)
        while moment in used:
            moment += timedelta(seconds=1)
        used.add(moment)
        folders[job_id] = moment.strftime(_TIME)
    return folders


def _moment(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(seconds=max(0, min(milliseconds, _LAST_MS)) // 1000)


def _safe_parts(folder: str) -> list[str]:
    return [_safe(part) for part in re.split(r"[/\\]", folder) if part.strip(" ") not in ("", ".", "..")]


def _safe(name: str) -> str:
    """Return the name as every system can store it."""
    plain = re.sub(r"[/\\]", "_", name.replace("\0", "_"))
    try:
        return safe_file_name(plain, fallback=_FALLBACK)
    except UnsafeName:  # a drive letter, ".." or a lone surrogate
        return safe_file_name("_" + plain.encode(errors="replace").decode().replace(":", "_"), fallback=_FALLBACK)


def _unique(name: str, used: dict[str, int]) -> str:
    """Return the name, numbered if it was used before. ``used`` has the next number of each name, case-folded."""
    key = name.casefold()
    if key not in used:
        used[key] = 1
        return name
    folder, slash, last = name.rpartition("/")
    while True:
        candidate = f"{folder}{slash}{numbered(last, used[key])}"
        used[key] += 1
        if candidate.casefold() not in used:
            used[candidate.casefold()] = 1
            return candidate
