"""The page that shows the panel alone, in a tab of its own, without ComfyUI's page around it."""

from __future__ import annotations

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' blob: data:;"
    " media-src 'self' blob:; connect-src 'self' blob: data:; form-action 'none'; base-uri 'none'"
)  # the guard adds frame-ancestors, which settings relax
HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": _POLICY,
}
"""Headers of the page."""

_MARKUP = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover">
<meta name="referrer" content="no-referrer">
<title>%(title)s</title>
<link rel="icon" href="data:,">
<style>
:root { color-scheme: light dark; --fg: light-dark(#1f2328, #dddddd); --bg: light-dark(#ffffff, #1b1b1c); }
* { box-sizing: border-box; }
/* dvh: the address bar of a phone's browser comes and goes. */
body { display: grid; grid-template-columns: minmax(0, auto) minmax(0, 1fr); height: 100vh; height: 100dvh; margin: 0;
  color: var(--fg); background: var(--bg); font: .95rem/1.6 system-ui, sans-serif; }
main { grid-column: 2; min-height: 0; }
header { max-width: 22rem; padding: 1.5rem; overflow: auto; border-inline-end: 1px solid light-dark(#d0d7de, #3a3a3c); }
h1 { margin-block: 0 .5rem; font-size: 1.3rem; }
ul { padding-inline-start: 1.2rem; }
code { font-size: .95em; }
a { color: light-dark(#0b57d0, #8ab4f8); }
@media (width < 50rem) {
  body { grid-template: auto minmax(0, 1fr) / minmax(0, 1fr); }
  main { grid-area: 2 / 1; }
  header { max-width: none; max-height: 30vh; border: 0; }
}
</style>
</head>
<body>
%(header)s<noscript>The panel needs JavaScript.</noscript>
<main id="panel"></main>
<script type="module" src="%(web_path)s/panel/standalone.mjs"></script>
</body>
</html>
"""


def markup(web_path: str, title: str, header: str = "") -> str:
    """Return the page as HTML. ``web_path`` leads from the page to the folder ``web``; ``header`` is HTML beside it."""
    return _MARKUP % {"web_path": web_path, "title": title, "header": header}
