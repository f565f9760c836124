"""The hosts that tests run on in turn: the standalone host, and the ComfyUI that ``COMFYUI_PATH`` names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from .servers import COMFYUI, HttpServer


def both_hosts(standalone: Callable[..., HttpServer], comfyui: Callable[..., HttpServer]) -> list[Any]:
    """Return the parameters of a fixture, from the functions that start each kind of server."""
    needs_comfyui = pytest.mark.skipif(not COMFYUI, reason="COMFYUI_PATH names no ComfyUI checkout")
    return [
        pytest.param(standalone, id="standalone"),
        pytest.param(comfyui, id="comfyui", marks=[pytest.mark.comfyui, needs_comfyui]),
    ]
