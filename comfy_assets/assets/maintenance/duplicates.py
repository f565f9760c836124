"""Duplicate files: find them, replace copies by hard links, and undo that."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from ...background.interruption import CancelToken, uninterrupted
from ...db import files
from ...db.connection import Database
from ...db.files import HashedFile
from ...fs.paths import extended_path, stat_as_recorded
from ...models import FileStat
from ..index.content_reader import HashProgress
from .hardlinks import KeptFile, LinkedCopy, LinkLog, LinkRefusedError, TooManyLinksError, replace_by_link, separate


@dataclass(frozen=True)
class FileOnDisk:
    """A recorded file with its state on the disk: volume, inode, and the number of hard links of that inode."""

    file: HashedFile
    volume: int
    inode: int
    names: int
    is_symlink: bool


@dataclass(frozen=True)
class DuplicateCopy:
    """One inode with all its names in the library, symbolic links last.

    A ``pinned`` inode also has names outside the library, so replacing its names by links would free nothing.
    """

    volume: int
    mtime_ns: int
    pinned: bool
    files: tuple[HashedFile, ...]


@dataclass(frozen=True)
class SurplusCopy:
    """A copy that can be replaced by links to another one on the same volume."""

    copy: DuplicateCopy
    kept: DuplicateCopy


@dataclass(frozen=True)
class DuplicateGroup:
    """Copies of one content: those to keep, and those that can be replaced by links to them."""

    hash: bytes
    size: int
    kept: tuple[DuplicateCopy, ...]
    surplus: tuple[SurplusCopy, ...]

    @property
    def reclaimable(self) -> int:
        """Bytes that links would free."""
        return self.size * len(self.surplus)


@dataclass(frozen=True)
class DuplicateReport:
    """Groups of duplicates, the largest savings first.

    ``outdated`` counts files that were left out because they changed since they were read, ``unread`` those whose
    content is not known yet.
    """

    groups: list[DuplicateGroup]
    outdated: int
    unread: int

    @property
    def surplus(self) -> list[SurplusCopy]:
        """All copies that can be replaced by links."""
        return [each for group_copies in self.groups for each in group_copies.surplus]

    @property
    def reclaimable(self) -> int:
        """Bytes that replacing them would free."""
        return sum(group_copies.reclaimable for group_copies in self.groups)


@dataclass(frozen=True)
class SkippedFile:
    """A file that was not changed, and the reason."""

    path: str
    reason: str


@dataclass
class LinkOutcome:
    """Result of linking copies or of undoing links; ``bytes`` is the total size of the ``done`` files.

    ``unchanged`` counts links that had been undone before.
    """

    done: int = 0
    bytes: int = 0
    unchanged: int = 0
    skipped: list[SkippedFile] = field(default_factory=list)
    log: Path | None = None


class Duplicates:
    """Finds and links duplicates among the recorded files. Undo logs are written to ``log_folder``."""

    def __init__(self, db: Database, log_folder: Path, token: CancelToken) -> None:
        self._db = db
        self._log_folder = log_folder
        self._token = token
        self.progress = HashProgress(0, 0)
        self.outcome = LinkOutcome()

    async def find(self) -> DuplicateReport:
        """Find files with equal recorded content that are unchanged on the disk."""
        # Every state on the disk is asked again, because files may have changed since they were hashed.
        candidates = await files.with_equal_content(self._db)
        groups, outdated = await uninterrupted(asyncio.to_thread(_groups, candidates, self._token), self._token)
        unread, _ = await files.pending_totals(self._db)
        return DuplicateReport(groups, outdated, unread)

    async def link(self, surplus: Iterable[SurplusCopy]) -> LinkOutcome:
        """Replace copies by links, each after another comparison of its bytes. Raises LinkLogError, Cancelled.

        Errors of single files are in ``outcome``, which may also be read meanwhile.
        """
        chosen = list(surplus)
        self.progress = HashProgress(len(chosen), sum(_size(each) for each in chosen))
        with LinkLog(self._log_folder) as log:
            try:
                # Copies of one content come one after another and are linked to the same file.
                for kept, group_ in groupby(chosen, key=lambda each: each.kept):
                    original = _original(kept.files[0])
                    for each in group_:
                        self._token.check()
                        original = await uninterrupted(self._replace(each.copy, original, log), self._token)
            finally:
                self.outcome.log = log.path
        return self.outcome

    async def _replace(self, copy: DuplicateCopy, original: KeptFile, log: LinkLog) -> KeptFile:
        """Replace one copy under all its names; return the file to link the next copy to."""
        complete = True
        for file in copy.files:
            path = Path(file.folder, file.name)

            def work(path: Path = path, file: HashedFile = file) -> FileStat:
                pause, count = self._token.check, self.progress.add_bytes
                return replace_by_link(path, file.mtime_ns, original, log.note, pause, count)

            try:
                await self._restamped(work, path, file.mtime_ns)
            except TooManyLinksError:
                return _original(file)  # this copy stays, and the next ones are linked to it
            except (LinkRefusedError, OSError) as error:
                self._skip(path, error)
                complete = False
        self.progress.hashed += 1
        if complete:
            self.outcome.done += 1
            self.outcome.bytes += original.size
        return original

    async def undo(self, entries: Sequence[LinkedCopy]) -> LinkOutcome:
        """Turn the links of a log into copies again. Raises Cancelled; another run continues from there."""
        self.progress = HashProgress(len(entries), sum(entry.size for entry in entries))
        for entry in entries:
            self._token.check()
            await uninterrupted(self._part(entry), self._token)
        return self.outcome

    async def _part(self, entry: LinkedCopy) -> None:
        path = Path(entry.path)

        def work() -> FileStat | None:
            return separate(entry, self._token.check, self.progress.add_bytes)

        self.progress.hashed += 1
        try:
            parted = await self._restamped(work, path, entry.linked_mtime_ns)
        except (LinkRefusedError, OSError) as error:
            self._skip(path, error)
        else:
            self.outcome.done += parted
            self.outcome.bytes += entry.size if parted else 0
            self.outcome.unchanged += not parted

    async def _restamped(self, work: Callable[[], FileStat | None], path: Path, before_mtime_ns: int) -> bool:
        """Do the work in a thread and record the stat that it returns; return False if it returned None."""
        stat = await asyncio.to_thread(work)
        if stat is None:
            return False
        # The path has another time and inode now: without this, the next scan would take it for another file.
        async with self._db.transaction() as tx:
            await files.update_stat(tx, str(path.parent), path.name, before_mtime_ns, stat)
        return True

    def status(self) -> dict[str, Any]:
        """Return the progress as JSON members."""
        return self.progress.as_dict()

    def _skip(self, path: Path, error: Exception) -> None:
        reason = (error.strerror or type(error).__name__) if isinstance(error, OSError) else str(error)
        self.outcome.skipped.append(SkippedFile(str(path), reason))


def _size(surplus: SurplusCopy) -> int:
    return surplus.copy.files[0].size


def _original(file: HashedFile) -> KeptFile:
    return KeptFile(Path(file.folder, file.name), file.size, file.mtime_ns, file.hash)


def _groups(candidates: list[HashedFile], token: CancelToken) -> tuple[list[DuplicateGroup], int]:
    """Return the groups among files sorted by content, and the number of files that have changed."""
    found: list[DuplicateGroup] = []
    outdated = 0
    for _, same in groupby(candidates, key=lambda file: file.hash):
        token.check()
        looked_at = [_examine(file) for file in same]
        seen = [each for each in looked_at if each is not None]
        outdated += len(looked_at) - len(seen)
        copies = group_copies(seen)
        if copies is not None:
            found.append(copies)
    return sort_groups(found), outdated


def _examine(file: HashedFile) -> FileOnDisk | None:
    """Return the file's state on the disk, or None if the file has changed."""
    path = extended_path(file.folder, file.name)
    info = stat_as_recorded(path, file.size, file.mtime_ns)
    return None if info is None else FileOnDisk(file, info.st_dev, info.st_ino, info.st_nlink, path.is_symlink())


