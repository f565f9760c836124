"""Insert rows for folders, new files, and files whose content is known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec

from ...db import assets, files, tags
from ...db.assets import NewAsset
from ...db.connection import Transaction
from ...db.contents import Facts
from ...db.files import FileGroup, FolderRow, NewFileRow
from ...db.tags import TagSet
from ...ids import now_ms
from ...models import FileStat
from ..media.mime import guess_mime
from ..roots import Place


@dataclass(frozen=True)
class CompleteFile:
    """A file with its folder, name, stat and content."""

    folder: Path
    place: Place
    name: str
    stat: FileStat
    facts: Facts


class NewFile(NamedTuple):
    """A file whose content is not known yet, in a folder given by its row id."""

    folder_id: int
    name: str
    place: Place
    stat: FileStat


async def add_new(tx: Transaction, found: Iterable[NewFile]) -> None:
    """Add files as new assets. There must be no rows at their paths yet."""
    tagged = [(file, TagSet("", file.place.tags_of(file.name))) for file in found]
    sets = await tags.intern_all(tx, {wanted for _, wanted in tagged})
    groups: dict[FileGroup, int] = {}
    rows: list[NewFileRow] = []
    for file, wanted in tagged:
        group = FileGroup(file.folder_id, sets[wanted], guess_mime(file.name))
        at = groups.setdefault(group, len(groups))
        rows.append((at, file.name, file.name.casefold(), *file.stat))
    if rows:
        await files.insert_new(tx, list(groups), rows, now_ms())


async def register(tx: Transaction, entry: NewAsset, file: CompleteFile) -> int:
    """Add a file as an asset and return its row id. There must be no row at its path yet."""
    row_id = await assets.add(tx, entry, file.facts.size, file.facts)
    await assets.put_file(tx, row_id, folder_row(file.folder, file.place), file.name, file.stat)
    return row_id


def folder_row(folder: Path | str, place: Place, fingerprint: bytes | None = None) -> FolderRow:
    """Return the row of a folder. Without a fingerprint the next scan compares its files one by one."""
    categories = msgspec.json.encode(place.category_names).decode()
    prefixes = msgspec.json.encode(dict(place.loader_prefixes)).decode() if place.loader_prefixes else None
    return FolderRow(
        str(folder),
        place.kind,
        place.logical,
        place.loader_prefix,
        categories,
        place.key,
        fingerprint,
        loader_prefixes=prefixes,
    )
