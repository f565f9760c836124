"""Tags of new assets: the folder that those of an upload choose, and any tags for content that is there already."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import FormData
from blake3 import blake3
from comfy_assets_node.comfy_assets.assets.fields import choose_destination
from comfy_assets_node.comfy_assets.assets.roots import Roots
from comfy_assets_node.comfy_assets.errors import InvalidTagsError
from comfy_assets_node.comfy_assets.host.base import HostFolders, LibraryFolder

MODEL = b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "  # an empty safetensors file


async def upload(api: Any, status: int, tags: list[str]) -> Any:
    form = FormData()
    form.add_field("tags", json.dumps(tags))
    form.add_field("file", MODEL + json.dumps(tags).encode(), filename="a.safetensors")
    return (await api.send("POST", "/api/assets", status, data=form)).json


UPLOADS = [
    (["models", "checkpoint"], "checkpoints", ["checkpoint"]),
    (["models", "lora", "mine"], "loras", ["lora", "mine"]),
    (["lora", "models"], "loras", ["lora"]),
    (["models", "loras", "checkpoint"], "loras", ["checkpoint"]),
    (["models", "loras/styles"], "loras", ["loras/styles"]),
]
"""Tags, the category they choose, and those that stay as the user's."""


@pytest.mark.parametrize(("tags", "category", "kept"), UPLOADS, ids=lambda value: str(value))
async def test_a_category_by_another_form_of_its_name(
    library: Any, api: Any, tags: list[str], category: str, kept: list[str]
) -> None:
    asset = await upload(api, 201, tags)
    assert asset["file_path"] == f"models/{category}/a.safetensors"
    assert asset["tags"] == ["models", category, f"model_type:{category}", *kept]
    assert await api.names(tags_all=",".join(tags)) == ["a.safetensors"]


@pytest.mark.parametrize("tags", [["models", "lora", "checkpoint"], ["models", "lorass"], ["models", "models/x"]])
async def test_tags_that_name_no_category_or_two(library: Any, api: Any, tags: list[str]) -> None:
    assert (await upload(api, 400, tags))["code"] == "INVALID_TAGS"
    assert await api.names() == []


@pytest.mark.parametrize(
    ("tag", "category"),
    [
        ("vae", "vae"),
        ("clip_vision", "clip_vision"),
        ("text_encoder", "text_encoders"),
        ("clip", "text_encoders"),
        ("unet", "diffusion_models"),
        ("model_patch", "model_patches"),
        ("model_type:unet", "diffusion_models"),
    ],
)
def test_forms_of_the_names_of_categories(tag: str, category: str, tmp_path: Path) -> None:
    names = {"vae", "clip_vision", "text_encoders", "diffusion_models", "model_patches"}
    roots = Roots(HostFolders(tuple(LibraryFolder("models", tmp_path / name, name) for name in names)))
    if tag.startswith("model_type:"):
        with pytest.raises(InvalidTagsError):  # such a tag is the library's own, and has one form
            choose_destination(["models", tag], roots)
    else:
        assert choose_destination(["models", tag], roots).category == category


REFERENCES = [
    (["models"], ["models"], None),
    (["models", "model:true", "temporary:true"], ["models", "model:true", "temporary:true"], None),
    (["z", "input", "output"], ["input", "output", "z"], "a.safetensors"),
    (["models", "lora"], ["models", "loras", "model_type:loras", "lora"], None),
    (["model_type:loras", "x"], ["model_type:loras", "x"], None),
    (["loras", "checkpoints", "models"], ["models", "checkpoints", "loras"], None),
    (["input"], ["input"], "a.safetensors"),
]
"""Tags, those that the asset gets, and its path for loaders."""


@pytest.fixture
async def ann(library: Any, api_of: Any) -> Any:
    """A user who sees a public file."""
    library.host.users = frozenset({"ann"})
    library.write("input/a.safetensors", MODEL)
    await library.scan()
    return api_of(library).as_user("ann")


HASH = blake3(MODEL).hexdigest()


@pytest.mark.parametrize(("tags", "given", "loader_path"), REFERENCES, ids=lambda value: str(value))
@pytest.mark.parametrize("prefix", ["", "blake3:"])
async def test_any_tags_for_content_that_is_there(
    ann: Any, tags: list[str], given: list[str], loader_path: str | None, prefix: str
) -> None:
    body = {"hash": prefix + HASH, "tags": tags}
    asset = (await ann.send("POST", "/api/assets/from-hash", 201, json=body)).json
    assert sorted(asset["tags"]) == sorted(given)
    assert asset.get("loader_path") == loader_path
    assert (await ann.get("/api/assets", include_public="false", tags_all=",".join(tags)))["total"] == 1


@pytest.mark.parametrize(
    ("tags", "status", "code"),
    [
        (["models", "missing"], 400, "INVALID_TAGS"),
        (["model_type:loras", "model_type:checkpoints"], 422, "RESERVED_TAG"),
        (["models", "model_type:nothing"], 422, "RESERVED_TAG"),
        (["model_type:"], 422, "RESERVED_TAG"),
    ],
)
async def test_tags_that_the_library_sets(ann: Any, tags: list[str], status: int, code: str) -> None:
    body = {"hash": HASH, "tags": tags}
    assert (await ann.send("POST", "/api/assets/from-hash", status, json=body)).json["code"] == code
    assert (await ann.get("/api/assets", include_public="false"))["total"] == 0
