"""Credentials that came with prompts must not be written down, wherever a server repeats them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import quote

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

    def of(self, prompt_id: str) -> Callable[[Any], Any]:
        """What takes the prompt's credentials out of a value, from every text in it; the value itself stays as it is.

        Texts are looked through before they become JSON, so that a credential like ``1234`` or ``null`` breaks none.
        """
        secrets = self._secrets.get(prompt_id)
        if secrets is None:
            return lambda value: value

        def redact(value: Any) -> Any:
            if value is None or isinstance(value, (bool, int, float)):
                return value
            if isinstance(value, Mapping):
                return {redact(key): redact(item) for key, item in value.items()}
            if isinstance(value, (list, tuple)):
                return [redact(item) for item in value]
            text = str(value)
            for secret in secrets:
                text = text.replace(secret, REDACTED)
            return text

        return redact


def _spellings(secret: str) -> tuple[str, ...]:
    """The secret, and how a text may quote it: as JSON, as Python, in an address."""
    quoted = (json.dumps(secret), json.dumps(secret, ensure_ascii=False), repr(secret))
    return (secret, *(text[1:-1] for text in quoted), quote(secret, safe="", errors="replace"))
