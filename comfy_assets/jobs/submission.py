"""Submissions: the owner and workflow of a request, and the event that records the prompt."""

from __future__ import annotations

import math
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import msgspec

from .. import json_text
from ..host import client_ids
from ..host.execution import SubmittedPrompt
from ..ids import now_ms
from .events import JobSubmitted, encode_redacted
from .live_jobs import LiveJob


class JobSubmission(msgspec.Struct, frozen=True):
    """Facts about a submitted prompt that only the request knows."""

    owner: str = ""
    workflow_id: str | None = None
    workflow_version_id: str | None = None
    labels: Mapping[str, str] = {}


_WITHOUT_REQUEST = JobSubmission()  # of prompts that node packs put into the queue themselves
_current: ContextVar[JobSubmission] = ContextVar("comfy_assets_submission", default=_WITHOUT_REQUEST)


@contextmanager
def submitting(submission: JobSubmission) -> Iterator[None]:
    """Assign the submission to all prompts that enter the queue within the block."""
    token = _current.set(submission)
    try:
        yield
    finally:
        _current.reset(token)


def current_submission() -> JobSubmission:
    """Return the submission of the request that runs in this context."""
    return _current.get()


def with_session(body: dict[str, Any]) -> dict[str, Any]:
    """Add a random ``client_id`` to a submitted body that has none.

    Without one, servers send the prompt's progress and previews to every open page, including those of other users.
    """
    return body if _client_of(body) else {**body, "client_id": uuid.uuid4().hex}


def with_own_client(body: dict[str, Any]) -> dict[str, Any]:
    """Replace the ``client_id`` of a submitted body by that of the same client of its user, while the login is on."""
    namespace = client_ids.current_namespace()
    return {**body, "client_id": client_ids.own_id(namespace, _client_of(body))} if namespace else body


def _client_of(body: Mapping[str, Any]) -> Any:
    """Return the id that servers use: that of the body, or else of its extra data; None if there is none."""
    if body.get("client_id"):
        return body["client_id"]
    extra = body.get("extra_data")
    return (extra.get("client_id") or None) if isinstance(extra, dict) else None


def submitted_event(
    prompt: SubmittedPrompt,
    extra_data: Mapping[str, Any],
    submission: JobSubmission,
    job: LiveJob,
    redact: Callable[[Any], Any],
) -> JobSubmitted:
    """Return the event of a prompt. ``extra_data`` is the prompt's without credentials.

    The page's workflow is taken out of it, so that it can be stored once with all jobs that share it.
    """
    extra, workflow = _split_workflow(extra_data)
    own_id = workflow.get("id") if workflow is not None else None
    return JobSubmitted(
        id=job.job_id,
        at=_created_at(prompt.extra_data),
        owner=submission.owner,
        number=_queue_number(prompt.number),
        graph=json_text.as_in_images(redact(prompt.graph)),
        workflow=json_text.as_in_images(redact(workflow)) if workflow is not None else None,
        extra_data=encode_redacted(extra, redact).text,
        outputs=json_text.encode(list(prompt.outputs)),
        workflow_id=submission.workflow_id or (json_text.clean(own_id) if isinstance(own_id, str) else None),
        workflow_version_id=submission.workflow_version_id,
        run=job.run,
        labels=json_text.encode(dict(submission.labels)) if submission.labels else None,
    )


def _split_workflow(extra_data: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any] | None]:
    pnginfo = extra_data.get("extra_pnginfo")
    workflow = pnginfo.get("workflow") if isinstance(pnginfo, Mapping) else None
    if not isinstance(workflow, Mapping) or not isinstance(pnginfo, Mapping):
        return extra_data, None
    rest = {key: value for key, value in pnginfo.items() if key != "workflow"}
    return {**extra_data, "extra_pnginfo": rest}, workflow


def _created_at(extra_data: Mapping[str, Any]) -> int:
    """Return the server's own time of the submission (ms); older servers report none."""
    # The bound lies in the year 10889: clients can send anything here, and SQLite's integers end.
    at = extra_data.get("create_time")
    return at if isinstance(at, int) and not isinstance(at, bool) and 0 < at < 1 << 48 else now_ms()


def _queue_number(number: object) -> float:
    """Return the queue number as a finite float: JSON and SQLite know no infinities, which clients may send."""
    try:
        place = float(number)  # type: ignore[arg-type]
    except OverflowError:
        return sys.float_info.max if number > 0 else -sys.float_info.max  # type: ignore[operator]
    except (TypeError, ValueError):
        return 0.0
    if math.isnan(place):
        return 0.0
    return max(-sys.float_info.max, min(place, sys.float_info.max))
