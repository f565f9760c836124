"""Work on the pictures of requests: within the limits of all pictures, and refused in words."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeVar

from ...errors import ApiError, BusyError
from .http import Refusal

T = TypeVar("T")

PATIENCE_S = 10.0
_BYTES_A_PIXEL = 12  # decoded, converted, and on the way to be encoded


@contextmanager
def refused() -> Iterator[None]:
    """Raise Refusal for what is wrong with a picture."""
    try:
        yield
    except ApiError as error:
        raise Refusal(error.message, error.status, code=error.code) from error


async def work_on(sources: list[Path | IO[bytes]], work: Callable[[], T]) -> T:
    """Do work in a thread once there is memory for these pictures. Raises Refusal."""
    from ...image_limits import image_memory

    with refused():
        amount = await asyncio.to_thread(lambda: sum(map(_memory_of, sources)))
        try:
            async with image_memory.reserve(amount, PATIENCE_S):
                return await asyncio.to_thread(work)
        except TimeoutError as error:
            raise BusyError("The server is busy with other pictures; try again.") from error


def _memory_of(source: Path | IO[bytes]) -> int:
    """About how many bytes the work takes. Raises ImageTooLargeError, ImageUnreadableError."""
    from ...image_limits import open_untrusted

    with open_untrusted(source) as picture:
        return picture.width * picture.height * _BYTES_A_PIXEL
