"""Outputs of jobs that are no assets of the library: texts, and temporary files such as those of preview nodes.

Clients of Comfy API v2 read every output under an id, as an asset. These have ids too, made of the job and the place of
the output, and stored when the output is first listed. Their content stays where it is: a text in the job's record, a
temporary file in its folder, until the server empties it.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from .. import json_text
from ..assets.media.mime import guess_mime
from ..assets.prompts.outputs import OutputSlot, shown_items
from ..db import job_links, jobs
from ..db.connection import Database
from ..db.job_links import ValuePlace
from ..fs.paths import extended_path
from ..host.base import Host
from ..models import JobRecord

TEXT_MIME = "text/plain"
_NAMESPACE = uuid.UUID("6f1c9a52-5a0e-5d0b-9a2c-0c0f3f9d7a11")
_MAX_VALUES = 1000  # of a job
_MAX_TEXT = 16 << 20  # bytes of one text
_TEXT_KEY = "text"
_TEMP = "temp"


class JobValue(msgspec.Struct, frozen=True):
    """An output that is no asset: a ``text``, or the temporary file at ``path``. ``size`` is in bytes."""

    id: str
    job_id: str
    node_id: str
    key: str
    index: int
    name: str
    mime_type: str
    size: int
    created_at: int
    text: bytes | None = None
    path: Path | None = None


class JobValues:
    """Finds these outputs. Those of other users' jobs do not exist for a user."""

    def __init__(self, db: Database, host: Host) -> None:
        self._db = db
        self._host = host

    async def of_job(
        self, record: JobRecord, outputs: Mapping[str, Any], assets: Collection[OutputSlot]
    ) -> Sequence[JobValue]:
        """Return the texts among the outputs of a job, and the files without ``assets``, in order; store their ids."""
        found = await asyncio.to_thread(self._values, record, outputs, assets)
        if found:
            known = await job_links.known_values(self._db, [value.id for value in found])
            new = [(value.id, _place(record, value)) for value in found if value.id not in known]
            if new:
                async with self._db.transaction() as tx:
                    await job_links.add_values(tx, new)
        return found

    async def find(self, value_id: str, owner: str) -> JobValue | None:
        """Return the output with this id; None if there is none, or if its temporary file is gone."""
        place = await job_links.find_value(self._db, value_id, owner)
        if place is None:
            return None
        for record in await jobs.records_of(self._db, [place.job_row], with_graphs=False):
            return await asyncio.to_thread(self._value_at, record, place)
        return None

    def _value_at(self, record: JobRecord, place: ValuePlace) -> JobValue | None:
        shown = outputs_in(record).get(place.node_id)
        items = shown.get(place.key) if isinstance(shown, Mapping) else None
        if not isinstance(items, list) or place.position >= len(items):
            return None
        return self._value(record, OutputSlot(place.node_id, place.key, place.position), items[place.position])

    def _values(self, record: JobRecord, outputs: Mapping[str, Any], assets: Collection[OutputSlot]) -> list[JobValue]:
        found: list[JobValue] = []
        for slot, item in shown_items(outputs):
            # A text may be the path of a file. A node that shows it as a text means the text.
            is_text = slot.key == _TEXT_KEY and isinstance(item, str)
            if (is_text or slot not in assets) and (value := self._value(record, slot, item)) is not None:
                found.append(value)
                if len(found) == _MAX_VALUES:
                    break
        return found

    def _value(self, record: JobRecord, slot: OutputSlot, item: object) -> JobValue | None:
        if isinstance(item, Mapping):
            return self._temporary_file(record, slot, item)
        if slot.key != _TEXT_KEY or not isinstance(item, (str, int, float)) or isinstance(item, bool):
            return None
        text = str(item).encode("utf-8", "replace")[:_MAX_TEXT]
        name = f"{slot.node_id.replace(':', '_')}_{slot.index}.txt"
        return _value_of(record, slot, name, TEXT_MIME, len(text), text=text)

    def _temporary_file(self, record: JobRecord, slot: OutputSlot, item: Mapping[str, Any]) -> JobValue | None:
        """Return the temporary file that a node describes, if it is there and inside its folder."""
        name, subfolder = item.get("filename"), item.get("subfolder") or ""
        temp = self._host.folders().temp
        if item.get("type") != _TEMP or temp is None or not isinstance(name, str) or not isinstance(subfolder, str):
            return None
        try:
            root = temp.resolve()
            path = (root / subfolder / name).resolve()
            if not path.is_relative_to(root) or not extended_path(path).is_file():
                return None
            size = extended_path(path).stat().st_size
        except (OSError, ValueError):  # ValueError: a NUL character
            return None
        return _value_of(record, slot, path.name, guess_mime(path.name), size, path=path)


def outputs_in(record: JobRecord) -> Mapping[str, Any]:
    """Return the outputs in a job's record, by node; those that were shown so far of a job that has not ended."""
    outputs = json_text.read(record.result, dict[str, Any]).get("outputs")
    return outputs if isinstance(outputs, Mapping) else {}


def _value_of(
    record: JobRecord, slot: OutputSlot, name: str, mime: str, size: int, *, text: bytes | None = None,
    path: Path | None = None,
) -> JobValue:  # fmt: skip
    job = record.job
    key = f"{job.id}/{record.run}/{slot.node_id}/{slot.key}/{slot.index}"
    created_at = job.finished_at or job.updated_at
    value_id = str(uuid.uuid5(_NAMESPACE, key))
    return JobValue(value_id, job.id, slot.node_id, slot.key, slot.index, name, mime, size, created_at, text, path)


def _place(record: JobRecord, value: JobValue) -> ValuePlace:
    return ValuePlace(record.job.row_id, value.node_id, value.key, value.index)
