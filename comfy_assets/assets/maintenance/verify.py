"""Verification: read every recorded file again and report the ones whose content has changed. Changes nothing."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from blake3 import blake3

from ...background.interruption import Cancelled, CancelToken, uninterrupted
from ...db import files
from ...db.connection import Database
from ...db.files import HashedFile
from ...fs.paths import extended, extended_path, is_replaced, matches_record
from ...fs.shared_files import open_shared_raw
from ...store_guard import check_found
from ..index.content_reader import SMALL_FILE, WORKERS, HashProgress

# damaged: other content in the same file; changed: another size, time or file, so that a scan will read it again;
# missing: not found; unreadable: the disk or the system reports an error.
VerifyProblem = Literal["damaged", "changed", "missing", "unreadable"]

_PAGE = 1024  # rows per query
_SLICE = 48  # small files that a worker reads per job
_BLOCK = 4 << 20


@dataclass(frozen=True)
class VerifyFinding:
    """A file that does not match its record; ``found`` is the digest of a damaged file, ``reason`` a system error."""

    path: str
    problem: VerifyProblem
    recorded: bytes
    found: bytes | None = None
    reason: str | None = None


@dataclass
class VerifyReport:
    """Results so far; ``intact`` counts unchanged files. Thread-safe."""

    intact: int = 0
    complete: bool = False
    findings: list[VerifyFinding] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, finding: VerifyFinding | None) -> None:
        """Add the result for one file; None means that it is intact."""
        with self._lock:
            if finding is None:
                self.intact += 1
            else:
                self.findings.append(finding)

    @property
    def checked(self) -> int:
        """Number of files examined so far."""
        return self.intact + len(self.findings)

    def count(self, problem: VerifyProblem) -> int:
        """Return the number of files with this problem."""
        return sum(finding.problem == problem for finding in self.findings)


class Verifier:
    """One run over all recorded files: small ones in parallel, large ones one by one with several threads each."""

    def __init__(self, db: Database, token: CancelToken) -> None:
        self._db = db
        self._token = token
        self._digests: dict[tuple[int, int, int, int], bytes] = {}
        self.progress = HashProgress(0, 0)
        self.report = VerifyReport()

    async def run(self) -> VerifyReport:
        """Read all files. Raises Cancelled; ``report`` has the results until then."""
        self.progress = HashProgress(*await files.hashed_totals(self._db))
        after_id = 0
        with ThreadPoolExecutor(WORKERS, thread_name_prefix="comfy-assets-verify") as pool:
            while page := await files.hashed_page(self._db, after_id, _PAGE):
                after_id = page[-1].id
                await uninterrupted(self._check_page(page, pool), self._token)
                self._token.check()
        self.report.complete = True
        return self.report

    def status(self) -> dict[str, Any]:
        """Return the progress as JSON members."""
        return {**self.progress.as_dict(), "hashed": self.report.checked}

    async def _check_page(self, page: Sequence[HashedFile], pool: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        small = [file for file in page if file.size <= SMALL_FILE]
        slices = [small[start : start + _SLICE] for start in range(0, len(small), _SLICE)]
        await asyncio.gather(*(loop.run_in_executor(pool, self._check_slice, each) for each in slices))
        await loop.run_in_executor(pool, self._check_slice, [file for file in page if file.size > SMALL_FILE])

    def _check_slice(self, slice_: Sequence[HashedFile]) -> None:
        """Read files one after another until cancelled."""
        for file in slice_:
            try:
                self.report.add(self._check(file))
            except Cancelled:
                return

    def _check(self, file: HashedFile) -> VerifyFinding | None:
        path = Path(file.folder, file.name)
        try:
            digest = self._read(Path(extended(str(path))), file)
        except (FileNotFoundError, NotADirectoryError):
            return VerifyFinding(str(path), "missing", file.hash)
        except OSError as error:
            return VerifyFinding(str(path), "unreadable", file.hash, reason=error.strerror or type(error).__name__)
        if digest is None:
            return VerifyFinding(str(path), "changed", file.hash)
        if digest == file.hash:
            return None
        if _is_other_file(path, file):
            return VerifyFinding(str(path), "changed", file.hash)
        return VerifyFinding(str(path), "damaged", file.hash, found=digest)

    def _read(self, path: Path, file: HashedFile) -> bytes | None:
        """Return the file's digest, or None if its size or time differs from the record. Raises OSError.

        Hard links are read once. The file is not mapped into memory, unlike for its first hash, because a bad sector
        would be a bus error instead of an OSError.
        """
        check_found(str(path))
        with open_shared_raw(path) as stream:
            info = os.fstat(stream.fileno())
            if not matches_record(info, file.size, file.mtime_ns):
                return None
            shared = (info.st_dev, info.st_ino, file.size, file.mtime_ns) if info.st_nlink > 1 and info.st_ino else None
            known = self._digests.get(shared) if shared else None
            if known is not None:
                self.progress.add_bytes(file.size)
                return known
            digest = self._digest(stream.fileno(), file.size)
            if not matches_record(os.fstat(stream.fileno()), file.size, file.mtime_ns):
                return None
        if shared:
            self._digests[shared] = digest
        return digest

    def _digest(self, handle: int, size: int) -> bytes:
        if hasattr(os, "posix_fadvise"):
            # Drop the page cache, so that the disk itself is read.
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        digest = blake3(max_threads=blake3.AUTO if size > SMALL_FILE else 1)
        self._token.check()
        while block := os.read(handle, min(_BLOCK, size + 1)):
            digest.update(block)
            self.progress.add_bytes(len(block))
            self._token.check()
        return digest.digest()


def _is_other_file(path: Path, file: HashedFile) -> bool:
    """Return whether a file of the recorded size and time has replaced the recorded one: a scan will read it."""
    try:
        info, folder = extended_path(path).stat(), extended_path(path.parent).stat()
    except OSError:
        return False
    return is_replaced(info, file.inode, folder.st_mtime_ns, file.listed_ns)
