"""Extensions of listJobs: the order by state, and what a list shows of prompts, workflows and deleted outputs."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest

ORDER = ["in_progress", "pending", "cancelled", "failed", "completed"]


async def states(api: Any, **parameters: Any) -> tuple[list[str], dict[str, Any]]:
    """The states of the jobs on a page, and the rest of its body."""
    query = urlencode({"sort_by": "state", **parameters})
    page = await api.get(f"/api/jobs?{query}")
    return [job["status"] for job in page["jobs"]], page["pagination"]


async def test_running_jobs_come_first_and_waiting_ones_in_the_order_of_the_queue(api: Any, prompts: Any) -> None:
    prompts.one_of_each()
    later, sooner = prompts.submit(), prompts.submit()
    page = await api.get("/api/jobs?sort_by=state")
    assert [job["status"] for job in page["jobs"]][:2] == ["in_progress", "pending"]
    waiting = [job["priority"] for job in page["jobs"] if job["status"] == "pending"]
    assert waiting == sorted(waiting) and len(waiting) == 3 and later != sooner
    ended = [job["create_time"] for job in page["jobs"][4:]]
    assert ended == sorted(ended, reverse=True) and len(ended) == 3


@pytest.mark.parametrize("limit", [1, 2, 3, 5])
@pytest.mark.parametrize("is_by_cursor", [True, False])
async def test_pages_have_every_job_once(api: Any, prompts: Any, limit: int, is_by_cursor: bool) -> None:
    """A cursor is given once the page has reached the ended jobs; before, an offset goes on."""
    prompts.one_of_each()
    whole = [job["id"] for job in (await api.get("/api/jobs?sort_by=state"))["jobs"]]
    found: list[str] = []
    parameters: dict[str, str] = {}
    for _ in range(10):
        page = await api.get("/api/jobs", sort_by="state", limit=limit, **parameters)
        found += [job["id"] for job in page["jobs"]]
        cursor = page["pagination"].get("next_cursor")
        assert page["pagination"]["total"] == 5
        if not page["pagination"]["has_more"]:
            break
        parameters = {"after": cursor} if cursor and is_by_cursor else {"offset": str(len(found))}
    assert found == whole and len(set(found)) == 5


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"status": "completed,failed"}, ["failed", "completed"]),
        ({"status": "pending"}, ["pending"]),
        ({"status": "pending", "offset": "1"}, []),
        ({"q": "SaveImage"}, ORDER),
        ({"q": "SaveImage", "status": "in_progress,completed"}, ["in_progress", "completed"]),
        ({"q": "nothing-has-this"}, []),
    ],
)
async def test_filters(api: Any, prompts: Any, parameters: dict[str, str], expected: list[str]) -> None:
    prompts.one_of_each()
    found, pagination = await states(api, **parameters)
    assert sorted(found) == sorted(expected)
    assert pagination["total"] == len(expected) or parameters.get("offset")


async def test_the_first_words_of_the_prompt_and_the_name_of_the_workflow(api: Any, prompts: Any, library: Any) -> None:
    saved = (
        await api.send("POST", "/api/workflows", 201, json={"name": "Portrait", "workflow_json": {"nodes": []}})
    ).json
    graph = {
        "1": {"class_type": "CLIPTextEncode", "inputs": {"text": "a red fox, " + "in snow " * 60}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry"}},
        "3": {"class_type": "KSampler", "inputs": {"positive": ["1", 0], "negative": ["2", 0]}},
    }
    job_id = prompts.submit("default", graph=graph)
    (job,) = (await api.get("/api/jobs"))["jobs"]
    assert job["prompt_text"].startswith("a red fox, in snow in snow") and job["prompt_text"].endswith("…")
    assert len(job["prompt_text"]) <= 200 and "blurry" not in job["prompt_text"] and "workflow_name" not in job
    async with library.services.db.transaction() as tx:
        await tx.execute("UPDATE jobs SET workflow_id = ?", (saved["id"],))
    assert (await api.get(f"/api/jobs/{job_id}"))["workflow_name"] == "Portrait"
    await api.send("DELETE", f"/api/workflows/{saved['id']}", 204)
    assert "workflow_name" not in (await api.get(f"/api/jobs/{job_id}"))
