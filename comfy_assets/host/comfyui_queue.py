"""ComfyUI's execution queue, observed by wrapping its methods in a chain with other packs' wrappers.

Signatures have grown over time and other packs wrap or replace the methods, so arguments are passed on unchanged.
``comfyui_items`` reads items and arguments; ``comfyui_states`` ensures that each event is reported once. A method that
another pack may have wrapped is never called with the queue's lock held: such a wrapper may sleep, or wait for the
server's event loop, which needs that lock to handle requests.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from . import client_ids
from .comfyui_items import QueueItems, as_mapping, id_of, item_of, prompt_of, prompts_in
from .comfyui_messages import WORKER, MessagesOfPrompts, ProgressMessages
from .comfyui_states import Graph, ObservedPrompt, PromptStates
from .execution import (
    FinishedPrompt,
    ProgressListener,
    PromptListener,
    QueueListener,
    QueueListeners,
    QueueListing,
    SubmittedPrompt,
    number_after,
)
from .prompt_problems import CheckPrompts, PromptProblem, depth_problem, failed_prompt

log = logging.getLogger("comfy_assets")

_ENDS = ("execution_error", "execution_interrupted")  # messages of prompts that do not complete
_SUCCESS = "execution_success"
_EXTRA_DATA = 3  # its position in an item of the queue
_UNREADABLE = "PromptUnreadable"
_INTERRUPT_S = 0.5  # longest wait of a request for an interrupt that hangs in another pack
_WORKER_S = 0.05  # for another worker to mark the prompt that it has just taken
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 30.0  # between attempts at a queue whose ``get`` raises


class ComfyUIQueue:
    """Implements ``ExecutionQueue`` over a ``PromptServer`` and its ``PromptQueue``.

    ``interrupt`` interrupts the running prompt. ``history_room`` is the number of prompts that the server's page reads
    from its history. ``finished`` is called for prompts once they are in that history. ``check`` finds prompts that the
    server cannot execute.
    """

    def __init__(
        self,
        server: Any,
        interrupt: Callable[[], object],
        finished: PromptListener,
        history_room: int,
        check: CheckPrompts,
    ) -> None:
        self._server = server
        self._queue = server.prompt_queue
        self._items = QueueItems(self._queue)
        self._interrupt = interrupt
        self._after = finished
        self._history_room = history_room
        self._check = check
        self._listeners = QueueListeners()
        self._messages = ProgressMessages(server)
        self._states = PromptStates()
        self._is_wrapped = False
        self._replaced: set[str] = set()  # methods that another pack had wrapped or replaced before us
        self._own: dict[str, Callable[..., Any]] = {}  # our wrappers by method

    def watch(self, listener: QueueListener) -> None:
        self._listeners.add(listener)
        self.wrap()

    def watch_progress(self, listener: ProgressListener) -> None:
        self._messages.listeners.add(listener)
        self.wrap()

    def wrap(self) -> None:
        """Wrap the methods; a second call does nothing."""
        if self._is_wrapped:
            return
        self._is_wrapped = True
        self._wrap("put", self._put_of)
        self._wrap("delete_queue_item", self._removing)
        self._wrap("wipe_queue", self._removing)
        self.wrap_worker()
        messages = MessagesOfPrompts(self._server, _method_of(self._server, "send_sync"))
        self._server.send_sync = self._send_sync_of(messages.send)

    def wrap_worker(self) -> None:
        """Wrap the worker's methods, again if other packs have wrapped or replaced them since.

        A call that passes several of our wrappers is reported once: see ``PromptStates``.
        """
        self._wrap("get", self._get_of)
        self._wrap("task_done", self._task_done_of)

    def _wrap(self, name: str, wrapper: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        if name in self._own and self._is_outermost(name):
            return
        if name in vars(self._queue):
            self._replaced.add(name)
        self._own[name] = vars(self._queue)[name] = wrapper(_method_of(self._queue, name))

    def _is_outermost(self, name: str) -> bool:
        """Return whether no other pack has wrapped or replaced our wrapper."""
        return self._own.get(name) is vars(self._queue).get(name)

    def _is_watched_by_others(self, name: str) -> bool:
        """Return whether another pack has wrapped or replaced the method, on the object or on its class."""
        kind = type(self._queue)
        module = getattr(getattr(kind, name), "__globals__", {}).get("__name__")
        return name in self._replaced or not self._is_outermost(name) or module != kind.__module__

    # put: into the queue.

    def _put_of(self, put: Callable[..., Any]) -> Callable[..., Any]:
        def put_and_report(*args: Any, **kwargs: Any) -> Any:
            if self._states.is_entering(id_of(args[0] if args else kwargs.get("item"))):
                return put(*args, **kwargs)  # reported by an outer wrapper of ours, or restored from an earlier run
            args, kwargs = self._with_free_id(args, kwargs)
            _claim_client(args[0] if args else kwargs.get("item"))
            prompt = prompt_of(args[0] if args else kwargs.get("item"))
            if prompt is None or not self._states.enter(prompt.prompt_id, prompt.graph):
                return put(*args, **kwargs)
            self._listeners.submitted(prompt)
            return self._put(prompt.prompt_id, lambda: put(*args, **kwargs))

        return put_and_report

    def _put(self, prompt_id: str, put: Callable[[], Any]) -> Any:
        """Call ``put`` for a prompt marked as entering; report it as dropped if it does not get in."""
        try:
            return put()
        except BaseException:
            if prompt_id not in self._items.present():
                self._listeners.dropped(self._states.leave([prompt_id]))
            raise
        finally:
            if self._states.entered(prompt_id):
                self._report_dropped()

    def _with_free_id(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments of ``put``, with a new id if the queue has a prompt with the same id.

        Two prompts with one id could not be distinguished. Requests with such an id are rejected earlier: this one
        comes from another pack.
        """
        item = args[0] if args else kwargs.get("item")
        if not isinstance(item, tuple) or len(item) < 2 or self._listeners.is_free(id_of(item)):
            return args, kwargs
        item = (item[0], str(uuid.uuid4()), *item[2:])
        log.warning("A prompt was submitted with the id of another one in the queue. It gets the id %s.", item[1])
        return ((item, *args[1:]), kwargs) if args else (args, {**kwargs, "item": item})

    def restore(self, prompts: Iterable[SubmittedPrompt]) -> list[str]:
        checked = self._check(list(prompts))
        numbers = [each.prompt.number for each in checked if each.problem is None]
        self._server.number = max(self._server.number, number_after(numbers))
        refused = []
        for each in checked:
            problem = each.problem or self._put_back(each.prompt)
            if problem is not None:
                log.error("The job %s cannot return to the queue: %s", each.prompt.prompt_id, problem.message)
                self._listeners.finished(failed_prompt(each.prompt.prompt_id, problem))
                refused.append(each.prompt.prompt_id)
        return refused

    def _put_back(self, prompt: SubmittedPrompt) -> PromptProblem | None:
        """Put a prompt into the queue without reporting it; return the problem if that fails."""
        self._states.enter(prompt.prompt_id, prompt.graph)
        try:
            self._queue.put(item_of(prompt, self._queue))
        except Exception as error:  # code of other packs
            if prompt.prompt_id in self._items.present():
                log.exception("A pack failed when the job %s returned to the queue", prompt.prompt_id)
            else:
                self._states.leave([prompt.prompt_id])
                return _unreadable(error, prompt.graph)
        if self._states.entered(prompt.prompt_id):
            self._report_dropped()
        return None

    # get: to the worker.

    def _get_of(self, get: Callable[..., Any]) -> Callable[..., Any]:
        def get_and_report(*args: Any, **kwargs: Any) -> Any:
            pause = _FIRST_PAUSE_S
            while True:
                self._end_unreported()
                before = self._states.started_here()
                try:
                    taken = get(*args, **kwargs)
                except Exception as error:  # it would end the thread that executes prompts
                    log.exception("The server could not take a prompt from its queue")
                    if not self._end_unreadable(error, self._states.started_here() - before):
                        time.sleep(pause)
                        pause = min(2 * pause, _LONGEST_PAUSE_S)
                    continue
                if taken is not None:
                    self._start(taken)
                return taken

        return get_and_report

    def _start(self, taken: Any) -> None:
        try:
            item, item_id = taken
            prompt_id = id_of(item)
        except (TypeError, ValueError, LookupError):
            log.exception("The result of the queue's get is malformed")
            return
        if self._states.start(item_id, prompt_id):
            self._listeners.started(prompt_id)
            self._states.reported(item_id)

    def _end_unreadable(self, error: Exception, started: Iterable[int]) -> bool:
        """End the prompt at which ``get`` raised an error; return whether there was one.

        ``started`` are prompts that an inner wrapper of ours has marked before another pack's wrapper failed.
        """
        found = self._states.missing(self._items.present())
        suspects = self._states.unknown(self._items.held())
        if suspects:
            time.sleep(_WORKER_S)
        ended = [item_id for item_id in started if self._states.end(item_id) is not None]
        found.update(self._remove_running([*self._states.unknown(suspects), *ended]))
        for prompt_id, graph in found.items():
            self._listeners.finished(failed_prompt(prompt_id, _unreadable(error, graph)))
        if found:
            self._announce_quietly()
        return bool(found)

    def _remove_running(self, item_ids: Iterable[int]) -> dict[str, Graph]:
        """Remove running prompts from the server's list; return their graphs by id."""
        gone = self._items.remove_running(item_ids)
        return {prompt.prompt_id: prompt.graph for prompt in prompts_in(gone)}

    # task_done: the end.

    def _task_done_of(self, task_done: Callable[..., Any]) -> Callable[..., Any]:
        def task_done_and_report(*args: Any, **kwargs: Any) -> Any:
            item_id = args[0] if args else kwargs.get("item_id")
            finished = self._finished(item_id, args, kwargs)
            if finished is not None:
                self._listeners.finished(finished)
            result = None
            try:
                result = task_done(*args, **kwargs)
            except Exception:  # it would end the thread that executes prompts
                log.exception("The server, or a pack, failed at the end of a prompt")
                self._forget_running(item_id)
            if finished is not None:
                self._after(finished)
            return result

        return task_done_and_report

    def _finished(self, item_id: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> FinishedPrompt | None:
        """Return the prompt that a call of ``task_done`` ends, unless its end was reported before."""
        if self._states.is_over(item_id):
            return None
        finished = self._items.finished(args, kwargs)
        if finished is None or self._states.end(item_id) is None:
            return None
        self._states.leave([finished.prompt_id])  # a pack may have called the class's own ``get``, past our wrapper
        return finished

    def _forget_running(self, item_id: Any) -> None:
        if self._items.remove_running([item_id]):
            self._announce_quietly()

    def _end_unreported(self) -> None:
        """Report the end of prompts that ended without a report: a pack may have replaced ``task_done``."""
        is_worker = threading.current_thread().name.endswith(WORKER) and not self._is_outermost("task_done")
        for item_id in self._states.left_over(self._items.held(), is_worker=is_worker):
            running = self._states.end(item_id)
            if running is not None:
                finished = self._finished_as_seen(running)
                self._listeners.finished(finished)
                self._after(finished)

    def _finished_as_seen(self, running: ObservedPrompt) -> FinishedPrompt:
        entry = self._items.history_of(running.prompt_id)
        outputs = as_mapping(entry.get("outputs")) or dict(running.shown)
        status = entry.get("status")
        if not isinstance(status, Mapping) and running.failure is not None:
            status = {"status_str": "error", "completed": False, "messages": [running.failure]}
        return FinishedPrompt(running.prompt_id, outputs, as_mapping(entry.get("meta")), status)

    # Removal and interrupts.

    def _removing(self, remove: Callable[..., Any]) -> Callable[..., Any]:
        def remove_and_report(*args: Any, **kwargs: Any) -> Any:
            try:
                return remove(*args, **kwargs)
            finally:
                self._report_dropped()

        return remove_and_report

    def _report_dropped(self) -> None:
        """Report prompts that are no longer in the queue as dropped."""
        self._listeners.dropped(list(self._states.missing(self._items.present())))

    def cancel(self, prompt_id: str) -> bool:
        return bool(self.cancel_many([prompt_id]))

    def cancel_many(self, prompt_ids: Iterable[str]) -> list[str]:
        wanted = dict.fromkeys(prompt_ids)
        found = self._remove_waiting(wanted)  # first: prompts that begin meanwhile are found running below
        found |= {prompt_id for prompt_id in self._running_ids() if prompt_id in wanted and self._stop(prompt_id)}
        return [prompt_id for prompt_id in wanted if prompt_id in found]

    def drop_many(self, prompt_ids: Iterable[str]) -> list[str]:
        wanted = dict.fromkeys(prompt_ids)
        found = self._remove_waiting(wanted)
        return [prompt_id for prompt_id in wanted if prompt_id in found]

    def _remove_waiting(self, wanted: Mapping[str, None]) -> set[str]:
        """Remove those of the prompts that wait; return their ids."""
        if self._is_watched_by_others("delete_queue_item"):
            return {prompt_id for prompt_id in wanted if self._delete_all(prompt_id)}
        gone = self._items.remove_waiting(wanted)
        if not gone:
            return gone
        running = set(self._running_ids())
        left = self._states.leave(prompt_id for prompt_id in wanted if prompt_id in gone)
        self._listeners.dropped([prompt_id for prompt_id in left if prompt_id not in running])
        self._announce_quietly()
        return gone

    def _delete_all(self, prompt_id: str) -> bool:
        """Remove every item of the prompt with the server's own method."""
        count = 0
        while self._queue.delete_queue_item(lambda item: id_of(item) == prompt_id):
            count += 1
        return count > 0

    def _stop(self, prompt_id: str) -> bool:
        """Interrupt the prompt if it is running; return whether it was.

        Its end is delayed meanwhile, so that the interrupt cannot hit the next prompt.
        """
        held = [item_id for item_id, item in self._items.running() if id_of(item) == prompt_id]
        if not self._states.begin_interrupt(held):
            return False
        self._listeners.interrupting(prompt_id)
        thread = threading.Thread(target=self._interrupt_and_let_end, name="comfy-assets interrupt", daemon=True)
        thread.start()
        thread.join(_INTERRUPT_S)
        return True

    def _interrupt_and_let_end(self) -> None:
        try:
            self._interrupt()
        except Exception:  # code of other packs
            log.exception("The running prompt could not be interrupted")
        finally:
            self._states.end_interrupt()

    # send_sync: messages to pages.

    def _send_sync_of(self, send_sync: Callable[..., Any]) -> Callable[..., Any]:
        def send_sync_and_report(*args: Any, **kwargs: Any) -> Any:
            event = args[0] if args else kwargs.get("event")
            data = args[1] if len(args) > 1 else kwargs.get("data")
            if event == _SUCCESS and isinstance(data, Mapping):
                self._listeners.completing(str(data.get("prompt_id")))  # first: a page asks for the outputs at once
            answer = send_sync(*args, **kwargs)
            if event == "executed":
                self._report_output(data)
            elif event in _ENDS and isinstance(data, Mapping):
                self._note_failure(event, data)
            else:
                self._messages.read(event, data)
            return answer

        return send_sync_and_report

    def _report_output(self, data: Any) -> None:
        """Report the output of a node, if the message has one."""
        if not isinstance(data, Mapping) or not isinstance(data.get("output"), Mapping):
            return
        prompt_id, node_id = str(data.get("prompt_id")), str(data.get("node"))
        for running in self._states.running(prompt_id):
            running.shown[node_id] = data["output"]
        self._listeners.shown(prompt_id, node_id, data["output"])

    def _note_failure(self, event: str, data: Mapping[str, Any]) -> None:
        for running in self._states.running(str(data.get("prompt_id"))):
            running.failure = (event, data)

    # The content of the queue.

    def _running_items(self) -> list[Any]:
        """Return the items of running prompts whose end was not reported yet."""
        return [item for item_id, item in self._items.running() if not self._states.is_over(item_id)]

    def _running_ids(self) -> list[str]:
        return [id_of(item) for item in self._running_items()]

    def is_executing(self) -> bool:
        """Return whether a prompt runs or waits. Takes no lock of the server: this is called for every file."""
        queue = self._queue
        return bool(queue.queue) or any(not self._states.is_over(key) for key in list(queue.currently_running))

    def listing(self) -> QueueListing:
        return QueueListing(prompts_in(self._running_items()), prompts_in(self._items.waiting()))

    # History, memory, pages.

    def history_room(self) -> int:
        return self._history_room

    def remember(self, history: Mapping[str, Mapping[str, Any]]) -> None:
        self._items.add_history(history)

    def forget(self, prompt_ids: Iterable[str] | None) -> None:
        if prompt_ids is None:
            self._queue.wipe_history()
            return
        for prompt_id in prompt_ids:
            self._queue.delete_history_item(prompt_id)

    def free(self, *, unload_models: bool, free_memory: bool) -> None:
        if unload_models:
            self._queue.set_flag("unload_models", True)
        if free_memory:
            self._queue.set_flag("free_memory", True)

    def announce(self) -> None:
        self._server.queue_updated()

    def _announce_quietly(self) -> None:
        try:
            self.announce()
        except Exception:  # code of other packs
            log.exception("Open pages could not be notified that the queue has changed")


def _method_of(target: Any, name: str) -> Callable[..., Any]:
    """Return the method that our wrapper calls: the object's own attribute, or else the class's method.

    The class's method is looked up at each call: packs that are loaded later may replace it on the class.
    """
    if name in vars(target):
        found: Callable[..., Any] = vars(target)[name]
        return found

    def call(*args: Any, **kwargs: Any) -> Any:
        return getattr(type(target), name)(target, *args, **kwargs)

    return call


def _claim_client(item: Any) -> None:
    """Put a prompt that a node pack's own route submits into the namespace of the request's user."""
    if isinstance(item, tuple) and len(item) > _EXTRA_DATA and isinstance(item[_EXTRA_DATA], dict):
        client_ids.claim(item[_EXTRA_DATA])


def _unreadable(error: Exception, graph: Graph) -> PromptProblem:
    """Return the problem of a prompt that could not be moved into or out of the queue."""
    message = f"The server could not take the prompt from its queue. {type(error).__name__}: {error}"
    return depth_problem(graph) or PromptProblem(_UNREADABLE, message)
