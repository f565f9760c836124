"""The ids that clients give to prompts: an id is of one job at a time, and of one user for good."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..db import jobs
from ..db.connection import Database
from ..db.jobs import StoredId
from ..errors import PromptIdTakenError
from .recorder import JobRecorder

log = logging.getLogger("comfy_assets.jobs")

MAX_LENGTH = 256


class PromptIds:
    """Refuses ids that other jobs have."""

    def __init__(self, recorder: JobRecorder) -> None:
        self._recorder = recorder

    @asynccontextmanager
    async def claimed(self, prompt_id: str, owner: str, db: Database | None) -> AsyncIterator[None]:
        """Keep the id for the prompt that is submitted within the block. Raises PromptIdTakenError.

        Without a store only what the queue holds is known.
        """
        _check_spelling(prompt_id)
        if not self._recorder.held.reserve(prompt_id):
            raise _taken("A job that waits or is executed has this prompt_id.")
        try:
            await self._check_owner(prompt_id, owner, db)
            yield
        finally:
            self._recorder.held.release(prompt_id)

    async def _check_owner(self, prompt_id: str, owner: str, db: Database | None) -> None:
        ended = self._recorder.held.get(prompt_id)
        if ended is not None and not ended.is_within_reach(owner):
            raise _taken("Another job has this prompt_id.")
        if db is None:
            return
        try:
            if ended is not None:
                await self._recorder.flush()  # what it has made is linked to it before its record is replaced
            stored = (await jobs.stored_ids(db, [prompt_id])).get(prompt_id)
        except sqlite3.Error as error:
            log.warning("Whose job %s is could not be looked up: %s", prompt_id, error)
            return
        if stored is not None:
            self._check_stored(stored, owner)

    def _check_stored(self, stored: StoredId, owner: str) -> None:
        if stored.owner not in ("", owner):
            raise _taken("Another job has this prompt_id.")
        if stored.is_active and stored.seat in self._recorder.seats_at_work():
            raise _taken("A job in the queue of another server has this prompt_id.")


def _check_spelling(prompt_id: str) -> None:
    """Raise PromptIdTakenError for an id under which no job could be asked for."""
    is_text = prompt_id.isprintable() and prompt_id.strip() == prompt_id
    if not prompt_id or not is_text or len(prompt_id) > MAX_LENGTH:
        raise _taken(f"A prompt_id is a text of 1 to {MAX_LENGTH} printable characters.")


def _taken(reason: str) -> PromptIdTakenError:
    return PromptIdTakenError(f"{reason} Leave prompt_id out to be given one.", details={"field": "prompt_id"})
