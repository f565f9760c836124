"""What open pages hear over the websocket, and that no page can hold up another."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

from aiohttp import WSMsgType
from comfy_assets_node.comfy_assets.host.standalone import websocket

EMPTY: dict[str, Any] = {"class_type": "EmptyImage", "inputs": {"width": 1, "height": 1, "batch_size": 1, "color": 0}}
GRAPH: dict[str, Any] = {
    "e": EMPTY,
    "i": {"class_type": "ImageInvert", "inputs": {"image": ["e", 0]}},
    "p": {"class_type": "PreviewImage", "inputs": {"images": ["i", 0]}},
}
HELD: dict[str, Any] = {
    "e": EMPTY,
    "h": {"class_type": "Hold", "inputs": {"image": ["e", 0]}},
    "p": {"class_type": "PreviewImage", "inputs": {"images": ["h", 0]}},
}


async def hear(page: Any, last: str = "executing", **wanted: Any) -> list[tuple[str, dict[str, Any]]]:
    """The messages up to one of this type with this data."""
    heard = []
    while True:
        message = await page.receive_json(timeout=10)
        heard.append((message["type"], message["data"]))
        if message["type"] == last and all(message["data"].get(key) == wanted[key] for key in wanted):
            return heard


def events(heard: list[tuple[str, dict[str, Any]]]) -> list[Any]:
    return [(name, data["node"]) if name == "executing" else name for name, data in heard if name != "progress_state"]


async def test_the_messages_of_a_prompt_in_order(server: Any) -> None:
    page = await server.page("me")
    prompt_id = await server.submit(GRAPH, client_id="me")
    heard = await hear(page, node=None)
    assert events(heard) == [
        "status",
        "status",
        "execution_start",
        "execution_cached",
        ("executing", "e"),
        ("executing", "i"),
        ("executing", "p"),
        "executed",
        "execution_success",
        "status",
        ("executing", None),
    ]
    by_name = dict(heard)
    assert all(data["prompt_id"] == prompt_id for name, data in heard if name != "status")
    assert [data["status"]["exec_info"]["queue_remaining"] for name, data in heard if name == "status"] == [
        1,
        1,
        0,
    ]
    assert by_name["execution_start"].keys() == {"prompt_id", "timestamp"}
    assert by_name["execution_cached"].keys() == {"nodes", "prompt_id", "timestamp"}
    assert by_name["executed"]["node"] == by_name["executed"]["display_node"] == "p"
    assert by_name["executed"]["output"]["images"][0]["type"] == "temp"
    assert by_name["progress_state"]["nodes"]["p"] == {
        "value": 1,
        "max": 1,
        "state": "finished",
        "node_id": "p",
        "prompt_id": prompt_id,
        "display_node_id": "p",
        "parent_node_id": None,
        "real_node_id": "p",
    }


async def test_a_cached_prompt_shows_its_outputs_again(server: Any) -> None:
    page = await server.page("me")
    await server.submit(GRAPH, client_id="me")
    first = await hear(page, node=None)
    await server.submit(GRAPH, client_id="me")
    again = await hear(page, node=None)
    assert events(again)[2:] == [
        "execution_start",
        "execution_cached",
        "executed",
        "execution_success",
        "status",
        ("executing", None),
    ]
    assert dict(again)["execution_cached"]["nodes"] == ["e", "i", "p"]
    assert dict(again)["executed"]["output"] == dict(first)["executed"]["output"]


async def test_errors_and_interrupts_are_told(server: Any) -> None:
    page = await server.page("me")
    fails = {**HELD, "h": {"class_type": "Fail", "inputs": {"image": ["e", 0]}}}
    await server.submit(fails, client_id="me")
    error = dict(await hear(page, node=None))["execution_error"]
    assert error["node_id"] == "h" and error["exception_type"] == "LookupError"
    await server.submit(HELD, client_id="me")
    progress = (await hear(page, "progress"))[-1][1]
    assert progress["node"] == "h" and (progress["value"], progress["max"]) == (1, 2)
    await server.post("/interrupt", {})
    heard = dict(await hear(page, node=None))
    assert heard["execution_interrupted"]["node_id"] == "h" and "execution_success" not in heard


async def test_other_sessions_hear_only_of_the_queue(server: Any) -> None:
    mine, other = await server.page("me"), await server.page("other")
    twin = await server.page("me")
    await server.submit(GRAPH, client_id="me")
    assert events(await hear(mine, node=None)) == events(await hear(twin, node=None))
    server.host.emit("done", {})
    assert events(await hear(other, "done")) == ["status", "status", "status", "done"]


async def test_a_page_that_comes_back_is_told_where_its_prompt_is(server: Any) -> None:
    page = await server.page("me")
    await server.submit(HELD, client_id="me")
    await hear(page, "executing", node="h")
    back = await server.client.ws_connect("/api/ws?clientId=me")
    first = (await back.receive_json())["data"]
    assert first == {"status": {"exec_info": {"queue_remaining": 1}}, "sid": "me"}
    second = await back.receive_json()
    while second["type"] != "executing":
        second = await back.receive_json()
    assert second["data"] == {"node": "h"}
    server.release()


async def test_the_handshake_of_features(server: Any) -> None:
    server.host.features["assets"] = True
    page = await server.client.ws_connect("/ws")
    assert len((await page.receive_json())["data"]["sid"]) == 32
    await page.send_json({"type": "feature_flags", "data": {"supports_preview_metadata": True}})
    answer = await page.receive_json()
    assert answer["type"] == "feature_flags"
    assert answer["data"] == await server.json("/features")
    assert answer["data"]["assets"] is True and answer["data"]["max_upload_size"] == 100 * 1024 * 1024


async def test_nonsense_from_a_page_is_passed_over(server: Any) -> None:
    page = await server.page()
    for text in ("{", "5", "[]", '{"type": 3}', "[" * 20_000):
        await page.send_str(text)
    await page.send_bytes(b"\0")
    server.host.emit("still", {"here": True})
    assert await page.receive_json(timeout=5) == {"type": "still", "data": {"here": True}}


async def test_emit_works_from_any_thread_and_keeps_the_order(server: Any) -> None:
    page = await server.page()
    thread = threading.Thread(target=lambda: [server.host.emit("n", {"i": i}) for i in range(200)])
    thread.start()
    assert [(await page.receive_json(timeout=5))["data"]["i"] for _ in range(200)] == list(range(200))
    thread.join()


async def test_a_page_that_does_not_read_is_cut_off_and_delays_nobody(server: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(websocket, "MAX_WAITING_MESSAGES", 50)
    deaf = socket.create_connection((server.client.host, server.client.port))
    deaf.sendall(
        b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    page = await server.page("me")
    text = "x" * 100_000
    for index in range(300):
        server.host.emit("n", {"i": index, "text": text})
        assert (await page.receive_json(timeout=5))["data"]["i"] == index
    await server.submit(GRAPH, client_id="me")
    assert events(await hear(page, node=None))[-1] == ("executing", None)
    deaf.settimeout(5)
    assert await asyncio.to_thread(_ends, deaf), "the deaf page is still connected"


def _ends(connection: socket.socket) -> bool:
    """Whether the connection ends once what is under way has been read."""
    with connection:
        try:
            while connection.recv(1 << 20):
                pass
        except ConnectionError:
            return True
        except TimeoutError:
            return False
        return True


async def test_a_page_that_went_away_without_a_word(server: Any) -> None:
    page, gone = await server.page("me"), await server.page("gone")
    gone._response.connection.transport.abort()
    await server.submit(GRAPH, client_id="gone")
    server.host.emit("after", {})
    assert "after" in events(await hear(page, "after"))
    assert gone.closed or (await gone.receive(timeout=5)).type in (WSMsgType.CLOSED, WSMsgType.ERROR)
