"""Rows of output files: assets for new ones, and for known paths the decision whose file now lies there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from ...db import assets, contents, files, moves, tags
from ...db.connection import Transaction
from ...db.contents import Hashed, Unreadable
from ...db.files import Position, StoredFile
from ...db.job_links import JobOwner
from ...db.moves import MoveCandidate
from ...fs.paths import COARSE_TICK_NS
from ..index.insert import NewFile, add_new, folder_row
from ..moves.apply import ChangedPath, match_contents, match_written
from ..roots import Roots
from .outputs import LocatedFile, OutputFile


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
    await _insert(tx, new)
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


async def _insert(tx: Transaction, outputs: Sequence[JobOutputFile]) -> None:
    rows = {o.located.folder: folder_row(o.located.folder, o.located.place) for o in outputs}
    if not rows:
        return
    folder_ids = await files.add_folders(tx, list(rows.values()))
    located = [output.located for output in outputs]
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
