"""Execution of prompts: node by node on a worker thread, with cached results and messages to pages."""

from __future__ import annotations

import logging
import secrets
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ..execution import FinishedPrompt, NodePreview, PromptListener
from .graph import GraphStep, execution_order, read_steps, signatures
from .nodes import ExecutionInterrupted, NodeRegistry, Result, Run
from .queue import PromptOutcome, PromptQueue, RunningPrompt

log = logging.getLogger("comfy_assets.standalone")

MAX_PROGRESS_NODES = 200  # bounds each message: the whole state is sent for every step of a node


class SendMessage(Protocol):
    """Sends a message to the pages of a session, or to every page if it is None."""

    def __call__(self, event: str, data: Mapping[str, Any], sid: str | None) -> None: ...


@dataclass(frozen=True)
class ExecutionFailure:
    """The message to pages that ends a failed or interrupted prompt."""

    event: str
    data: Mapping[str, Any]


class Executor:
    """Executes one prompt at a time; keeps the results of the last one, by signature, for the next."""

    def __init__(
        self, registry: NodeRegistry, send: SendMessage, show: Callable[[str, NodePreview], None] = lambda *_: None
    ) -> None:
        """``show`` receives previews with the ids of their prompts."""
        self.registry = registry
        self.send = send
        self.show = show
        self.results: dict[str, Result] = {}
        self._current: tuple[str | None, str] | None = None

    def execute(self, running: RunningPrompt) -> PromptOutcome:
        """Execute a prompt to its end, its first error, or an interrupt."""
        try:
            return Execution(self, running).run()
        finally:
            self._current = None

    def forget(self) -> None:
        """Drop the cached results. Not during an execution."""
        self.results.clear()

    def begin_node(self, client_id: str | None, node_id: str) -> None:
        self._current = (client_id, node_id)

    def current_node(self, client_id: str) -> str | None:
        """Return the node that is running for a session."""
        current = self._current
        return current[1] if current is not None and current[0] == client_id else None


