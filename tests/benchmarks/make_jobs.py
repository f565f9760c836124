"""A store of jobs as years of use leave it behind: graphs of 20 nodes, each with a seed of its own, and their pages'
workflows; most completed, some failed, some cancelled, a few that wait."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from comfy_assets_node.comfy_assets.db.connection import Database
from comfy_assets_node.comfy_assets.jobs import store
from comfy_assets_node.comfy_assets.jobs.events import JobDropped, JobEnded, JobEvent, JobStarted, JobSubmitted
from comfy_assets_node.comfy_assets.models import CANCELLED, COMPLETED, FAILED

MODELS = {"checkpoints": 8, "loras": 40, "vae": 2}
FIRST_AT = 1_600_000_000_000
CHUNK = 500
WORKFLOWS = 200
_WORDS = (
    "portrait landscape castle river morning fog golden light film grain wide angle macro detailed sharp soft neon rain"
    " forest mountain city street night studio oil watercolour ink pencil bronze marble velvet glass copper smoke"
)
# Type, inputs that come from other nodes, and its own values; "*" is drawn anew for each job.
_NODES: list[tuple[str, dict[str, int], dict[str, Any]]] = [
    ("CheckpointLoaderSimple", {}, {"ckpt_name": "*checkpoints"}),
    ("LoraLoader", {"model": 0, "clip": 0}, {"lora_name": "*loras", "strength_model": 0.8, "strength_clip": 1.0}),
    ("LoraLoader", {"model": 1, "clip": 1}, {"lora_name": "*loras", "strength_model": 0.5, "strength_clip": 0.9}),
    ("CLIPSetLastLayer", {"clip": 2}, {"stop_at_clip_layer": -2}),
    ("CLIPTextEncode", {"clip": 3}, {"text": "*text"}),
    ("CLIPTextEncode", {"clip": 3}, {"text": "blurry, low quality, watermark, text, deformed"}),
    ("EmptyLatentImage", {}, {"width": 1024, "height": 1024, "batch_size": 1}),
    ("KSampler", {"model": 2, "positive": 4, "negative": 5, "latent_image": 6}, {"seed": "*seed", "steps": 28}),
    ("VAELoader", {}, {"vae_name": "*vae"}),
    ("VAEDecode", {"samples": 7, "vae": 8}, {}),
    ("ImageScaleBy", {"image": 9}, {"upscale_method": "lanczos", "scale_by": 1.5}),
    ("VAEEncode", {"pixels": 10, "vae": 8}, {}),
    ("KSampler", {"model": 2, "positive": 4, "negative": 5, "latent_image": 11}, {"seed": "*seed", "steps": 12}),
    ("VAEDecode", {"samples": 12, "vae": 8}, {}),
    ("ImageSharpen", {"image": 13}, {"sharpen_radius": 1, "sigma": 0.5, "alpha": 0.3}),
    ("ImageBlend", {"image1": 13, "image2": 14}, {"blend_factor": 0.5, "blend_mode": "normal"}),
    ("ImageInvert", {"image": 15}, {}),
    ("PreviewImage", {"images": 16}, {}),
    ("SaveImage", {"images": 15}, {"filename_prefix": "render/image"}),
    ("Note", {}, {"text": "Second pass at 1.5x; keep the denoise below 0.5 or hands go wrong."}),
]
_TRACEBACK = [
    f'  File "ComfyUI/execution.py", line {line}, in execute\n    output_data = await get_output_data(obj, data)\n'
    for line in range(300, 320)
]


def make_models(base: Path) -> None:
    """Empty shells of the models that graphs name, for a scan to find."""
    for category, count in MODELS.items():
        folder = base / "models" / category
        folder.mkdir(parents=True)
        for number in range(count):
            (folder / _model(category, number)).write_bytes(f"{category} {number}".encode())


def _model(category: str, number: int) -> str:
    return f"{category}-{number:03d}.safetensors"


async def fill(db: Database, count: int, seat: int) -> None:
    """Write so many jobs into the store; those that wait belong to the server of this seat."""
    draw = random.Random(count)
    for first in range(0, count, CHUNK):
        numbers = range(first, min(first + CHUNK, count))
        events = [event for number in numbers for event in _job(draw, number, is_active=count - number <= 5)]
        steps = store.rows_of(events, seat)
        async with db.transaction() as tx:
            await store.write(tx, steps)


def _job(draw: random.Random, number: int, *, is_active: bool) -> Iterator[JobEvent]:
    job_id = str(uuid.UUID(int=draw.getrandbits(128), version=4))
    at = FIRST_AT + number * 60_000 + draw.randrange(50_000)
    graph, workflow = _graph(draw)
    workflow["id"] = str(uuid.UUID(int=number % WORKFLOWS, version=4))
    yield JobSubmitted(
        job_id, at, "", float(number), json.dumps(graph), json.dumps(workflow), '{"client_id":"page"}', '["18","19"]',
        workflow_id=workflow["id"],
    )  # fmt: skip
    chance = draw.random()
    if is_active:
        return
    if chance < 0.03:
        yield JobDropped(job_id, at + 500)
        return
    yield JobStarted(job_id, at + 20)
    ended = at + draw.randrange(2_000, 40_000)
    if chance < 0.85 + 0.03:
        yield JobEnded(job_id, ended, COMPLETED, _result(number, job_id, at, "success"))
    elif chance < 0.96:
        yield JobEnded(job_id, ended, FAILED, _result(number, job_id, at, "error"), _error(draw))
    else:
        yield JobEnded(job_id, ended, CANCELLED, _result(number, job_id, at, "error"))


def _graph(draw: random.Random) -> tuple[dict[str, Any], dict[str, Any]]:
    """The graph in both forms: about 4 KB to be executed, about 15 KB as the page keeps it."""
    graph, nodes, links = {}, [], []
    for index, (kind, linked, values) in enumerate(_NODES):
        values = {name: _drawn(draw, value) for name, value in values.items()}
        if kind == "KSampler":
            values |= {"cfg": 6.5, "sampler_name": "dpmpp_2m", "scheduler": "karras", "denoise": 1.0}
        inputs = {**values, **{name: [str(source + 1), 0] for name, source in linked.items()}}
        graph[str(index + 1)] = {"inputs": inputs, "class_type": kind, "_meta": {"title": kind}}
        slots = []
        for name, source in linked.items():
            links.append([len(links) + 1, source + 1, 0, index + 1, len(slots), "*"])
            slots.append({"localized_name": name, "name": name, "type": "*", "link": len(links)})
        slots += [
            {"localized_name": name, "name": name, "type": "STRING", "widget": {"name": name}, "link": None}
            for name in values
        ]
        nodes.append(
            {
                "id": index + 1,
                "type": kind,
                "pos": [draw.randrange(2000) + 0.5, draw.randrange(2000) + 0.5],
                "size": [315, 262],
                "flags": {},
                "order": index,
                "mode": 0,
                "inputs": slots,
                "outputs": [{"localized_name": "OUT", "name": "OUT", "type": "*", "slot_index": 0, "links": [index]}],
                "properties": {"cnr_id": "comfy-core", "ver": "0.3.64", "Node name for S&R": kind},
                "widgets_values": list(values.values()),
            }
        )
    return graph, {"revision": 0, "last_node_id": 20, "nodes": nodes, "links": links, "groups": [], "version": 0.4}


def _drawn(draw: random.Random, value: Any) -> Any:
    if value == "*seed":
        return draw.getrandbits(50)
    if value == "*text":
        return ", ".join(draw.choices(_WORDS.split(), k=60))
    if isinstance(value, str) and value.startswith("*"):
        return _model(value[1:], draw.randrange(MODELS[value[1:]]))
    return value


def _result(number: int, job_id: str, at: int, status: str) -> str:
    file = {"filename": f"image_{number:05d}_.png", "subfolder": "render", "type": "output"}
    shown = {"19": {"images": [file]}, "18": {"images": [{**file, "subfolder": "", "type": "temp"}]}}
    messages = [[f"execution_{name}", {"prompt_id": job_id, "timestamp": at}] for name in ("start", "cached", status)]
    return json.dumps(
        {
            "outputs": shown if status == "success" else {},
            "meta": {node: {"node_id": node, "display_node": node, "parent_node": None} for node in shown},
            "status": {"status_str": status, "completed": status == "success", "messages": messages},
        }
    )


def _error(draw: random.Random) -> str:
    return json.dumps(
        {
            "node_id": "8",
            "node_type": "KSampler",
            "exception_message": f"Allocation on device failed at {draw.getrandbits(40):x}",
            "exception_type": "torch.OutOfMemoryError",
            "traceback": _TRACEBACK,
            "current_inputs": {"seed": [draw.getrandbits(50)], "steps": [28]},
            "current_outputs": {},
        }
    )
