"""The page at ``/``: says what this server is. Self-contained."""

from __future__ import annotations

from aiohttp import web

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'"

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>comfy-assets, standalone</title>
<style>
:root { color-scheme: light dark; }
body { font: 1rem/1.6 system-ui, sans-serif; max-width: 40rem; margin: 12vh auto; padding: 0 1.25rem; }
h1 { font-size: 1.4rem; }
code { font-size: .95em; }
a { color: light-dark(#0b57d0, #8ab4f8); }
</style>
</head>
<body>
<main>
<h1>comfy-assets, standalone</h1>
<p>This server speaks ComfyUI's API and the assets API without ComfyUI. It holds a library of models,
inputs and outputs, and runs workflows made of a few image nodes. It has no diffusion models and generates
no pictures.</p>
<ul>
<li><a href="/api/assets"><code>/api/assets</code></a>: the library</li>
<li><a href="/api/tags"><code>/api/tags</code></a>: its tags</li>
<li><a href="/system_stats"><code>/system_stats</code></a>: this machine</li>
</ul>
</main>
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
