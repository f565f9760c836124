"""``comfy-assets trash``: what was deleted, bring it back, or remove it for good."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..assets.trash import AssetTrash
from ..db.trash import Deleted
from ..errors import ApiError
from ..host.standalone.extra_paths import ExtraFolder
from ..ids import now_ms
from .command import (
    PROBLEMS,
    Commands,
    add_base_directory,
    add_extra_paths,
    add_json,
    add_yes,
    age_ms,
    confirm,
    counted,
    existing_base,
    extra_folders,
    open_library,
    require_someone_to_ask,
    written_size,
    written_time,
)
from .terminal import complain, say


def add_to(commands: Commands) -> None:
    """Add the commands."""
    help_text = "list, restore or remove for good what was deleted"
    actions = commands.add_parser("trash", help=help_text, description=help_text).add_subparsers(
        required=True, metavar="ACTION"
    )
    listing = actions.add_parser("list", help="list what was deleted, the latest first")
    listing.set_defaults(run=_list)
    add_json(listing)
    restoring = actions.add_parser("restore", help="bring deleted assets back, with their files")
    restoring.set_defaults(run=_restore)
    add_extra_paths(restoring)
    restoring.add_argument("ids", nargs="+", metavar="ID", help="an id as trash list shows it")
    emptying = actions.add_parser("empty", help="remove the files that are in the trash, for good")
    emptying.set_defaults(run=_empty)
    emptying.add_argument(
        "--older-than", type=age_ms, metavar="AGE", help="spare what was deleted later: 12h, 30d or 8w ago"
    )
    add_yes(emptying)
    for parser in (listing, restoring, emptying):
        add_base_directory(parser)


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


async def _entries(base: Path) -> list[Deleted]:
    async with open_library(base) as library:
        return await AssetTrash(library.db, library.host).entries()


def _kept_bytes(entries: Sequence[Deleted]) -> int:
    return sum(entry.size for entry in entries if entry.stored is not None)


def _as_json(entry: Deleted) -> dict[str, Any]:
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
    failed = asyncio.run(_restore_all(base, extra_folders(options, base), options.ids))
    return PROBLEMS if failed else 0


async def _restore_all(base: Path, extra: Sequence[ExtraFolder], ids: Sequence[str]) -> int:
    """Restore what can be; answers how many could not."""
    failed = 0
    async with open_library(base, extra) as library:
        bin_ = AssetTrash(library.db, library.host)
        for asset_id in ids:
            try:
                asset = await bin_.restore(asset_id)
            except ApiError as error:
                failed += 1
                complain(f"{asset_id}: {error.message}")
            else:
                place = asset.location and Path(asset.location.folder, asset.location.name)
                say(f"{asset.id}  {place or asset.name}")
    return failed


def _empty(options: argparse.Namespace) -> int:
    base = existing_base(options)
    require_someone_to_ask(options)
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
