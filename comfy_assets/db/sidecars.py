"""Sidecars of models: the files beside a model that belong to it, and what they say of it.

Managers of models write descriptions and pictures, and A1111 has users edit one: ``ink.safetensors`` has
``ink.civitai.info``, ``ink.json``, ``ink.txt``, ``ink.preview.png`` and so on. They are no assets of their own in
lists; what they say is the model's.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from . import tags
from .connection import Database, Transaction
from .sql import Row, json_array

_MODEL_SUFFIXES = (".safetensors", ".sft", ".gguf", ".ckpt", ".pt", ".pth", ".bin", ".onnx", ".pkl")
_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".avif", ".mp4", ".webm")
# Ends of names in the order in which what they say counts: first what users edit, last what only lists words.
_DESCRIPTIONS = (
    ".metadata.json",
    ".civitai.info",
    ".cm-info.json",
    ".swarm.json",
    ".api_info.json",
    ".json",
    ".description.txt",
    ".txt",
)
_PREVIEWS = tuple(f"{middle}{suffix}" for middle in (".preview", ".thumb", "") for suffix in _PICTURES)
_ENDS = (*_DESCRIPTIONS, *_PREVIEWS)
_RANKS = {end: rank for rank, end in enumerate(_ENDS)}
FIRST_PICTURE = len(_DESCRIPTIONS)
"""Ranks from here on are those of pictures, in the order in which one of them is chosen."""

# Facts of descriptions that are their model's.
SHARED_FACTS = ("name", "base_model", "trained_words", "author", "description", "repo_url", "architecture")
_MAX_FACTS = 4096
_MAX_FILES = 10
_decode_facts = msgspec.json.Decoder(dict[str, Any]).decode
_BATCH = 200  # folders that are linked in one transaction


class SidecarLink(NamedTuple):
    """A sidecar's place among those of its model, both by row id."""

    model_id: int
    asset_id: int
    rank: int


class Sidecar(NamedTuple):
    """A sidecar of a model. ``metadata`` is None until the file has been read."""

    model_id: int
    id: str
    name: str
    rank: int
    metadata: str | None

    @property
    def is_picture(self) -> bool:
        """True for a picture or video that shows what the model makes."""
        return self.rank >= FIRST_PICTURE


def may_be_sidecar(name: str) -> bool:
    """Return whether a file of this name would belong to a model beside it."""
    return name.lower().endswith(_ENDS)


def links(names: Mapping[int, str]) -> list[SidecarLink]:
    """Return the links between the files of one folder, given by row id.

    Models of one name in several formats share their sidecars. Case does not matter, as on most users' disks.
    """
    lowered = [(row_id, name.lower()) for row_id, name in names.items()]
    others = [(row_id, lower) for row_id, lower in lowered if lower.endswith(_ENDS)]
    if not others:  # most folders hold only models
        return []
    models: defaultdict[str, list[int]] = defaultdict(list)
    for row_id, lower in lowered:
        if (stem := _stem(lower, _MODEL_SUFFIXES)) is not None:
            models[stem].append(row_id)
    return [
        SidecarLink(model_id, row_id, rank)
        for row_id, lower in others
        for stem, rank in _readings(lower)
        for model_id in models.get(stem, ())
        if model_id != row_id
    ]


def model_stem(name: str) -> str | None:
    """Return the part of a model's name that its sidecars begin with, or None if it is not the name of a model."""
    stem = _stem(name.lower(), _MODEL_SUFFIXES)
    return None if stem is None else name[: len(stem)]


def _stem(name: str, suffixes: tuple[str, ...]) -> str | None:
    if not name.endswith(suffixes):
        return None
    return next(
        (name[: -len(suffix)] for suffix in suffixes if name.endswith(suffix) and len(name) > len(suffix)), None
    )


def _readings(name: str) -> list[tuple[str, int]]:
    """Return the names of models that a file of this name may belong to, each with the rank of the file there."""
    return [(name[: -len(end)], rank) for end, rank in _RANKS.items() if name.endswith(end) and len(name) > len(end)]


