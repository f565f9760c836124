"""deleteJob: a job goes with the assets that it made, all of it or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from support.files import picture

NONE = "00000000-0000-4000-8000-0000000000ff"


@dataclass(frozen=True)
class Finished:
    """A prompt that has ended, as hosts report it."""

    prompt_id: str
    outputs: Mapping[str, Any]


async def made(library: Any, prompts: Any, *names: str, owner: str = "", kind: str = "output") -> str:
    outputs = {"9": {"images": [{"filename": name, "subfolder": "", "type": kind} for name in names]}}
    job_id = prompts.run(outputs, owner=owner)
    library.host.hooks.notify(Finished(job_id, outputs))
    return str(job_id)


async def test_a_job_and_what_it_made(library: Any, api: Any, prompts: Any) -> None:
    """Not what it only showed: an input, and the output of another job."""
    library.write("input/in.png", picture(0))
    await library.scan()
    for number, name in enumerate(("a.png", "b.png"), 1):
        library.write(f"output/{name}", picture(number))
    first = await made(library, prompts, "a.png")
    await library.services.outputs.drain()
    outputs = {
        "8": {"images": [{"filename": name, "subfolder": "", "type": "output"} for name in ("a.png", "b.png")]},
        "9": {"images": [{"filename": "in.png", "subfolder": "", "type": "input"}]},
    }
    second = prompts.run(outputs)
    library.host.hooks.notify(Finished(second, outputs))  # not drained: the request waits for it
    b_url = f"/api/jobs/{second}"
    assert (await api.send("DELETE", b_url, 204)).body == b""
    assert sorted(await api.names()) == ["a.png", "in.png"]
    await api.get(b_url, 404)
    assert (await api.get(f"/api/jobs/{first}"))["id"] == first
    assert (library.base / "output/b.png").exists()  # as deleteAsset leaves it
    await api.send("DELETE", b_url, 404)  # it is gone, and a retry says so


async def test_its_assets_can_be_restored(library: Any, api: Any, prompts: Any) -> None:
    library.write("output/a.png", picture(1))
    job_id = await made(library, prompts, "a.png")
    await library.services.outputs.drain()
    asset = await library.asset("a.png")
    await api.send("DELETE", f"/api/jobs/{job_id}", 204)
    assert (await api.send("POST", f"/api/assets/{asset['id']}/restore")).json["name"] == "a.png"


async def test_a_job_that_has_not_ended(library: Any, api: Any, prompts: Any) -> None:
    running, pending = prompts.submit(), prompts.submit()
    prompts.start()
    for job_id, state in ((running, "in_progress"), (pending, "pending")):
        await api.send("DELETE", f"/api/jobs/{job_id}", 204)
        assert (await api.get(f"/api/jobs/{job_id}"))["status"] == state
    prompts.queue.cancel(pending)
    await api.send("DELETE", f"/api/jobs/{pending}", 204)
    await api.get(f"/api/jobs/{pending}", 404)


@pytest.mark.parametrize("job_id", [NONE, "x", "%00", "..%2F"])
async def test_no_such_job(api: Any, job_id: str) -> None:
    assert (await api.send("DELETE", f"/api/jobs/{job_id}", 404)).json["code"] == "JOB_NOT_FOUND"


async def test_an_asset_in_use_keeps_everything(library: Any, api: Any, prompts: Any) -> None:
    for number, name in enumerate(("a.png", "b.png")):
        library.write(f"output/{name}", picture(number))
    job_id = await made(library, prompts, "a.png", "b.png")
    await library.services.outputs.drain()
    used = (await library.asset("b.png"))["id"]
    workflow = {"1": {"class_type": "Load", "inputs": {"image": f"asset:{used}"}}}
    await api.send("POST", "/api/workflows", 201, json={"workflow_json": workflow, "name": "w"})
    refused = (await api.send("DELETE", f"/api/jobs/{job_id}", 409)).json
    assert refused["code"] == "ASSET_IN_USE" and refused["details"]["id"] == used
    assert sorted(await api.names()) == ["a.png", "b.png"]
    await api.get(f"/api/jobs/{job_id}")


async def test_nobody_deletes_the_jobs_of_others(make_library: Any, api_of: Any, prompts_of: Any) -> None:
    library = await make_library(users=frozenset({"ann", "bob"}))
    ann, bob = (api_of(library).as_user(user) for user in ("ann", "bob"))
    library.write("output/a.png", picture(1))
    job_id = await made(library, prompts_of(library), "a.png", owner="ann")
    await library.services.outputs.drain()
    assert (await bob.send("DELETE", f"/api/jobs/{job_id}", 404)).json["code"] == "JOB_NOT_FOUND"
    assert await ann.names() == ["a.png"]
    await ann.get(f"/api/jobs/{job_id}")
    await ann.send("DELETE", f"/api/jobs/{job_id}", 204)
    assert await ann.names() == []
