"""Files that other programs have open, as Windows treats them: its refusals, and on Windows itself the real thing."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path


class SharingViolation(PermissionError):
    """A refusal with the number of Windows; elsewhere exceptions have no such number."""

    def __init__(self, number: int = 32) -> None:
        super().__init__(13, "Sharing violation")
        self.winerror = number


@contextlib.contextmanager
def opened_alone(path: Path) -> Iterator[None]:
    """Open a file on Windows as copying programs do, so that nobody else can open it meanwhile."""
    if sys.platform != "win32":
        raise NotImplementedError("no other system has this")
    import _winapi

    handle = _winapi.CreateFile(str(path), _winapi.GENERIC_READ, 0, 0, _winapi.OPEN_EXISTING, 0, 0)
    try:
        yield
    finally:
        _winapi.CloseHandle(handle)
