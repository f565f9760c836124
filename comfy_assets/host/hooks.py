"""Functions that are called as prompts come and go. Whatever they raise is logged: it must not disturb the server."""

from __future__ import annotations

import logging
from typing import Any

from .base import FinishedPrompt, PromptListener, RewritePrompt

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
            try:
                listener(prompt)
            except Exception:
                log.exception("A listener could not take the prompt %s", prompt.prompt_id)
