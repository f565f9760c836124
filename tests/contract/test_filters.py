"""Filters of listings beyond tags: kinds, stars, favourites, times, sizes, dimensions, use; and their sorts."""

from __future__ import annotations

import itertools
import json
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.db.listing import pages
from support.files import picture, safetensors

GRAPH = {"3": {"class_type": "KSampler", "inputs": {"seed": 42}}}
DAY = 86_400_000
MIX = "Pony, Flux\\ and more"
NEW_YEAR = 1_767_225_600_000  # 2026-01-01 in UTC
FILES = {
    "output/wide.png": picture(1, (40, 20), prompt=json.dumps(GRAPH)),
    "output/tall.png": picture(2, (20, 40)),
    "output/square.png": picture(3, (30, 30)),
    "output/clip.mp4": b"not really",
    "output/voice.flac": b"fLaC",
    "output/shape.glb": b"glTF",
    "output/flow.json": b"{}",
    "output/data.xyz": b"x",
    "input/note.txt": b"a note",
    "models/loras/pony.safetensors": safetensors(1, 400, {"ss_base_model_version": "pony"}),
    "models/loras/flux.safetensors": safetensors(2, 400),
    "models/loras/mix.safetensors": safetensors(3, 400),
}
ALL = {path.rpartition("/")[2].partition(".")[0] for path in FILES}
STARS: dict[str, Any] = {"wide": 5, "tall": 3, "square": 4.5, "clip": "5", "voice": 0, "shape": -2}


@pytest.fixture
async def shelf(library: Any, hand: Any) -> Any:
    """Files of every kind, a day apart, some with stars, and one that is gone."""
    for path, content in FILES.items():
        library.write(path, content)
    await library.scan()
    for day, path in enumerate(FILES):
        name = path.rpartition("/")[2]
        await hand.created(name, NEW_YEAR + day * DAY)
        if (stem := name.partition(".")[0]) in STARS:
            await hand.user_metadata(name, {"rating": STARS[stem], "favorite": stem in ("wide", "clip")})
    await hand.metadata("pony.safetensors", {"base_model": "Pony"})
    await hand.metadata("flux.safetensors", {"base_model": "Flux"})
    await hand.metadata("mix.safetensors", {"base_model": MIX})
    (library.base / "output/data.xyz").unlink()
    await library.scan()
    return library


def stems(page: Any) -> set[str]:
    return {asset["name"].partition(".")[0] for asset in page["assets"]}


