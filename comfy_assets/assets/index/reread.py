"""Read contents again that an older version of the readers has read, without hashing them.

Each content is read from one of its files whose size and time are as they were recorded, and no more of it than the
reader of its format needs. What is known of the content is then replaced, and its assets are indexed for search again.
Rows tell what is left to do, so that an interrupted run continues with the next start of the server.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from ...background.interruption import Cancelled, Throttle, uninterrupted
from ...background.tasks import Task, TaskRunner, WorkWatch
from ...db import contents, moves, outdated
from ...db.connection import Database
from ...db.contents import Facts
from ...db.outdated import OutdatedContent, TypedAsset
from ...errors import StoreUnavailableError
from ...host.base import Host
from ..media.metadata import FORMATS, READER_VERSION
from ..media.mime import DEFAULT_MIME, guess_mime
from .content_reader import WORKERS, ReadingPace, Unchanged, read_facts_again

log = logging.getLogger("comfy_assets.library")

REREAD = "asset_reread"

_BATCH = 512  # contents of one transaction: some tens of milliseconds, for which other writers wait
_SLICE = 16  # contents per call of a worker
_MAX_FILES = 8  # of one content: other names are tried where the first file cannot be read or tells nothing
_UNREAD = 0  # the version of contents that have to be read as soon as possible
_TRIED = 1  # the lowest version of contents that were read: they are tried again with the next start

_MIME_OF_FORMAT = {each.name: each.mime_type for each in FORMATS}


_Results = dict[int, Facts | Unchanged]  # by the row id of the content


class _ShownFormat(msgspec.Struct, gc=False):
    format: str = ""


_decode_format = msgspec.json.Decoder(_ShownFormat).decode


class Rereader:
    """Reads outdated contents again: once after the start, and later those that have to be read under a new name."""

    def __init__(
        self,
        db: Database,
        host: Host,
        tasks: TaskRunner,
        throttle: Throttle,
        after: Sequence[str] = (),
    ) -> None:
        """``after`` are the names of tasks that go first, for they change which files there are."""
        self._db = db
        self._host = host
        self._tasks = tasks
        self._throttle = throttle
        self._after = after
        self._is_first = True
        self._watch = WorkWatch(self._look, "comfy-assets rereading", "Outdated contents could not be looked for")

    def start(self) -> None:
        """Begin to look for outdated contents in the background."""
        self._watch.start()

    async def close(self) -> None:
        """Stop looking for work. A task that runs ends with the other tasks."""
        await self._watch.close()

    async def run(self, task: Task) -> None:
        """Read all contents of older versions. Raises Cancelled; what was replaced until then stays."""
        versions = await outdated.versions(self._db, READER_VERSION)
        counts = {version: await outdated.count_of_version(self._db, version) for version in versions}
        run = _Run(self._db, self._throttle, task)
        run.total = sum(counts.values())
        try:
            for version in versions:
                await run.read_version(version)
        finally:
            await run.close()
            if run.read:
                self._host.emit("assets.changed", {"reread": run.read})

    async def _look(self) -> bool:
        """Read outdated contents again, if there are any; return False if that failed."""
        if not await self._has_work():
            self._is_first = False
            return True
        await self._let_others_go_first()
        task, _ = self._tasks.start(REREAD, self.run)
        await task.done.wait()
        self._is_first = self._is_first and isinstance(task.failure, StoreUnavailableError)
        return task.status != "failed"

    async def _has_work(self) -> bool:
        """Return whether contents have to be read. Those that could not be read at the start wait for the next one."""
        versions = await outdated.versions(self._db, READER_VERSION if self._is_first else _UNREAD + 1)
        return bool(versions)

    async def _let_others_go_first(self) -> None:
        """Wait for tasks that would have the same files read twice."""
        for other in map(self._tasks.latest, self._after):
            if other is not None:
                await other.done.wait()


class _Run:
    """One run over outdated contents; ``read`` and ``skipped`` count contents."""

    def __init__(self, db: Database, throttle: Throttle, task: Task) -> None:
        self._db = db
        self._throttle = throttle
        self._task = task
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="comfy-assets-reread")
        self._pace = ReadingPace()
        self._former_documents: set[int] = set()
        self.total = 0
        self.read = 0
        self.skipped = 0

    async def read_version(self, version: int) -> None:
        """Read all contents that this version has read. Raises Cancelled."""
        replacing: asyncio.Task[None] | None = None
        fetching = self._fetch(version, 0)
        try:
            while found := await fetching:
                fetching = self._fetch(version, found[-1].id)  # while these are read
                self._report()
                results: _Results = {}
                await self._read_all(found, results)
                # Their first file cannot be read, or its name tells nothing: others may.
                poor = [each for each in found if each.id not in results or results[each.id].metadata == "{}"]
                if poor:
                    await self._read_all(await outdated.other_files(self._db, poor, _MAX_FILES - 1), results)
                if replacing is not None:
                    await replacing
                # While the next ones are read.
                replacing = asyncio.create_task(self._replace(found, results, version))
        finally:
            fetching.cancel()
            await asyncio.gather(fetching, return_exceptions=True)
            if replacing is not None:
                await replacing
        self._report()

    def _fetch(self, version: int, after_id: int) -> asyncio.Task[list[OutdatedContent]]:
        return asyncio.create_task(outdated.page(self._db, version, after_id, _BATCH))

    async def close(self) -> None:
        """End the threads, and drop documents that nothing needs any more."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        unused = await outdated.unused_documents(self._db, self._former_documents)
        if unused:
            async with self._db.transaction() as tx:
                await contents.drop_unused_documents(tx, unused)

    def _report(self) -> None:
        self._task.result = {"read": self.read, "skipped": self.skipped, "total": self.total}

    async def _read_all(self, found: Sequence[OutdatedContent], results: _Results) -> None:
        """Add results, where they tell more than what is there already. Raises Cancelled."""
        work = self._pace.run(self._pool, self._read_slice, found, _SLICE)
        for content_id, facts in await uninterrupted(work, self._task.token):
            if content_id not in results or results[content_id].metadata == "{}":
                results[content_id] = facts
        self._task.token.check()

    def _read_slice(self, found: Sequence[OutdatedContent]) -> list[tuple[int, Facts | Unchanged]]:
        """Read contents one after another; return the results so far when cancelled."""
        results: list[tuple[int, Facts | Unchanged]] = []
        for each in found:
            try:
                self._throttle.wait(self._task.token)
                facts = read_facts_again(each)
            except Cancelled:
                break
            except Exception:
                log.exception("%s could not be read again", each.name)
                continue
            if facts is not None:
                results.append((each.id, facts))
        return results

    async def _replace(self, found: Sequence[OutdatedContent], results: _Results, version: int) -> None:
        former = {each.id: each for each in found}
        changed = {key: facts for key, facts in results.items() if isinstance(facts, Facts)}
        async with self._db.transaction() as tx:
            await outdated.set_version(tx, results.keys() - changed.keys(), version, READER_VERSION)
            if changed:
                self._former_documents |= await contents.replace(tx, changed)
            shown = ((content_id, facts.mime_type) for content_id, facts in results.items())
            assets = await outdated.of_other_types(tx, shown)
            await moves.set_types(tx, await asyncio.to_thread(_new_types, assets, former, results))
            if version == _UNREAD:
                await outdated.set_version(tx, former, _UNREAD, _TRIED)
        self.read += len(results)
        self.skipped += len(found) - len(results)


def _new_types(
    assets: Sequence[TypedAsset], former: dict[int, OutdatedContent], results: _Results
) -> list[tuple[int, str]]:
    """Return the media types of assets that now follow from the content, without those that a user has chosen."""
    types: list[tuple[int, str]] = []
    for asset in assets:
        mime_type = results[asset.content_id].mime_type
        if mime_type is not None and asset.mime_type in (
            DEFAULT_MIME,
            guess_mime(asset.name),
            _former_type(former[asset.content_id]),
        ):
            types.append((asset.id, mime_type))
    return types


def _former_type(content: OutdatedContent) -> str | None:
    """Return the media type that the content was known to show. The first version stored only the format."""
    if content.mime_type is not None:
        return content.mime_type
    return _MIME_OF_FORMAT.get(_decode_format(content.metadata).format)
