"""Comfy API v2: the events of a job, as Server-Sent Events (WHATWG HTML, "Server-sent events")."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import sqlite3
from collections.abc import AsyncGenerator, Iterator
from typing import Annotated, Any

import msgspec
from aiohttp import web

from ...comfy_assets.app import Services
from ...comfy_assets.errors import ApiError, JobNotFoundError, TooManyStreamsError
from ...comfy_assets.jobs.event_stream import PREVIEW_MIME, EventStream, PreviewPicture, StatusChange, StreamEvent
from ...comfy_assets.jobs.progress import ProgressSnapshot
from ..context import NoQuery, RequestContext, encoded, endpoint
from ..operations import Operation, Response, Route
from ..params import doc
from .jobs import JOB_ID, STATES, TAG, output_body, progress_body
from .protocol import REQUEST_ID, is_served, request_id_of

log = logging.getLogger("comfy_assets.http")

MAX_STREAMS = 100  # of a user
_KEEP_ALIVE_S = 10.0  # clients give up after 15 to 30 seconds without a byte
_LOOK_S = 2.0  # between two looks at the connection
_STUCK_S = 60.0  # a client that takes nothing for so long is gone
_RETRY_S = 5
_COMMENT = b": keep-alive\n\n"
_MEDIA = "text/event-stream"
_open: dict[Services, dict[str, int]] = {}


class StatusEventBody(msgspec.Struct):
    """The event `status`."""

    status: Annotated[str, doc("State of the job.", enum=list(STATES))]
    queue_position: Annotated[int | None, doc("Its place in the queue, from 1, while it waits.")]


class PreviewEventBody(msgspec.Struct):
    """The event `preview`: a picture of unfinished work."""

    node_id: Annotated[str, doc("The node.")]
    content_type: Annotated[str, doc("Media type of the picture.")]
    data_base64: Annotated[str, doc("The picture in base64.")]


@contextlib.contextmanager
def _counted(services: Services, user: str) -> Iterator[None]:
    """Count a stream of a user. Raises TooManyStreamsError."""
    streams = _open.setdefault(services, {})
    if streams.get(user, 0) >= MAX_STREAMS:
        message = f"{MAX_STREAMS} streams of events are open already. The job itself can be read at any time."
        raise TooManyStreamsError(message, details={"max_streams": MAX_STREAMS, "retry_after": _RETRY_S})
    streams[user] = streams.get(user, 0) + 1
    try:
        yield
    finally:
        streams[user] -= 1
        if not streams[user]:
            del streams[user]
        if not streams:
            _open.pop(services, None)


@endpoint()
async def get_events(call: RequestContext[NoQuery]) -> web.StreamResponse:
    """Stream the events of a job until it has ended (getJobEvents)."""
    job = await call.services.job_views.job(call.path["id"], call.user)
    with _counted(call.services, call.user):
        stream = EventStream(call.services.job_views, job, call.user)
        headers = {
            "Content-Type": f"{_MEDIA}; charset=utf-8",
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",  # else nginx keeps events back
            REQUEST_ID: request_id_of(call.request),
        }
        response = web.StreamResponse(headers=headers)
        if call.request.method == "HEAD":
            return response
        response.enable_chunked_encoding()
        await response.prepare(call.request)
        try:
            await _send(call.request, response, stream.events(), job.id)
        except (ConnectionError, asyncio.TimeoutError):
            pass  # the client is gone: nothing can be sent, and nothing is left of the stream
        except (ApiError, sqlite3.Error) as error:
            # The stream has begun, so there is no response for it. Without its last event, the client reads the job.
            log.warning("The events of the job %s end early: %s", job.id, error)
    return response


async def _send(
    request: web.Request, response: web.StreamResponse, events: AsyncGenerator[StreamEvent, None], job_id: str
) -> None:
    """Write events until there are no more, with comments in between while there are none."""
    waiting: asyncio.Task[StreamEvent | None] | None = None
    loop = asyncio.get_running_loop()
    written = loop.time()
    try:
        while True:
            waiting = waiting or asyncio.create_task(_next(events), name="comfy-assets events")
            await asyncio.wait({waiting}, timeout=_LOOK_S)
            if request.transport is None or request.transport.is_closing():
                return
            if waiting.done():
                event, waiting = waiting.result(), None
                if event is None:
                    return
                await _write(request, response, _frame(event, job_id, request))
                written = loop.time()
            elif loop.time() - written >= _KEEP_ALIVE_S - _LOOK_S:
                await _write(request, response, _COMMENT)
                written = loop.time()
    finally:
        if waiting is not None:
            waiting.cancel()
            await asyncio.wait({waiting})
        await events.aclose()


async def _next(events: AsyncGenerator[StreamEvent, None]) -> StreamEvent | None:
    return await anext(events, None)


async def _write(request: web.Request, response: web.StreamResponse, data: bytes) -> None:
    """Write to a client, which may be slow; close the connection of one that takes nothing."""
    try:
        await asyncio.wait_for(response.write(data), _STUCK_S)
    except asyncio.TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        raise


def _frame(event: StreamEvent, job_id: str, request: web.Request) -> bytes:
    name, body = _named(event, job_id, request)
    return b"event: %s\ndata: %s\n\n" % (name.encode(), bytes(encoded(body)))


def _named(event: StreamEvent, job_id: str, request: web.Request) -> tuple[str, Any]:
    if isinstance(event, StatusChange):
        return "status", StatusEventBody(event.status, event.queue_position)
    if isinstance(event, ProgressSnapshot):
        return "progress", progress_body(event)
    if isinstance(event, PreviewPicture):
        return "preview", PreviewEventBody(event.node_id, PREVIEW_MIME, base64.b64encode(event.data).decode())
    return "output", output_body(event, job_id, request)


ROUTES = [
    Route(
        "GET",
        "/api/v2/jobs/{id}/events",
        get_events,
        Operation(
            "getJobEvents",
            TAG,
            "Stream the events of a job",
            {
                200: Response(
                    "The events: `status` first and at every change, `progress`, `preview` and `output`. The stream "
                    "ends after the last `status`, which comes after every output.",
                    {"type": "string"},
                    _MEDIA,
                )
            },
            "Events are not repeated: who connects again gets the state as it is. A comment is sent when there is no "
            "event for a while.",
            parameters=JOB_ID,
            errors=(JobNotFoundError, TooManyStreamsError),
        ),
        when=is_served,
    ),
]