class Execution:
    """The execution of one prompt."""

    def __init__(self, executor: Executor, running: RunningPrompt) -> None:
        self._executor = executor
        self._running = running
        self._prompt = running.prompt
        self._messages: list[tuple[str, Mapping[str, Any]]] = []
        self._executed: list[str] = []
        self._shown: dict[str, Mapping[str, Any]] = {}
        self._steps = read_steps(self._prompt.graph, executor.registry)
        self._signatures = signatures(self._steps, self._fingerprint)

    def run(self) -> PromptOutcome:
        self._announce("execution_start", {})
        results = self._executor.results
        wanted = set(self._signatures.values())
        # Before anything runs, so that old and new results are never in memory together.
        for stale in set(results) - wanted:
            del results[stale]
        cached = [node_id for node_id in self._steps if self._signatures.get(node_id) in results]
        self._announce("execution_cached", {"nodes": cached})
        failure = self._run_nodes(cached)
        if failure is None:
            self._announce("execution_success", {})
        else:
            # An interrupt is also sent to pages that did not submit the prompt, as ComfyUI does.
            self._announce(failure.event, failure.data, broadcast=failure.event == "execution_interrupted")
        return self._outcome(completed=failure is None)

    def _run_nodes(self, cached: list[str]) -> ExecutionFailure | None:
        for node_id in execution_order(self._steps, self._prompt.outputs, set(cached)):
            result = self._executor.results.get(self._signatures[node_id])
            if result is not None:
                self._show(node_id, result.ui, always=True)
                self._set_progress(node_id, 1, 1, "finished")
                continue
            failure = self._run_node(node_id)
            if failure is not None:
                return failure
        return None

    def _run_node(self, node_id: str) -> ExecutionFailure | None:
        step = self._steps[node_id]
        inputs: dict[str, Any] = {}
        self._executor.begin_node(self._prompt.client_id, node_id)
        self._set_progress(node_id, 0, 1, "running")
        self._send("executing", {"node": node_id, "display_node": node_id})
        try:
            inputs.update(self._inputs(step))
            result = self._call(node_id, step, inputs)
        except ExecutionInterrupted:
            return ExecutionFailure("execution_interrupted", self._failure_data(node_id))
        except Exception as error:  # noqa: BLE001  nodes are foreign code: whatever they raise is their error
            return self._failed(node_id, inputs, error)
        self._show(node_id, result.ui)
        self._executor.results[self._signatures[node_id]] = result
        self._executed.append(node_id)
        self._set_progress(node_id, 1, 1, "finished")
        return None

    def _inputs(self, step: GraphStep) -> dict[str, Any]:
        results = self._executor.results
        linked = {name: results[self._signatures[link.source]].outputs[link.slot] for name, link in step.links.items()}
        return {**step.literals, **linked}

    def _call(self, node_id: str, step: GraphStep, inputs: Mapping[str, Any]) -> Result:
        node = self._executor.registry[step.class_type]
        run = Run(
            node_id,
            self._prompt.graph,
            self._prompt.extra_data,
            self._running.interrupted,
            lambda value, total: self._report(node_id, value, total),
            lambda picture: self._executor.show(self._prompt.prompt_id, NodePreview(node_id, picture)),
        )
        run.check()  # an interrupt between two nodes
        result = node.execute(run, **inputs)
        # Found here, not at the next node, which would fail with an index error.
        if len(result.outputs) != len(node.returns):
            raise TypeError(f"{step.class_type} must give {len(node.returns)} outputs")
        return result

    def _failed(self, node_id: str, inputs: Mapping[str, Any], error: Exception) -> ExecutionFailure:
        report = "".join(traceback.format_exception(error))
        log.warning("node %s failed: %s", node_id, self._prompt.redacted(report))
        kind = type(error)
        module = "" if kind.__module__ == "builtins" else kind.__module__ + "."
        data = {
            **self._failure_data(node_id),
            "exception_message": f"{error}\n",
            "exception_type": module + kind.__qualname__,
            "traceback": traceback.format_tb(error.__traceback__),
            "current_inputs": {name: [_printable(value)] for name, value in inputs.items()},
            "current_outputs": [each for each in self._steps if self._signatures.get(each) in self._results()],
        }
        return ExecutionFailure("execution_error", data)

    def _results(self) -> Mapping[str, Result]:
        return self._executor.results

    def _failure_data(self, node_id: str) -> dict[str, Any]:
        node_type = self._steps[node_id].class_type
        return {"node_id": node_id, "node_type": node_type, "executed": list(self._executed)}

    def _fingerprint(self, step: GraphStep) -> str:
        """Return the node's fingerprint; a random one, so that nothing is reused, if it cannot be computed."""
        try:
            return self._executor.registry[step.class_type].fingerprint(step.literals)
        except (OSError, ValueError, LookupError):
            return secrets.token_hex()

    def _show(self, node_id: str, ui: Mapping[str, Any], *, always: bool = False) -> None:
        """Send the output of a node to pages, and keep it for the history."""
        if ui:
            self._shown[node_id] = ui
        if ui or always:
            self._send("executed", {"node": node_id, "display_node": node_id, "output": ui or None})

    def _report(self, node_id: str, value: float, total: float) -> None:
        data = {"value": value, "max": total, "prompt_id": self._prompt.prompt_id, "node": node_id}
        self._set_progress(node_id, value, total, "running")
        self._executor.send("progress", data, self._prompt.client_id)

    def _set_progress(self, node_id: str, value: float, total: float, state: str) -> None:
        """Send the progress of the started nodes; in a very large graph only of the latest."""
        progress = self._running.progress
        progress[node_id] = {
            "value": value,
            "max": total,
            "state": state,
            "node_id": node_id,
            "prompt_id": self._prompt.prompt_id,
            "display_node_id": node_id,
            "parent_node_id": None,
            "real_node_id": node_id,
        }
        if len(progress) > MAX_PROGRESS_NODES:
            del progress[next(iter(progress))]
        data = {"prompt_id": self._prompt.prompt_id, "nodes": progress}
        self._executor.send("progress_state", data, self._prompt.client_id)

    def _send(self, event: str, data: Mapping[str, Any]) -> None:
        """Send to the session that submitted the prompt, if there is one."""
        if self._prompt.client_id is not None:
            data = {**data, "prompt_id": self._prompt.prompt_id}
            self._executor.send(event, data, self._prompt.client_id)

    def _announce(self, event: str, data: Mapping[str, Any], *, broadcast: bool = False) -> None:
        """Send a message as ``_send`` does, and keep it for the history."""
        stamped = {"prompt_id": self._prompt.prompt_id, **data, "timestamp": int(time.time() * 1000)}
        self._messages.append((event, stamped))
        if broadcast or self._prompt.client_id is not None:
            self._executor.send(event, stamped, self._prompt.client_id)

    def _outcome(self, *, completed: bool) -> PromptOutcome:
        meta = {
            node_id: {
                "node_id": node_id,
                "display_node": node_id,
                "parent_node": None,
                "real_node_id": node_id,
            }
            for node_id in self._shown
        }
        return PromptOutcome(completed, self._shown, meta, tuple(self._messages))


def _printable(value: object) -> object:
    """Return a value in the form for error messages."""
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


class Worker:
    """Executes the prompts of the queue one by one. The thread is a daemon: a hanging node does not block the exit."""

    def __init__(self, queue: PromptQueue, executor: Executor, send: SendMessage, finished: PromptListener) -> None:
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
        """Interrupt the running prompt and end the thread; return whether it ended in time. Blocks."""
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

    def _execute(self, running: RunningPrompt) -> PromptOutcome:
        try:
            return self._executor.execute(running)
        except Exception as error:  # a fault of the executor itself must not end the worker
            log.exception("prompt %s could not be executed", running.prompt.prompt_id)
            return _failed(running.prompt.prompt_id, error)


def _failed(prompt_id: str, error: Exception) -> PromptOutcome:
    """Return the outcome of a prompt that the executor itself could not execute."""
    data = {
        "prompt_id": prompt_id,
        "exception_type": type(error).__name__,
        "exception_message": f"The prompt could not be executed: {error}",
        "traceback": traceback.format_tb(error.__traceback__),
    }
    return PromptOutcome(completed=False, outputs={}, meta={}, messages=(("execution_error", data),))
