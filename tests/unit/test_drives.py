"""Folders on drives that users eject."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from comfy_assets_node.comfy_assets.fs import drives

windows = pytest.mark.skipif(os.name != "nt", reason="other systems eject drives with open folders")


@pytest.fixture
def volumes(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """The volumes of folders; those above 9 can be ejected."""
    found: dict[str, int] = {}
    monkeypatch.setattr(drives, "_volume_of", found.get)
    monkeypatch.setattr(drives, "_is_ejectable", lambda folder: found.get(folder, 0) > 9)
    return found


def test_folders_on_drives_that_can_be_ejected(volumes: dict[str, int]) -> None:
    store = Path("store")
    volumes |= {"store": 1, "output": 1, "disk": 2, "stick": 10, "stick/deep": 10, "usb disk": 11}
    assert drives.ejectable([*volumes, "missing"], store) == {"stick", "stick/deep", "usb disk"}


def test_the_drive_of_the_store_stays(volumes: dict[str, int]) -> None:
    """A ComfyUI that is itself on a USB disk has files open there: its folders may be watched."""
    volumes |= {"store": 11, "output": 11, "stick": 10, "models": 1}
    assert drives.ejectable(volumes, Path("store")) == {"stick"}


def test_the_drives_of_this_machine(tmp_path: Path) -> None:
    """The drives of the tests and of Python are no sticks. A missing folder is on no drive."""
    folders = [str(tmp_path), sys.prefix, str(tmp_path / "missing")]
    assert drives.ejectable(folders, tmp_path / "missing") == set()


@windows
def test_the_bus_of_a_disk_is_known(tmp_path: Path) -> None:
    drive = Path(os.path.realpath(tmp_path)).anchor
    bus_of = drives._bus_of  # type: ignore[attr-defined, unused-ignore]
    assert bus_of(drive), "BusTypeUnknown"
    assert bus_of("Q:\\") is None


@windows
@pytest.mark.parametrize(("bus", "is_expected"), [(7, True), (4, True), (11, False), (17, False), (None, False)])
def test_disks_at_usb_and_firewire_can_be_ejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bus: int | None, is_expected: bool
) -> None:
    """Unlike those at SATA and NVMe, and those of which Windows does not tell."""
    monkeypatch.setattr(drives, "_bus_of", lambda drive: bus)
    assert drives._is_ejectable(str(tmp_path)) is is_expected
