"""``POST /prompt``: a graph is checked and put into the queue."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from ...credentials import CREDENTIALS, REDACTED, take_out, texts_in
from ..base import RewritePrompt
from .http import Refusal, json_answer, read_object, strings, text_or_none
from .nodes import NodeRegistry
from .queue import PromptQueue, QueuedPrompt
from .validation import Problem, validate


class Submission:
    """Answers ``POST /prompt`` with the prompt's id, or with what is wrong with the graph."""

    def __init__(self, registry: NodeRegistry, queue: PromptQueue, rewrite: RewritePrompt) -> None:
        self._registry = registry
        self._queue = queue
        self._rewrite = rewrite

    async def submit(self, request: web.Request) -> web.Response:
        try:
            body = await asyncio.to_thread(self._rewrite, await read_object(request))
            number = self._number(body)
            prompt_id = text_or_none(body, "prompt_id")
            targets = strings(body, "partial_execution_targets")
            extra_data, secrets = _extra_data(body)
        except Refusal as error:
            return _refuse(Problem("invalid_prompt", error.text))
        if "prompt" not in body:
            return _refuse(Problem("no_prompt", "The request has no prompt"))
        if prompt_id is not None and not is_canonical_uuid(prompt_id):
            details = "Write it in lower case with hyphens, or leave it out to be given one."
            return _refuse(Problem("invalid_prompt_id", "prompt_id must be a UUID", details))
        verdict = await asyncio.to_thread(validate, body["prompt"], self._registry, targets)
        if verdict.error is not None:
            return _refuse(verdict.error, verdict.node_errors)
        prompt_id = prompt_id or str(uuid.uuid4())
        prompt = QueuedPrompt(number, prompt_id, verdict.graph, extra_data, verdict.outputs, secrets)
        queued = await asyncio.to_thread(self._queue.put, prompt)
        return json_answer({"prompt_id": queued.prompt_id, "number": number, "node_errors": verdict.node_errors})

    def _number(self, body: Mapping[str, Any]) -> float:
        """The place in the queue: as the client wants it, or behind (``front``: before) everything."""
        number = body.get("number")
        if number is None:
            return self._queue.number_for(front=bool(body.get("front")))
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            raise Refusal("number must be a number.")
        return number


def is_canonical_uuid(text: str) -> bool:
    """Whether a text is a UUID as ``str(uuid)`` writes it: ids are compared letter by letter."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def _extra_data(body: Mapping[str, Any]) -> tuple[dict[str, Any], frozenset[str]]:
    """The extra data of a prompt without its credentials, which nothing here needs, and these."""
    extra = body.get("extra_data") or {}
    if not isinstance(extra, dict):
        raise Refusal("extra_data must be an object.")
    known = {key: extra[key] for key in CREDENTIALS if key in extra}
    redacted, others = take_out({**extra, **dict.fromkeys(known, REDACTED)})
    kept = dict(redacted)
    client_id = text_or_none(body, "client_id")
    if client_id is not None:
        kept["client_id"] = client_id
    kept["create_time"] = int(time.time() * 1000)
    return kept, others | frozenset(filter(None, texts_in(known)))


def _refuse(problem: Problem, node_errors: Mapping[str, Any] | None = None) -> web.Response:
    return json_answer({"error": problem.as_json(), "node_errors": node_errors or {}}, status=400)
