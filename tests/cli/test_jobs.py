"""``comfy-assets jobs``, run beside a server at work on the same store."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
import zlib
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.cli import main
from comfy_assets_node.comfy_assets.jobs import store
from comfy_assets_node.comfy_assets.jobs.events import JobDropped, JobEnded, JobEvent, JobStarted, JobSubmitted
from comfy_assets_node.comfy_assets.models import CANCELLED, COMPLETED, FAILED

DAY_MS = 86_400_000
GRAPH = '{"1": {"class_type": "SaveImage", "inputs": {"filename_prefix": "a"}}}'
WORKFLOW_ID = "5b0d4a1c-8f2e-4d3b-9c6a-7e1f2a3b4c5d"
ERROR = {
    "node_id": "1",
    "node_type": "SaveImage",
    "exception_message": "There is no room.\nNone at all.",
    "exception_type": "OSError",
    "traceback": [],
    "current_inputs": {},
    "current_outputs": {},
}


def job_id(number: int) -> str:
    """Return the same id for the same number."""
    return str(uuid.UUID(int=number, version=4))


class Jobs:
    """A library with jobs, and a way to run the command beside its server."""

    def __init__(self, library: Any, capture: pytest.CaptureFixture[str]) -> None:
        self.library = library
        self.capture = capture
        self.now = time.time_ns() // 1_000_000

    async def add(self, number: int, end: str = "completed", days_ago: float = 0, name: str = "") -> str:
        """Put a job into the store that came so long ago, each a second after the one before."""
        name, at = name or job_id(number), self.now - int(days_ago * DAY_MS) + number * 1000
        events: list[JobEvent] = [
            JobSubmitted(name, at, f"user {number}", float(number), GRAPH, None, "{}", '["1"]', workflow_id=WORKFLOW_ID)
        ]
        file = {"filename": f"{number}.png", "subfolder": "", "type": "output"}
        result = json.dumps({"outputs": {"1": {"images": [file]}}, "meta": {}, "status": None})
        if end in ("completed", "failed", "cancelled", "in_progress"):
            events.append(JobStarted(name, at + 10))
        if end == "completed":
            events.append(JobEnded(name, at + 1510, COMPLETED, result))
        elif end == "failed":
            events.append(JobEnded(name, at + 20, FAILED, '{"outputs": {}}', json.dumps(ERROR)))
        elif end == "cancelled":
            events.append(JobEnded(name, at + 20, CANCELLED, '{"outputs": {}}'))
        elif end == "dropped":
            events.append(JobDropped(name, at + 20))
        async with self.library.services.db.transaction() as tx:
            await store.write(tx, store.rows_of(events, seat=99))
        return name

    async def run(self, *arguments: str) -> tuple[int, str, str]:
        """Status, output and errors of the command."""
        self.capture.readouterr()
        base = ["--base-directory", str(self.library.base)]
        status = await asyncio.to_thread(main, ["jobs", *arguments, *base])
        return status, *self.capture.readouterr()

    async def left(self) -> list[str]:
        """Return the ids in the store, the latest first."""
        rows = await self.library.services.db.fetch_all("SELECT uuid FROM jobs ORDER BY created_at DESC")
        return [row[0] for row in rows]


@pytest.fixture
async def jobs(library: Any, capsys: pytest.CaptureFixture[str]) -> Jobs:
    return Jobs(library, capsys)


async def test_list(jobs: Jobs) -> None:
    assert await jobs.run("list") == (0, "0 jobs, 0 shown\n", "")
    for number, how in enumerate(("completed", "failed", "cancelled", "dropped", "in_progress", "pending")):
        await jobs.add(number, how)
    _, out, _ = await jobs.run("list")
    head, *lines, end = [line.split() for line in out.splitlines()]
    statuses = ["pending", "in_progress", "cancelled", "cancelled", "failed", "completed"]
    assert head == ["SUBMITTED", "STATUS", "TIME", "ID", "WORKFLOW", "PROMPT"]
    assert [line[2] for line in lines] == statuses
    assert end == ["6", "jobs,", "6", "shown"]
    assert lines[-1][3:] == ["1.5", "s", job_id(0), WORKFLOW_ID]
    assert lines[0][3:] == ["-", job_id(5), WORKFLOW_ID]
    submitted = (jobs.now + 5000) // 1000
    assert datetime.fromisoformat(" ".join(lines[0][:2])).timestamp() == submitted


@pytest.mark.parametrize(
    ("arguments", "numbers"),
    [
        ((), [3, 2, 1, 0]),
        (("--limit", "2"), [3, 2]),
        (("--status", "failed"), [1]),
        (("--status", "failed", "--status", "completed"), [2, 1, 0]),
        (("--status", "pending"), []),
    ],
)
async def test_list_for_programs(jobs: Jobs, arguments: tuple[str, ...], numbers: list[int]) -> None:
    for number, end in enumerate(("completed", "failed", "completed", "cancelled")):
        await jobs.add(number, end)
    status, out, err = await jobs.run("list", "--json", *arguments)
    assert (status, err, out.count("\n")) == (0, "", 1)
    assert [entry["id"] for entry in json.loads(out)] == [job_id(number) for number in numbers]


async def test_what_is_listed_of_a_job(jobs: Jobs) -> None:
    await jobs.add(1, "failed")
    _, out, _ = await jobs.run("list", "--json")
    at = jobs.now + 1000
    assert json.loads(out) == [
        {
            "id": job_id(1),
            "status": "failed",
            "owner": "user 1",
            "workflow_id": WORKFLOW_ID,
            "create_time": at,
            "execution_start_time": at + 10,
            "execution_end_time": at + 20,
            "outputs_count": 0,
            "execution_error": ERROR,
        }
    ]


@pytest.mark.parametrize(
    ("end", "told"),
    [
        ("completed", ["status      completed", "graph       1 node", "output      output/7.png (node 1)"]),
        ("failed", ["status      failed", "failed      OSError in node 1 (SaveImage)", "There is no room."]),
        ("pending", ["status      pending", f"workflow    {WORKFLOW_ID}"]),
    ],
)
async def test_show(jobs: Jobs, end: str, told: list[str]) -> None:
    name = await jobs.add(7, end)
    status, out, _ = await jobs.run("show", name.upper())
    assert status == 0
    assert out.splitlines()[0] == f"id          {name}"
    assert set(told) <= set(out.splitlines())
    _, out, _ = await jobs.run("show", name, "--graph")
    assert json.loads(out) == json.loads(GRAPH)
    _, out, _ = await jobs.run("show", name, "--json")
    assert json.loads(out)["graph"] == json.loads(GRAPH)


async def test_names_of_workflows_and_words_of_prompts(jobs: Jobs) -> None:
    saved = {"name": "Portrait", "workflow_json": {"nodes": []}}
    async with jobs.library.client.post("/api/workflows", json=saved) as response:
        workflow_id = (await response.json())["id"]
    name = await jobs.add(1)
    graph = json.dumps(
        {
            "1": {"class_type": "CLIPTextEncode", "inputs": {"text": "a red fox,\n  in snow " + "and ice " * 50}},
            "2": {"class_type": "KSampler", "inputs": {"positive": ["1", 0]}},
        }
    )
    async with jobs.library.services.db.transaction() as tx:
        await tx.execute("UPDATE jobs SET workflow_id = ?, owner = 'default'", (workflow_id,))
        # As an earlier release has left it.
        await tx.execute("UPDATE jobs SET prompt = NULL")
        await tx.execute("UPDATE documents SET body = ?", (zlib.compress(graph.encode()),))
    (listed,) = json.loads((await jobs.run("list", "--json"))[1])
    assert listed["workflow_name"] == "Portrait"
    assert listed["prompt_text"].startswith("a red fox, in snow and ice") and listed["prompt_text"].endswith("…")
    assert len(listed["prompt_text"]) <= 200
    _, out, _ = await jobs.run("list")
    assert "  Portrait  a red fox, in snow and ice" in out
    assert f"workflow    {workflow_id} (Portrait)" in (await jobs.run("show", name))[1]


async def test_show_by_the_first_characters_of_an_id(jobs: Jobs) -> None:
    one, other = [f"1234{rest}-0000-4000-8000-000000000000" for rest in ("5678", "9999")]
    for number, name in enumerate((one, other)):
        await jobs.add(number, name=name)
    for short in ("12345", "12345678", one[:20].upper()):
        assert (await jobs.run("show", short))[1].splitlines()[0] == f"id          {one}"
    status, out, err = await jobs.run("show", "1234")
    assert (status, out) == (1, "")
    assert err == f"comfy-assets: 1234 is ambiguous: several jobs have ids that begin with it: {one}, {other}\n"
    assert await jobs.run("show", "123") == (1, "", "comfy-assets: There is no such job.\n")  # too few characters
    assert await jobs.run("show", "12346") == (1, "", "comfy-assets: There is no such job.\n")


@pytest.mark.parametrize("unknown", [job_id(1), "no id", ""])
async def test_show_of_an_unknown_job(jobs: Jobs, unknown: str) -> None:
    assert await jobs.run("show", unknown) == (1, "", "comfy-assets: There is no such job.\n")


# Days ago -> end; the numbers of jobs that stay, the latest first. Waiting and running jobs always stay.
PRUNED = [
    (("--older-than", "90d"), [5, 4, 3, 2]),
    (("--older-than", "12h"), [5, 4]),
    (("--older-than", "1000w"), [5, 4, 3, 2, 1, 0]),
    (("--keep", "0"), [5, 4]),
    (("--keep", "1"), [5, 4, 3]),
    (("--keep", "100"), [5, 4, 3, 2, 1, 0]),
    (("--older-than", "90d", "--keep", "3"), [5, 4, 3, 2, 1]),
    (("--older-than", "5d", "--keep", "1"), [5, 4, 3]),
]


@pytest.mark.parametrize(("arguments", "left"), PRUNED)
async def test_prune(jobs: Jobs, arguments: tuple[str, ...], left: list[int]) -> None:
    ends = ("completed", "failed", "dropped", "cancelled", "in_progress", "pending")
    for number, (end, days_ago) in enumerate(zip(ends, (200, 100, 10, 2, 1.5, 1), strict=True)):
        await jobs.add(number, end, days_ago)
    output = jobs.library.write("output/0.png")
    status, out, err = await jobs.run("prune", "--yes", *arguments)
    assert (status, err) == (0, "")
    assert out.startswith(f"{6 - len(left)} job record")
    assert await jobs.left() == [job_id(number) for number in left]
    assert output.exists()
    async with jobs.library.client.get("/api/jobs") as response:
        answer = await response.json()
    assert [entry["id"] for entry in answer["jobs"]] == []  # they belong to other users
    documents = await jobs.library.services.db.fetch_all("SELECT count(*) FROM documents")
    assert documents == [(1,)]
    recorded = await jobs.library.services.db.fetch_all("SELECT result FROM tasks WHERE name = 'job_prune'")
    assert recorded == [(json.dumps({"removed": 6 - len(left)}, separators=(",", ":")),)]


async def test_prune_of_more_than_one_transaction(jobs: Jobs) -> None:
    for number in range(501):
        await jobs.add(number)
    _, out, _ = await jobs.run("prune", "--yes", "--keep", "0")
    assert out == "501 job records deleted\n"
    assert await jobs.left() == []
    assert await jobs.library.services.db.fetch_all("SELECT count(*) FROM documents") == [(0,)]


@pytest.mark.parametrize(
    ("answer", "arguments", "status", "is_pruned"),
    [
        ("y\n", (), 0, True),
        ("n\n", (), 1, False),
        ("", (), 1, False),
        (None, (), 2, False),
        (None, ("--yes",), 0, True),
    ],
)
async def test_pruning_is_confirmed(
    jobs: Jobs,
    someone_says: Callable[[str], None],
    answer: str | None,
    arguments: tuple[str, ...],
    status: int,
    is_pruned: bool,
) -> None:
    await jobs.add(1)
    if answer is not None:
        someone_says(answer)
    ended, _, err = await jobs.run("prune", "--keep", "0", *arguments)
    assert ended == status
    assert (await jobs.left() == []) == is_pruned
    assert ("Delete the records of 1 job? [y/N]" in err) == (answer is not None)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--keep", "-1"),
        ("--keep", "many"),
        ("--keep", "9999999"),
        ("--older-than", "90"),
        ("--older-than", "1y"),
    ],
)
async def test_prune_needs_to_know_what(jobs: Jobs, arguments: tuple[str, ...]) -> None:
    await jobs.add(1)
    with pytest.raises(SystemExit) as ended:
        await jobs.run("prune", "--yes", *arguments)
    assert ended.value.code == 2
    assert await jobs.left() == [job_id(1)]
