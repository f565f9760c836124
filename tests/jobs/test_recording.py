"""What the recorder makes of what servers, nodes and clients hand over: secrets, and values that JSON does not know."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from comfy_assets_node.comfy_assets.credentials import PromptRedaction
from comfy_assets_node.comfy_assets.host.execution import SubmittedPrompt
from support.stored_texts import stored_texts, texts_in

HIDDEN = "[REDACTED]"
ID = "00000000-0000-4000-8000-000000000001"
OTHER = "00000000-0000-4000-8000-000000000002"
GRAPH: Mapping[str, Any] = {"2": {"class_type": "SaveImage", "inputs": {"filename_prefix": "made"}}}
SUCCESS = {"status_str": "success", "completed": True, "messages": []}
# Half of a character pair, and numbers that JSON does not have.
ODD = ["\ud83d", float("nan"), float("inf"), 10**30, "a\0b"]


def submit(
    queue: Any, prompt_id: str = ID, *, number: float = 0, graph: Any = GRAPH, extra: Any = None, **more: Any
) -> None:
    queue.submit(SubmittedPrompt(number, prompt_id, graph, extra or {}, ["2"], **more))


async def works(library: Any) -> None:
    """Jobs that come afterwards are recorded all the same, and lists are answered."""
    queue = library.host.execution
    submit(queue, OTHER, number=9)
    queue.start()
    queue.finish({}, SUCCESS)
    assert (await library.get(f"/api/jobs/{OTHER}"))["status"] == "completed"
    page = await library.get("/api/jobs")
    assert page["pagination"]["total"] == 2


async def strictly(library: Any, path: str) -> Any:
    """The answer, which must be JSON that every reader understands."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{path} is answered with {word}")

    async with library.client.get(path) as response:
        text = await response.text()
        assert response.status == 200, text
    return json.loads(text, parse_constant=refuse)


SECRETS = [
    "comfyui-0123456789abcdef",
    'with "quotes" and \\ and \'',
    "ünïcode-schlüssel-😀",
    "with/slash+and=percent%",
    "1234",
    "null",
    "true",
    "two\nlines",
]


def spellings(secret: str) -> list[str]:
    """The secret, and the ways in which messages of programs quote it."""
    quoted = (json.dumps(secret), json.dumps(secret, ensure_ascii=False), repr(secret))
    return [secret, *(text[1:-1] for text in quoted), quote(secret, safe="")]


def found_in(texts: Iterable[str], wanted: Iterable[str]) -> list[str]:
    """The beginnings of the texts that contain one of those."""
    wanted = list(wanted)
    return [text[:200] for text in texts if any(each in text for each in wanted)]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("end", ["success", "failure", "cut short"])
async def test_secrets_reach_neither_disk_nor_log(
    library: Any, make_library: Any, caplog: pytest.LogCaptureFixture, secret: str, end: str
) -> None:
    caplog.set_level(logging.DEBUG)
    graph = {"2": {"class_type": "SaveImage", "inputs": {"key": secret, secret: [f"Bearer {secret}"]}}}
    workflow = {"id": "wf", "nodes": [{"widgets_values": [secret]}]}
    extra = {
        "api_key_comfy_org": HIDDEN,
        "note": secret,
        "extra_pnginfo": {"workflow": workflow, "x": {secret: secret}},
    }
    queue = library.host.execution
    submit(queue, graph=graph, extra=extra, secrets=frozenset({secret, "second-secret"}))
    queue.start()
    queue.show("2", {"text": [f"it is {each}" for each in spellings(secret)]})
    await library.get("/api/jobs")
    quoted = [*(f"'{each}'" for each in spellings(secret)), {secret: secret}, ValueError(secret), repr([secret])]
    quoted += [json.dumps({"key": secret}), f"https://example.org/?key={quote(secret, safe='')}&x=1"]
    outputs = {"2": {"text": quoted}}
    error = {
        "node_id": "2",
        "node_type": "SaveImage",
        "exception_message": f"no {secret}",
        "exception_type": "KeyError",
        "traceback": [f"key = {secret!r}\n", f"second-secret {json.dumps(secret)}"],
        "current_inputs": {"key": quoted},
        "current_outputs": {secret: secret},
    }
    messages = [["execution_error", error]]
    failed = {"status_str": "error", "completed": False, "messages": messages}
    if end == "success":
        queue.finish(outputs, SUCCESS, {"2": {"note": secret}})
    elif end == "failure":
        queue.finish(outputs, failed, {"2": {"note": secret}})
    if end != "cut short":
        detail = await library.get(f"/api/jobs/{ID}")
        assert detail["status"] == ("completed" if end == "success" else "failed")
        assert detail["workflow"]["extra_data"]["api_key_comfy_org"] == HIDDEN
        assert detail["workflow"]["prompt"]["2"]["inputs"]["key"] == HIDDEN
        assert detail["outputs"]["2"]["text"][0] == f"'{HIDDEN}'"
        if end == "failure":
            assert detail["execution_error"]["exception_message"] == f"no {HIDDEN}"
    wanted = [*spellings(secret), "second-secret"]
    before = list(stored_texts(library.host.data_directory()))
    await library.services.stop()
    again = await make_library()
    told = [await again.get(path) for path in ("/api/jobs", f"/api/jobs/{ID}", "/api/history_v2")]
    assert HIDDEN in list(texts_in(told)) and any("SaveImage" in text for text in before)
    assert found_in(texts_in(told), wanted) == []
    if len(secret) > 5:  # shorter ones are in files and logs for other reasons
        assert found_in(before, wanted) == []
        assert found_in(stored_texts(again.host.data_directory()), wanted) == []
        assert found_in([caplog.text], wanted) == []
    await works(again)


