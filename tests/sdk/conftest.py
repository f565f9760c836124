"""A server for the official SDKs: the standalone host, and the ComfyUI that ``COMFYUI_PATH`` names."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from support.hosts import both_hosts
from support.sdk import (
    SdkServer,
    comfyui_with_nodes,
    forget_gates,
    server_with_client,
    standalone_with_nodes,
)
from support.servers import HttpServer

HOSTS = both_hosts(standalone_with_nodes, comfyui_with_nodes)


@pytest.fixture(scope="session", params=HOSTS)
def start(request: pytest.FixtureRequest) -> Callable[..., HttpServer]:
    """Starts a server on a base directory, with options and environment variables: each kind of host in turn."""
    chosen: Callable[..., HttpServer] = request.param
    return chosen


@pytest.fixture(scope="session")
def shared_server(start: Callable[..., HttpServer], tmp_path_factory: pytest.TempPathFactory) -> Iterator[SdkServer]:
    """One server for all tests of this process."""
    with server_with_client(start, tmp_path_factory.mktemp("sdk") / "base") as server:
        yield server


@pytest.fixture
def server(shared_server: SdkServer) -> Iterator[SdkServer]:
    """The shared server, with an empty queue before and after."""
    yield shared_server
    shared_server.empty_queue()
    forget_gates(shared_server)
