"""``q``: who is found by which words, beside other filters, page by page, and at once after a change."""

from __future__ import annotations

import io
import json
import struct
from typing import Any

import pytest
from aiohttp import FormData
from comfy_assets_node.comfy_assets.db.listing import pages as listing_pages
from comfy_assets_node.comfy_assets.search import index
from PIL import Image
from PIL.PngImagePlugin import PngInfo

PROMPT = {
    "3": {"class_type": "KSampler", "inputs": {"seed": 42, "sampler_name": "dpmpp_2m", "scheduler": "karras"}},
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "juggernautXL_v9.safetensors"}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a red Dragon, größe"}},
    "7": {"class_type": "LoraLoader", "inputs": {"lora_name": "style\\inkDrop.safetensors"}},
}
WORKFLOW = {"nodes": [{"type": "KSampler", "widgets_values": [7, "fixed", "euler"]}, {"widgets_values": ["a knight"]}]}
PARAMETERS = "a samurai\nSteps: 20, Sampler: Euler a, Seed: 1234567, Model: dreamshaper_8"
MAKE, MODEL, COMMENT = 0x010F, 0x0110, 0x9286


def picture(kind: str, number: int, **texts: str) -> bytes:
    """A picture of its own with these texts where ComfyUI, or its packs, would have put them."""
    file = io.BytesIO()
    options: dict[str, Any] = {}
    image = Image.new("RGB", (3, 2), (number, 0, 0))
    if kind == "PNG":
        info = options["pnginfo"] = PngInfo()
        for key, text in texts.items():
            info.add_text(key, text)
    elif texts:
        exif = Image.Exif()
        for tag, (key, text) in zip((MODEL, MAKE), texts.items(), strict=False):
            exif[tag] = f"{key}:{text}"
        options["exif"] = exif.tobytes()
    image.save(file, kind, **options)
    return file.getvalue()


def model(**metadata: str) -> bytes:
    """A safetensors file without tensors."""
    text = json.dumps({"__metadata__": metadata}).encode()
    return struct.pack("<Q", len(text)) + text


@pytest.fixture
async def shelf(library: Any) -> Any:
    """A library of pictures and a model."""
    prompt, workflow = json.dumps(PROMPT), json.dumps(WORKFLOW)
    for path, content in {
        "output/api_00001_.png": picture("PNG", 1, prompt=prompt, workflow=workflow),
        "output/ui_00002_.png": picture("PNG", 2, workflow=workflow),
        "output/other.png": picture("PNG", 3, parameters=PARAMETERS),
        "output/small.webp": picture("WEBP", 4, prompt=prompt),
        "output/small.jpg": picture("JPEG", 5, workflow=workflow),
        "input/Größe École 日本.png": picture("PNG", 6),
        "input/notes.txt": b"what nobody reads",
        "models/loras/inkDrop.safetensors": model(**{"modelspec.title": "Old Paper", "ss_output_name": "paper_v2"}),
    }.items():
        library.write(path, content)
    await library.scan()
    return library


