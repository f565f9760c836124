"""A pytest plugin for event loops that Wine does not wake.

After some 290 loops in one process, and on a loaded machine before that, what a thread posts to a loop stays there
until something else wakes it. So every loop wakes after a second, and a run ends between two modules before it has that
many loops.
"""

from __future__ import annotations

import sys
from asyncio import base_events
from collections import Counter
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any

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


if sys.platform == "win32":
    from asyncio.windows_events import IocpProactor

    _select = IocpProactor.select

    def _select_for_a_second(self: IocpProactor, timeout: Any = None) -> Any:
        return _select(self, 1 if timeout is None else min(timeout, 1))

    IocpProactor.select = _select_for_a_second  # type: ignore[method-assign]


def pytest_collection_finish(session: pytest.Session) -> None:
    _tests.update(item.path for item in session.items if iscoroutinefunction(getattr(item, "function", None)))


def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """End the run after this test if the next module may need more loops than are left: at most one a test."""
    if nextitem is not None and nextitem.path != item.path and len(_loops) + _tests[nextitem.path] > _MOST:
        item.session.shouldstop = ENOUGH