def group_copies(seen: list[FileOnDisk]) -> DuplicateGroup | None:
    """Sort files of equal content into copies to keep and to replace; return None for a single copy."""
    copies = _copies(seen)
    if len(copies) < 2:
        return None
    kept: list[DuplicateCopy] = []
    surplus: list[SurplusCopy] = []
    by_volume: dict[int, list[DuplicateCopy]] = defaultdict(list)
    for copy in sorted(copies, key=_order_of_keeping):
        by_volume[copy.volume].append(copy)
    for first, *rest in by_volume.values():
        kept += [first, *(copy for copy in rest if copy.pinned)]
        surplus += [SurplusCopy(copy, first) for copy in rest if not copy.pinned]
    return DuplicateGroup(seen[0].file.hash, seen[0].file.size, tuple(kept), tuple(surplus))


def sort_groups(groups: Iterable[DuplicateGroup]) -> list[DuplicateGroup]:
    """Sort groups by reclaimable bytes, then by size, both descending, then by path."""
    return sorted(groups, key=lambda g: (-g.reclaimable, -g.size, g.kept[0].files[0].folder, g.kept[0].files[0].name))


def _order_of_keeping(copy: DuplicateCopy) -> tuple[bool, int, str, str]:
    """Return a sort key: pinned copies first, because they stay anyway, then the oldest."""
    return not copy.pinned, copy.mtime_ns, copy.files[0].folder, copy.files[0].name


def _copies(seen: list[FileOnDisk]) -> list[DuplicateCopy]:
    by_place: dict[tuple[int, int], list[FileOnDisk]] = defaultdict(list)
    for number, each in enumerate(seen):
        # Without inodes, as on some network drives, each file counts as a copy of its own.
        by_place[each.volume, each.inode or -number - 1].append(each)
    copies = []
    for (volume, _), same in by_place.items():
        same.sort(key=lambda each: (each.is_symlink, each.file.folder, each.file.name))
        real = sum(not each.is_symlink for each in same)
        files = tuple(each.file for each in same)
        copies.append(DuplicateCopy(volume, files[0].mtime_ns, same[0].names > real, files))
    return copies
