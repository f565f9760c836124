"""Routes that pages use at their start: texts and templates of node packs, and model folders."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from aiohttp import web

from ... import packs
from ...names import UnsafeName, relative_parts
from .folders import BaseFolders
from .http import Refusal, json_response

_HIDDEN_CATEGORIES = frozenset({"configs"})


class CatalogueRoutes:
    """Serves files of node packs and lists model folders. No code of a pack is executed."""

    def __init__(self, folders: BaseFolders, own_packs: Collection[Path]) -> None:
        self._folders = folders
        self._own_packs = own_packs

    @property
    def _packs(self) -> Sequence[Path]:
        return self._folders.code

    async def translations(self, request: web.Request) -> web.Response:
        return json_response(await asyncio.to_thread(packs.translations, self._packs, self._own_packs))

    async def templates(self, request: web.Request) -> web.Response:
        return json_response(await asyncio.to_thread(packs.templates, self._packs))

    async def template(self, request: web.Request) -> web.StreamResponse:
        """Send an example workflow, or its picture."""
        try:
            parts = relative_parts(request.match_info["file"])
        except UnsafeName as error:
            raise Refusal(f"The name is refused: {error}.") from error
        path = await asyncio.to_thread(packs.template_file, self._packs, request.match_info["pack"], parts)
        if path is None:
            raise Refusal("There is no such template.", status=404)
        return web.FileResponse(path, headers={"X-Content-Type-Options": "nosniff"})

    async def subgraphs(self, request: web.Request) -> web.Response:
        found = await asyncio.to_thread(packs.blueprints, self._packs)
        return json_response({each: blueprint.describe() for each, blueprint in found.items()})

    async def subgraph(self, request: web.Request) -> web.Response:
        found = (await asyncio.to_thread(packs.blueprints, self._packs)).get(request.match_info["id"])
        data = None if found is None else await asyncio.to_thread(found.read)
        if found is None or data is None:
            raise Refusal("There is no such subgraph.", status=404)
        return json_response({**found.describe(), "data": data})

    async def node_replacements(self, request: web.Request) -> web.Response:
        """Return no replacements: packs register them when they are loaded, and no pack is loaded here."""
        return json_response({})

    async def model_folders(self, request: web.Request) -> web.Response:
        return json_response(
            [
                {
                    "name": category,
                    "folders": [str(path) for path in self._folders.category_paths(category)],
                    "extensions": sorted(self._folders.category_suffixes(category)),
                }
                for category in self._folders.categories()
                if category not in _HIDDEN_CATEGORIES
            ]
        )

    async def models_in_folder(self, request: web.Request) -> web.Response:
        category = request.match_info["folder"]
        if category not in self._folders.categories():
            raise Refusal("There is no such folder.", status=404)
        return json_response(await asyncio.to_thread(_models, self._folders, category))


def _models(folders: BaseFolders, category: str) -> list[dict[str, Any]]:
    """List the models of a category, without files that disappear meanwhile."""
    found = []
    for index, root, name in folders.models_of(category):
        try:
            status = (root / name).stat()
        except OSError:
            continue
        times = {"modified": status.st_mtime, "created": status.st_ctime}
        found.append({"name": name, "pathIndex": index, **times, "size": status.st_size})
    return found
