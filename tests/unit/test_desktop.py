"""Who may have a folder opened, the commands that open it, and the addresses of the machine."""

from __future__ import annotations

import socket
import sys
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import pytest
from comfy_assets_node.comfy_assets import desktop


@pytest.mark.parametrize(
    ("peer", "own", "host", "headers", "is_local"),
    [
        ("127.0.0.1", "127.0.0.1", "localhost:8188", [], True),
        ("127.0.0.1", "127.0.0.1", "127.0.0.1", ["User-Agent"], True),
        ("::1", "::1", "[::1]:8188", [], True),
        ("::ffff:127.0.0.1", "::ffff:127.0.0.1", "LOCALHOST:8188", [], True),
        ("192.168.1.9", "192.168.1.5", "localhost:8188", [], False),  # a name that the client has made up
        ("192.168.1.5", "192.168.1.5", "192.168.1.5:8188", [], False),
        ("127.0.0.1", "127.0.0.1", "comfy.example", [], False),  # a proxy on this machine
        ("127.0.0.1", "127.0.0.1", "localhost.example:8188", [], False),
        ("127.0.0.1", "127.0.0.1", "localhost:8188", ["x-forwarded-for"], False),
        ("127.0.0.1", "127.0.0.1", "localhost:8188", ["FORWARDED"], False),
        ("127.0.0.1", None, "localhost:8188", [], False),
        (None, None, "localhost", [], False),
        ("not an address", "127.0.0.1", "localhost", [], False),
    ],
)
def test_who_is_on_this_machine(peer: Any, own: Any, host: str, headers: list[str], is_local: bool) -> None:
    assert desktop.is_from_this_machine(peer, own, host, headers) == is_local


def test_the_commands_of_the_systems() -> None:
    path: Any = PureWindowsPath("C:/my pictures/a, b.png")
    windows = desktop.show_command(path, "win32", {"SystemRoot": "D:\\Win"})
    assert windows == '"D:\\Win\\explorer.exe" /select,"C:\\my pictures\\a, b.png"'
    unix: Any = PurePosixPath("/data/my pictures/-x.png")
    assert desktop.show_command(unix, "darwin") == ["open", "-R", "/data/my pictures/-x.png"]
    assert desktop.show_command(unix, "linux") == ["xdg-open", "/data/my pictures"]


@pytest.mark.skipif(sys.platform == "win32", reason="programs have other names there")
def test_machines_with_a_desktop(tmp_path: Path) -> None:
    program = tmp_path / "xdg-open"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert desktop.has_desktop("win32", {}) and desktop.has_desktop("darwin", {})
    assert desktop.has_desktop("linux", {"DISPLAY": ":0", "PATH": str(tmp_path)})
    assert desktop.has_desktop("linux", {"WAYLAND_DISPLAY": "wayland-0", "PATH": str(tmp_path)})
    assert not desktop.has_desktop("linux", {"PATH": str(tmp_path)})
    assert not desktop.has_desktop("linux", {"DISPLAY": ":0", "PATH": str(tmp_path / "none")})


def test_addresses_for_other_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    assert desktop.reachable_addresses(["127.0.0.1", "::1", "localhost", "169.254.1.1", "name"]) == []
    assert desktop.reachable_addresses(["192.168.1.5", "[fd00::5]", "192.168.1.5"]) == ["192.168.1.5", "fd00::5"]
    infos = [
        (family, socket.SOCK_STREAM, 6, "", (address, 0))
        for family, address in (
            (socket.AF_INET, "127.0.1.1"),
            (socket.AF_INET, "10.0.0.7"),
            (socket.AF_INET6, "fd00::7"),
        )
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: infos)
    assert "10.0.0.7" in (found := desktop.reachable_addresses(["0.0.0.0"])) and "fd00::7" not in found
    assert {"10.0.0.7", "fd00::7"} <= {*desktop.reachable_addresses(["::"])}
