"""getAssetById: the asset with the documents its file carries, and ids of which there is none."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from support.files import picture
from yarl import URL

PROMPT = {"1": {"class_type": "LoadImage", "inputs": {"image": "größe.png", "n": None, "x": [1, 2.5, True]}}}
WORKFLOW = {"nodes": [], "version": 0.4}


async def only(api: Any) -> dict[str, Any]:
    """The one asset as it is listed."""
    (asset,) = (await api.get("/api/assets"))["assets"]
    return asset


async def test_the_documents_are_in_the_asset_and_not_in_the_list(library: Any, api: Any) -> None:
    library.write("output/a.png", picture(size=(3, 2), prompt=json.dumps(PROMPT), workflow=json.dumps(WORKFLOW)))
    await library.scan()
    listed = await only(api)
    assert not {"prompt", "workflow"} & set(listed["metadata"])
    asset = await api.get(f"/api/assets/{listed['id']}")
    assert asset["metadata"] == {**listed["metadata"], "prompt": PROMPT, "workflow": WORKFLOW}
    assert {k: v for k, v in asset.items() if k != "metadata"} == {k: v for k, v in listed.items() if k != "metadata"}


@pytest.mark.parametrize(
    "prompt",
    ["{", "NaN", '{"a": NaN}', '{"a": Infinity}', "", "\x00", '"\\ud800"', "[" * 100_000, '{"a": 1}{"b": 2}'],
    ids=lambda prompt: repr(prompt[:20]),  # Windows takes no environment variable of 100,000 characters
)
async def test_a_document_that_is_no_json_breaks_nothing(library: Any, api: Any, prompt: str) -> None:
    library.write("output/a.png", picture(size=(3, 2), prompt=prompt[:100_000], workflow=json.dumps(WORKFLOW)))
    await library.scan()
    asset = await api.get(f"/api/assets/{(await only(api))['id']}")
    assert asset["metadata"]["workflow"] == WORKFLOW


async def test_a_models_header_is_in_the_asset(library: Any, api: Any) -> None:
    header = json.dumps({"__metadata__": {"ss_tag": "größe"}}).encode()
    library.write("models/loras/a.safetensors", len(header).to_bytes(8, "little") + header)
    await library.scan()
    asset = await api.get(f"/api/assets/{(await only(api))['id']}")
    assert "größe" in json.dumps(asset["metadata"], ensure_ascii=False)


async def test_an_asset_that_is_not_hashed_has_neither_hash_nor_metadata(make_library: Any, api_of: Any) -> None:
    from comfy_assets_node.comfy_assets.config import Config

    library = await make_library(Config(scan_on_start=False, hash_files=False))
    library.write("output/a.png", picture(size=(3, 2)))
    await library.scan()
    api = api_of(library)
    listed = await only(api)
    assert await api.get(f"/api/assets/{listed['id']}") == listed
    assert not {"hash", "metadata"} & set(listed)


async def test_user_metadata_and_a_missing_file(library: Any, api: Any, hand: Any) -> None:
    file = library.write("output/a.png", picture(size=(3, 2), prompt=json.dumps(PROMPT)))
    await library.scan()
    await hand.user_metadata("a.png", {"rating": 5, "note": None})
    file.unlink()
    await library.scan()
    asset = await api.get(f"/api/assets/{(await only(api))['id']}")
    assert asset["user_metadata"] == {"rating": 5, "note": None}
    assert asset["tags"] == ["output", "missing"]
    assert asset["metadata"]["prompt"] == PROMPT


async def test_a_uuid_may_be_spelled_in_upper_case(library: Any, api: Any) -> None:
    library.write("output/a.png")
    await library.scan()
    listed = await only(api)
    assert await api.get(f"/api/assets/{listed['id'].upper()}") == listed


UNKNOWN = [
    "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-7fff-bfff-ffffffffffff",
    "x",
    "1",
    "seed",
    "prune",
    "hash",
    "tags",
    "null",
    "..%2F..%2Fetc%2Fpasswd",
    "...",
    "a%2Fb",
    "%00",
    "%0A",
    "%FF",
    "%ED%A0%80",
    "%F0%9F%A6%8A",
    "'%20OR%201=1",
    "a" * 4000,
    "00000000-0000-0000-0000-00000000000%D9%A0",
    "%7B00000000-0000-0000-0000-000000000000%7Dx",
]


@pytest.mark.parametrize("suffix", ["", "/content"])
async def test_there_is_no_such_asset(library: Any, api: Any, suffix: str) -> None:
    for text in UNKNOWN:
        body = await api.error(URL(f"/api/assets/{text}{suffix}", encoded=True), 404)
        assert body["code"] == "ASSET_NOT_FOUND", text
        assert body["message"]
        assert set(body["details"]) == {"id"}


async def test_texts_that_a_small_picture_packs_are_not_all_unpacked(library: Any, api: Any) -> None:
    """Sixteen million letters take sixteen kilobytes of a picture: two such texts would be an answer of 32 MB."""
    large = json.dumps({"1": {"class_type": "X", "inputs": {"text": "x" * (9 << 20)}}})
    info = PngInfo()
    info.add_text("prompt", json.dumps(PROMPT), zip=True)
    info.add_text("workflow", large, zip=True)
    buffer = io.BytesIO()
    Image.new("RGB", (1, 1)).save(buffer, "PNG", pnginfo=info)
    library.write("output/packed.png", buffer.getvalue())
    await library.scan()
    (listed,) = (await api.get("/api/assets"))["assets"]
    answer = await api.send("GET", f"/api/assets/{listed['id']}")
    metadata = answer.json["metadata"]
    assert (metadata["prompt"], metadata["omitted"]) == (PROMPT, ["workflow"])
    assert len(buffer.getvalue()) < 64 << 10 and len(answer.body) < 1 << 20
