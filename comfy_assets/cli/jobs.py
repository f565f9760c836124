"""``comfy-assets jobs``: list, show and delete records of jobs."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from ..background.tasks import Task
from ..db import job_list
from ..db import jobs as job_rows
from ..errors import JobNotFoundError
from ..ids import now_ms
from ..jobs import service, store
from ..jobs.events import as_file, countable
from ..models import JOB_STATUSES, Job, JobFilter, JobPage, JobRecord, Page
from .command import (
    Commands,
    add_command,
    add_group,
    add_json,
    add_limit,
    add_yes,
    age_ms,
    confirm,
    number,
    require_terminal_or_yes,
)
from .output import Column, counted, local_time, print_table, say, say_json, without_none
from .store import full_id, open_library

_COLUMNS = (
    Column("SUBMITTED"),
    Column("STATUS"),
    Column("TIME", True),
    Column("ID"),
    Column("WORKFLOW"),
    Column("PROMPT"),
)


def add_to(commands: Commands) -> None:
    """Add the commands."""
    actions = add_group(
        commands,
        "jobs",
        "list and show jobs, or delete old records",
        ("jobs list --status failed", "jobs show 018f4a1c", "jobs prune --older-than 90d"),
    )
    list_ = add_command(
        actions,
        "list",
        _list,
        "list jobs, the latest first",
        ("jobs list", "jobs list --status failed --status cancelled", "jobs list --limit 1000 --json"),
    )
    list_.add_argument(
        "--status", action="append", choices=JOB_STATUSES, help="only jobs in this state (can be repeated)"
    )
    add_limit(list_, "jobs")
    show = add_command(
        actions,
        "show",
        _show,
        "print the details of a job",
        ("jobs show 018f4a1c", "jobs show 018f4a1c --graph > graph.json"),
    )
    show.add_argument("id", metavar="ID", help="an id from jobs list, or its first characters")
    show.add_argument("--graph", action="store_true", help="only the graph, in the form in which it can be submitted")
    prune = add_command(
        actions,
        "prune",
        _prune,
        "delete the records of finished jobs, but not their files",
        ("jobs prune --older-than 90d", "jobs prune --keep 10000 --yes"),
    )
    prune.set_defaults(refuse=prune.error)  # argparse cannot require one of two options that may also be combined
    prune.add_argument("--older-than", type=age_ms, metavar="AGE", help="jobs that ended longer ago: 12h, 90d, 8w")
    prune.add_argument("--keep", type=number, metavar="N", help="keep the latest N jobs, of any age")
    add_yes(prune)
    for parser in (list_, show):
        add_json(parser)


def _list(options: argparse.Namespace) -> int:
    page = asyncio.run(_latest(options))
    if options.json:
        say_json([_as_json(job) for job in page.items])
        return 0
    print_table(_COLUMNS, map(_cells, page.items))
    say(f"{counted(page.total, 'job')}, {len(page.items):,} shown")
    return 0


def _cells(job: Job) -> tuple[str, ...]:
    workflow = job.workflow_name or job.workflow_id or "-"
    return local_time(job.created_at), JOB_STATUSES[job.status], _duration(job), job.id, workflow, job.prompt or ""


async def _latest(options: argparse.Namespace) -> Page[Job]:
    statuses = options.status or JOB_STATUSES
    # Jobs of every user: whoever can read the store's file can read them anyway.
    wanted = JobFilter(None, tuple(sorted({JOB_STATUSES.index(name) for name in statuses})))
    async with open_library(options) as library:
        page = await job_list.list_page(library.db, wanted, JobPage(limit=options.limit))
        return msgspec.structs.replace(page, items=await store.with_first_words(library.db, page.items))


def _duration(job: Job) -> str:
    return f"{job.duration / 1000:.1f} s" if job.finished_at is not None else "-"


def _as_json(job: Job) -> dict[str, Any]:
    """Return a job as JSON, with the names of the API."""
    entry = {
        "id": job.id,
        "status": JOB_STATUSES[job.status],
        "owner": job.owner,
        "workflow_id": job.workflow_id,
        "workflow_name": job.workflow_name,
        "prompt_text": job.prompt or None,
        "create_time": job.created_at,
        "execution_start_time": job.started_at,
        "execution_end_time": job.finished_at,
        "outputs_count": job.outputs_count,
        "execution_error": None if job.error is None else json.loads(job.error),
    }
    return without_none(entry)


def _show(options: argparse.Namespace) -> int:
    record = asyncio.run(_record(options))
    graph = msgspec.json.decode(record.graph)
    outputs = msgspec.json.decode(record.result).get("outputs") or {}
    if options.graph:
        say_json(graph)
    elif options.json:
        say_json({**_as_json(record.job), "graph": graph, "outputs": outputs})
    else:
        say(*_details(record.job, graph, outputs))
    return 0


async def _record(options: argparse.Namespace) -> JobRecord:
    async with open_library(options) as library:
        job = await job_rows.get(library.db, await full_id(library.db, "job", options.id))
        if job is None:
            raise JobNotFoundError("There is no such job.", details={"id": options.id})
        return (await job_rows.records_of(library.db, [job.row_id]))[0]


def _details(job: Job, graph: Mapping[str, Any], outputs: Mapping[str, Any]) -> Iterator[str]:
    yield f"id          {job.id}"
    yield f"status      {JOB_STATUSES[job.status]}"
    if job.workflow_id is not None:
        name = f" ({job.workflow_name})" if job.workflow_name is not None else ""
        yield f"workflow    {job.workflow_id}{name}"
    yield f"submitted   {local_time(job.created_at)}"
    if job.finished_at is not None:
        yield f"ended       {local_time(job.finished_at)}, after {_duration(job)}"
    yield f"graph       {counted(len(graph), 'node')}"
    for slot, item in countable(outputs):
        if (file := as_file(item)) is not None:
            path = "/".join(filter(None, (file.get("type"), file.get("subfolder"), file.get("filename"))))
            yield f"output      {path} (node {slot.node_id})"
    if job.error is not None:
        error = json.loads(job.error)
        yield f"failed      {error['exception_type']} in node {error['node_id']} ({error['node_type']})"
        yield from str(error["exception_message"]).splitlines()


def _prune(options: argparse.Namespace) -> int:
    if options.older_than is None and options.keep is None:
        options.refuse("--older-than, --keep or both are required")
    require_terminal_or_yes(options)
    before = None if options.older_than is None else now_ms() - options.older_than
    keep = options.keep or 0
    # The store is closed while the user decides, and counted again when records are deleted.
    count = asyncio.run(_count(options, before, keep))
    confirm(options, f"Delete the records of {counted(count, 'job')}?")
    deleted = asyncio.run(_prune_now(options, before, keep))
    say(f"{counted(deleted, 'job record')} deleted")
    return 0


async def _count(options: argparse.Namespace, before: int | None, keep: int) -> int:
    async with open_library(options) as library:
        return await service.count_to_prune(library.db, before, keep)


async def _prune_now(options: argparse.Namespace, before: int | None, keep: int) -> int:
    async with open_library(options) as library:

        async def work(task: Task) -> None:
            task.result = {"removed": await service.prune(library.db, before, keep)}

        task = await library.tasks.run("job_prune", work, {"before": before, "keep": keep})
        return int(task.result["removed"])
