"""Starting and stopping: folders, the plugin, the address, and what is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import aiohttp
import pytest
from aiohttp import web
from aiohttp.typedefs import Handler
from comfy_assets_node.comfy_assets.cli.serve import cancelled_by_signals
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.host.base import Host, Plugin
from comfy_assets_node.comfy_assets.host.standalone import StandaloneHost
from comfy_assets_node.comfy_assets.plugin import attach
from support.queue_ids import QueueIds, queue_ids
from support.servers import standalone_command
from support.windows import ctrl_break, symbolic_links

ROOT = Path(__file__).parents[3]
SOON_S = 5.0  # for what takes a fraction of a second: the machine may be busy, and what waits would wait for minutes
EMPTY: dict[str, Any] = {"class_type": "EmptyImage", "inputs": {"width": 1, "height": 1, "batch_size": 1, "color": 0}}
HELD: dict[str, Any] = {
    "e": EMPTY,
    "h": {"class_type": "Hold", "inputs": {"image": ["e", 0]}},
    "p": {"class_type": "PreviewImage", "inputs": {"images": ["h", 0]}},
}


@web.middleware
async def answer_two_paths(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.path in ("/api/assets", "/api/queue"):
        return web.json_response({"from": "plugin"})
    return await handler(request)


class Recorder:
    """A plugin that notes what is done with it."""

    def __init__(self, fails: bool = False, lingers: bool = False) -> None:
        self.notes: list[str] = []
        self._fails, self._lingers = fails, lingers

    def plugin(self) -> Plugin:
        return Plugin(answer_two_paths, self.on_serving, self.on_stop)

    async def on_serving(self) -> None:
        self.notes.append("serving")
        if self._fails:
            raise ValueError("not today")
        if self._lingers:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.notes.append("cancelled")
                raise

    async def on_stop(self) -> None:
        self.notes.append("stopped")


def workers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "standalone prompt worker"]


def test_it_is_a_host(tmp_path: Path) -> None:
    host: Host = StandaloneHost(tmp_path)
    assert queue_ids(host.execution) == QueueIds() and host.is_executing() is False
    assert host.data_directory() == tmp_path / "user" / "__comfy_assets"
    host.emit("nobody", {"hears": "this"})
    assert list(tmp_path.iterdir()) == [], "nothing is written before the server starts"


def test_folders_are_laid_out_as_in_comfyui(tmp_path: Path) -> None:
    folders = StandaloneHost(tmp_path).folders()
    by_category: dict[str | None, list[str]] = {}
    for folder in folders.folders:
        by_category.setdefault(folder.category, []).append(folder.path.relative_to(tmp_path).as_posix())
    assert by_category[None] == ["models", "input", "output"]
    assert by_category["diffusion_models"] == ["models/unet", "models/diffusion_models"]
    assert by_category["controlnet"] == ["models/controlnet", "models/t2i_adapter"]
    assert by_category["text_encoders"] == ["models/text_encoders", "models/clip"]
    loras, configs, classifiers = (
        next(folder for folder in folders.folders if folder.category == name)
        for name in ("loras", "configs", "classifiers")
    )
    assert ".safetensors" in loras.extensions and ".gguf" not in loras.extensions
    assert configs.extensions == {".yaml"} and classifiers.extensions == set()
    assert {path.name for path in folders.excluded} == {"user", "temp", "custom_nodes"}


async def test_starting_makes_folders_and_empties_temp(tmp_path: Path, aiohttp_client: Any) -> None:
    for name in ("temp/old/deep.png", "temp/x.png", "input/kept.png", "output/kept.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    await aiohttp_client(StandaloneHost(tmp_path).application())
    assert list((tmp_path / "temp").iterdir()) == []
    assert (tmp_path / "input" / "kept.png").exists() and (tmp_path / "output" / "kept.png").exists()
    for name in ("models/checkpoints", "models/loras", "models/vae", "user"):
        assert (tmp_path / name).is_dir()


@pytest.mark.parametrize(
    ("recorder", "notes"),
    [
        (Recorder(), ["serving", "stopped"]),
        (Recorder(fails=True), ["serving", "stopped"]),
        (Recorder(lingers=True), ["serving", "cancelled", "stopped"]),
    ],
)
async def test_the_plugin_is_started_asked_first_and_stopped(
    tmp_path: Path, aiohttp_client: Any, recorder: Recorder, notes: list[str]
) -> None:
    host = StandaloneHost(tmp_path)
    host.attach(recorder.plugin())
    with pytest.raises(RuntimeError):
        host.attach(recorder.plugin())
    client = await aiohttp_client(host.application())
    for path, expected in (("/api/assets", "plugin"), ("/api/queue", "plugin"), ("/queue", None)):
        async with client.get(path) as response:
            assert response.status == 200 and (await response.json()).get("from") == expected
    async with client.get("/api/assets", headers={"Sec-Fetch-Site": "cross-site"}) as response:
        assert response.status == 403, "security comes before the plugin"
    assert recorder.notes == ["serving"]
    await client.close()
    assert recorder.notes == notes


async def test_stopping_ends_pages_prompts_and_threads_at_once(server: Any) -> None:
    page = await server.page("me")
    held = await server.submit(HELD, client_id="me")
    await server.running(held)
    waiting = await server.submit(HELD)
    assert len(workers()) == 1
    began = time.monotonic()
    await server.client.server.close()
    assert time.monotonic() - began < SOON_S
    assert workers() == []
    assert queue_ids(server.host.execution) == QueueIds((), (waiting,))
    message = await page.receive(timeout=5)
    while message.type == aiohttp.WSMsgType.TEXT:
        message = await page.receive(timeout=5)
    assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
    server.host.emit("late", {})


async def serving(host: StandaloneHost, port: int = 0) -> tuple[asyncio.Task[None], str]:
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(host.serve("127.0.0.1", port, on_ready=ready.set_result))
    waited: list[asyncio.Future[Any]] = [task, ready]
    await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        await task
    return task, ready.result()


async def test_serve_until_cancelled(tmp_path: Path) -> None:
    recorder = Recorder(lingers=True)
    host = StandaloneHost(tmp_path)
    host.attach(recorder.plugin())
    task, url = await serving(host)
    async with aiohttp.ClientSession() as session:
        async with session.get(url + "/api/features") as response:
            assert response.status == 200
        assert recorder.notes == ["serving"]
        (tmp_path / "temp" / "mine.png").touch()
        with pytest.raises(OSError, match="cannot listen on 127"):
            await serving(StandaloneHost(tmp_path), int(url.rsplit(":", 1)[1]))
        assert (tmp_path / "temp" / "mine.png").exists(), "the second server must not touch the first one's files"
        page = await session.ws_connect(url + "/ws")
        began = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - began < SOON_S
        assert (await page.receive(timeout=5)).type == aiohttp.WSMsgType.TEXT
        assert (await page.receive(timeout=5)).type != aiohttp.WSMsgType.TEXT
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(url)
    assert recorder.notes == ["serving", "cancelled", "stopped"] and workers() == []


def test_importing_it_is_cheap() -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'tests')!r}); import conftest;"
        "import comfy_assets_node.comfy_assets.host.standalone;"
        "print(sorted({'numpy', 'PIL', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


async def test_an_address_that_cannot_be_had_is_named(tmp_path: Path) -> None:
    for host in ("host.invalid", "203.0.113.77"):
        with pytest.raises(OSError, match=f"cannot listen on {host[:4]}"):
            await StandaloneHost(tmp_path).serve(host, 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
def test_ctrl_c_ends_the_process_at_once(tmp_path: Path) -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'tests')!r}); import conftest, asyncio, pathlib, signal;"
        "signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from comfy_assets_node.comfy_assets.host.standalone import StandaloneHost;"
        f"host = StandaloneHost(pathlib.Path({str(tmp_path)!r}));"
        "asyncio.run(host.serve('127.0.0.1', 0, lambda url: print(url, flush=True)))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None and process.stdout.readline().startswith("http://127.0.0.1:")
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)
        assert time.monotonic() - began < SOON_S
    assert errors.strip().endswith("KeyboardInterrupt")


def is_healthy(url: str) -> bool:
    """Wait some seconds for the store; return whether it is open now."""
    try:
        with urlopen(f"{url}/health", timeout=30) as response:
            return bool(response.read() == b"OK")
    except HTTPError:
        return False


@ctrl_break
def test_a_request_to_end_is_heeded_in_order(tmp_path: Path) -> None:
    """SIGTERM, as systemd and Docker send it; on Windows Ctrl-Break. The store's log is folded and the seat free."""
    process = subprocess.Popen(
        standalone_command("--base-directory", str(tmp_path), "--port", "0"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )
    with process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().partition(" on ")[2].partition(" ")[0]
            while not is_healthy(url):
                assert process.poll() is None
            process.send_signal(getattr(signal, "CTRL_BREAK_EVENT", signal.SIGTERM))
            _, errors = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, errors) == (0, "")
    data = tmp_path / "user/__comfy_assets"
    assert (data / "library.db-wal").stat().st_size == 0
    assert list(data.glob("queue/*.log")) == []