def merged(metadata: str, descriptions: Sequence[str], files: Sequence[tuple[str, str]] = ()) -> str:
    """Return the metadata of a model with the facts of its descriptions, all JSON objects, in the order of their ranks.

    The first that states a fact decides, and descriptions before the model itself; trained words are collected.
    ``files`` are the ids and names of all sidecars.
    """
    facts = _decode_facts(metadata)
    words: list[str] = []
    stated: dict[str, Any] = {}
    for text in descriptions:
        found = _decode_facts(text)
        words += [word for word in found.get("trained_words", ()) if word not in words]
        stated = {key: found[key] for key in SHARED_FACTS if key in found} | stated
    if words:
        stated["trained_words"] = words
    merged_facts = facts | stated
    if files:
        merged_facts["sidecars"] = [{"id": asset_id, "name": name} for asset_id, name in files[:_MAX_FILES]]
    if len(encoded := msgspec.json.encode(merged_facts)) > _MAX_FACTS:
        merged_facts.pop("header", None)
        encoded = msgspec.json.encode(merged_facts)
    return encoded.decode()


async def note_folders(tx: Transaction, folder_ids: Iterable[int]) -> None:
    """Note that files were added to folders, as far as these are of models."""
    await tx.execute(
        "INSERT OR IGNORE INTO sidecar_folders SELECT d.id FROM json_each(?) j CROSS JOIN folders d ON d.id = j.value"
        " WHERE d.kind = 'models'",
        (json_array({*folder_ids}),),
    )


async def link_noted(tx: Transaction) -> None:
    """Link the sidecars in all folders that have changed. The transaction pauses between batches."""
    while folders := await tx.fetch_all("SELECT folder_id FROM sidecar_folders LIMIT ?", (_BATCH,)):
        ids = json_array(row[0] for row in folders)
        await _link(tx, ids)
        await tx.execute("DELETE FROM sidecar_folders WHERE folder_id IN (SELECT value FROM json_each(?))", (ids,))
        if len(folders) < _BATCH:
            return
        await tx.pause()


async def link_folder(tx: Transaction, folder_id: int) -> None:
    """Link the sidecars in a folder to which a file was added."""
    await _link(tx, json_array([folder_id]))


async def link_folder_at(tx: Transaction, path: str) -> None:
    """Link the sidecars in the folder at a path, in which files were renamed, if it is one of models."""
    rows = await tx.fetch_all("SELECT id FROM folders WHERE path = ? AND kind = 'models'", (path,))
    for (folder_id,) in rows:
        await _link(tx, json_array([folder_id]))


async def _link(tx: Transaction, folders: str) -> None:
    """Link the sidecars in folders (a JSON array of ids) to the models beside them; replace former links."""
    rows = await tx.fetch_all(
        "SELECT f.folder_id, f.id, f.name, f.missing, s.owner, s.hidden FROM files f JOIN assets a ON a.id = f.id"
        " JOIN tag_sets s ON s.id = a.tag_set_id WHERE f.folder_id IN (SELECT value FROM json_each(?))",
        (folders,),
    )
    present = {
        (row[0], row[1])
        for row in await tx.fetch_all(
            "SELECT l.model_id, l.asset_id FROM sidecars l JOIN files f ON f.id = l.asset_id"
            " WHERE f.folder_id IN (SELECT value FROM json_each(?))",
            (folders,),
        )
    }
    wanted = await asyncio.to_thread(_wanted, rows)
    gone = present - wanted.keys()
    new = [link for pair, link in wanted.items() if pair not in present]
    if gone:
        await tx.execute_many("DELETE FROM sidecars WHERE model_id = ? AND asset_id = ?", sorted(gone))
    if new:
        await tx.execute_many("INSERT INTO sidecars (model_id, asset_id, rank) VALUES (?, ?, ?)", new)
    linked = {asset_id for _, asset_id in wanted}
    hidden = {row[1] for row in rows if row[5] & tags.SIDECAR}
    await show_or_hide(tx, {asset_id for _, asset_id in gone} | {link.asset_id for link in new} | (hidden - linked))


