"""Prompts and settings that made a picture, from the documents in its file, of any program. Pure.

The graph that was executed says it best; then what another program stated, such as A1111 in a text, or SwarmUI, Fooocus
and InvokeAI in JSON; then the page's form of the graph, which has nodes that were not executed, and a description.

Programs call the same things by many names, so JSON is read by the members that mean the same whatever the program,
without regard to case, underscores and spaces. Nothing raises, and the work is bounded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ..graphs import executed_graph, flattened_graph
from ..models import Generation, UsedLora
from .decoding import decode
from .graph_generation import generation_of_graph, integer, loader_name, lora_tags, number

_MAX_SETTINGS = 16 << 10  # characters of the last line
_MAX_MEMBERS = 2000
_MAX_DEPTH = 4

_SETTINGS = re.compile(r"(?:^|\n)[ \t]*(?=Steps: \d)")
_NEGATIVE = re.compile(r"(?:^|\n)Negative prompt:[ \t]*", re.IGNORECASE)
_SETTING = re.compile(r'\s*([A-Za-z][\w \-/]{0,60}):\s*("(?:\\.|[^"\\]){0,4096}"|\[[^\]]{0,4096}\]|[^,\n]*)(?:,|\n|$)')
_SIZE = re.compile(r"(\d{1,6})\s*[x×,]\s*(\d{1,6})")
_MIDJOURNEY = re.compile(r"\bJob ID: ")
_BRACKETS = re.compile(r"\[([^\[\]]*)\]")
_EMPTY = Generation()


def is_parameters(text: str) -> bool:
    """Return whether a text has the settings that A1111 and its relatives write behind a prompt."""
    return bool(_SETTINGS.search(text) or _NEGATIVE.search(text))


def of_parameters(text: str) -> Generation:
    """Read A1111's text: the prompt, a line ``Negative prompt:``, and a last line of settings."""
    *_, end = [len(text), *(match.start() for match in _SETTINGS.finditer(text))]
    prompt, settings = text[:end], _settings(text[end : end + _MAX_SETTINGS])
    positive, *negative = _NEGATIVE.split(prompt, maxsplit=1)
    width, height = _size(settings.get("size", ""))
    resources = list(_civitai_resources(settings.get("civitai resources", "")))
    models = [settings.get("model", ""), *(name for kind, name, _ in resources if kind == "checkpoint")]
    loras = [
        *lora_tags(positive),
        *_hashed_loras(settings.get("lora hashes", ""), {lora.name for lora in lora_tags(positive)}),
        *(UsedLora(name, weight) for kind, name, weight in resources if kind != "checkpoint"),
    ]
    return Generation(
        positive=positive.strip(),
        negative=negative[0].strip() if negative else "",
        models=tuple(dict.fromkeys(filter(None, models))),
        loras=tuple(dict.fromkeys(loras)),
        seed=integer(settings.get("seed")),
        steps=integer(settings.get("steps")),
        sampler=settings.get("sampler", ""),
        scheduler=settings.get("schedule type", settings.get("scheduler", "")),
        cfg=number(settings.get("cfg scale", settings.get("distilled cfg scale"))),
        width=width,
        height=height,
        tool=_tool_of(settings),
    )


def _settings(line: str) -> dict[str, str]:
    """Return the settings by their names in lower case; the first of a name counts."""
    found: dict[str, str] = {}
    at = 0
    while at < len(line) and len(found) < _MAX_MEMBERS:
        match = _SETTING.match(line, at)
        if match is None:
            break
        found.setdefault(match[1].strip().lower(), match[2].strip().strip('"').strip())
        at = match.end() if match.end() > at else at + 1
    return found


def _tool_of(settings: Mapping[str, str]) -> str:
    app, version = settings.get("app", ""), settings.get("version", "")
    if app:
        return app
    if version.lower().startswith(("f1.", "f2.", "f0.", "neo")):
        return "Forge"
    if version.lower().startswith("comfy"):
        return "ComfyUI"
    return "A1111" if version or "steps" in settings else ""


def _hashed_loras(text: str, known: set[str]) -> Iterator[UsedLora]:
    """Yield the LoRAs in a list of hashes such as ``ink: 0123456789ab, …`` that the prompt does not name."""
    for part in text.split(","):
        name = part.partition(":")[0].strip()
        if name and name not in known:
            yield UsedLora(name)


def _civitai_resources(text: str) -> Iterator[tuple[str, str, float | None]]:
    try:
        resources = json.loads(text) if text.startswith("[") else []
    except (ValueError, RecursionError):
        return
    for each in resources[:_MAX_MEMBERS] if isinstance(resources, list) else ():
        if isinstance(each, dict) and isinstance(each.get("modelName"), str):
            yield str(each.get("type", "")).lower(), each["modelName"], number(each.get("weight"))