DRAGONS = {"api_00001_.png", "small.webp"}
KNIGHTS = {"ui_00002_.png", "small.jpg"}
INK = DRAGONS | {"inkDrop.safetensors"}
EVERYTHING = INK | KNIGHTS | {"other.png", "Größe École 日本.png", "notes.txt"}
FOUND: list[tuple[str, set[str]]] = [
    # names
    ("api", {"api_00001_.png"}),
    ("0000", {"api_00001_.png", "ui_00002_.png"}),
    ("small", {"small.webp", "small.jpg"}),
    ("mall", set()),
    ("groSSe ecole", {"Größe École 日本.png"}),
    ("größe", DRAGONS | {"Größe École 日本.png"}),
    ("本", {"Größe École 日本.png"}),
    ("日本", {"Größe École 日本.png"}),
    # tags
    ("loras", {"inkDrop.safetensors"}),
    ("input", {"Größe École 日本.png", "notes.txt"}),
    ("model_type:loras", {"inkDrop.safetensors"}),
    # what the graph says: text, models, LoRAs, samplers, seeds
    ("dragon", DRAGONS),
    ("DRAG red", DRAGONS),
    ("red knight", set()),
    ("knight", KNIGHTS),
    ("juggernautxl", DRAGONS),
    ("inkdrop", INK),
    ('"inkdrop"', INK),
    ("ink", INK),
    ('"ink"', set()),
    ("dpmpp_2m karras", DRAGONS),
    ("euler", KNIGHTS | {"other.png"}),
    ("42", DRAGONS),
    ('"7"', KNIGHTS),
    ("1234567", {"other.png"}),
    ("samurai dreamshaper", {"other.png"}),
    # what a model's header says
    ("old paper", {"inkDrop.safetensors"}),
    ("paper_v2", {"inkDrop.safetensors"}),
    # types of nodes, by their whole names
    ("ksampler", DRAGONS | KNIGHTS),
    ("LoraLoader", DRAGONS),
    ("loraload", set()),
    ("node:loraload", DRAGONS),
    ("nobody", {"notes.txt"}),
    # fields, whole words and exclusions
    ("prompt:dragon", DRAGONS),
    ('prompt:"drag"', set()),
    ("prompt:juggernaut", set()),
    ("negative:dragon", set()),
    ("model:juggernautXL_v9", DRAGONS),
    ("model:juggernautXL_v9.safetensors", DRAGONS),
    ("lora:ink", INK),
    ("lora:style/inkDrop.safetensors", DRAGONS),
    ("<lora:inkDrop:0.8>", INK),
    ("seed:42", DRAGONS),
    ("seed:4", set()),
    ("seed:7", KNIGHTS),
    ("type:image -dragon", KNIGHTS | {"other.png", "Größe École 日本.png"}),
    ("type:png", {"api_00001_.png", "ui_00002_.png", "other.png", "Größe École 日本.png"}),
    ("type:jpg", {"small.jpg"}),
    ("type:jpeg", {"small.jpg"}),
    ("type:model", {"inkDrop.safetensors"}),
    ("type:text", {"notes.txt"}),
    ("folder:output -type:webp", {"api_00001_.png", "ui_00002_.png", "other.png", "small.jpg"}),
    ("folder:models/loras", {"inkDrop.safetensors"}),
    ("tag:input", {"Größe École 日本.png", "notes.txt"}),
    ("has:workflow", DRAGONS | KNIGHTS),
    ("has:prompt", DRAGONS | KNIGHTS | {"other.png"}),
    ("has:lora", INK),
    ("has:preview", DRAGONS | KNIGHTS | {"other.png", "Größe École 日本.png"}),
    ("-has:prompt -type:model", {"Größe École 日本.png", "notes.txt"}),
    ('-"red dragon" small', {"small.jpg"}),
    ("-output", {"Größe École 日本.png", "notes.txt", "inkDrop.safetensors"}),
    ("rating:0..", EVERYTHING),
    ("rating:>=1", set()),
    ("-rating:3..5 knight", KNIGHTS),
    # names of models as they are copied
    ("inkDrop.safetensors", INK),
    ("style\\inkDrop.safetensors", DRAGONS),
    ("models/loras/inkDrop.safetensors", INK),
    ("D:\\ComfyUI\\models\\loras\\inkDrop.safetensors", INK),
    # parameters as they are copied
    (PARAMETERS, {"other.png"}),
    ("a samurai\nNegative prompt: x\nSteps: 20", set()),
    # nothing of the index's own language
    ("dragon OR knight", set()),
    ("dragon NOT red", set()),
    ("drag*", DRAGONS),
    ("words:dragon", set()),
    ("", EVERYTHING),
    (" ", EVERYTHING),
]


