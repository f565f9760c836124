"""Jobs are those of the workflow, and of the version, that their graph is."""

from __future__ import annotations

import uuid
from typing import Any

from comfy_assets_node.comfy_assets.host.execution import SubmittedPrompt
from comfy_assets_node.comfy_assets.jobs.submission import JobSubmission, submitting

GRAPH_ID = "6b8f4ea0-0f2d-4c3e-9c55-5f1f1f1d4b01"


def graph(text: str, **members: Any) -> dict[str, Any]:
    return {"id": GRAPH_ID, "nodes": [{"id": 1, "type": "Note", "widgets_values": [text]}], "links": [], **members}


def submit(desk: Any, workflow: Any, **submission: Any) -> str:
    prompt_id = str(uuid.uuid4())
    extra = {"extra_pnginfo": {"workflow": workflow}} if workflow is not None else {}
    with submitting(JobSubmission(**{"owner": "default", **submission})):
        desk.host.execution.submit(SubmittedPrompt(1.0, prompt_id, {"1": {"class_type": "A", "inputs": {}}}, extra, ()))
    return prompt_id


async def job(desk: Any, job_id: str) -> tuple[str | None, str | None]:
    """Return the workflow and version of a job."""
    await desk.services.job_links.complete()
    found = await desk.services.jobs.get(job_id, "default")
    return found.workflow_id, found.workflow_version_id


async def version_id(desk: Any, workflow_id: str, number: int) -> str:
    return (await desk.send("GET", f"/api/workflows/{workflow_id}/versions/{number}"))["id"]


async def test_a_job_names_the_workflow_and_the_version(desk: Any) -> None:
    taken = await desk.create({}, name="taken")
    await desk.page_saves("taken too.json", graph("other", id=taken))
    workflow_id = (await desk.listed())["taken too"]
    assert workflow_id != taken
    await desk.page_saves("taken too.json", graph("one", id=taken))
    first = submit(desk, graph("one", id=taken, extra={"ds": {"scale": 2}}))
    assert await job(desk, first) == (workflow_id, await version_id(desk, workflow_id, 2))
    second = submit(desk, graph("changed", id=taken))
    assert await job(desk, second) == (workflow_id, None)
    listed = await desk.send("GET", "/api/jobs", params={"workflow_id": workflow_id})
    assert [each["id"] for each in listed["jobs"]] == [second, first]


async def test_jobs_from_before_the_first_save(desk: Any) -> None:
    early = submit(desk, graph("one"))
    assert await job(desk, early) == (GRAPH_ID, None)
    await desk.page_saves("a.json", graph("one"))
    assert await desk.only() == GRAPH_ID
    assert await job(desk, early) == (GRAPH_ID, await version_id(desk, GRAPH_ID, 1))


async def test_what_a_client_says_counts(desk: Any) -> None:
    await desk.page_saves("a.json", graph("one"))
    other = await desk.create(graph("one"), name="b")
    said = submit(desk, graph("one"), workflow_id=other)
    assert await job(desk, said) == (other, await version_id(desk, other, 1))
    unknown = submit(desk, graph("one"), workflow_id="elsewhere", workflow_version_id="there")
    assert await job(desk, unknown) == ("elsewhere", "there")


async def test_another_users_workflow_is_not_meant(open_desk: Any) -> None:
    desk = await open_desk(frozenset({"ann", "default"}))
    await desk.as_user("ann").page_saves("a.json", graph("one"))
    assert await job(desk, submit(desk, graph("one"))) == (GRAPH_ID, None)
