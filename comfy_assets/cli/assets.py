"""``comfy-assets assets`` and ``models``: list, search and tag the files of the library, and list unused models."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from ..assets.fields import folder_path, normalize_tags, normalize_title
from ..assets.saved_searches import SavedSearchService
from ..assets.service import AssetService
from ..background.interruption import Throttle
from ..db.listing import facets
from ..errors import ApiError, SavedSearchNotFoundError
from ..ids import hash_text
from ..models import (
    MISSING_TAG,
    MODEL_TYPE_PREFIX,
    Asset,
    AssetFilter,
    AssetSort,
    CategoryCount,
    FolderTerm,
    Order,
    Page,
    PageRequest,
    SavedSearch,
)
from ..search.index import SearchIndex
from ..search.query import parse_query
from .command import PROBLEMS, CommandError, Commands, add_command, add_group, add_json, add_limit
from .output import (
    Column,
    complain,
    counted,
    local_time,
    print_table,
    say,
    say_json,
    without_none,
    written_size,
    written_time,
)
from .store import Library, full_id, open_library
from .trash import add_deletion

_KINDS = ("models", "input", "output", "temp")
# The sort keys of the API by the words of the option, each with its usual order.
_SORTS: dict[str, tuple[AssetSort, Order]] = {
    "created": ("created_at", "desc"),
    "updated": ("updated_at", "desc"),
    "name": ("name", "asc"),
    "size": ("size", "desc"),
}
_ASSETS = (Column("CREATED"), Column("SIZE", True), Column("ID"), Column("FILE"))
_MODELS = (Column("SIZE", True), Column("CATEGORY"), Column("ID"), Column("FILE"))
_CATEGORIES = (Column("SIZE", True), Column("MODELS", True), Column("CATEGORY"))
_COUNTED = ("total", "kinds", "ratings", "favorites", "base_models", "orientations")
_PAGE = 500  # assets read at once
_NAMED = 20  # saved searches, where one does not exist
_SEARCH_MORE = (
    "The words and fields are those of the panel's search field, such as model:juggernaut, -blurry or rating:4.."
)
_UNUSED_MORE = (
    "A model is unused if no version of a saved workflow, no share and no job in the history names it. Workflows that"
    " were never saved, and prompts of other programs, are not known. Nothing is deleted: pass the ids to assets trash."
)


def add_to(commands: Commands) -> None:
    """Add the commands."""
    actions = add_group(
        commands,
        "assets",
        "list, search, tag and delete the files of the library",
        ("assets list --kind output", "assets search red fox", "assets tag 018f4a1c --add best"),
    )
    list_ = add_command(
        actions,
        "list",
        _list,
        "list assets, the latest first",
        ("assets list", "assets list --kind models --folder models/loras --sort size", "assets list --tag best --json"),
    )
    list_.set_defaults(query=[], saved=None)
    search = add_command(
        actions,
        "search",
        _list,
        "search assets by their names, prompts, models and tags",
        (
            "assets search red fox",
            "assets search model:juggernaut seed:42 --limit 100",
            """assets search '"golden hour" -blurry' --json""",
            'assets search --saved "Best portraits"',
        ),
        more=_SEARCH_MORE,
    )
    search.set_defaults(refuse=search.error)
    search.add_argument("query", nargs="*", metavar="WORD", help="what to look for; quote a search with a minus")
    search.add_argument(
        "--saved", metavar="NAME", help="a search that was saved in the panel; words and other options narrow it"
    )
    for parser in (list_, search):
        _add_filters(parser)
        add_json(parser)
    tag = add_command(
        actions,
        "tag",
        _tag,
        "add and remove tags",
        ("assets tag 018f4a1c --add best", "assets tag 018f4a1c 018f4b2d --add final --remove draft"),
    )
    tag.set_defaults(refuse=tag.error)  # argparse cannot require one of two options that may also be combined
    tag.add_argument("ids", nargs="+", metavar="ID", help="an id from assets list, or its first characters")
    tag.add_argument("--add", action="append", default=[], metavar="TAG", help="a tag to add (can be repeated)")
    tag.add_argument("--remove", action="append", default=[], metavar="TAG", help="a tag to remove (can be repeated)")
    _add_user(tag)
    add_deletion(actions)
    _add_models(commands)


def _add_models(commands: Commands) -> None:
    actions = add_group(commands, "models", "report on models", ("models unused", "models unused --category loras"))
    unused = add_command(
        actions,
        "unused",
        _unused,
        "list models that nothing names, the largest first",
        ("models unused", "models unused --category loras --limit 100", "models unused --json"),
        more=_UNUSED_MORE,
    )
    unused.add_argument("--category", metavar="NAME", help="only models of this category, such as loras")
    add_limit(unused, "models")
    _add_user(unused)
    add_json(unused)


def _add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kind", choices=_KINDS, help="only files in this folder of ComfyUI")
    parser.add_argument("--folder", metavar="PATH", help="only files in a folder, such as output/2026 or models/loras")
    parser.add_argument(
        "--tag", action="append", default=[], metavar="TAG", help="only with this tag (can be repeated)"
    )
    parser.add_argument("--missing", action="store_true", help="only missing files")
    parser.add_argument("--sort", choices=_SORTS, help="(default: created, or the order of a saved search)")
    add_limit(parser, "assets")
    _add_user(parser)


def _add_user(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--user", default="default", metavar="ID", help="the user, on servers with several")


def _list(options: argparse.Namespace) -> int:
    if options.saved is None and not options.query and "refuse" in options:
        options.refuse("WORD, --saved or both are required")
    page = asyncio.run(_found(options))
    if options.json:
        say_json([asset_as_json(asset) for asset in page.items])
        return 0
    print_assets(page)
    return 0


def print_assets(page: Page[Asset]) -> None:
    """Print a table of assets, and how many there are."""
    print_table(_ASSETS, map(_cells, page.items))
    say(f"{counted(page.total, 'asset')}, {len(page.items):,} shown")


def _filter(options: argparse.Namespace) -> AssetFilter:
    """Return the filter of the options. Raises ApiError."""
    search = parse_query(" ".join(options.query))
    tags = [*([options.kind] if options.kind else []), *([MISSING_TAG] if options.missing else []), *options.tag]
    return AssetFilter(
        owner=options.user,
        tags_all=normalize_tags(tags),
        words=search.words,
        excluded=search.excluded,
        ratings=search.ratings,
        kinds=search.kinds,
        folder=FolderTerm(folder_path(options.folder, "--folder")) if options.folder else None,
    )


async def _found(options: argparse.Namespace) -> Page[Asset]:
    async with open_library(options) as library:
        wanted, request = await _request(library, _filter(options), options)
        search = search_index(library)
        if wanted.words or wanted.excluded:
            library.db.require_search()
            await search.catch_up()  # however long it takes, while a request would be refused
        service = AssetService(library.db, library.host, search)
        return await first_assets(service, wanted, request, options.limit)


async def _request(
    library: Library, wanted: AssetFilter, options: argparse.Namespace
) -> tuple[AssetFilter, PageRequest]:
    """Return filter and order of a list: those of a saved search, narrowed by ``wanted``. Raises CommandError."""
    sort, order = _SORTS[options.sort or "created"]
    if options.saved is None:
        return wanted, PageRequest(sort, order)
    from ..plugin import saved_list  # here, because it imports every route

    saved, request = saved_list(await _saved(library, options.saved, options.user), options.user)
    if options.sort is not None:
        request = PageRequest(sort, order)
    return _narrowed(saved, wanted), request


async def _saved(library: Library, name: str, user: str) -> SavedSearch:
    searches = SavedSearchService(library.db, library.host)
    try:
        return await searches.named(normalize_title(name, "--saved"), user)
    except SavedSearchNotFoundError:
        names = [found.name for found in await searches.list(user)]
        known = f"; there are {', '.join(names[:_NAMED])}" if names else ""
        more = " and others" if len(names) > _NAMED else ""
        raise CommandError(f"there is no saved search named {name!r}{known}{more}") from None


def _narrowed(saved: AssetFilter, wanted: AssetFilter) -> AssetFilter:
    """Return a saved filter with the conditions of another as well; there is only one folder, that of the other."""
    return replace(
        saved,
        tags_all=(*saved.tags_all, *wanted.tags_all),
        tags_none=tuple(tag for tag in saved.tags_none if tag not in wanted.tags_all),  # as with --missing
        words=(*saved.words, *wanted.words),
        excluded=(*saved.excluded, *wanted.excluded),
        ratings=(*saved.ratings, *wanted.ratings),
        kinds=(*saved.kinds, *wanted.kinds),
        folder=wanted.folder or saved.folder,
    )


async def first_assets(service: AssetService, wanted: AssetFilter, request: PageRequest, limit: int) -> Page[Asset]:
    """Return the first of the matching assets, read page by page."""
    request = replace(request, limit=min(limit, _PAGE))
    page = await service.list(wanted, request)
    items = page.items
    while page.has_more and len(items) < limit:
        further = {"after": page.next_key} if page.next_key is not None else {"offset": len(items)}
        request = replace(request, limit=min(limit - len(items), _PAGE), **further)
        page = await service.list(wanted, request)
        items += page.items
    return Page(items, page.total, page.has_more)


def search_index(library: Library) -> SearchIndex:
    """Return the full-text index of a library."""
    return SearchIndex(library.db, library.tasks, Throttle(lambda: False))


def _path(asset: Asset) -> str:
    """Return where the file of an asset lies: below its kind of folder, as in ``output/2026/fox.png``."""
    location = asset.location
    return f"{location.logical}/{location.name}" if location is not None else asset.name


def _cells(asset: Asset) -> tuple[str, ...]:
    path = _path(asset)
    notes = [] if path.rpartition("/")[2] == asset.name else [asset.name]
    notes += [] if asset.is_present else [MISSING_TAG]
    file = f"{path} ({', '.join(notes)})" if notes else path
    return local_time(asset.created_at), written_size(asset.size), asset.id, file


def asset_as_json(asset: Asset) -> dict[str, Any]:
    """Return an asset as JSON, with the names of the API, and the path of its file."""
    location = asset.location
    members = {
        "id": asset.id,
        "name": asset.name,
        "file_path": None if location is None else _path(asset),
        "path": None if location is None else str(Path(location.folder, location.name)),
        "size": asset.size,
        "mime_type": asset.mime_type,
        "hash": None if asset.hash is None else hash_text(asset.hash),
        "tags": msgspec.json.decode(asset.tags),
        "user_metadata": None if asset.user_metadata is None else json.loads(asset.user_metadata),
        "job_id": asset.job_id,
        "created_at": written_time(asset.created_at),
        "updated_at": written_time(asset.updated_at),
    }
    return without_none(members)


def _tag(options: argparse.Namespace) -> int:
    if not options.add and not options.remove:
        options.refuse("--add, --remove or both are required")
    add, remove = normalize_tags(options.add, "--add"), normalize_tags(options.remove, "--remove")
    return asyncio.run(_tag_all(options, add, remove))


async def _tag_all(options: argparse.Namespace, add: tuple[str, ...], remove: tuple[str, ...]) -> int:
    done = 0
    async with open_library(options) as library:
        service = AssetService(library.db, library.host, search_index(library))
        for text in options.ids:
            try:
                say(await _tag_one(library, service, text, add, remove, options.user))
                done += 1
            except (ApiError, CommandError) as error:
                complain(f"{text}: {error}")
    if done == len(options.ids):
        return 0
    return PROBLEMS if done else CommandError.status


async def _tag_one(
    library: Library, service: AssetService, text: str, add: tuple[str, ...], remove: tuple[str, ...], user: str
) -> str:
    asset_id = await full_id(library.db, "asset", text)
    if remove:
        await service.remove_tags(asset_id, remove, user)
    if add:
        await service.add_tags(asset_id, add, user)
    asset = await service.get(asset_id, user)
    return f"{asset.id}  {asset.name}  {_listed(msgspec.json.decode(asset.tags, type=list[str]))}"


def _listed(tags: Iterable[str]) -> str:
    return ", ".join(tags)


def _unused(options: argparse.Namespace) -> int:
    found, total, sums, size = asyncio.run(_find_unused(options))
    if options.json:
        by_category = [msgspec.structs.asdict(each) for each in sums]
        models = [_model_as_json(asset) for asset in found]
        say_json({"total": total, "size": size, "categories": by_category, "models": models})
        return 0
    print_table(
        _MODELS, [(written_size(each.size), ", ".join(each.categories), each.id, _path(each)) for each in found]
    )
    if len(sums) > 1:
        say("")
        print_table(_CATEGORIES, [(written_size(each.size), f"{each.count:,}", each.name) for each in sums])
    say(f"{counted(total, 'unused model')}, {written_size(size)}, {len(found):,} shown")
    return 0


async def _find_unused(options: argparse.Namespace) -> tuple[Sequence[Asset], int, list[CategoryCount], int]:
    """Return the largest unused models, the number of all, their sizes by category, and in total."""
    tags = ["models", *([MODEL_TYPE_PREFIX + options.category] if options.category else [])]
    wanted = AssetFilter(options.user, tags_all=tuple(tags), tags_none=(MISSING_TAG,), is_used=False)
    async with open_library(options) as library:
        service = AssetService(library.db, library.host, search_index(library))
        page = await first_assets(service, wanted, PageRequest("size", "desc"), options.limit)
        counts = await facets.facets(library.db, dict.fromkeys(_COUNTED, wanted))
        return page.items, page.total, counts.categories, counts.total_size


def _model_as_json(asset: Asset) -> dict[str, Any]:
    return {"id": asset.id, "file_path": _path(asset), "size": asset.size, "categories": asset.categories}
