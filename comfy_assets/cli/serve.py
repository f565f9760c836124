"""``comfy-assets serve``: run the standalone server, at first over a small sample library."""

from __future__ import annotations

import _thread
import argparse
import asyncio
import json
import signal
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..host.standalone import WebFiles, installed_page
from ..plugin import attach
from .command import Commands, add_command, add_extra_paths
from .login import require_login
from .output import say
from .store import base_to_serve, extra_folders, host_on

_EXAMPLES = (
    "serve",
    "serve --base-directory path/to/ComfyUI --port 8189",
    "serve --host 0.0.0.0 --multi-user             # for other machines of your network; with the login on",
)
_PACKS = {"comfy-assets": Path(__file__).resolve().parents[2]}
_PICTURES = (("dawn", (250, 170, 90)), ("noon", (90, 170, 250)), ("dusk", (120, 80, 160)))
_MODELS = (("checkpoints/sample-base.safetensors", "sdxl"), ("loras/sample-style.safetensors", "sdxl"))
_SIDE = 256  # pixels of a picture
_CLOSING = frozenset({2, 5, 6})  # CTRL_CLOSE_EVENT, CTRL_LOGOFF_EVENT, CTRL_SHUTDOWN_EVENT
_LONGEST_END_S = 30.0  # Windows waits for less time

ConsoleHandler = Callable[[int], bool]


def add_to(commands: Commands) -> None:
    """Add the command."""
    serve = add_command(commands, "serve", _serve, "run the API without ComfyUI", _EXAMPLES)
    serve.add_argument(
        "--host",
        default="127.0.0.1",
        help="the address to listen on, or several separated by commas (default: %(default)s, only this machine)",
    )
    serve.add_argument("--port", type=_port, default=8188, help="the port (default: %(default)s)")
    add_extra_paths(serve)
    serve.add_argument(
        "--own-page", action="store_true", help="serve the small built-in page even if ComfyUI's frontend is installed"
    )
    serve.add_argument("--multi-user", action="store_true", help="separate users, like ComfyUI's option of this name")
    serve.add_argument(
        "--without-login",
        action="store_true",
        help="let other machines reach the server although its login is off (see login enable)",
    )


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text} is not a port (0 to 65535)")
    return int(text)


def _serve(options: argparse.Namespace) -> int:
    base, is_default = base_to_serve(options)
    # Never into a folder that the user has chosen, or has used before.
    if is_default and not base.exists():
        make_sample_library(base)
        say(f"Created a small sample library in {base}. Use --base-directory for your own.")
    web_files = WebFiles(None if options.own_page else installed_page(), _PACKS)
    host = host_on(base, extra_folders(options), multi_user=options.multi_user, web_files=web_files)
    require_login(options.host, host.data_directory(), without_login=options.without_login)
    attach(host)

    def ready(url: str) -> None:
        say(f"Serving {base} on {url} (press Ctrl-C to stop)")

    async def serve_until_ended() -> None:
        with cancelled_by_signals():
            await host.serve(options.host, options.port, on_ready=ready)

    with orderly_end(), suppress(KeyboardInterrupt, asyncio.CancelledError):
        asyncio.run(serve_until_ended())
    return 0


def make_sample_library(base: Path) -> None:
    """Write images with embedded graphs, and models without weights, below ``base``. Existing files are kept."""
    for name, title in _MODELS:
        _write(base / "models" / name, _model_bytes(title))
    for name, colour in _PICTURES:
        _write_picture(base / "output" / "samples" / f"{name}.png", name, colour)
    _write(
        base / "README.txt",
        b"A sample library created by comfy-assets. The models have no weights. Put your own files beside them.\n",
    )


def _write(path: Path, content: bytes) -> None:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _model_bytes(base_model: str) -> bytes:
    """Return a valid safetensors file with one 4 x 4 tensor."""
    header = {
        "__metadata__": {"ss_base_model_version": base_model, "modelspec.title": "A sample without weights"},
        "weight": {"dtype": "F16", "shape": [4, 4], "data_offsets": [0, 32]},
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # the format aligns tensors to 8 bytes
    return struct.pack("<Q", len(text)) + text + bytes(32)


def _write_picture(path: Path, name: str, colour: tuple[int, int, int]) -> None:
    """Write a gradient with an embedded graph that would paint its colour, as SaveImage embeds it."""
    from PIL import Image, PngImagePlugin  # here, because most runs do not need it

    if path.exists():
        return
    red, green, blue = colour
    prompt = {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {
                "width": _SIDE,
                "height": _SIDE,
                "batch_size": 1,
                "color": red << 16 | green << 8 | blue,
            },
        },
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": f"samples/{name}"}},
    }
    info = PngImagePlugin.PngInfo()
    info.add_text("prompt", json.dumps(prompt))
    gradient = Image.linear_gradient("L").resize((_SIDE, _SIDE))
    picture = Image.composite(Image.new("RGB", gradient.size, colour), Image.new("RGB", gradient.size), gradient)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, pnginfo=info)


@contextmanager
def orderly_end() -> Iterator[None]:
    """Raise KeyboardInterrupt in the block when the process is to end; Windows waits until the block has ended.

    In a thread other than the main one this does nothing, as signals can be handled only there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGBREAK") if hasattr(signal, name)]
    for number in numbers:
        signal.signal(number, signal.default_int_handler)
    ended = threading.Event()

    def handle(event: int) -> bool:
        if event not in _CLOSING:
            return False  # Python knows Ctrl-C and Ctrl-Break
        _thread.interrupt_main(numbers[-1])
        ended.wait(_LONGEST_END_S)
        return True

    with _console_events(handle):
        try:
            yield
        finally:
            ended.set()  # first, since handlers cannot be removed while one is running


@contextmanager
def cancelled_by_signals() -> Iterator[None]:
    """Cancel the current task when the process is to end. A second signal raises KeyboardInterrupt.

    An exception that a signal raises can hit the event loop just before it resumes a task, such as that of a web
    socket. The task would never be resumed, and the process would wait for its end. In a thread other than the main one
    this does nothing, as signals can be handled only there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    found = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)]
    numbers = [number for number in found if signal.getsignal(number) is not signal.SIG_IGN]

    def cancel(*_: object) -> None:
        for number in numbers:
            signal.signal(number, signal.default_int_handler)
        loop.call_soon_threadsafe(task.cancel)

    before = {number: signal.signal(number, cancel) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if sys.platform == "win32":
    import ctypes

    _ROUTINE = ctypes.WINFUNCTYPE(ctypes.c_int, ctypes.c_ulong)

    @contextmanager
    def _console_events(handler: ConsoleHandler) -> Iterator[None]:
        """Have a function called with the number of each event, in a thread of Windows; True: it has been handled."""
        set_handler = ctypes.WinDLL("kernel32").SetConsoleCtrlHandler
        routine = _ROUTINE(lambda event: int(handler(event)))
        set_handler(routine, True)
        try:
            yield
        finally:
            set_handler(routine, False)

else:

    @contextmanager
    def _console_events(handler: ConsoleHandler) -> Iterator[None]:
        """Do nothing: terminals send signals."""
        yield
