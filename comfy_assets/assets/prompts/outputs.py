"""Output files of executed prompts: find them in the nodes' results and on the disk, and write their rows.

A file at a new path becomes an asset. For a known path it is decided whose file now lies there.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import msgspec

from ...db import assets, contents, files, moves, tags
from ...db.connection import Transaction
from ...db.contents import Hashed, Unreadable
from ...db.files import Position, StoredFile
from ...db.job_links import JobOwner
from ...db.moves import MoveCandidate
from ...fs.paths import COARSE_TICK_NS, birth_ns, extended, file_stat, real_path
from ...host.base import HostFolders
from ...ids import canonical_id
from ...models import FileStat, Pending
from ..media.mime import DEFAULT_MIME, guess_mime
from ..moves import ChangedPath, NewFile, add_new, match_contents, match_written
from ..roots import Place, Roots, absolute

# Temporary previews are not part of the library.
OutputKind = Literal["input", "output"]
_KINDS: Mapping[object, OutputKind] = {"input": "input", "output": "output"}
_MAX_PATH = 1024  # characters


@dataclass(frozen=True)
class OutputFile:
    """A file as nodes report it: a folder of the server, a path below it, and a name."""

    kind: OutputKind
    subfolder: str
    name: str


@dataclass(frozen=True)
class LocatedFile:
    """An existing file in a folder of the library. ``birth_ns`` is its creation time, if the system provides it."""

    folder: str
    place: Place
    name: str
    stat: FileStat
    birth_ns: int | None = None

    def pending(self) -> Pending:
        """Return the file as one to read."""
        return Pending(0, self.folder, self.name, *self.stat[:2], files.NEW)

    def is_other_than(self, former: FileStat) -> bool:
        """Return whether this is certainly another file than the former one, not the same one overwritten."""
        if self.stat[2] and former[2]:
            return self.stat[2] != former[2]
        return self.birth_ns is not None and self.birth_ns > former[1]


@dataclass(frozen=True)
class OutputSlot:
    """Position of an output: the node, the key that the node chose, and the zero-based index."""

    node_id: str
    key: str
    index: int


@dataclass(frozen=True)
class ShownFile:
    """A file in the results of a node. ``alias`` is the id that the server's own asset feature gave to it, if any.

    ``is_path``: the node named it by a bare path, as it also names files that it has not written.
    """

    file: OutputFile
    slot: OutputSlot
    alias: str | None = None
    is_path: bool = False


def shown_items(outputs: Mapping[str, Any]) -> Iterator[tuple[OutputSlot, Any]]:
    """Yield all results of nodes in order, under any key: images, gifs, audio, 3d and so on."""
    for node_id, shown in outputs.items():
        for key, items in shown.items() if isinstance(shown, Mapping) else ():
            for index, item in enumerate(items if isinstance(items, (list, tuple)) else ()):
                yield OutputSlot(str(node_id), str(key), index), item


def shown_files(outputs: Mapping[str, Any]) -> list[ShownFile]:
    """Return the files among the results of nodes."""
    found: list[ShownFile] = []
    for slot, item in shown_items(outputs):
        if isinstance(item, str):
            if (file := file_at_path(item)) is not None:
                found.append(ShownFile(file, slot, is_path=True))
        elif (file := output_file(item)) is not None:
            found.append(ShownFile(file, slot, alias_of(item)))
    return found


def file_at_path(text: str) -> OutputFile | None:
    """Return the file if the text can be the path of one in the output folder, such as "3d/ComfyUI_00001_.ply".

    ComfyUI's nodes for 3D files return such paths, and may add the folder's name as in "a.glb [output]".
    """
    if len(text) > _MAX_PATH or "\n" in text:
        return None
    path = text.removesuffix(" [output]")
    # Most texts are prompts and numbers: only a known suffix is worth a look at the disk.
    return None if guess_mime(path) == DEFAULT_MIME else OutputFile("output", "", path)


def alias_of(item: Mapping[str, Any]) -> str | None:
    """Return the id in a description of a file, in canonical form, or None if it has none that is a UUID."""
    given = item.get("id")
    return canonical_id(given) if isinstance(given, str) else None


def output_file(item: object) -> OutputFile | None:
    """Return the file that a result names, or None if it names no file in the input or output folder."""
    if not isinstance(item, Mapping):
        return None
    kind, subfolder, name = item.get("type"), item.get("subfolder") or "", item.get("filename")
    if not isinstance(kind, str) or kind not in _KINDS or not isinstance(subfolder, str):
        return None
    return OutputFile(_KINDS[kind], subfolder, name) if isinstance(name, str) and name else None


class OutputFolders:
    """Finds the files that nodes report. Blocks: for worker threads."""

    def __init__(self, folders: HostFolders) -> None:
        self.roots = Roots(folders)
        self._folder = lru_cache(maxsize=None)(self._find_folder)

    def locate(self, file: OutputFile) -> LocatedFile | None:
        """Return the file if it exists and a scan would list it: inside its folder, not hidden, not left out."""
        subfolder, name = os.path.split(os.path.join(file.subfolder, file.name))  # noqa: PTH118 - called for every file
        if not name or name.startswith("."):
            return None
        try:
            folder = self._folder(file.kind, subfolder)
            if folder is None:
                return None
            name.encode()
            info = os.stat(extended(os.path.join(folder[0], name)))  # noqa: PTH116, PTH118
        except (OSError, ValueError):  # ValueError: a NUL character, or not valid Unicode
            return None
        if not stat.S_ISREG(info.st_mode) or self.roots.is_ignored(Path(folder[0]), name, info.st_size):
            return None
        return LocatedFile(*folder, name, file_stat(info), birth_ns(info))

    def _find_folder(self, kind: OutputKind, subfolder: str) -> tuple[str, Place] | None:
        """Return the path, spelled as by a scan, and the place of a subfolder, or None outside the library."""
        root = self.roots.destination(kind)
        if root is None:
            return None
        folder = absolute(root / subfolder)
        if not folder.is_relative_to(root) or self.roots.is_left_out(folder):
            return None
        folder = self._as_walked(root, folder)
        if self.roots.is_left_out(folder):
            return None
        str(folder).encode()
        place = self.roots.place(folder)
        return None if place is None else (str(folder), place)

    def _as_walked(self, root: Path, folder: Path) -> Path:
        """Return the folder as a scan reaches it: in the disk's spelling, and without a link inside the library."""
        try:
            real, real_root = real_path(folder), real_path(root)
            if real.is_relative_to(real_root):
                return root / real.relative_to(real_root)
        except OSError:
            return folder
        others = self.roots.other_names(folder)  # scans follow no link from one root to another
        return others[0] if others else folder


