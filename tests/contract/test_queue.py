"""getQueueInfo, manageQueue, interruptJob, freeMemory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

UNKNOWN = "00000000-0000-4000-8000-00000000ffff"


async def states(api: Any) -> dict[str, str]:
    return {job["id"]: job["status"] for job in (await api.get("/api/jobs"))["jobs"]}


HOSTED = {"X-API-Key": "comfyui-0123456789"}


async def hosted(api: Any, **headers: str) -> Any:
    """The queue as a client of the hosted service reads it."""
    return (await api.send("GET", "/api/queue", headers=headers or HOSTED)).json


async def test_the_queue_for_hosted_clients(api: Any, prompts: Any) -> None:
    assert await hosted(api) == {"queue_running": [], "queue_pending": []}
    ids = prompts.one_of_each()
    front = prompts.submit(number=-5, extra={"create_time": 7, "extra_pnginfo": {"workflow": {}}})
    body = await hosted(api)
    (running,) = body["queue_running"]
    graph = prompts.queue.running.graph
    assert running == [1, ids["in_progress"], graph, ["2"], {"create_time": 1_700_000_003_000}]
    assert [entry[:2] for entry in body["queue_pending"]] == [[2, front], [3, ids["pending"]]]
    assert body["queue_pending"][0][3:] == [["2"], {"create_time": 7}]


async def test_the_queue_of_a_server_that_does_not_say_when_prompts_came(api: Any, prompts: Any) -> None:
    prompts.submit(extra={"create_time": None})
    ((*_, times),) = (await hosted(api))["queue_pending"]
    assert times == {}


@pytest.mark.parametrize(
    ("headers", "is_hosted"),
    [
        ({}, False),
        (HOSTED, True),
        ({"Authorization": "Bearer abc"}, True),
        ({"authorization": "bearer abc"}, True),
        # What a proxy with a login puts before the page's requests.
        ({"Authorization": "Basic YTpi"}, False),
        ({"Authorization": "Bearer abc", "Comfy-User": "default"}, False),
        ({**HOSTED, "Comfy-User": "default"}, True),
    ],
)
async def test_who_reads_which_form(api: Any, prompts: Any, headers: dict[str, str], is_hosted: bool) -> None:
    """Extensions of the page read the workflow and the client in the fourth member of an item."""
    graph = {"id": "w", "nodes": [{"id": 1, "properties": {"api_key": "sk-0123456789abcdef"}}]}
    extra = {"create_time": 7, "client_id": "page", "extra_pnginfo": {"workflow": graph}, "api_key_comfy_org": "secret"}
    job = prompts.submit(number=-5, extra=extra)
    answer = await api.send("GET", "/api/queue", headers=headers)
    (item,) = answer.json["queue_pending"]
    assert item[1] == job and "sk-0123456789abcdef" not in answer.text and "secret" not in answer.text
    if is_hosted:
        assert item[0] == 1 and item[3:] == [["2"], {"create_time": 7}]
    else:
        assert item[0] == -5 and item[4] == ["2"] and item[3]["client_id"] == "page"
        assert item[3]["extra_pnginfo"]["workflow"]["id"] == "w"


async def test_where_the_page_reads_the_stock_form_the_queue_is_the_servers_own(library: Any, api: Any) -> None:
    library.host.lists_jobs = False
    assert await hosted(api) == {"queue_running": [], "queue_pending": []}
    answer = await api.client.get("/api/queue")
    assert (answer.status, await answer.text()) == (404, "404: Not Found")  # the in-memory host serves nothing itself


async def test_delete_cancels_what_waits_and_what_runs(api: Any, prompts: Any) -> None:
    ids = prompts.one_of_each()
    wanted = [UNKNOWN, "no-uuid", *ids.values(), ids["pending"]]
    answer = (await api.send("POST", "/api/queue", json={"delete": wanted})).json
    assert sorted(answer["deleted"]) == sorted([ids["pending"], ids["in_progress"]])
    assert set(answer) == {"deleted"}
    assert prompts.queue.interrupted == [ids["in_progress"]]
    found = await states(api)
    assert found == {job_id: status if status != "pending" else "cancelled" for status, job_id in ids.items()}


async def test_clear_cancels_all_that_waits(api: Any, prompts: Any) -> None:
    ids = prompts.one_of_each()
    more = [prompts.submit() for _ in range(3)]
    assert (await api.send("POST", "/api/queue", json={"clear": True})).json == {"cleared": True}
    assert prompts.queue.waiting == [] and prompts.queue.interrupted == []
    found = await states(api)
    assert [found[job_id] for job_id in [ids["pending"], *more]] == ["cancelled"] * 4
    assert found[ids["in_progress"]] == "in_progress"
    assert (await api.send("POST", "/api/queue", json={"clear": True})).json == {"cleared": True}


async def test_clear_and_delete_at_once(api: Any, prompts: Any) -> None:
    ids = prompts.one_of_each()
    body = {"clear": True, "delete": [ids["in_progress"]]}
    answer = (await api.send("POST", "/api/queue", json=body)).json
    assert answer == {"cleared": True, "deleted": [ids["in_progress"]]}
    assert prompts.queue.waiting == [] and prompts.queue.interrupted == [ids["in_progress"]]


@pytest.mark.parametrize("path", ["/api/queue", "/api/history"])
@pytest.mark.parametrize(
    "body", [b"{}", b"", b'{"clear": false}', b'{"delete": []}', b'{"clear": false, "delete": []}']
)
async def test_nothing_wanted_changes_nothing(api: Any, prompts: Any, path: str, body: bytes) -> None:
    prompts.one_of_each()
    before = await states(api)
    announced = prompts.queue.announced
    assert (await api.send("POST", path, data=body)).json == {}
    assert await states(api) == before
    assert prompts.queue.announced == announced


@pytest.mark.parametrize("path", ["/api/queue", "/api/history"])
@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b'{"clear": 1}',
        b'{"clear": null}',
        b'{"clear": "true"}',
        b'{"delete": "x"}',
        b'{"delete": [1]}',
        b'{"delete": null}',
        b'{"delete": {}}',
        b'{"clear": true, "more": 1}',
        b'{"clear": true, "delete": [1]}',
        b"[" * 100_000,
    ],
)
async def test_malformed_bodies_change_nothing(api: Any, prompts: Any, path: str, body: bytes) -> None:
    prompts.one_of_each()
    before = await states(api)
    assert (await api.send("POST", path, 400, data=body)).json["code"] == "INVALID_BODY"
    assert await states(api) == before
    assert len(before) == 5


async def test_interrupt_takes_the_running_job_else_the_next(api: Any, prompts: Any) -> None:
    first, second, third = (prompts.submit() for _ in range(3))
    prompts.start()
    assert (await api.send("POST", "/api/interrupt")).body == b""
    assert prompts.queue.interrupted == [first]
    prompts.finish({}, INTERRUPTED)
    await api.send("POST", "/api/interrupt")
    assert await states(api) == {first: "cancelled", second: "cancelled", third: "pending"}
    await api.send("POST", "/api/interrupt", data=b"{}")
    await api.send("POST", "/api/interrupt", json={"anything": 1})
    assert set((await states(api)).values()) == {"cancelled"}
    await api.send("POST", "/api/interrupt")  # nothing is there


INTERRUPTED = {"status_str": "error", "completed": False, "messages": [["execution_interrupted", {}]]}


async def test_interrupt_that_names_a_job_takes_it_only_if_it_runs(api: Any, prompts: Any) -> None:
    running, waiting = prompts.submit(), prompts.submit()
    prompts.start()
    for other in (waiting, UNKNOWN, "no-uuid"):
        await api.send("POST", "/api/interrupt", json={"prompt_id": other})
    assert prompts.queue.interrupted == []
    assert await states(api) == {running: "in_progress", waiting: "pending"}
    await api.send("POST", "/api/interrupt", json={"prompt_id": running})
    assert prompts.queue.interrupted == [running]


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"prompt_id": 5}'])
async def test_interrupt_with_a_malformed_body(api: Any, prompts: Any, body: bytes) -> None:
    prompts.submit()
    prompts.start()
    await api.send("POST", "/api/interrupt", 400, data=body)
    assert prompts.queue.interrupted == []


@pytest.mark.parametrize(
    ("body", "freed"),
    [
        (b"{}", (False, False)),
        (b"", (False, False)),
        (b'{"unload_models": true}', (True, False)),
        (b'{"free_memory": true, "more": 1}', (False, True)),
        (b'{"unload_models": true, "free_memory": true}', (True, True)),
    ],
)
async def test_free(api: Any, prompts: Any, body: bytes, freed: tuple[bool, bool]) -> None:
    assert (await api.send("POST", "/api/free", data=body)).body == b""
    assert prompts.queue.freed == [freed]


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"unload_models": 1}', b'{"free_memory": "x"}'])
async def test_free_with_a_malformed_body(api: Any, prompts: Any, body: bytes) -> None:
    await api.send("POST", "/api/free", 400, data=body)
    assert prompts.queue.freed == []


async def test_users_change_their_own_and_everybodys(
    make_library: Callable[..., Any], api_of: Any, prompts_of: Any
) -> None:
    library = await make_library(users=frozenset({"ann", "ben"}))
    api, prompts = api_of(library), prompts_of(library)
    running = prompts.submit(owner="ben")
    prompts.start()
    anns, bens, nobodys = prompts.submit(owner="ann"), prompts.submit(owner="ben"), prompts.submit()
    ann = api.as_user("ann")
    assert (await ann.send("POST", "/api/queue", json={"delete": [running, bens]})).json == {"deleted": []}
    await ann.send("POST", "/api/interrupt")  # her first active job: ben's runs, hers is the next
    assert prompts.queue.interrupted == []
    assert [each.prompt_id for each in prompts.queue.waiting] == [bens, nobodys]
    anns_second = prompts.submit(owner="ann")
    assert (await ann.send("POST", "/api/queue", json={"clear": True})).json == {"cleared": True}
    assert [each.prompt_id for each in prompts.queue.waiting] == [bens]
    found = await states(ann)
    assert found == {anns: "cancelled", nobodys: "cancelled", anns_second: "cancelled"}
    for path in ("/api/queue", "/api/interrupt", "/api/free", "/api/history"):
        await api.as_user("nobody").send("POST", path, 401, json={})
    await api.as_user("nobody").send("GET", "/api/queue", 401)
