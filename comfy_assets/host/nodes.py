"""What nodes declare of their inputs, in the shapes that ComfyUI's clients read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_CHOICE = "COMBO"


def declared_choices(input_types: Mapping[str, Any], input_name: str) -> Sequence[Any] | None:
    """The values that an input offers: ``([a, b], …)`` or ``("COMBO", {"options": [a, b]})``; None for all others."""
    for group in ("required", "optional"):
        declared = (input_types.get(group) or {}).get(input_name)
        if isinstance(declared, (list, tuple)) and declared:
            return _choices(declared[0], declared[1] if len(declared) > 1 else {})
    return None


def _choices(kind: object, options: object) -> Sequence[Any] | None:
    found = options.get("options") if kind == _CHOICE and isinstance(options, Mapping) else kind
    return found if isinstance(found, (list, tuple)) else None
