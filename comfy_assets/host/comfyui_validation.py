"""Validation of prompts that return to ComfyUI's queue, as the server validates new ones."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

from msgspec.structs import replace

from .execution import SubmittedPrompt
from .prompt_problems import CheckedPrompt, as_sent, depth_problem, refusal, type_problem

log = logging.getLogger("comfy_assets")

_BUDGET_S = 3.0  # for all prompts of a start; a queue of hundreds must not delay it

NodeTypes = Callable[[], Mapping[str, Any]]
Validate = Callable[..., Any]
Replace = Callable[[MutableMapping[str, Any]], object]


class PromptValidator:
    """Find problems for which the server would reject a new prompt.

    ``validate`` is the server's ``validate_prompt``; ``replace`` replaces renamed node types. Both run code of node
    packs, so they run in a thread of their own, for a few seconds in all. Depth and node types, which can crash the
    server, are checked for every prompt.
    """

    def __init__(
        self, node_types: NodeTypes, validate: Validate, replace: Replace, budget_s: float = _BUDGET_S
    ) -> None:
        self._node_types = node_types
        self._validate = validate
        self._replace = replace
        self._left_s = budget_s

    def __call__(self, prompts: Sequence[SubmittedPrompt]) -> list[CheckedPrompt]:
        """Return the prompts with their problems. Blocks."""
        checked = [self._fundamentals(prompt) for prompt in prompts]
        sound = [each.prompt for each in checked if each.problem is None]
        verdicts = self._validated(sound)
        return [verdicts.get(each.prompt.prompt_id, each) if each.problem is None else each for each in checked]

    def _fundamentals(self, prompt: SubmittedPrompt) -> CheckedPrompt:
        """Check for problems that would crash the server's worker."""
        problem = depth_problem(prompt.graph, prompt.extra_data)
        if problem is None and (problem := type_problem(prompt.graph, self._is_known)) is not None:
            prompt = self._with_replacements(prompt)
            problem = type_problem(prompt.graph, self._is_known)
        return CheckedPrompt(prompt, problem)

    def _is_known(self, class_type: str) -> bool:
        return self._node_types().get(class_type) is not None

    def _with_replacements(self, prompt: SubmittedPrompt) -> SubmittedPrompt:
        graph = {node_id: _copied(node) for node_id, node in prompt.graph.items()}
        try:
            self._replace(graph)
        except Exception:  # code of node packs
            log.exception("Node types of the job %s could not be replaced", prompt.prompt_id)
            return prompt
        return replace(prompt, graph=graph)

    def _validated(self, prompts: Sequence[SubmittedPrompt]) -> dict[str, CheckedPrompt]:
        """Return the results of the server's own validation, for as many prompts as there is time for."""
        if not prompts or self._left_s <= 0:
            return {}
        verdicts: dict[str, CheckedPrompt] = {}
        started = time.monotonic()
        deadline = started + self._left_s
        thread = threading.Thread(
            target=lambda: asyncio.run(self._validate_until(deadline, prompts, verdicts)),
            name="comfy-assets prompt checks",
            daemon=True,  # a node pack that never returns must not keep the process alive
        )
        thread.start()
        thread.join(self._left_s)
        self._left_s = 0.0 if thread.is_alive() else self._left_s - (time.monotonic() - started)
        found = dict(verdicts)  # a copy: an abandoned thread may still add to it
        if len(found) < len(prompts):
            log.warning(
                "%d jobs return to the queue with only their node types checked: validation takes too long.",
                len(prompts) - len(found),
            )
        return found

    async def _validate_until(
        self, deadline: float, prompts: Sequence[SubmittedPrompt], verdicts: dict[str, CheckedPrompt]
    ) -> None:
        for prompt in prompts:
            if time.monotonic() > deadline:
                return
            try:
                verdicts[prompt.prompt_id] = await self._verdict(prompt)
            except Exception:  # code of node packs; its failure says nothing about the prompt
                log.exception("The job %s could not be validated; it returns to the queue", prompt.prompt_id)
                verdicts[prompt.prompt_id] = CheckedPrompt(prompt)

    async def _verdict(self, prompt: SubmittedPrompt) -> CheckedPrompt:
        answer = self._validate(prompt.prompt_id, as_sent(prompt.graph), list(prompt.outputs) or None)
        valid, error, good, node_errors, *_ = await answer if inspect.isawaitable(answer) else answer
        if not valid:
            return CheckedPrompt(prompt, refusal(error, node_errors, prompt.graph))
        outputs = [output for output in prompt.outputs if output in good]
        if len(outputs) < len(prompt.outputs):
            left_out = [output for output in prompt.outputs if output not in good]
            log.warning(
                "The job %s is executed without its outputs %s, which are not valid.", prompt.prompt_id, left_out
            )
        return CheckedPrompt(replace(prompt, outputs=outputs or prompt.outputs))


def _copied(node: Any) -> Any:
    if not isinstance(node, Mapping) or not isinstance(node.get("inputs"), Mapping):
        return node
    return {**node, "inputs": dict(node["inputs"])}
