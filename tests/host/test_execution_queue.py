"""The execution queue as the services see it, over every implementation that needs no ComfyUI.

ComfyUI's own queue is stood in for by one with the same methods and signatures, as they are on 0.3.64 (five-part items,
``task_done`` without ``process_item``) and on 0.33.0; ``test_jobs_on_comfyui.py`` asks the same of real servers.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.credentials import REDACTED
from comfy_assets_node.comfy_assets.host.comfyui import PromptValidator
from comfy_assets_node.comfy_assets.host.comfyui_queue import ComfyUIQueue
from comfy_assets_node.comfy_assets.host.execution import FinishedPrompt, SubmittedPrompt
from comfy_assets_node.comfy_assets.host.standalone.folders import BaseFolders
from comfy_assets_node.comfy_assets.host.standalone.nodes import NodeRegistry, register_image_nodes
from comfy_assets_node.comfy_assets.host.standalone.prompts import prompt_check
from comfy_assets_node.comfy_assets.host.standalone.queue import PromptOutcome, PromptQueue, QueuedPrompt, RunningPrompt
from comfy_assets_node.comfy_assets.host.testing import MemoryQueue
from comfy_assets_node.comfy_assets.jobs.events import failure_of
from comfyui_queue import ExecutionStatus, FakeServer, NewQueue, OldQueue

GRAPH: dict[str, Any] = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 1, "height": 1, "batch_size": 1, "color": 0}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "made"}},
}
NODES = {"EmptyImage": object, "SaveImage": object}
SHOWN = {"images": [{"filename": "a.png", "subfolder": "", "type": "output"}]}
SUCCESS = {"status_str": "success", "completed": True, "messages": []}
Told = tuple[Any, ...]
NESTED: Any = json.loads("[" * 101 + "]" * 101)


class Listener:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        self.prompts: list[SubmittedPrompt] = []
        self.results: list[FinishedPrompt] = []

    def is_free(self, prompt_id: str) -> bool:
        return True

    def submitted(self, prompt: SubmittedPrompt) -> None:
        self.prompts.append(prompt)
        self.told.append(("submitted", prompt.prompt_id))

    def started(self, prompt_id: str) -> None:
        self.told.append(("started", prompt_id))

    def shown(self, prompt_id: str, node_id: str, output: Mapping[str, Any]) -> None:
        self.told.append(("shown", prompt_id, node_id))

    def completing(self, prompt_id: str) -> None:
        pass

    def interrupting(self, prompt_id: str) -> None:
        self.told.append(("interrupting", prompt_id))

    def finished(self, prompt: FinishedPrompt) -> None:
        self.results.append(prompt)
        self.told.append(("finished", prompt.prompt_id))

    def dropped(self, prompt_ids: Sequence[str]) -> None:
        self.told += [("dropped", prompt_id) for prompt_id in prompt_ids]


class Raising(Listener):
    """A listener whose every method fails."""

    def _fail(self, *_: object) -> None:
        raise RuntimeError("a listener's own fault")

    submitted = started = shown = interrupting = finished = dropped = _fail  # type: ignore[assignment]


class Driver:
    """A queue, and the other side of it: what a server does with prompts."""

    queue: Any

    def submit(self, prompt_id: str, number: float = 0) -> None:
        """A client submits a prompt."""
        raise NotImplementedError

    def start(self) -> str:
        """The worker takes the next prompt."""
        raise NotImplementedError

    def show(self, node_id: str) -> None:
        """A node of the running prompt shows something."""
        raise NotImplementedError

    def finish(self) -> None:
        """The running prompt ends well."""
        raise NotImplementedError

    @property
    def history(self) -> list[str]:
        """The ids in the server's own history."""
        raise NotImplementedError

    def waiting(self) -> list[str]:
        """The ids of those that wait, next first."""
        return [prompt.prompt_id for prompt in self.queue.listing().pending]

    def running(self) -> list[str]:
        return [prompt.prompt_id for prompt in self.queue.listing().running]


