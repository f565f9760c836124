"""``comfy-assets assets remove``, ``trash`` and ``restore``: take assets out of the library, and bring them back."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from ..assets.trash import AssetTrash, DeletionAction, RestoredAsset
from ..db import lookup
from ..db.lookup import NamedAsset
from ..db.trash import DeletedAsset
from ..errors import ApiError
from .base_directory import existing_base
from .command import (
    CommandError,
    Commands,
    add_command,
    add_extra_paths,
    add_yes,
    confirm,
    require_terminal_or_yes,
    restore_each,
)
from .output import counted
from .store import Library, open_library

_MOST_NAMED = 5  # of several assets that a text means
_WHICH = "Each is an id or its first characters, a path such as output/a.png, or a name that only one asset has."


def add_actions(actions: Commands) -> None:
    """Add the commands."""
    _add_deletion(actions, "remove", "remove assets from the library, and keep their files in their places")
    _add_deletion(actions, "trash", "move the files of assets to the trash")
    restore = add_command(
        actions,
        "restore",
        _restore,
        "restore removed and trashed assets",
        ("assets restore 018f4a1c", "assets restore output/fox.png"),
        more=_WHICH,
    )
    restore.add_argument("assets", nargs="+", metavar="ASSET", help="a deleted asset, see trash list")
    add_extra_paths(restore)


def _add_deletion(actions: Commands, action: DeletionAction, help_text: str) -> None:
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


def _restore(options: argparse.Namespace) -> int:
    return asyncio.run(_restore_all(options))


def restored_line(restored: RestoredAsset) -> str:
    """Return a restored asset as commands print it: its id and place, and whether it has another name."""
    taken = "  (its former name is taken)" if restored.is_renamed else ""
    return f"{restored.asset.id}  {restored.path or restored.asset.name}{taken}"


async def _restore_all(options: argparse.Namespace) -> int:
    async with open_library(options) as library:
        bin_ = AssetTrash(library.db, library.host)

        async def restore(text: str) -> str:
            restored = await bin_.restore(_deleted(await bin_.entries(), text, library.base).id)
            return restored_line(restored)

        return await restore_each(options.assets, restore)


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
