"""Mount points of Linux. Two of them may show folders of one file system, but no file can be moved between them.

So it is in a container whose folders for models, inputs, outputs and users come from one disk, each on its own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from .paths import real_path

_MOUNTS = Path("/proc/self/mountinfo")  # manual page proc(5)
_POINT = 4  # the field with the mount point
_ESCAPE = re.compile(rb"\\([0-7]{3})")  # of spaces, tabs, line feeds and backslashes


def share_mount(one: Path, other: Path) -> bool:
    """Return whether two paths are below the same mount point, or the system does not list these. Blocks."""
    try:
        lines = _MOUNTS.read_bytes().splitlines()
    except OSError:  # another system
        return True
    points = [_ESCAPE.sub(lambda match: bytes([int(match[1], 8)]), line.split(b" ")[_POINT]) for line in lines]
    return _mount_point(one, points) == _mount_point(other, points)


def _mount_point(path: Path, points: Sequence[bytes]) -> bytes | None:
    target = os.fsencode(real_path(path)) + b"/"
    return max((point for point in points if target.startswith(point.rstrip(b"/") + b"/")), key=len, default=None)
