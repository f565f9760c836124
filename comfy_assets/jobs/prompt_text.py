"""The first words of a job's prompt, which lists show, read from its graph.

They are stored with a new job. Jobs of earlier releases get them in idle time, and in the lists that show them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from msgspec.structs import replace

from ..db import jobs
from ..db.compression import decompress
from ..db.connection import Database
from ..models import Job
from ..search.decoding import decode
from ..search.prompt_graph import positive_text
from ..search.saved_graph import executed_graph

LENGTH = 200  # characters
_BATCH = 50  # graphs read at once: some megabytes


def first_words(graph: object) -> str:
    """Return the beginning of the prompt in a graph that was executed, on one line; "" without a prompt. Pure."""
    text = " ".join(positive_text(executed_graph(graph)).split())
    return text if len(text) <= LENGTH else f"{text[: LENGTH - 1].rstrip()}…"


async def completed(db: Database, listed: Sequence[Job]) -> list[Job]:
    """Return the jobs of a list with the first words of their prompts. Stores nothing: a list only reads."""
    unread = [job.row_id for job in listed if job.prompt is None]
    texts: dict[int, str] = {}
    for start in range(0, len(unread), _BATCH):
        texts |= await _read(db, unread[start : start + _BATCH])
    return [replace(job, prompt=texts.get(job.row_id)) if job.prompt is None else job for job in listed]


async def store_some(db: Database) -> bool:
    """Read and store the prompts of some jobs that have none yet; return whether there may be more."""
    rows = await jobs.without_prompt(db, _BATCH)
    if rows:
        texts = await _read(db, rows)
        async with db.transaction() as tx:
            await jobs.set_prompts(tx, [(row_id, texts.get(row_id, "")) for row_id in rows])
    return len(rows) == _BATCH


async def _read(db: Database, rows: Sequence[int]) -> dict[int, str]:
    bodies = await jobs.graphs_of(db, rows)
    return await asyncio.to_thread(lambda: {row_id: first_words(_decoded(body)) for row_id, body in bodies})


def _decoded(body: bytes) -> object:
    return decode(decompress(body))
