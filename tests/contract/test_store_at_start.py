"""A store that cannot be opened when the server starts, as another program holds it, is opened later."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets import app
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.db import connection, migrate, store_files
from comfy_assets_node.comfy_assets.fs import shared_files
from comfy_assets_node.comfy_assets.host.execution import SubmittedPrompt
from support.sharing import SharingViolation, opened_alone

ID = "00000000-0000-4000-8000-000000000001"
GRAPH = {"2": {"class_type": "SaveImage", "inputs": {"filename_prefix": "made"}}}
SUCCESS = {"status_str": "success", "completed": True, "messages": []}


@contextlib.contextmanager
def being_written(store: Path, _: pytest.MonkeyPatch) -> Iterator[None]:
    """Another process holds SQLite's lock."""
    with contextlib.closing(sqlite3.connect(store, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@contextlib.contextmanager
def being_copied(store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A program of Windows has opened the file for itself alone."""
    real = shared_files.open_shared

    def open_locked(path: Path | str) -> Any:
        if Path(path).name == store.name:
            raise SharingViolation
        return real(path)

    monkeypatch.setattr(shared_files, "WINDOWS", True)
    monkeypatch.setattr(shared_files, "open_shared", open_locked)
    yield
    monkeypatch.undo()


@contextlib.contextmanager
def not_opened_by_sqlite(store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The program opens the file between our look at it and SQLite's own opening."""
    real = sqlite3.connect

    def connect(path: Any, *arguments: Any, **more: Any) -> sqlite3.Connection:
        if Path(str(path)).name == store.name:
            raise sqlite3.OperationalError("unable to open database file")
        return real(path, *arguments, **more)

    monkeypatch.setattr(sqlite3, "connect", connect)
    yield
    monkeypatch.setattr(sqlite3, "connect", real)


@contextlib.contextmanager
def really_being_copied(store: Path, _: pytest.MonkeyPatch) -> Iterator[None]:
    with opened_alone(store):
        yield


on_windows = pytest.mark.skipif(os.name != "nt", reason="only Windows locks files so")
Hold = Callable[[Path, pytest.MonkeyPatch], AbstractContextManager[None]]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "_TRY_AGAIN_S", 0.05)
    monkeypatch.setattr(connection, "PATIENCE_S", 0.05)
    for module in (migrate, store_files):
        monkeypatch.setattr(module, "LOCK_TIMEOUT_S", 0.05)


async def healthy(library: Any) -> None:
    async def wait() -> None:
        while (await library.client.get("/health")).status != 200:
            await asyncio.sleep(0.02)

    await asyncio.wait_for(wait(), 20)


@pytest.mark.parametrize(
    "hold", [being_written, being_copied, not_opened_by_sqlite, pytest.param(really_being_copied, marks=on_windows)]
)
async def test_it_is_opened_when_it_is_free(make_library: Any, hold: Hold, caplog: pytest.LogCaptureFixture) -> None:
    first = await make_library()
    first.write("output/before.bin", b"before")
    await first.scan()
    await first.services.stop()
    patches = pytest.MonkeyPatch()
    with hold(first.host.data_directory() / "library.db", patches):
        library = await make_library(Config(idle_thumbnails=False))
        assert (await library.client.get("/health")).status == 503
        assert (await library.get("/api/assets", 500))["code"] == "STORE_UNAVAILABLE"
        assert library.services.problem is not None
        queue = library.host.execution
        queue.submit(SubmittedPrompt(0, ID, GRAPH, {}, ["2"]))
        queue.start()
        queue.finish({}, SUCCESS)
        library.write("output/meanwhile.bin", b"meanwhile")
        await asyncio.sleep(0.3)
        assert (await library.client.get("/health")).status == 503
    await healthy(library)
    assert library.services.problem is None
    assert (await library.get(f"/api/jobs/{ID}"))["status"] == "completed"

    async def scanned() -> None:
        while {asset["name"] for asset in await library.assets()} != {"before.bin", "meanwhile.bin"}:
            await asyncio.sleep(0.02)

    await asyncio.wait_for(scanned(), 20)
    logged = [record.getMessage() for record in caplog.records if "library is" in record.getMessage()]
    assert [text.partition(".")[0].partition(":")[0] for text in logged] == [
        "The library is unavailable until its store can be opened",
        "The library is available",
    ]


async def test_the_server_ends_while_the_store_is_held(make_library: Any) -> None:
    first = await make_library()
    await first.services.stop()
    with being_written(first.host.data_directory() / "library.db", pytest.MonkeyPatch()):
        library = await make_library()
        await asyncio.wait_for(library.services.stop(), 10)
        assert (await library.client.get("/health")).status == 503
    await asyncio.sleep(0.2)  # nothing opens it any more
    again = await make_library()
    assert (await again.client.get("/health")).status == 200


async def test_commands_do_not_wait(make_library: Any) -> None:
    first = await make_library()
    await first.services.stop()
    patches = pytest.MonkeyPatch()
    with being_copied(first.host.data_directory() / "library.db", patches):
        services = app.Services(first.host, Config())
        await services.start(recover=False)
        assert services.problem is not None
        assert services._opening_again is None
