"""A relay of connections to a server, whose connections a test can cut."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress


class TcpCutter:
    """Relays TCP connections to a port of this machine while its ``with`` block lasts."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.connections = 0
        """How many there have been."""
        self.is_down = False
        """Whether new connections are closed at once."""
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> TcpCutter:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # wakes the thread that accepts
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(10)

    def cut(self) -> None:
        """Reset every connection, as a network that breaks down does."""
        with self._lock:
            broken, self._open = self._open, []
        for each in broken:
            with suppress(OSError):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # the end
                return
            if self.is_down:
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self._target))
            self.connections += 1
            with self._lock:
                self._open += [client, server]
            for source, target in ((client, server), (server, client)):
                thread = threading.Thread(target=_relay, args=(source, target), daemon=True)
                self._threads.append(thread)
                thread.start()


def _relay(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
