"""Functions that are called as prompts come and go. Whatever they raise is logged: it must not disturb the server."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .base import PromptListener, RewritePrompt
from .execution import FinishedPrompt, QueueListener, SubmittedPrompt

log = logging.getLogger("comfy_assets")


class PromptHooks:
    """The rewrites and listeners of a host."""

    def __init__(self) -> None:
        self.rewrites: list[RewritePrompt] = []
        self.listeners: list[PromptListener] = []

    def rewrite(self, body: dict[str, Any]) -> dict[str, Any]:
        """A submitted body as the rewrites make it; one that fails is passed over."""
        for rewrite in self.rewrites:
            try:
                body = rewrite(body)
            except Exception:
                log.exception("A submitted prompt could not be rewritten")
        return body

    def tell(self, prompt: FinishedPrompt) -> None:
        """Tell the listeners of an executed prompt."""
        for listener in self.listeners:
            _call(listener, prompt)


class QueueListeners:
    """Tells every listener; itself a ``QueueListener`` that never raises."""

    def __init__(self) -> None:
        self._listeners: list[QueueListener] = []

    def add(self, listener: QueueListener) -> None:
        self._listeners.append(listener)

    def is_free(self, prompt_id: str) -> bool:
        try:
            return all(listener.is_free(prompt_id) for listener in self._listeners)
        except Exception:
            log.exception("Whether a prompt's id is in use could not be learnt")
            return True

    def submitted(self, prompt: SubmittedPrompt) -> None:
        for listener in self._listeners:
            _call(listener.submitted, prompt)

    def started(self, prompt_id: str) -> None:
        for listener in self._listeners:
            _call(listener.started, prompt_id)

    def shown(self, prompt_id: str, node_id: str, output: Mapping[str, Any]) -> None:
        for listener in self._listeners:
            _call(listener.shown, prompt_id, node_id, output)

    def interrupting(self, prompt_id: str) -> None:
        for listener in self._listeners:
            _call(listener.interrupting, prompt_id)

    def finished(self, prompt: FinishedPrompt) -> None:
        for listener in self._listeners:
            _call(listener.finished, prompt)

    def dropped(self, prompt_ids: Sequence[str]) -> None:
        for listener in self._listeners if prompt_ids else ():
            _call(listener.dropped, prompt_ids)


def _call(listener: Callable[..., object], *arguments: object) -> None:
    try:
        listener(*arguments)
    except Exception:
        log.exception("What happened to a prompt could not be taken note of")
