"""Jobs run by the official Python SDK: their outputs, their states, and what it reads of both."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from comfy_low.models import JobStatus
from comfy_sdk import InvalidWorkflow, JobFailed, NotFound
from support.sdk import (
    ENDS,
    JOB_KEYS,
    Graph,
    SdkServer,
    check_job,
    is_error,
    load_picture,
    low,
    one_node,
    picture,
    wait_for,
    word,
    work,
)

RANKS = {"queued": 0, "running": 1, "canceling": 2, **dict.fromkeys(ENDS, 3)}
SOON = timedelta(seconds=60)


def test_a_run_without_a_key_gives_the_bytes_on_the_disk(server: SdkServer, tmp_path: Path) -> None:
    prefix = word()
    job = server.run(picture(prefix))
    [output] = job.outputs
    [saved] = (server.http.base / "output").glob(f"{prefix}*.png")
    assert output.to_bytes() == saved.read_bytes()
    assert output.to_file(tmp_path / "got.png").read_bytes() == saved.read_bytes()
    assert (output.node_id, output.name, output.type, output.content_type) == ("2", saved.name, "image", "image/png")
    assert (output.size_bytes, output.job_id) == (saved.stat().st_size, job.id)
    assert job.get_outputs("2")[0].id == output.id and job.get_outputs("1") == []


def test_a_key_is_ignored_while_the_login_is_off(server: SdkServer) -> None:
    answer = server.http.get("/api/v2/jobs", Authorization="Bearer any")
    assert answer.status == 200


def test_an_output_has_an_address_that_needs_no_client(server: SdkServer) -> None:
    [output] = server.run(picture()).outputs
    url = output.get_download_url().url
    assert url.startswith(f"{server.http.url}/api/v2/assets/")
    assert server.http.get(url.removeprefix(server.http.url)).body == output.to_bytes()


def test_every_state_is_read_strictly(server: SdkServer) -> None:
    """Each key is there in each state, of exactly its type."""
    seen: dict[JobStatus, str] = {}

    def look(job_id: str) -> None:
        model = check_job(server.raw_job(job_id))
        seen[model.status] = job_id

    with server.held(steps=3, deaf=True) as running:
        look(running.id)
        queued = server.submit(picture())
        look(queued.id)
        assert running.cancel().status == "canceling"
        look(running.id)
        canceled = server.submit(picture())
        assert canceled.cancel().status == "canceled"
        look(canceled.id)
    look(running.id)
    queued.result()
    look(queued.id)
    failed = server.submit(one_node("SdkFail", message=word())).wait(60)
    look(failed.id)
    assert {status.value for status in seen} == {"queued", "running", "canceling", "canceled", "succeeded", "failed"}
    assert check_job(server.raw_job(running.id)).status is JobStatus.canceled


def test_a_job_tells_when_it_was_made_begun_and_ended(server: SdkServer) -> None:
    job = server.run(work(steps=5))
    model = check_job(server.raw_job(job.id))
    assert model.started_at is not None and model.completed_at is not None
    assert model.created_at <= model.started_at <= model.completed_at <= model.expires_at
    assert abs(datetime.now(timezone.utc) - model.completed_at) < SOON
    assert model.queue_position is None and model.error is None
    assert model.progress is not None and model.progress.value == 1.0
    if model.metrics is not None:
        assert set(model.metrics) <= {"queue_ms", "execution_ms"}
        assert all(value is None or value >= 0 for value in model.metrics.values())


def test_times_are_utc_with_a_z(server: SdkServer) -> None:
    body = server.http.get(f"/api/v2/jobs/{server.run(picture()).id}").json
    times = [body[key] for key in ("created_at", "started_at", "completed_at", "expires_at")]
    times += [body["outputs"][0]["url_expires_at"]]
    assert all(each.endswith("Z") and "+" not in each for each in times), times


def test_addresses_repeat_the_host_of_the_request(server: SdkServer) -> None:
    """The SDKs send their key to the same origin only."""
    job = server.run(picture())
    body = server.http.get(f"/api/v2/jobs/{job.id}", Host=f"localhost:{server.http.port}").json
    addresses = [*body["urls"].values(), body["outputs"][0]["url"]]
    assert all(each.startswith(f"http://localhost:{server.http.port}/api/v2/") for each in addresses), addresses


@pytest.mark.parametrize(
    ("kind", "type_", "content_type"),
    [
        ("text", "text", "text/plain"),
        ("3d", "file", "model/gltf-binary"),
        ("audio", "audio", "audio/"),
        ("latent", "latent", "application/"),
    ],
)
def test_outputs_of_every_kind_can_be_downloaded(server: SdkServer, kind: str, type_: str, content_type: str) -> None:
    name = word()
    [output] = server.run(one_node("SdkFile", kind=kind, word=name)).outputs
    assert (output.type, output.content_type.startswith(content_type)) == (type_, True), output.content_type
    content = output.to_bytes()
    assert len(content) == output.size_bytes
    if kind == "text":
        assert content.decode() == name
    else:
        [saved] = (server.http.base / "output").glob(f"{name}.*")
        assert (output.name, content) == (saved.name, saved.read_bytes())


def test_a_failing_node_is_told_with_its_details(server: SdkServer) -> None:
    message = f"it broke: {word()}"
    with pytest.raises(JobFailed) as caught:
        server.run(one_node("SdkFail", message=message))
    error = caught.value.error
    assert error is not None and error.traceback is not None
    assert error.code and message in error.message
    assert (error.node_id, error.class_type) == ("1", "SdkFail")
    assert "ValueError" in error.traceback + error.message + error.code
    assert "in execute" in error.traceback


def test_the_workflow_of_a_job_can_be_had(server: SdkServer) -> None:
    graph = picture()
    job = server.run(graph)
    found = server.client.jobs.get(job.id).get_workflow()
    assert found.format == "api"
    assert {node: entry["class_type"] for node, entry in found.graph.items()} == {"1": "EmptyImage", "2": "SaveImage"}
    assert found.graph["1"]["inputs"] == graph["1"]["inputs"]


def test_unknown_jobs_and_assets_are_not_found(server: SdkServer) -> None:
    nobody = "00000000-0000-4000-8000-000000000000"
    for ask in (
        lambda: server.client.jobs.get(nobody),
        lambda: low(server.client).get_job_workflow(nobody),
        lambda: low(server.client).cancel_job(nobody),
        lambda: list(low(server.client).get_job_events(nobody)),
        lambda: server.client.assets.get(nobody),
        lambda: server.client.assets.delete(nobody),
    ):
        with pytest.raises(Exception) as caught:
            ask()
        assert getattr(caught.value, "code", None) == "not_found", caught.value
    with pytest.raises(NotFound):
        server.client.jobs.get(nobody)


def test_an_invalid_graph_tells_the_problems_of_each_node(server: SdkServer) -> None:
    graph = picture()
    del graph["2"]["inputs"]["images"]
    with pytest.raises(InvalidWorkflow) as caught:
        server.submit(graph)
    assert caught.value.http_status == 422 and caught.value.request_id
    assert caught.value.details is not None and "2" in caught.value.details["node_errors"]


def test_a_missing_picture_is_an_invalid_graph(server: SdkServer) -> None:
    with pytest.raises(InvalidWorkflow) as caught:
        server.submit(load_picture(f"{word()}.png"))
    assert caught.value.details is not None and "1" in caught.value.details["node_errors"]


def test_metadata_is_kept_with_the_job(server: SdkServer) -> None:
    job = server.submit(picture(), metadata={"client": "acme", "run": "7"})
    assert job.metadata == {"client": "acme", "run": "7"}
    assert server.client.jobs.get(job.id).metadata == {"client": "acme", "run": "7"}
    assert server.run(picture()).metadata == {}


def test_a_job_of_the_page_is_read_as_well(server: SdkServer) -> None:
    """Jobs that were submitted otherwise are the same jobs."""
    answer = server.http.post("/prompt", {"prompt": picture()}).json
    job = server.client.jobs.get(answer["prompt_id"])
    assert job.result().outputs[0].type == "image"
    assert set(server.http.get(f"/api/v2/jobs/{job.id}").json) >= JOB_KEYS


def _poll(server: SdkServer, ids: list[str], stop: threading.Event, faults: list[str]) -> None:
    """Ask for all jobs again and again; note what no client may see."""
    ranks = dict.fromkeys(ids, 0)
    client = low(server.client)
    while not stop.is_set() and not faults:
        waiting = [job_id for job_id in ids if ranks[job_id] < RANKS["succeeded"]]
        for job_id in waiting:
            status = client.get_job(job_id).status.value
            if status not in ("queued", "running", "succeeded") or RANKS[status] < ranks[job_id]:
                faults.append(f"{job_id}: {status} after {ranks[job_id]}")
            ranks[job_id] = RANKS[status]
        if not waiting:
            return


def _run_under_polling(server: SdkServer, graphs: list[Graph], limit_s: float) -> None:
    ids = [server.submit(graph).id for graph in graphs]
    stop = threading.Event()
    faults: list[str] = []
    threads = [threading.Thread(target=_poll, args=(server, ids, stop, faults)) for _ in range(3)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + limit_s
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    stop.set()
    for thread in threads:
        thread.join(30)
    assert faults == []
    assert {low(server.client).get_job(job_id).status.value for job_id in ids} == {"succeeded"}


def test_polled_jobs_never_step_back(server: SdkServer) -> None:
    _run_under_polling(server, [picture("polled", size=4) for _ in range(25)], 60)


@pytest.mark.slow
def test_500_polled_jobs_never_step_back(server: SdkServer) -> None:
    _run_under_polling(server, [picture("polled", size=4) for _ in range(500)], 400)


def test_a_queued_job_is_told_at_once_however_long_the_queue(server: SdkServer) -> None:
    """Only jobs that may end soon are waited for: a client that goes through many must not wait for each."""
    with server.held() as running:
        jobs = [server.submit(picture()) for _ in range(6)]
        started = time.monotonic()
        for job in jobs[1:]:
            assert job.refresh().status == "queued"
        assert time.monotonic() - started < 2.5
        assert running.refresh().status == "running"
    wait_for(jobs[-1], "succeeded")


def test_every_answer_has_an_id_and_every_error_the_envelope(server: SdkServer) -> None:
    job = server.run(picture())
    for path in (f"/api/v2/jobs/{job.id}", "/api/v2/jobs", f"/api/v2/assets/{job.outputs[0].id}/content"):
        assert server.http.get(path).headers.get("X-Comfy-Request-Id"), path
    is_error(server.http.get("/api/v2/nothing"), 404, "not_found")
    is_error(server.http.send("DELETE", "/api/v2/jobs"), 405)
    is_error(server.http.send("PUT", f"/api/v2/jobs/{job.id}"), 405)
    is_error(server.http.get("/api/v2/jobs/%00"), 404, "not_found")
