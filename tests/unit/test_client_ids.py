"""The namespaces of websocket clients, and the messages of ComfyUI's worker to the clients of one of them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.host import client_ids
from comfy_assets_node.comfy_assets.host.comfyui_messages import WORKER, MessagesOfPrompts
from comfy_assets_node.comfy_assets.host.comfyui_queue import _claim_client
from comfy_assets_node.comfy_assets.jobs.submission import with_own_client
from hypothesis import given
from hypothesis import strategies as st

ADA, BOB = client_ids.namespace_of("ada"), client_ids.namespace_of("bob")


@given(st.text(), st.text(min_size=1), st.text(min_size=1))
def test_nobody_has_an_id_of_another_user(client_id: str, first: str, second: str) -> None:
    mine = client_ids.own_id(client_ids.namespace_of(first), client_id)
    theirs = client_ids.own_id(client_ids.namespace_of(second), mine)
    assert client_ids.namespace_in(mine) == client_ids.namespace_of(first)
    assert client_ids.namespace_in(theirs) == client_ids.namespace_of(second)
    assert (mine == theirs) == (first == second)
    assert client_ids.own_id(client_ids.namespace_of(first), theirs) == mine


@pytest.mark.parametrize("client_id", [None, "", ADA])
def test_a_client_without_an_id_gets_one(client_id: str | None) -> None:
    made = {client_ids.own_id(ADA, client_id) for _ in range(3)}
    assert len(made) == 3 and all(each.startswith(ADA) and len(each) > 40 for each in made)


BODIES: list[tuple[dict[str, Any], str]] = [
    ({"client_id": "x"}, f"{ADA}x"),
    ({"client_id": f"{BOB}x"}, f"{ADA}x"),
    ({"client_id": 1.5}, f"{ADA}1.5"),
    ({"extra_data": {"client_id": "x"}}, f"{ADA}x"),
    ({"client_id": "", "extra_data": {"client_id": "x"}}, f"{ADA}x"),
    ({"client_id": "x", "extra_data": {"client_id": "y"}}, f"{ADA}x"),
]


@pytest.mark.parametrize(("body", "wanted"), BODIES)
def test_a_submitted_body_has_the_client_of_its_user(body: dict[str, Any], wanted: str) -> None:
    assert with_own_client(body) is body, "while the login is off"
    with client_ids.speaking_for(ADA):
        assert with_own_client(body)["client_id"] == wanted
        assert client_ids.namespace_in(with_own_client({})["client_id"]) == ADA
    assert with_own_client(body) is body


def test_an_item_of_a_packs_own_route_has_the_client_of_the_requests_user() -> None:
    item = (0, "id", {}, {"client_id": f"{BOB}x"}, [])
    _claim_client(item)
    assert item[3] == {"client_id": f"{BOB}x"}, "outside a request"
    with client_ids.speaking_for(ADA):
        for odd in (None, (), (0, "id"), (0, "id", {}, None), "text"):
            _claim_client(odd)
        _claim_client(item)
    assert item[3] == {"client_id": f"{ADA}x"}


def run_in(name: str, function: Callable[[], None]) -> None:
    thread = threading.Thread(target=function, name=name)
    thread.start()
    thread.join()


Sent = list[tuple[Any, ...]]


@pytest.fixture
def server() -> SimpleNamespace:
    return SimpleNamespace(sockets={f"{ADA}1": 1, f"{BOB}1": 2, f"{ADA}2": 3, "plain": 4}, client_id=f"{ADA}9")


def test_messages_of_the_worker_go_to_the_clients_of_the_prompts_user(server: SimpleNamespace) -> None:
    sent: Sent = []
    messages = MessagesOfPrompts(server, lambda *args, **kwargs: sent.append((*args, *kwargs.items())))

    def send() -> None:
        messages.send("pack.text", {"a": 1})
        messages.send(event=1, data=b"picture", sid=None)
        messages.send("executed", {}, "plain")
        messages.send("status", {})

    run_in(f"Thread-7 {WORKER}", send)
    assert sent == [
        ("pack.text", {"a": 1}, f"{ADA}1"),
        ("pack.text", {"a": 1}, f"{ADA}2"),
        (1, b"picture", f"{ADA}1"),
        (1, b"picture", f"{ADA}2"),
        ("executed", {}, "plain"),
        ("status", {}),
    ]


@pytest.mark.parametrize("client_id", [None, "plain", 7])
def test_messages_of_a_prompt_of_nobody_go_to_everybody(server: SimpleNamespace, client_id: Any) -> None:
    server.client_id = client_id
    sent: Sent = []
    messages = MessagesOfPrompts(server, lambda *args: sent.append(args))
    run_in(f"Thread-7 {WORKER}", lambda: messages.send("pack.text", {}))
    assert sent == [("pack.text", {})]


def test_messages_of_other_threads_go_to_everybody(server: SimpleNamespace) -> None:
    sent: Sent = []
    messages = MessagesOfPrompts(server, lambda *args: sent.append(args))
    messages.send("cm-queue-status", {})
    run_in("Thread-8 (other)", lambda: messages.send("cm-queue-status", {}))
    assert sent == [("cm-queue-status", {})] * 2
