"""ComfyUI's queue beside node packs that wrap, block and replace its methods, and with prompts that break it."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.host import comfyui_states
from comfy_assets_node.comfy_assets.host.comfyui import PromptValidator
from comfy_assets_node.comfy_assets.host.comfyui_queue import ComfyUIQueue
from comfy_assets_node.comfy_assets.host.execution import FinishedPrompt, SubmittedPrompt
from comfyui_queue import ExecutionStatus, FakeServer, NewQueue, OldQueue
from support.queue_ids import queue_ids

GRAPH = {"1": {"class_type": "Known", "inputs": {"width": 1}}, "2": {"class_type": "Save", "inputs": {}}}
SHOWN = {"images": [{"filename": "a.png", "subfolder": "", "type": "output"}]}
NODES = {"Known": object, "Save": object}
WAIT_S = 20
Told = tuple[str, str]
KINDS = pytest.mark.parametrize("kind", [OldQueue, NewQueue])


class Listener:
    """Keeps what it is told, and how prompts finished."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        self.results: dict[str, FinishedPrompt] = {}

    def is_free(self, prompt_id: str) -> bool:
        return True

    def submitted(self, prompt: SubmittedPrompt) -> None:
        self.told.append(("submitted", prompt.prompt_id))

    def started(self, prompt_id: str) -> None:
        self.told.append(("started", prompt_id))

    def shown(self, prompt_id: str, node_id: str, output: Mapping[str, Any]) -> None:
        self.told.append(("shown", prompt_id))

    def completing(self, prompt_id: str) -> None:
        pass

    def interrupting(self, prompt_id: str) -> None:
        self.told.append(("interrupting", prompt_id))

    def finished(self, prompt: FinishedPrompt) -> None:
        self.results[prompt.prompt_id] = prompt
        self.told.append(("finished", prompt.prompt_id))

    def dropped(self, prompt_ids: Any) -> None:
        self.told += [("dropped", prompt_id) for prompt_id in prompt_ids]

    def of(self, prompt_id: str) -> list[str]:
        return [kind for kind, told_id in list(self.told) if told_id == prompt_id]

    def error(self, prompt_id: str) -> Mapping[str, Any]:
        status = self.results[prompt_id].status or {}
        assert status["status_str"] == "error"
        ((event, data),) = status["messages"]
        assert event == "execution_error"
        found: Mapping[str, Any] = data
        return found


class Bench:
    """A server with its worker, whose queue the project and other packs have hold of.

    ``execute`` is what the worker does with a prompt; it returns its outputs. ``check`` finds prompts that must not
    return to the queue.
    """

    def __init__(self, kind: type[OldQueue]) -> None:
        # A class of its own, which packs may change; its methods are the server's.
        self.kind = type("PromptQueue", (kind,), dict(vars(kind)))
        self.server = FakeServer(self.kind)
        self.native = self.server.prompt_queue
        self.listener = Listener()
        self.after: list[str] = []
        self.flag = threading.Event()  # the server's interrupt flag
        self.interrupt: Callable[[], None] = self.flag.set
        self.execute: Callable[[Any], Mapping[str, Any]] = lambda item: {"2": SHOWN}
        self.check = PromptValidator(lambda: NODES, self.validate, lambda graph: None)
        self.queue = ComfyUIQueue(
            self.server,
            lambda: self.interrupt(),
            lambda prompt: self.after.append(prompt.prompt_id),
            0,
            lambda prompts: self.check(prompts),
        )
        self._stop = self._is_watched = False
        self._worker = threading.Thread(target=self.prompt_worker, daemon=True)

    def validate(self, prompt_id: str, graph: Any, outputs: Any) -> Any:
        return True, None, outputs, {}

    def watch(self) -> None:
        """Take hold of the queue, unless that has been done."""
        if not self._is_watched:
            self._is_watched = True
            self.queue.watch(self.listener)

    def item(self, prompt_id: str, number: float = 0, graph: Any = None, extra: Any = None) -> tuple[Any, ...]:
        item = (number, prompt_id, GRAPH if graph is None else graph, extra or {}, ["2"])
        return (*item, {}) if isinstance(self.native, NewQueue) else item

    def submit(self, prompt_id: str, number: float = 0, graph: Any = None, extra: Any = None) -> None:
        self.native.put(self.item(prompt_id, number, graph, extra))

    def restored(self, prompt_id: str, number: float = 0, graph: Any = None) -> SubmittedPrompt:
        return SubmittedPrompt(number, prompt_id, GRAPH if graph is None else graph, {}, ("2",))

    def prompt_worker(self) -> None:
        """What the server's function of this name does."""
        while not self._stop:
            taken = self.native.get(timeout=0.05)
            if taken is None:
                continue
            item, item_id = taken
            self.flag.clear()
            if isinstance(self.native, NewQueue):
                assert item[5] == {}
            outputs = self.execute(item)
            more = {"process_item": lambda prompt: prompt[:5]} if isinstance(self.native, NewQueue) else {}
            status = ExecutionStatus("success", True, [])
            self.native.task_done(item_id, {"outputs": outputs, "meta": {}}, status=status, **more)

    def start(self) -> None:
        self._worker.start()

    def stop(self) -> None:
        self._stop = True
        if self._worker.ident is not None:
            self._worker.join(WAIT_S)
            assert not self._worker.is_alive()

    def is_alive(self) -> bool:
        return self._worker.is_alive()

    def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < deadline, self.listener.told
            time.sleep(0.002)

    def until_over(self, *prompt_ids: str) -> None:
        self.until(lambda: all({"finished", "dropped"} & set(self.listener.of(each)) for each in prompt_ids))

    def can_be_used(self) -> None:
        """Fail if requests would have to wait: for the queue's lock, or at one of the queue's own methods."""
        done = threading.Event()

        def use() -> None:
            self.queue.listing()
            queue_ids(self.queue)
            with self.native.mutex:
                self.server.queue_updated()
            done.set()

        threading.Thread(target=use, daemon=True).start()
        assert done.wait(WAIT_S / 2), "the queue is held up"


