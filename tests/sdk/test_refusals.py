"""Submissions that are refused, as the official Python SDK or any other client would send them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from comfy_low import errors
from comfy_sdk import ComfyError, InvalidWorkflow, WorkflowFormatUi
from support.sdk import SdkServer, comfyui_with_nodes, is_error, low, picture, word
from support.servers import HttpServer

pytestmark = pytest.mark.slow

JOBS = "/api/v2/jobs"
UI_WORKFLOW = {"nodes": [{"id": 1, "type": "EmptyImage"}], "links": [], "version": 0.4}


def count_of_jobs(server: SdkServer) -> int:
    return len(list(server.client.list_jobs(limit=100)))


def test_the_format_of_the_page_is_refused(server: SdkServer) -> None:
    """By the SDK where it sees it, and by the server."""
    with pytest.raises(WorkflowFormatUi):
        server.submit({**UI_WORKFLOW, "last_node_id": 1})
    with pytest.raises(WorkflowFormatUi) as caught:
        server.submit(UI_WORKFLOW)
    assert caught.value.http_status == 422 and caught.value.request_id


def test_an_unknown_node_is_refused(server: SdkServer) -> None:
    graph = picture()
    graph["1"]["class_type"] = "NoSuchNode"
    with pytest.raises(InvalidWorkflow) as caught:
        server.submit(graph)
    assert "NoSuchNode" in json.dumps([caught.value.message, caught.value.details])


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ([], None),
        ("text", None),
        (None, None),
        ({}, None),
        ({"workflow": None}, None),
        ({"workflow": []}, None),
        ({"workflow": {}}, "invalid_workflow"),
        ({"workflow": {"1": None}}, "invalid_workflow"),
        ({"workflow": {"1": {"inputs": {}}}}, "invalid_workflow"),
        ({"workflow": picture(), "webhook_url": "http://127.0.0.1/"}, None),
        ({"workflow": picture(), "inputs": {}}, None),
        ({"workflow": picture(), "extra_data": {"nobody_knows": 1}}, None),
        ({"workflow": picture(), "extra_data": {"api_key_comfy_org": 1}}, None),
        ({"workflow": picture(), "extra_data": []}, None),
        ({"workflow": picture(), "metadata": []}, "metadata_invalid"),
        ({"workflow": picture(), "metadata": {"k": 1}}, "metadata_invalid"),
        ({"workflow": picture(), "metadata": {"k": "v" * 100_000}}, "metadata_invalid"),
        ({"workflow": picture(), "metadata": {f"k{n}": "v" for n in range(17)}}, "metadata_invalid"),
    ],
)
def test_a_bad_body_is_refused_with_the_envelope(server: SdkServer, body: Any, code: str | None) -> None:
    before = count_of_jobs(server)
    answer = server.http.post(JOBS, body)
    assert answer.status in (400, 422), answer
    is_error(answer, answer.status, code)
    assert count_of_jobs(server) == before


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b'{"workflow": NaN}', b"[" * 100_000])
def test_what_is_no_json_is_refused(server: SdkServer, text: bytes) -> None:
    answer = server.http.send("POST", JOBS, text, {"Content-Type": "application/json"})
    assert answer.status in (400, 422), answer
    is_error(answer, answer.status)


def test_a_large_body_is_run_or_refused(server: SdkServer) -> None:
    """11 MB are within the limit of prompts, 25 MB are not; what is refused has the envelope."""
    graph = picture()
    graph["1"]["_meta"] = {"title": "x" * 11_000_000}
    assert server.run(graph).status == "succeeded"
    graph["1"]["_meta"] = {"title": "x" * 25_000_000}
    with pytest.raises(ComfyError) as caught:
        server.submit(graph)
    assert caught.value.http_status == 413 and caught.value.code and caught.value.request_id


def test_an_empty_key_is_refused(server: SdkServer) -> None:
    for key in ("", "x" * 256):
        answer = server.http.post(JOBS, {"workflow": picture()}, **{"Idempotency-Key": key})
        assert answer.status in (400, 422), (key, answer)
        is_error(answer, answer.status)


def test_unknown_members_do_no_harm(server: SdkServer) -> None:
    """Later SDKs may send more: it is ignored, or refused as it is."""
    answer = server.http.post(JOBS, {"workflow": picture(), "nobody_knows": 1})
    if answer.status != 201:
        assert "nobody_knows" in is_error(answer, 422)["message"]


def test_unknown_members_of_a_node_do_no_harm(server: SdkServer) -> None:
    graph = picture()
    graph["1"]["nobody_knows"] = {"a": [1, 2]}
    graph["2"]["_meta"] = {"title": "Save"}
    assert server.run(graph).status == "succeeded"


def test_a_partner_key_reaches_the_node_and_no_disk(server: SdkServer, start: Callable[..., HttpServer]) -> None:
    """The standalone host, which has no partner nodes, gives it to no node."""
    key = "comfyui-" + word() + word()
    job = server.run({"1": {"class_type": "SdkPartner", "inputs": {}}}, api_key=key)
    [output] = job.outputs
    has_come = output.to_bytes().decode() == hashlib.sha256(key.encode()).hexdigest()
    assert has_come == (start is comfyui_with_nodes)
    for url in (f"{JOBS}/{job.id}", f"{JOBS}/{job.id}/workflow", f"{JOBS}?limit=5", f"/api/jobs/{job.id}", "/history"):
        assert key not in server.http.get(url).body.decode(), url
    for path in server.http.base.rglob("*"):
        if path.is_file():
            assert key.encode() not in path.read_bytes(), path


def test_a_failed_partner_node_tells_no_key(server: SdkServer) -> None:
    key = "comfyui-" + word() + word()
    job = server.submit({"1": {"class_type": "SdkFail", "inputs": {"message": f"refused {key}"}}}, api_key=key)
    job.wait(60)
    assert job.status == "failed"
    for path in server.http.base.rglob("*"):
        if path.is_file() and path.name != "server.log":  # a ComfyUI prints what nodes raise
            assert key.encode() not in path.read_bytes(), path


@pytest.mark.parametrize("info", [{}, {"id": 5}, {"id": None}, {"id": "x"}, None, [], {"hash": "blake3:" + "0" * 64}])
def test_a_malformed_reference_is_a_missing_asset(server: SdkServer, info: Any) -> None:
    graph = {"1": {"class_type": "SdkEcho", "inputs": {"value": {"__type": "core/ASSET", "info": info}}}}
    with pytest.raises(errors.ApiError) as caught:
        low(server.client).post_jobs(graph)
    assert (caught.value.http_status, caught.value.code) == (422, "missing_asset")
