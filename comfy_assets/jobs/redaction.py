"""Credentials that came with prompts must not be written down, wherever a server repeats them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..credentials import rebuilt, redactor


class Redaction:
    """The credentials of the prompts that are not over."""

    def __init__(self) -> None:
        self._redactors: dict[str, Callable[[str], str]] = {}

    def learn(self, prompt_id: str, secrets: Iterable[str]) -> None:
        """Remember the credentials of a prompt."""
        redact = redactor(secrets)
        if redact is not None:
            self._redactors[prompt_id] = redact

    def forget(self, prompt_id: str) -> None:
        """Forget the credentials of a prompt that is over."""
        self._redactors.pop(prompt_id, None)

    def of(self, prompt_id: str) -> Callable[[Any], Any]:
        """Return a function that copies a value without the prompt's credentials, which may be in every text of it.

        Texts are looked through before they become JSON, so that a credential like ``1234`` or ``null`` breaks none.
        """
        redact = self._redactors.get(prompt_id)
        if redact is None:
            return lambda value: value
        return lambda value: rebuilt(value, redact)