class MemoryDriver(Driver):
    def __init__(self) -> None:
        self.queue = MemoryQueue()
        self.queue.is_known = NODES.__contains__

    def submit(self, prompt_id: str, number: float = 0) -> None:
        self.queue.submit(SubmittedPrompt(number, prompt_id, GRAPH, {}, ["2"]))

    def start(self) -> str:
        return str(self.queue.start().prompt_id)

    def show(self, node_id: str) -> None:
        self.queue.show(node_id, SHOWN)

    def finish(self) -> None:
        prompt_id = self.queue.running.prompt_id
        self.queue.finish({"2": SHOWN}, SUCCESS)
        self.queue.history[prompt_id] = {}

    @property
    def history(self) -> list[str]:
        return list(self.queue.history)


class StandaloneDriver(Driver):
    def __init__(self) -> None:
        self.changes = itertools.count()
        nodes = NodeRegistry(BaseFolders(Path("nowhere"), ()))
        register_image_nodes(nodes)
        self.queue = PromptQueue(lambda: (next(self.changes), None)[1], prompt_check(nodes))
        self._running: RunningPrompt | None = None

    def submit(self, prompt_id: str, number: float = 0) -> None:
        self.queue.put(QueuedPrompt(number, prompt_id, GRAPH, {}, ("2",)))

    def start(self) -> str:
        self._running = self.queue.take(lambda: None)
        assert self._running is not None
        return self._running.prompt.prompt_id

    def show(self, node_id: str) -> None:
        assert self._running is not None
        self.queue.notify_output(self._running.prompt.prompt_id, node_id, SHOWN)

    def finish(self) -> None:
        assert self._running is not None
        self.queue.finish(self._running, PromptOutcome(True, {"2": SHOWN}, {}, ()))

    @property
    def history(self) -> list[str]:
        return list(self.queue.history())


class ComfyUIDriver(Driver):
    def __init__(self, kind: type[OldQueue]) -> None:
        self.server = FakeServer(kind)
        self.interrupts: list[int] = []
        self.told_after: list[tuple[str, list[str]]] = []
        self.check = PromptValidator(
            lambda: NODES, lambda _, graph, outputs: (True, None, outputs, {}), lambda graph: None
        )
        self.queue = ComfyUIQueue(
            self.server,
            lambda: self.interrupts.append(1),
            self._after,
            7,
            lambda prompts: self.check(prompts),
        )
        self._item: Any = None

    def _after(self, prompt: FinishedPrompt) -> None:
        self.told_after.append((prompt.prompt_id, self.history))

    @property
    def native(self) -> OldQueue:
        return self.server.prompt_queue

    def submit(self, prompt_id: str, number: float = 0, extra: Any = None, apart: Any = None) -> None:
        item = (number, prompt_id, GRAPH, extra or {}, ["2"])
        self.native.put((*item, apart or {}) if isinstance(self.native, NewQueue) else item)

    def start(self) -> str:
        self._item = self.native.get(timeout=0.01)
        return str(self._item[0][1])

    def show(self, node_id: str) -> None:
        data = {"node": node_id, "display_node": node_id, "output": SHOWN, "prompt_id": self._item[0][1]}
        self.server.send_sync("executed", data, "page")

    def finish(self) -> None:
        more: dict[str, Any] = {}
        if isinstance(self.native, NewQueue):
            more["process_item"] = lambda prompt: prompt[:5] + prompt[6:]
        status = ExecutionStatus("success", True, [])
        self.native.task_done(self._item[1], {"outputs": {"2": SHOWN}, "meta": {}}, status=status, **more)

    @property
    def history(self) -> list[str]:
        return list(self.native.history)


def old_comfyui() -> ComfyUIDriver:
    return ComfyUIDriver(OldQueue)


def new_comfyui() -> ComfyUIDriver:
    return ComfyUIDriver(NewQueue)


EVERY = pytest.mark.parametrize("make", [MemoryDriver, StandaloneDriver, old_comfyui, new_comfyui])
COMFYUI = pytest.mark.parametrize("make", [old_comfyui, new_comfyui])


def watched(make: Callable[[], Any]) -> tuple[Any, Listener]:
    driver, listener = make(), Listener()
    driver.queue.watch(listener)
    return driver, listener


