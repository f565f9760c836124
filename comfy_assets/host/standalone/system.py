"""The state of the server: its machine, features and log, for clients and ComfyUI's own page.

Nothing is required for the facts about the machine: PyTorch and psutil are optional.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib
import logging
import os
import platform
import shutil
import sys
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from aiohttp import web

from ... import VERSION
from .folders import BaseFolders
from .http import Refusal, RouteTable, json_response, read_object
from .websocket import MessageHub

log = logging.getLogger("comfy_assets.standalone")

# The ComfyUI release whose API is implemented: clients choose features by this number.
COMFYUI_VERSION = "0.33.0"
MAX_UPLOAD_BYTES = 100 << 20
_LOG_RECORDS = 300  # as in ComfyUI


class SystemRoutes:
    """The routes /system_stats and /features."""

    def __init__(self, features: Mapping[str, Any]) -> None:
        self._features = features

    def routes(self) -> RouteTable:
        return [("GET", "/system_stats", self._statistics), ("GET", "/features", self._list_features)]

    async def _statistics(self, request: web.Request) -> web.Response:
        return json_response(await asyncio.to_thread(statistics))

    async def _list_features(self, request: web.Request) -> web.Response:
        return json_response(self._features)


@dataclass(frozen=True)
class SystemMemory:
    """Main memory in bytes; 0 if the system does not report it."""

    total: int
    free: int


def statistics() -> dict[str, Any]:
    """Return the body of /system_stats. Blocks: the first call may load PyTorch."""
    memory, torch = read_memory(), find_torch()
    return {
        "system": {
            "os": sys.platform,
            "ram_total": memory.total,
            "ram_free": memory.free,
            "comfyui_version": COMFYUI_VERSION,
            "python_version": sys.version,
            "pytorch_version": "none" if torch is None else str(torch.__version__),
            "embedded_python": False,
            "deploy_environment": "comfy-assets-standalone",
            "argv": sys.argv,
            "standalone_version": VERSION,
        },
        "devices": graphics_devices(torch) or [_processor(memory)],
    }


def _processor(memory: SystemMemory) -> dict[str, Any]:
    return {
        "name": "cpu",
        "type": "cpu",
        "index": None,
        "vram_total": memory.total,
        "vram_free": memory.free,
        "torch_vram_total": 0,
        "torch_vram_free": 0,
    }


def default_features() -> dict[str, Any]:
    """Return the features of the server itself, as in /features."""
    return {
        "supports_preview_metadata": False,
        "max_upload_size": MAX_UPLOAD_BYTES,
        "node_replacements": False,
    }


def read_memory() -> SystemMemory:
    """Return the main memory, from psutil if it is installed, else from the system."""
    try:
        virtual = importlib.import_module("psutil").virtual_memory()
    except ImportError:
        return _windows_memory() if platform.system() == "Windows" else _posix_memory()
    return SystemMemory(int(virtual.total), int(virtual.available))


def _posix_memory() -> SystemMemory:
    """Read /proc on Linux, elsewhere sysconf, which may not know the free part."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        kilobytes = {name: int(rest.split()[0]) for name, rest in (line.split(":", 1) for line in lines)}
        return SystemMemory(kilobytes["MemTotal"] * 1024, kilobytes["MemAvailable"] * 1024)
    except (OSError, KeyError, ValueError, IndexError):
        return SystemMemory(_pages("SC_PHYS_PAGES"), _pages("SC_AVPHYS_PAGES"))


def _pages(name: str) -> int:
    """Return a number of memory pages in bytes."""
    sysconf = getattr(os, "sysconf", None)
    try:
        return int(sysconf(name) * sysconf("SC_PAGE_SIZE")) if sysconf else 0
    except (ValueError, OSError):
        return 0


