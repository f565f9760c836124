"""What every host must do, run over each that needs no ComfyUI; ``test_comfyui.py`` asks the same of a real one."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp.test_utils import make_mocked_request
from comfy_assets_node.comfy_assets.host.base import Folder, Host, HostFolders, QueueSnapshot, UnknownUserError
from comfy_assets_node.comfy_assets.host.memory import MemoryHost
from comfy_assets_node.comfy_assets.host.standalone import StandaloneHost

MakeHost = Callable[[Path, bool], Host]


def memory(base: Path, multi_user: bool) -> Host:
    """The host for tests."""
    folders = HostFolders(
        (
            Folder("models", base / "models"),
            Folder("models", base / "models" / "loras", "loras", frozenset({".safetensors"})),
            Folder("input", base / "input"),
            Folder("output", base / "output"),
        ),
        (base / "user",),
    )
    return MemoryHost(base / "user" / "__comfy_assets", folders, frozenset({"alice_1"}) if multi_user else None)


def standalone(base: Path, multi_user: bool) -> Host:
    """The embedded host."""
    if multi_user:
        (base / "user").mkdir(parents=True)
        (base / "user" / "users.json").write_text(json.dumps({"alice_1": "alice"}))
    return StandaloneHost(base, multi_user=multi_user)


HOSTS = pytest.mark.parametrize("make", [memory, standalone])


@HOSTS
def test_folders_name_the_three_roots_and_categories(make: MakeHost, tmp_path: Path) -> None:
    folders = make(tmp_path, False).folders()
    assert {f.kind for f in folders.folders} == {"models", "input", "output"}
    assert Folder("models", tmp_path / "models") in folders.folders
    (loras,) = [f for f in folders.folders if f.category == "loras"]
    assert ".safetensors" in loras.extensions


@HOSTS
def test_the_store_is_never_part_of_the_library(make: MakeHost, tmp_path: Path) -> None:
    host = make(tmp_path, False)
    assert any(host.data_directory().is_relative_to(path) for path in host.folders().excluded)
    assert host.data_directory().name.startswith("__")


@HOSTS
@pytest.mark.parametrize(
    ("multi_user", "header", "user"),
    [
        (False, None, "default"),
        (False, "alice_1", "default"),
        (True, "alice_1", "alice_1"),
        (True, "nobody", None),
        (True, "__system", None),
        (True, None, None),
    ],
)
def test_users(make: MakeHost, tmp_path: Path, multi_user: bool, header: str | None, user: str | None) -> None:
    host = make(tmp_path, multi_user)
    request = make_mocked_request("GET", "/api/assets", headers={"comfy-user": header} if header else {})
    if user is None:
        with pytest.raises(UnknownUserError):
            host.user_of(request)
    else:
        assert host.user_of(request) == user


@HOSTS
def test_an_idle_queue_is_empty(make: MakeHost, tmp_path: Path) -> None:
    host = make(tmp_path, False)
    assert host.queue() == QueueSnapshot()
    assert not host.is_executing()


@HOSTS
def test_events_may_be_sent_from_any_thread(make: MakeHost, tmp_path: Path) -> None:
    host = make(tmp_path, False)
    sender = threading.Thread(target=host.emit, args=("assets.seed.progress", {"scanned": 1}))
    sender.start()
    sender.join(5)
    assert not sender.is_alive()


@HOSTS
def test_the_kind_of_host_is_named(make: MakeHost, tmp_path: Path) -> None:
    info = make(tmp_path, False).info()
    assert info.name in ("memory", "standalone")
    assert info.version