FILTERS: list[tuple[dict[str, str], set[str]]] = [
    ({"kind": "image"}, {"wide", "tall", "square"}),
    ({"kind": "video,audio"}, {"clip", "voice"}),
    ({"kind": "3d"}, {"shape"}),
    ({"kind": "model"}, {"pony", "flux", "mix"}),
    ({"kind": "text"}, {"note", "flow"}),
    ({"kind": "other"}, {"data"}),
    ({"kind": ""}, ALL),
    ({"kind": "image", "q": "-type:image"}, set()),
    ({"kind": "image", "tags_all": "output", "name_contains": "l"}, {"tall"}),
    ({"q": "type:pictures"}, {"wide", "tall", "square"}),
    ({"q": "-type:image -type:model"}, ALL - {"wide", "tall", "square", "pony", "flux", "mix"}),
    ({"rating": "5"}, {"wide"}),
    ({"rating": "4.."}, {"wide", "square"}),
    ({"rating": "3..4"}, {"tall"}),
    ({"rating": ">=3"}, {"wide", "tall", "square"}),
    ({"rating": "..4"}, ALL - {"wide", "square"}),
    ({"rating": "none"}, ALL - {"wide", "tall", "square"}),
    ({"rating": "1..", "q": "-rating:5"}, {"tall", "square"}),
    ({"favorite": "true"}, {"wide", "clip"}),
    ({"favorite": "false"}, ALL - {"wide", "clip"}),
    ({"favorite": "true", "rating": "5"}, {"wide"}),
    ({"base_model": "Pony"}, {"pony"}),
    ({"base_model": "Pony,Flux,SD"}, {"pony", "flux"}),
    ({"base_model": "Pony", "kind": "image"}, set()),
    ({"base_model": MIX}, {"pony"}),
    ({"base_model": r"Pony\, Flux\\ and more"}, {"mix"}),
    ({"base_model": r"Flux, Pony\, Flux\ and more ,"}, {"mix", "flux"}),
    ({"base_model": "Flux\\"}, set()),
    ({"created_from": "2026-01-01", "created_to": "2026-01-01"}, {"wide"}),
    ({"created_from": "2026-01-02", "created_to": "2026-01-03"}, {"tall", "square"}),
    ({"created_to": "2026-01-02", "utc_offset": "-60"}, {"wide", "tall", "square"}),
    ({"created_from": "2026-01-01", "created_to": "2026-01-01", "utc_offset": "-1"}, {"tall"}),
    ({"created_from": "2026-01-01", "created_to": "2026-01-01", "utc_offset": "1439"}, {"wide"}),
    ({"created_from": "2026-01-02T00:00:00Z", "created_to": "2026-01-02T00:00:00.000Z"}, {"tall"}),
    ({"created_from": "2026-01-02T01:00:00.0000001+01:00", "created_to": "2026-01-02t00:00:00z"}, {"tall"}),
    ({"created_from": "2026-01-02T00:00:00.001Z", "created_to": "2026-01-03"}, {"square"}),
    ({"created_to": "2025-12-31"}, set()),
    ({"updated_from": "2000-01-01"}, ALL),
    ({"updated_to": "2000-01-01"}, set()),
    ({"size_min": "800"}, {"pony", "flux", "mix"}),
    ({"size_max": "5"}, {"voice", "shape", "flow", "data"}),
    ({"size_min": "6", "size_max": "6"}, {"note"}),
    ({"width_min": "30"}, {"wide", "square"}),
    ({"width_max": "30"}, {"tall", "square"}),
    ({"height_min": "30", "height_max": "30"}, {"square"}),
    ({"height_max": "9"}, set()),
    ({"orientation": "landscape"}, {"wide"}),
    ({"orientation": "portrait"}, {"tall"}),
    ({"orientation": "square"}, {"square"}),
    ({"has_workflow": "true"}, {"wide"}),
    ({"has_workflow": "false", "kind": "image"}, {"tall", "square"}),
    ({"missing": "include"}, ALL),
    ({"missing": "exclude"}, ALL - {"data"}),
    ({"missing": "only"}, {"data"}),
    ({"missing": "exclude", "kind": "other"}, set()),
    ({"used": "true"}, set()),
    ({"used": "false", "kind": "image"}, {"wide", "tall", "square"}),
    ({"folder": "output", "kind": "image", "rating": "4.."}, {"wide", "square"}),
]


async def test_what_filters_find(shelf: Any, api: Any) -> None:
    for (query, wanted), sort in zip(FILTERS, itertools.cycle(["created_at", "rating", "kind"])):
        page = await api.get("/api/assets", sort=sort, order="asc", **query)
        assert (stems(page), page["total"]) == (wanted, len(wanted)), (query, sort)
        counts = (await api.get("/api/assets/tags/refine", **query))["tag_counts"]
        assert counts.get("output", 0) == sum("output" in asset["tags"] for asset in page["assets"]), query


async def test_the_last_days(shelf: Any, api: Any) -> None:
    """The days are counted back from today, by the clocks of the request."""
    for offset in (-720, 0, 720):
        # The second picture is of the beginning of January 2nd by UTC.
        made = datetime(2026, 1, 2, tzinfo=timezone.utc) + timedelta(minutes=offset)
        days = (datetime.now(timezone.utc) + timedelta(minutes=offset)).toordinal() - made.toordinal() + 1
        assert "tall" not in stems(await api.get("/api/assets", created_days=str(days - 1), utc_offset=str(offset)))
        found = stems(await api.get("/api/assets", created_days=str(days), utc_offset=str(offset)))
        assert "tall" in found and "square" in found
    days = datetime.now(timezone.utc).toordinal() - date(2026, 1, 2).toordinal() + 1
    query = {"created_days": str(days), "created_to": "2026-01-02", "sort": "created_at"}
    assert stems(await api.get("/api/assets", **query)) == {"tall"}