# Declared by hand, as Python has no function for the size of the memory.
class _MemoryStatus(ctypes.Structure):
    """MEMORYSTATUSEX of the Windows API."""

    _fields_ = [
        ("length", ctypes.c_ulong),
        ("load", ctypes.c_ulong),
        ("total", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("others", ctypes.c_ulonglong * 5),
    ]


def _windows_memory() -> SystemMemory:
    windows = getattr(ctypes, "windll", None)  # missing elsewhere, which type checkers would report
    status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
    if windows is None or not windows.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
        return SystemMemory(0, 0)
    return SystemMemory(int(status.total), int(status.free))


def find_torch() -> Any:
    """Return PyTorch, None if it is not installed or cannot be loaded."""
    try:
        return importlib.import_module("torch")
    except ImportError:
        return None
    except OSError as error:  # a system library that it needs is missing
        log.warning("PyTorch is installed but cannot be loaded: %s", error)
        return None


def graphics_devices(torch: Any) -> list[dict[str, Any]]:
    """Return the CUDA devices with their memory in bytes; [] without PyTorch or a working driver."""
    try:
        if torch is None or not torch.cuda.is_available():
            return []
        return [_describe(torch, index) for index in range(torch.cuda.device_count())]
    except RuntimeError as error:  # the driver
        log.warning("The graphics devices cannot be asked: %s", error)
        return []


def _describe(torch: Any, index: int) -> dict[str, Any]:
    free, total = torch.cuda.mem_get_info(index)
    reserved, allocated = torch.cuda.memory_reserved(index), torch.cuda.memory_allocated(index)
    return {
        "name": f"cuda:{index} {torch.cuda.get_device_name(index)}",
        "type": "cuda",
        "index": index,
        "vram_total": total,
        "vram_free": free,
        "torch_vram_total": reserved,
        "torch_vram_free": reserved - allocated,
    }


class InternalRoutes:
    """The routes below /internal, which ComfyUI's own page uses."""

    def __init__(self, folders: BaseFolders, log_buffer: LogBuffer) -> None:
        self._folders = folders
        self._log_buffer = log_buffer

    def routes(self) -> RouteTable:
        return [
            ("GET", "/logs", self._logs),
            ("GET", "/logs/raw", self._raw_logs),
            ("PATCH", "/logs/subscribe", self._subscribe),
            ("GET", "/folder_paths", self._folder_paths),
            ("GET", "/files/{directory_type}", self._files),
        ]

    async def _logs(self, request: web.Request) -> web.Response:
        """Return the log as one string."""
        return json_response("".join(f"{entry['t']} - {entry['m']}" for entry in self._log_buffer.entries()))

    async def _raw_logs(self, request: web.Request) -> web.Response:
        return json_response({"entries": self._log_buffer.entries(), "size": terminal_size()})

    async def _subscribe(self, request: web.Request) -> web.Response:
        """Start or stop sending the log to a session: ``{"clientId": …, "enabled": …}``."""
        body = await read_object(request)
        sid, enabled = body.get("clientId"), body.get("enabled")
        if not isinstance(sid, str) or not isinstance(enabled, bool):
            raise Refusal("clientId must be a string and enabled true or false.")
        self._log_buffer.subscribe(sid, enabled=enabled)
        return web.Response()

    async def _folder_paths(self, request: web.Request) -> web.Response:
        folders = {name: self._folders.category_paths(name) for name in self._folders.categories()}
        folders["custom_nodes"] = tuple(self._folders.code)
        return json_response({name: [str(path) for path in paths] for name, paths in folders.items()})

    async def _files(self, request: web.Request) -> web.Response:
        """List the files directly in the input, output or temp folder, the latest first."""
        kind = request.match_info["directory_type"]
        folder = self._folders.of_type(kind)
        if folder is None:
            raise Refusal("Invalid directory type")
        return json_response([f"{name} [{kind}]" for name in await asyncio.to_thread(_latest_first, folder)])


def _latest_first(folder: Path) -> list[str]:
    found = []
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return []
    for entry in entries:
        try:
            if entry.is_file() and not entry.name.startswith("."):
                found.append((-entry.stat().st_mtime, entry.name))
        except OSError:  # gone in the meantime
            continue
    return [name for _, name in sorted(found)]


class LogBuffer(logging.Handler):
    """Keeps the last log records between ``open`` and ``shut``, as ``{"t": time, "m": text}``."""

    def __init__(self, hub: MessageHub) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("[%(levelname)s] %(message)s\n"))
        self._hub = hub
        self._entries: deque[dict[str, str]] = deque(maxlen=_LOG_RECORDS)
        self._readers: set[str] = set()
        self._guard = threading.Lock()

    def open(self) -> None:
        logging.getLogger().addHandler(self)

    def shut(self) -> None:
        logging.getLogger().removeHandler(self)

    def entries(self) -> list[dict[str, str]]:
        with self._guard:
            return list(self._entries)

    def subscribe(self, sid: str, *, enabled: bool) -> None:
        """Start or stop sending every new entry to the pages of a session."""
        with self._guard:
            (self._readers.add if enabled else self._readers.discard)(sid)

    def emit(self, record: logging.LogRecord) -> None:
        entry = {"t": datetime.fromtimestamp(record.created).isoformat(), "m": self.format(record)}
        with self._guard:
            self._entries.append(entry)
            # Pages that disconnected without unsubscribing.
            self._readers = {sid for sid in self._readers if self._hub.is_connected(sid)}
            readers = list(self._readers)
        for sid in readers:
            self._hub.send("logs", {"entries": [entry], "size": None}, sid)


def terminal_size() -> dict[str, Any]:
    """Return the size of the server's terminal; 80 x 24 without one."""
    size = shutil.get_terminal_size()
    return {"cols": size.columns, "rows": size.lines}
