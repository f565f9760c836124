"""listJobs with ``q``: which jobs are found by what their graphs say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.db import job_list, migrate


def graph(text: str, lora: str = "", seed: int = 1) -> dict[str, Any]:
    """A graph with a prompt text, a model and a seed."""
    return {
        "1": {"class_type": "CLIPTextEncode", "inputs": {"text": text}},
        "2": {"class_type": "LoraLoader", "inputs": {"lora_name": lora, "model": ["1", 0]}},
        "3": {"class_type": "KSampler", "inputs": {"seed": seed, "sampler_name": "dpmpp_2m", "model": ["2", 0]}},
    }


GRAPHS = {
    "dragon": graph("a red dragon, masterpiece", "style/inkDrop_v2.safetensors", 123456789),
    "castle": graph("a castle in the mist, masterpiece", "style/inkDrop_v2.safetensors", 42),
    "drag": graph("a drag race", "", 5),
    "name": graph("ein Drachen, Übermut", "Größe.safetensors", 6),
}
# Query, and which of the graphs it finds.
FOUND = {
    "dragon": {"dragon"},
    "drag": {"dragon", "drag"},
    '"drag"': {"drag"},
    "DRAGON red": {"dragon"},
    "dragon castle": set(),
    "masterpiece": {"dragon", "castle"},
    "inkdrop": {"dragon", "castle"},
    "inkDrop_v2 mist": {"castle"},
    "123456789": {"dragon"},
    "ubermut": {"name"},
    "größe": {"name"},
    "dpmpp_2m": set(GRAPHS),
    "nowhere": set(),
    "prompt:dragon": {"dragon"},
    "prompt:inkdrop": set(),
    "lora:inkDrop_v2.safetensors": {"dragon", "castle"},
    "<lora:inkDrop_v2:1>": {"dragon", "castle"},
    "seed:42": {"castle"},
    "masterpiece -castle": {"dragon"},
    "-masterpiece": {"drag", "name"},
    "node:lora": set(GRAPHS),
    "LoraLoader mist": {"castle"},
    "has:lora masterpiece": {"dragon", "castle"},
    "type:image dragon": {"dragon"},
    "-type:image": set(),
    "type:video": set(),
    " ": set(GRAPHS),
}


@pytest.fixture(params=["looked up", "walked"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How what was found is brought into order."""
    monkeypatch.setattr(job_list, "_FEW", 2000 if request.param == "looked up" else -1)


@pytest.fixture
def ids(prompts: Any) -> dict[str, str]:
    """A finished job of each graph."""
    return {name: prompts.run(graph=each) for name, each in GRAPHS.items()}


async def found(api: Any, **parameters: Any) -> set[str]:
    """The ids on a page, whose total must be their number."""
    page = (await api.send("GET", "/api/jobs", params=parameters)).json
    assert page["pagination"]["total"] == len(page["jobs"])
    return {job["id"] for job in page["jobs"]}


@pytest.mark.usefixtures("way")
async def test_words(api: Any, ids: Any) -> None:
    for query, names in FOUND.items():
        assert await found(api, q=query) == {ids[name] for name in names}, query


@pytest.mark.parametrize("query", ["_", '""'])
async def test_what_is_no_query(api: Any, query: str) -> None:
    error = await api.get("/api/jobs", 400, q=query)
    assert (error["code"], error["details"]) == ("INVALID_QUERY", {"field": "q"})


@pytest.mark.parametrize("query", ["folder:output", "tag:favorite", "-rating:5", "type:mesh", "seed:x"])
async def test_what_is_no_term_for_jobs(api: Any, query: str) -> None:
    error = await api.get("/api/jobs", 400, q=f"cat {query}")
    assert (error["code"], error["details"]["position"]) == ("INVALID_QUERY", 5)


@pytest.mark.usefixtures("way")
async def test_beside_other_filters(api: Any, prompts: Any, ids: Any) -> None:
    waiting = prompts.submit(graph=GRAPHS["dragon"], workflow_id="w")
    assert await found(api, q="dragon") == {ids["dragon"], waiting}
    assert await found(api, q="dragon", status="pending") == {waiting}
    assert await found(api, q="dragon", status="completed,failed,cancelled") == {ids["dragon"]}
    assert await found(api, q="dragon", workflow_id="w") == {waiting}
    assert await found(api, q="dragon", output_type="image") == {ids["dragon"]}
    assert await found(api, q="dragon", output_type="video") == set()


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_page_after_page(api: Any, prompts: Any, order: str) -> None:
    """Every job once, in order, by cursor and by offset."""
    wanted = [prompts.run(graph=graph(f"{'dragon' if number % 3 else 'castle'} {number}")) for number in range(30)]
    expected = [job_id for number, job_id in enumerate(wanted) if number % 3]
    if order == "desc":
        expected.reverse()
    by_cursor = [job async for job in _pages(api, order)]
    assert by_cursor == expected
    by_offset: list[str] = []
    for offset in range(0, 24, 7):
        page = await api.get("/api/jobs", q="dragon", sort_order=order, limit=7, offset=offset)
        assert page["pagination"]["total"] == 20
        by_offset += [job["id"] for job in page["jobs"]]
    assert by_offset == expected