@pytest.fixture
def make_bench() -> Iterator[Callable[[type[OldQueue]], Bench]]:
    """Makes servers, whose workers end with the test."""
    made: list[Bench] = []

    def make(kind: type[OldQueue] = NewQueue) -> Bench:
        made.append(Bench(kind))
        return made[-1]

    yield make
    for bench in made:
        bench.stop()


MakeBench = Callable[..., Bench]


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


# What is in the queue breaks it.


@KINDS
def test_a_prompt_that_cannot_be_copied_ends_alone(make_bench: MakeBench, kind: type[OldQueue]) -> None:
    bench = make_bench(kind)
    bench.watch()
    deep = {**GRAPH, "7": {"class_type": "Known", "inputs": {"camera": nested(700)}}}
    bench.submit("first", 0)
    bench.submit("deep", 1, deep)
    bench.submit("locked", 2, extra={"lock": threading.Lock()})
    bench.submit("last", 3)
    bench.start()
    bench.until_over("first", "deep", "locked", "last")
    assert bench.is_alive()
    for prompt_id in ("first", "last"):
        assert bench.listener.of(prompt_id) == ["submitted", "started", "finished"]
    for prompt_id in ("deep", "locked"):
        assert bench.listener.of(prompt_id) == ["submitted", "finished"]
    error = bench.listener.error("deep")
    assert (error["exception_type"], error["node_id"], error["node_type"]) == ("PromptTooDeep", "7", "Known")
    assert "TypeError" in bench.listener.error("locked")["exception_message"]
    assert (bench.native.currently_running, bench.native.queue) == ({}, [])


@KINDS
def test_an_error_after_the_prompt_was_taken_ends_it_alone(make_bench: MakeBench, kind: type[OldQueue]) -> None:
    """The server tells pages of a change at the end of ``get``: code of a pack in it fails for one prompt."""
    bench = make_bench(kind)
    send = bench.server.send_sync

    def failing(event: str, data: Any, sid: str | None = None) -> None:
        if any(item[1] == "bad" for item in bench.native.currently_running.values()):
            raise LookupError("a pack's own fault")
        send(event, data, sid)

    bench.server.send_sync = failing  # type: ignore[method-assign]
    bench.watch()
    for number, prompt_id in enumerate(["good", "bad", "next"]):
        bench.submit(prompt_id, number)
    bench.start()
    bench.until_over("good", "bad", "next")
    assert bench.listener.of("bad") == ["submitted", "finished"]
    assert "a pack's own fault" in bench.listener.error("bad")["exception_message"]
    assert bench.listener.of("next") == ["submitted", "started", "finished"]
    assert bench.is_alive() and bench.native.currently_running == {}


