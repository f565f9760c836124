"""Query parameters that an operation does not have. They are ignored, so the log must say that a client sends them.

A newer client with a new filter would otherwise get an unfiltered list, and nobody would know why.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

log = logging.getLogger("comfy_assets.http")

_MAX_REPORTED = 200  # pairs of an operation and a name
_MAX_LENGTH = 80  # characters of a name


class UnknownParameters:
    """Logs each unknown parameter of an operation once. Values are not logged, as they may be secret."""

    def __init__(self) -> None:
        self._reported: set[tuple[str, str]] = set()

    def report(self, operation: str, names: Iterable[str], known: frozenset[str]) -> None:
        """Log those of the names that are not known and were not reported for this operation."""
        for name in dict.fromkeys(names):
            entry = (operation, name[:_MAX_LENGTH])
            if name in known or entry in self._reported or len(self._reported) >= _MAX_REPORTED:
                continue
            self._reported.add(entry)
            log.warning("%s has no query parameter %r: it is ignored", *entry)
            if len(self._reported) == _MAX_REPORTED:
                log.warning("Further unknown query parameters are not reported")
