"""Credentials of prompts are in nothing that is kept or shown, wherever in the extra data they came."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.host.execution import SubmittedPrompt
from support.stored_texts import stored_texts

ID = "00000000-0000-4000-8000-0000000000cc"
SECRET = "comfyui-0123456789abcdef"
HIDDEN = "[REDACTED]"
PLACES: dict[str, dict[str, Any]] = {
    "deep": {"deep": {"api_key_comfy_org": SECRET}},
    "in a list": {"list": [1, [{"apiKeyComfyOrg": SECRET}]]},
    "beside the workflow": {"extra_pnginfo": {"API_KEY": SECRET}},
    "in the workflow": {"extra_pnginfo": {"workflow": {"id": "w", "extra": {"access_token": SECRET}}}},
    "in a node": {"extra_pnginfo": {"workflow": {"id": "w", "nodes": [{"properties": {"password": SECRET}}]}}},
    "in a header": {"headers": {"Authorization": f"Bearer {SECRET}"}},
}


@pytest.mark.parametrize("place", PLACES)
async def test_no_place_is_too_deep(library: Any, make_library: Any, place: str) -> None:
    queue, told = library.host.execution, []
    graph = {"1": {"class_type": "X", "inputs": {"text": f"my key is {SECRET}!", "n": 1}}}
    extra = {"client_id": "page", **PLACES[place]}
    queue.submit(SubmittedPrompt(0, ID, graph, extra, ["1"]))
    waiting = await library.get("/api/queue")
    assert waiting["queue_pending"][0][2]["1"]["inputs"] == {"text": f"my key is {HIDDEN}!", "n": 1}
    running = queue.start()
    assert running.graph == graph and SECRET in json.dumps(running.extra_data)  # what is executed is as it was sent
    queue.show("1", {"text": [SECRET]})
    told += [waiting, await library.get("/api/queue"), await library.get(f"/api/jobs/{ID}")]
    queue.finish(
        {"1": {"text": [f"used {SECRET}"]}},
        {
            "status_str": "error",
            "completed": False,
            "messages": [["execution_error", {"exception_message": f"{SECRET} is no good", "traceback": [SECRET]}]],
        },
    )
    detail = await library.get(f"/api/jobs/{ID}")
    assert detail["execution_error"]["exception_message"] == f"{HIDDEN} is no good"
    assert detail["workflow"]["extra_data"]["client_id"] == "page"
    told += [detail, await library.get("/api/history_v2"), await library.get(f"/api/history_v2/{ID}")]
    told += [await library.get(f"/api/job/{ID}/status"), await library.get("/api/jobs")]
    assert SECRET not in json.dumps(told)
    await library.services.stop()
    assert [text for text in stored_texts(library.host.data_directory()) if SECRET in text] == []
    again = await make_library()
    assert SECRET not in json.dumps(again.host.execution.history)


async def test_a_restored_job_lacks_what_was_not_kept(library: Any, make_library: Any) -> None:
    graph = {"1": {"class_type": "X", "inputs": {"text": SECRET}}}
    library.host.execution.submit(SubmittedPrompt(0, ID, graph, {"deep": {"api_key": SECRET, "n": 5}}, ["1"]))
    await library.services.stop()
    again = await make_library()
    (restored,) = again.host.execution.waiting
    assert restored.graph["1"]["inputs"]["text"] == HIDDEN
    assert restored.extra_data == {"deep": {"api_key": HIDDEN, "n": 5}}


def test_a_large_prompt_is_looked_through_in_the_time_it_takes_to_write_it_down() -> None:
    from comfy_assets_node.comfy_assets.credentials import take_out
    from comfy_assets_node.comfy_assets.json_text import as_in_images

    node = {
        "id": 1,
        "type": "KSampler",
        "pos": [1.5, 2],
        "inputs": [{"name": "model", "link": 1}],
        "widgets_values": [8],
    }
    workflow = {"nodes": [{**node, "id": number, "properties": {"ver": "1"}} for number in range(8_000)]}
    extra = {"extra_pnginfo": {"workflow": workflow}}

    def seconds(work: Any) -> float:
        best = 9.0
        for _ in range(5):
            began = time.perf_counter()
            work()
            best = min(best, time.perf_counter() - began)
        return best

    assert len(as_in_images(workflow)) > 1 << 20
    assert seconds(lambda: take_out(extra)) < 5 * seconds(lambda: as_in_images(workflow))