@dataclass(frozen=True)
class JobOutputFile:
    """An output file of a job; ``reading`` is the result of reading it, if it was read.

    ``is_early``: it was read before its time stamp was reliable.
    """

    job_id: str
    file: OutputFile
    located: LocatedFile
    reading: Hashed | Unreadable | None = None
    is_early: bool = False

    @property
    def position(self) -> Position:
        """The folder and the name of the file."""
        return self.located.folder, self.located.name


async def record_files(
    tx: Transaction, outputs: Sequence[JobOutputFile], roots: Roots, makers: Mapping[str, JobOwner], *, private: bool
) -> int:
    """Write the rows of the outputs; return the number of new assets.

    ``makers`` are the owners of the jobs by job id, in multi-user mode.
    """
    positions = [output.position for output in outputs]
    before = await files.by_position(tx, positions)
    touched = await contents.of_assets(tx, [row.id for row in before.values()])
    new = [output for output in outputs if output.position not in before]
    before = await _match_known(tx, outputs, before, roots, makers)
    await add_located(tx, [output.located for output in new])
    after = await files.by_position(tx, positions)
    jobs = _jobs(outputs, before, after)
    await assets.set_jobs(tx, jobs)
    if private:
        await _give_to_makers(tx, outputs, before, dict(jobs), after, makers)
    moved = await _record_contents(tx, outputs, after, roots, touched)
    return len(after) - len(before) - moved


async def _give_to_makers(
    tx: Transaction,
    outputs: Sequence[JobOutputFile],
    before: Mapping[Position, StoredFile],
    jobs: Mapping[int, str],
    after: Mapping[Position, StoredFile],
    makers: Mapping[str, JobOwner],
) -> None:
    """Assign written files to the owners of the jobs.

    A file that is older than the job was only reported by it, not written, and keeps its owner.
    """
    given: dict[str, list[int]] = {}
    for output in outputs:
        row_id = after[output.position].id
        maker = makers.get(jobs.get(row_id, ""))
        if maker is None or not maker.owner:
            continue
        if is_of_job(output.located, maker) or output.position not in before:
            given.setdefault(maker.owner, []).append(row_id)
    for owner, row_ids in given.items():
        await tags.give_public(tx, row_ids, owner)


