"""Pictures that the host would decode for a request are measured on their way to it, on every host."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from aiohttp import FormData
from PIL import Image

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n%%EndComments\nshowpage\n%%EOF\n"


def huge() -> bytes:
    """A picture of 40,000 x 40,000 pixels, as its header says."""
    buffer = io.BytesIO()
    Image.new("1", (8, 8)).save(buffer, "BMP")
    data = bytearray(buffer.getvalue())
    data[18:26] = (40_000).to_bytes(4, "little") * 2
    return bytes(data)


@pytest.mark.parametrize("path", ["/view", "/api/view"])
@pytest.mark.parametrize("query", ["preview=webp;90", "preview=", "channel=a", "channel=rgb"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_view(library: Any, path: str, query: str, method: str) -> None:
    library.write("input/sub/a.png", POSTSCRIPT)
    library.write("input/sub/b.png", huge())
    for name, code in (
        ("a.png", "IMAGE_UNREADABLE"),
        ("b.png", "IMAGE_TOO_LARGE"),
        ("a.png [input]", "IMAGE_UNREADABLE"),
    ):
        for place in (f"filename=sub/{name}", f"filename={name}&subfolder=sub"):
            async with library.client.request(method, f"{path}?{place}&type=input&{query}") as response:
                assert response.status == 400
                if method == "GET":
                    assert (await response.json())["code"] == code


@pytest.mark.parametrize("query", ["", "channel=rgba", "channel="])
async def test_what_is_sent_as_it_is_stays_the_hosts(library: Any, query: str) -> None:
    library.write("input/a.png", POSTSCRIPT)
    async with library.client.get(f"/view?filename=a.png&type=input&{query}") as response:
        assert response.status == 404  # of the test's host, which has no such route


@pytest.mark.parametrize("path", ["/upload/mask", "/api/upload/mask"])
@pytest.mark.parametrize("content", [POSTSCRIPT, huge()])
@pytest.mark.parametrize("is_mask", [True, False])
async def test_masks(library: Any, path: str, content: bytes, is_mask: bool) -> None:
    buffer = io.BytesIO()
    Image.new("RGBA", (4, 4)).save(buffer, "PNG")
    good = buffer.getvalue()
    library.write("input/original.png", good if is_mask else content)
    form = FormData()
    form.add_field("image", content if is_mask else good, filename="m.png")
    form.add_field("original_ref", json.dumps({"filename": "original.png", "type": "input"}))
    async with library.client.post(path, data=form) as response:
        assert response.status == 400
        assert (await response.json())["code"] in ("IMAGE_UNREADABLE", "IMAGE_TOO_LARGE")
