"""ComfyUI's ``PromptQueue`` and server, as far as anybody outside calls them, written from their public behaviour."""

from __future__ import annotations

import copy
import heapq
import threading
from collections.abc import Callable
from typing import Any, NamedTuple


class ExecutionStatus(NamedTuple):
    status_str: str
    completed: bool
    messages: list[Any]


class OldQueue:
    """ComfyUI's ``PromptQueue``, as far as anybody outside calls it, on 0.3.64."""

    def __init__(self, server: FakeServer) -> None:
        self.server = server
        self.mutex = threading.RLock()
        self.not_empty = threading.Condition(self.mutex)
        self.task_counter = 0
        self.queue: list[Any] = []
        self.currently_running: dict[int, Any] = {}
        self.history: dict[str, Any] = {}
        self.flags: dict[str, Any] = {}

    def put(self, item: Any) -> None:
        with self.mutex:
            heapq.heappush(self.queue, item)
            self.server.queue_updated()
            self.not_empty.notify()

    def get(self, timeout: float | None = None) -> Any:
        with self.not_empty:
            while len(self.queue) == 0:
                self.not_empty.wait(timeout=timeout)
                if timeout is not None and len(self.queue) == 0:
                    return None
            item = heapq.heappop(self.queue)
            number = self.task_counter
            self.currently_running[number] = copy.deepcopy(item)
            self.task_counter += 1
            self.server.queue_updated()
            return (item, number)

    def task_done(self, item_id: int, history_result: Any, status: ExecutionStatus | None) -> None:
        self._done(item_id, history_result, status, lambda prompt: prompt)

    def _done(self, item_id: int, result: Any, status: ExecutionStatus | None, process: Callable[[Any], Any]) -> None:
        with self.mutex:
            prompt = process(self.currently_running.pop(item_id))
            told = None if status is None else status._asdict()
            self.history[prompt[1]] = {"prompt": prompt, "outputs": {}, "status": told, **result}
            self.server.queue_updated()

    def wipe_queue(self) -> None:
        with self.mutex:
            self.queue = []
            self.server.queue_updated()

    def delete_queue_item(self, function: Callable[[Any], bool]) -> bool:
        with self.mutex:
            for index in range(len(self.queue)):
                if function(self.queue[index]):
                    if len(self.queue) == 1:
                        self.wipe_queue()
                    else:
                        self.queue.pop(index)
                        heapq.heapify(self.queue)
                    self.server.queue_updated()
                    return True
        return False

    def wipe_history(self) -> None:
        self.history = {}

    def delete_history_item(self, id_to_delete: str) -> None:
        self.history.pop(id_to_delete, None)

    def set_flag(self, name: str, data: Any) -> None:
        self.flags[name] = data


class NewQueue(OldQueue):
    """The same on 0.33.0: items have a sixth part, for credentials, that does not go into the history."""

    def task_done(  # type: ignore[override]
        self, item_id: int, history_result: Any, status: ExecutionStatus | None, process_item: Any = None
    ) -> None:
        self._done(item_id, history_result, status, process_item or (lambda prompt: prompt))


class FakeServer:
    """ComfyUI's ``PromptServer``, as far as the queue's adapter needs it."""

    def __init__(self, queue: type[OldQueue]) -> None:
        self.number = 0
        self.sent: list[str] = []
        self.prompt_queue = queue(self)

    def send_sync(self, event: str, data: Any, sid: str | None = None) -> None:
        self.sent.append(event)

    def queue_updated(self) -> None:
        self.send_sync("status", {"status": {}})
