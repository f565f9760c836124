"""Treat every request to end a server as Ctrl-C: signals, and on Windows the closing of its window.

Windows ends a program whose console window is closed as soon as its handler returns, and after five seconds at the
latest. So the handler waits for the server's end. It also tells of a user who logs off, and of the end of the system,
but not to programs that have loaded user32.dll (Microsoft, "HandlerRoutine callback function").
"""

from __future__ import annotations

import _thread
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

ConsoleHandler = Callable[[int], bool]

_CLOSING = frozenset({2, 5, 6})  # CTRL_CLOSE_EVENT, CTRL_LOGOFF_EVENT, CTRL_SHUTDOWN_EVENT
_LONGEST_END_S = 30.0  # Windows waits for less time

if sys.platform == "win32":
    import ctypes

    _ROUTINE = ctypes.WINFUNCTYPE(ctypes.c_int, ctypes.c_ulong)

    @contextmanager
    def _console_events(handler: ConsoleHandler) -> Iterator[None]:
        """Have a function called with the number of each event, in a thread of Windows; True: it has been handled."""
        set_handler = ctypes.WinDLL("kernel32").SetConsoleCtrlHandler
        routine = _ROUTINE(lambda event: int(handler(event)))
        set_handler(routine, True)
        try:
            yield
        finally:
            set_handler(routine, False)

else:

    @contextmanager
    def _console_events(handler: ConsoleHandler) -> Iterator[None]:
        """Do nothing: terminals send signals."""
        yield


@contextmanager
def orderly_end() -> Iterator[None]:
    """Raise KeyboardInterrupt in the block when the process is to end; Windows waits until the block has ended.

    In a thread other than the main one this does nothing, as signals can be handled only there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGBREAK") if hasattr(signal, name)]
    for number in numbers:
        signal.signal(number, signal.default_int_handler)
    ended = threading.Event()

    def handle(event: int) -> bool:
        if event not in _CLOSING:
            return False  # Python knows Ctrl-C and Ctrl-Break
        _thread.interrupt_main(numbers[-1])
        ended.wait(_LONGEST_END_S)
        return True

    with _console_events(handle):
        try:
            yield
        finally:
            ended.set()  # first, since handlers cannot be removed while one is running