def of_description(text: str) -> Generation:
    """Read a description: a prompt with settings, Midjourney's, InvokeAI's first form, or none at all."""
    if is_parameters(text):
        return of_parameters(text)
    if _MIDJOURNEY.search(text):
        return Generation(positive=re.split(r" --\w|\bJob ID: ", text, maxsplit=1)[0].strip(), tool="Midjourney")
    prompt, quote, options = text.strip().rpartition('"')
    is_command = bool(quote) and prompt.startswith('"') and options.startswith(" -")
    return _of_dream(prompt[1:], options) if is_command else Generation()


def _of_dream(prompt: str, options: str) -> Generation:
    """Read the command line that the first InvokeAI wrote: ``"a dragon" -s 50 -S 123 -W 512 -H 512``."""
    values = dict(re.findall(r"-([A-Za-z])\s*(\S+)", options))
    positive, negative = _bracketed(prompt)
    return Generation(
        positive=positive, negative=negative, seed=integer(values.get("S")), steps=integer(values.get("s")),
        sampler=values.get("A", ""), cfg=number(values.get("C")), width=integer(values.get("W")),
        height=integer(values.get("H")), tool="InvokeAI",
    )  # fmt: skip


def _bracketed(prompt: str) -> tuple[str, str]:
    """Split a prompt of the first InvokeAI, which has the negative one in square brackets."""
    return _BRACKETS.sub(" ", prompt).strip(), ", ".join(_BRACKETS.findall(prompt))


# JSON

_POSITIVE_NAMES = ("positiveprompt", "prompt", "rawprompt", "c", "fullprompt", "basecaption", "inputprompt", "caption")
_NEGATIVE_NAMES = ("negativeprompt", "uc", "negprompt", "fullnegativeprompt", "v4negativeprompt", "undesiredcontent")
_MODEL_NAMES = (
    "model", "basemodel", "basemodelname", "modelname", "sdmodelname", "usestablediffusionmodel", "modelweights",
    "checkpoint", "ckptname", "ckpt", "modelid", "refinermodel",
)  # fmt: skip
_LORA_NAMES = ("loras", "lora", "uselora", "uselorammodel", "useloramodel")
_LORA_WEIGHTS = ("loraweights", "loraalpha", "lorastrength")
_NAME_NAMES = ("name", "modelname", "model", "lora", "file", "path")
_TOOLS = {
    "suiimageparams": "SwarmUI", "suiextradata": "SwarmUI", "metadatascheme": "Fooocus", "appversion": "InvokeAI",
    "uc": "NovelAI", "v4prompt": "NovelAI", "usestablediffusionmodel": "Easy Diffusion", "modelweights": "InvokeAI",
    "c": "Draw Things", "fooocusv2expansion": "Fooocus",
}  # fmt: skip
# Members that hold the ones that are looked for.
_NESTED = ("suiimageparams", "image", "meta", "metadata", "parameters", "v4prompt", "caption", "generation", "params")


def of_json(value: object) -> Generation:
    """Read the JSON of another program. What it does not say stays empty."""
    if not isinstance(value, dict):
        return Generation()
    members = _members(value)
    loras = [*_loras(members), *lora_tags(_prompt(members, _POSITIVE_NAMES))]
    width, height = integer(members.get("width")), integer(members.get("height"))
    if not (width and height):
        width, height = _size(_first_text(members, ("resolution", "size", "imagesize")))
    return Generation(
        positive=_prompt(members, _POSITIVE_NAMES),
        negative=_prompt(members, _NEGATIVE_NAMES),
        models=tuple(dict.fromkeys(_models(members))),
        loras=tuple(dict.fromkeys(loras)),
        seed=next(filter(None, (integer(members.get(name)) for name in ("seed", "imageseed", "noiseseed"))), None),
        steps=integer(members.get("steps", members.get("numinferencesteps"))),
        sampler=_first_text(members, ("sampler", "samplername", "samplerindex")),
        scheduler=_first_text(members, ("scheduler", "schedulername", "schedule", "noiseschedule")),
        cfg=next(
            (n for name in ("cfgscale", "guidancescale", "cfg", "scale", "guidance")
             if (n := number(members.get(name))) is not None), None,
        ),
        width=width,
        height=height,
        tool=_tool_of_json(members),
    )  # fmt: skip


def _members(value: dict[Any, Any]) -> dict[str, Any]:
    """Return the members of an object and of those that programs nest in it, by their names without case and marks."""
    found: dict[str, Any] = {}
    waiting: list[tuple[dict[Any, Any], int]] = [(value, 0)]
    while waiting and len(found) < _MAX_MEMBERS:
        inner, depth = waiting.pop(0)
        for name, member in inner.items():
            key = re.sub(r"[^a-z0-9]", "", str(name)[:64].lower())
            found.setdefault(key, member)
            if key in _NESTED and isinstance(member, dict) and depth < _MAX_DEPTH:
                waiting.append((member, depth + 1))
    return found


