"""How a folder is described in the store, and assets of files of which all is known."""

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
from ...db.files import NewFiles
from ...db.folders import FolderRow
from ...ids import new_ids, now_ms
from ...models import FileStat
from ..media.mime import guess_mime
from ..roots import Place


@dataclass(frozen=True)
class CompleteFile:
    """A file of the library: the folder it is in, as described by its place, its name, stat and content."""

    folder: Path
    place: Place
    name: str
    stat: FileStat
    facts: Facts


class NewFile(NamedTuple):
    """A file that is there, of which nothing more is known: a folder's row id, a name, what the place says, a stat."""

    folder_id: int
    name: str
    place: Place
    stat: FileStat


async def add_new(tx: Transaction, found: Iterable[NewFile]) -> None:
    """Add files as assets of their own, as a scan does. There must be no rows yet for files in those places."""
    groups: dict[tuple[int, tuple[str, ...], str], list[tuple[str, int, int, int, str]]] = {}
    for file in found:
        alike = (file.folder_id, file.place.tags_of(file.name), guess_mime(file.name))
        groups.setdefault(alike, []).append((file.name, *file.stat, new_ids(1)[0]))
    if groups:
        sets = {wanted: await tags.intern(tx, "", wanted) for _, wanted, _ in groups}
        new = [
            NewFiles(folder_id, sets[wanted], mime, msgspec.json.encode(listed).decode())
            for (folder_id, wanted, mime), listed in groups.items()
        ]
        await files.insert_new(tx, new, now_ms())


async def register(tx: Transaction, entry: NewAsset, file: CompleteFile) -> int:
    """Add the file as an asset; answers its row id. There must be no row yet for a file in that place."""
    row_id = await assets.add(tx, entry, file.facts.size, file.facts)
    await assets.put_file(tx, row_id, folder_row(file.folder, file.place), file.name, file.stat)
    return row_id


def folder_row(folder: Path | str, place: Place, fingerprint: bytes | None = None) -> FolderRow:
    """The row that describes a folder. Without a fingerprint the next scan compares its files one by one."""
    categories = msgspec.json.encode(place.category_names).decode()
    return FolderRow(str(folder), place.kind, place.logical, place.loader_prefix, categories, place.key, fingerprint)
