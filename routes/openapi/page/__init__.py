"""The page that displays the document: a single file that loads nothing else."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True)
class DocsPage:
    """The page and its Content-Security-Policy."""

    html: bytes
    policy: str


@cache
def read() -> DocsPage:
    """Return the page with its style and script inserted."""
    parts = resources.files(__package__)
    markup, style, script = (parts.joinpath(f"docs.{kind}").read_text("utf-8") for kind in ("html", "css", "js"))
    html = markup.replace("/* docs.css */", style).replace("/* docs.js */", script)
    # The hashes permit exactly this style and script, where 'unsafe-inline' would permit any that gets into the page.
    policy = "; ".join(
        [
            "default-src 'none'",
            "base-uri 'none'",
            "form-action 'none'",
            "connect-src 'self'",
            "img-src 'self' blob: data:",
            f"style-src '{_digest(style)}'",
            f"script-src '{_digest(script)}'",
        ]
    )
    return DocsPage(html.encode(), policy)


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
