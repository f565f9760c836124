"""listAssets: filters, sorts, paging, errors."""

from __future__ import annotations

import os
from typing import Any

import pytest


async def _fill(library: Any) -> None:
    for index, name in enumerate(["b.safetensors", "A.safetensors", "c.safetensors"]):
        path = library.write(f"models/loras/{name}", bytes([index]) * (10 + index))
        os.utime(path, (1000 + index, 1000 + index))
    library.write("models/checkpoints/sub/deep.ckpt", b"deep")
    library.write("models/loras/readme.txt", b"text")
    library.write("output/2026/Größe.png", b"png")
    library.write("input/photo.jpg", b"jpg")
    await library.scan()


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"include_tags": "models,loras"}, {"A.safetensors", "b.safetensors", "c.safetensors", "readme.txt"}),
        ({"include_tags": "model_type:loras"}, {"A.safetensors", "b.safetensors", "c.safetensors"}),
        ({"include_tags": "models", "exclude_tags": "loras"}, {"deep.ckpt"}),
        ({"exclude_tags": "models"}, {"Größe.png", "photo.jpg"}),
        ({"name_contains": "GRÖSSE"}, {"Größe.png"}),
        ({"include_tags": "nothing-has-this"}, set()),
        ({"hash": "photo.jpg"}, set()),
        ({"hash": "blake3:" + "0" * 64}, set()),
        ({"include_public": "false"}, set()),
    ],
)
async def test_filters(library: Any, query: dict[str, str], names: set[str]) -> None:
    await _fill(library)
    page = await library.get("/api/assets", params=query)
    assert {asset["name"] for asset in page["assets"]} == names
    assert page["total"] == len(names)
    assert page["has_more"] is False


async def test_an_asset_says_what_and_where_it_is(library: Any) -> None:
    await _fill(library)
    model = await library.asset("deep.ckpt")
    assert model["tags"] == ["models", "checkpoints", "model_type:checkpoints"]
    assert model["file_path"] == "models/checkpoints/sub/deep.ckpt"
    assert model["loader_path"] == "sub/deep.ckpt"
    assert model["hash"].startswith("blake3:")
    image = await library.asset("Größe.png")
    assert image["preview_url"] == "/api/view?type=output&filename=Gr%C3%B6%C3%9Fe.png&subfolder=2026"
    assert image["tags"] == ["output"]
    assert "loader_path" not in image
