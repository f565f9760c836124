"""Work with files from the event loop: in a thread, and what the disk refuses as an error a client can be told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TypeVar

from ..errors import StorageError

log = logging.getLogger("comfy_assets.library")

T = TypeVar("T")


async def on_disk(work: Callable[[], T]) -> T:
    """Do the work in a thread. Raises StorageError where the system raises OSError, with its reason but no path."""
    try:
        return await asyncio.to_thread(work)
    except OSError as error:
        log.warning("A file could not be stored or moved: %s", error)
        raise StorageError(f"The disk says: {error.strerror or type(error).__name__}.") from error