@EVERY
def test_what_happens_is_told_in_order_and_once(make: Callable[[], Driver]) -> None:
    driver, listener = watched(make)
    driver.submit("a", 0)
    driver.submit("b", 1)
    assert driver.start() == "a"
    driver.show("2")
    driver.show("3")
    driver.finish()
    assert driver.start() == "b"
    driver.finish()
    assert listener.told == [
        ("submitted", "a"),
        ("submitted", "b"),
        ("started", "a"),
        ("shown", "a", "2"),
        ("shown", "a", "3"),
        ("finished", "a"),
        ("started", "b"),
        ("finished", "b"),
    ]
    (prompt, _), (result, _) = listener.prompts, listener.results
    assert (prompt.number, prompt.graph, list(prompt.outputs)) == (0, GRAPH, ["2"])
    assert (result.outputs, result.meta) == ({"2": SHOWN}, {})
    assert result.status is not None and result.status["status_str"] == "success" and result.status["completed"]


@EVERY
def test_a_start_is_told_before_an_interrupt_that_comes_meanwhile(make: Callable[[], Driver]) -> None:
    driver, listener = watched(make)
    note_start = listener.started
    canceling = threading.Thread(target=lambda: driver.queue.cancel("a"), daemon=True)

    def started(prompt_id: str) -> None:
        canceling.start()
        canceling.join(0.1)
        note_start(prompt_id)

    listener.started = started  # type: ignore[method-assign]
    driver.submit("a")
    driver.start()
    canceling.join(20)
    driver.finish()
    assert [kind for kind, *_ in listener.told] == ["submitted", "started", "interrupting", "finished"]


@EVERY
def test_every_listener_is_told_and_one_that_raises_disturbs_nobody(make: Callable[[], Driver]) -> None:
    driver = make()
    first, second = Listener(), Listener()
    for listener in (first, Raising(), second):
        driver.queue.watch(listener)
    driver.submit("a", 0)
    driver.submit("b", 1)
    driver.start()
    driver.show("2")
    assert driver.queue.cancel("a") and driver.queue.cancel("b")
    driver.finish()
    kinds = ["submitted", "submitted", "started", "shown", "interrupting", "dropped", "finished"]
    assert [told[0] for told in first.told] == kinds
    assert second.told == first.told
    assert (driver.running(), driver.waiting(), driver.history) == ([], [], ["a"])


@EVERY
@pytest.mark.parametrize("waiting", [["b"], ["b", "c"], ["b", "c", "d"]])
def test_cancel(make: Callable[[], Driver], waiting: list[str]) -> None:
    driver, listener = watched(make)
    for number, prompt_id in enumerate(["a", *waiting]):
        driver.submit(prompt_id, number)
    driver.start()
    del listener.told[:]
    assert not driver.queue.cancel("unknown")
    assert listener.told == []
    assert driver.queue.cancel("b")
    assert listener.told == [("dropped", "b")]
    assert not driver.queue.cancel("b")
    assert driver.waiting() == waiting[1:]
    assert driver.queue.cancel("a")
    assert listener.told == [("dropped", "b"), ("interrupting", "a")]
    assert driver.running() == ["a"]  # until it ends
    driver.finish()
    assert listener.told[-1] == ("finished", "a")
    assert not driver.queue.cancel("a")


@EVERY
def test_many_are_cancelled_in_one_step(make: Callable[[], Driver]) -> None:
    driver, listener = watched(make)
    assert driver.queue.cancel_many([]) == []
    for number, prompt_id in enumerate("abcdef"):
        driver.submit(prompt_id, number)
    driver.start()
    del listener.told[:]
    assert driver.queue.cancel_many(["e", "unknown", "a", "c", "e"]) == ["e", "a", "c"]
    assert sorted(listener.told) == [("dropped", "c"), ("dropped", "e"), ("interrupting", "a")]
    assert (driver.running(), driver.waiting()) == (["a"], ["b", "d", "f"])
    assert driver.queue.cancel_many("bcdef") == ["b", "d", "f"]
    assert driver.waiting() == []
    driver.submit("g")
    assert driver.waiting() == ["g"]


@EVERY
def test_many_that_wait_are_dropped_in_one_step(make: Callable[[], Driver]) -> None:
    driver, listener = watched(make)
    for number, prompt_id in enumerate("abcd"):
        driver.submit(prompt_id, number)
    driver.start()
    del listener.told[:]
    assert driver.queue.drop_many(["d", "a", "unknown", "b", "d"]) == ["d", "b"]
    assert sorted(listener.told) == [("dropped", "b"), ("dropped", "d")]
    assert (driver.running(), driver.waiting()) == (["a"], ["c"])