async def test_who_is_found(shelf: Any, api: Any) -> None:
    for query, wanted in FOUND:
        found = await api.get("/api/assets", q=query, limit="500")
        assert {asset["name"] for asset in found["assets"]} == wanted, query
        assert (found["total"], found["has_more"]) == (len(wanted), False), query


REFUSED = ["_", '""', "?!", "prompt:", "a\0b"]


@pytest.mark.parametrize("path", ["/api/assets", "/api/assets/tags/refine"])
async def test_what_cannot_be_looked_for(shelf: Any, api: Any, path: str) -> None:
    for query in REFUSED:
        error = await api.error(path, 400, {"q": query})
        assert (error["code"], error["details"]) == ("INVALID_QUERY", {"field": "q"}), query


WRONG = [
    ("seed:abc", "seed:", 1),
    ("cat rating:9", "rating:", 5),
    ("cat rating:5..3", "rating:", 5),
    ("has:wings", "workflow", 1),
    ('type:"a b"', "suffix", 1),
    ("model:_", "letter", 1),
]


async def test_what_is_wrong_is_named(shelf: Any, api: Any) -> None:
    for query, part, position in WRONG:
        error = await api.error("/api/assets", 400, {"q": query})
        assert error["code"] == "INVALID_QUERY"
        assert part in error["message"], error
        assert error["details"] == {"field": "q", "position": position, "term": query[position - 1 :].replace('"', "")}
    many = " ".join(f"-w{number}" for number in range(65))
    assert "64" in (await api.error("/api/assets", 400, {"q": many}))["message"]


async def test_ratings(shelf: Any, api: Any) -> None:
    for name, stars in {"small.webp": 5, "small.jpg": 3, "other.png": "5", "notes.txt": 0}.items():
        asset = await shelf.asset(name)
        await api.send("PUT", f"/api/assets/{asset['id']}", json={"user_metadata": {"rating": stars}})
    rated: dict[str, set[str]] = {
        "rating:5": {"small.webp"},
        "rating:>=3": {"small.webp", "small.jpg"},
        "rating:>3": {"small.webp"},
        "rating:1..4": {"small.jpg"},
        "rating:..3": EVERYTHING - {"small.webp"},
        "rating:<3": EVERYTHING - {"small.webp", "small.jpg"},
        "rating:0": EVERYTHING - {"small.webp", "small.jpg"},
        "-rating:5": EVERYTHING - {"small.webp"},
        "has:rating": {"small.webp", "small.jpg"},
        "-has:rating": EVERYTHING - {"small.webp", "small.jpg"},
        "rating:>=3 knight": {"small.jpg"},
        "rating:>=3 -rating:5 type:image": {"small.jpg"},
    }
    for query, wanted in rated.items():
        found = await api.get("/api/assets", q=query, limit="500")
        assert {asset["name"] for asset in found["assets"]} == wanted, query
        assert found["total"] == len(wanted)
        counts = (await api.get("/api/assets/tags/refine", q=query))["tag_counts"]
        assert counts == _tag_counts(found["assets"]), query


async def test_a_prompt_of_any_length(library: Any, api: Any) -> None:
    words = [f"word{number}x" for number in range(400)]
    graph: Any = {"1": {"class_type": "CLIPTextEncode", "inputs": {"text": ", ".join(words)}}}
    other = {"1": {"class_type": "CLIPTextEncode", "inputs": {"text": ", ".join(words[:-1])}}}
    library.write("output/long.png", picture("PNG", 1, prompt=json.dumps(graph)))
    library.write("output/other.png", picture("PNG", 2, prompt=json.dumps(other)))
    await library.scan()
    assert set(await api.names(q=", ".join(words))) >= {"long.png"}
    assert await api.names(q=" ".join(words[-20:])) == ["long.png"]
    commas = ",".join(["1girl", "solo", "long_hair", *[f"tag{number}" for number in range(200)], "zqlast"])
    graph["1"]["inputs"]["text"] = commas
    library.write("output/commas.png", picture("PNG", 3, prompt=json.dumps(graph)))
    await library.scan()
    assert await api.names(q="zqlast") == await api.names(q=commas) == ["commas.png"]


