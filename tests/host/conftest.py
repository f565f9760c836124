"""Server processes with the pack: the standalone host, and the ComfyUI that ``COMFYUI_PATH`` names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.hosts import both_hosts
from support.servers import HttpServer, comfyui, copy_pack, plain_comfyui, standalone

Start = Callable[..., HttpServer]


HOSTS = both_hosts(standalone, comfyui)


@pytest.fixture(scope="module", params=HOSTS)
def start(request: pytest.FixtureRequest) -> Start:
    """Starts a server on a base directory, with options and environment variables: each kind of host in turn."""
    chosen: Start = request.param
    return chosen


@pytest.fixture(scope="session")
def start_comfyui() -> Start:
    """Starts a ComfyUI on a base directory, with options and environment variables."""
    return comfyui


@pytest.fixture(scope="session")
def start_plain_comfyui() -> Start:
    """Starts a ComfyUI without the pack."""
    return plain_comfyui


@pytest.fixture(scope="session")
def copied_pack() -> Callable[[Path], None]:
    """Copies the pack to a folder that is not there yet."""
    return copy_pack
