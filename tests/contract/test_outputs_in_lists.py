"""A list of assets has the outputs of prompts that have just run."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.assets.prompts import output_recorder
from comfy_assets_node.comfy_assets.jobs import deferred_ends
from support.files import picture


@pytest.fixture(autouse=True)
def _later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a request, outputs are recorded after the tests have ended; requests wait as long as a disk stalls."""
    monkeypatch.setattr(output_recorder, "IDLE_S", 60)
    monkeypatch.setattr(output_recorder, "BUSY_S", 60)
    monkeypatch.setattr(deferred_ends, "FILES_WAIT_S", 20)


async def test_a_list_waits_for_the_files_of_ended_prompts(library: Any, api: Any, prompts: Any) -> None:
    library.write("output/made_00001_.png", picture(1))
    prompts.run()
    assert await api.names(include_tags="output") == ["made_00001_.png"]


async def test_a_list_waits_for_a_prompt_whose_nodes_have_all_run(library: Any, api: Any, prompts: Any) -> None:
    """Pages are told before the server reports the end."""
    library.write("output/made_00001_.png", picture(1))
    prompts.submit()
    prompts.start()
    prompts.queue.complete()
    ending = threading.Timer(0.15, prompts.finish)
    ending.start()
    assert await api.names(include_tags="output") == ["made_00001_.png"]
    await asyncio.to_thread(ending.join)


async def test_a_list_does_not_wait_long_for_an_end_that_is_not_reported(
    library: Any, api: Any, prompts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deferred_ends, "COMPLETION_S", 0.1)
    prompts.submit()
    prompts.start()
    prompts.queue.complete()
    began = time.monotonic()
    assert await api.names() == []
    assert time.monotonic() - began >= 0.1
    prompts.finish({})
    assert [job["status"] for job in (await api.get("/api/jobs"))["jobs"]] == ["completed"]
