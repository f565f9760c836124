"""Thumbnails for requests, and ahead of time while the server is idle: cached ones, or made from the file.

Failures are remembered for a while. Those of the newest assets are made ahead, so that a list that is scrolled later
shows pictures at once. Prompts, scans, hashing and requests for thumbnails go first.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from ...background.interruption import CancelToken, Throttle
from ...background.tasks import TaskRunner, WorkWatch
from ...db import assets, contents, files
from ...db.connection import Database
from ...db.files import LastSeen
from ...errors import ApiError, FileMissingError, ImageUnreadableError, StoreUnavailableError
from ...fs.paths import ChangedWhileReading, file_stat
from ...host.base import Host
from ...models import FileStat, Plane
from ...names import FileType
from ..roots import Roots
from . import decoders, view_path
from .thumbnail_cache import ThumbnailCache
from .view_path import ViewedFile, ViewPath

if TYPE_CHECKING:
    from .thumbnails import Thumbnailer

log = logging.getLogger("comfy_assets.library")

_JPEG_START = b"\xff\xd8"
_THREADS = 2  # more would compete with generation for the processor
_KEY_CHARACTERS = 40
_MAX_FAILURES = 2000
_FAILURE_S = 300.0  # a damaged file is not decoded again for each page that lists it
_HASH = re.compile(r"blake3:([0-9a-f]{64})")
# Longer sides in pixels, of the thumbnails that lists name and that the panel shows. The second one is made of the
# first one, which saves decoding the file again.
PREPARED = (512, 256)
AT_ONCE = 2  # as many as there are threads that make thumbnails
NEWEST = 1000  # assets: 50 MB of thumbnails, and some screens of every list
_MAX_DONE = 4 * NEWEST  # contents remembered as done, so that a change of one asset costs one query


@dataclass(frozen=True)
class ThumbnailRequest:
    """Parameters of a request. ``filename`` may be ``blake3:`` and a hash, which names content in any folder."""

    file_type: FileType
    subfolder: str
    filename: str
    res: int
    plane: Plane


@dataclass(frozen=True)
class ThumbnailSource:
    """A file to make a thumbnail of, in its current state, and the cache key of the result.

    ``content`` is the blake3 digest of the file, or None if this state of it has not been hashed.
    """

    path: Path
    stat: FileStat
    content: bytes | None
    key: str
    request: ThumbnailRequest


@dataclass(frozen=True)
class Thumbnail:
    """A thumbnail: a JPEG image, or an SVG file. ``body`` is None if the client has it already.

    ``name`` is the name of the file that it was made of.
    """

    key: str
    name: str
    body: bytes | None

    @property
    def is_svg(self) -> bool:
        """True if the body is an SVG file, which browsers must show as an image alone."""
        return self.body is not None and not self.body.startswith(_JPEG_START)


class ThumbnailService:
    """Returns thumbnails; two threads make them."""

    def __init__(self, db: Database, host: Host, cache: ThumbnailCache) -> None:
        self._db = db
        self._host = host
        self._cache = cache
        self._token = CancelToken()
        self._thumbnailer: Thumbnailer | None = None
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="comfy-assets-thumbnails")
        self._slots = asyncio.Semaphore(_THREADS)
        self._requests: set[asyncio.Task[Thumbnail]] = set()
        self._in_progress: dict[str, asyncio.Task[bytes]] = {}
        self._failures: OrderedDict[str, tuple[float, ApiError]] = OrderedDict()

    async def get(self, request: ThumbnailRequest, owner: str, is_held: Callable[[str], bool]) -> Thumbnail:
        """Return the thumbnail, without its body if ``is_held`` returns True for its key.

        Raises InvalidNameError, FileMissingError, NoThumbnailError, ImageTooLargeError, ImageUnreadableError. Closing
        the service cancels the call, because the database and the threads are gone afterwards.
        """
        return await self._tracked(lambda: self._find(request, owner), is_held)

    async def of_file(
        self, path: Path, content: bytes | None, request: ThumbnailRequest, is_held: Callable[[str], bool]
    ) -> Thumbnail:
        """Return the thumbnail of a file that has been found already, such as one in the trash; otherwise like ``get``.

        ``content`` is the digest of the file, or None. The file is named as the request says.
        """

        async def find() -> ThumbnailSource:
            try:
                stat = file_stat(await asyncio.to_thread(path.stat))
            except OSError as error:
                raise _missing() from error
            return ThumbnailSource(path, stat, content, _key(request, path, stat, content), request)

        return await self._tracked(find, is_held)

    async def _tracked(
        self, find: Callable[[], Awaitable[ThumbnailSource]], is_held: Callable[[str], bool]
    ) -> Thumbnail:
        task = asyncio.create_task(self._get(find, is_held), name="comfy-assets thumbnail request")
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)
        if self._token.is_cancelled:
            task.cancel()
        return await task

    @property
    def is_busy(self) -> bool:
        """True while a request waits for a thumbnail."""
        return bool(self._requests)

    async def prepare(self, digest: bytes) -> None:
        """Make and cache the thumbnails of a content that lists name, unless they are cached.

        Raises the exceptions of ``get``.
        """
        # Found once: finding the file takes longer than to make a small one from the large one.
        found = await self._find(ThumbnailRequest("output", "", f"blake3:{digest.hex()}", PREPARED[0], "flat"), None)
        for res in PREPARED:
            request = replace(found.request, res=res)
            key = _key(request, found.path, found.stat, found.content)
            try:
                await self._body(replace(found, request=request, key=key))
            except ChangedWhileReading as error:
                raise ImageUnreadableError("The file is being written.") from error

    async def _get(self, find: Callable[[], Awaitable[ThumbnailSource]], is_held: Callable[[str], bool]) -> Thumbnail:
        for _ in range(2):  # a file that changed meanwhile has another key
            source = await find()
            if is_held(source.key):
                return Thumbnail(source.key, source.path.name, None)
            try:
                return Thumbnail(source.key, source.path.name, await self._body(source))
            except ChangedWhileReading:
                continue
        raise ImageUnreadableError("The file is being written.")

    async def _find(self, request: ThumbnailRequest, owner: str | None) -> ThumbnailSource:
        """Return the file of a request. A hash names contents of this user's assets, or of anyone's if it is None."""
        match = _HASH.fullmatch(request.filename)
        if match is not None:
            digest = bytes.fromhex(match[1])
            place, found = await self._by_hash(digest, owner)
        else:
            place, found = await asyncio.to_thread(self._by_name, request)
        sighting = await files.last_seen(self._db, str(place.folder), place.name)
        content = _content(sighting, found.stat)
        is_listed = sighting is not None and sighting.size is not None
        if (found.is_beyond_link and not is_listed) or (match is not None and content != digest):
            raise _missing()
        key = _key(request, place.path, found.stat, content)
        return ThumbnailSource(place.path, found.stat, content, key, request)

    def _by_name(self, request: ThumbnailRequest) -> tuple[ViewPath, ViewedFile]:
        roots = Roots(self._host.folders())
        place = view_path.parse(roots, request.file_type, request.subfolder, request.filename)
        return place, view_path.find(roots, place, follow_file=True)

    async def _by_hash(self, digest: bytes, owner: str | None) -> tuple[ViewPath, ViewedFile]:
        location = None
        if owner is None or await contents.hash_exists(self._db, digest, owner):
            location = await contents.stand_in(self._db, digest)
        if location is None:
            raise _missing()
        folder = Path(location.folder)
        place = ViewPath(Path(folder.anchor), folder, location.name)
        return place, await asyncio.to_thread(
            lambda: view_path.find(Roots(self._host.folders()), place, follow_file=True)
        )

    async def _body(self, source: ThumbnailSource) -> bytes:
        """Return the thumbnail. Concurrent requests for the same one share the work."""
        self._raise_recent_failure(source.key)
        task = self._in_progress.get(source.key)
        if task is None:
            task = asyncio.create_task(self._cached_or_made(source), name=f"comfy-assets thumbnail {source.key}")
            self._in_progress[source.key] = task
            task.add_done_callback(lambda done: self._ended(source.key, done))
        return await asyncio.shield(task)

    def _ended(self, key: str, task: asyncio.Task[bytes]) -> None:
        self._in_progress.pop(key, None)
        if not task.cancelled():
            task.exception()  # marks it as retrieved: asyncio would warn if all requests were cancelled

    async def _cached_or_made(self, source: ThumbnailSource) -> bytes:
        cached = await asyncio.to_thread(self._cache.get, source.key)
        if cached is not None:
            return cached
        async with self._slots:
            try:
                return await asyncio.get_running_loop().run_in_executor(self._pool, self._make, source)
            except FileMissingError:
                raise
            except ApiError as error:
                await self._add_failure(source, error)
                raise

    def _make(self, source: ThumbnailSource) -> bytes:
        """Make and cache the thumbnail. Runs in a thread, where importing Pillow does not block the event loop."""
        from .thumbnails import Thumbnailer

        if self._thumbnailer is None:
            self._thumbnailer = Thumbnailer(self._token)
        res, plane = source.request.res, source.request.plane
        larger = self._larger(source)
        try:
            if larger is not None:
                body = self._thumbnailer.make_of(larger, res, plane)
            else:
                body = self._thumbnailer.make(source.path, source.stat, res, plane)
        except OSError as error:
            raise _missing() from error
        if body.startswith(_JPEG_START):  # an SVG file is its own thumbnail
            self._cache.put(source.key, body)
        return body

    def _larger(self, source: ThumbnailSource) -> bytes | None:
        """Return a cached thumbnail of the same content with at least twice the size, or None."""
        request = source.request
        if source.content is None or request.plane != "flat" or 2 * request.res > PREPARED[0]:
            return None
        return self._cache.get(_key(replace(request, res=PREPARED[0]), source.path, source.stat, source.content))

    async def _add_failure(self, source: ThumbnailSource, error: ApiError) -> None:
        """Remember a failure for a while, and for good if it lies in the content, so that no list names it again."""
        self._failures[source.key] = time.monotonic(), error
        if len(self._failures) > _MAX_FAILURES:
            self._failures.popitem(last=False)
        # A file without a transparency of its own has a thumbnail nevertheless.
        if source.content is None or source.request.plane != "flat" or _is_temporary(error):
            return
        try:
            async with self._db.transaction() as tx:
                await contents.record_thumbnail_failure(tx, source.content, decoders.decoders_version())
        except StoreUnavailableError as trouble:
            log.warning("A file without a thumbnail could not be noted: %s", trouble)

    def _raise_recent_failure(self, key: str) -> None:
        since, error = self._failures.get(key, (0.0, None))
        if error is None:
            return
        if time.monotonic() - since < _FAILURE_S:
            raise type(error)(error.message, details=error.details)
        del self._failures[key]

    def cancel(self) -> None:
        """Make the threads stop as soon as possible."""
        self._token.cancel()

    async def close(self) -> None:
        """Cancel all requests and stop the threads."""
        self.cancel()
        tasks = [*self._requests, *self._in_progress.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._pool.shutdown(wait=False, cancel_futures=True)


def _content(sighting: LastSeen | None, stat: FileStat) -> bytes | None:
    """Return the hash of the file in its current state, if known."""
    if sighting is None or (sighting.size, sighting.mtime_ns) != stat[:2]:
        return None
    return sighting.hash


def _key(request: ThumbnailRequest, path: Path, stat: FileStat, content: bytes | None) -> str:
    """Return the cache key: of the content, or of path and state until the content is known."""
    source = content.hex() if content is not None else f"{path}|{stat}"
    text = f"{decoders.THUMBNAIL_VERSION}|{request.res}|{request.plane}|{source}"
    return blake3(text.encode("utf-8", "surrogatepass")).hexdigest()[:_KEY_CHARACTERS]


def _is_temporary(error: ApiError) -> bool:
    """Return whether a failure has another cause than the content: the memory or the disk of the computer."""
    cause = error.__cause__
    # The errors of decoders that are OSError as well have no number of the system.
    return isinstance(cause, MemoryError) or (type(cause) is OSError and cause.errno is not None)


def _missing() -> FileMissingError:
    return FileMissingError("There is no such file.")


class IdleThumbnails:
    """Makes the thumbnails of the newest assets after the start and after each change, two at a time."""

    def __init__(
        self,
        db: Database,
        host: Host,
        tasks: TaskRunner,
        throttle: Throttle,
        thumbnails: ThumbnailService,
        after: Sequence[str] = (),
    ) -> None:
        """``after`` are the names of tasks that go first."""
        self._db = db
        self._host = host
        self._tasks = tasks
        self._throttle = throttle
        self._thumbnails = thumbnails
        self._after = after
        self._is_due = True
        self._done: OrderedDict[bytes, None] = OrderedDict()
        self._watch = WorkWatch(self._look, "comfy-assets idle thumbnails", "Thumbnails could not be made ahead")

    def start(self) -> None:
        """Make thumbnails in the background from now on."""
        self._host.on_emit(self._note)
        self._watch.start()

    async def close(self) -> None:
        """Make no more thumbnails."""
        await self._watch.close()

    def _note(self, event: str, _: Mapping[str, Any]) -> None:
        """Look again after a change. Safe from any thread."""
        if event.startswith("assets."):  # changes, and ends of scans and of hashing
            self._is_due = True

    async def _look(self) -> bool:
        """Make the thumbnails that are missing; return False if the store cannot be used."""
        if not self._is_due or not self._is_idle():
            return True
        self._is_due = False
        try:
            newest = await assets.newest_contents(self._db, NEWEST, decoders.decoders_version())
            waiting = (content for content in newest if self._needs_thumbnail(content))
            # Both have ended before an error is raised: none goes on after ``close``.
            for error in await asyncio.gather(*(self._make(waiting) for _ in range(AT_ONCE)), return_exceptions=True):
                if error is not None:
                    raise error
        except StoreUnavailableError:
            self._is_due = True
            return False
        return True

    async def _make(self, waiting: Iterator[assets.DrawableContent]) -> None:
        """Make thumbnails until none is waiting or the server has something else to do."""
        for content in waiting:
            if not self._is_idle():
                self._is_due = True
                return
            await self._prepare(content)

    def _is_idle(self) -> bool:
        others = (self._tasks.latest(name) for name in self._after)
        is_working = any(task is not None and task.is_running for task in others)
        return not (is_working or self._host.is_executing() or self._throttle.is_on_hold or self._thumbnails.is_busy)

    def _needs_thumbnail(self, content: assets.DrawableContent) -> bool:
        is_drawable = content.has_picture or decoders.has_thumbnail(content.mime_type)
        return is_drawable and content.hash not in self._done

    async def _prepare(self, content: assets.DrawableContent) -> None:
        try:
            await self._thumbnails.prepare(content.hash)
        except StoreUnavailableError:
            raise
        except ApiError as error:  # requests get the same error, and the service remembers it
            log.debug("A thumbnail could not be made ahead of time: %s", error.message)
        self._done[content.hash] = None
        if len(self._done) > _MAX_DONE:
            self._done.popitem(last=False)