@EVERY
def test_restore_keeps_ids_and_order_and_tells_nobody(make: Callable[[], Driver]) -> None:
    driver, listener = watched(make)
    extra = {"client_id": "page", "api_key_comfy_org": REDACTED, "create_time": 5}
    numbers = {"last": 41.5, "first": -3, "second": 2, "never": float("inf"), "far": 1e300}
    driver.queue.restore([SubmittedPrompt(n, prompt_id, GRAPH, extra, ["2"]) for prompt_id, n in numbers.items()])
    assert listener.told == []
    assert driver.waiting() == ["first", "second", "last", "far", "never"]
    (prompt, *_) = driver.queue.listing().pending
    assert (prompt.number, prompt.graph, list(prompt.outputs)) == (-3, GRAPH, ["2"])
    if not isinstance(driver, MemoryDriver):
        assert prompt.extra_data == {"client_id": "page", "create_time": 5}
    assert driver.start() == "first"
    driver.finish()
    assert listener.told == [("started", "first"), ("finished", "first")]


@EVERY
@pytest.mark.parametrize(
    ("change", "kind", "node"),
    [
        ({"9": {"class_type": "Gone", "inputs": {}}}, "MissingNodeType", ("9", "Gone")),
        ({"1": {"inputs": {}}}, "MissingNodeType", ("1", "")),
        ({"1": {"class_type": ["EmptyImage"], "inputs": {}}}, "MissingNodeType", ("1", "")),
        ({"1": None}, "MissingNodeType", ("1", "")),
        ({"7": {"class_type": "SaveImage", "inputs": {"x": NESTED}}}, "PromptTooDeep", ("7", "SaveImage")),
    ],
)
def test_what_cannot_be_executed_any_more_does_not_return(
    make: Callable[[], Driver], change: Any, kind: str, node: tuple[str, str]
) -> None:
    driver, listener = watched(make)
    extra = {"create_time": 5}
    graphs = {"a": GRAPH, "bad": {**GRAPH, **change}, "b": GRAPH}
    prompts = [SubmittedPrompt(n, name, graph, extra, ["2"]) for n, (name, graph) in enumerate(graphs.items())]
    assert driver.queue.restore(prompts) == ["bad"]
    assert listener.told == [("finished", "bad")]
    assert driver.waiting() == ["a", "b"]
    (finished,) = listener.results
    error = failure_of(finished).error
    assert error is not None
    assert (error["exception_type"], error["node_id"], error["node_type"]) == (kind, *node)
    assert node[0] in error["exception_message"] and finished.outputs == {}


@EVERY
def test_extra_data_that_is_nested_too_deeply_does_not_return(make: Callable[[], Driver]) -> None:
    driver, listener = watched(make)
    assert driver.queue.restore([SubmittedPrompt(0, "bad", GRAPH, {"x": NESTED}, ["2"])]) == ["bad"]
    assert driver.waiting() == []
    assert listener.told == [("finished", "bad")]


@pytest.mark.parametrize("numbers", [[0, 1, 7], [3.5, -9], [7, float("inf"), float("-inf"), 1e300]])
def test_what_is_submitted_after_a_restore_comes_after_it(numbers: list[float]) -> None:
    prompts = [SubmittedPrompt(number, str(number), GRAPH, {}, ["2"]) for number in numbers]
    highest = max(number for number in numbers if number < 1e9)
    standalone, comfyui = StandaloneDriver(), new_comfyui()
    standalone.queue.restore(prompts)
    comfyui.queue.restore(prompts)
    for number in (standalone.queue.number_for(front=False), comfyui.server.number):
        assert highest < number < 1e9


@EVERY
def test_the_servers_own_history_is_given_back_and_forgotten(make: Callable[[], Driver]) -> None:
    driver, _ = watched(make)
    driver.submit("new")
    driver.start()
    driver.finish()
    driver.queue.remember({"old": {"outputs": {}}, "older than new": {"outputs": {}}})
    assert driver.history == ["old", "older than new", "new"]
    driver.queue.forget(["old", "unknown"])
    assert driver.history == ["older than new", "new"]
    driver.queue.forget(None)
    assert driver.history == []


