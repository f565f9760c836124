"""How a folder is described in the store, and assets of files of which all is known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from ..db import entries
from ..db.connection import Transaction
from ..db.contents import Facts
from ..db.entries import NewEntry
from ..db.folders import FolderRow
from ..models import FileStat
from .roots import Place


@dataclass(frozen=True)
class CompleteFile:
    """A file of the library: the folder it is in, as described by its place, its name, stat and content."""

    folder: Path
    place: Place
    name: str
    stat: FileStat
    facts: Facts


async def register(tx: Transaction, entry: NewEntry, file: CompleteFile) -> int:
    """Add the file as an asset; answers its row id. There must be no row yet for a file in that place."""
    row_id = await entries.add(tx, entry, file.facts.size, file.facts)
    await entries.put_file(tx, row_id, folder_row(file.folder, file.place), file.name, file.stat)
    return row_id


def folder_row(folder: Path | str, place: Place, fingerprint: bytes | None = None) -> FolderRow:
    """The row that describes a folder. Without a fingerprint the next scan compares its files one by one."""
    categories = msgspec.json.encode(place.category_names).decode()
    return FolderRow(str(folder), place.kind, place.logical, place.loader_prefix, categories, place.key, fingerprint)
