"""A small disk for the store, which can be filled: a tmpfs that is mounted over its folder. Linux and root only."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

SIZE = "256m"
BALLAST = "ballast"
CHUNK = 1 << 20
NEEDED = "a full disk needs Linux and root, to mount a tmpfs"


class SmallDisk:
    """A disk of its own at ``folder``, from ``mount`` to ``release``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._is_mounted = False

    def mount(self) -> bool:
        """Return whether the disk is there: nobody but root may mount one, and not everywhere."""
        if sys.platform != "linux" or os.geteuid() != 0:
            return False
        self.folder.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(self.folder)]
        self._is_mounted = subprocess.run(command, check=False, capture_output=True).returncode == 0
        return self._is_mounted

    @property
    def free(self) -> int:
        """Return the bytes that can still be written."""
        room = os.statvfs(self.folder)
        return room.f_bavail * room.f_frsize

    def fill(self) -> None:
        """Leave no room; what the server gives free meanwhile is taken when this is called again."""
        with (self.folder / BALLAST).open("ab", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(bytes(min(CHUNK, max(self.free, 1))))
            except OSError:
                return

    def empty(self) -> None:
        """Give the room back."""
        (self.folder / BALLAST).unlink(missing_ok=True)

    def release(self) -> None:
        """Take the disk away; what was on it stays in the folder."""
        if not self._is_mounted:
            return
        self.empty()
        kept = self.folder.with_name(f"{self.folder.name} kept")
        shutil.copytree(self.folder, kept)
        subprocess.run(["umount", str(self.folder)], check=True)
        self._is_mounted = False
        self.folder.rmdir()
        kept.rename(self.folder)
