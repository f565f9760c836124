"""The queue as each user sees it, over a queue in memory: content, cancellation, interrupts, and ids of prompts."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.db.jobs import StoredId
from comfy_assets_node.comfy_assets.errors import InvalidPromptIdError, PromptIdTakenError
from comfy_assets_node.comfy_assets.host.execution import QueueListing, SubmittedPrompt
from comfy_assets_node.comfy_assets.jobs import user_queue
from comfy_assets_node.comfy_assets.jobs.live_jobs import LiveJobs
from comfy_assets_node.comfy_assets.jobs.user_queue import PromptIds, QueueControl, UserQueue

HIDDEN = "[REDACTED]"
# The running and the waiting prompts, and their owners; the last one came before recording began.
RUNNING, WAITING = ("ann-1", "all-1"), ("bob-2", "ann-2", "all-2", "early")
OWNERS = {"ann-1": "ann", "all-1": "", "bob-2": "bob", "ann-2": "ann", "all-2": ""}


class Queue:
    """A queue in memory that knows how it was changed."""

    def __init__(self) -> None:
        self.running, self.pending = list(RUNNING), list(WAITING)
        self.ended: list[str] = []

    def listing(self) -> QueueListing:
        return QueueListing([_prompt(each) for each in self.running], [_prompt(each) for each in self.pending])

    def cancel(self, prompt_id: str) -> bool:
        is_there = prompt_id in (*self.running, *self.pending)
        self.ended += [prompt_id] if is_there else []
        return is_there

    def cancel_many(self, prompt_ids: Iterable[str]) -> list[str]:
        return [prompt_id for prompt_id in prompt_ids if self.cancel(prompt_id)]

    def drop_many(self, prompt_ids: Iterable[str]) -> list[str]:
        return self.cancel_many(each for each in prompt_ids if each in self.pending)


def _prompt(prompt_id: str) -> SubmittedPrompt:
    extra = {"client_id": f"page of {prompt_id}", "token": f"key of {prompt_id}", "create_time": 7}
    return SubmittedPrompt(1, prompt_id, {"1": {"text": f"graph of {prompt_id}"}}, extra, [f"out of {prompt_id}"])


class Recorder:
    """The parts of the recorder that decide what a user may reach."""

    def __init__(self) -> None:
        self.live = LiveJobs()
        for prompt_id, owner in OWNERS.items():
            self.live.add(prompt_id, owner)
        self.flushed = 0

    def is_interrupted(self, prompt_id: str) -> bool:
        job = self.live.get(prompt_id)
        return job is not None and job.is_interrupted

    def redactor_of(self, prompt_id: str) -> Callable[[Any], Any]:
        return lambda value: value

    def running_seats(self) -> frozenset[int]:
        return frozenset({5})

    async def flush(self) -> None:
        self.flushed += 1


class Server:
    """A queue, its records, and the services over them."""

    def __init__(self, *, is_multi_user: bool = True) -> None:
        self.queue, self.recorder = Queue(), Recorder()
        self.control = QueueControl(self.queue, self.recorder)  # type: ignore[arg-type]
        host: Any = type("Host", (), {"is_multi_user": lambda _: is_multi_user})()
        self.users = UserQueue(host, self.recorder, self.control)  # type: ignore[arg-type]
        self.ids = PromptIds(self.recorder)  # type: ignore[arg-type]


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.mark.parametrize(
    ("owner", "seen"),
    [("ann", {"ann-1", "all-1", "ann-2", "all-2"}), ("bob", {"bob-2", "all-1", "all-2"}), ("eve", {"all-1", "all-2"})],
)
async def test_the_content_of_others_prompts_is_not_shown(server: Server, owner: str, seen: set[str]) -> None:
    shown = await server.users.show(owner)
    assert [each.prompt_id for each in (*shown.running, *shown.pending)] == [*RUNNING, *WAITING]
    for each in (*shown.running, *shown.pending):
        graph, extra = bytes(each.graph).decode(), bytes(each.extra_data).decode()
        assert each.created_at == 7
        if each.prompt_id in seen:
            assert f"graph of {each.prompt_id}" in graph and f"page of {each.prompt_id}" in extra
            assert each.targets == [f"out of {each.prompt_id}"] and HIDDEN in extra and "key of" not in extra
        else:
            assert (graph, extra, list(each.targets)) == ("{}", "{}", [])


async def test_a_single_user_sees_everything_but_credentials() -> None:
    shown = await Server(is_multi_user=False).users.show("")
    for each in (*shown.running, *shown.pending):
        assert f"graph of {each.prompt_id}" in bytes(each.graph).decode()
        assert "key of" not in bytes(each.extra_data).decode()


ALL = (*RUNNING, *WAITING, "none")
# What a user does, and the prompts that end by it.
CHANGES: dict[str, tuple[Callable[[Server], Awaitable[Any]], Sequence[str]]] = {
    "cancel by id": (lambda server: server.control.cancel_known(ALL, "ann"), ["ann-1", "all-1", "ann-2", "all-2"]),
    "cancel others' by id": (lambda server: server.control.cancel_known(["bob-2", "early"], "ann"), []),
    "cancel one twice": (lambda server: server.control.cancel_known(["ann-1", "ann-1"], "ann"), ["ann-1"]),
    "cancel what waits": (lambda server: server.control.cancel_pending("ann"), ["ann-2", "all-2", "early"]),
    "cancel what waits of bob": (lambda server: server.control.cancel_pending("bob"), ["bob-2", "all-2", "early"]),
    "interrupt": (lambda server: server.control.interrupt("ann"), ["ann-1"]),
    "interrupt of bob": (lambda server: server.control.interrupt("bob"), ["all-1"]),
    "interrupt by id": (lambda server: server.control.interrupt("ann", "all-1"), ["all-1"]),
    "interrupt another's": (lambda server: server.control.interrupt("bob", "ann-1"), []),
    "interrupt what waits by id": (lambda server: server.control.interrupt("ann", "ann-2"), []),
    "interrupt all": (lambda server: server.users.interrupt("ann"), ["ann-1", "all-1"]),
    "interrupt all of bob": (lambda server: server.users.interrupt("bob"), ["all-1"]),
    "interrupt one": (lambda server: server.users.interrupt("ann", "all-1"), ["all-1"]),
    "interrupt one of another": (lambda server: server.users.interrupt("bob", "ann-1"), []),
    "drop": (lambda server: server.users.drop(ALL, "ann"), ["ann-2", "all-2"]),
    "drop of bob": (lambda server: server.users.drop(ALL, "bob"), ["bob-2", "all-2"]),
}


@pytest.mark.parametrize(("change", "ended"), CHANGES.values(), ids=CHANGES)
async def test_users_end_their_own_prompts(
    server: Server, change: Callable[[Server], Awaitable[Any]], ended: Sequence[str]
) -> None:
    found = await change(server)
    assert server.queue.ended == list(ended)
    if found is not None:
        assert found == (ended[0] if isinstance(found, str) else ended)


@pytest.mark.parametrize("is_named", [True, False])
async def test_interrupted_prompts_are_passed_over(server: Server, is_named: bool) -> None:
    server.recorder.live.get("ann-1").is_interrupted = True  # type: ignore[union-attr]
    if is_named:
        assert await server.control.interrupt("ann", "ann-1") is None
        assert await server.control.cancel_known(["ann-1"], "ann") == []
        assert server.queue.ended == []
    else:
        assert await server.control.interrupt("ann") == "all-1"


async def test_the_next_prompt_of_the_user_is_interrupted_where_only_others_run(server: Server) -> None:
    server.queue.running = ["ann-1"]
    assert await server.control.interrupt("bob") == "bob-2"
    assert await server.control.interrupt("bob", "bob-2") is None


@pytest.mark.parametrize(
    ("prompt_id", "owner", "is_found"),
    [("ann-1", "ann", True), ("ann-1", "bob", False), ("all-1", "bob", True), ("early", "ann", False)],
)
def test_prompts_that_a_user_finds(server: Server, prompt_id: str, owner: str, is_found: bool) -> None:
    assert (server.control.find(prompt_id, owner) is not None) is is_found
    assert server.control.is_queued(prompt_id) is (prompt_id != "early")


STORED = {  # the record of an id, who submits it, and whether that is refused
    "new": (None, "ann", False),
    "one's own": (StoredId("x", "ann"), "ann", False),
    "everybody's": (StoredId("x", ""), "ann", False),
    "another's": (StoredId("x", "bob"), "ann", True),
    "another's, submitted by nobody": (StoredId("x", "bob"), "", True),
    "one's own, active here before": (StoredId("x", "ann", seat=4, is_active=True), "ann", False),
    "one's own, active on another server": (StoredId("x", "ann", seat=5, is_active=True), "ann", True),
    "one's own, ended on another server": (StoredId("x", "ann", seat=5), "ann", False),
}


async def claims(server: Server, prompt_id: str, owner: str, db: Any = None) -> bool:
    """Whether the user may submit a prompt with this id."""
    try:
        async with server.ids.claimed(prompt_id, owner, db):
            assert not server.recorder.live.reserve(prompt_id)  # nobody else gets it meanwhile
    except (InvalidPromptIdError, PromptIdTakenError) as error:
        assert error.details == {"field": "prompt_id"}
        return False
    assert server.recorder.live.reserve(prompt_id)
    return True


@pytest.mark.parametrize(("stored", "owner", "is_refused"), STORED.values(), ids=STORED)
async def test_ids_with_a_record(
    server: Server, monkeypatch: pytest.MonkeyPatch, stored: StoredId | None, owner: str, is_refused: bool
) -> None:
    async def stored_ids(db: Any, ids: Iterable[str]) -> dict[str, StoredId | None]:
        return dict.fromkeys(ids, stored)

    monkeypatch.setattr(user_queue, "stored_ids", stored_ids)
    assert await claims(server, "x", owner, db="a store") is not is_refused
    assert server.recorder.flushed == 0


@pytest.mark.parametrize(("owner", "may"), [("ann", True), ("bob", False), ("", False)])
async def test_ids_of_prompts_that_have_ended(
    server: Server, monkeypatch: pytest.MonkeyPatch, owner: str, may: bool
) -> None:
    async def broken(db: Any, ids: Iterable[str]) -> dict[str, StoredId]:
        raise sqlite3.OperationalError

    monkeypatch.setattr(user_queue, "stored_ids", broken)
    assert not await claims(server, "ann-1", "ann")  # it is in the queue
    server.recorder.live.end("ann-1")
    assert await claims(server, "ann-1", owner) is may
    server.recorder.live.release("ann-1")
    assert await claims(server, "ann-1", owner, db="a store that cannot be read") is may
    assert server.recorder.flushed == (1 if may else 0)


@pytest.mark.parametrize(
    ("prompt_id", "may"),
    [
        ("a", True),
        ("a b", True),
        ("x" * 256, True),
        ("x" * 257, False),
        ("", False),
        (" a", False),
        ("a\n", False),
        ("a\0b", False),
    ],
)
async def test_spellings_of_ids(server: Server, prompt_id: str, may: bool) -> None:
    assert await claims(server, prompt_id, "ann") is may