async def test_folders_are_words_and_follow_a_move(library: Any, api: Any) -> None:
    library.write("output/Summer Trip/one.txt", b"1")
    library.write("models/loras/Pony/Style/ink.safetensors", model(a="b"))
    await library.scan()
    assert await api.names(q="summer") == await api.names(q="folder:summer") == ["one.txt"]
    assert await api.names(q="Style/ink") == await api.names(q="Pony/Style/ink.safetensors") == ["ink.safetensors"]
    (library.base / "output/Summer Trip").rename(library.base / "output/Winter")
    await library.scan()
    assert await api.names(q="summer") == await api.names(q="folder:trip") == []
    assert await api.names(q="winter") == await api.names(q="folder:winter one") == ["one.txt"]


async def test_names_with_accents_of_their_own(library: Any, api: Any) -> None:
    composed, decomposed = "\u00e9cole.txt", "E\u0301COLE zwei.txt"
    library.write(f"input/{composed}", b"1")
    library.write(f"input/{decomposed}", b"2")
    await library.scan()
    await api.names(q="cole")  # indexes what is new
    for needle in ("\u00e9cole", "e\u0301cole", "\u00c9", "e\u0301"):
        assert set(await api.names(name_contains=needle)) == {composed, decomposed}, needle
        assert await api.names(name_contains=f"{needle}x") == []


async def test_emoji_are_words(library: Any, api: Any) -> None:
    text = {"1": {"class_type": "CLIPTextEncode", "inputs": {"text": "a 🐉🔥 with ❤️"}}}
    library.write("output/a.png", picture("PNG", 1, prompt=json.dumps(text)))
    library.write("output/🐉.txt", b"1")
    await library.scan()
    assert set(await api.names(q="🐉")) == {"a.png", "🐉.txt"}
    assert await api.names(q="🔥 🐉") == await api.names(q="❤") == await api.names(q="prompt:🐉") == ["a.png"]


BESIDE: list[tuple[dict[str, str], set[str]]] = [
    ({"q": "inkdrop", "include_tags": "output"}, DRAGONS),
    ({"q": "inkdrop", "exclude_tags": "output"}, {"inkDrop.safetensors"}),
    ({"q": "inkdrop", "include_tags": "input"}, set()),
    ({"q": "inkdrop", "name_contains": "PI_"}, {"api_00001_.png"}),
    ({"q": "inkdrop", "name_contains": "i"}, {"api_00001_.png", "inkDrop.safetensors"}),
    ({"q": "inkdrop", "name_contains": "nothing"}, set()),
    ({"q": "inkdrop", "metadata_filter": '{"format":["webp","safetensors"]}'}, {"small.webp", "inkDrop.safetensors"}),
    ({"q": "inkdrop", "metadata_filter": '{"format":"png","width":3}'}, {"api_00001_.png"}),
    ({"q": "inkdrop", "hash": "blake3:" + "0" * 64}, set()),
]


async def test_beside_other_filters(shelf: Any, api: Any) -> None:
    for query, wanted in BESIDE:
        found = await api.get("/api/assets", **query)
        assert {asset["name"] for asset in found["assets"]} == wanted, query
        assert found["total"] == len(wanted)
        if "hash" not in query:  # histograms have no such filter
            counts = (await api.get("/api/assets/tags/refine", **query))["tag_counts"]
            assert counts == _tag_counts(found["assets"]), query