@EVERY
def test_what_the_history_holds_already_is_not_replaced(make: Callable[[], Driver]) -> None:
    driver, _ = watched(make)
    driver.submit("a")
    driver.start()
    driver.finish()
    before = driver.queue.history["a"] if isinstance(driver, MemoryDriver) else None
    driver.queue.remember({"a": {"outputs": {"lie": {}}}})
    assert driver.history == ["a"]
    if isinstance(driver, MemoryDriver):
        assert driver.queue.history["a"] is before


@EVERY
def test_free_and_announce(make: Callable[[], Driver]) -> None:
    driver, _ = watched(make)
    driver.queue.free(unload_models=True, free_memory=False)
    if isinstance(driver, MemoryDriver):
        assert driver.queue.freed == [(True, False)]
    elif isinstance(driver, ComfyUIDriver):
        assert driver.native.flags == {"unload_models": True}
        driver.queue.free(unload_models=False, free_memory=True)
        assert driver.native.flags == {"unload_models": True, "free_memory": True}
    elif isinstance(driver, StandaloneDriver):
        freed: list[bool] = []
        driver.submit("a")
        assert driver.queue.take(lambda: freed.append(True)) is not None
        assert freed == [True]
    driver.queue.announce()
    if isinstance(driver, MemoryDriver):
        assert driver.queue.announced == 1
    elif isinstance(driver, ComfyUIDriver):
        assert driver.server.sent == ["status"]


@COMFYUI
def test_wrappers_of_other_packs_before_and_after_ours(make: Callable[[], ComfyUIDriver]) -> None:
    driver, listener, calls = make(), Listener(), []

    def wrap(name: str, mark: str) -> None:
        """As another pack would: its wrapper names the arguments of today."""
        target: Any = driver.server if name == "send_sync" else driver.native
        wrapped = getattr(target, name)

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            calls.append((name, mark))
            return wrapped(*args, **kwargs)

        setattr(target, name, wrapper)

    names = ["put", "get", "task_done", "delete_queue_item", "wipe_queue", "send_sync"]
    for name in names:
        wrap(name, "before")
    driver.queue.watch(listener)
    driver.queue.watch(Listener())  # does not wrap a second time
    for name in names:
        wrap(name, "after")
    for number, prompt_id in enumerate("abcd"):
        driver.submit(prompt_id, number)
    driver.start()
    driver.show("2")
    driver.finish()
    assert driver.native.delete_queue_item(lambda item: item[1] == "c")
    driver.native.wipe_queue()
    assert listener.told == [
        *[("submitted", prompt_id) for prompt_id in "abcd"],
        ("started", "a"),
        ("shown", "a", "2"),
        ("finished", "a"),
        ("dropped", "c"),
        ("dropped", "b"),
        ("dropped", "d"),
    ]
    for name in names:
        marks = [mark for called, mark in calls if called == name]
        assert marks.count("before") == marks.count("after") > 0, name
        assert marks[:2] == ["after", "before"]


@COMFYUI
def test_arguments_may_come_by_name(make: Callable[[], ComfyUIDriver]) -> None:
    driver, listener = watched(make)
    driver.native.put(item=(0, "a", GRAPH, {}, ["2"]))
    _, item_id = driver.native.get()
    driver.native.task_done(item_id=item_id, history_result={"outputs": {}}, status=None)
    assert [told[0] for told in listener.told] == ["submitted", "started", "finished"]
    assert listener.results == [FinishedPrompt("a", {}, {}, None)]


@COMFYUI
def test_nothing_to_take_is_nothing_to_tell(make: Callable[[], ComfyUIDriver]) -> None:
    driver, listener = watched(make)
    assert driver.native.get(timeout=0.001) is None
    driver.native.wipe_queue()
    assert not driver.native.delete_queue_item(lambda item: True)
    for data in (None, [], {"node": "1"}, {"node": "1", "output": None, "prompt_id": "a"}):
        driver.server.send_sync("executed", data)
    driver.server.send_sync("progress", {"node": "1", "output": {}})
    assert listener.told == []