CLOSED = """
import sys, threading, time, urllib.request
from pathlib import Path
sys.path[:0] = sys.argv[1:2]
import checkout; checkout.load()
from contextlib import contextmanager
from comfy_assets_node.comfy_assets.cli import main, serve

@contextmanager
def console_events(handler):
    def is_open():
        try:
            return urllib.request.urlopen(urls[0] + "/health").status == 200
        except OSError:
            return False
    def close():
        while not is_open():
            time.sleep(0.05)
        assert not handler(0), "Ctrl-C is Python's"
        assert handler(int(sys.argv[3]))
        # Now Windows would end the process.
        data = Path(sys.argv[2], "user/__comfy_assets")
        print((data / "library.db-wal").stat().st_size, list(data.glob("queue/*.log")), file=printed, flush=True)
    closer = threading.Thread(target=close)
    class Ready:
        def write(self, text):
            if " on http" in text:
                urls.append(text.partition(" on ")[2].split()[0])
                closer.start()
        def flush(self):
            pass
    urls, printed, sys.stdout = [], sys.stdout, Ready()
    yield
    sys.stdout = printed
    closer.join()

serve._console_events = console_events
raise SystemExit(main(["serve", "--base-directory", sys.argv[2], "--port", "0"]))
"""


@pytest.mark.parametrize("event", [2, 5, 6])
def test_windows_waits_until_a_closed_console_has_ended_in_order(tmp_path: Path, event: int) -> None:
    """The window is closed, its user logs off or the system shuts down: told to a thread of Windows, emulated here."""
    command = [sys.executable, "-c", CLOSED, str(ROOT / "tests/fault"), str(tmp_path), str(event)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0 []\n", "")


@symbolic_links
@pytest.mark.parametrize(
    "broken", ["models", "models/loras", "models/unet", "output", "input", "temp", "custom_nodes", "user"]
)
async def test_a_link_to_a_drive_that_is_away_does_not_keep_the_server_from_starting(
    tmp_path: Path, aiohttp_client: Any, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    base = tmp_path / "base"
    (base / broken).parent.mkdir(parents=True, exist_ok=True)
    (base / broken).symlink_to(tmp_path / "unplugged", target_is_directory=True)
    kept = "models/vae/kept.safetensors" if broken not in ("models", "models/vae") else "output/kept.png"
    (base / kept).parent.mkdir(parents=True, exist_ok=True)
    (base / kept).write_bytes(b"kept")
    host = StandaloneHost(base)
    services = attach(host, Config(scan_on_start=True, follow=False))
    client = await aiohttp_client(host.application())
    await services.started()
    assert f"{base / broken} links to {tmp_path / 'unplugged'}, which is not there" in caplog.text
    assert (await client.get("/models")).status == 200
    listed = await client.get("/api/assets")
    if broken == "user":  # nothing can be stored, which the other requests say
        assert (await listed.json())["code"] == "STORE_UNAVAILABLE"
        return
    assert listed.status == 200
    await services.indexer.scan_now()
    assert [a["file_path"] for a in (await (await client.get("/api/assets")).json())["assets"]] == [kept]
    (tmp_path / "unplugged").mkdir()
    task = await services.indexer.scan_now()
    assert task.status == "completed" and task.result["problems"] == 0


@pytest.mark.skipif(os.name == "nt", reason="sends SIGTERM to its own process")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_interrupts_no_task(number: int) -> None:
    """A task whose step is interrupted may never end, nor would the server."""
    went_on: list[bool] = []
    before = signal.getsignal(number)

    async def step() -> None:
        os.kill(os.getpid(), number)
        went_on.append(True)

    async def serve() -> None:
        with cancelled_by_signals():
            task = asyncio.create_task(step())
            await asyncio.sleep(30)
            await task

    signal.signal(number, signal.default_int_handler)
    try:
        with pytest.raises(asyncio.CancelledError):
            asyncio.run(serve())
        assert went_on == [True] and signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)
