"""The choice between one thread and several for reading small files."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import NamedTuple, TypeVar

F = TypeVar("F")
R = TypeVar("R")

# Shares of the time in which a thread keeps a processor busy: of one that reads alone, and of several, which wait for
# each other as well.
_LEAST_SHARE, _LEAST_SHARE_BESIDE = 0.35, 0.2


class _Seconds(NamedTuple):
    """The time that a worker has read, and the processor time that it has used meanwhile."""

    passed: float
    worked: float


class ReadingPace:
    """Reads batches of files by one thread, or by several where threads wait for a disk.

    Files that the system has in memory are read by one thread: several would hand the interpreter lock to each other
    with every call of the system, which takes longer than the calls.
    """

    def __init__(self) -> None:
        self._is_single = True

    async def run(
        self, pool: Executor, read: Callable[[Sequence[F]], list[R]], batch: Sequence[F], slice_size: int
    ) -> list[R]:
        """Return the results of a batch; ``read`` is called in threads, with parts of ``slice_size`` files if several.

        The pace of the next batch follows from this one.
        """
        loop = asyncio.get_running_loop()
        size = len(batch) if self._is_single else slice_size
        parts = [batch[start : start + size] for start in range(0, len(batch), size or 1)]
        done = await asyncio.gather(*(loop.run_in_executor(pool, _timed, read, part) for part in parts))
        self._note([seconds for _, seconds in done])
        return [result for results, _ in done for result in results]

    def _note(self, parts: Sequence[_Seconds]) -> None:
        passed = sum(part.passed for part in parts)
        share = sum(part.worked for part in parts) / passed if passed else 1.0
        self._is_single = share > (_LEAST_SHARE if self._is_single else _LEAST_SHARE_BESIDE)


def _timed(read: Callable[[Sequence[F]], list[R]], part: Sequence[F]) -> tuple[list[R], _Seconds]:
    began, worked = time.perf_counter(), time.thread_time()
    results = read(part)
    return results, _Seconds(time.perf_counter() - began, time.thread_time() - worked)
