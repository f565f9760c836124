"""Credentials that came with prompts must not be written down, wherever a server repeats them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from ..host.execution import REDACTED

_MIN_LENGTH = 4  # shorter ones are in every text


class Redaction:
    """The credentials of the prompts that are not over."""

    def __init__(self) -> None:
        self._secrets: dict[str, tuple[str, ...]] = {}

    def learn(self, prompt_id: str, secrets: Iterable[str]) -> None:
        """Remember the credentials of a prompt."""
        spellings = {spelling for secret in secrets if len(secret) >= _MIN_LENGTH for spelling in _spellings(secret)}
        if spellings:
            self._secrets[prompt_id] = tuple(sorted(spellings, key=len, reverse=True))

    def forget(self, prompt_id: str) -> None:
        """The prompt is over."""
        self._secrets.pop(prompt_id, None)

    def of(self, prompt_id: str) -> Callable[[str], str]:
        """What takes the prompt's credentials out of a JSON text."""
        secrets = self._secrets.get(prompt_id, ())

        def redact(text: str) -> str:
            for secret in secrets:
                text = text.replace(secret, REDACTED)
            return text

        return redact


def _spellings(secret: str) -> tuple[str, str]:
    """How JSON may spell it."""
    return json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]
