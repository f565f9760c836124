"""Compare what lies in a folder with what the store knows of it. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from ...models import FileStat

# Whether a file of this name that looks like this, or its absence (None), is there to stay.
Belief = Callable[[str, FileStat | None], bool]


class KnownFile(NamedTuple):
    """A file row: its id, what it looked like, and whether it is marked missing; ``name`` where that is asked for."""

    id: int
    stat: FileStat
    missing: bool
    name: str = ""


@dataclass
class Changes:
    """What has to change so that the store says what the disk says.

    ``new`` by name; ``changed`` have another size or time than known; ``back`` were missing and look the same
    as before; ``renumbered`` differ in the inode alone; ``gone`` are known and no longer there.
    """

    new: dict[str, FileStat] = field(default_factory=dict)
    changed: list[tuple[KnownFile, FileStat]] = field(default_factory=list)
    back: list[tuple[KnownFile, FileStat]] = field(default_factory=list)
    renumbered: list[tuple[KnownFile, FileStat]] = field(default_factory=list)
    gone: list[KnownFile] = field(default_factory=list)


def reconcile(known: dict[str, KnownFile], seen: dict[str, FileStat]) -> Changes:
    """The changes that turn ``known`` into ``seen``."""
    changes = Changes()
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


def hold_back(changes: Changes, believe: Belief) -> bool:
    """Take out what is not to be believed yet; answers whether there was anything such."""
    new = {name: stat for name, stat in changes.new.items() if believe(name, stat)}
    changed = [(row, stat) for row, stat in changes.changed if believe(row.name, stat)]
    gone = [row for row in changes.gone if believe(row.name, None)]
    held = (len(new), len(changed), len(gone)) != (len(changes.new), len(changes.changed), len(changes.gone))
    changes.new, changes.changed, changes.gone = new, changed, gone
    return held
