"""Load the checkout under the package name it is installed as, whatever its folder is called."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "comfy_assets_node"


def _load_checkout() -> None:
    spec = importlib.util.spec_from_file_location(PACKAGE, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[PACKAGE] = module
    spec.loader.exec_module(module)


_load_checkout()
sys.path.append(str(ROOT / "tests"))  # for the package `support`; the tests' own folders are no packages

from comfy_assets_node.comfy_assets import logs  # noqa: E402
from comfy_assets_node.comfy_assets.app import Services  # noqa: E402
from comfy_assets_node.comfy_assets.config import Config  # noqa: E402
from comfy_assets_node.comfy_assets.host.base import HostFolders, LibraryFolder  # noqa: E402
from comfy_assets_node.comfy_assets.host.testing import MemoryHost  # noqa: E402
from comfy_assets_node.comfy_assets.plugin import attach  # noqa: E402


def pytest_configure() -> None:
    # Imported here, as programs that the tests start import this module as well and need neither.
    from support import examples, stores

    examples.use_profile()
    stores.use_template()


@pytest.hookimpl(optionalhook=True)  # for runs without xdist
def pytest_xdist_auto_num_workers() -> int:
    """Return three processes for two cores: many tests wait, for files to settle, servers and browsers."""
    return max(2, (os.cpu_count() or 1) * 3 // 2)


def pytest_report_header() -> str:
    """Name what responses are checked against, so that a run that lacks the original says so."""
    from support.contract import ORIGINAL

    return f"contract: its facts and {ORIGINAL}" if ORIGINAL else "contract: its facts (COMFY_ASSETS_CONTRACT is unset)"


@pytest.fixture(autouse=True)
def _all_records() -> None:
    """No test misses a record because others have logged as many of its kind in the same minute."""
    logs._limit._counts.clear()


SAFETENSORS = frozenset({".safetensors", ".ckpt"})


@dataclass
class Library:
    """A base directory with models, input and output, the services over it, and an HTTP client."""

    base: Path
    host: MemoryHost
    services: Services
    client: TestClient[Any, Any]

    def write(self, relative: str, content: bytes = b"content") -> Path:
        """Write a file below the base directory."""
        path = self.base / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    async def scan(self) -> dict[str, Any]:
        """Scan and hash to the end; answers the status."""
        task, _ = self.services.indexer.start_scan()
        await task.done.wait()
        await self.services.indexer.finish()
        return self.services.indexer.status()

    async def get(self, path: str, status: int = 200, **options: Any) -> Any:
        """The JSON answer to a GET."""
        response = await self.client.get(path, **options)
        assert response.status == status, await response.text()
        return await response.json()

    async def assets(self, **parameters: Any) -> list[dict[str, Any]]:
        """The assets listed with these parameters, up to 500."""
        return (await self.get("/api/assets", params={"limit": "500", **parameters}))["assets"]

    async def asset(self, name: str) -> dict[str, Any]:
        """The one asset of this name."""
        found = [a for a in await self.assets() if a["name"] == name]
        assert len(found) == 1, found
        return found[0]


def library_folders(base: Path) -> HostFolders:
    """The folders of a small library."""
    return HostFolders(
        (
            LibraryFolder("models", base / "models"),
            LibraryFolder("models", base / "models" / "checkpoints", "checkpoints", SAFETENSORS),
            LibraryFolder("models", base / "models" / "loras", "loras", SAFETENSORS),
            LibraryFolder("input", base / "input"),
            LibraryFolder("output", base / "output"),
        ),
        (base / "user", base / "temp"),
        base / "temp",
    )


async def _open_library(
    base: Path,
    make_client: Callable[..., Awaitable[TestClient[Any, Any]]],
    config: Config | None = None,
    users: frozenset[str] | None = None,
) -> Library:
    """Open the library below a base directory; whoever calls stops its services."""
    for kind in ("models/checkpoints", "models/loras", "input", "output", "user"):
        (base / kind).mkdir(parents=True, exist_ok=True)
    host = MemoryHost(base / "user" / "__comfy_assets", library_folders(base), users)
    services = attach(host, config or Config(scan_on_start=False, idle_thumbnails=False))
    assert host.plugin is not None
    assert host.plugin.outer is not None
    app = web.Application(middlewares=[host.plugin.outer, host.plugin.middleware])
    await host.plugin.on_serving()
    return Library(base, host, services, await make_client(app))


@pytest.fixture
async def make_library(
    tmp_path: Path, aiohttp_client: Callable[..., Awaitable[TestClient[Any, Any]]]
) -> AsyncIterator[Callable[..., Awaitable[Library]]]:
    """Open libraries over ``tmp_path`` (call again to reopen the same one after ``services.stop()``), or a base."""
    opened: list[Services] = []

    async def make(
        config: Config | None = None, users: frozenset[str] | None = None, base: Path | None = None
    ) -> Library:
        library = await _open_library(base or tmp_path, aiohttp_client, config, users)
        opened.append(library.services)
        return library

    yield make
    for services in opened:
        await services.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_library(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Library]:
    """A library that the tests of a module share, which run on the module's event loop and change nothing."""
    base = tmp_path_factory.mktemp("shared") / "base"
    clients: list[TestClient[Any, Any]] = []

    async def make_client(app: web.Application) -> TestClient[Any, Any]:
        clients.append(TestClient(TestServer(app)))
        await clients[0].start_server()
        return clients[0]

    library = await _open_library(base, make_client)
    yield library
    await library.services.stop()
    await clients[0].close()


@pytest.fixture
async def library(make_library: Callable[..., Awaitable[Library]]) -> Library:
    """An empty library, not yet scanned."""
    return await make_library()


def _write_video(path: Path, *, rate: int = 24, frames: int = 36, size: tuple[int, int] = (64, 48)) -> None:
    """A video that really is one, in the container that its name says."""
    av = pytest.importorskip("av")
    import numpy

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as video:
        track = video.add_stream("libvpx" if path.suffix == ".webm" else "mpeg4", rate=rate)
        track.width, track.height = size
        track.pix_fmt = "yuv420p"
        for number in range(frames):
            picture = numpy.full((size[1], size[0], 3), number * 5 % 256, dtype=numpy.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            video.mux(track.encode(frame))
        video.mux(track.encode())


@pytest.fixture(scope="session")
def write_video() -> Callable[..., None]:
    """Writes a video; skips the test where PyAV is not there."""
    return _write_video
