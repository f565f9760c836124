"""Which files hold the same bytes, in how many places on the disk, and which of them to keep. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from ...db.recorded import RecordedFile


@dataclass(frozen=True)
class Seen:
    """A file as the disk shows it: volume and inode of its bytes, how many names those have, and whether the
    file is itself a symbolic link to them."""

    file: RecordedFile
    volume: int
    inode: int
    names: int
    is_symlink: bool


@dataclass(frozen=True)
class Copy:
    """The same bytes once on the disk, under all the names the library knows, symbolic links last.

    ``pinned`` bytes have names that the library does not know as well, so that they stay whatever is done to these.
    """

    volume: int
    mtime_ns: int
    pinned: bool
    files: tuple[RecordedFile, ...]


@dataclass(frozen=True)
class Surplus:
    """A copy that can give way to another on the same volume."""

    copy: Copy
    kept: Copy


@dataclass(frozen=True)
class Group:
    """Copies of one content: those that stay, and those that can be replaced by links to one of them."""

    hash: bytes
    size: int
    kept: tuple[Copy, ...]
    surplus: tuple[Surplus, ...]

    @property
    def reclaimable(self) -> int:
        """The bytes that links would free."""
        return self.size * len(self.surplus)


def group(seen: list[Seen]) -> Group | None:
    """Sort files of equal content into copies; None when it lies on the disk only once."""
    copies = _copies(seen)
    if len(copies) < 2:
        return None
    kept: list[Copy] = []
    surplus: list[Surplus] = []
    by_volume: dict[int, list[Copy]] = defaultdict(list)
    for copy in sorted(copies, key=_order_of_keeping):
        by_volume[copy.volume].append(copy)
    for first, *rest in by_volume.values():
        kept += [first, *(copy for copy in rest if copy.pinned)]
        surplus += [Surplus(copy, first) for copy in rest if not copy.pinned]
    return Group(seen[0].file.hash, seen[0].file.size, tuple(kept), tuple(surplus))


def in_order(groups: Iterable[Group]) -> list[Group]:
    """Those first that links would free most bytes of, then by size and by path."""
    return sorted(groups, key=lambda g: (-g.reclaimable, -g.size, g.kept[0].files[0].folder, g.kept[0].files[0].name))


def _order_of_keeping(copy: Copy) -> tuple[bool, int, str, str]:
    """First what cannot be freed, then what is oldest."""
    return not copy.pinned, copy.mtime_ns, copy.files[0].folder, copy.files[0].name


def _copies(seen: list[Seen]) -> list[Copy]:
    by_place: dict[tuple[int, int], list[Seen]] = defaultdict(list)
    for number, each in enumerate(seen):
        # Where the file system tells no inode, each file has to be taken for bytes of its own.
        by_place[each.volume, each.inode or -number - 1].append(each)
    copies = []
    for (volume, _), same in by_place.items():
        same.sort(key=lambda each: (each.is_symlink, each.file.folder, each.file.name))
        real = sum(not each.is_symlink for each in same)
        files = tuple(each.file for each in same)
        copies.append(Copy(volume, files[0].mtime_ns, same[0].names > real, files))
    return copies
