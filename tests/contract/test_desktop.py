"""Showing a file on the desktop, and the addresses of the server, over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets import desktop
from support.files import picture

UNKNOWN = "00000000-0000-7000-8000-000000000000"


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were shown; this machine seems to have a desktop."""
    paths: list[Path] = []
    monkeypatch.setattr(desktop, "show_in_folder", paths.append)
    monkeypatch.setattr(desktop, "has_desktop", lambda: True)
    return paths


async def show(api: Any, asset_id: str, status: int, **headers: str) -> Any:
    answer = await api.send("POST", f"/api/assets/{asset_id}/show-in-folder", status, headers=headers)
    return None if status == 204 else answer.json["code"]


async def test_a_client_on_this_machine_sees_the_file(library: Any, api: Any, shown: list[Path]) -> None:
    path = library.write("output/sub/a b.png", picture(1))
    await library.scan()
    asset = (await library.assets())[0]["id"]
    await show(api, asset, 204)
    assert shown == [path]
    assert (await api.get("/api/network"))["can_open_folders"] is True
    assert await show(api, UNKNOWN, 404) == "ASSET_NOT_FOUND"
    path.unlink()
    assert await show(api, asset, 404) == "ASSET_CONTENT_MISSING"
    assert len(shown) == 1


async def test_nobody_else_does(library: Any, api: Any, shown: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    library.write("output/a.png", picture(1))
    await library.scan()
    asset = (await library.assets())[0]["id"]
    for headers in ({"X-Forwarded-For": "10.0.0.1"}, {"Host": "comfy.example"}):
        assert await show(api, asset, 403, **headers) in ("FOLDER_NOT_OPENABLE", "HOST_NOT_ALLOWED")
        answer = await api.send("GET", "/api/network", headers=headers)
        assert answer.json["can_open_folders"] is False
    monkeypatch.setattr(desktop, "has_desktop", lambda: False)
    assert await show(api, asset, 403) == "FOLDER_NOT_OPENABLE"
    assert (await api.get("/api/network"))["can_open_folders"] is False
    assert shown == []


async def test_users_see_only_their_own(make_library: Any, api_of: Any, hand_of: Any, shown: list[Path]) -> None:
    library = await make_library(users=frozenset({"ann", "bob"}))
    library.write("input/anns.png", picture(1))
    await library.scan()
    await hand_of(library).belongs("anns.png", "ann", "input")
    ann, bob = (api_of(library).as_user(user) for user in ("ann", "bob"))
    asset = (await ann.get("/api/assets"))["assets"][0]["id"]
    assert await show(bob, asset, 404) == "ASSET_NOT_FOUND" and shown == []
    assert await show(bob, asset, 403, **{"X-Forwarded-For": "127.0.0.1"}) == "FOLDER_NOT_OPENABLE"
    await show(ann, asset, 204)
    assert len(shown) == 1
