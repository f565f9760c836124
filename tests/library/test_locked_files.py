"""Files that another program locks when they appear, as programs of Windows do while they copy or scan them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.assets.index import content_reader
from comfy_assets_node.comfy_assets.assets.index.indexer import RETRIES_S
from comfy_assets_node.comfy_assets.config import Config
from support.files import picture
from support.sharing import SharingViolation, opened_alone

FREE_WITHIN_S = 15  # after the file is free it is read


@pytest.mark.parametrize("locked_s", [0.5, 1, 3, 7, 10, 14.9, 15.1, 29])
def test_the_pauses_between_attempts(locked_s: float) -> None:
    """A file that is free after at most half a minute is read within 15 seconds then."""
    next_attempt = next(at for at in accumulate(RETRIES_S) if at >= locked_s)
    assert next_attempt - locked_s <= FREE_WITHIN_S


def test_a_file_that_is_locked_for_long() -> None:
    """A minute later, and for ten minutes."""
    assert max(RETRIES_S) <= 60
    assert sum(RETRIES_S) >= 600


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock a file, by emulation where the system does not."""
    if os.name == "nt":
        with opened_alone(path):
            yield
        return
    real = content_reader.read_at_once

    def read_locked(which: str, size: int) -> Any:
        if Path(which) == path:
            raise SharingViolation
        return real(which, size)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(content_reader, "read_at_once", read_locked)
        yield


@pytest.mark.parametrize("locked_s", [1, pytest.param(10, marks=pytest.mark.slow)])
async def test_it_is_hashed_soon_after_it_is_free(
    make_library: Callable[..., Awaitable[Any]], tmp_path: Path, locked_s: float
) -> None:
    """Nothing else changes and nobody asks for a scan: the library is followed."""
    library = await make_library(Config(idle_thumbnails=False))
    await library.services.indexer.scanner.completed.wait()
    outside = tmp_path / "a.png"
    outside.write_bytes(picture(1))
    os.utime(outside, (1_600_000_000, 1_600_000_000))
    path = library.base / "input" / "a.png"
    with contextlib.ExitStack() as lock:
        if os.name != "nt":
            lock.enter_context(locked(path))
        outside.rename(path)
        if os.name == "nt":
            lock.enter_context(locked(path))
        await asyncio.sleep(locked_s)
        assert [asset.get("hash") for asset in await library.assets()] in ([], [None])
    free = time.monotonic()
    while not [asset for asset in await library.assets() if asset.get("hash")]:
        assert time.monotonic() - free < FREE_WITHIN_S
        await asyncio.sleep(0.05)
    assert (await library.asset("a.png"))["metadata"]["width"]
