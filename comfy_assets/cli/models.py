"""``comfy-assets models``: models that nothing names, and the space that they take."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

import msgspec

from ..db import assets
from ..db.connection import Database
from ..db.listing import facets
from ..models import MISSING_TAG, MODEL_TYPE_PREFIX, Asset, AssetFilter, CategoryCount, PageRequest
from .command import Commands, add_command, add_group, add_json, add_limit
from .output import Column, counted, print_table, say, say_json, written_size
from .store import open_library

_COLUMNS = (Column("SIZE", True), Column("CATEGORY"), Column("ID"), Column("FILE"))
_SUMS = (Column("SIZE", True), Column("MODELS", True), Column("CATEGORY"))
_PAGE = 500  # models read at once
_MORE = (
    "A model is unused if no version of a saved workflow, no share and no job in the history names it. Workflows that"
    " were never saved, and prompts of other programs, are not known. Nothing is deleted: pass the ids to assets trash."
)


def add_to(commands: Commands) -> None:
    """Add the commands."""
    actions = add_group(commands, "models", "report on models", ("models unused", "models unused --category loras"))
    unused = add_command(
        actions,
        "unused",
        _unused,
        "list models that nothing names, the largest first",
        ("models unused", "models unused --category loras --limit 100", "models unused --json"),
        more=_MORE,
    )
    unused.add_argument("--category", metavar="NAME", help="only models of this category, such as loras")
    add_limit(unused, "models")
    unused.add_argument("--user", default="default", metavar="ID", help="the user, on servers with several")
    add_json(unused)


def _unused(options: argparse.Namespace) -> int:
    found, total, sums, size = asyncio.run(_find(options))
    if options.json:
        by_category = [msgspec.structs.asdict(each) for each in sums]
        models = [_as_json(asset) for asset in found]
        say_json({"total": total, "size": size, "categories": by_category, "models": models})
        return 0
    print_table(
        _COLUMNS, [(written_size(each.size), ", ".join(_categories(each)), each.id, _path(each)) for each in found]
    )
    if len(sums) > 1:
        say("")
        print_table(_SUMS, [(written_size(each.size), f"{each.count:,}", each.name) for each in sums])
    say(f"{counted(total, 'unused model')}, {written_size(size)}, {len(found):,} shown")
    return 0


async def _find(options: argparse.Namespace) -> tuple[list[Asset], int, list[CategoryCount], int]:
    """Return the largest unused models, the number of all, their sizes by category, and in total."""
    tags = ["models", *([MODEL_TYPE_PREFIX + options.category] if options.category else [])]
    wanted = AssetFilter(options.user, tags_all=tuple(tags), tags_none=(MISSING_TAG,), is_used=False)
    async with open_library(options) as library:
        found, total = await _listed(library.db, wanted, options.limit)
        counts = await facets.facets(library.db, dict.fromkeys(_FACETS, wanted))
        return found, total, counts.categories, counts.total_size


_FACETS = ("total", "kinds", "ratings", "favorites", "base_models", "orientations")


async def _listed(db: Database, wanted: AssetFilter, limit: int) -> tuple[list[Asset], int]:
    found: list[Asset] = []
    request = PageRequest("size", "desc", min(limit, _PAGE))
    while True:
        page = await assets.list_page(db, wanted, request)
        found += page.items
        if not page.has_more or len(found) >= limit:
            return found, page.total
        request = msgspec.structs.replace(request, limit=min(limit - len(found), _PAGE), after=page.next_key)


def _categories(asset: Asset) -> list[str]:
    tags = msgspec.json.decode(asset.tags, type=list[str])
    return [tag.removeprefix(MODEL_TYPE_PREFIX) for tag in tags if tag.startswith(MODEL_TYPE_PREFIX)]


def _path(asset: Asset) -> str:
    location = asset.location
    return f"{location.logical}/{location.name}" if location is not None else asset.name


def _as_json(asset: Asset) -> dict[str, Any]:
    return {"id": asset.id, "file_path": _path(asset), "size": asset.size, "categories": _categories(asset)}
