"""A pytest plugin that ends a run between two modules, before Wine wakes no event loop of the process any more.

After some 290 loops in one process, what a thread posts to a loop stays there until something else wakes it.
"""

from __future__ import annotations

from asyncio import base_events
from collections import Counter
from inspect import iscoroutinefunction
from pathlib import Path

import pytest
from outcomes import ENOUGH

_MOST = 260
_loops: list[None] = []  # as many as were made
_tests: Counter[Path] = Counter()  # those that take a loop, by module
_real = base_events.BaseEventLoop.__init__


def _counted(self: base_events.BaseEventLoop) -> None:
    _loops.append(None)
    _real(self)


base_events.BaseEventLoop.__init__ = _counted  # type: ignore[assignment]


def pytest_collection_finish(session: pytest.Session) -> None:
    _tests.update(item.path for item in session.items if iscoroutinefunction(getattr(item, "function", None)))


def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """End the run after this test if the next module may need more loops than are left: at most one a test."""
    if nextitem is not None and nextitem.path != item.path and len(_loops) + _tests[nextitem.path] > _MOST:
        item.session.shouldstop = ENOUGH
