"""The files of the page: ComfyUI's own page where its package is installed, and what packs add to it."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from aiohttp import web

from .page import show_page

PACKAGE = "comfyui_frontend_package"
_FOREVER = "public, max-age=31536000, immutable"
# The page's files may have any path, so that requests that a middleware has served are matched with them as well.
_SAID_BY_OTHERS = frozenset({"cache-control", "x-content-type-options"})
_SCRIPTS = {".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".json": "application/json"}


def installed_page() -> Path | None:
    """The folder of ComfyUI's page, or None when the package is not installed."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        return None
    folder = Path(next(iter(found.submodule_search_locations))) / "static"
    return folder if (folder / "index.html").is_file() else None


@dataclass(frozen=True)
class WebFiles:
    """Serves ``page``, ComfyUI's own, or else a small page of ours; and the folder ``web`` of each pack by its name.

    Names of packs are such as need no quoting in a URL.
    """

    page: Path | None = None
    packs: Mapping[str, Path] = field(default_factory=dict)

    def add_to(self, app: web.Application) -> None:
        """Add the routes; to be called last, as the page's files may have any path."""
        app.router.add_get("/", self._show)
        for name, folder in self.packs.items():
            app.router.add_static(f"/extensions/{name}", folder / "web")
        if self.page is not None:
            app.router.add_static("/", self.page)
        app.on_response_prepare.append(self._say_how_long)

    async def scripts(self) -> Sequence[str]:
        """The paths of the scripts that the page is to load."""
        return await asyncio.to_thread(self._scripts)

    def _scripts(self) -> list[str]:
        found = [] if self.page is None else sorted((self.page / "extensions").rglob("*.js"))
        paths = [f"/{path.relative_to(self.page).as_posix()}" for path in found if self.page is not None]
        for name, folder in self.packs.items():
            web_folder = folder / "web"
            for path in sorted(web_folder.rglob("*.js")):
                paths.append(f"/extensions/{name}/{quote(path.relative_to(web_folder).as_posix())}")
        return paths

    async def _show(self, request: web.Request) -> web.StreamResponse:
        if self.page is None:
            return await show_page(request)
        return web.FileResponse(self.page / "index.html", headers={"Cache-Control": "no-cache"})

    async def _say_how_long(self, request: web.Request, response: web.StreamResponse) -> None:
        """Files of the page's build are named by what they hold; all others are asked for anew, which a 304 answers.

        Types are told here as well, as some systems map those of scripts to what browsers do not execute.
        """
        is_static = isinstance(request.match_info.route.resource, web.StaticResource)
        if not is_static or not _SAID_BY_OTHERS.isdisjoint(name.lower() for name in response.headers):
            return
        is_named_by_content = request.path.startswith("/assets/") and response.status in (200, 206, 304)
        response.headers["Cache-Control"] = _FOREVER if is_named_by_content else "no-cache"
        kind = _SCRIPTS.get(Path(request.path).suffix)
        if kind is not None and response.status in (200, 206):
            response.headers["Content-Type"] = f"{kind}; charset=utf-8"
