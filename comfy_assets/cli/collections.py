"""``comfy-assets collections``: list, show and change the collections of a user."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from ..assets.collections import TRASH_DAYS, CollectionService, ListedCollection, MemberChange
from ..assets.fields import normalize_title
from ..assets.host_files import AssetAliases
from ..assets.service import AssetService
from ..db import collections as rows
from ..errors import CollectionNotFoundError
from ..models import Asset, AssetFilter, Collection, CollectionEdit, CollectionPage, Page, PageRequest
from .assets import asset_as_json, first_assets, print_assets, search_index
from .command import CommandError, Commands, add_command, add_group, add_json, add_limit, restore_each
from .output import Column, counted, local_time, print_table, say, say_json, without_none, written_time
from .store import Library, full_id, open_library
from .trash import find_asset

_COLUMNS = (Column("CHANGED"), Column("ASSETS", True), Column("ID"), Column("NAME"))
_DELETED = (Column("DELETED"), Column("ID"), Column("NAME"))
_PAGE = 500  # collections read at once
_WHICH = "A collection is named by its name, its id, or the first characters of that."
_ASSETS = "An asset is named by its id, by a path such as output/a.png, or by a name that only one asset has."


def add_to(commands: Commands) -> None:
    """Add the commands."""
    actions = add_group(
        commands,
        "collections",
        "list, show and change collections of assets",
        (
            "collections list",
            "collections create Portraits output/anna.png output/ben.png",
            "collections show Portraits",
            "collections add Portraits 018f4a1c",
        ),
    )
    list_ = add_command(
        actions,
        "list",
        _list,
        "list collections by name",
        ("collections list", "collections list --deleted", "collections list --json"),
    )
    list_.add_argument("--deleted", action="store_true", help="those that can be restored")
    show = add_command(
        actions,
        "show",
        _show,
        "list the assets of a collection in its order",
        ("collections show Portraits", "collections show Portraits --limit 1000 --json"),
        more=_WHICH,
    )
    _add_collection(show)
    add_limit(show, "assets")
    for parser in (list_, show):
        add_json(parser)
    create = add_command(
        actions,
        "create",
        _create,
        "create a collection",
        ("collections create Portraits", "collections create Portraits output/anna.png 018f4a1c"),
        more=_ASSETS,
    )
    create.add_argument("name", metavar="NAME", help="a name that no other collection of the user has")
    create.add_argument("assets", nargs="*", metavar="ASSET", help="an asset of the library")
    create.add_argument("--description", metavar="TEXT", help="any text")
    rename = add_command(
        actions, "rename", _rename, "rename a collection", ('collections rename Portraits "Best portraits"',)
    )
    _add_collection(rename)
    rename.add_argument("name", metavar="NAME", help="the new name")
    delete = add_command(
        actions,
        "delete",
        _delete,
        "delete collections; their assets stay",
        ("collections delete Portraits",),
        more=f"{_WHICH} They can be restored for {TRASH_DAYS} days.",
    )
    delete.add_argument("collections", nargs="+", metavar="COLLECTION", help="see collections list")
    restore = add_command(
        actions, "restore", _restore, "restore deleted collections", ("collections restore 018f4a1c",)
    )
    restore.add_argument("ids", nargs="+", metavar="ID", help="an id from collections list --deleted")
    add = add_command(
        actions,
        "add",
        _add,
        "add assets at the end of a collection",
        ("collections add Portraits output/carl.png",),
        more=f"{_WHICH} {_ASSETS}",
    )
    remove = add_command(
        actions,
        "remove",
        _remove,
        "take assets out of a collection; the assets stay",
        ("collections remove Portraits output/carl.png",),
        more=f"{_WHICH} {_ASSETS}",
    )
    for parser in (add, remove):
        _add_collection(parser)
        parser.add_argument("assets", nargs="+", metavar="ASSET", help="an asset of the library")
    for parser in (list_, show, create, rename, delete, restore, add, remove):
        parser.add_argument("--user", default="default", metavar="ID", help="the user, on servers with several")


def _add_collection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("collection", metavar="COLLECTION", help="see collections list")


@dataclass(frozen=True)
class _Opened:
    """The collections of a user in an open library."""

    library: Library
    service: CollectionService
    user: str

    async def find(self, text: str) -> Collection:
        """Return the collection that a text names. Raises CollectionNotFoundError, CommandError if it names several."""
        found = await rows.by_name(self.library.db, text.strip(), self.user)
        if found is None:
            collection_id = await full_id(self.library.db, "collection", text)
            found = await rows.get(self.library.db, collection_id, self.user)
        if found is None:
            raise CollectionNotFoundError(f"There is no collection named {text}.")
        return found

    async def asset_ids(self, texts: Sequence[str]) -> list[str]:
        """Return the ids of the assets that texts name. Raises CommandError if one names none, or several."""
        ids = []
        for text in texts:
            try:
                ids.append((await find_asset(self.library, text)).id)
            except CommandError as error:
                raise CommandError(f"{text}: {error}") from error
        return ids


@asynccontextmanager
async def _open(options: argparse.Namespace) -> AsyncIterator[_Opened]:
    async def outputs_recorded() -> None:  # only a server has jobs that run
        return

    async with open_library(options) as library:
        aliases = AssetAliases(library.db, library.host, outputs_recorded)
        yield _Opened(library, CollectionService(library.db, library.host, aliases), options.user)


def _list(options: argparse.Namespace) -> int:
    if options.deleted:
        return _list_deleted(options)
    found = asyncio.run(_all(options))
    if options.json:
        say_json([_as_json(each) for each in found])
        return 0
    print_table(
        _COLUMNS,
        [
            (local_time(each.collection.updated_at), str(each.asset_count), each.collection.id, each.collection.name)
            for each in found
        ],
    )
    say(counted(len(found), "collection"))
    return 0


async def _all(options: argparse.Namespace) -> Sequence[ListedCollection]:
    found: list[ListedCollection] = []
    async with _open(options) as opened:
        while True:
            page = CollectionPage("", None, "name", "asc", _PAGE, len(found))
            part, total = await opened.service.list(page, opened.user)
            found += part
            if not part or len(found) >= total:
                return found


def _list_deleted(options: argparse.Namespace) -> int:
    async def deleted() -> list[tuple[Collection, int]]:
        async with _open(options) as opened:
            return await rows.deleted(opened.library.db, opened.user)

    found = asyncio.run(deleted())
    if options.json:
        members = [{"id": each.id, "name": each.name, "deleted_at": written_time(at)} for each, at in found]
        say_json(members)
        return 0
    print_table(_DELETED, [(local_time(at), each.id, each.name) for each, at in found])
    say(f"{counted(len(found), 'deleted collection')}, kept for {TRASH_DAYS} days")
    return 0


def _as_json(listed: ListedCollection) -> dict[str, Any]:
    """Return a collection as JSON, with the names of the API."""
    collection = listed.collection
    members = {
        "id": collection.id,
        "name": collection.name,
        "description": collection.description or None,
        "asset_count": listed.asset_count,
        "version": collection.version,
        "created_at": written_time(collection.created_at),
        "updated_at": written_time(collection.updated_at),
    }
    return without_none(members)


def _show(options: argparse.Namespace) -> int:
    async def members() -> Page[Asset]:
        async with _open(options) as opened:
            collection = await opened.find(options.collection)
            service = AssetService(opened.library.db, opened.library.host, search_index(opened.library))
            wanted = AssetFilter(owner=opened.user, collection=collection.id)
            request = PageRequest("collection", "asc", collection=collection.id)
            return await first_assets(service, wanted, request, options.limit)

    page = asyncio.run(members())
    if options.json:
        say_json([asset_as_json(asset) for asset in page.items])
    else:
        print_assets(page)
    return 0


def _create(options: argparse.Namespace) -> int:
    name = normalize_title(options.name)

    async def create() -> ListedCollection:
        async with _open(options) as opened:
            ids = await opened.asset_ids(options.assets)
            return await opened.service.create(name, options.description or None, ids, opened.user)

    return _print_one(asyncio.run(create()))


def _rename(options: argparse.Namespace) -> int:
    change = CollectionEdit(name=normalize_title(options.name))

    async def rename() -> ListedCollection:
        async with _open(options) as opened:
            collection = await opened.find(options.collection)
            return await opened.service.update(collection.id, change, opened.user)

    return _print_one(asyncio.run(rename()))


def _print_one(listed: ListedCollection) -> int:
    say(f"{listed.collection.id}  {listed.collection.name}  ({counted(listed.asset_count, 'asset')})")
    return 0


def _delete(options: argparse.Namespace) -> int:
    async def delete(opened: _Opened, text: str) -> str:
        collection = await opened.find(text)
        await opened.service.delete(collection.id, opened.user)
        return f"{collection.id}  {collection.name}"

    return asyncio.run(_each(options, options.collections, delete))


def _restore(options: argparse.Namespace) -> int:
    async def restore(opened: _Opened, text: str) -> str:
        collection_id = await full_id(opened.library.db, "deleted collection", text)
        restored = await opened.service.restore(collection_id, opened.user)
        return f"{restored.collection.id}  {restored.collection.name}"

    return asyncio.run(_each(options, options.ids, restore))


async def _each(
    options: argparse.Namespace, texts: Sequence[str], change: Callable[[_Opened, str], Awaitable[str]]
) -> int:
    async with _open(options) as opened:
        return await restore_each(texts, lambda text: change(opened, text))


def _add(options: argparse.Namespace) -> int:
    async def add(opened: _Opened, collection: Collection, ids: Sequence[str]) -> MemberChange:
        return await opened.service.add(collection.id, ids, opened.user)

    return _change(options, add, "added", "already there")


def _remove(options: argparse.Namespace) -> int:
    async def remove(opened: _Opened, collection: Collection, ids: Sequence[str]) -> MemberChange:
        return await opened.service.remove(collection.id, ids, opened.user)

    return _change(options, remove, "removed", "not there")


def _change(
    options: argparse.Namespace,
    change: Callable[[_Opened, Collection, Sequence[str]], Awaitable[MemberChange]],
    done: str,
    otherwise: str,
) -> int:
    async def work() -> MemberChange:
        async with _open(options) as opened:
            collection = await opened.find(options.collection)
            return await change(opened, collection, await opened.asset_ids(options.assets))

    result = asyncio.run(work())
    rest = f", {result.unchanged:,} {otherwise}" if result.unchanged else ""
    say(f"{counted(result.changed, 'asset')} {done}{rest}; {counted(result.listed.asset_count, 'asset')} in all")
    return 0
