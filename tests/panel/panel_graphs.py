"""Graphs for a server without diffusion models, in the executed form and in the form that ComfyUI's page saves."""

from __future__ import annotations

from typing import Any

POSITIVE, NEGATIVE = "a fox in the snow, morning light", "blurry, text"


def empty_image(colour: int = 255, size: int = 64) -> dict[str, Any]:
    """Return a node that creates an image of one colour."""
    inputs = {"width": size, "height": size, "batch_size": 1, "color": colour}
    return {"class_type": "EmptyImage", "inputs": inputs}


def saving(name: str, colour: int = 255) -> dict[str, Any]:
    """Return a graph that runs in no time."""
    save = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": name}}
    return {"1": empty_image(colour), "2": save}


def failing() -> dict[str, Any]:
    """Return a graph that fails, as its file is no image."""
    load = {"class_type": "LoadImage", "inputs": {"image": "broken.png"}}
    return {"1": load, "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "broken"}}}


def lasting() -> dict[str, Any]:
    """Return a graph that runs longer than any test."""
    graph = saving("lasting")
    scaling = {"upscale_method": "lanczos", "height": 3000, "crop": "disabled"}
    for number in range(200):
        source = str(number + 9) if number else "1"
        inputs = {"image": [source, 0], "width": 3000 + number % 2, **scaling}
        graph[str(number + 10)] = {"class_type": "ImageScale", "inputs": inputs}
    graph["2"]["inputs"]["images"] = ["209", 0]
    return graph


def page_graph(text: str, steps: int = 20, *, with_lora: bool = False) -> dict[str, Any]:
    """Return a graph in the form that ComfyUI's page saves."""
    nodes = [_node(1, "EmptyImage", [steps, 64, 1, 255]), _node(2, "Note", [text])]
    if with_lora:
        nodes.append(_node(3, "SaveImage", ["styled"]))
    return {
        "last_node_id": 3,
        "last_link_id": 0,
        "nodes": nodes,
        "links": [],
        "groups": [],
        "config": {},
        "version": 0.4,
    }


def _node(number: int, kind: str, values: list[Any]) -> dict[str, Any]:
    look: dict[str, Any] = {"pos": [number * 320, 100], "size": [280, 120], "flags": {}, "properties": {}}
    return {"id": number, "type": kind, "order": number, "mode": 0, "widgets_values": values, **look}


def generated() -> dict[str, Any]:
    """Return the graph of a picture that was made with a checkpoint and a LoRA."""

    def text(words: str) -> dict[str, Any]:
        return {"class_type": "CLIPTextEncode", "inputs": {"text": words, "clip": ["2", 1]}}

    sampler = {"seed": 123456789012345678, "steps": 24, "cfg": 6.5, "sampler_name": "euler", "scheduler": "karras",
               "model": ["2", 0], "positive": ["3", 0], "negative": ["4", 0], "latent_image": ["5", 0]}  # fmt: skip
    lora = {"lora_name": "ink_style.safetensors", "strength_model": 0.8, "strength_clip": 1.0}
    return {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "dreamscape_xl.safetensors"}},
        "2": {"class_type": "LoraLoader", "inputs": {**lora, "model": ["1", 0], "clip": ["1", 1]}},
        "3": text(POSITIVE),
        "4": text(NEGATIVE),
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 832, "height": 1216, "batch_size": 1}},
        "6": {"class_type": "KSampler", "inputs": sampler},
        "7": {"class_type": "VAEDecode", "inputs": {"samples": ["6", 0], "vae": ["1", 2]}},
        "8": {"class_type": "SaveImage", "inputs": {"images": ["7", 0], "filename_prefix": "fox"}},
    }
