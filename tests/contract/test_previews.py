"""Pictures that pages upload as previews of other assets: they belong to these and are in no list."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aiohttp import FormData
from comfy_assets_node.comfy_assets.config import Config
from support.files import picture

LISTS = (
    {},
    {"include_tags": "output"},
    {"include_tags": "input"},
    {"include_tags": "preview"},
    {"name_contains": "preview"},
    {"q": "preview"},
)


async def upload(api: Any, name: str, tags: list[str], color: int = 0, status: int = 201, **more: Any) -> Any:
    form = FormData()
    form.add_field("tags", json.dumps(tags))
    for key, value in more.items():
        form.add_field(key, value)
    form.add_field("file", picture(color), filename=name)
    return (await api.send("POST", "/api/assets", status, data=form)).json


async def model(library: Any, api: Any, path: str = "output/3d/cube.glb") -> Any:
    """A file of another kind than pictures."""
    library.write(path, b"glTF" + path.encode())
    await library.scan()
    return await library.asset(path.rpartition("/")[2])


async def set_preview(api: Any, asset: Any, preview: Any) -> Any:
    return (await api.send("PUT", f"/api/assets/{asset['id']}", json={"preview_id": preview["id"]})).json


async def assert_unlisted(api: Any, name: str, *, others: int) -> None:
    """No list, count, histogram or list of tags has the asset."""
    for parameters in LISTS:
        page = await api.get("/api/assets", **parameters)
        assert name not in [asset["name"] for asset in page["assets"]], parameters
        assert page["total"] == len(page["assets"]), parameters
    assert (await api.get("/api/assets"))["total"] == others
    assert "preview" not in (await api.get("/api/assets/tags/refine"))["tag_counts"]
    assert "preview" not in [tag["name"] for tag in (await api.get("/api/tags"))["tags"]]


async def test_a_picture_with_the_tag_preview_alone(library: Any, api: Any) -> None:
    lora = await model(library, api, "models/loras/style.safetensors")
    preview = await upload(api, "style_preview.png", ["preview"])
    assert preview["created_new"] and preview["tags"] == ["input", "preview"]
    await assert_unlisted(api, "style_preview.png", others=1)
    assert not (library.base / "input" / "style_preview.png").exists()  # loaders and old pages list this folder
    changed = await set_preview(api, lora, preview)
    assert changed["preview_id"] == preview["id"]
    assert "style_preview.png" in changed["preview_url"]
    [listed] = (await api.get("/api/assets"))["assets"]
    assert (listed["preview_id"], listed["preview_url"]) == (preview["id"], changed["preview_url"])
    assert (await api.get(f"/api/assets/{preview['id']}"))["name"] == "style_preview.png"
    content = await api.send("GET", f"/api/assets/{preview['id']}/content", 200)
    assert content.body == picture(0)
    thumbnail = await library.client.get(changed["preview_url"])
    assert (thumbnail.status, thumbnail.content_type) == (200, "image/jpeg")


async def test_the_picture_of_a_3d_output(library: Any, api: Any) -> None:
    cube = await model(library, api)
    library.host.events.clear()
    preview = await upload(api, "cube.glb_preview.png", ["output"], user_metadata='{"filename": "x"}')
    # Nothing in the lists has changed. Pages are told of the model itself a moment after its scan.
    assert [event for event in library.host.events if event.type == "assets.changed"] == []
    await assert_unlisted(api, "cube.glb_preview.png", others=1)
    await set_preview(api, cube, preview)
    await assert_unlisted(api, "cube.glb_preview.png", others=1)
    await library.scan()
    await assert_unlisted(api, "cube.glb_preview.png", others=1)


@pytest.mark.parametrize(
    ("name", "tags"),
    [
        ("cube.glb_preview.png", ["input"]),
        ("cube.glb_preview.png", ["output", "mine"]),
        ("other.glb_preview.png", ["output"]),  # there is no such asset
        ("photo.png_preview.png", ["output"]),  # no 3D output
        ("preview.png", ["preview", "mine"]),
        ("cube.glb_preview.jpg", ["output"]),
    ],
)
async def test_other_pictures_are_listed(library: Any, api: Any, name: str, tags: list[str]) -> None:
    await model(library, api)
    library.write("output/photo.png", picture(9))
    await library.scan()
    await upload(api, name, tags)
    assert name in await api.names()


async def test_a_picture_becomes_a_preview_when_it_is_set_as_one(library: Any, api: Any) -> None:
    """It was uploaded before its model was known."""
    preview = await upload(api, "cube.glb_preview.png", ["output"])
    assert await api.names() == ["cube.glb_preview.png"]
    cube = await model(library, api)
    await set_preview(api, cube, preview)
    await assert_unlisted(api, "cube.glb_preview.png", others=1)


async def test_a_picture_of_the_user_stays_listed(library: Any, api: Any) -> None:
    cube = await model(library, api)
    photo = await upload(api, "photo.png", ["input"])
    assert (await set_preview(api, cube, photo))["preview_id"] == photo["id"]
    assert sorted(await api.names()) == ["cube.glb", "photo.png"]


async def test_a_picture_is_listed_when_the_same_is_a_preview(library: Any, api: Any) -> None:
    await model(library, api)
    first = await upload(api, "a.png", ["preview"], 1)
    again = await upload(api, "b.png", ["preview"], 1, 200)
    assert again["id"] == first["id"] and not again["created_new"]
    photo = await upload(api, "photo.png", ["input"], 1)
    assert photo["id"] != first["id"]
    assert sorted(await api.names()) == ["cube.glb", "photo.png"]
    other = await upload(api, "c.png", ["input"], 2)
    preview = await upload(api, "d.png", ["preview"], 2)
    assert other["id"] != preview["id"]
    assert sorted(await api.names()) == ["c.png", "cube.glb", "photo.png"]


async def test_a_preview_is_deleted_and_restored_with_its_asset(library: Any, api: Any) -> None:
    cube = await upload(api, "cube.png", ["input"], 1)
    preview = await upload(api, "p.png", ["preview"], 2)
    await set_preview(api, cube, preview)
    paths = [f"/api/assets/{each['id']}" for each in (cube, preview)]
    await api.send("DELETE", paths[0], 204)
    for path in paths:
        await api.send("GET", path, 404)
    assert not list((library.base / "input").rglob("*.png"))
    await api.send("POST", f"{paths[0]}/restore", 200)
    for path in paths:
        await api.send("GET", path, 200)
    assert (await api.send("GET", f"{paths[1]}/content", 200)).body == picture(2)
    await assert_unlisted(api, "p.png", others=1)


async def test_a_preview_of_two_assets_stays_with_the_other(library: Any, api: Any) -> None:
    first, second = [await upload(api, f"{n}.png", ["input"], n) for n in (1, 2)]
    preview = await upload(api, "p.png", ["preview"], 3)
    for asset in (first, second):
        await set_preview(api, asset, preview)
    await api.send("DELETE", f"/api/assets/{first['id']}", 204)
    await api.send("GET", f"/api/assets/{preview['id']}", 200)
    await api.send("DELETE", f"/api/assets/{second['id']}", 204)
    await api.send("GET", f"/api/assets/{preview['id']}", 404)


async def test_a_picture_in_a_folder_of_models(library: Any, api: Any) -> None:
    lora = await model(library, api, "models/loras/style.safetensors")
    library.write("models/loras/other.png", picture(5))
    await library.scan()
    url = (await set_preview(api, lora, await library.asset("other.png")))["preview_url"]
    response = await library.client.get(url)
    assert (response.status, response.content_type) == (200, "image/jpeg")


async def test_a_reference_as_a_preview(library: Any, api: Any) -> None:
    """It has no file of its own."""
    lora = await model(library, api, "models/loras/style.safetensors")
    library.write("input/photo.png", picture(5))
    await library.scan()
    photo = await library.asset("photo.png")
    body = {"hash": photo["hash"], "name": "again.png", "tags": ["output"]}
    reference = (await api.send("POST", "/api/assets/from-hash", 201, json=body)).json
    assert "photo.png" in (await set_preview(api, lora, reference))["preview_url"]


async def test_a_deleted_preview_is_not_shown(library: Any, api: Any) -> None:
    lora = await model(library, api, "models/loras/style.safetensors")
    library.write("input/photo.png", picture(5))
    await library.scan()
    photo = await library.asset("photo.png")
    assert "preview_url" in await set_preview(api, lora, photo)
    await api.send("DELETE", f"/api/assets/{photo['id']}", 204)
    assert (library.base / "input" / "photo.png").exists()
    assert "preview_url" not in await api.get(f"/api/assets/{lora['id']}")


async def test_previews_of_others(make_library: Any, api_of: Any) -> None:
    library = await make_library(Config(scan_on_start=False), frozenset({"ann", "bob"}))
    api = api_of(library)
    form = FormData()
    form.add_field("tags", '["preview"]')
    form.add_field("file", picture(1), filename="a.png")
    mine = (await api.send("POST", "/api/assets", 201, data=form, headers={"comfy-user": "ann"})).json
    await api.send("GET", f"/api/assets/{mine['id']}", 200, headers={"comfy-user": "ann"})
    await api.send("GET", f"/api/assets/{mine['id']}", 404, headers={"comfy-user": "bob"})
