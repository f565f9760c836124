"""Files of equal content: find them, let them share their bytes, and part them again."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from ...background.cancel import CancelToken, uninterrupted
from ...db import files
from ...db import files as file_rows
from ...db.connection import Database
from ...db.files import HashedFile
from ...fs.paths import extended_path
from ...fs.stat import stat_as_recorded
from ...models import FileStat
from ..index.hash_run import HashProgress
from .hardlinks import KeptFile, LinkedCopy, LinkLog, LinkRefusedError, TooManyLinksError, replace_by_link, separate


@dataclass(frozen=True)
class FileOnDisk:
    """A file as the disk shows it: volume and inode of its bytes, how many names those have, and whether the
    file is itself a symbolic link to them."""

    file: HashedFile
    volume: int
    inode: int
    names: int
    is_symlink: bool


@dataclass(frozen=True)
class DuplicateCopy:
    """The same bytes once on the disk, under all the names the library knows, symbolic links last.

    ``pinned`` bytes have names that the library does not know as well, so that they stay whatever is done to these.
    """

    volume: int
    mtime_ns: int
    pinned: bool
    files: tuple[HashedFile, ...]


@dataclass(frozen=True)
class SurplusCopy:
    """A copy that can give way to another on the same volume."""

    copy: DuplicateCopy
    kept: DuplicateCopy


@dataclass(frozen=True)
class DuplicateGroup:
    """Copies of one content: those that stay, and those that can be replaced by links to one of them."""

    hash: bytes
    size: int
    kept: tuple[DuplicateCopy, ...]
    surplus: tuple[SurplusCopy, ...]

    @property
    def reclaimable(self) -> int:
        """The bytes that links would free."""
        return self.size * len(self.surplus)


@dataclass(frozen=True)
class DuplicateReport:
    """The groups, those first of which most can be reclaimed. ``outdated`` files were left out because they are not
    as the library knows them, ``unread`` ones because their content is not known yet."""

    groups: list[DuplicateGroup]
    outdated: int
    unread: int

    @property
    def surplus(self) -> list[SurplusCopy]:
        """The copies that can be replaced by links."""
        return [each for group_copies in self.groups for each in group_copies.surplus]

    @property
    def reclaimable(self) -> int:
        """The bytes that replacing them would free."""
        return sum(group_copies.reclaimable for group_copies in self.groups)


@dataclass(frozen=True)
class SkippedFile:
    """A file that was left as it is, and why."""

    path: str
    reason: str


@dataclass
class LinkOutcome:
    """What became of copies or links: how many were dealt with, their bytes, and which files were left alone.

    ``unchanged`` links had been parted before.
    """

    done: int = 0
    bytes: int = 0
    unchanged: int = 0
    skipped: list[SkippedFile] = field(default_factory=list)
    log: Path | None = None


class Duplicates:
    """Duplicates in a library; undo logs go to ``log_folder``. What can be looked at is what the store knows of."""

    def __init__(self, db: Database, log_folder: Path, token: CancelToken) -> None:
        self._db = db
        self._log_folder = log_folder
        self._token = token
        self.progress = HashProgress(0, 0)
        self.outcome = LinkOutcome()

    async def find(self) -> DuplicateReport:
        """Files that are on record with equal content and on the disk as recorded."""
        candidates = await file_rows.with_equal_content(self._db)
        groups, outdated = await uninterrupted(asyncio.to_thread(_groups, candidates, self._token), self._token)
        unread, _ = await files.pending_totals(self._db)
        return DuplicateReport(groups, outdated, unread)

    async def link(self, surplus: Iterable[SurplusCopy]) -> LinkOutcome:
        """Replace copies by links, each after its bytes were compared again. Raises LogFailed, Cancelled.

        What went wrong with single files is in the outcome, which can also be looked at meanwhile.
        """
        chosen = list(surplus)
        self.progress = HashProgress(len(chosen), sum(_size(each) for each in chosen))
        with LinkLog(self._log_folder) as log:
            try:
                for kept, group_ in groupby(chosen, key=lambda each: each.kept):
                    original = _original(kept.files[0])
                    for each in group_:
                        self._token.check()
                        original = await uninterrupted(self._replace(each.copy, original, log), self._token)
            finally:
                self.outcome.log = log.path
        return self.outcome

    async def _replace(self, copy: DuplicateCopy, original: KeptFile, log: LinkLog) -> KeptFile:
        """Replace one copy under all its names; answers the original for the next one."""
        complete = True
        for file in copy.files:
            path = Path(file.folder, file.name)

            def work(path: Path = path, file: HashedFile = file) -> FileStat:
                pause, count = self._token.check, self.progress.add_bytes
                return replace_by_link(path, file.mtime_ns, original, log.note, pause, count)

            try:
                await self._restamped(work, path, file.mtime_ns)
            except TooManyLinksError:
                return _original(file)
            except (LinkRefusedError, OSError) as error:
                self._skip(path, error)
                complete = False
        self.progress.hashed += 1
        if complete:
            self.outcome.done += 1
            self.outcome.bytes += original.size
        return original

    async def undo(self, entries: Sequence[LinkedCopy]) -> LinkOutcome:
        """Part what a log says was linked. Raises Cancelled; another run then goes on where this one ended."""
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
        """Do the work in a thread, and note the stat that it answers; answers whether it did."""
        stat = await asyncio.to_thread(work)
        if stat is None:
            return False
        async with self._db.transaction() as tx:
            await file_rows.update_stat(tx, str(path.parent), path.name, before_mtime_ns, stat)
        return True

    def status(self) -> dict[str, Any]:
        """How far the work is, as JSON members."""
        return self.progress.as_dict()

    def _skip(self, path: Path, error: Exception) -> None:
        reason = (error.strerror or type(error).__name__) if isinstance(error, OSError) else str(error)
        self.outcome.skipped.append(SkippedFile(str(path), reason))


def _size(surplus: SurplusCopy) -> int:
    return surplus.copy.files[0].size


def _original(file: HashedFile) -> KeptFile:
    return KeptFile(Path(file.folder, file.name), file.size, file.mtime_ns, file.hash)


def _groups(candidates: list[HashedFile], token: CancelToken) -> tuple[list[DuplicateGroup], int]:
    """The groups among files that come sorted by content, and how many of the files are not as recorded."""
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
    """What the disk shows; None when that is not what is on record."""
    path = extended_path(file.folder, file.name)
    info = stat_as_recorded(path, file.size, file.mtime_ns)
    return None if info is None else FileOnDisk(file, info.st_dev, info.st_ino, info.st_nlink, path.is_symlink())


def group_copies(seen: list[FileOnDisk]) -> DuplicateGroup | None:
    """Sort files of equal content into copies; None when it lies on the disk only once."""
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
    """Those first that links would free most bytes of, then by size and by path."""
    return sorted(groups, key=lambda g: (-g.reclaimable, -g.size, g.kept[0].files[0].folder, g.kept[0].files[0].name))


def _order_of_keeping(copy: DuplicateCopy) -> tuple[bool, int, str, str]:
    """First what cannot be freed, then what is oldest."""
    return not copy.pinned, copy.mtime_ns, copy.files[0].folder, copy.files[0].name


def _copies(seen: list[FileOnDisk]) -> list[DuplicateCopy]:
    by_place: dict[tuple[int, int], list[FileOnDisk]] = defaultdict(list)
    for number, each in enumerate(seen):
        # Where the file system tells no inode, each file has to be taken for bytes of its own.
        by_place[each.volume, each.inode or -number - 1].append(each)
    copies = []
    for (volume, _), same in by_place.items():
        same.sort(key=lambda each: (each.is_symlink, each.file.folder, each.file.name))
        real = sum(not each.is_symlink for each in same)
        files = tuple(each.file for each in same)
        copies.append(DuplicateCopy(volume, files[0].mtime_ns, same[0].names > real, files))
    return copies