@COMFYUI
@pytest.mark.parametrize("item", [(), (1, "a"), None, (0, "a", GRAPH, None, [])], ids=str)
def test_what_is_no_prompt_goes_its_way_untold(make: Callable[[], ComfyUIDriver], item: Any) -> None:
    driver, listener = watched(make)
    driver.native.put(item)
    assert driver.native.queue == [item]
    assert listener.told == []


@COMFYUI
def test_a_prompt_that_does_not_enter_the_queue_is_dropped(make: Callable[[], ComfyUIDriver]) -> None:
    driver = make()

    def refuse(item: Any) -> None:
        raise OverflowError("no more")

    driver.native.put = refuse  # type: ignore[method-assign]
    listener = Listener()
    driver.queue.watch(listener)
    with pytest.raises(OverflowError):
        driver.submit("a")
    assert listener.told == [("submitted", "a"), ("dropped", "a")]


@COMFYUI
def test_finished_prompts_are_told_once_they_are_in_the_history(make: Callable[[], ComfyUIDriver]) -> None:
    driver, _ = watched(make)
    driver.submit("a")
    driver.start()
    driver.finish()
    assert driver.told_after == [("a", ["a"])]
    assert driver.queue.history_room() == 7


def test_credentials_with_the_extra_data_of_older_servers() -> None:
    driver, listener = watched(old_comfyui)
    driver.submit("a", extra={"api_key_comfy_org": "key-1234", "auth_token_comfy_org": "tok", "client_id": "page"})
    (prompt,) = listener.prompts
    hidden = {"api_key_comfy_org": REDACTED, "auth_token_comfy_org": REDACTED}
    assert prompt.extra_data == {"client_id": "page", **hidden}
    assert prompt.secrets == {"key-1234", "tok"}
    assert driver.queue.listing().pending == [prompt]
    assert driver.native.queue[0][3]["api_key_comfy_org"] == "key-1234"  # the server itself still has it


def test_credentials_in_the_sixth_part_of_newer_servers() -> None:
    driver, listener = watched(new_comfyui)
    apart = {"api_key_comfy_org": "key-1234", "other_pack": {"tokens": ["deep-1234", 5]}, "none": None}
    driver.submit("a", extra={"client_id": "page"}, apart=apart)
    (prompt,) = listener.prompts
    assert prompt.extra_data == {"client_id": "page", **dict.fromkeys(apart, REDACTED)}
    assert prompt.secrets == {"key-1234", "deep-1234"}
    assert driver.native.queue[0][5] == apart
    assert "sensitive" not in repr(driver.queue.listing().pending[0].extra_data)


@COMFYUI
def test_restored_items_have_the_servers_own_form(make: Callable[[], ComfyUIDriver]) -> None:
    driver, _ = watched(make)
    extra = {"client_id": "page", "api_key_comfy_org": REDACTED}
    driver.queue.restore([SubmittedPrompt(3, "a", GRAPH, extra, ("2",))])
    item = (3, "a", GRAPH, {"client_id": "page"}, ["2"])
    assert driver.native.queue == [(*item, {}) if isinstance(driver.native, NewQueue) else item]
    assert driver.server.number == 4


@EVERY
def test_nothing_comes_between_the_steps_of_many_threads(make: Callable[[], Driver]) -> None:
    """One thread executes while others submit and cancel: each prompt ends once, and never before it began."""
    driver, listener = watched(make)
    ids = [f"{thread}-{index}" for thread in range(3) for index in range(60)]
    gone = threading.Event()

    def submit(thread: int) -> None:
        for index in range(60):
            driver.submit(f"{thread}-{index}", index)
            if index % 3 == 0:
                driver.queue.cancel(f"{thread}-{index - 1}")

    def work() -> None:
        while not gone.is_set() or driver.waiting():
            if driver.waiting():
                driver.start()
                driver.finish()

    threads = [threading.Thread(target=submit, args=(number,)) for number in range(3)]
    worker = threading.Thread(target=work)
    for thread in (worker, *threads):
        thread.start()
    for thread in threads:
        thread.join(30)
    gone.set()
    worker.join(30)
    assert not worker.is_alive()
    for prompt_id in ids:
        kinds = [told[0] for told in list(listener.told) if told[1] == prompt_id and told[0] != "interrupting"]
        assert kinds in (["submitted", "started", "finished"], ["submitted", "dropped"]), (prompt_id, kinds)
