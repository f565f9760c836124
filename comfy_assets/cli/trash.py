"""``comfy-assets trash``, and the actions of ``assets`` that delete and restore assets."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..assets.trash import AssetTrash, DeletionAction, RestoredAsset
from ..assets.trash_purge import EmptiedTrash, TrashPurge
from ..db import lookup
from ..db.lookup import NamedAsset
from ..db.trash import DeletedAsset
from ..errors import ApiError
from ..ids import now_ms
from .command import (
    PROBLEMS,
    CommandError,
    Commands,
    add_command,
    add_extra_paths,
    add_group,
    add_json,
    add_yes,
    age_ms,
    confirm,
    require_terminal_or_yes,
    restore_each,
)
from .output import Column, complain, counted, local_time, print_table, say, say_json, written_size, written_time
from .store import Library, existing_base, full_id, open_library

_KINDS = {"trashed": "trashed", "removed": "removed", "left-out": "left_out"}
_COLUMNS = (Column("DELETED"), Column("SIZE", True), Column("KEPT"), Column("ID"), Column("NAME"))
_MOST_NAMED = 5  # of several assets that a text means
_WHICH = "Each is an id or its first characters, a path such as output/a.png, or a name that only one asset has."


def add_to(commands: Commands) -> None:
    """Add the commands."""
    actions = add_group(
        commands,
        "trash",
        "list and restore deleted assets, or empty the trash",
        ("trash list", "trash restore 018f4a1c", "trash empty --older-than 30d"),
    )
    list_ = add_command(
        actions,
        "list",
        _list,
        "list deleted assets, the latest first",
        ("trash list", "trash list portrait --kind trashed", "trash list --json"),
    )
    list_.add_argument("name", nargs="?", default="", metavar="NAME", help="only those whose names contain this")
    list_.add_argument(
        "--kind",
        choices=_KINDS,
        help="only those whose files are in the trash (trashed), were removed from the library and stayed in their "
        "places (removed), or are nothing but left out of it (left-out)",
    )
    add_json(list_)
    restore = add_command(
        actions, "restore", _restore, "restore deleted assets with their files", ("trash restore 018f4a1c",)
    )
    restore.add_argument("ids", nargs="+", metavar="ID", help="an id from trash list, or its first characters")
    add_extra_paths(restore)
    empty = add_command(
        actions,
        "empty",
        _empty,
        "remove the files in the trash for good",
        ("trash empty", "trash empty --older-than 30d --yes"),
    )
    empty.add_argument("--older-than", type=age_ms, metavar="AGE", help="only assets deleted longer ago: 12h, 30d, 8w")
    add_yes(empty)


def _list(options: argparse.Namespace) -> int:
    entries = asyncio.run(_entries(options, options.kind))
    entries = [entry for entry in entries if options.name.casefold() in entry.name.casefold()]
    if options.json:
        say_json([_as_json(entry) for entry in entries])
        return 0
    print_table(_COLUMNS, map(_cells, entries))
    say(f"{counted(len(entries), 'deleted asset')}, {written_size(_kept_bytes(entries))} of files in the trash")
    return 0


def _cells(entry: DeletedAsset) -> tuple[str, ...]:
    kept = "file in the trash" if entry.stored is not None else "file in its place"
    return local_time(entry.deleted_at), written_size(entry.size), kept, entry.id, entry.name


async def _entries(options: argparse.Namespace, kind: str | None = None) -> list[DeletedAsset]:
    """Return the deleted assets of a kind, or of all kinds but the one of which nothing is left."""
    kinds = [_KINDS[kind]] if kind is not None else ["trashed", "removed"]
    async with open_library(options) as library:
        entries = await AssetTrash(library.db, library.host).entries()
    return [entry for entry in entries if entry.kind in kinds]


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
    return asyncio.run(_restore_all(options))


async def _restore_all(options: argparse.Namespace) -> int:
    async with open_library(options) as library:
        bin_ = AssetTrash(library.db, library.host)

        async def restore(asset_id: str) -> str:
            restored = await bin_.restore(await full_id(library.db, "deleted asset", asset_id))
            return restored_line(restored)

        return await restore_each(options.ids, restore)


def _empty(options: argparse.Namespace) -> int:
    require_terminal_or_yes(options)
    before = None if options.older_than is None else now_ms() - options.older_than
    chosen = [entry for entry in asyncio.run(_entries(options)) if before is None or entry.deleted_at < before]
    size = written_size(_kept_bytes(chosen))
    confirm(options, f"Remove {counted(sum(e.stored is not None for e in chosen), 'file')} ({size}) for good?")
    done = asyncio.run(_empty_now(options, before))
    for deleted, error in done.failed:
        complain(f"{deleted.id}  {deleted.name}: {error.message}")
    say(f"{counted(done.removed, 'deleted asset')} removed for good, {written_size(done.freed)} freed")
    return PROBLEMS if done.failed else 0


async def _empty_now(options: argparse.Namespace, before: int | None) -> EmptiedTrash:
    async with open_library(options) as library:
        bin_ = AssetTrash(library.db, library.host)
        return await TrashPurge(library.db, library.host, bin_).empty(before)


def add_deletion(actions: Commands) -> None:
    """Add ``remove``, ``trash`` and ``restore`` to the actions of ``comfy-assets assets``."""
    _add_action(actions, "remove", "remove assets from the library, and keep their files in their places")
    _add_action(actions, "trash", "move the files of assets to the trash")
    restore = add_command(
        actions,
        "restore",
        _restore_assets,
        "restore removed and trashed assets",
        ("assets restore 018f4a1c", "assets restore output/fox.png"),
        more=_WHICH,
    )
    restore.add_argument("assets", nargs="+", metavar="ASSET", help="a deleted asset, see trash list")
    add_extra_paths(restore)


def _add_action(actions: Commands, action: DeletionAction, help_text: str) -> None:
    examples = (f"assets {action} output/fox.png", f"assets {action} 018f4a1c --force --yes")
    parser = add_command(actions, action, _delete, help_text, examples, more=f"{_WHICH} They can be restored.")
    parser.add_argument("assets", nargs="+", metavar="ASSET", help="an asset of the library")
    parser.add_argument("--force", action="store_true", help="also those that workflows, shares or waiting jobs use")
    add_yes(parser)
    add_extra_paths(parser)
    parser.set_defaults(action=action)


def _delete(options: argparse.Namespace) -> int:
    existing_base(options)  # refuses another folder before the question
    require_terminal_or_yes(options)
    what = "Remove {} from the library?" if options.action == "remove" else "Move {} to the trash?"
    confirm(options, what.format(counted(len(options.assets), "asset")))
    return asyncio.run(_delete_all(options))


async def _delete_all(options: argparse.Namespace) -> int:
    action: DeletionAction = options.action
    async with open_library(options) as library:
        bin_ = AssetTrash(library.db, library.host)

        async def delete(text: str) -> str:
            asset = await find_asset(library, text)
            try:
                await bin_.delete(asset.id, asset.owner, action, force=options.force, is_operator=True)
            except ApiError as error:
                raise CommandError(str(error).replace("force=true", "--force")) from error
            return f"{asset.id}  {asset.path or asset.name}"

        return await restore_each(options.assets, delete)


async def find_asset(library: Library, text: str) -> NamedAsset:
    """Return the asset that a text means. Raises CommandError, also if it means several."""
    found = await lookup.assets_named(library.db, text, str(library.base / text))
    if not found:
        raise CommandError("There is no such asset.")
    if len(found) > 1:
        raise CommandError(f"Several assets are meant: {_named([each.path or each.id for each in found])}.")
    return found[0]


def _named(texts: Sequence[str]) -> str:
    rest = len(texts) - _MOST_NAMED
    return ", ".join(texts[:_MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _restore_assets(options: argparse.Namespace) -> int:
    return asyncio.run(_restore_named(options))


async def _restore_named(options: argparse.Namespace) -> int:
    async with open_library(options) as library:
        bin_ = AssetTrash(library.db, library.host)

        async def restore(text: str) -> str:
            restored = await bin_.restore(_deleted(await bin_.entries(), text, library.base).id)
            return restored_line(restored)

        return await restore_each(options.assets, restore)


def restored_line(restored: RestoredAsset) -> str:
    """Return a restored asset as commands print it: its id and place, and whether it has another name."""
    taken = "  (its former name is taken)" if restored.is_renamed else ""
    return f"{restored.asset.id}  {restored.path or restored.asset.name}{taken}"


def _deleted(entries: Sequence[DeletedAsset], text: str, base: Path) -> DeletedAsset:
    """Return the deleted asset that a text means. Raises CommandError, also if it means several."""
    place = base / text
    tests: list[Callable[[DeletedAsset], bool]] = [
        lambda each: each.id == text.lower(),
        lambda each: each.file_name is not None and Path(str(each.folder), each.file_name) == place,
        lambda each: text in (each.name, each.file_name),
        lambda each: len(text) >= lookup.SHORT_ID and each.id.startswith(text.lower()),
    ]
    for test in tests:
        found = [each for each in entries if test(each)]
        if len(found) > 1:
            raise CommandError(f"Several deleted assets are meant: {_named([each.id for each in found])}.")
        if found:
            return found[0]
    raise CommandError("There is no such asset.")
