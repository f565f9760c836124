"""Names in an archive: the folder and name of each file by the chosen strategy. Pure.

Nobody knows where an archive is extracted, so no name leads elsewhere, has characters that some system cannot store, or
differs from another only in case.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Literal

from ...names import UnsafeName, numbered, safe_file_name, split_suffix

NamingStrategy = Literal["group_by_job_id", "group_by_job_time", "preserve", "asset_id"]

PREVIEWS = "previews"
_WITHOUT_JOB = "unknown"
_FALLBACK = "file"
_TIME = "%Y-%m-%dT%H-%M-%S"
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_LAST_MS = 253_402_300_799_000  # the end of the year 9999, the last that datetime knows


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
        return f"{PREVIEWS}/{name}" if file.is_preview else name
    if strategy == "group_by_job_id":
        top = _safe(file.job_id) if file.job_id is not None else _WITHOUT_JOB
    else:
        top = job_folders[file.job_id] if file.job_id is not None else _moment(file.created_at).strftime(_TIME)
    return f"{top}/{PREVIEWS}/{inside}" if file.is_preview else f"{top}/{inside}"


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
