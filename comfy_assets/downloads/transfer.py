"""The transfer of one file: requests for the missing part until the file is complete, and its verification."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from functools import partial

import msgspec

from ..errors import HashMismatchError, NotEnoughSpaceError, SourceError, SourceInterruptedError, SourceKeyNeededError
from ..fs.atomic import run_blocking
from ..fs.partial_file import ResumableFile
from ..fs.paths import free_bytes
from ..host.remote_client import RemoteClient, RemoteKey, RemoteRequest, RemoteResponse, check_status, parse_size
from .sources import RemoteFile

_BATCH_SIZE = 2 << 20  # passing a batch to a thread costs about as much as hashing 100 KB
_MIN_PROGRESS = 1 << 20  # bytes after which a failed attempt counts as the first again
_CONTENT_RANGE = re.compile(r"bytes\s+([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)", re.IGNORECASE | re.ASCII)
RESERVE = 64 << 20  # bytes that stay free on the disk


class TransferLimits(msgspec.Struct, frozen=True):
    """Seconds between attempts, as many as there are pauses and one more; seconds between flushes to the disk."""

    pauses: tuple[float, ...] = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 60.0)
    flush_s: float = 1.0


class TransferState(msgspec.Struct):
    """State of a transfer. ``validator`` identifies the version of the file that the present bytes are of."""

    validator: str | None = None
    total: int | None = None


class Transfer:
    """Receives one file into a partial file, which may have a part of it already.

    ``on_progress`` is called after each batch, ``on_flush`` when bytes are safe on the disk or the validator changes.
    """

    def __init__(
        self,
        client: RemoteClient,
        source: RemoteFile,
        file: ResumableFile,
        *,
        key: RemoteKey | None,
        state: TransferState,
        limits: TransferLimits,
        on_progress: Callable[[], None],
        on_flush: Callable[[], Awaitable[None]],
    ) -> None:
        self._client = client
        self._source = source
        self._file = file
        self._key = key
        self._limits = limits
        self._on_progress = on_progress
        self._on_flush = on_flush
        self._is_continued = False
        self.state = state

    async def run(self) -> None:
        """Receive and verify the file.

        Raises SourceError, HashMismatchError, NotEnoughSpaceError, AddressNotAllowedError, StorageError.
        """
        self._is_continued = self._file.size > 0
        await self._receive()
        try:
            self._verify()
        except HashMismatchError:
            if not self._is_continued:
                raise
            # The first part may be of another version of the file, or damaged: once more from the beginning.
            await self._restart()
            await self._receive()
            self._verify()

    async def _receive(self) -> None:
        failures = 0
        while True:
            start = self._file.size
            try:
                await self._attempt()
            except SourceError as error:
                if not error.is_passing:
                    raise
                failures = 1 if self._file.size - start >= _MIN_PROGRESS else failures + 1
                if failures > len(self._limits.pauses):
                    raise
                await asyncio.sleep(self._limits.pauses[failures - 1])
            else:
                return

    async def _attempt(self) -> None:
        """Request the missing part and write it. Raises SourceError."""
        if await self._is_complete():
            return
        request = self._request()
        async with self._client.open(request) as response:
            if response.status == 416 and self._file.size:
                if parse_size(response.headers.get("Content-Range", "").rpartition("*/")[2]) == self._file.size:
                    return  # nothing is missing; the size was not known before
                await self._restart()  # the file is shorter now, or another one
                raise SourceInterruptedError("The other server has another version of the file.")
            check_status(response, request)
            self._check_kind(response)
            await self._align(response)
            await self._write(response)
        if self.state.total is not None and self._file.size < self.state.total:
            raise SourceInterruptedError("The connection ended before the whole file had arrived.")

    async def _is_complete(self) -> bool:
        """Return whether nothing is missing. A part that cannot be continued safely is discarded."""
        expected = self._source.size if self._source.is_exact else self.state.total
        if self._file.size and expected is not None and self._file.size >= expected:
            if self._file.size == expected:
                return True
            await self._restart()
        if self._file.size and self.state.validator is None and self._source.sha256 is None:
            await self._restart()
        return False

    def _request(self) -> RemoteRequest:
        headers = {}
        if self._file.size:
            headers["Range"] = f"bytes={self._file.size}-"
            if self.state.validator is not None:
                headers["If-Range"] = self.state.validator
        return RemoteRequest(self._source.url, headers=headers, key=self._key, provider=self._source.provider)

    def _check_kind(self, response: RemoteResponse) -> None:
        """Raise SourceError for a response that is not the content of the file."""
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise SourceError("The other server sends the file compressed, although that was not asked for.")
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind == "text/html" and not self._source.name.lower().endswith((".html", ".htm")):
            # Servers that want a login redirect to a page.
            details = {"provider": self._source.provider} if self._source.provider else None
            raise SourceKeyNeededError("The other server sends a page and not the file.", details=details)

    async def _align(self, response: RemoteResponse) -> None:
        """Bring the partial file to the response's first byte, and check the announced size. Raises SourceError."""
        if response.status == 206:
            match = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
            if match is None or int(match[1]) != self._file.size:
                await self._restart()
                raise SourceInterruptedError("The other server sent another part of the file.")
            self._is_continued = True
            total = parse_size(match[2])
        else:
            if self._file.size:
                await self._restart()
            total = response.length
        expected = self._source.size if self._source.is_exact else None
        if expected is not None and total is not None and total != expected:
            raise SourceError(
                f"The other server announces {total} bytes for a file of {expected} bytes.",
                details={"expected": expected, "announced": total},
            )
        self.state.total = total if total is not None else expected
        await self._check_space(None if self.state.total is None else self.state.total - self._file.size)
        validator = _validator_of(response)
        if validator != self.state.validator:
            self.state.validator = validator
            await self._on_flush()

    async def _check_space(self, needed: int | None) -> None:
        free = await run_blocking(lambda: free_bytes(self._file.path.parent))
        check_space(free, needed or 0)

    async def _write(self, response: RemoteResponse) -> None:
        """Write the body: a thread hashes and writes one batch while the next is received."""
        writing: asyncio.Future[None] | None = None
        batch: list[bytes] = []
        gathered = 0
        received = self._file.size
        flushed_at = time.monotonic()
        try:
            async for chunk in response.chunks():
                received += len(chunk)
                self._check_size(received)
                batch.append(chunk)
                gathered += len(chunk)
                if gathered >= _BATCH_SIZE or time.monotonic() - flushed_at >= self._limits.flush_s:
                    if writing is not None:
                        await writing
                    if time.monotonic() - flushed_at >= self._limits.flush_s:
                        await self._flush()
                        flushed_at = time.monotonic()
                    self._on_progress()
                    writing = asyncio.ensure_future(run_blocking(partial(self._file.write, batch)))
                    batch, gathered = [], 0
        finally:
            # The rest is kept after an interruption too. The file must not be closed while a thread still writes to it.
            if writing is not None:
                await asyncio.wait([writing])
            if writing is None or writing.exception() is None:
                await asyncio.shield(run_blocking(partial(self._file.write, batch)))
        if writing is not None:
            writing.result()
        await self._flush()
        self._on_progress()

    def _check_size(self, received: int) -> None:
        if self.state.total is not None and received > self.state.total:
            raise SourceError(
                f"The other server sends more than the {self.state.total} bytes of the file.",
                details={"expected": self.state.total},
            )

    async def _flush(self) -> None:
        await run_blocking(self._file.flush)
        if self.state.total is None:
            await self._check_space(None)  # the size is unknown, so the disk is watched
        await self._on_flush()

    async def _restart(self) -> None:
        await run_blocking(self._file.restart)
        self.state.validator = None
        await self._on_flush()

    def _verify(self) -> None:
        """Compare the digests that the provider states. Raises HashMismatchError, SourceError."""
        if self._file.size == 0:
            raise SourceError("The other server sent an empty file.")
        for name, wanted, found in (
            ("sha256", self._source.sha256, self._file.sha256()),
            ("blake3", self._source.blake3, self._file.digest()),
        ):
            if wanted is not None and found != wanted:
                raise HashMismatchError(
                    f"The downloaded file is not the one that {self._source.host} describes: its {name} is"
                    f" {found.hex()}, not {wanted.hex()}.",
                    details={"field": name},
                )


def check_space(free: int, needed: int) -> None:
    """Raise NotEnoughSpaceError unless so many bytes can be written and a reserve stays free."""
    if free < needed + RESERVE:
        raise NotEnoughSpaceError(
            "The disk has too little free space for this file.",
            details={"needed_bytes": needed + RESERVE, "free_bytes": free},
        )


def _validator_of(response: RemoteResponse) -> str | None:
    """Return a validator for ``If-Range``: a strong ETag, else the time of the last change (RFC 9110, 13.1.5)."""
    etag = response.headers.get("ETag", "")
    if etag.startswith('"') and len(etag) <= 1024:
        return etag
    return response.headers.get("Last-Modified")
