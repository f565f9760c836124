"""Find the generation data in a graph: prompts, models, LoRAs and the sampler's settings. Pure.

Prompts are found by following the inputs named positive and negative back to texts, through whatever conditions,
joins or translates them. Node packs choose their names, so inputs are distinguished by parts of their names. The work
is bounded, and no graph raises.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Container, Iterable, Iterator
from typing import Any

from ..graphs import Graph, GraphNode, Link
from ..models import Generation, UsedLora
from .decoding import prose

_MAX_STEPS = 20_000  # values that one search looks at
_MAX_TEXTS = 200
_LARGEST = 1e9  # of strengths and scales
_MOST = 1 << 64  # seeds are unsigned 64-bit numbers
_MAX_HOPS = 16  # from a linked number to the node that states it

MODEL_SUFFIX = re.compile(r"\.(?:safetensors|sft|ckpt|pth?|bin|gguf|onnx)$", re.IGNORECASE)
_NEGATIVE = re.compile(r"(?:^|_)neg(?:ative)?(?![a-z])", re.IGNORECASE)
_POSITIVE = re.compile(r"(?:^|_)pos(?:itive)?(?![a-z])", re.IGNORECASE)
# Inputs of samplers and guiders that take the prompt without saying so.
_CONDITIONS = re.compile(r"^(?:conditioning|cond_?\d*|\w*text_embeds|hyvid_embeds|prompt)$", re.IGNORECASE)
_SAMPLERS = re.compile("sampler|guider", re.IGNORECASE)
_TEXTS = re.compile(
    r"text|prompt|string|caption|tags|wildcard|^clip_[lgh]$|^t5xxl$|^llama$|^value$|^in$|^instruction", re.IGNORECASE
)
_FINAL_TEXTS = ("populated_text", "populated_prompt")  # after wildcards were replaced
# Inputs that lead away from the prompt: to models, pictures and numbers.
_OTHER = re.compile(
    r"^(?:model|clip|vae|image|pixels|latent|samples|mask|control_net|clip_vision|audio|video|noise|sigmas|sampler"
    r"|style_model|ipadapter|seed|width|height|steps|cfg|denoise|guidance|strength|lora)",
    re.IGNORECASE,
)
_LETTER = re.compile(r"[^\W\d_]|[^\x00-\x7f]")
_SILENT = frozenset({"ConditioningZeroOut"})  # nodes that take the meaning out of a prompt

_MAIN_MODEL = re.compile("^(?:ckpt|unet|model|checkpoint|base_ckpt|refiner_ckpt|diffusion_model|gguf)", re.IGNORECASE)
_CHECKPOINT = re.compile("^(?:base_|refiner_)?(?:ckpt|unet)_name", re.IGNORECASE)
_OTHER_MODEL = re.compile(
    "upscale|controlnet|control_net|clip|vae|detect|adapter|style|segment|sam|rife|film|depth|text_?encoder|motion"
    "|embedd|caption|tagger|face|audio|whisper",
    re.IGNORECASE,
)
_LORA = re.compile(r"^(?:lora(?:_name)?_?(\d*)|lora_(\d+)_name|lora_name_(\d+))$", re.IGNORECASE)
_WEIGHT = re.compile("strength|weight|wt|str", re.IGNORECASE)
_LORA_TAG = re.compile(r"<(?:lora|lyco|hypernet):([^:<>]+)(?::(-?[\d.]+))?[^<>]*>", re.IGNORECASE)
_NONE = frozenset({"", "none", "null", "undefined", "disabled"})


def generation_of_graph(graph: Graph, tool: str = "ComfyUI") -> Generation:
    """Return the generation data in a graph."""
    positive, negative = _prompts(graph)
    negative = {text: None for text in negative if text not in positive}
    upstream = list(_upstream(graph, _main_sampler(graph)))
    width, height = _size(graph, upstream)
    return Generation(
        positive="\n".join(positive),
        negative="\n".join(negative),
        models=tuple(dict.fromkeys(_main_models(graph))),
        loras=tuple(dict.fromkeys([*_loras(graph), *lora_tags("\n".join(positive))])),
        seed=integer(_first(graph, upstream, ("seed", "noise_seed"))),
        steps=integer(_first(graph, upstream, ("steps", "num_inference_steps"))),
        sampler=_string(_first(graph, upstream, ("sampler_name", "sampler"))),
        scheduler=_string(_first(graph, upstream, ("scheduler",))),
        cfg=number(_first(graph, upstream, ("cfg", "cfg_scale", "guidance_scale", "guidance"))),
        width=width,
        height=height,
        tool=tool,
    )


# Prompts


def positive_text(graph: Graph) -> str:
    """Return the prompt of a graph; "" without one."""
    return "\n".join(_found_texts(graph, _POSITIVE) or _fallback_texts(graph, _found_texts(graph, _NEGATIVE)))


def _prompts(graph: Graph) -> tuple[dict[str, None], dict[str, None]]:
    """Return the texts of the prompt and of the negative prompt."""
    negative = _found_texts(graph, _NEGATIVE)
    return _found_texts(graph, _POSITIVE) or _fallback_texts(graph, negative), negative


def _found_texts(graph: Graph, side: re.Pattern[str]) -> dict[str, None]:
    """Return the texts behind the inputs of one side, in the order in which they are met."""
    roots = [
        value
        for node in graph.values()
        for name, value in node.inputs.items()
        if side.search(name) or (side is _POSITIVE and _is_condition(node, name, value))
    ]
    found: dict[str, None] = {}
    seen: set[str] = set()
    waiting = roots[::-1]
    for _ in range(_MAX_STEPS):
        if not waiting or len(found) >= _MAX_TEXTS:
            break
        value = waiting.pop()
        if isinstance(value, str) and _is_language(value):
            found[value.strip()] = None
        elif isinstance(value, Link) and value.node not in seen:
            seen.add(value.node)
            node = graph.get(value.node)
            if node is not None and node.type not in _SILENT:
                waiting += reversed(list(_sources(node, side)))
    return found


def _is_condition(node: GraphNode, name: str, value: object) -> bool:
    return isinstance(value, Link) and bool(_SAMPLERS.search(node.type) and _CONDITIONS.match(name))


def _sources(node: GraphNode, side: re.Pattern[str]) -> Iterator[Any]:
    """Yield the inputs of a node that its text or condition is made of."""
    of_side = [value for name, value in node.inputs.items() if side.search(name)]
    if of_side:
        yield from of_side
        return
    final = [node.inputs[name] for name in _FINAL_TEXTS if node.inputs.get(name)]
    if final:
        yield from final
        return
    other_side = _NEGATIVE if side is _POSITIVE else _POSITIVE
    inputs = {name: value for name, value in node.inputs.items() if not other_side.search(name)}
    named = any(_TEXTS.search(name) for name in inputs)
    for name, value in inputs.items():
        if isinstance(value, Link):
            if _TEXTS.search(name) or not _OTHER.match(name):
                yield value
        elif _TEXTS.search(name) or (not named and isinstance(value, str) and " " in value):
            yield value


def _fallback_texts(graph: Graph, negative: Container[str]) -> dict[str, None]:
    return dict.fromkeys(text for text in _fallback(graph) if text not in negative)


def _fallback(graph: Graph) -> Iterator[str]:
    """Yield texts of prompts in a graph without a sampler, as of nodes that ask another service for a picture."""
    for node in graph.values():
        for name, value in node.inputs.items():
            if isinstance(value, str) and _may_be_prompt(node, name, value) and _is_language(value):
                yield value.strip()


def _may_be_prompt(node: GraphNode, name: str, value: str) -> bool:
    if name.startswith("widget_"):  # of a node that says nothing about its widgets
        return " " in value.strip() and "note" not in node.type.lower()
    return bool(_TEXTS.search(name)) and not _NEGATIVE.search(name)


def _is_language(text: str) -> bool:
    """Return whether a text may be a prompt: not empty, no number, no file, no binary data."""
    text = text.strip()
    return (
        bool(re.search(r"[^\W\d_]|[^\x00-\x7f]", text)) and not MODEL_SUFFIX.search(text) and bool(prose(text).strip())
    )


# Models and LoRAs


def _main_models(graph: Graph) -> Iterator[str]:
    for node in graph.values():
        for name, value in node.inputs.items():
            text = _content(value)
            if not text or text.lower() in _NONE or "lora" in f"{node.type} {name}".lower():
                continue
            is_file = "." in text and bool(MODEL_SUFFIX.search(text))
            if _CHECKPOINT.match(name) or (is_file and _is_main(node, name)):
                yield loader_name(text)


def _is_main(node: GraphNode, name: str) -> bool:
    if _MAIN_MODEL.match(name):
        return not _OTHER_MODEL.search(node.type)
    return name.startswith("widget_") and bool(re.search("checkpoint|unet|diffusion", node.type, re.IGNORECASE))


def other_models(graph: Graph) -> Iterator[str]:
    """Yield the names of all model files in a graph but LoRAs: VAEs, text encoders, upscalers …"""
    for node in graph.values():
        for name, value in node.inputs.items():
            text = _content(value)
            if "." in text and MODEL_SUFFIX.search(text) and "lora" not in f"{node.type} {name}".lower():
                yield loader_name(text)


def _content(value: object) -> str:
    """Return a text, or that of a widget that shows a picture beside it."""
    if isinstance(value, dict):
        value = value.get("content")
    return value.strip() if isinstance(value, str) else ""


def loader_name(text: str) -> str:
    """Return the name that loaders take, with forward slashes."""
    return text.strip().replace("\\", "/")


def _loras(graph: Graph) -> Iterator[UsedLora]:
    for node in graph.values():
        is_loader = "lora" in node.type.lower()
        for name, value in node.inputs.items():
            if isinstance(value, dict | list):
                yield from _described_loras(value, is_loader=is_loader or "lora" in name.lower())
            elif isinstance(value, str):
                yield from _named_lora(node, name, value, is_loader=is_loader)
                if is_loader and "<" in value:
                    yield from lora_tags(value)


def _named_lora(node: GraphNode, name: str, value: str, *, is_loader: bool) -> Iterator[UsedLora]:
    """Yield the LoRA that an input names, unless it is switched off."""
    match = _LORA.match(name)
    if value.strip().lower() in _NONE or not (match or (is_loader and MODEL_SUFFIX.search(value))):
        return
    digits = next(filter(None, match.groups()), "") if match else ""
    if not _is_off(node, digits):
        yield UsedLora(loader_name(value), _lora_weight(node, digits))


def _is_off(node: GraphNode, digits: str) -> bool:
    count = next((node.inputs[name] for name in ("lora_count", "num_loras") if name in node.inputs), None)
    if digits and isinstance(count, int) and int(digits) > count:
        return True
    flags = [value for name, value in node.inputs.items() if name in _flags(digits)]
    return any(flag is False or (isinstance(flag, str) and flag.lower() in ("off", "false")) for flag in flags)


def _flags(digits: str) -> tuple[str, ...]:
    end = f"_{digits}" if digits else ""
    return tuple(f"{name}{end}" for name in ("switch", "on", "enabled", "enable", "toggle", "active"))


def _lora_weight(node: GraphNode, digits: str) -> float | None:
    """Return the strength beside the name of a LoRA: that for the model rather than that for the text encoder."""
    for name, value in node.inputs.items():
        own = re.search(r"(?:^|_)(\d+)(?:_|$)", name)
        if _WEIGHT.search(name) and "clip" not in name and (own[1].lstrip("0") if own else "") == digits.lstrip("0"):
            weight = number(value)
            if weight is not None:
                return weight
    return None


def _described_loras(value: Any, *, is_loader: bool) -> Iterator[UsedLora]:
    """Yield the LoRAs of widgets that hold several values: objects, and lists of them."""
    members = value.get("__value__", value) if isinstance(value, dict) else value
    for each in members[:_MAX_TEXTS] if isinstance(members, list) else [members]:
        if not isinstance(each, dict) or each.get("on") is False or each.get("active") is False:
            continue
        name = each.get("lora")
        if not isinstance(name, str) and is_loader:
            name = each.get("name") or each.get("content")
        if isinstance(name, str) and name.strip().lower() not in _NONE:
            yield UsedLora(loader_name(name), number(each.get("strength", each.get("weight"))))


def lora_tags(text: str) -> Iterator[UsedLora]:
    """Yield the LoRAs that a prompt names as ``<lora:name:0.8>``."""
    for match in _LORA_TAG.finditer(text):
        yield UsedLora(loader_name(match[1]), number(match[2]))


def without_lora_tags(text: str) -> str:
    """Return a prompt without its ``<lora:name:0.8>``."""
    return _LORA_TAG.sub(" ", text) if "<" in text else text


# The sampler's settings


def _main_sampler(graph: Graph) -> str | None:
    """Return the id of the sampler of the first pass, behind which there is no other."""
    samplers = [
        node_id
        for node_id, node in graph.items()
        if node.inputs.keys() & {"seed", "noise_seed", "noise"}
        and node.inputs.keys() & {"positive", "guider", "sampler_name", "sampler", "conditioning", "text_embeds"}
    ]
    for node_id in samplers[:_MAX_HOPS]:
        behind = [each for each, _ in _reached(graph, node_id)]
        if not set(behind[1:]) & set(samplers):
            return node_id
    return samplers[0] if samplers else None


def _reached(graph: Graph, start: str) -> Iterator[tuple[str, GraphNode]]:
    """Yield a node and those behind its inputs, the nearest first."""
    waiting, seen = deque([start]), {start}
    while waiting:
        node_id = waiting.popleft()
        node = graph[node_id]
        yield node_id, node
        for value in node.inputs.values():
            if isinstance(value, Link) and value.node in graph and value.node not in seen:
                seen.add(value.node)
                waiting.append(value.node)


def _upstream(graph: Graph, sampler: str | None) -> Iterable[GraphNode]:
    """Return the sampler and the nodes behind it; without a sampler all nodes."""
    return graph.values() if sampler is None else (node for _, node in _reached(graph, sampler))


def _first(graph: Graph, nodes: Iterable[GraphNode], names: tuple[str, ...]) -> Any:
    """Return the value of one of these inputs, of the first node that states it."""
    for node in nodes:
        for name in names:
            value = _scalar(graph, node.inputs[name], name) if name in node.inputs else None
            if value is not None:
                return value
    return None


def _scalar(graph: Graph, value: Any, name: str) -> Any:
    """Return the number or text behind an input, which may come from another node."""
    for _ in range(_MAX_HOPS):
        if not isinstance(value, Link):
            break
        node = graph.get(value.node)
        if node is None:
            return None
        choices = [name, "value", "seed", "number", "int", "float", "string", "text"]
        value = next((node.inputs[each] for each in choices if each in node.inputs), None)
    return value if isinstance(value, str | int | float) else None


def _size(graph: Graph, nodes: Iterable[GraphNode]) -> tuple[int | None, int | None]:
    """Return the size of the first picture or latent that is made."""
    for node in nodes:
        if {"width", "height"} <= node.inputs.keys() and "encode" not in node.type.lower():
            width, height = (integer(_scalar(graph, node.inputs[name], name)) for name in ("width", "height"))
            if width and height:
                return width, height
    return None, None


def integer(value: object) -> int | None:
    """Return a number without a sign, also one in a text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        whole = int(value)
    except (ValueError, OverflowError):
        return None
    return whole if 0 <= whole < _MOST else None


def number(value: object) -> float | None:
    """Return a number of a moderate size, also one in a text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if abs(found) < _LARGEST else None


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""
