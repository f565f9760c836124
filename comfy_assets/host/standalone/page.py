"""The page at ``/`` where ComfyUI's own is not installed: what this server is, and the panel."""

from __future__ import annotations

from aiohttp import web

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' blob: data:;"
    " media-src 'self'; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
)

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>comfy-assets, standalone</title>
<link rel="icon" href="data:,">
<style>
:root { color-scheme: light dark; --fg: light-dark(#1f2328, #dddddd); --bg: light-dark(#ffffff, #1b1b1c); }
* { box-sizing: border-box; }
body { display: grid; grid-template-columns: minmax(0, 22rem) minmax(0, 1fr); height: 100vh; margin: 0;
  color: var(--fg); background: var(--bg); font: .95rem/1.6 system-ui, sans-serif; }
header { padding: 1.5rem; overflow: auto; border-inline-end: 1px solid light-dark(#d0d7de, #3a3a3c); }
main { min-height: 0; }
h1 { margin-block: 0 .5rem; font-size: 1.3rem; }
ul { padding-inline-start: 1.2rem; }
code { font-size: .95em; }
a { color: light-dark(#0b57d0, #8ab4f8); }
@media (width < 50rem) { body { grid-template: auto minmax(0, 1fr) / 1fr; } header { max-height: 30vh; border: 0; } }
</style>
</head>
<body>
<header>
<h1>comfy-assets, standalone</h1>
<p>This server speaks ComfyUI's API and the assets API without ComfyUI. It holds a library of models,
inputs and outputs, and runs workflows made of a few image nodes. It has no diffusion models and generates
no pictures.</p>
<p>Install <code>comfyui-frontend-package</code> to see ComfyUI's own page here.</p>
<ul>
<li><a href="api/docs">The API</a>, described</li>
<li><a href="api/assets"><code>/api/assets</code></a>: the library</li>
<li><a href="api/jobs"><code>/api/jobs</code></a>: what was run</li>
<li><a href="api/assets/seed/status"><code>/api/assets/seed/status</code></a>: what it is busy with</li>
<li><a href="system_stats"><code>/system_stats</code></a>: this machine</li>
</ul>
<noscript>The panel needs JavaScript.</noscript>
</header>
<main id="panel"></main>
<script type="module" src="extensions/comfy-assets/panel/standalone.mjs"></script>
</body>
</html>
"""


async def show_page(request: web.Request) -> web.Response:
    """Answer ``GET /``."""
    return web.Response(
        text=_PAGE,
        content_type="text/html",
        headers={
            "Cache-Control": "no-store",
            "Content-Security-Policy": _POLICY,
            "X-Content-Type-Options": "nosniff",
        },
    )
