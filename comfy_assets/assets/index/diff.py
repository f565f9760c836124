"""Diff the listing of a folder against its rows. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from ...models import FileStat

# Tells whether a file of this name in this state, or its absence (None), is stable.
IsStable = Callable[[str, FileStat | None], bool]


class KnownFile(NamedTuple):
    """A file row: id, recorded stat, missing mark, and ``name`` for callers that need it."""

    id: int
    stat: FileStat
    missing: bool
    name: str = ""


@dataclass
class FileChanges:
    """Changes that bring the rows of a folder in step with the disk.

    ``new`` files by name; ``changed`` ones have another size or time than recorded; ``back`` ones were missing and
    match their record; ``renumbered`` ones differ in the inode only; ``gone`` ones are not on the disk any more.
    """

    new: dict[str, FileStat] = field(default_factory=dict)
    changed: list[tuple[KnownFile, FileStat]] = field(default_factory=list)
    back: list[tuple[KnownFile, FileStat]] = field(default_factory=list)
    renumbered: list[tuple[KnownFile, FileStat]] = field(default_factory=list)
    gone: list[KnownFile] = field(default_factory=list)


def reconcile(known: dict[str, KnownFile], seen: dict[str, FileStat]) -> FileChanges:
    """Return the changes that turn ``known`` rows into ``seen`` files."""
    changes = FileChanges()
    for name, stat in seen.items():
        row = known.get(name)
        if row is None:
            changes.new[name] = stat
        elif row.stat[:2] != stat[:2]:
            changes.changed.append((row, stat))
        elif row.missing:
            changes.back.append((row, stat))
        elif row.stat[2] != stat[2]:
            changes.renumbered.append((row, stat))
    changes.gone = [row for name, row in known.items() if name not in seen and not row.missing]
    return changes


def defer_unstable(changes: FileChanges, is_stable: IsStable) -> bool:
    """Remove changes that are not stable yet; return whether there were any."""
    new = {name: stat for name, stat in changes.new.items() if is_stable(name, stat)}
    changed = [(row, stat) for row, stat in changes.changed if is_stable(row.name, stat)]
    gone = [row for row in changes.gone if is_stable(row.name, None)]
    held = (len(new), len(changed), len(gone)) != (len(changes.new), len(changes.changed), len(changes.gone))
    changes.new, changes.changed, changes.gone = new, changed, gone
    return held
