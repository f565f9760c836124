"""Drives that are unplugged while the computer runs, such as USB sticks and USB disks. Blocks: for worker threads.

Windows ejects no drive while a program has a file or folder on it open.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from .paths import extended, plain, real_path

if sys.platform == "win32":
    import _winapi
    import ctypes

    _KERNEL = ctypes.WinDLL("kernel32", use_last_error=True)
    _LONGEST = 32_768  # characters of a path
    _DRIVE_REMOVABLE, _DRIVE_FIXED = 2, 3
    _SHARE_READ_WRITE = 1 | 2
    _QUERY_PROPERTY = 0x2D1400  # IOCTL_STORAGE_QUERY_PROPERTY, which needs no right to the drive
    _BUSES = (4, 7)  # BusType1394, BusTypeUsb

    class _PropertyQuery(ctypes.Structure):
        """STORAGE_PROPERTY_QUERY; zeros stand for StorageDeviceProperty and PropertyStandardQuery."""

        _fields_ = [("property", ctypes.c_ulong), ("query", ctypes.c_ulong), ("parameters", ctypes.c_ubyte * 4)]

    class _DeviceDescriptor(ctypes.Structure):
        """STORAGE_DEVICE_DESCRIPTOR, with room for the texts behind it."""

        _fields_ = [
            *((name, ctypes.c_ulong) for name in ("version", "size")),
            *((name, ctypes.c_ubyte) for name in ("type", "modifier", "has_removable_media", "has_queue")),
            *((f"{name}_offset", ctypes.c_ulong) for name in ("vendor", "product", "revision", "serial_number")),
            *((name, ctypes.c_ulong) for name in ("bus", "further_size")),
            ("further", ctypes.c_ubyte * 1024),
        ]

    def _is_ejectable(path: str) -> bool:
        mount_point = ctypes.create_unicode_buffer(_LONGEST)
        if not _KERNEL.GetVolumePathNameW(extended(str(real_path(path))), mount_point, _LONGEST):
            return False
        drive = plain(mount_point.value)
        kind = _KERNEL.GetDriveTypeW(drive)
        # Disks count as fixed, however they are connected.
        return kind == _DRIVE_REMOVABLE or (kind == _DRIVE_FIXED and _bus_of(drive) in _BUSES)

    def _bus_of(drive: str) -> int | None:
        """Return by what the disk of a volume is connected (STORAGE_BUS_TYPE); None if that is unknown."""
        volume = ctypes.create_unicode_buffer(64)
        if not _KERNEL.GetVolumeNameForVolumeMountPointW(drive, volume, len(volume)):
            return None
        try:
            # With the backslash it would be the volume's topmost folder.
            handle = _winapi.CreateFile(volume.value.rstrip("\\"), 0, _SHARE_READ_WRITE, 0, _winapi.OPEN_EXISTING, 0, 0)
        except OSError:
            return None
        try:
            query, found, size = _PropertyQuery(), _DeviceDescriptor(), ctypes.c_ulong()
            is_known = _KERNEL.DeviceIoControl(
                *(ctypes.c_void_p(handle), _QUERY_PROPERTY),
                *(ctypes.byref(query), ctypes.sizeof(query)),
                *(ctypes.byref(found), ctypes.sizeof(found)),
                *(ctypes.byref(size), None),
            )
            return int(found.bus) if is_known and size.value > _DeviceDescriptor.bus.offset else None
        finally:
            _winapi.CloseHandle(handle)

else:

    def _is_ejectable(path: str) -> bool:
        # A watch keeps no other system from ejecting a drive.
        return False


def ejectable(folders: Iterable[str], store: Path) -> set[str]:
    """Return the folders on drives that Windows ejects unless something on them is open.

    The drive of the store is not one of them, as the store is open.
    """
    known = {_volume_of(str(store)): False}
    found = set()
    for folder in folders:
        volume = _volume_of(folder)
        if volume not in known:
            known[volume] = _is_ejectable(folder)
        if known[volume]:
            found.add(folder)
    return found


def _volume_of(path: str) -> int | None:
    try:
        return os.stat(extended(path)).st_dev  # noqa: PTH116
    except OSError:
        return None