WRONG: list[tuple[dict[str, str], str]] = [
    ({"kind": "picture"}, "kind"),
    ({"kind": "image,xyz"}, "kind"),
    ({"rating": "6"}, "rating"),
    ({"rating": "many"}, "rating"),
    ({"rating": "4..3"}, "rating"),
    ({"favorite": "perhaps"}, "favorite"),
    ({"base_model": "Pony", "metadata_filter": '{"base_model": "Flux"}'}, "metadata_filter"),
    ({"created_from": "2026-02-30"}, "created_from"),
    ({"created_from": "yesterday"}, "created_from"),
    ({"created_from": "0000-01-01"}, "created_from"),
    ({"created_days": "0"}, "created_days"),
    ({"created_days": "36501"}, "created_days"),
    ({"created_to": "2026-01-01T25:00:00Z"}, "created_to"),
    ({"created_to": "2026-01-01T12:00:00"}, "created_to"),
    ({"created_from": "0001-01-01T00:00:61Z"}, "created_from"),
    ({"created_from": "2026-01-02", "created_to": "2026-01-01"}, "created_to"),
    ({"updated_from": "2026-01-02", "updated_to": "2026-01-01T00:00:00Z"}, "updated_to"),
    ({"utc_offset": "1441"}, "utc_offset"),
    ({"size_min": "-1"}, "size_min"),
    ({"size_min": str(2**63)}, "size_min"),
    ({"size_min": "2", "size_max": "1"}, "size_max"),
    ({"width_min": "x"}, "width_min"),
    ({"orientation": "diagonal"}, "orientation"),
    ({"has_workflow": "2"}, "has_workflow"),
    ({"missing": "maybe"}, "missing"),
    ({"used": "sometimes"}, "used"),
]


@pytest.mark.parametrize("path", ["/api/assets", "/api/assets/tags/refine", "/api/assets/folders"])
async def test_what_filters_refuse(api: Any, path: str) -> None:
    for query, field in WRONG:
        body = await api.error(path, 400, query)
        assert (body["code"], body["details"]["field"]) == ("INVALID_QUERY", field), query


async def test_sorts_by_stars_and_kinds(shelf: Any, api: Any) -> None:
    """In both directions, whole and page by page."""
    stars = {"wide": 5.0, "square": 4.5, "tall": 3.0}
    kinds = {"wide": 0, "tall": 0, "square": 0, "clip": 1, "voice": 2, "shape": 3, "pony": 4, "flux": 4, "mix": 4}
    for sort, keys, rest in (("rating", stars, 0.0), ("kind", kinds, 9)):
        whole = {
            order: [
                a["name"].partition(".")[0] for a in (await api.get("/api/assets", sort=sort, order=order))["assets"]
            ]
            for order in ("asc", "desc")
        }
        assert whole["asc"] == whole["desc"][::-1] and set(whole["asc"]) == ALL
        listed = [keys.get(stem, rest) for stem in whole["asc"] if sort == "rating" or stem in keys]
        assert listed == sorted(listed), sort
        for order, wanted in whole.items():
            found: list[str] = []
            after: dict[str, str] = {}
            while True:
                page = await api.get("/api/assets", sort=sort, order=order, limit="2", **after)
                found += [asset["name"].partition(".")[0] for asset in page["assets"]]
                if not page["has_more"]:
                    break
                after = {"after": page["next_cursor"]}
            assert found == wanted, (sort, order)
            skipped = await api.get("/api/assets", sort=sort, order=order, limit="3", offset="4")
            assert [asset["name"].partition(".")[0] for asset in skipped["assets"]] == wanted[4:7]