@pytest.mark.parametrize("is_after", [False, True], ids=["before taking", "after taking"])
def test_a_pack_whose_get_fails_now_and_then(make_bench: MakeBench, *, is_after: bool) -> None:
    bench = make_bench()
    get, calls = bench.native.get, itertools.count()

    def failing(*args: Any, **kwargs: Any) -> Any:
        call = next(calls)
        if not is_after and call == 1:
            raise LookupError("a pack's own fault")
        taken = get(*args, **kwargs)
        if is_after and taken is not None and taken[0][1] == "bad":
            raise LookupError("a pack's own fault")
        return taken

    bench.native.get = failing  # type: ignore[method-assign]
    bench.watch()
    for number, prompt_id in enumerate(["good", "bad", "next"]):
        bench.submit(prompt_id, number)
    bench.start()
    bench.until_over("good", "bad", "next")
    assert bench.is_alive()
    assert bench.listener.of("next") == ["submitted", "started", "finished"]
    assert bench.listener.of("bad") == (["submitted", "finished"] if is_after else ["submitted", "started", "finished"])
    assert bench.native.currently_running == {}


def test_a_queue_that_gives_nothing_is_not_asked_without_pause(
    make_bench: MakeBench, caplog: pytest.LogCaptureFixture
) -> None:
    bench = make_bench()
    calls = itertools.count()
    broken = threading.Event()
    broken.set()
    get = bench.native.get

    def failing(*args: Any, **kwargs: Any) -> Any:
        next(calls)
        if broken.is_set():
            raise LookupError("no more")
        return get(*args, **kwargs)

    bench.native.get = failing  # type: ignore[method-assign]
    bench.watch()
    bench.submit("a")
    bench.start()
    time.sleep(0.5)
    assert next(calls) < 6
    broken.clear()
    bench.until_over("a")
    assert bench.listener.of("a") == ["submitted", "started", "finished"]


# Packs that hold methods up.


def block(bench: Bench, name: str, place: str) -> tuple[threading.Event, threading.Event]:
    """Wrap a method like a pack that is loaded before or after us, on the queue or on its class.

    The wrapper sets the first event and goes on when the second is set.
    """
    entered, release = threading.Event(), threading.Event()
    on_class, is_after = place.startswith("class"), place.endswith("after")
    if is_after:
        bench.watch()
    target: Any = bench.kind if on_class else bench.native
    before = getattr(target, name)

    def blocking(*args: Any, **kwargs: Any) -> Any:
        answer = before(*args, **kwargs)
        entered.set()
        assert release.wait(WAIT_S)
        return answer

    setattr(target, name, blocking)
    if not is_after:
        bench.watch()
    return entered, release


PLACES = pytest.mark.parametrize("place", ["object before", "object after", "class before", "class after"])


@KINDS
@PLACES
def test_a_slow_task_done_holds_nobody_up(make_bench: MakeBench, kind: type[OldQueue], place: str) -> None:
    bench = make_bench(kind)
    entered, release = block(bench, "task_done", place)
    bench.start()
    bench.submit("a")
    try:
        assert entered.wait(WAIT_S)
        bench.can_be_used()
        bench.submit("b")
        bench.submit("c")
        assert not bench.queue.cancel("a")
        assert bench.queue.cancel("c")
        assert queue_ids(bench.queue).running == ()
        assert bench.listener.of("a") == ["submitted", "started", "finished"]
        assert not bench.flag.is_set()
    finally:
        release.set()
    bench.until_over("b", "c")
    assert bench.listener.of("a") == bench.listener.of("b") == ["submitted", "started", "finished"]
    assert bench.listener.of("c") == ["submitted", "dropped"]


@PLACES
@pytest.mark.parametrize("name", ["put", "delete_queue_item", "wipe_queue"])
def test_other_slow_methods_hold_nobody_up(make_bench: MakeBench, name: str, place: str) -> None:
    bench = make_bench()
    bench.native.put(bench.item("early", 5))
    entered, release = block(bench, name, place)
    calls: dict[str, Callable[[], Any]] = {
        "put": lambda: bench.queue.restore([bench.restored("early too")]),
        "delete_queue_item": lambda: bench.queue.cancel("early"),
        "wipe_queue": bench.native.wipe_queue,
    }
    caller = threading.Thread(target=calls[name], daemon=True)
    caller.start()
    try:
        assert entered.wait(WAIT_S)
        bench.can_be_used()
    finally:
        release.set()
    caller.join(WAIT_S)
    assert not caller.is_alive()
    assert queue_ids(bench.queue).pending == (("early too", "early") if name == "put" else ())


