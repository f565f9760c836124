"""What is to be done that a user's workflows and their files are one and the same again. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ..db.workflow_files import FileRow
from .drafts import Draft
from .folder import UNSURE, Listing, Stamp


@dataclass
class Differences:
    """``changed`` workflows have a file that is not as it was last seen, ``appeared`` are paths of files that no
    workflow is, ``vanished`` workflows have a file no more, of ``unwritten`` ones it is still to be written, and of
    ``misnamed`` ones to be renamed.

    ``is_away`` tells that nothing can be said of the folder, nor be written into it.
    """

    changed: list[FileRow] = field(default_factory=list)
    appeared: list[str] = field(default_factory=list)
    vanished: list[FileRow] = field(default_factory=list)
    unwritten: list[FileRow] = field(default_factory=list)
    misnamed: list[FileRow] = field(default_factory=list)
    is_away: bool = False


def compare(rows: Iterable[FileRow], listing: Listing) -> Differences:
    """The differences between an owner's workflows and a listing of their folder."""
    found = Differences()
    paths: set[str] = set()
    was_written = 0
    for row in rows:
        paths.add(row.path or "")
        was_written += row.version is not None
        stamp = listing.files.get(row.path) if row.path is not None else None
        if stamp is not None and stamp != (row.size, row.mtime_ns):
            found.changed.append(row)
        elif stamp is None and row.version is not None:
            found.vanished.append(row)
        if row.version < row.latest if row.version is not None else stamp is None:
            found.unwritten.append(row)
        if row.is_misnamed and (stamp is not None or row.version is None):
            found.misnamed.append(row)
    found.vanished = [row for row in found.vanished if row.path is not None and listing.knows(row.path)]
    # Last those that were merely seen too early after a change.
    found.changed.sort(key=lambda row: row.mtime_ns == UNSURE and listing.files[str(row.path)].size == row.size)
    found.appeared = [path for path in listing.files if path not in paths]
    _freeze(found, listing, was_written)
    return found


def _freeze(found: Differences, listing: Listing, was_written: int) -> None:
    """Take no notice of what a disk that is away, or an empty mount point, seems to tell."""
    found.is_away = bool(was_written) and not listing.knows("")
    if found.is_away or (was_written > 1 and not listing.files):
        found.is_away, found.vanished, found.unwritten, found.misnamed = True, [], [], []


def find_moved(appeared: Draft, vanished: Sequence[FileRow]) -> FileRow | None:
    """The workflow whose file was given another path, if a file that appeared is that."""
    for row in vanished:
        if appeared.document.hash in (row.hash, row.held_hash):
            return row
    for row in vanished:
        if appeared.graph_id is not None and row.graph_id == appeared.graph_id:
            return row
    return None


def is_same(stamp: Stamp | None, row: FileRow) -> bool:
    """Whether a file is as it was last seen."""
    return stamp == (row.size, row.mtime_ns)
