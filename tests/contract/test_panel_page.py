"""The page that shows the panel alone, on every server."""

from __future__ import annotations

import re
from typing import Any


async def test_the_page(library: Any) -> None:
    response = await library.client.get("/assets")
    assert (response.status, response.content_type) == (200, "text/html")
    assert "script-src 'self'" in response.headers["Content-Security-Policy"]
    script = re.search(r'<script type="module" src="([^"]+)"', await response.text())
    assert script is not None
    # Relative, so that the page works below a base path as well.
    assert script[1] == f"{library.host.web_path()}/panel/standalone.mjs"
    again = await library.client.get("/assets", headers={"If-None-Match": response.headers["ETag"]})
    assert again.status == 304


async def test_unknown_users_get_the_page(make_library: Any) -> None:
    """It names the user with each of its own requests."""
    library = await make_library(users=frozenset({"ann"}))
    assert (await library.client.get("/assets")).status == 200


async def test_files_of_comfyuis_page_are_left_to_the_host(library: Any) -> None:
    assert (await library.client.get("/assets/index.js")).status == 404
    assert (await library.client.get("/assets/")).status == 404