def test_an_interrupt_that_is_held_up_is_answered_and_hits_no_other_prompt(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.watch()
    go_on, entered, release, hit = threading.Event(), threading.Event(), threading.Event(), []

    def execute(item: Any) -> Mapping[str, Any]:
        if item[1] == "a":
            assert go_on.wait(WAIT_S)
        else:
            time.sleep(0.05)
        hit.append((item[1], bench.flag.is_set()))
        return {}

    def interrupt() -> None:
        entered.set()
        assert release.wait(WAIT_S)
        bench.flag.set()

    bench.execute, bench.interrupt = execute, interrupt
    bench.submit("a", 0)
    bench.submit("b", 1)
    bench.start()
    bench.until(lambda: queue_ids(bench.queue).running == ("a",))
    started = time.monotonic()
    assert bench.queue.cancel("a")
    assert time.monotonic() - started < WAIT_S / 2
    assert entered.is_set()
    go_on.set()  # it ends by itself, while the interrupt is still on its way
    bench.until(lambda: hit)
    bench.can_be_used()
    time.sleep(0.1)
    assert bench.listener.of("b") == ["submitted"]
    release.set()
    bench.until_over("a", "b")
    assert hit == [("a", False), ("b", False)]
    assert bench.listener.of("a") == ["submitted", "started", "interrupting", "finished"]


@pytest.mark.parametrize("is_replaced", [False, True], ids=["get wrapped", "get replaced"])
def test_a_start_is_reported_before_its_interrupt(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch, is_replaced: bool
) -> None:
    """The server lists a prompt as running before ``get`` returns it; a replaced ``get`` reports no start."""
    bench = make_bench()
    taken, release, go_on = threading.Event(), threading.Event(), threading.Event()
    native_get = bench.native.get

    def get(timeout: float | None = None) -> Any:
        found = native_get(timeout)
        if found is not None:
            taken.set()
            assert release.wait(WAIT_S)
        return found

    def execute(item: Any) -> Mapping[str, Any]:
        assert go_on.wait(WAIT_S)
        return {}

    bench.execute = execute
    if is_replaced:
        monkeypatch.setattr(comfyui_states, "_START_S", 0.05)
        bench.watch()
    vars(bench.native)["get"] = get
    bench.watch()
    bench.submit("a")
    bench.start()
    assert taken.wait(WAIT_S)
    told: list[bool] = []
    canceling = threading.Thread(target=lambda: told.append(bench.queue.cancel("a")), daemon=True)
    canceling.start()
    if not is_replaced:
        canceling.join(0.1)
        assert bench.listener.of("a") == ["submitted"]
        release.set()
    canceling.join(WAIT_S)
    release.set()
    go_on.set()
    bench.until_over("a")
    start = [] if is_replaced else ["started"]
    assert (told, bench.listener.of("a")) == ([True], ["submitted", *start, "interrupting", "finished"])


def test_no_interrupt_hits_another_prompt(make_bench: MakeBench) -> None:
    """Many threads cancel prompts that end by themselves at about the same time."""
    bench = make_bench()
    bench.watch()
    hits: dict[str, bool] = {}
    told: dict[str, list[bool]] = {}

    def execute(item: Any) -> Mapping[str, Any]:
        bench.flag.wait(0.002)
        hits[item[1]] = bench.flag.is_set()
        return {}

    def slow_interrupt() -> None:
        time.sleep(0.0005)
        bench.flag.set()

    bench.execute, bench.interrupt = execute, slow_interrupt
    ids = [f"p{number}" for number in range(80)]
    for number, prompt_id in enumerate(ids):
        bench.submit(prompt_id, number)
    wanted = ids[::2]
    over = threading.Event()

    def cancel() -> None:
        while not over.is_set():
            for prompt_id in queue_ids(bench.queue).running:
                if prompt_id in wanted:
                    told.setdefault(prompt_id, []).append(bench.queue.cancel(prompt_id))

    threads = [threading.Thread(target=cancel, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    bench.start()
    bench.until_over(*ids)
    over.set()
    for thread in threads:
        thread.join(WAIT_S)
    assert [prompt_id for prompt_id in ids if hits[prompt_id] and prompt_id not in wanted] == []
    for prompt_id in ids:
        kinds = bench.listener.of(prompt_id)
        assert (kinds[:2], kinds[-1]) == (["submitted", "started"], "finished"), kinds
        assert ("interrupting" in kinds) == any(told.get(prompt_id, [])), kinds
    assert any(hits.values())


# Packs that replace methods.


@KINDS
@PLACES
@pytest.mark.parametrize("keeps_history", [False, True])
def test_a_task_done_that_does_not_call_ours(
    make_bench: MakeBench, kind: type[OldQueue], place: str, *, keeps_history: bool
) -> None:
    bench = make_bench(kind)

    def execute(item: Any) -> Mapping[str, Any]:
        data = {"node": "2", "output": SHOWN, "prompt_id": item[1]}
        bench.server.send_sync("executed", data, "page")
        if item[1] == "b":
            bench.server.send_sync("execution_error", {"prompt_id": "b", "exception_message": "it broke"}, "page")
        return {"2": SHOWN}

    def replaced(*args: Any, **kwargs: Any) -> None:
        """Knows of no function before it, and may keep the prompt among those being executed."""
        item_id, result = args[-2:]
        if keeps_history:
            prompt = bench.native.currently_running.pop(item_id)
            bench.native.history[prompt[1]] = {"outputs": result["outputs"], "meta": {"kept": 1}, "status": None}

    bench.execute = execute
    if place.endswith("after"):
        bench.watch()
    target: Any = bench.kind if place.startswith("class") else bench.native
    target.task_done = replaced
    bench.watch()
    for number, prompt_id in enumerate("abc"):
        bench.submit(prompt_id, number)
    bench.start()
    bench.until_over("a", "b", "c")
    for prompt_id in "abc":
        assert bench.listener.of(prompt_id) == ["submitted", "started", "shown", "finished"]
        assert bench.listener.results[prompt_id].outputs == {"2": SHOWN}
    assert bench.after == ["a", "b", "c"]
    if place == "object after":  # in the other places we still hear of how it ended
        assert bench.listener.results["c"].meta == ({"kept": 1} if keeps_history else {})
        assert (bench.listener.results["b"].status or {})["messages"][0][1]["exception_message"] == "it broke"
    assert queue_ids(bench.queue).running == () and not bench.queue.is_executing()
    assert not bench.queue.cancel("c")
    assert not bench.flag.is_set()


@KINDS
def test_methods_that_are_replaced_before_the_server_serves(make_bench: MakeBench, kind: type[OldQueue]) -> None:
    """Once all packs are loaded the worker's methods are wrapped again, so that we hear how prompts end."""
    bench = make_bench(kind)
    bench.watch()
    get, put = bench.native.get, bench.native.put

    def replaced(item_id: int, result: Any, status: Any, process_item: Any = None) -> None:
        prompt = bench.native.currently_running.pop(item_id)
        bench.native.history[prompt[1]] = result
        if prompt[1] == "a":
            raise LookupError("a pack's own fault")

    def failing(*args: Any, **kwargs: Any) -> Any:
        taken = get(*args, **kwargs)
        if taken is not None and taken[0][1] == "bad":
            raise LookupError("a pack's own fault")
        return taken

    bench.native.task_done, bench.native.get = replaced, failing  # type: ignore[method-assign, assignment]
    bench.native.put = lambda item: put(item)  # type: ignore[method-assign]
    bench.queue.wrap_worker()
    bench.queue.wrap_worker()
    for number, prompt_id in enumerate(["a", "bad", "b"]):
        bench.submit(prompt_id, number)
    bench.start()
    bench.until_over("a", "bad", "b")
    assert bench.is_alive()
    for prompt_id in ("a", "b", "bad"):
        assert bench.listener.of(prompt_id) == ["submitted", "started", "finished"]
    assert bench.listener.results["a"].status == {"status_str": "success", "completed": True, "messages": []}
    assert bench.listener.results["b"].outputs == {"2": SHOWN}
    assert "a pack's own fault" in bench.listener.error("bad")["exception_message"]
    assert (bench.native.currently_running, bench.queue.is_executing()) == ({}, False)


def test_a_prompt_that_the_server_holds_for_ever_stays_over(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comfyui_states, "_REMEMBERED", 5)
    bench = make_bench()
    before = bench.native.task_done

    def forgetful(item_id: int, *args: Any, **kwargs: Any) -> None:
        if item_id:
            before(item_id, *args, **kwargs)

    bench.native.task_done = forgetful  # type: ignore[method-assign]
    bench.watch()
    ids = [f"p{number}" for number in range(40)]
    for number, prompt_id in enumerate(ids):
        bench.submit(prompt_id, number)
    bench.start()
    bench.until_over(*ids)
    bench.until(lambda: len(bench.native.currently_running) == 1)
    assert queue_ids(bench.queue).running == ()
    assert not bench.queue.cancel("p0") and not bench.flag.is_set()


def test_prompts_that_a_pack_executes_side_by_side_are_over_when_they_leave(make_bench: MakeBench) -> None:
    """A thread that is not the server's worker takes one prompt after another for others to execute."""
    bench = make_bench()
    bench.watch()
    bench.native.task_done = lambda *args, **kwargs: None  # type: ignore[method-assign]
    for number, prompt_id in enumerate("abc"):
        bench.submit(prompt_id, number)
    taken = [bench.native.get() for _ in range(3)]
    assert bench.native.get(timeout=0.01) is None
    assert queue_ids(bench.queue).running == ("a", "b", "c")
    bench.native.currently_running.pop(taken[1][1])
    assert bench.native.get(timeout=0.01) is None
    assert queue_ids(bench.queue).running == ("a", "c")
    assert [told for told in bench.listener.told if told[0] == "finished"] == [("finished", "b")]


@PLACES
def test_a_task_done_that_fails_does_not_end_the_worker(make_bench: MakeBench, place: str) -> None:
    bench = make_bench()

    def failing(*args: Any, **kwargs: Any) -> None:
        raise TimeoutError("nobody answered")

    if place.endswith("after"):
        bench.watch()
    target: Any = bench.kind if place.startswith("class") else bench.native
    if place == "object after":
        ours = bench.native.task_done

        def calls_ours(*args: Any, **kwargs: Any) -> None:
            bench.kind.task_done = failing  # type: ignore[attr-defined]
            ours(*args, **kwargs)

        target.task_done = calls_ours
    else:
        target.task_done = failing
    bench.watch()
    bench.submit("a", 0)
    bench.submit("b", 1)
    bench.start()
    bench.until_over("a", "b")
    bench.until(lambda: bench.native.currently_running == {})
    assert bench.is_alive()
    assert bench.listener.of("a") == bench.listener.of("b") == ["submitted", "started", "finished"]


@KINDS
def test_a_task_done_with_other_arguments(make_bench: MakeBench, kind: type[OldQueue]) -> None:
    """A pack hides the parameters of the server's method, another adds one."""
    bench = make_bench(kind)
    stock, seen = bench.kind.task_done, []  # type: ignore[attr-defined]

    def hiding(self: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(kwargs.pop("more"))
        return stock(self, *args, **kwargs)

    bench.kind.task_done = hiding  # type: ignore[attr-defined]
    bench.watch()
    ours = bench.native.task_done
    bench.native.task_done = lambda *args, **kwargs: ours(*args, more=5, **kwargs)  # type: ignore[method-assign, call-arg]
    bench.queue.restore([bench.restored("a")])
    bench.start()  # which looks for the credentials where this server has them
    bench.until_over("a")
    assert seen == [5]
    assert bench.listener.of("a") == ["started", "finished"]


def test_what_a_pack_replaces_on_the_class_later_is_called(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.watch()
    called: list[str] = []

    def wrapped(name: str, before: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            called.append(name)
            return before(*args, **kwargs)

        return call

    for name in ("put", "get", "task_done", "delete_queue_item", "wipe_queue"):
        setattr(bench.kind, name, wrapped(name, getattr(bench.kind, name)))
    for prompt_id in "abc":
        bench.submit(prompt_id)
    assert bench.queue.cancel_many(["a", "b"]) == ["a", "b"]
    bench.start()
    bench.until_over("c")
    bench.native.wipe_queue()
    assert set(called) == {"put", "get", "task_done", "delete_queue_item", "wipe_queue"}
    assert called.count("delete_queue_item") >= 2


# Out of the queue.


def test_thousands_are_cancelled_in_one_step(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.watch()
    for number in range(5000):
        bench.submit(f"{'ann' if number % 2 else 'bob'} {number}", number)
    anns = [f"ann {number}" for number in range(1, 5000, 2)]
    del bench.server.sent[:], bench.listener.told[:]
    started = time.process_time()
    assert bench.queue.cancel_many(anns) == anns
    taken = time.process_time() - started
    assert bench.server.sent == ["status"]
    assert bench.listener.told == [("dropped", prompt_id) for prompt_id in anns]
    assert queue_ids(bench.queue).pending == tuple(f"bob {number}" for number in range(0, 5000, 2))
    assert taken < 2, taken
    bench.start()
    bench.until(lambda: len(bench.listener.results) > 10)
    assert list(bench.listener.results)[:3] == ["bob 0", "bob 2", "bob 4"]
    bench.queue.cancel_many(queue_ids(bench.queue).pending)


def test_a_cancelled_id_that_waits_twice_is_gone(make_bench: MakeBench) -> None:
    bench = make_bench(OldQueue)
    bench.watch()
    release = threading.Event()
    bench.execute = lambda item: {"released": {"text": [str(release.wait(WAIT_S))]}}
    bench.submit("a", 0)
    bench.start()
    bench.until(lambda: queue_ids(bench.queue).running == ("a",))
    for number, prompt_id in enumerate("abcb"):
        bench.submit(prompt_id, number + 1)
    assert bench.queue.cancel_many(["b"]) == ["b"]
    assert queue_ids(bench.queue).pending == ("a", "c")
    assert bench.listener.of("b").count("dropped") == 1
    assert bench.queue.cancel("a")  # the one that runs, and the one that waits
    assert (queue_ids(bench.queue).pending, bench.flag.is_set()) == (("c",), True)
    assert "dropped" not in bench.listener.of("a")
    release.set()
    bench.until_over("a", "c")


# Back into the queue.


@KINDS
def test_restored_prompts_that_cannot_be_executed_fail(make_bench: MakeBench, kind: type[OldQueue]) -> None:
    bench = make_bench(kind)
    bench.watch()
    gone = {**GRAPH, "5": {"class_type": "Gone", "inputs": {}, "_meta": {"title": "mine"}}}
    deep = {**GRAPH, "6": {"class_type": "Known", "inputs": {"x": nested(101)}}}
    odd = [{"1": {"inputs": {}}}, {"1": {"class_type": ["x"]}}, {"1": None}, {"1": "x"}]
    prompts = [bench.restored("a", 0), bench.restored("gone", 1, gone), bench.restored("deep", 2, deep)]
    prompts += [bench.restored(f"odd {number}", 3, graph) for number, graph in enumerate(odd)]
    refused = ["gone", "deep", *(f"odd {number}" for number in range(len(odd)))]
    assert bench.queue.restore([*prompts, bench.restored("b", 4)]) == refused
    assert bench.listener.told == [("finished", prompt_id) for prompt_id in refused]
    assert queue_ids(bench.queue).pending == ("a", "b")
    error = bench.listener.error("gone")
    assert (error["node_id"], error["node_type"], error["exception_type"]) == ("5", "Gone", "MissingNodeType")
    assert "Node 5 (Gone)" in error["exception_message"]
    assert bench.listener.error("deep")["exception_type"] == "PromptTooDeep"
    assert bench.listener.error("deep")["node_id"] == "6"
    bench.start()
    bench.until_over("a", "b")
    assert bench.listener.of("a") == bench.listener.of("b") == ["started", "finished"]


@pytest.mark.parametrize("is_async", [False, True])
def test_the_servers_own_check_decides(
    make_bench: MakeBench, caplog: pytest.LogCaptureFixture, *, is_async: bool
) -> None:
    """Its answer is (whether it is valid, the error, the outputs that are valid, errors by node)."""
    bench = make_bench()
    reason = {"message": "Invalid image file", "details": "image - gone.png", "type": "custom_validation_failed"}
    error = {"type": "prompt_outputs_failed_validation", "message": "Prompt outputs failed validation", "details": "x"}
    errors = {"1": {"errors": [reason], "dependent_outputs": ["2"], "class_type": "Known"}}
    answers = {
        "good": (True, None, ["2"], {}),
        "partly": (True, None, ["9"], {}),
        "bad": (False, error, [], errors),
        "no outputs": (False, {"message": "Prompt has no outputs", "details": "", "extra_info": {}}, [], {}),
    }
    asked: dict[str, Any] = {}

    def check(prompt_id: str, graph: Any, outputs: Any) -> Any:
        asked[prompt_id] = (graph, outputs)
        if prompt_id == "broken":
            raise LookupError("a pack's own fault")
        graph["1"]["inputs"]["width"] = "changed"
        return answers[prompt_id]

    async def check_later(prompt_id: str, graph: Any, outputs: Any) -> Any:
        return check(prompt_id, graph, outputs)

    bench.check = PromptValidator(lambda: NODES, check_later if is_async else check, lambda graph: None)
    bench.watch()
    graph = {"1": {"class_type": "Known", "inputs": {"list": ["a", "b", "c"], "pair": [1, 2], "link": ["2", 0]}}}
    prompts = [SubmittedPrompt(0, name, graph, {}, ("2", "9")) for name in (*answers, "broken")]
    with caplog.at_level(logging.WARNING):
        assert bench.queue.restore(prompts) == ["bad", "no outputs"]
    assert bench.listener.error("bad")["exception_message"] == (
        "Prompt outputs failed validation.\nNode 1 (Known): Invalid image file: image - gone.png"
    )
    assert (bench.listener.error("bad")["node_id"], bench.listener.error("bad")["node_type"]) == ("1", "Known")
    assert bench.listener.error("no outputs")["exception_message"] == "Prompt has no outputs."
    outputs = {prompt.prompt_id: list(prompt.outputs) for prompt in bench.queue.listing().pending}
    assert outputs == {"good": ["2"], "partly": ["9"], "broken": ["2", "9"]}
    assert "partly" in caplog.text and "broken" in caplog.text
    # Lists that are no links are wrapped, as a client sends them: the check would take them for links.
    assert asked["broken"] == (
        {
            "1": {
                "class_type": "Known",
                "inputs": {
                    "list": {"__value__": ["a", "b", "c"]},
                    "pair": {"__value__": [1, 2]},
                    "link": ["2", 0],
                },
            }
        },
        ["2", "9"],
    )
    assert all(dict(prompt.graph) == graph for prompt in bench.queue.listing().pending)


def test_a_check_that_hangs_delays_the_start_for_a_moment_only(make_bench: MakeBench) -> None:
    bench = make_bench()
    release = threading.Event()

    def check(prompt_id: str, graph: Any, outputs: Any) -> Any:
        if prompt_id == "hangs":
            release.wait(WAIT_S)
        return True, None, outputs, {}

    bench.check = PromptValidator(lambda: NODES, check, lambda graph: None, budget_s=0.3)
    bench.watch()
    gone = {"5": {"class_type": "Gone", "inputs": {}}}
    prompts = [bench.restored("a"), bench.restored("hangs"), bench.restored("b"), bench.restored("gone", graph=gone)]
    started = time.monotonic()
    try:
        assert bench.queue.restore(prompts) == ["gone"]
        assert bench.queue.restore([bench.restored("c")]) == []
        assert time.monotonic() - started < 5
        assert queue_ids(bench.queue).pending == ("a", "b", "c", "hangs")
    finally:
        release.set()


def test_a_node_type_that_has_a_new_name_is_replaced(make_bench: MakeBench) -> None:
    bench = make_bench()

    def replace(graph: Any) -> None:
        if "new" not in graph:
            graph["1"] = {**graph["1"], "class_type": "Known"}
        else:
            raise LookupError("a pack's own fault")

    bench.check = PromptValidator(lambda: NODES, bench.validate, replace)
    bench.watch()
    old = {"1": {"class_type": "Old", "inputs": {"width": 1}}}
    assert bench.queue.restore([bench.restored("a", graph=old), bench.restored("b", graph={**old, "new": {}})]) == ["b"]
    (prompt,) = bench.queue.listing().pending
    assert prompt.graph == {"1": {"class_type": "Known", "inputs": {"width": 1}}}
    assert old["1"]["class_type"] == "Old"


@PLACES
def test_a_prompt_that_a_pack_does_not_let_back_in_fails(make_bench: MakeBench, place: str) -> None:
    bench = make_bench()
    if place.endswith("after"):
        bench.watch()
    target: Any = bench.kind if place.startswith("class") else bench.native
    before = target.put

    def choosy(*args: Any) -> None:
        if args[-1][1] == "unwanted":
            raise OverflowError("no more")
        before(*args)
        if args[-1][1] == "in already":
            raise OverflowError("too late")

    target.put = choosy
    bench.watch()
    prompts = [bench.restored(prompt_id, number) for number, prompt_id in enumerate(["a", "unwanted", "in already"])]
    assert bench.queue.restore(prompts) == ["unwanted"]
    assert "OverflowError: no more" in bench.listener.error("unwanted")["exception_message"]
    bench.start()
    bench.until_over("a", "in already")
    assert bench.listener.of("in already") == ["started", "finished"]


def test_thousands_of_prompts_return_quickly(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.watch()
    ids = [f"{number:04}" for number in range(5000)]
    started = time.monotonic()
    assert bench.queue.restore([bench.restored(prompt_id, float(prompt_id)) for prompt_id in ids]) == []
    assert time.monotonic() - started < 8
    assert queue_ids(bench.queue).pending == tuple(ids)
    assert bench.listener.told == []
    assert bench.server.number == 5000