def test_redaction_leaves_all_but_texts_alone() -> None:
    redaction = PromptRedaction()
    redaction.add("a", ["1234", "abc"])
    value = {"n": 1234, "f": 1234.5, "none": None, "yes": True, "x1234y": ["1234", ("abc",)]}
    redact = redaction.of("a")
    assert redact(value) == {"n": 1234, "f": 1234.5, "none": None, "yes": True, f"x{HIDDEN}y": [HIDDEN, ["abc"]]}
    assert value["x1234y"] == ["1234", ("abc",)]
    assert redaction.of("b")(value) is value
    redaction.forget("a")
    assert redaction.of("a")(value) is value


@pytest.mark.parametrize("odd", ODD, ids=ascii)
async def test_odd_values_in_what_was_submitted(library: Any, make_library: Any, odd: Any) -> None:
    graph = {"1": {"class_type": "X", "inputs": {"a": odd, "image": f"{odd}.png"}}, "2": GRAPH["2"]}
    extra = {"odd": odd, "extra_pnginfo": {"workflow": {"id": "wf", "odd": [odd]}, f"k{odd}": odd}}
    queue = library.host.execution
    submit(queue, graph=graph, extra=extra)
    for path in ("/api/jobs", f"/api/jobs/{ID}", "/api/queue"):
        await strictly(library, path)
    await library.services.stop()
    again = await make_library()
    (restored,) = again.host.execution.waiting
    assert repr(restored.graph) == repr(graph)  # letter by letter: not a number is not equal to itself
    again.host.execution.start()
    again.host.execution.finish({}, SUCCESS)
    for path in ("/api/jobs", f"/api/jobs/{ID}", "/api/history_v2", f"/api/history_v2/{ID}"):
        await strictly(again, path)
    await works(again)


@pytest.mark.parametrize("odd", ODD, ids=ascii)
@pytest.mark.parametrize("end", ["success", "failure", "cut short"])
async def test_odd_values_in_what_nodes_show(library: Any, make_library: Any, odd: Any, end: str) -> None:
    queue = library.host.execution
    submit(queue)
    queue.start()
    shown = {
        "text": [odd],
        f"k{odd}": [{"filename": f"{odd}.png", "type": "output", "n": odd}],
        5: [odd],
        "o": {odd: 1},
    }
    queue.show("2", shown)
    queue.show("3", {"images": [object(), b"\xff", {1, 2}, Path("x")]})
    await library.get("/api/jobs")
    error = {"exception_message": odd, "traceback": [odd], "current_inputs": {"x": [odd], odd: 1}, "node_id": odd}
    messages: list[Any] = [["execution_error", error]]
    if end == "success":
        queue.finish({"2": shown}, SUCCESS, {"2": {"odd": odd}})
    elif end == "failure":
        queue.finish({"2": shown}, {"status_str": "error", "completed": False, "messages": messages})
    paths = ["/api/jobs", f"/api/jobs/{ID}", "/api/history_v2", f"/api/job/{ID}/status", f"/api/jobs/{ID}/assets"]
    for path in paths:
        await strictly(library, path)
    await library.services.stop()
    again = await make_library()
    for path in paths:
        await strictly(again, path)
    status = (await again.get(f"/api/jobs/{ID}"))["status"]
    assert status == ("completed" if end == "success" else "failed")
    await works(again)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf"), 1e300, 10**40, -(10**40), 0.5])
