"""``comfy-assets trash``: list and restore deleted assets, or remove their files for good."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..assets.trash import AssetTrash
from ..db.trash import DeletedAsset
from ..host.standalone import ExtraFolder
from ..ids import now_ms
from .command import (
    PROBLEMS,
    Commands,
    add_command,
    add_extra_paths,
    add_group,
    add_json,
    add_yes,
    age_ms,
    confirm,
    counted,
    existing_base,
    extra_folders,
    open_library,
    require_terminal_or_yes,
    restore_each,
    say,
    written_size,
    written_time,
)


def add_to(commands: Commands) -> None:
    """Add the commands."""
    actions = add_group(commands, "trash", "list and restore deleted assets, or empty the trash")
    add_json(add_command(actions, "list", _list, "list deleted assets, the latest first"))
    restore = add_command(actions, "restore", _restore, "restore deleted assets with their files")
    restore.add_argument("ids", nargs="+", metavar="ID", help="an id from trash list")
    add_extra_paths(restore)
    empty = add_command(actions, "empty", _empty, "remove the files in the trash for good")
    empty.add_argument("--older-than", type=age_ms, metavar="AGE", help="only assets deleted longer ago: 12h, 30d, 8w")
    add_yes(empty)


def _list(options: argparse.Namespace) -> int:
    entries = asyncio.run(_entries(existing_base(options)))
    if options.json:
        say(json.dumps([_as_json(entry) for entry in entries]))
        return 0
    for entry in entries:
        kept = "file in the trash" if entry.stored is not None else "record only"
        say(f"{entry.id}  {written_time(entry.deleted_at)}  {written_size(entry.size):>8}  {kept:17}  {entry.name}")
    say(f"{counted(len(entries), 'deleted asset')}, {written_size(_kept_bytes(entries))} of files in the trash")
    return 0


async def _entries(base: Path) -> list[DeletedAsset]:
    async with open_library(base) as library:
        return await AssetTrash(library.db, library.host).entries()


def _kept_bytes(entries: Sequence[DeletedAsset]) -> int:
    return sum(entry.size for entry in entries if entry.stored is not None)


def _as_json(entry: DeletedAsset) -> dict[str, Any]:
    return {
        "id": entry.id,
        "name": entry.name,
        "owner": entry.owner,
        "size": entry.size,
        "deleted_at": written_time(entry.deleted_at),
        "file_in_trash": entry.stored is not None,
    }


def _restore(options: argparse.Namespace) -> int:
    base = existing_base(options)
    failed = asyncio.run(_restore_all(base, extra_folders(options), options.ids))
    return PROBLEMS if failed else 0


async def _restore_all(base: Path, extra: Sequence[ExtraFolder], ids: Sequence[str]) -> int:
    async with open_library(base, extra) as library:
        bin_ = AssetTrash(library.db, library.host)

        async def restore(asset_id: str) -> str:
            asset = await bin_.restore(asset_id)
            path = asset.location and Path(asset.location.folder, asset.location.name)
            return f"{asset.id}  {path or asset.name}"

        return await restore_each(ids, restore)


def _empty(options: argparse.Namespace) -> int:
    base = existing_base(options)
    require_terminal_or_yes(options)
    before = None if options.older_than is None else now_ms() - options.older_than
    chosen = [entry for entry in asyncio.run(_entries(base)) if before is None or entry.deleted_at < before]
    size = written_size(_kept_bytes(chosen))
    confirm(options, f"Remove {counted(sum(e.stored is not None for e in chosen), 'file')} ({size}) for good?")
    count, freed = asyncio.run(_empty_now(base, before))
    say(f"{counted(count, 'deleted asset')} removed for good, {written_size(freed)} freed")
    return 0


async def _empty_now(base: Path, before: int | None) -> tuple[int, int]:
    async with open_library(base) as library:
        return await AssetTrash(library.db, library.host).empty(before)