def _tool_of_json(members: Mapping[str, Any]) -> str:
    version = str(members.get("version", ""))
    if "fooocus" in version.lower():
        return "Fooocus"
    return next((tool for name, tool in _TOOLS.items() if name in members), "")


def _prompt(members: Mapping[str, Any], names: Iterable[str]) -> str:
    for name in names:
        text = "\n".join(dict.fromkeys(_caption(members.get(name), 0)))
        if text:
            return text
    return ""


def _caption(value: object, depth: int) -> Iterator[str]:
    """Yield the texts of a prompt: a text, weighted parts, or NovelAI's captions of a picture and its characters."""
    if isinstance(value, str):
        yield from filter(None, [value.strip()])
    elif depth < _MAX_DEPTH and isinstance(value, list):
        for each in value[:_MAX_MEMBERS]:
            yield from _caption(each, depth + 1)
    elif depth < _MAX_DEPTH and isinstance(value, dict):
        for name in ("caption", "base_caption", "char_captions", "char_caption", "prompt", "text"):
            yield from _caption(value.get(name), depth + 1)


def _first_text(members: Mapping[str, Any], names: Iterable[str]) -> str:
    return next((value for name in names if isinstance(value := members.get(name), str) and value), "")


def _models(members: Mapping[str, Any]) -> Iterator[str]:
    for name in _MODEL_NAMES:
        text = _name(members.get(name))
        if text and text.lower() not in ("none", "stable diffusion"):
            yield loader_name(text)


def _name(value: object) -> str:
    """Return the name of a model: a text, or a member of an object."""
    for _ in range(_MAX_DEPTH):
        if not isinstance(value, dict):
            break
        members = {re.sub(r"[^a-z0-9]", "", str(key).lower()): member for key, member in value.items()}
        value = next((members[key] for key in _NAME_NAMES if members.get(key)), None)
    return value.strip() if isinstance(value, str) else ""


def _loras(members: Mapping[str, Any]) -> Iterator[UsedLora]:
    weights = next((value for name in _LORA_WEIGHTS if (value := members.get(name)) is not None), None)
    for name in _LORA_NAMES:
        value = members.get(name)
        listed = value if isinstance(value, list) else [value]
        for at, each in enumerate(listed[:_MAX_MEMBERS]):
            yield from _lora(each, weights[at] if isinstance(weights, list) and at < len(weights) else weights)
    # Fooocus numbers them: "LoRA 1": "ink.safetensors : 0.5".
    for key, value in members.items():
        if re.fullmatch(r"lora(combined)?\d+", key) and isinstance(value, str):
            name, _, weight = value.rpartition(" : ")
            yield UsedLora(loader_name(name or value), number(weight) if name else None)


def _lora(value: object, weight: object) -> Iterator[UsedLora]:
    if isinstance(value, list) and value:  # Fooocus: a name, a weight and a hash
        weight = value[1] if len(value) > 1 else None
        value = {"name": value[0]}
    if isinstance(value, dict):
        stated = value.get("weight", value.get("strength"))
        weight = weight if stated is None else stated
    name = _name(value)
    if name and name.lower() != "none":
        yield UsedLora(loader_name(name), number(weight))


def _size(text: str) -> tuple[int | None, int | None]:
    match = _SIZE.search(text)
    return (int(match[1]), int(match[2])) if match else (None, None)


def generation_of(documents: Mapping[str, bytes]) -> Generation:
    """Return the generation data in the documents of a file (JSON texts by key).

    Each document adds what the better ones leave open. Documents that are malformed or too large say nothing.
    """
    found = _EMPTY
    for key, read in READERS.items():
        if key in documents:
            found = _completed(found, read(decode(documents[key])))
    return found


def of_text(value: object) -> Generation:
    """Read ``parameters``: A1111's text, the JSON of another program, or a prompt alone."""
    if not isinstance(value, str):
        return of_json(value)
    return of_parameters(value) if is_parameters(value) else Generation(positive=value.strip())


def _of_prompt(value: object) -> Generation:
    graph = executed_graph(value)
    return generation_of_graph(graph) if graph else _EMPTY


def _of_workflow(value: object) -> Generation:
    graph = flattened_graph(value)
    return generation_of_graph(graph) if graph else _EMPTY


def _of_description(value: object) -> Generation:
    return of_description(value) if isinstance(value, str) else _EMPTY


# The documents that say something, the best first.
READERS: dict[str, Callable[[Any], Generation]] = {
    "prompt": _of_prompt,
    "generation": of_json,
    "parameters": of_text,
    "workflow": _of_workflow,
    "description": _of_description,
}


def _completed(one: Generation, other: Generation) -> Generation:
    """Return the first with the members of the other that it leaves open; a prompt and its negative stay together."""
    if one == _EMPTY:
        return other
    members = {name: getattr(one, name) for name in Generation.__struct_fields__}
    for name, value in members.items():
        if value in ("", (), None) and not (name == "negative" and one.positive):
            members[name] = getattr(other, name)
    return Generation(**members)
