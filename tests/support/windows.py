"""What tests need of Windows, and what Wine lacks of it: marks with reasons, and allowances for a slow emulation.

A real Windows may have what Wine lacks, so these marks skip nothing there except for symbolic links.
"""

from __future__ import annotations

import os
import sys

import pytest


def _is_wine() -> bool:
    if sys.platform != "win32":
        return False
    import ctypes

    return hasattr(ctypes.WinDLL("ntdll"), "wine_get_version")


IS_WINE = _is_wine()
# Wine takes a multiple of the time for whatever reaches the file system, and for a loop of events.
SLOWNESS = 5 if IS_WINE else 1

symbolic_links = pytest.mark.skipif(
    os.name == "nt", reason="Windows wants a privilege for symbolic links, and Wine reports success but makes none"
)


def wine_lacks(what: str) -> pytest.MarkDecorator:
    """Skip a test under Wine, for what it lacks: "folders that ..."."""
    return pytest.mark.skipif(IS_WINE, reason=f"Wine lacks {what}")


renames_in_case = wine_lacks("renames that change the case of a name alone: they do nothing")
times_of_creation = wine_lacks("times of creation, which tell a file from its copy: it has those of the last change")
ctrl_break = wine_lacks("Ctrl-Break for the group of a process: there is no console")


def allowed_s(seconds: float) -> float:
    """Return a limit of time for a test: that of other systems, or a multiple of it under Wine."""
    return seconds * SLOWNESS
