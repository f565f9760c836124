"""Scans of the folders: start, progress, pause and cancellation."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from ..comfy_assets.assets.index.exclusions import CODES, problem_messages
from ..comfy_assets.assets.roots import Roots
from ..comfy_assets.background.tasks import Task
from ..comfy_assets.errors import InvalidBodyError
from .context import NoQuery, RequestContext, endpoint, utc_time
from .operations import (
    Operation,
    Record,
    RequestBody,
    Response,
    Route,
    array,
    boolean,
    integer,
    number,
    object_with,
    string,
    timestamp,
)
from .params import Ids, doc, parse_body

_ROOT_KINDS = {"models", "input", "output"}


class SeedAssets(msgspec.Struct, frozen=True):
    """Query of seedAssets."""

    wait: Annotated[bool, doc("Whether to respond when the scan has ended, instead of at once.")] = False


class SeedAssetsRequest(msgspec.Struct, frozen=True):
    """Body of seedAssets: the folders to scan."""

    roots: Annotated[Ids | None, doc("`models`, `input`, `output`, or model categories; all folders if omitted.")] = (
        None
    )


@endpoint(query=SeedAssets)
async def seed(call: RequestContext[SeedAssets]) -> dict[str, Any]:
    """Start a scan unless one is running (seedAssets)."""
    body = await parse_body(SeedAssetsRequest, call.request)
    roots = _scan_roots(call, body)
    if call.query.wait:
        return _ended_scan(await call.services.indexer.scan_now(roots))
    # One scan runs at a time: a request for other roots gets the running one.
    task, started = call.services.indexer.start_scan(roots)
    return {"status": "started" if started else "already_running", "task_id": str(task.id)}


@endpoint()
async def seed_status(call: RequestContext[NoQuery]) -> dict[str, Any]:
    """Return the progress of the latest scan (getAssetSeedStatus)."""
    return _status(call)


@endpoint()
async def pause_seed(call: RequestContext[NoQuery]) -> dict[str, Any]:
    """Pause scans, hashing and watching; return their progress (pauseAssetSeed, an extension)."""
    call.services.indexer.pause()
    return _status(call)


@endpoint()
async def resume_seed(call: RequestContext[NoQuery]) -> dict[str, Any]:
    """Resume scans, hashing and watching; return their progress (resumeAssetSeed, an extension)."""
    call.services.indexer.resume()
    return _status(call)


@endpoint()
async def cancel_seed(call: RequestContext[NoQuery]) -> dict[str, Any]:
    """Cancel the running scan and hash run (cancelAssetSeed)."""
    return {"status": "cancelling" if call.services.indexer.cancel() else "idle"}


@endpoint()
async def prune(call: RequestContext[NoQuery]) -> dict[str, Any]:
    """Mark the assets whose files no longer exist (pruneAssets)."""
    return {"status": "completed", "marked": await call.services.indexer.prune()}


def _ended_scan(task: Task) -> dict[str, Any]:
    """Return the outcome of a scan that a request has waited for."""
    counts = {name: count for name, count in task.result.items() if isinstance(count, int)}
    outcome: dict[str, Any] = {
        "status": task.status,
        "task_id": str(task.id),
        "progress": {"total": counts.get("scanned", 0), **counts},
        "errors": problem_messages(task.result),
    }
    if task.status == "failed":
        outcome["error_message"] = task.error
    return outcome


def _status(call: RequestContext[NoQuery]) -> dict[str, Any]:
    status = call.services.indexer.status()
    # Absent until the first scan.
    if "started_at" in status:
        status["started_at"] = utc_time(status["started_at"])
    return status


def _scan_roots(call: RequestContext[SeedAssets], body: SeedAssetsRequest) -> frozenset[str] | None:
    if body.roots is None:
        return None
    names = Roots(call.services.host.folders()).names()
    # Categories are accepted as tags name them, `loras`, and as paths do, `models/loras`.
    known = {name: name for name in names} | {f"models/{name}": name for name in names - _ROOT_KINDS}
    unknown = [root for root in body.roots if root.strip("/") not in known]
    # An empty list is refused, as it reads like "all folders" and like "none".
    if unknown or not body.roots:
        raise InvalidBodyError(
            "roots must name roots (models, input, output) or model categories.",
            details={"field": "roots", "unknown": unknown},
        )
    return frozenset(known[root.strip("/")] for root in body.roots)


_LISTING_COUNTS = {
    "scanned": integer("Files seen."),
    "total": integer("Files to see."),
    "folders": integer("Folders seen."),
    "created": integer("New files."),
    "changed": integer("Changed files."),
    "missing": integer("Missing files."),
    "returned": integer("Files that are no longer missing."),
    "moved": integer("Files found at another path."),
    "problems": integer("Folders and files that could not be accessed."),
}
_SCAN_COUNTS = {
    **_LISTING_COUNTS,
    "hashed": integer("Files hashed."),
    "unreadable": integer("Files that could not be read."),
    "bytes_hashed": integer("Bytes hashed."),
    "bytes_total": integer("Bytes to hash."),
    "bytes_per_second": integer("Speed of hashing."),
    "errors": array(True, "The messages of `problem_details`, as ComfyUI's status has them."),
    "problem_details": array(
        object_with(
            {
                "path": string("What is not listed."),
                "code": string("Why.", enum=list(CODES)),
                "detail": string("The kinds of files behind a link, or the system's message; otherwise empty."),
                "message": string("All of it in English."),
            }
        ),
        "The first problems.",
    ),
    "error_message": string("Reason of the failure."),
    "started_at": timestamp("Time of its start."),
}
_SCAN_PROGRESS = Record(
    "SeedStatus",
    "The progress of the latest scan and of the hash run that follows it.",
    {
        "status": string(
            "State of the scan; `idle` if there was none yet.",
            enum=["idle", "running", "completed", "failed", "cancelled"],
        ),
        "phase": string("The current phase.", enum=["idle", "listing", "hashing"]),
        "paused": boolean("Whether it waits for running prompts, or is paused."),
        "on_hold": boolean("Whether a user has paused background work."),
        **_SCAN_COUNTS,  # absent until the first scan
    },
    optional=("paused", *_SCAN_COUNTS),
)

ROUTES = [
    Route(
        "POST",
        "/api/assets/prune",
        prune,
        Operation(
            "pruneAssets",
            "Assets",
            "Mark the assets whose files no longer exist",
            {
                200: Response(
                    "The result.",
                    object_with(
                        {
                            "status": string("Result.", enum=["completed"]),
                            "marked": number("Number of assets marked as missing."),
                        }
                    ),
                )
            },
            "No asset is deleted: a file that returns has its tags again.",
        ),
    ),
    Route(
        "POST",
        "/api/assets/seed",
        seed,
        Operation(
            "seedAssets",
            "Assets",
            "Start a scan of the folders unless one is running",
            {
                200: Response(
                    "The scan.",
                    object_with(
                        {
                            "status": string(
                                "Result; with `wait` that of the scan.",
                                enum=["started", "already_running", "completed", "failed", "cancelled"],
                            )
                        },
                        task_id=string("The scan's task.", format="uuid"),
                        progress=object_with(
                            {},
                            "What the scan has found; only with `wait`.",
                            **_LISTING_COUNTS,
                        ),
                        errors=array(True, "The first problems; only with `wait`."),
                        error_message=string("Reason of the failure."),
                    ),
                )
            },
            body=RequestBody(SeedAssetsRequest, is_required=False, example={"roots": ["models"]}),
        ),
    ),
    Route(
        "POST",
        "/api/assets/seed/cancel",
        cancel_seed,
        Operation(
            "cancelAssetSeed",
            "Assets",
            "Cancel the running scan",
            {
                200: Response(
                    "Whether one was running.", object_with({"status": string("Result.", enum=["cancelling", "idle"])})
                )
            },
        ),
    ),
    Route(
        "POST",
        "/api/assets/seed/pause",
        pause_seed,
        Operation(
            "pauseAssetSeed",
            "Assets",
            "Pause scans, hashing and watching",
            {200: Response("The progress.", _SCAN_PROGRESS)},
            "They stay paused until they are resumed or the server restarts.",
        ),
    ),
    Route(
        "POST",
        "/api/assets/seed/resume",
        resume_seed,
        Operation(
            "resumeAssetSeed",
            "Assets",
            "Resume scans, hashing and watching",
            {200: Response("The progress.", _SCAN_PROGRESS)},
        ),
    ),
    Route(
        "GET",
        "/api/assets/seed/status",
        seed_status,
        Operation(
            "getAssetSeedStatus",
            "Assets",
            "Get the progress of the latest scan",
            {200: Response("The progress.", _SCAN_PROGRESS)},
        ),
    ),
]
