"""listAssets: what is in an entry, filters, sorts, errors. Paging has a module of its own."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

LORAS = {"A.safetensors", "b.safetensors", "c.safetensors"}
EVERYTHING = LORAS | {"readme.txt", "deep.ckpt", "Größe 100%_x.png", "photo.jpg"}


async def fill(library: Any) -> None:
    """Seven files: sizes and times grow in the order given."""
    for index, path in enumerate(
        [
            "models/loras/b.safetensors",
            "models/loras/A.safetensors",
            "models/loras/c.safetensors",
            "models/loras/readme.txt",
            "models/checkpoints/sub/deep.ckpt",
            "output/2026/Größe 100%_x.png",
            "input/photo.jpg",
        ]
    ):
        file = library.write(path, bytes([index]) * (10 + index))
        os.utime(file, (1000 + index, 1000 + index))
    await library.scan()


@pytest.fixture
async def shelf(library: Any) -> Any:
    """The library with seven files."""
    await fill(library)
    return library


FILTERS: list[tuple[list[tuple[str, str]], set[str]]] = [
    ([], EVERYTHING),
    ([("include_tags", "models,loras")], LORAS | {"readme.txt"}),
    ([("include_tags", "models"), ("include_tags", "loras")], LORAS | {"readme.txt"}),
    ([("include_tags", " models , ,loras,models,")], LORAS | {"readme.txt"}),
    ([("include_tags", "models"), ("include_tags", "model_type:loras,loras")], LORAS),
    ([("include_tags", "loras,checkpoints")], set()),
    ([("include_tags", "LORAS")], set()),
    ([("include_tags", "")], EVERYTHING),
    ([("include_tags", "models"), ("exclude_tags", "loras")], {"deep.ckpt"}),
    ([("exclude_tags", "models,input")], {"Größe 100%_x.png"}),
    ([("exclude_tags", "models"), ("exclude_tags", "output")], {"photo.jpg"}),
    ([("exclude_tags", "nothing-has-this")], EVERYTHING),
    ([("include_tags", "nothing-has-this")], set()),
    ([("include_tags", "models"), ("exclude_tags", "models")], set()),
    ([("include_tags", "'; DROP TABLE assets; --")], set()),
    ([("name_contains", "GRÖSSE")], {"Größe 100%_x.png"}),
    ([("name_contains", "größe")], {"Größe 100%_x.png"}),
    ([("name_contains", "SAFETENSORS")], LORAS),
    ([("name_contains", "%")], {"Größe 100%_x.png"}),
    ([("name_contains", "_")], {"Größe 100%_x.png"}),
    ([("name_contains", "0%_X")], {"Größe 100%_x.png"}),
    ([("name_contains", "p%o")], set()),
    ([("name_contains", "p_oto")], set()),
    ([("name_contains", "*")], set()),
    ([("name_contains", "'")], set()),
    ([("name_contains", "2026")], set()),
    ([("name_contains", "")], EVERYTHING),
    ([("name_contains", "x" * 3000)], set()),
    ([("name_contains", "photo"), ("include_tags", "models")], set()),
    ([("hash", "photo.jpg")], {"photo.jpg"}),
    ([("hash", "2026/Größe 100%_x.png")], {"Größe 100%_x.png"}),
    ([("hash", "Größe 100%_x.png")], set()),
    ([("hash", "A.safetensors")], set()),  # loaders name a model by another path
    ([("hash", "photo.jpg"), ("tags_none", "input")], set()),
    ([("hash", "photo.jpg"), ("name_contains", "photo")], {"photo.jpg"}),
    ([("hash", "photo.jpg"), ("q", "readme")], set()),
    ([("hash", "blake3:" + "0" * 64)], set()),
    ([("hash", "blake3:xyz")], set()),
    ([("hash", "")], EVERYTHING),
    ([("include_public", "false")], EVERYTHING),  # of the only user
    ([("include_public", "true")], EVERYTHING),
    ([("limit", "1"), ("limit", "500")], EVERYTHING),
    ([("unknown", "parameter")], EVERYTHING),
]


async def test_filters(shelf: Any, api: Any) -> None:
    for query, names in FILTERS:
        page = (await api.send("GET", "/api/assets", params=query)).json
        assert {asset["name"] for asset in page["assets"]} == names, query
        assert (page["total"], page["has_more"]) == (len(names), False), query
        assert "next_cursor" not in page


async def test_the_hash_filter_finds_every_copy(shelf: Any, api: Any) -> None:
    shelf.write("output/copy.safetensors", (shelf.base / "models/loras/b.safetensors").read_bytes())
    await shelf.scan()
    digest = (await shelf.asset("b.safetensors"))["hash"]
    assert set(await api.names(hash=digest)) == {"b.safetensors", "copy.safetensors"}
    assert await api.names(hash=digest, include_tags="output") == ["copy.safetensors"]
    assert set(await api.names(hash=digest.replace("blake3:", ""))) == {"b.safetensors", "copy.safetensors"}
    assert await api.names(hash=digest.replace("blake3:", "sha256:")) == []
    assert await api.names(hash=digest.upper()) == []


async def test_an_asset_says_what_and_where_it_is(shelf: Any) -> None:
    model = await shelf.asset("deep.ckpt")
    assert model["tags"] == ["models", "checkpoints", "model_type:checkpoints"]
    assert model["file_path"] == "models/checkpoints/sub/deep.ckpt"
    assert model["loader_path"] == "sub/deep.ckpt"
    assert model["hash"].startswith("blake3:")
    assert model["created_at"] == "1970-01-01T00:16:44Z"
    assert model["size"] == 14
    assert not {"preview_url", "preview_id"} & set(model)
    image = await shelf.asset("Größe 100%_x.png")
    url = "/api/view?type=output&filename=Gr%C3%B6%C3%9Fe%20100%25_x.png&subfolder=2026&res=512"
    assert (image["preview_id"], image["preview_url"]) == (image["id"], url)
    assert image["tags"] == ["output"]
    assert image["loader_path"] == "2026/Größe 100%_x.png"
    photo = await shelf.asset("photo.jpg")
    assert photo["preview_url"] == "/api/view?type=input&filename=photo.jpg&res=512"
    assert photo["loader_path"] == "photo.jpg"
    # A file that the category's loaders do not take has no path for them.
    assert "loader_path" not in await shelf.asset("readme.txt")


async def test_an_asset_not_yet_hashed_has_all_but_hash_and_metadata(make_library: Any, api_of: Any) -> None:
    from comfy_assets_node.comfy_assets.config import Config

    library = await make_library(Config(scan_on_start=False, hash_files=False))
    await fill(library)
    assets = (await api_of(library).get("/api/assets"))["assets"]
    assert len(assets) == len(EVERYTHING)
    expected = {
        "id", "name", "display_name", "size", "mime_type", "tags", "user_metadata",
        "created_at", "updated_at", "is_immutable", "file_path",
    }  # fmt: skip
    for asset in assets:
        assert set(asset) - {"loader_path", "preview_id", "preview_url"} == expected
        assert asset["display_name"] == asset["name"]
        assert asset["user_metadata"] == {}
        assert asset["is_immutable"] is False


async def test_every_field_that_is_present_has_a_value(shelf: Any, api: Any, hand: Any) -> None:
    await hand.user_metadata("photo.jpg", {"note": None, "rating": 5})
    (shelf.base / "models/loras/readme.txt").unlink()
    await shelf.scan()
    assets = (await api.get("/api/assets"))["assets"]  # which looks for nulls
    assert [a["user_metadata"] for a in assets if a["name"] == "photo.jpg"] == [{"note": None, "rating": 5}]
    assert all(a["metadata"] is not None for a in assets if "hash" in a)


async def test_a_missing_file_stays_listed_with_a_tag(shelf: Any, api: Any) -> None:
    (shelf.base / "input/photo.jpg").unlink()
    await shelf.scan()
    assert await api.names(include_tags="missing") == ["photo.jpg"]
    gone = await shelf.asset("photo.jpg")
    assert gone["tags"] == ["input", "missing"]
    assert "preview_url" not in gone


BY_NAME = [
    "A.safetensors", "b.safetensors", "c.safetensors", "deep.ckpt",
    "Größe 100%_x.png", "photo.jpg", "readme.txt",
]  # fmt: skip
BY_SIZE = [
    "b.safetensors", "A.safetensors", "c.safetensors", "readme.txt",
    "deep.ckpt", "Größe 100%_x.png", "photo.jpg",
]  # fmt: skip
BY_UPDATE = [
    "deep.ckpt", "b.safetensors", "photo.jpg", "A.safetensors",
    "readme.txt", "c.safetensors", "Größe 100%_x.png",
]  # fmt: skip
ORDERS = [
    ("name", BY_NAME),
    ("size", BY_SIZE),
    ("created_at", BY_SIZE),
    ("updated_at", BY_UPDATE),
    ("last_access_time", BY_UPDATE),
]


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize(("sort", "names"), ORDERS)
async def test_sorts(shelf: Any, api: Any, hand: Any, sort: str, order: str, names: list[str]) -> None:
    for position, name in enumerate(BY_UPDATE):
        await hand.execute("UPDATE assets SET updated_at = ? WHERE name = ?", position, name)
        # Never having been accessed comes before every access.
        await hand.execute("UPDATE assets SET last_access_at = ? WHERE name = ?", position or None, name)
    expected = names if order == "asc" else names[::-1]
    assert await api.names(sort=sort, order=order) == expected


async def test_the_newest_come_first_unless_asked_otherwise(shelf: Any, api: Any) -> None:
    assert await api.names() == BY_SIZE[::-1]
    assert await api.names(order="asc") == BY_SIZE
    assert await api.names(sort="name") == BY_NAME[::-1]


@pytest.mark.parametrize("sort", ["name", "size", "created_at", "updated_at", "last_access_time"])
async def test_ties_have_one_order_and_its_reverse(library: Any, api: Any, hand: Any, sort: str) -> None:
    for index in range(8):
        library.write(f"input/{index}/same.txt", b"same")
    await library.scan()
    await hand.execute("UPDATE assets SET created_at = 1, updated_at = 1")
    ascending = await api.get("/api/assets", sort=sort, order="asc")
    descending = await api.get("/api/assets", sort=sort, order="desc")
    ids = [asset["id"] for asset in ascending["assets"]]
    assert len(set(ids)) == 8
    assert [asset["id"] for asset in descending["assets"]] == ids[::-1]


async def test_spellings_of_true_and_false(shelf: Any, api: Any) -> None:
    shelf.host.users = frozenset({"default"})
    for value in ("true", "True", "TRUE", "1"):
        assert len(await api.names(include_public=value)) == len(EVERYTHING)
    for value in ("false", "False", "FALSE", "0"):
        assert await api.names(include_public=value) == []


BAD_PARAMETERS = [
    *(("limit", v) for v in ["0", "-1", "501", str(2**63), "9" * 30, "9" * 5000, "abc", "", "1.5", "0x10", "٥"]),
    *(("limit", v) for v in ["NaN", "Infinity", "true", "null", "+5", " 5", "1,2"]),
    *(("offset", v) for v in ["-1", str(2**63), "9" * 30, "9" * 5000, "x", "", "0.5", "-0.1"]),
    *(("sort", v) for v in ["", "id", "NAME", "name asc", "name;--", "hash"]),
    *(("order", v) for v in ["", "ASC", "ascending", "desc,asc"]),
    *(("include_public", v) for v in ["", "yes", "no", "2", "on", "null", "truthy"]),
    ("name_contains", "a\0b"),
    ("include_tags", "a\0b"),
    ("tags_any", "a\0b"),
    ("hash", "\0"),
]


async def test_a_bad_parameter_is_named(library: Any, api: Any) -> None:
    for field, value in BAD_PARAMETERS:
        body = await api.error("/api/assets", 400, {field: value})
        assert (body["code"], body["details"]) == ("INVALID_QUERY", {"field": field}), value
        assert body["message"]


async def test_bounds_are_inclusive(shelf: Any, api: Any) -> None:
    assert len(await api.names(limit="1")) == 1
    assert len(await api.names(limit="500")) == 7
    assert await api.names(offset=str(2**63 - 1)) == []
    assert len(await api.names(include_tags=",".join(["models"] * 300))) == 5
    assert await api.names(include_tags=",".join(f"tag{n}" for n in range(100))) == []


async def test_a_bad_parameter_counts_although_the_page_would_be_empty(library: Any, api: Any) -> None:
    body = await api.error("/api/assets", 400, {"hash": "photo.jpg", "metadata_filter": "["})
    assert body["details"]["field"] == "metadata_filter"


METADATA = {
    "b.safetensors": {"kind": "style", "rank": 16, "nsfw": False, "scale": 1.5},
    "A.safetensors": {"kind": "person", "rank": 32, "nsfw": True, "kind.sub": "x", "quote'\"": "y"},
    "c.safetensors": {
        "kind": None,
        "rank": "16",
        "größe": "L",
        "list": ["style", 16, True, None],
        "none": [None],
        "empty": [],
        "nested": {"a": 1, "b": {"c": [1, None], "d.e": "x"}},
        "steps": [{"type": "crop", "p": 0.5}, ["y"]],
    },
    "deep.ckpt": {"rank": 0, "flag": 1, "off": 0},
}

METADATA_FILTERS: list[tuple[dict[str, Any], set[str]]] = [
    ({}, EVERYTHING),
    ({"kind": "style"}, {"b.safetensors"}),
    ({"kind": "STYLE"}, set()),
    ({"kind": ["style", "person"]}, {"b.safetensors", "A.safetensors"}),
    ({"kind": ["style", None]}, EVERYTHING - {"A.safetensors"}),
    ({"kind": None}, EVERYTHING - {"b.safetensors", "A.safetensors"}),
    ({"kind": []}, set()),
    ({"rank": 16}, {"b.safetensors"}),
    ({"rank": 16.0}, {"b.safetensors"}),
    ({"rank": "16"}, {"c.safetensors"}),
    ({"rank": 0}, {"deep.ckpt"}),
    ({"rank": 16, "kind": "style"}, {"b.safetensors"}),
    ({"rank": 16, "kind": "person"}, set()),
    ({"nsfw": True}, {"A.safetensors"}),
    ({"nsfw": False}, {"b.safetensors"}),
    ({"nsfw": 1}, set()),
    ({"nsfw": 0}, set()),
    ({"flag": 1}, {"deep.ckpt"}),
    ({"flag": True}, set()),
    ({"off": False}, set()),
    ({"scale": 1.5}, {"b.safetensors"}),
    ({"kind.sub": "x"}, {"A.safetensors"}),
    ({"quote'\"": "y"}, {"A.safetensors"}),
    ({"größe": "L"}, {"c.safetensors"}),
    ({"nested": None}, EVERYTHING - {"c.safetensors"}),
    ({"nested.a": 1}, set()),
    ({"nested": {"a": 1, "b": {"c": [1, None], "d.e": "x"}}}, {"c.safetensors"}),
    ({"nested": {"b": {"d.e": "x", "c": [1.0, None]}, "a": 1.0}}, {"c.safetensors"}),
    ({"nested": {"a": 1}}, set()),
    ({"nested": {"a": True, "b": {"c": [1, None], "d.e": "x"}}}, set()),
    ({"nested": {"a": 1, "b": {"c": [None, 1], "d.e": "x"}}}, set()),
    ({"nested": {"a": 1, "b": {"c": [1, None], "d": {"e": "x"}}}}, set()),
    ({"nested": {}}, set()),
    ({"nested": [{"a": 2}, {"a": 1, "b": {"c": [1, None], "d.e": "x"}}]}, {"c.safetensors"}),
    ({"list": "style"}, {"c.safetensors"}),
    ({"list": ["other", 16]}, {"c.safetensors"}),
    ({"list": "16"}, set()),
    ({"list": True}, {"c.safetensors"}),
    ({"list": False}, set()),
    ({"list": 1}, set()),
    ({"list": None}, EVERYTHING - {"c.safetensors"}),
    ({"none": None}, EVERYTHING),
    ({"empty": None}, EVERYTHING),
    ({"empty": {}}, set()),
    ({"steps": {"p": 0.5, "type": "crop"}}, {"c.safetensors"}),
    ({"steps": {"type": "crop"}}, set()),
    ({"steps": [["x"], ["y"]]}, {"c.safetensors"}),
    ({"steps": "crop"}, set()),
    ({"$": "style"}, set()),
    ({"": "style"}, set()),
    ({"absent": None}, EVERYTHING),
    ({"rank": 2**63 - 1}, set()),
    ({"rank": 1e308}, set()),
    ({"kind": "\0"}, set()),
    ({f"k{n}": None for n in range(32)}, EVERYTHING),
]


# With more fields than a few, all of them are looked up in one pass.
PADDING = {f"absent{number}": None for number in range(4)}


@pytest.mark.parametrize("padding", [{}, PADDING])
@pytest.mark.parametrize("place", ["user_metadata", "metadata"])
async def test_metadata_filter(shelf: Any, api: Any, hand: Any, place: str, padding: dict[str, Any]) -> None:
    await hand.execute("UPDATE contents SET metadata = '{}'")
    for name, value in METADATA.items():
        await getattr(hand, place)(name, value)
    for wanted, names in METADATA_FILTERS:
        query = {"metadata_filter": json.dumps({**wanted, **padding} if len(wanted) < 30 else wanted)}
        page = await api.get("/api/assets", **query)
        assert {asset["name"] for asset in page["assets"]} == names, wanted
        assert page["total"] == len(names), wanted
        histogram = await api.get("/api/assets/tags/refine", **query)
        assert histogram["tag_counts"].get("models", 0) == len(names - {"Größe 100%_x.png", "photo.jpg"}), wanted


async def test_metadata_of_either_kind_will_do(shelf: Any, api: Any, hand: Any) -> None:
    await hand.metadata("b.safetensors", {"kind": "style"})
    await hand.user_metadata("b.safetensors", {"kind": "mine"})
    for kind in ("style", "mine", ["style", "mine", None]):
        for padding in ({"rank": None}, PADDING):
            wanted = {"kind": kind, "created": None, **padding}
            found = await api.names(metadata_filter=json.dumps(wanted))
            assert "b.safetensors" in found and (isinstance(kind, list) or len(found) == 1), wanted
    assert await api.names(metadata_filter="") == BY_SIZE[::-1]


BAD_FILTERS = {
    "not JSON": "{",
    "a word": "kind",
    "cut off": '{"a":',
    "an array": "[]",
    "a string": '"kind"',
    "a number": "1",
    "null": "null",
    "two values": "{} {}",
    "NaN": '{"a": NaN}',
    "an infinite number": '{"a": 1e999}',
    "an object of many values": '{"a": ' + json.dumps({f"k{n}": n for n in range(101)}) + "}",
    "many empty objects": json.dumps({"a": [{}] * 101}),
    "33 levels": '{"a": ' + "[" * 32 + "]" * 32 + "}",
    "a large integer in an object": '{"a": {"b": [' + str(-(2**63) - 1) + "]}}",
    "deeply nested": '{"a": ' + "[" * 1200 + "]" * 1200 + "}",
    "deeply nested and cut off": "[" * 2500,
    "deep objects": '{"a":' * 500 + "1" + "}" * 500,
    "half a character": '{"a": "\\ud800"}',
    "half a character in a key": '{"\\ud800": 1}',
    "an integer beyond 64 bits": '{"a": ' + str(2**63) + "}",
    "an integer far beyond": '{"a": ' + "9" * 400 + "}",
    "an integer far, far beyond": '{"a": -' + "9" * 5000 + "}",
    "too many fields": json.dumps({f"k{n}": 1 for n in range(33)}),
    "too many values": json.dumps({"a": list(range(101))}),
    "too many values in all": json.dumps({f"k{n}": list(range(10)) for n in range(11)}),
}


@pytest.mark.parametrize("path", ["/api/assets", "/api/assets/tags/refine"])
async def test_a_bad_metadata_filter(library: Any, api: Any, path: str) -> None:
    for case, text in BAD_FILTERS.items():
        body = await api.error(path, 400, {"metadata_filter": text})
        assert (body["code"], body["details"]) == ("INVALID_QUERY", {"field": "metadata_filter"}), case
