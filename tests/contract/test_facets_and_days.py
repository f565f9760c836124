"""Counts of assets by facet and by day, and the assets of one job as one entry."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from typing import Any

import pytest
from support.files import picture, safetensors

GRAPH = {"3": {"class_type": "KSampler", "inputs": {"seed": 42}}}
DAY = 86_400_000
NEW_YEAR = 1_767_225_600_000  # 2026-01-01 in UTC
FILES = {
    "output/a.png": picture(1, (40, 20), prompt=json.dumps(GRAPH)),
    "output/b.png": picture(2, (20, 40)),
    "output/c.png": picture(3, (30, 30), prompt=json.dumps(GRAPH)),
    "output/d.mp4": b"not really",
    "models/loras/e.safetensors": safetensors(1, 40),
    "models/loras/f.safetensors": safetensors(2, 40),
    "input/g.txt": b"text",
}
STARS: dict[str, float] = {"a": 5, "b": 4.5, "c": 4, "d": 0.5}


@pytest.fixture
async def shelf(library: Any, hand: Any) -> Any:
    """Files of several kinds, made within two days."""
    for path, content in FILES.items():
        library.write(path, content)
    await library.scan()
    for hour, path in enumerate(FILES):
        name = path.rpartition("/")[2]
        await hand.created(name, NEW_YEAR + hour * 8 * DAY // 24)
        if name[0] in STARS:
            await hand.user_metadata(name, {"rating": STARS[name[0]], "favorite": name == "b.png"})
    for name in ("e", "f"):
        await hand.metadata(f"{name}.safetensors", {"base_model": "Pony"})
    await hand.user_metadata("e.safetensors", {"base_model": ["Mine", "Pony"]})
    for _ in range(1000):  # a facet of words, which are indexed in the background
        if "has_workflow" in await library.get("/api/assets/facets"):
            return library
        await asyncio.sleep(0.02)
    raise AssertionError("not indexed in time")


async def test_facets(shelf: Any, api: Any) -> None:
    found = await api.get("/api/assets/facets")
    models = sum(len(content) for path, content in FILES.items() if "loras" in path)
    assert found == {
        "total": 7,
        "total_size": sum(map(len, FILES.values())),
        "categories": [{"name": "loras", "count": 2, "size": models}],
        "kinds": {"image": 3, "video": 1, "model": 2, "text": 1},
        "ratings": {"none": 3, "1": 1, "2": 0, "3": 0, "4": 2, "5": 1},
        "favorites": {"true": 1, "false": 6},
        "orientations": {"landscape": 1, "portrait": 1, "square": 1},
        "base_models": [{"name": "Pony", "count": 2}, {"name": "Mine", "count": 1}],
        "has_workflow": {"true": 2, "false": 5},
    }


# Parameters, and what the facets are then: another than the facet's own parameter narrows it.
NARROWED: list[tuple[dict[str, str], dict[str, Any]]] = [
    ({"kind": "image"}, {"total": 3, "kinds": {"image": 3, "video": 1, "model": 2, "text": 1}, "base_models": []}),
    ({"kind": "image"}, {"has_workflow": {"true": 2, "false": 1}, "favorites": {"true": 1, "false": 2}}),
    ({"rating": "4.."}, {"total": 3, "kinds": {"image": 3}}),
    ({"rating": "4.."}, {"ratings": {"none": 3, "1": 1, "2": 0, "3": 0, "4": 2, "5": 1}}),
    ({"kind": "image", "rating": "5"}, {"total": 1, "kinds": {"image": 1}}),
    ({"kind": "image", "rating": "5"}, {"ratings": {"none": 0, "1": 0, "2": 0, "3": 0, "4": 2, "5": 1}}),
    ({"base_model": "Mine"}, {"total": 1, "base_models": [{"name": "Pony", "count": 2}, {"name": "Mine", "count": 1}]}),
    ({"has_workflow": "true"}, {"total": 2, "has_workflow": {"true": 2, "false": 5}}),
    ({"favorite": "true"}, {"total": 1, "favorites": {"true": 1, "false": 6}, "orientations":
                            {"landscape": 0, "portrait": 1, "square": 0}}),
    ({"orientation": "square"}, {"total": 1, "orientations": {"landscape": 1, "portrait": 1, "square": 1}}),
    ({"q": "type:video"}, {"total": 1, "kinds": {"video": 1}}),
    ({"folder": "models"}, {"total": 2, "kinds": {"model": 2}}),
    ({"tags_all": "no such tag"}, {"total": 0, "kinds": {}, "has_workflow": {"true": 0, "false": 0}}),
    ({"name_contains": "a."}, {"total": 1, "kinds": {"image": 1}}),
]  # fmt: skip


async def test_facets_narrow_each_other(shelf: Any, api: Any) -> None:
    for query, wanted in NARROWED:
        found = await api.get("/api/assets/facets", **query)
        assert {name: found[name] for name in wanted} == wanted, query


async def test_facets_without_a_search_index(shelf: Any, api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf.services.db, "can_search", False)
    found = await api.get("/api/assets/facets")
    assert "has_workflow" not in found and found["total"] == 7
    assert (await api.error("/api/assets/facets", 501, {"q": "cat"}))["code"] == "SEARCH_UNAVAILABLE"


DAYS: list[tuple[dict[str, str], list[tuple[str, int]]]] = [
    ({}, [("2026-01-03", 1), ("2026-01-02", 3), ("2026-01-01", 3)]),
    ({"order": "asc"}, [("2026-01-01", 3), ("2026-01-02", 3), ("2026-01-03", 1)]),
    ({"utc_offset": "60"}, [("2026-01-03", 1), ("2026-01-02", 3), ("2026-01-01", 3)]),
    ({"utc_offset": "480"}, [("2026-01-03", 2), ("2026-01-02", 3), ("2026-01-01", 2)]),
    ({"utc_offset": "-1"}, [("2026-01-02", 3), ("2026-01-01", 3), ("2025-12-31", 1)]),
    ({"kind": "image"}, [("2026-01-01", 3)]),
    ({"q": "safetensors"}, [("2026-01-02", 2)]),
    ({"tags_all": "nothing"}, []),
    ({"rating": "..1", "missing": "exclude"}, [("2026-01-03", 1), ("2026-01-02", 3)]),
]


async def test_days(shelf: Any, api: Any) -> None:
    for query, wanted in DAYS:
        body = await api.get("/api/assets/days", **query)
        assert [(day["date"], day["count"]) for day in body["days"]] == wanted, query
        assert (body["total"], body["has_more"]) == (len(wanted), False)
        paged: list[tuple[str, int]] = []
        after: dict[str, str] = {}
        for _ in wanted:
            page = await api.get("/api/assets/days", limit="1", **query, **after)
            paged += [(day["date"], day["count"]) for day in page["days"]]
            after = {"after": page["next_cursor"]} if page["has_more"] else {}
        assert paged == wanted and not after, query


async def test_a_day_leads_to_its_assets(shelf: Any, api: Any) -> None:
    for order in ("asc", "desc"):
        for offset in ("0", "480", "-1"):
            query = {"order": order, "utc_offset": offset}
            listed = [asset["name"] for asset in (await api.get("/api/assets", **query))["assets"]]
            before = 0
            for day in (await api.get("/api/assets/days", **query))["days"]:
                page = await api.get("/api/assets", after=day["cursor"], **query)
                assert [asset["name"] for asset in page["assets"]] == listed[before:], (query, day)
                before += day["count"]
            assert before == len(listed)


async def test_days_of_changes(shelf: Any, api: Any, hand: Any) -> None:
    await hand.execute("UPDATE assets SET updated_at = ? WHERE name = 'a.png'", NEW_YEAR)
    [first, *_] = (await api.get("/api/assets/days", sort="updated_at", order="asc"))["days"]
    assert (first["date"], first["count"]) == ("2026-01-01", 1)
    page = await api.get("/api/assets", sort="updated_at", order="asc", limit="1", after=first["cursor"])
    assert [asset["name"] for asset in page["assets"]] == ["a.png"]


async def test_days_that_no_calendar_has(shelf: Any, api: Any, hand: Any) -> None:
    await hand.created("a.png", 2**62)
    await hand.created("b.png", -(2**62))
    days = (await api.get("/api/assets/days"))["days"]
    assert (days[0]["date"], days[-1]["date"]) == ("9999-12-31", "0001-01-01")


@pytest.mark.parametrize(
    ("query", "code", "field"),
    [
        ({"utc_offset": "1500"}, "INVALID_QUERY", "utc_offset"),
        ({"limit": "0"}, "INVALID_QUERY", "limit"),
        ({"sort": "name"}, "INVALID_QUERY", "sort"),
        ({"after": "x"}, "INVALID_CURSOR", "after"),
        ({"created_from": "now"}, "INVALID_QUERY", "created_from"),
    ],
)
async def test_days_that_are_refused(api: Any, query: dict[str, str], code: str, field: str) -> None:
    body = await api.error("/api/assets/days", 400, query)
    assert (body["code"], body["details"]["field"]) == (code, field)


async def test_cursors_of_days_belong_to_their_clocks(shelf: Any, api: Any) -> None:
    cursor = (await api.get("/api/assets/days", limit="1"))["next_cursor"]
    for query in ({"utc_offset": "60"}, {"order": "asc"}, {"sort": "updated_at"}):
        assert (await api.error("/api/assets/days", 400, {"after": cursor, **query}))["code"] == "INVALID_CURSOR"
    assert (await api.error("/api/assets", 400, {"after": cursor}))["code"] == "INVALID_CURSOR"


@pytest.fixture
async def made(library: Any, hand: Any) -> Any:
    """Forty pictures, most of them made by one of six jobs."""
    chance = random.Random(19)
    for number in range(40):
        library.write(f"output/{number:02}.png", picture(number))
    await library.scan()
    for number in range(40):
        job = chance.choice([None, *range(6)])
        async with library.services.db.transaction() as tx:
            await tx.execute(
                "UPDATE assets SET job_id = ?, created_at = ? WHERE name = ?",
                (None if job is None else f"job {job}", chance.choice([1, 2, 3]), f"{number:02}.png"),
            )
    return library


async def jobs_of(library: Any) -> dict[str, str | None]:
    rows = await library.services.db.fetch_all("SELECT name, job_id FROM assets ORDER BY id")
    return dict(rows)


async def test_stacks_page_by_page(made: Any, api: Any) -> None:
    """In every order each job is listed once, with its number; its members are listed by its id."""
    jobs = await jobs_of(made)
    counts = Counter(job for job in jobs.values() if job is not None)
    firsts = {job: name for name, job in reversed(jobs.items()) if job is not None}
    entries = {*firsts.values(), *(name for name, job in jobs.items() if job is None)}
    for sort in ("created_at", "updated_at", "name", "size", "rating", "kind"):
        for order in ("asc", "desc"):
            found: list[Any] = []
            after: dict[str, str] = {}
            while True:
                page = await api.get("/api/assets", stack="job", sort=sort, order=order, limit="3", **after)
                found += page["assets"]
                assert page["total"] == len(entries)
                if not page["has_more"]:
                    break
                after = {"after": page["next_cursor"]}
            assert sorted(asset["name"] for asset in found) == sorted(entries), (sort, order)
            stacks = {asset["stack"]["job_id"]: asset["stack"]["count"] for asset in found if "stack" in asset}
            assert stacks == counts
    for job, count in counts.items():
        assert set(await api.names(job_id=job)) == {name for name, each in jobs.items() if each == job}
        assert (await api.get("/api/assets", job_id=job))["total"] == count


async def test_stacks_of_what_passes(made: Any, api: Any, hand: Any) -> None:
    jobs = await jobs_of(made)
    starred = [name for name, job in jobs.items() if job == "job 1"][1:]
    for name in starred:
        await hand.user_metadata(name, {"rating": 4})
    [found] = (await api.get("/api/assets", stack="job", rating="4"))["assets"]
    assert (found["name"], found["stack"]) == (starred[0], {"job_id": "job 1", "count": len(starred)})


async def test_days_of_stacks(made: Any, api: Any) -> None:
    """A timeline of a list of stacks counts what the list shows, day by day."""
    for query in ({}, {"q": "type:image"}, {"sort": "updated_at", "order": "asc"}):
        days = (await api.get("/api/assets/days", stack="job", **query))["days"]
        total = (await api.get("/api/assets", stack="job", **query))["total"]
        assert sum(day["count"] for day in days) == total < (await api.get("/api/assets", **query))["total"]
    assert (await api.error("/api/assets/days", 400, {"stack": "folder"}))["details"]["field"] == "stack"


async def test_a_stack_stays_in_its_place_while_a_job_goes_on(made: Any, api: Any, hand: Any) -> None:
    query = {"stack": "job", "sort": "created_at", "limit": "4"}
    first = await api.get("/api/assets", **query)
    made.write("output/late.png", picture(77))
    await made.scan()
    await hand.execute("UPDATE assets SET job_id = 'job 1', created_at = 0 WHERE name = 'late.png'")
    names = [asset["name"] for asset in first["assets"]]
    cursor = first["next_cursor"]
    while cursor:
        page = await api.get("/api/assets", after=cursor, **query)
        names += [asset["name"] for asset in page["assets"]]
        cursor = page.get("next_cursor")
    assert len(names) == len(set(names)) and "late.png" not in names
    # The next takes its place when the first one goes.
    await hand.execute("DELETE FROM assets WHERE id = (SELECT min(id) FROM assets WHERE job_id = 'job 1')")
    jobs = await jobs_of(made)
    listed = {a["stack"]["job_id"]: a for a in (await api.get("/api/assets", stack="job"))["assets"] if "stack" in a}
    members = [name for name, job in jobs.items() if job == "job 1"]
    assert (listed["job 1"]["name"], listed["job 1"]["stack"]["count"]) == (members[0], len(members))


async def test_what_is_no_stack(api: Any) -> None:
    assert (await api.error("/api/assets", 400, {"stack": "folder"}))["details"]["field"] == "stack"


async def test_unused_models_and_the_space_they_take(library: Any, api: Any) -> None:
    for name, size in (("loras/used", 30), ("loras/unused", 50), ("loras/gone", 70), ("checkpoints/old", 900)):
        library.write(f"models/{name}.safetensors", b"m" * size)
    await library.scan()
    (library.base / "models/loras/gone.safetensors").unlink()
    await library.scan()
    graph = {"1": {"class_type": "LoraLoader", "inputs": {"lora_name": "used.safetensors"}}}
    await api.send("POST", "/api/workflows", 201, json={"name": "one", "workflow_json": graph})
    unused = {"include_tags": "models", "used": "false", "missing": "exclude"}
    found = await api.get("/api/assets/facets", **unused)
    assert (found["total"], found["total_size"]) == (2, 950)
    assert found["categories"] == [
        {"name": "checkpoints", "count": 1, "size": 900},
        {"name": "loras", "count": 1, "size": 50},
    ]
    assert await api.names(**unused, sort="size") == ["old.safetensors", "unused.safetensors"]


async def test_copies_are_counted_for_their_reader(make_library: Any, api_of: Any, hand_of: Any) -> None:
    library = await make_library(users=frozenset({"ann", "bob"}))
    for name in ("a", "sub/b", "c"):
        library.write(f"models/loras/{name}.safetensors", b"same")
    library.write("models/loras/other.safetensors", b"other")
    await library.scan()
    await hand_of(library).belongs("c.safetensors", "ann", "models", "loras", "model_type:loras")
    ann, bob = (api_of(library).as_user(user) for user in ("ann", "bob"))

    async def copies(api: Any) -> dict[str, Any]:
        listed = (await api.get("/api/assets"))["assets"]
        for asset in listed:
            assert (await api.get(f"/api/assets/{asset['id']}")).get("copies") == asset.get("copies")
        return {asset["name"][0]: asset.get("copies") for asset in listed}

    assert await copies(ann) == {"a": 3, "b": 3, "c": 3, "o": None}
    assert await copies(bob) == {"a": 2, "b": 2, "o": None}
    (library.base / "models/loras/sub/b.safetensors").unlink()
    await library.scan()
    assert await copies(bob) == {"a": None, "b": None, "o": None}
