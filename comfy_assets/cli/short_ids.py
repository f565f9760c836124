"""Short ids: the first characters of an id, as the panel shows it, stand for the id where they fit only one."""

from __future__ import annotations

import re

from ..db import short_ids
from ..db.connection import Database
from ..db.short_ids import Subject
from ..ids import canonical_id
from .command import CommandError

LEAST = 4  # characters, as of git: fewer are more likely a mistake
_SHORT = re.compile(rf"[0-9A-Fa-f][0-9A-Fa-f-]{{{LEAST - 1},}}")
_SHOWN = 4  # ids of an ambiguous one that the message lists


async def full_id(db: Database, subject: Subject, text: str) -> str:
    """Return the id that a text shortens; the canonical form of a UUID, and any other text, as it is.

    Raises CommandError if several ids begin with the text.
    """
    canonical = canonical_id(text)
    if canonical is not None or not _SHORT.fullmatch(text):
        return canonical or text
    found = await short_ids.beginning_with(db, subject, text.lower(), _SHOWN + 1)
    if not found or text in found:  # clients may choose ids of jobs that are no UUIDs
        return text
    if len(found) > 1:
        listed = ", ".join(found[:_SHOWN]) + (", …" if len(found) > _SHOWN else "")
        raise CommandError(f"{text} is ambiguous: several {subject}s have ids that begin with it: {listed}")
    return found[0]
