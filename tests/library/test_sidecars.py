"""Files beside a model that belong to it: left out of lists, their facts, words and pictures are the model's."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import FormData
from comfy_assets_node.comfy_assets.db import sidecars
from comfy_assets_node.comfy_assets.db.listing.metadata import OF_BASE_MODELS
from comfy_assets_node.comfy_assets.db.sidecars import FIRST_PICTURE
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.model_files import safetensors

MODEL = "models/loras/style/ink.safetensors"
CIVITAI = {
    "id": 11,
    "modelId": 22,
    "name": "v2",
    "trainedWords": ["zqsplash"],
    "baseModel": "Pony",
    "description": "<p>zqprose</p>",
    "model": {"name": "zqink", "type": "LORA"},
}
A1111 = {"activation text": "zqactivation", "sd version": "SDXL", "notes": "zqnote"}
MANAGER = {"model_name": "My ink", "base_model": "Illustrious", "tags": ["zqtag"]}


def picture(size: tuple[int, int] = (30, 40)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, "red").save(stream, "PNG")
    return stream.getvalue()


def write_model(library: Any, path: str = MODEL, salt: int = 1) -> None:
    library.write(path, safetensors({"ss_output_name": "ink", "ss_base_model_version": "sdxl_base_v1-0"}, salt=salt))


def write_json(library: Any, path: str, value: Any) -> None:
    library.write(path, json.dumps(value).encode())


def write_all(library: Any, stem: str = "models/loras/style/ink") -> None:
    write_model(library, f"{stem}.safetensors")
    write_json(library, f"{stem}.civitai.info", CIVITAI)
    write_json(library, f"{stem}.json", A1111)
    library.write(f"{stem}.txt", b"zqtext")
    library.write(f"{stem}.preview.png", picture())


async def names(library: Any) -> list[str]:
    return sorted(asset["name"] for asset in await library.assets())


def folder(*files: str) -> set[tuple[str, str]]:
    """The links among files of one folder, as names of models and sidecars."""
    of = dict(enumerate(files))
    return {(of[link.model_id], of[link.asset_id]) for link in sidecars.links(of)}


@pytest.mark.parametrize(
    ("files", "linked"),
    [
        (
            ("a.safetensors", "a.civitai.info", "a.png"),
            {("a.safetensors", "a.civitai.info"), ("a.safetensors", "a.png")},
        ),
        (("A.Safetensors", "a.PREVIEW.JPG"), {("A.Safetensors", "a.PREVIEW.JPG")}),
        (("a.b.gguf", "a.b.json", "a.json"), {("a.b.gguf", "a.b.json")}),
        (("a.ckpt", "a.safetensors", "a.txt"), {("a.ckpt", "a.txt"), ("a.safetensors", "a.txt")}),
        (("a.preview.safetensors", "a.preview.png"), {("a.preview.safetensors", "a.preview.png")}),
        (("a.png", "a.json", "a.txt"), set()),
        (("b.safetensors", "a.png", ".png", ".safetensors"), set()),
        (("a.safetensors", "a.safetensors.index.json", "a.yaml", "a.csv"), set()),
    ],
)
def test_links(files: tuple[str, ...], linked: set[tuple[str, str]]) -> None:
    assert folder(*files) == linked


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.text(alphabet="aA.b", max_size=3).flatmap(lambda s: st.sampled_from([f"{s}.png", f"{s}.pt", s])), unique=True
    )
)
def test_links_of_any_names(files: list[str]) -> None:
    for model, sidecar in folder(*files):
        assert sidecar.lower().startswith(model.lower().removesuffix(".pt"))
        assert sidecars.may_be_sidecar(sidecar)


def test_the_first_description_decides_and_words_are_collected() -> None:
    found = json.loads(
        sidecars.merged(
            '{"format":"safetensors","name":"own","base_model":"SDXL 1.0","trained_words":["own"]}',
            [
                '{"name":"first","trained_words":["a"],"format":"model-info"}',
                '{"name":"second","base_model":"Pony"}',
                '{"trained_words":["a","b"]}',
            ],
        )
    )
    assert found == {"format": "safetensors", "name": "first", "base_model": "Pony", "trained_words": ["a", "b"]}


async def test_they_are_the_models(library: Any) -> None:
    write_all(library)
    write_json(library, "models/loras/style/ink.metadata.json", MANAGER)
    library.write("models/loras/style/readme.txt", b"of no model")
    library.write("output/ink.png", picture((7, 7)))
    await library.scan()
    assert await names(library) == ["ink.png", "ink.safetensors", "readme.txt"]
    model = await library.asset("ink.safetensors")
    metadata = model["metadata"]
    assert metadata["name"] == "My ink"
    assert metadata["base_model"] == "Illustrious"
    assert metadata["trained_words"] == ["zqsplash", "zqactivation"]
    assert metadata["repo_url"] == "https://civitai.com/models/22?modelVersionId=11"
    assert metadata["format"] == "safetensors"
    listed = [each["name"] for each in metadata["sidecars"]]
    assert listed == ["ink.metadata.json", "ink.civitai.info", "ink.json", "ink.txt", "ink.preview.png"]
    detail = await library.get(f"/api/assets/{model['id']}")
    assert detail["metadata"]["base_model"] == "Illustrious"


async def test_the_picture_is_the_models_preview(library: Any) -> None:
    write_all(library)
    library.write("models/loras/style/ink.png", picture((9, 9)))
    await library.scan()
    model = await library.asset("ink.safetensors")
    preview = await library.get(f"/api/assets/{model['preview_id']}")
    assert preview["name"] == "ink.preview.png"
    assert preview["hash"].removeprefix("blake3:") in model["preview_url"]
    response = await library.client.get(model["preview_url"])
    assert (response.status, response.content_type) == (200, "image/jpeg")
    with Image.open(io.BytesIO(await response.read())) as shown:
        assert shown.size == (30, 40)
    content = await library.client.get(f"/api/assets/{preview['id']}/content")
    assert await content.read() == picture()


async def test_a_chosen_preview_stays(library: Any) -> None:
    write_all(library)
    library.write("output/chosen.png", picture((8, 8)))
    await library.scan()
    model, chosen = await library.asset("ink.safetensors"), await library.asset("chosen.png")
    response = await library.client.put(f"/api/assets/{model['id']}", json={"preview_id": chosen["id"]})
    body = await response.json()
    assert body["preview_id"] == chosen["id"]
    assert "chosen.png" in body["preview_url"]


async def test_a_picture_among_models_can_be_chosen(library: Any) -> None:
    write_model(library)
    library.write("models/loras/style/other.png", picture())
    await library.scan()
    model, other = await library.asset("ink.safetensors"), await library.asset("other.png")
    response = await library.client.put(f"/api/assets/{model['id']}", json={"preview_id": other["id"]})
    url = (await response.json())["preview_url"]
    assert (await library.client.get(url)).status == 200


async def test_what_appears_and_changes_later(library: Any) -> None:
    write_model(library)
    await library.scan()
    assert (await library.asset("ink.safetensors"))["metadata"]["base_model"] == "SDXL 1.0"
    write_json(library, "models/loras/style/ink.civitai.info", CIVITAI)
    await library.scan()
    assert (await library.asset("ink.safetensors"))["metadata"]["base_model"] == "Pony"
    write_json(library, "models/loras/style/ink.civitai.info", {**CIVITAI, "baseModel": "NoobAI", "id": 12345})
    await library.scan()
    assert (await library.asset("ink.safetensors"))["metadata"]["base_model"] == "NoobAI"
    (library.base / "models/loras/style/ink.civitai.info").unlink()
    await library.scan()
    assert (await library.asset("ink.safetensors"))["metadata"]["base_model"] == "SDXL 1.0"


async def test_what_users_gave_a_sidecar_is_kept(library: Any, annotate: Callable[..., Any]) -> None:
    """A file that was an asset becomes a sidecar, and is one no more when the model goes."""
    library.write("models/loras/style/ink.png", picture())
    await library.scan()
    asset_id = await annotate(library, "ink.png", "mine", metadata='{"rating":5}')
    write_model(library)
    await library.scan()
    assert await names(library) == ["ink.safetensors"]
    hidden = await library.get(f"/api/assets/{asset_id}")
    assert "mine" in hidden["tags"]
    (library.base / MODEL).unlink()
    await library.scan()
    again = await library.asset("ink.png")
    assert (again["id"], again["user_metadata"]) == (asset_id, {"rating": 5})
    assert "mine" in again["tags"]


async def test_they_follow_their_model(library: Any) -> None:
    write_all(library)
    await library.scan()
    before = await library.asset("ink.safetensors")
    (library.base / "models/loras/other").mkdir()
    for path in (library.base / "models/loras/style").iterdir():
        path.rename(library.base / "models/loras/other" / path.name)
    await library.scan()
    after = await library.asset("ink.safetensors")
    assert (after["id"], after["preview_id"]) == (before["id"], before["preview_id"])
    assert after["metadata"] == before["metadata"]
    assert await names(library) == ["ink.safetensors"]
    for path in (library.base / "models/loras/other").iterdir():
        path.rename(path.with_name(path.name.replace("ink", "renamed")))
    await library.scan()
    renamed = (await library.assets())[0]
    assert renamed["id"] == before["id"]
    assert renamed["preview_id"] == before["preview_id"]


async def test_a_model_that_moves_alone_leaves_files(library: Any) -> None:
    write_all(library)
    await library.scan()
    (library.base / "models/loras/style/ink.safetensors").rename(library.base / "models/loras/ink.safetensors")
    await library.scan()
    assert await names(library) == ["ink.civitai.info", "ink.json", "ink.preview.png", "ink.safetensors", "ink.txt"]
    assert "sidecars" not in (await library.asset("ink.safetensors"))["metadata"]


async def test_deletion_takes_them_along_and_restoring_brings_them_back(library: Any) -> None:
    write_all(library)
    await library.scan()
    model = await library.asset("ink.safetensors")
    preview = model["preview_id"]
    assert (await library.client.delete(f"/api/assets/{model['id']}")).status == 204
    await library.scan()
    assert await names(library) == []
    assert (await library.client.get(f"/api/assets/{preview}")).status == 404
    await library.services.trash.restore(model["id"])
    await library.scan()
    restored = await library.asset("ink.safetensors")
    assert restored["preview_id"] == preview
    assert restored["metadata"] == model["metadata"]
    assert await names(library) == ["ink.safetensors"]


async def test_models_of_one_name_share_them(library: Any) -> None:
    write_all(library)
    write_model(library, "models/loras/style/ink.sft", salt=2)
    await library.scan()
    assert await names(library) == ["ink.safetensors", "ink.sft"]
    first, second = await library.asset("ink.safetensors"), await library.asset("ink.sft")
    assert first["preview_id"] == second["preview_id"]
    assert (await library.client.delete(f"/api/assets/{first['id']}")).status == 204
    await library.scan()
    assert (await library.asset("ink.sft"))["preview_id"] == first["preview_id"]
    assert await names(library) == ["ink.sft"]


async def test_those_of_an_upload_move_to_the_trash_and_back(library: Any) -> None:
    form = FormData({"tags": '["models","model_type:loras"]'})
    form.add_field("file", safetensors({}, salt=9), filename="up.safetensors")
    response = await library.client.post("/api/assets", data=form)
    assert response.status == 201, await response.text()
    model = await response.json()
    files = ["up.civitai.info", "up.preview.png", "up.safetensors"]
    folder = library.base / "models/loras"
    write_json(library, "models/loras/up.civitai.info", CIVITAI)
    library.write("models/loras/up.preview.png", picture())
    await library.scan()
    assert await names(library) == ["up.safetensors"]
    assert (await library.client.delete(f"/api/assets/{model['id']}")).status == 204
    assert list(folder.iterdir()) == []
    await library.scan()
    assert await names(library) == []
    await library.services.trash.restore(model["id"])
    assert sorted(path.name for path in folder.iterdir()) == files
    assert await names(library) == ["up.safetensors"]
    await library.scan()
    assert (await library.asset("up.safetensors"))["metadata"]["base_model"] == "Pony"
    assert sorted(path.name for path in folder.iterdir()) == files


async def test_a_drive_that_is_away_changes_nothing(library: Any) -> None:
    write_all(library)
    await library.scan()
    before = await library.asset("ink.safetensors")
    shutil.move(library.base / "models/loras", library.base / "away")
    await library.scan()
    assert await names(library) == ["ink.safetensors"]
    shutil.move(library.base / "away", library.base / "models/loras")
    await library.scan()
    assert (await library.asset("ink.safetensors"))["metadata"] == before["metadata"]


def test_ranks_of_pictures_follow_those_of_descriptions() -> None:
    ranks = {link.asset_id: link.rank for link in sidecars.links({1: "a.pt", 2: "a.txt", 3: "a.preview.png"})}
    assert ranks[2] < FIRST_PICTURE <= ranks[3]
    assert FIRST_PICTURE == 8, "as in the view search_sources"


async def test_filters_by_what_is_known_of_models(library: Any, annotate: Callable[..., Any]) -> None:
    write_all(library)
    write_model(library, "models/loras/plain.safetensors", salt=2)
    library.write("models/loras/other.safetensors", safetensors({}, salt=3))
    library.write("models/loras/listed.safetensors", safetensors({}, salt=4))
    await library.scan()
    await annotate(library, "other.safetensors", metadata='{"base_model":"Mine"}')
    await annotate(library, "listed.safetensors", metadata='{"base_model":["Mine","Pony"]}')

    async def found(**wanted: Any) -> set[str]:
        listed = await library.assets(metadata_filter=json.dumps(wanted))
        return {asset["name"] for asset in listed}

    assert await found(base_model="Pony") == {"ink.safetensors", "listed.safetensors"}
    assert await found(base_model=["Pony", "Mine"]) == {"ink.safetensors", "listed.safetensors", "other.safetensors"}
    assert "plain.safetensors" in await found(base_model="SDXL 1.0")
    assert await found(base_model="pony") == set()
    assert await found(base_model="Pony", trained_words="zqsplash") == {"ink.safetensors"}
    assert await found(trained_words="zqactivation") == {"ink.safetensors"}
    assert await found(base_model=None) == set()
    assert await found(base_model=["Pony", None]) == {"ink.safetensors", "listed.safetensors"}
    assert await found(format="model-info") == set()


async def test_base_models_are_found_by_their_indexes(library: Any) -> None:
    plan = await library.services.db.fetch_all(f"EXPLAIN QUERY PLAN {OF_BASE_MODELS}", ('["Pony"]',))
    text = " ".join(row[3] for row in plan)
    assert "SCAN c " not in text
    assert "SCAN a " not in text.replace("SCAN a USING INDEX assets_by_base_model", "")
    assert "contents_by_base_model" in text


async def found(library: Any, words: str) -> list[str]:
    return sorted(asset["name"] for asset in await library.assets(q=words))


async def test_their_words_are_the_models(library: Any) -> None:
    write_all(library)
    write_json(library, "models/loras/style/ink.metadata.json", MANAGER)
    await library.scan()
    for word in ("zqsplash", "zqprose", "zqink", "zqactivation", "zqnote", "zqtag", "zqtext", "pony"):
        assert await found(library, word) == ["ink.safetensors"], word


async def test_words_follow_what_appears_changes_and_goes(library: Any) -> None:
    write_all(library)
    await library.scan()
    assert await found(library, "zqsplash") == ["ink.safetensors"]
    write_json(library, "models/loras/style/ink.civitai.info", {**CIVITAI, "trainedWords": ["zqlater"], "id": 4711})
    await library.scan()
    assert await found(library, "zqsplash") == []
    assert await found(library, "zqlater") == ["ink.safetensors"]
    write_json(library, "models/loras/style/ink.cm-info.json", {"ModelName": "zqcm", "ModelId": 1})
    await library.scan()
    assert await found(library, "zqcm") == ["ink.safetensors"]
    (library.base / "models/loras/style/ink.cm-info.json").unlink()
    await library.scan()
    assert await found(library, "zqcm") == []
    (library.base / MODEL).rename(library.base / "models/loras/ink.safetensors")
    await library.scan()
    assert await found(library, "zqlater") == ["ink.civitai.info"]
    (library.base / "models/loras/ink.safetensors").rename(library.base / MODEL)
    await library.scan()
    assert await found(library, "zqlater") == ["ink.safetensors"]


async def test_all_training_tags_are_words(library: Any) -> None:
    tags = {"10_zqfolder": {"zqfirst": 400, **{f"tag number {n}": 2 for n in range(3000)}, "zqrare": 1}}
    trigger = "zqtrigger " + "x" * 300 + " zqlast"
    metadata = {"ss_tag_frequency": json.dumps(tags), "modelspec.trigger_phrase": trigger, "ss_output_name": "zqname"}
    library.write("models/loras/tags.safetensors", safetensors({**metadata, "modelspec.thumbnail": "A" * (2 << 20)}))
    await library.scan()
    for word in ("zqfolder", "zqfirst", "zqrare", "zqtrigger", "zqlast", "zqname"):
        assert await found(library, word) == ["tags.safetensors"], word