async def test_odd_places_in_the_queue(library: Any, make_library: Any, number: float) -> None:
    submit(library.host.execution, number=number)
    (job,) = (await strictly(library, "/api/jobs"))["jobs"]
    assert isinstance(job["priority"], (int, float))
    await library.services.stop()
    again = await make_library()
    assert [prompt.prompt_id for prompt in again.host.execution.waiting] == [ID]
    again.host.execution.start()
    again.host.execution.finish({}, SUCCESS)
    await works(again)


@pytest.mark.parametrize(
    "extra",
    [
        {"create_time": "soon"},
        {"create_time": -1},
        {"create_time": 10**30},
        {"create_time": True},
        {"extra_pnginfo": None},
        {"extra_pnginfo": [1]},
        {"extra_pnginfo": {"workflow": [1]}},
        {"extra_pnginfo": {"workflow": None}},
        {"extra_pnginfo": {"workflow": {"id": {}}}},
        {"client_id": None, 5: 6},
    ],
    ids=str,
)
async def test_odd_extra_data(library: Any, make_library: Any, extra: Any) -> None:
    submit(library.host.execution, extra=extra)
    detail = await strictly(library, f"/api/jobs/{ID}")
    kept = {str(key): value for key, value in extra.items()}
    assert {key: detail["workflow"]["extra_data"][key] for key in kept} == kept
    assert abs(detail["create_time"] - detail["update_time"]) < 10
    await library.services.stop()
    (restored,) = (await make_library()).host.execution.waiting
    assert {str(key): value for key, value in restored.extra_data.items()} == kept


@pytest.mark.parametrize("graph", [{}, {"1": None}, {"1": []}, {"1": {}}, {"1": {"inputs": [1]}}], ids=str)
async def test_odd_graphs(library: Any, graph: Any) -> None:
    submit(library.host.execution, graph=graph)
    assert (await strictly(library, f"/api/jobs/{ID}"))["workflow"]["prompt"] == graph


async def test_an_id_that_is_used_again_begins_anew(library: Any) -> None:
    queue = library.host.execution
    submit(queue, extra={"create_time": 1_700_000_000_000})
    queue.start()
    queue.finish({"2": {"images": [{"filename": "a.png"}]}}, SUCCESS)
    assert (await library.get(f"/api/jobs/{ID}"))["outputs_count"] == 1
    submit(queue, extra={"create_time": 1_700_000_001_000})
    page = await library.get("/api/jobs")
    (job,) = page["jobs"]
    assert (job["status"], job["create_time"], page["pagination"]["total"]) == ("pending", 1_700_000_001_000, 1)
    queue.start()
    queue.finish({}, SUCCESS)
    submit(queue, extra={"create_time": 1_700_000_002_000})
    queue.cancel(ID)
    submit(queue, extra={"create_time": 1_700_000_003_000})
    queue.start()  # both times between two looks
    detail = await library.get(f"/api/jobs/{ID}")
    assert (detail["status"], detail["create_time"]) == ("in_progress", 1_700_000_003_000)
    assert "outputs" not in detail


async def test_without_a_store_nothing_is_kept_in_memory(tmp_path: Path, make_library: Any) -> None:
    (tmp_path / "user" / "__comfy_assets").mkdir(parents=True)
    (tmp_path / "user" / "__comfy_assets" / "library.db").mkdir()
    library = await make_library()
    queue = library.host.execution
    for number in range(3):
        submit(queue, f"00000000-0000-4000-8000-00000000000{number}", number=number)
    queue.start()
    queue.finish({}, SUCCESS)
    assert (await library.get("/api/jobs", 500))["code"] == "STORE_UNAVAILABLE"
    assert library.services._recorder._waiting == []


async def test_a_job_that_is_removed_while_it_is_asked_for(library: Any) -> None:
    queue = library.host.execution
    submit(queue)
    queue.start()
    queue.finish({}, SUCCESS)
    jobs = library.services.jobs
    found = jobs.get

    async def get_and_remove(job_id: str, owner: str) -> Any:
        job = await found(job_id, owner)
        await jobs.delete([job_id], owner)
        return job

    jobs.get = get_and_remove
    for path in (f"/api/jobs/{ID}", f"/api/history_v2/{ID}"):
        assert (await library.get(path, 404))["code"] == "JOB_NOT_FOUND"
        submit(queue)
        queue.start()
        queue.finish({}, SUCCESS)
