"""Callbacks for prompts. Their exceptions are logged and never reach the server."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .base import PromptListener, RewritePrompt
from .execution import FinishedPrompt, QueueListener, SubmittedPrompt

log = logging.getLogger("comfy_assets")


class PromptHooks:
    """The rewrites of submitted prompts, and the listeners for executed ones."""

    def __init__(self) -> None:
        self.rewrites: list[RewritePrompt] = []
        self.listeners: list[PromptListener] = []

    def rewrite(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return a submitted body after all rewrites. A rewrite that raises is skipped."""
        for rewrite in self.rewrites:
            try:
                body = rewrite(body)
            except Exception:
                log.exception("A submitted prompt could not be rewritten")
        return body

    def notify(self, prompt: FinishedPrompt) -> None:
        """Call the listeners for an executed prompt."""
        for listener in self.listeners:
            _call(listener, prompt)


class QueueListeners:
    """Forward every event to all listeners. Implements ``QueueListener`` and never raises."""

    def __init__(self) -> None:
        self._listeners: list[QueueListener] = []

    def add(self, listener: QueueListener) -> None:
        self._listeners.append(listener)

    def is_free(self, prompt_id: str) -> bool:
        try:
            return all(listener.is_free(prompt_id) for listener in self._listeners)
        except Exception:
            log.exception("A listener failed to check a prompt id")
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
        log.exception("An event of a prompt could not be recorded")