async def _pages(api: Any, order: str) -> Any:
    after: dict[str, str] = {}
    while True:
        page = await api.get("/api/jobs", q="dragon", sort_order=order, limit=3, **after)
        for job in page["jobs"]:
            yield job["id"]
        if not page["pagination"]["has_more"]:
            return
        after = {"after": page["pagination"]["next_cursor"]}


@pytest.mark.usefixtures("way")
async def test_other_users_jobs_are_not_found(make_library: Any, api_of: Any, prompts_of: Any) -> None:
    library = await make_library(users=frozenset({"alice", "bob"}))
    prompts = prompts_of(library)
    hers, everybodys = prompts.run(owner="alice", graph=GRAPHS["dragon"]), prompts.run(graph=GRAPHS["dragon"])
    prompts.run(owner="bob", graph=GRAPHS["dragon"])
    assert await found(api_of(library).as_user("alice"), q="dragon") == {hers, everybodys}


@pytest.mark.usefixtures("way")
async def test_a_removed_job_leaves_no_word(api: Any, library: Any, prompts: Any, ids: Any) -> None:
    assert await found(api, q="masterpiece") == {ids["dragon"], ids["castle"]}
    await api.send("POST", "/api/history", json={"delete": [ids["dragon"]]})
    assert await found(api, q="masterpiece") == {ids["castle"]}
    assert await _indexed(library, "dragon") == 0
    await api.send("POST", "/api/history", json={"clear": True})
    assert await found(api, q="masterpiece") == set()
    assert await _indexed(library, "masterpiece") == 0


async def _indexed(library: Any, word: str) -> int:
    rows = await library.services.db.fetch_all("SELECT count(*) FROM job_words WHERE job_words MATCH ?", (word,))
    return int(rows[0][0])


async def test_an_id_used_again_is_found_by_its_new_graph_alone(api: Any, prompts: Any, ids: Any) -> None:
    assert await found(api, q="dragon") == {ids["dragon"]}
    prompts.run(prompt_id=ids["dragon"], graph=graph("a knight"))
    assert await found(api, q="dragon") == set()
    assert await found(api, q="knight") == {ids["dragon"]}


async def test_words_made_by_older_rules_are_made_anew(
    make_library: Any, api_of: Any, prompts_of: Any, hand_of: Any
) -> None:
    library = await make_library()
    job_id = prompts_of(library).run(graph=GRAPHS["dragon"])
    assert await found(api_of(library), q="dragon") == {job_id}
    await hand_of(library).execute("UPDATE job_search SET rules = 'old'")
    await library.services.stop()
    assert await found(api_of(await make_library()), q="dragon") == {job_id}


@pytest.fixture
def incapable(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Stores are opened by a SQLite that cannot search."""
    with monkeypatch.context() as patch:
        patch.setattr(migrate, "create_search_tables", lambda conn: False)
        yield patch


async def test_without_full_text_search(
    make_library: Any, api_of: Any, prompts_of: Any, incapable: pytest.MonkeyPatch
) -> None:
    """Jobs are recorded, listed and removed; what was removed is not found by a SQLite that can."""
    incapable.undo()
    library = await make_library()
    removed = prompts_of(library).run(graph=GRAPHS["dragon"])
    assert await found(api_of(library), q="dragon") == {removed}
    await library.services.stop()

    incapable.setattr(migrate, "create_search_tables", lambda conn: False)
    library = await make_library()
    api = api_of(library)
    error = await api.get("/api/jobs", 501, q="dragon")
    assert (error["code"], error["details"]) == ("SEARCH_UNAVAILABLE", {"field": "q"})
    kept = prompts_of(library).run(prompt_id="00000000-0000-4000-8000-00000000aaaa", graph=GRAPHS["dragon"])
    await api.send("POST", "/api/history", json={"delete": [removed]})
    assert await found(api) == {kept}
    await library.services.stop()

    incapable.undo()
    library = await make_library()
    assert await found(api_of(library), q="dragon") == {kept}
    assert await _indexed(library, "dragon") == 1
