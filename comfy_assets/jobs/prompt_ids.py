"""Prompt ids chosen by clients. An id belongs to one job at a time, and to the same user for ever."""

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
    """Reject prompt ids that are in use."""

    def __init__(self, recorder: JobRecorder) -> None:
        self._recorder = recorder

    @asynccontextmanager
    async def claimed(self, prompt_id: str, owner: str, db: Database | None) -> AsyncIterator[None]:
        """Reserve the id for the prompt that is submitted within the block. Raises PromptIdTakenError.

        Without a store, only ids of prompts in the queue are known.
        """
        _check_spelling(prompt_id)
        if not self._recorder.live.reserve(prompt_id):
            raise _taken("A job in the queue has this prompt_id.")
        try:
            await self._check_owner(prompt_id, owner, db)
            yield
        finally:
            self._recorder.live.release(prompt_id)

    async def _check_owner(self, prompt_id: str, owner: str, db: Database | None) -> None:
        ended = self._recorder.live.get(prompt_id)
        if ended is not None and not ended.is_accessible(owner):
            raise _taken("Another job has this prompt_id.")
        if db is None:
            return
        try:
            if ended is not None:
                await self._recorder.flush()  # its outputs must be linked to its record before that is replaced
            stored = (await jobs.stored_ids(db, [prompt_id])).get(prompt_id)
        except sqlite3.Error as error:
            log.warning("The owner of the job %s could not be looked up: %s", prompt_id, error)
            return
        if stored is not None:
            self._check_stored(stored, owner)

    def _check_stored(self, stored: StoredId, owner: str) -> None:
        if stored.owner not in ("", owner):
            raise _taken("Another job has this prompt_id.")
        if stored.is_active and stored.seat in self._recorder.running_seats():
            raise _taken("A job in the queue of another server has this prompt_id.")


def _check_spelling(prompt_id: str) -> None:
    """Raise PromptIdTakenError for an id that could not be part of a URL."""
    is_text = prompt_id.isprintable() and prompt_id.strip() == prompt_id
    if not prompt_id or not is_text or len(prompt_id) > MAX_LENGTH:
        raise _taken(f"A prompt_id must have 1 to {MAX_LENGTH} printable characters.")


def _taken(reason: str) -> PromptIdTakenError:
    return PromptIdTakenError(f"{reason} Omit prompt_id to get a new one.", details={"field": "prompt_id"})
