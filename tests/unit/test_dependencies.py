"""Packages in which weaknesses are known are named; the requirements keep the worst of them out."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets import dependencies
from comfy_assets_node.comfy_assets.host.base import HostFolders
from comfy_assets_node.comfy_assets.host.memory import MemoryHost
from comfy_assets_node.comfy_assets.plugin import attach

OLD = {"aiohttp": "3.9.5", "Pillow": "9.4.0", "filelock": "3.12.0"}


@pytest.mark.parametrize(
    ("installed", "named"),
    [
        (OLD, ["aiohttp 3.9.5", "Pillow 9.4.0", "filelock 3.12.0"]),
        ({"aiohttp": "3.13.3", "Pillow": "12.1.1", "filelock": "3.20.1"}, []),
        ({"aiohttp": "3.14.0a1", "Pillow": "12.2", "filelock": "4"}, []),
        ({"aiohttp": "3.13.2.post1", "Pillow": "11.3.0.dev0"}, ["aiohttp 3.13.2", "Pillow 11.3.0"]),
        ({}, []),
    ],
)
def test_what_is_named(installed: dict[str, str], named: list[str]) -> None:
    found = dependencies.weaknesses(installed)
    assert len(found) == len(named) and all(line.startswith(name) for line, name in zip(found, named, strict=True))


def test_the_requirements_ask_for_versions_without_them() -> None:
    root = Path(__file__).resolve().parents[2]
    lines = (root / "requirements.txt").read_text(encoding="utf-8").split()
    least = dict(line.split(">=") for line in lines)
    # Other packs need a Pillow older than the newest; only formats that it reads well are opened.
    assert [line.split()[0] for line in dependencies.weaknesses(least)] == ["Pillow"]


async def test_the_log_names_them_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(dependencies, "_installed", lambda: OLD)
    host: Any = MemoryHost(tmp_path / "data", HostFolders(()))
    services = attach(host)
    await host.plugin.on_serving()
    await services.stop()
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [line.split()[0] for line in told if "known weakness" in line] == list(OLD)