async def test_filters_follow_changes(shelf: Any, api: Any, hand: Any) -> None:
    """Values are kept in memory between requests, but what has changed is read again."""
    assert stems(await api.get("/api/assets", rating="5")) == {"wide"}
    asset = await shelf.asset("tall.png")
    await api.send("PUT", f"/api/assets/{asset['id']}", json={"user_metadata": {"rating": 5, "favorite": True}})
    assert stems(await api.get("/api/assets", rating="5", favorite="true")) == {"wide", "tall"}
    shelf.write("output/new.png", picture(9, (8, 6)))
    await shelf.scan()
    assert stems(await api.get("/api/assets", kind="image", rating="none")) == {"new"}
    assert "new" in stems(await api.get("/api/assets", orientation="landscape"))
    await api.send("DELETE", f"/api/assets/{asset['id']}", 204)
    assert stems(await api.get("/api/assets", rating="5")) == {"wide"}
    await api.send("POST", f"/api/assets/{asset['id']}/restore")
    assert stems(await api.get("/api/assets", rating="5")) == {"wide", "tall"}
    await hand.execute("DELETE FROM assets WHERE name = 'wide.png'")
    assert stems(await api.get("/api/assets", rating="5")) == {"tall"}
    await hand.execute("UPDATE assets SET mime_type = 'video/mp4' WHERE name = 'tall.png'")
    assert stems(await api.get("/api/assets", kind="video")) == {"clip", "tall"}


async def test_what_is_used(shelf: Any, api: Any, prompts: Any) -> None:
    """By a workflow that is saved, and by a job."""
    asset = await shelf.asset("square.png")
    created = await api.send("POST", "/api/workflows", 201, json={"name": "Mine", "workflow_json": {"nodes": []}})
    async with shelf.services.db.transaction() as tx:
        await tx.execute(
            "INSERT INTO asset_uses (asset_id, kind, used_by)"
            " SELECT id, 'workflow_version', ? FROM assets WHERE name = 'square.png'",
            (created.json["id"],),
        )
        await tx.execute(
            "INSERT INTO asset_uses (asset_id, kind, used_by)"
            " SELECT id, 'deleted_workflow_version', 'x' FROM assets WHERE size < 9"
        )
    graph = {"1": {"class_type": "LoraLoader", "inputs": {"lora_name": "pony.safetensors"}}}
    prompts.run(graph=graph)
    await shelf.services.jobs.outputs(prompts.run(graph=graph), "")
    found = await api.get("/api/assets", used="true")
    assert stems(found) == {"square", "pony"} and asset["id"] in {each["id"] for each in found["assets"]}
    assert stems(await api.get("/api/assets", used="false")) == ALL - {"square", "pony"}


async def test_of_one_job(library: Any, api: Any, prompts: Any) -> None:
    library.write("output/made_00001_.png", picture(5))
    job = prompts.run()
    await library.services.jobs.outputs(job, "")
    await library.scan()
    assert stems(await api.get("/api/assets", job_id=job)) == {"made_00001_"}
    assert stems(await api.get("/api/assets", job_id=job, kind="video")) == set()
    assert (await api.get("/api/assets", job_id="no such job"))["total"] == 0


async def test_users_apart(make_library: Any, api_of: Any, hand_of: Any) -> None:
    library = await make_library(users=frozenset({"ann", "bob"}))
    for name in ("ann.png", "bob.png", "all.png"):
        library.write(f"output/{name}", name.encode())
    await library.scan()
    hand = hand_of(library)
    for name in ("ann", "bob"):
        await hand.belongs(f"{name}.png", name, "output")
    api = api_of(library).as_user("ann")
    for query in ({"kind": "image"}, {"rating": "none"}, {"used": "false"}, {"favorite": "false"}):
        assert stems(await api.get("/api/assets", **query)) == {"ann", "all"}, query


async def test_walks_start_where_values_begin(shelf: Any, api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page of assets from a range, in the order of its values, is looked for in the range alone."""
    monkeypatch.setattr(pages, "_LEAST_WALK", 0)
    for bounds in (
        {"created_from": "2026-01-02"},
        {"created_to": "2026-01-09"},
        {"created_to": "2026-01-10", "size_min": "1"},
    ):
        for order in ("asc", "desc"):
            query = {"sort": "created_at", "order": order, **bounds}
            wanted = [asset["name"] for asset in (await api.get("/api/assets", **query))["assets"]]
            assert len(wanted) > 5
            found: list[str] = []
            after: dict[str, str] = {}
            while len(found) < len(wanted):
                page = await api.get("/api/assets", limit="1", **query, **after)
                found += [asset["name"] for asset in page["assets"]]
                after = {"after": page.get("next_cursor", "")}
            assert found == wanted, query
            skipped = await api.get("/api/assets", limit="1", offset="2", **query)
            assert [asset["name"] for asset in skipped["assets"]] == wanted[2:3], query
