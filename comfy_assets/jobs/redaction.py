"""Credentials of prompts in the queue, which are never written down, wherever a server repeats them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..credentials import rebuilt, redactor


class PromptRedaction:
    """The credentials of each prompt that has not ended."""

    def __init__(self) -> None:
        self._redactors: dict[str, Callable[[str], str]] = {}

    def add(self, prompt_id: str, secrets: Iterable[str]) -> None:
        """Set the credentials of a prompt."""
        redact = redactor(secrets)
        if redact is not None:
            self._redactors[prompt_id] = redact

    def forget(self, prompt_id: str) -> None:
        """Remove the credentials of a prompt that has ended."""
        self._redactors.pop(prompt_id, None)

    def of(self, prompt_id: str) -> Callable[[Any], Any]:
        """Return a function that copies a value without the prompt's credentials, which may be in any text of it."""
        redact = self._redactors.get(prompt_id)
        if redact is None:
            return lambda value: value
        # Values, not JSON texts: replacing a credential such as ``1234`` or ``null`` would break the JSON.
        return lambda value: rebuilt(value, redact)
