"""Graphics devices as PyTorch knows them, on machines that have it; it is no dependency."""

from __future__ import annotations

import importlib
import logging
from typing import Any

log = logging.getLogger("comfy_assets.standalone")


def find_torch() -> Any:
    """PyTorch, or None where it is not installed or cannot be loaded."""
    try:
        return importlib.import_module("torch")
    except ImportError:
        return None
    except OSError as error:  # a library of the system that it needs is missing
        log.warning("PyTorch is installed but cannot be loaded: %s", error)
        return None


def graphics_devices(torch: Any) -> list[dict[str, Any]]:
    """Each CUDA device with its memory in bytes; none without PyTorch or where it cannot use them."""
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