async def _match_known(
    tx: Transaction,
    outputs: Sequence[JobOutputFile],
    before: dict[Position, StoredFile],
    roots: Roots,
    makers: Mapping[str, JobOwner],
) -> dict[Position, StoredFile]:
    """Bring known paths up to date; return the rows of those that still belong to the same asset.

    ComfyUI uses a name again once its file is gone. The former file may only have moved, so its asset stays missing, or
    becomes so if users have given it anything, and keeps that and its job. A user's asset never gets the file that
    another user's job has written over its own.
    """
    written = {row.id: o for o in outputs if (row := before.get(o.position)) is not None and _is_written(row, o)}
    rows = {row.id: row for row in before.values() if row.id in written}
    # Certainly other files than the rows', rather than those written over.
    replaced = {i for i, row in rows.items() if written[i].located.is_other_than(row.stat)}

    def keeps_path(file: MoveCandidate) -> bool:
        maker = makers.get(written[file.id].job_id)
        if maker is not None and file.owner not in ("", maker.owner):
            return False
        return not file.is_missing and not (file.is_marked and file.id in replaced)

    changed = [ChangedPath(i, row.stat, written[i].located.stat) for i, row in rows.items()]
    staying = await match_written(tx, changed, roots, keeps_path)
    back = [row.id for row in before.values() if row.missing and row.id not in written]
    if back:
        await files.mark_present(tx, back)
    return {position: row for position, row in before.items() if row.id not in written or row.id in staying}


def is_of_job(file: LocatedFile, maker: JobOwner | None) -> bool:
    """Return whether a file was written since the job began; False for a job that is not known."""
    return maker is not None and file.stat[1] >= maker.began_at * 1_000_000 - COARSE_TICK_NS


def _is_written(row: StoredFile, output: JobOutputFile) -> bool:
    return row.stat[:2] != output.located.stat[:2]


async def add_located(tx: Transaction, located: Sequence[LocatedFile]) -> None:
    """Add files as new assets. There must be no rows at their paths yet."""
    if located:
        rows = {file.folder: file.place.folder_row(file.folder) for file in located}
        folder_ids = await files.add_folders(tx, list(rows.values()))
        await add_new(tx, [NewFile(folder_ids[file.folder], file.name, file.place, file.stat) for file in located])


def _jobs(
    outputs: Sequence[JobOutputFile], before: dict[Position, StoredFile], after: dict[Position, StoredFile]
) -> list[tuple[int, str]]:
    """Return the jobs to store: for new and overwritten files, and for files without a job so far."""
    jobs: list[tuple[int, str]] = []
    for output in outputs:
        row = before.get(output.position)
        is_made = row is None or row.is_stale or row.stat[:2] != output.located.stat[:2]
        if is_made or (row is not None and row.job_id is None):
            jobs.append((after[output.position].id, output.job_id))
    return jobs


async def _record_contents(
    tx: Transaction, outputs: Sequence[JobOutputFile], rows: dict[Position, StoredFile], roots: Roots, former: set[int]
) -> int:
    """Store the results of reading; return how many files were matched with older assets whose files were missing.

    ``former`` are the contents that the files had before.
    """
    hashed: list[Hashed] = []
    failures: list[Unreadable] = []
    for output in outputs:
        row_id = rows[output.position].id
        if isinstance(output.reading, Hashed):
            hashed.append(msgspec.structs.replace(output.reading, file_id=row_id))
        elif output.reading is not None:
            failures.append(msgspec.structs.replace(output.reading, file_id=row_id))
    first_time = await moves.never_hashed(tx, [result.file_id for result in hashed])
    await contents.record(tx, hashed)
    touched = former | await contents.of_assets(tx, [row.id for row in rows.values()])
    await contents.record_unreadable(tx, failures)
    moved = 0
    if first_time and await files.any_missing(tx):
        moved = await match_contents(tx, first_time, roots)
    await contents.update_missing_references(tx, touched)
    return moved
