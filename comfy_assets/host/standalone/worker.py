"""The thread that executes prompts."""

from __future__ import annotations

import logging
import threading
import traceback

from ..base import PromptListener
from ..execution import FinishedPrompt
from .executor import Executor, Send
from .queue import Outcome, PromptQueue, RunningPrompt

log = logging.getLogger("comfy_assets.standalone")


class Worker:
    """Takes prompts from the queue one by one. The thread is a daemon: a node that hangs holds nobody."""

    def __init__(self, queue: PromptQueue, executor: Executor, send: Send, finished: PromptListener) -> None:
        self._queue = queue
        self._executor = executor
        self._send = send
        self._finished = finished
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._queue.open()
        self._thread = threading.Thread(target=self._work, name="standalone prompt worker", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Interrupt the running prompt and end the thread. Blocks; whether it ended in time."""
        self._queue.close()
        thread, self._thread = self._thread, None
        if thread is None:
            return True
        thread.join(timeout_s)
        return not thread.is_alive()

    def _work(self) -> None:
        while (running := self._queue.take(self._executor.forget)) is not None:
            outcome = self._execute(running)
            self._queue.finish(running, outcome)
            prompt = running.prompt
            self._finished(FinishedPrompt(prompt.prompt_id, outcome.outputs))
            if prompt.client_id is not None:
                data = {"node": None, "prompt_id": prompt.prompt_id}
                self._send("executing", data, prompt.client_id)

    def _execute(self, running: RunningPrompt) -> Outcome:
        try:
            return self._executor.execute(running)
        except Exception as error:  # a fault of the executor itself must not end the worker
            log.exception("prompt %s could not be executed", running.prompt.prompt_id)
            return _failed(running.prompt.prompt_id, error)


def _failed(prompt_id: str, error: Exception) -> Outcome:
    """Return the outcome of a prompt that the executor itself could not execute."""
    data = {
        "prompt_id": prompt_id,
        "exception_type": type(error).__name__,
        "exception_message": f"The prompt could not be executed: {error}",
        "traceback": traceback.format_tb(error.__traceback__),
    }
    return Outcome(completed=False, outputs={}, meta={}, messages=(("execution_error", data),))
