"""Calls from an event loop into code that may never return, such as code of node packs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def in_daemon_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call the function in a thread of its own; return its result or raise its exception.

    Unlike with ``asyncio.to_thread``, a hanging call occupies no thread of a pool and does not keep the process alive.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def set_outcome(value: T | None, error: BaseException | None) -> None:
        if outcome.done():  # the caller was cancelled
            return
        if error is not None:
            outcome.set_exception(error)
        else:
            outcome.set_result(value)  # type: ignore[arg-type]

    def run() -> None:
        value, error = None, None
        try:
            value = function(*args, **kwargs)
        except Exception as raised:  # noqa: BLE001 - it is raised in the caller
            error = raised
        with suppress(RuntimeError):  # the loop has been closed
            loop.call_soon_threadsafe(set_outcome, value, error)

    threading.Thread(target=run, name=f"comfy-assets {function.__name__}", daemon=True).start()
    return await outcome
