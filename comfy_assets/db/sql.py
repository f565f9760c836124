"""Parameters of SQL statements."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec


def json_array(values: Iterable[Any]) -> str:
    """Encode values as a JSON array, which a statement reads with ``json_each``.

    One text parameter serves any number of values, so the statement stays the same and prepared.
    """
    return msgspec.json.encode(list(values)).decode()