def _wanted(rows: Sequence[Row]) -> dict[tuple[int, int], SidecarLink]:
    """Return the links between files of the same folder by model and sidecar.

    What belongs to a user tells others nothing.
    """
    by_folder: dict[int, dict[int, str]] = {}
    for folder_id, row_id, name, *_ in rows:
        by_folder.setdefault(folder_id, {})[row_id] = name
    # A missing or deleted sidecar belongs to a missing or deleted model, and describes none that is present.
    lack = {row[1]: (bool(row[3]), bool(row[5] & tags.DELETED)) for row in rows}
    owner = {row[1]: row[4] for row in rows}
    return {
        (link.model_id, link.asset_id): link
        for names in by_folder.values()
        for link in links(names)
        if lack[link.model_id] == lack[link.asset_id] and owner[link.asset_id] in ("", owner[link.model_id])
    }


async def show_or_hide(tx: Transaction, ids: Collection[int]) -> None:
    """Take assets that are sidecars out of lists, and show those that are none any more.

    Those that are missing stay as they are: a removed description is no missing asset.
    """
    if not ids:
        return
    rows = await tx.fetch_all(
        "SELECT DISTINCT asset_id FROM sidecars WHERE asset_id IN (SELECT value FROM json_each(?))", (json_array(ids),)
    )
    linked = {row[0] for row in rows}
    await tags.move_assets(tx, linked, lambda s: s._replace(hidden=s.hidden | tags.SIDECAR))
    rows = await tx.fetch_all(
        "SELECT id FROM files WHERE missing = 0 AND id IN (SELECT value FROM json_each(?))",
        (json_array({*ids} - linked),),
    )
    await tags.move_assets(tx, [row[0] for row in rows], lambda s: s._replace(hidden=s.hidden & ~tags.SIDECAR))


async def of_models(db: Database | Transaction, model_ids: Collection[int]) -> dict[int, list[Sidecar]]:
    """Return the sidecars of models that are not deleted, by the model's row id and in the order of their ranks."""
    rows = await db.fetch_all(
        "SELECT l.model_id, a.uuid, a.name, l.rank, c.metadata FROM json_each(?) j"
        " CROSS JOIN sidecars l ON l.model_id = j.value JOIN assets a ON a.id = l.asset_id"
        f" JOIN tag_sets s ON s.id = a.tag_set_id AND NOT s.hidden & {tags.DELETED}"
        " LEFT JOIN contents c ON c.id = a.content_id ORDER BY l.model_id, l.rank, l.asset_id",
        (json_array(model_ids),),
    )
    found: dict[int, list[Sidecar]] = {}
    for row in rows:
        found.setdefault(row[0], []).append(Sidecar(*row))
    return found


async def only_of(tx: Transaction, model_id: int) -> list[str]:
    """Return the ids of the sidecars that belong to a model and to no other that is not deleted."""
    rows = await tx.fetch_all(
        "SELECT a.uuid FROM sidecars l JOIN assets a ON a.id = l.asset_id JOIN tag_sets s ON s.id = a.tag_set_id"
        f" WHERE l.model_id = ?1 AND NOT s.hidden & {tags.DELETED} AND NOT EXISTS ("
        " SELECT 1 FROM sidecars o JOIN assets m ON m.id = o.model_id JOIN tag_sets t ON t.id = m.tag_set_id"
        f" WHERE o.asset_id = l.asset_id AND o.model_id <> ?1 AND NOT t.hidden & {tags.DELETED}) ORDER BY l.rank",
        (model_id,),
    )
    return [row[0] for row in rows]


async def deleted_of(tx: Transaction, model_id: int, since: int) -> list[str]:
    """Return the ids of a model's sidecars that were deleted at or after a time (ms): with the model."""
    rows = await tx.fetch_all(
        "SELECT a.uuid FROM sidecars l JOIN assets a ON a.id = l.asset_id JOIN trash t ON t.asset_id = a.id"
        " WHERE l.model_id = ? AND t.deleted_at >= ? ORDER BY l.rank",
        (model_id, since),
    )
    return [row[0] for row in rows]