def _tag_counts(assets: list[dict[str, Any]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for asset in assets:
        for tag in asset["tags"]:
            counts[tag] = counts.get(tag, 0) + 1
    return counts


async def test_a_hash_beside_words(shelf: Any, api: Any) -> None:
    asset = await shelf.asset("small.webp")
    assert await api.names(q="inkdrop", hash=asset["hash"]) == ["small.webp"]
    assert await api.names(q="knight", hash=asset["hash"]) == []


@pytest.mark.parametrize("look", [1, 3, 100])
@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("sort", ["name", "created_at", "updated_at", "size", "last_access_time"])
async def test_page_after_page(
    library: Any, hand: Any, api: Any, monkeypatch: pytest.MonkeyPatch, sort: str, order: str, look: int
) -> None:
    """Every asset once, in order, by cursor and by offset, whichever way the page is found."""
    for number in range(40):
        library.write(f"input/{number}/{'wanted' if number % 3 else 'other'} {number % 5}.txt", b"x" * (number % 4))
    await library.scan()
    await hand.execute("UPDATE assets SET created_at = id % 3, updated_at = id % 6, last_access_at = id % 4")
    await hand.execute("UPDATE assets SET last_access_at = NULL WHERE id % 5 = 0")
    if look < 100:
        monkeypatch.setattr(listing_pages, "_LEAST_WALK", 0)
        monkeypatch.setattr(listing_pages, "isqrt", lambda number: 0)
        monkeypatch.setattr(listing_pages, "_LEAST_LOOK", look)
        monkeypatch.setattr(listing_pages, "_MOST_LOOK", 2 * look)
        monkeypatch.setattr(listing_pages, "_PATIENCE", 4 * look)
    whole = await api.get("/api/assets", sort=sort, order=order, limit="500")
    wanted = [asset["id"] for asset in whole["assets"] if asset["name"].startswith("wanted")]
    assert len(wanted) == 26
    for filters in ({"q": "want"}, {"name_contains": "ANTED"}):
        for limit in (1, 7, 25, 26, 27) if look == 1 else (7, 25, 26, 27):
            query = {**filters, "sort": sort, "order": order, "limit": str(limit)}
            by_offset = [await api.get("/api/assets", offset=str(at), **query) for at in range(0, 30, limit)]
            assert [asset["id"] for page in by_offset for asset in page["assets"]] == wanted
            assert {page["total"] for page in by_offset} == {26}
            if sort == "last_access_time":
                continue
            pages = by_offset[:1]
            while "next_cursor" in pages[-1]:
                pages.append(await api.get("/api/assets", after=pages[-1]["next_cursor"], **query))
            assert [asset["id"] for page in pages for asset in page["assets"]] == wanted
            assert [page["has_more"] for page in pages] == [True] * (len(pages) - 1) + [False]


async def test_at_once_after_a_change(shelf: Any, api: Any) -> None:
    """Nobody waits for the background."""
    form = FormData()
    form.add_field("file", picture("PNG", 9, prompt=json.dumps(PROMPT)), filename="uploaded.png")
    async with shelf.client.post("/api/assets", data=form) as response:
        asset = (await response.json())["id"]
    assert set(await api.names(q="dragon")) == DRAGONS | {"uploaded.png"}
    await api.send("POST", f"/api/assets/{asset}/tags", json={"tags": ["Favourite thing"]})
    assert await api.names(q="favour dragon") == ["uploaded.png"]
    await api.send("PUT", f"/api/assets/{asset}", json={"name": "renamed.png"})
    assert await api.names(q="favour") == await api.names(name_contains="RENAM") == ["renamed.png"]
    assert await api.names(q="uploaded") == await api.names(name_contains="uploaded") == []
    await api.send("DELETE", f"/api/assets/{asset}/tags", json={"tags": ["Favourite thing"]})
    assert await api.names(q="favour") == []
    await api.send("DELETE", f"/api/assets/{asset}", 204)
    assert set(await api.names(q="dragon")) == DRAGONS
    assert await api.names(q="renamed") == await api.names(name_contains="renamed") == []
    assert (await api.get("/api/assets/tags/refine", q="renamed"))["tag_counts"] == {}
    await shelf.services.trash.restore(asset)
    assert set(await api.names(q="dragon")) == DRAGONS | {"renamed.png"}
    assert await api.names(name_contains="renamed") == ["renamed.png"]


async def test_users_find_what_they_may_know_of(make_library: Any, api_of: Any, hand_of: Any) -> None:
    library = await make_library(users=frozenset({"ann", "bob"}))
    for name in ("dragon ann.png", "dragon bob.png", "dragon all.png"):
        library.write(f"output/{name}", name.encode())
    await library.scan()
    hand = hand_of(library)
    await hand.belongs("dragon ann.png", "ann", "output", "treasure")
    await hand.belongs("dragon bob.png", "bob", "output")
    for user, own in (("ann", "dragon ann.png"), ("bob", "dragon bob.png")):
        api = api_of(library).as_user(user)
        for query in ({"q": "dragon"}, {"name_contains": "dragon"}):
            assert set(await api.names(**query)) == {own, "dragon all.png"}
            assert await api.names(include_public="false", **query) == [own]
            assert (await api.get("/api/assets", **query))["total"] == 2
        assert await api.names(q="treasure") == (["dragon ann.png"] if user == "ann" else [])


async def test_a_missing_file_is_found_like_any_other(shelf: Any, api: Any) -> None:
    (shelf.base / "output/small.webp").unlink()
    await shelf.scan()
    assert set(await api.names(q="dragon")) == DRAGONS
    assert await api.names(q="dragon", exclude_tags="missing") == ["api_00001_.png"]
    assert await api.names(q="missing") == []


async def test_more_than_can_be_indexed_in_time(shelf: Any, api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer would be wrong, so there is none; parts of names are found all the same."""
    monkeypatch.setattr(index, "_PATIENCE_S", 0.0)
    for path in ("/api/assets", "/api/assets/tags/refine"):
        error = await api.error(path, 503, {"q": "dragon"})
        assert error["code"] == "SEARCH_NOT_READY"
        assert error["details"] == {"field": "q", "indexed": 0, "total": len(EVERYTHING)}
    assert await api.names(name_contains="PI_") == ["api_00001_.png"]
    monkeypatch.undo()
    assert set(await api.names(q="dragon")) == DRAGONS


async def test_a_model_is_found_by_what_lies_beside_it(library: Any, api: Any) -> None:
    info = {"trainedWords": ["zqtrained"], "baseModel": "Pony", "model": {"name": "zqname", "type": "LORA"}}
    library.write("models/loras/Style/ink.safetensors", model(ss_output_name="ink"))
    library.write("models/loras/Style/ink.civitai.info", json.dumps(info).encode())
    await library.scan()
    assert await api.names(q="zqtrained") == await api.names(q="zqname") == ["ink.safetensors"]
    library.write("models/loras/Style/ink.json", json.dumps({"activation text": "zqact", "notes": "zqnote"}).encode())
    await library.scan()
    assert await api.names(q="zqact zqnote zqtrained") == ["ink.safetensors"]
    library.write("models/loras/Style/ink.json", json.dumps({"activation text": "zqact", "notes": "zqother"}).encode())
    await library.scan()
    assert await api.names(q="zqnote") == []
    assert await api.names(q="zqother") == ["ink.safetensors"]
    (library.base / "models/loras/Style/ink.civitai.info").unlink()
    (library.base / "models/loras/Style/ink.safetensors").unlink()
    await library.scan()
    assert await api.names(q="zqother") == ["ink.json"]  # a file like any other without its model


async def test_an_index_that_sqlite_calls_malformed_is_built_again(shelf: Any, api: Any, hand: Any) -> None:
    assert set(await api.names(q="dragon")) == DRAGONS
    asset = await shelf.asset("small.webp")
    await api.send("POST", f"/api/assets/{asset['id']}/tags", json={"tags": ["x"]})
    words = " ".join(f"never{number}" for number in range(5000))  # more words than the whole index has
    await hand.execute(f"UPDATE search_stale SET name_key = '{words}'")
    assert set(await api.names(q="dragon")) == DRAGONS
    assert await api.names(q="never") == []
    assert await api.names(q="tag:x") == ["small.webp"]
