"""Facts about the machine and its graphics devices, without a dependency: PyTorch and psutil are optional."""

from __future__ import annotations

import ctypes
import importlib
import logging
import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ... import VERSION

# The ComfyUI release whose API is implemented: clients choose features by this number.
COMFYUI_VERSION = "0.33.0"
MAX_UPLOAD_BYTES = 100 * 1024 * 1024


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
    windows = getattr(ctypes, "windll", None)
    status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
    if windows is None or not windows.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
        return SystemMemory(0, 0)
    return SystemMemory(int(status.total), int(status.free))


log = logging.getLogger("comfy_assets.standalone")


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
