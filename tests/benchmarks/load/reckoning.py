"""The end of a run: the server comes to rest, is audited, started once more, and audited again."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, Sequence

from asking import HEAL_S, Asker
from audit_api import ApiAudit
from audit_store import audit, leftovers
from notes import FlowNote

SETTLE_S = 300.0
RESTORED = 10
OLD_S = 2 * 3600.0


async def reckon(asks: Sequence[Asker], expected: Sequence[str] = ()) -> None:
    """Note all that is amiss, by one asker for each user.

    ``expected`` are the errors whose tracebacks the run itself has caused.
    """
    for ask in asks:
        _complete_cut_files(ask)
    await _settle(asks)
    await _hold(asks)
    for ask in asks:
        await _restore(ask)
    await _start_once_more(asks[0])
    await _settle(asks)
    await _hold(asks)
    _read_log(asks[0], expected)


def _complete_cut_files(ask: Asker) -> None:
    """A ComfyUI writes the page's files in place: what it was killed in is half there, and whoever sits before the page
    saves again."""
    for path in ask.workflows.rglob("[!.]*.json"):
        held = path.read_bytes()
        try:
            json.loads(held)
        except ValueError:
            whole = next((text for text in ask.notes.cut_short if text.startswith(held)), None)
            if ask.notes.must(ask.server.is_comfyui and whole is not None, f"half a file: {path.name}") and whole:
                path.write_bytes(whole)


async def _active(ask: Asker) -> int:
    """Return how many of the user's jobs are not over."""
    listed = await ask.learn("settle", "/api/jobs?status=pending,in_progress&limit=1")
    return int(listed.json["pagination"]["total"])


async def _settle(asks: Sequence[Asker]) -> None:
    """Wait until nothing is executed, and a last scan has read every file."""
    deadline = time.monotonic() + SETTLE_S
    has_scanned = False
    ask = asks[0]
    while time.monotonic() < deadline:
        jobs = sum([await _active(each) for each in asks])
        is_idle = (await ask.learn("settle", "/api/assets/seed/status")).json["phase"] == "idle" and jobs == 0
        if is_idle and has_scanned:
            return
        if is_idle:
            has_scanned = (await ask.ask("settle", "POST", "/api/assets/seed", json={})).json["status"] == "started"
        await asyncio.sleep(0.1)
    ask.notes.find(f"the server does not come to rest: {jobs} jobs are not over")


async def _hold(asks: Sequence[Asker]) -> None:
    """What is amiss when all that mends itself has had its time."""
    notes, server = [ask.notes for ask in asks], asks[0].server
    apis = [ApiAudit(ask) for ask in asks]
    parts = [part for api in apis for part in (api.assets, api.jobs, api.workflows)]
    for part in (*parts, lambda: asyncio.to_thread(audit, server, *notes)):
        for what in await _lasting(part):
            if what not in notes[0].found:
                notes[0].find(what)


async def _lasting(part: Callable[[], Awaitable[list[str]]]) -> list[str]:
    deadline = time.monotonic() + HEAL_S
    while True:
        try:
            found = await part()
        except (OSError, ValueError) as error:  # a file that has just been moved, or is half there
            found = [repr(error)]
        if not found or time.monotonic() > deadline:
            return found
        await asyncio.sleep(1)


async def _restore(ask: Asker) -> None:
    """Deleted workflows come back with all their versions, and their files with them."""
    deleted = [flow for flow in ask.notes.flows if flow.is_deleted][:RESTORED]
    if not deleted:
        return
    status, output = await ask.server.command(["workflows", "restore", *(flow.id for flow in deleted)])
    ask.notes.must(status == 0, f"restoring ends with {status}: {output}")
    for flow in deleted:
        flow.is_deleted = False
        await ask.until(lambda flow=flow: _has_file(ask, flow), f"the file of restored {flow.id} does not come back")


async def _has_file(ask: Asker, flow: FlowNote) -> bool:
    return (ask.workflows / flow.path).exists()


async def _start_once_more(ask: Asker) -> None:
    """What killed servers have left under passing names is removed by a start, an hour after it was written."""
    left = leftovers(ask.server.base)
    ours = [path.name for path in left if path.stat().st_mtime > ask.server.started]
    ask.notes.must(not ours, f"left under passing names by a server that was not killed: {ours}")
    ask.server.kill()
    for path in left:
        os.utime(path, (time.time() - OLD_S, time.time() - OLD_S))
    ask.server.start()
    await ask.server.wait_until_up()

    async def is_tidy() -> bool:
        return not leftovers(ask.server.base)

    await ask.until(is_tidy, f"what killed servers have left stays: {[path.name for path in left]}")


def _read_log(ask: Asker, expected: Sequence[str]) -> None:
    """Nothing of ours has failed without anybody being told, but for what the run itself has caused."""
    _, *traces = ask.server.log.split("Traceback (most recent call last):\n")
    ours = [trace for trace in map(_block, traces) if "comfy_assets" in trace or "comfy-assets" in trace]
    ours = [trace for trace in ours if not any(error in trace for error in expected)]
    if ours:
        ask.notes.find(f"{len(ours)} tracebacks in the log, the first: {ours[0][:2000]}")


def _block(text: str) -> str:
    """The lines of a traceback, which begin with white space, and the error after them."""
    lines = text.splitlines()
    end = next((number for number, line in enumerate(lines) if not line.startswith(" ")), len(lines))
    return "\n".join(lines[: end + 1])
