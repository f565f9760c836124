"""The page that shows the document: one file, so that it needs nothing but what it comes with."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True)
class Page:
    """The page, and what a browser may load and run for it (a Content-Security-Policy)."""

    html: bytes
    policy: str


@cache
def read() -> Page:
    """The page with its style and script in place."""
    parts = resources.files(__package__)
    markup, style, script = (parts.joinpath(f"docs.{kind}").read_text("utf-8") for kind in ("html", "css", "js"))
    html = markup.replace("/* docs.css */", style).replace("/* docs.js */", script)
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
    return Page(html.encode(), policy)


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
