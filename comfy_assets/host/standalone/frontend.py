"""The files of the page: ComfyUI's own page where its package is installed, and what packs add to it."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from aiohttp import web

from ... import packs, panel_page
from ...names import UnsafeName, relative_parts
from .folders import BaseFolders
from .http import Refusal, RouteTable, json_response

PACKAGE = "comfyui_frontend_package"
WEB_PATH = "extensions/comfy-assets"
_IMMUTABLE = "public, max-age=31536000, immutable"
# The page's files may have any path, so that requests that a middleware has served are matched with them as well.
_CACHE_HEADERS = frozenset({"cache-control", "x-content-type-options"})
_SCRIPTS = {".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".json": "application/json"}


def installed_page() -> Path | None:
    """The folder of ComfyUI's page, or None when the package is not installed."""
    found = importlib.util.find_spec(PACKAGE)  # not imported: only its files are of interest
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
        app.on_response_prepare.append(self._set_headers)

    async def scripts(self) -> Sequence[str]:
        """The paths of the scripts that the page is to load."""
        return await asyncio.to_thread(self._scripts)

    def _scripts(self) -> list[str]:
        found = [] if self.page is None else sorted((self.page / "extensions").rglob("*.js"))
        paths = [f"/{path.relative_to(self.page).as_posix()}" for path in found if self.page is not None]
        for name, folder in self.packs.items():
            web_folder = folder / "web"
            # Modules for this server's pages alone: ComfyUI's pages load files with the suffix .js.
            for path in (*sorted(web_folder.rglob("*.js")), *sorted((web_folder / "standalone").glob("*.mjs"))):
                # Files of packs may have any name, unlike those of the page's build.
                paths.append(f"/extensions/{name}/{quote(path.relative_to(web_folder).as_posix())}")
        return paths

    async def _show(self, request: web.Request) -> web.StreamResponse:
        if self.page is None:
            return await show_page(request)
        # Revalidated at each visit: it names the scripts of the installed version.
        return web.FileResponse(self.page / "index.html", headers={"Cache-Control": "no-cache"})

    async def _set_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        """Set how long browsers keep a file, and the type of scripts.

        Files of the page's build have a hash in their name and never change; all others are revalidated. Some systems
        map the suffixes of scripts to types that browsers do not execute.
        """
        is_static = isinstance(request.match_info.route.resource, web.StaticResource)
        if not is_static or not _CACHE_HEADERS.isdisjoint(name.lower() for name in response.headers):
            return
        is_named_by_content = request.path.startswith("/assets/") and response.status in (200, 206, 304)
        response.headers["Cache-Control"] = _IMMUTABLE if is_named_by_content else "no-cache"
        kind = _SCRIPTS.get(Path(request.path).suffix)
        if kind is not None and response.status in (200, 206):
            response.headers["Content-Type"] = f"{kind}; charset=utf-8"


class PackRoutes:
    """The routes of what node packs add to the page: scripts, texts, example workflows and subgraphs.

    No code of a pack is executed.
    """

    def __init__(self, folders: BaseFolders, web_files: WebFiles) -> None:
        self._folders = folders
        self._web_files = web_files

    def routes(self) -> RouteTable:
        return [
            ("GET", "/extensions", self._scripts),
            ("GET", "/i18n", self._translations),
            ("GET", "/workflow_templates", self._templates),
            ("GET", "/workflow_templates/{pack}/{file:.+}", self._template),
            ("GET", "/global_subgraphs", self._subgraphs),
            ("GET", "/global_subgraphs/{id}", self._subgraph),
        ]

    async def _scripts(self, request: web.Request) -> web.Response:
        return json_response(await self._web_files.scripts())

    async def _translations(self, request: web.Request) -> web.Response:
        return json_response(
            await asyncio.to_thread(packs.translations, self._folders.code, self._web_files.packs.values())
        )

    async def _templates(self, request: web.Request) -> web.Response:
        return json_response(await asyncio.to_thread(packs.templates, self._folders.code))

    async def _template(self, request: web.Request) -> web.StreamResponse:
        """Send an example workflow, or its picture."""
        try:
            parts = relative_parts(request.match_info["file"])
        except UnsafeName as error:
            raise Refusal(f"The name is refused: {error}.") from error
        path = await asyncio.to_thread(packs.template_file, self._folders.code, request.match_info["pack"], parts)
        if path is None:
            raise Refusal("There is no such template.", status=404)
        return web.FileResponse(path, headers={"X-Content-Type-Options": "nosniff"})

    async def _subgraphs(self, request: web.Request) -> web.Response:
        found = await asyncio.to_thread(packs.blueprints, self._folders.code)
        return json_response({each: blueprint.describe() for each, blueprint in found.items()})

    async def _subgraph(self, request: web.Request) -> web.Response:
        found = (await asyncio.to_thread(packs.blueprints, self._folders.code)).get(request.match_info["id"])
        data = None if found is None else await asyncio.to_thread(found.read)
        if found is None or data is None:
            raise Refusal("There is no such subgraph.", status=404)
        return json_response({**found.describe(), "data": data})


_ABOUT = """<header>
<h1>comfy-assets, standalone</h1>
<p>This server has ComfyUI's API and the assets API without ComfyUI. It manages a library of models,
inputs and outputs, and runs workflows of a few image nodes. It has no diffusion models and generates
no images.</p>
<p>Install <code>comfyui-frontend-package</code> to see ComfyUI's own page here.</p>
<ul>
<li><a href="assets">The library</a> in a page of its own</li>
<li><a href="api/docs">The API</a>: its description</li>
<li><a href="api/assets"><code>/api/assets</code></a>: the library</li>
<li><a href="api/jobs"><code>/api/jobs</code></a>: the jobs</li>
<li><a href="api/assets/seed/status"><code>/api/assets/seed/status</code></a>: the progress of the latest scan</li>
<li><a href="system_stats"><code>/system_stats</code></a>: this machine</li>
</ul>
</header>
"""


async def show_page(request: web.Request) -> web.Response:
    """Send the page at ``/``."""
    return web.Response(
        body=panel_page.markup(WEB_PATH, "comfy-assets, standalone", _ABOUT).encode(),
        headers={**panel_page.HEADERS, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"},
    )
