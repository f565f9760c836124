"""Settings that tools write as one text each, such as a PNG with texts "Prompt", "Seed" and "Steps", as one object.

Easy Diffusion writes every setting as a text of its own, under the names of its interface or of its API. InvokeAI 1 and
2 wrote the command line of their program. Other tools write a plain prompt under the keyword that ComfyUI uses for its
graph.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# Easy Diffusion's names in lower case, and its names of the same settings in JSON.
_SETTINGS = {
    "prompt": "prompt",
    "negative prompt": "negative_prompt",
    "seed": "seed",
    "stable diffusion model": "use_stable_diffusion_model",
    "clip skip": "clip_skip",
    "controlnet model": "use_controlnet_model",
    "vae model": "use_vae_model",
    "sampler": "sampler_name",
    "scheduler": "scheduler_name",
    "width": "width",
    "height": "height",
    "steps": "num_inference_steps",
    "guidance scale": "guidance_scale",
    "prompt strength": "prompt_strength",
    "lora model": "use_lora_model",
    "lora strength": "lora_alpha",
    "hypernetwork model": "use_hypernetwork_model",
    "embedding models": "use_embeddings_model",
}
_NAMES = _SETTINGS | {name: name for name in _SETTINGS.values()}
_COMMAND = "dream"
KEYWORDS = frozenset(_NAMES) | {_COMMAND}

MAX_FIELD = 256 << 10  # bytes of a text
_MAX_COMMAND = 64 << 10  # bytes of a command line: a pattern takes a hundred bytes of memory for each character

_NUMBER = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?")
_TEXT_SETTINGS = frozenset({"prompt", "negative_prompt"})
_QUOTED = re.compile(r'\s*"((?:[^"\\]|\\.)*)"', re.DOTALL)
_OPTION = re.compile(r"\s-(s|S|W|H|C|A)\s*([^\s\"]{1,64})")
# InvokeAI's names of the same settings in its newer metadata.
_OPTIONS = {"s": "steps", "S": "seed", "W": "width", "H": "height", "C": "cfg_scale", "A": "scheduler"}


def generation(fields: Mapping[str, bytes]) -> dict[str, Any]:
    """Return the settings in texts by their keywords in lower case; an empty dictionary if there are none.

    A command line gives InvokeAI's names (``positive_prompt``, ``cfg_scale``), other texts Easy Diffusion's.
    """
    found: dict[str, Any] = {}
    for keyword, text in fields.items():
        if keyword in _NAMES and (value := text.decode("utf-8", "replace").strip()) not in ("", "None"):
            name = _NAMES[keyword]
            found.setdefault(name, value if name in _TEXT_SETTINGS else _value(value))
    if not found and _COMMAND in fields:
        return _command(fields[_COMMAND][:_MAX_COMMAND].decode("utf-8", "replace"))
    return found


def _value(text: str) -> str | int | float:
    number = _NUMBER.fullmatch(text)
    if number is None:
        return text
    return float(text) if number[1] else int(text)


def _command(line: str) -> dict[str, Any]:
    """Return the settings of a command line such as ``"a cat [dog]" -s 50 -S 123 -W 512 -H 512 -C 7.5 -A k_lms``."""
    quoted = _QUOTED.match(line)
    positive, end = (quoted[1], quoted.end()) if quoted else (line, len(line))
    # Negative prompts are in brackets.
    negative = ", ".join(part.strip() for part in re.findall(r"\[([^\[\]]*)\]", positive))
    found: dict[str, Any] = {"positive_prompt": re.sub(r"\[[^\[\]]*\]", "", positive).strip()}
    if negative:
        found["negative_prompt"] = negative
    for option, value in _OPTION.findall(line[end:]):
        found.setdefault(_OPTIONS[option], _value(value))
    return found
