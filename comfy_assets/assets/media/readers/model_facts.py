"""The facts of a model under the names that ComfyUI's page reads, from what trainers write into headers. Pure.

Known are the Stability AI Model Metadata Standard (``modelspec.…``), kohya's trainer (``ss_…``), ai-toolkit, and the
plain names that Civitai and ComfyUI use. A header is a mapping of texts; other values come from writers that ignore
the format, and are read as far as they make sense.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from .architectures import Architecture

# Bytes of JSON that each fact may have: all facts of a file together have at most 4 KiB.
_LIMITS = {
    "name": 200,
    "base_model": 120,
    "architecture": 120,
    "author": 160,
    "repo_url": 300,
    "description": 400,
    "quantization": 40,
}
MAX_WORDS_BYTES = 640  # of all trained words in lists
_MAX_WORDS = 50
_MAX_JSON = 64 << 10  # bytes of a JSON text inside a header's text
PICTURES = ("modelspec.thumbnail", "ssmd_cover_images", "thumbnail", "preview_image")
"""Header fields that hold pictures, as base64 texts. They are previews, and no part of the documents."""

# The fields of headers behind each fact, the most specific first.
_FIELDS = {
    "name": ("modelspec.title", "name", "title", "ss_output_name", "general.name", "model_name"),
    "author": ("modelspec.author", "author", "general.author", "creator"),
    "description": ("modelspec.description", "description", "general.description", "ss_training_comment"),
    "repo_url": ("repo_url", "general.repo_url", "general.source.url", "source_url", "modelspec.hash_url", "url"),
}
_BASE_MODEL = (
    "base_model",
    "baseModel",
    "modelspec.base_model",
    "ss_base_model_version",
    "ss_base_model",
    "sd version",
)
_ARCHITECTURE = ("modelspec.architecture", "general.architecture")
_WORDS = ("trained_words", "trainedWords", "modelspec.trigger_phrase", "trigger_phrase", "activation text")
_WORDS_MORE = ("trigger_word", "trigger_words", "instance_prompt", "ss_trigger_words")
FIELDS = frozenset(
    (*(field for fields in _FIELDS.values() for field in fields), *_BASE_MODEL, *_ARCHITECTURE, *_WORDS, *_WORDS_MORE)
) | {*PICTURES, "general.base_model.0.name"}
"""All fields of headers that ``model_facts`` reads."""
_TEXT = re.compile(r"\s+")
_URL = re.compile(r"https?://[^\s\"'<>]+", re.IGNORECASE)

# Identifiers of kohya's trainer, ai-toolkit and the metadata standard, reduced to letters and digits.
_BASE_MODELS = {
    "SD 1.4": ("sdv14", "sd14", "stablediffusionv14"),
    "SD 1.5": ("sdv1", "sdv15", "sd15", "sd1", "stablediffusionv1", "stablediffusionv15", "stablediffusion15"),
    "SD 2.1": (
        "sd2",
        "sdv2",
        "sdv2v",
        "sdv21",
        "sd21",
        "stablediffusionv2",
        "stablediffusionv2512",
        "stablediffusionv2768v",
    ),
    "SDXL 0.9": ("sdxlbasev09", "sdxl09"),
    "SDXL 1.0": (
        "sdxlbasev10",
        "sdxlbase10",
        "sdxlv10",
        "sdxl10",
        "sdxl",
        "sdxl1",
        "stablediffusionxlv1base",
        "stablediffusionxlbase10",
    ),
    "SD 3": ("sd3", "sd3m", "stablediffusion3", "stablediffusion3medium", "stablediffusionv3medium"),
    "SD 3.5": ("sd35", "stablediffusion35"),
    "SD 3.5 Medium": ("sd35medium", "stablediffusion35medium", "stablediffusionv35medium"),
    "SD 3.5 Large": ("sd35large", "stablediffusion35large", "stablediffusionv35large"),
    "Flux.1 D": ("flux", "flux1", "flux1d", "flux1dev", "fluxdev"),
    "Flux.1 S": ("flux1s", "flux1schnell", "fluxschnell"),
    "Flux.1 Kontext": ("flux1kontext", "flux1kontextdev", "fluxkontext"),
    "Flux.2 D": ("flux2", "flux2dev"),
    "Chroma": ("chroma", "chroma1hd", "chroma1base"),
    "Hunyuan Video": ("hunyuanvideo", "hyvid"),
    "Hunyuan 1": ("hunyuandit", "hydit"),
    "HiDream": ("hidream", "hidreami1", "hidreami1full"),
    "LTXV": ("ltxv", "ltxvideo", "lightricksltxvideo"),
    "LTXV2": ("ltx2", "ltxav", "lightricksltx2"),
    "Lumina": ("lumina2", "lumina"),
    "Mochi": ("mochi", "mochipreview"),
    "AuraFlow": ("auraflow", "aura", "auraflowv1"),
    "PixArt a": ("pixartalpha",),
    "PixArt E": ("pixart", "pixartsigma"),
    "Qwen": ("qwenimage", "qwenimageedit", "qwenimageedit2509", "qwenimage2512"),
    "Z-Image": ("zimage", "zimagebase"),
    "ZImageTurbo": ("zimageturbo",),
    "Wan Video": ("wan", "wan21", "wan22", "wanvideo"),
    "Wan Video 1.3B t2v": ("wan21t2v13b", "wan2113b", "wan21text2video13b"),
    "Wan Video 14B t2v": ("wan21t2v14b", "wan2114b", "wan21text2video14b"),
    "Wan Video 14B i2v": ("wan21i2v14b", "wan21image2video14b"),
    "Wan Video 2.2 TI2V-5B": ("wan22ti2v5b", "wan225b"),
    "Wan Video 2.2 T2V-A14B": ("wan22t2va14b", "wan2214b", "wan22t2v14b"),
    "Wan Video 2.2 I2V-A14B": ("wan22i2va14b", "wan2214bi2v", "wan22i2v14b"),
    "Cosmos": ("cosmos", "nvidiacosmos1"),
    "CogVideoX": ("cogvideox",),
    "Kolors": ("kolors",),
    "Stable Cascade": ("stablecascade", "stablecascadev1"),
    "SVD": ("svd", "stablevideodiffusion"),
    "Pony": ("pony", "ponyv6"),
    "Illustrious": ("illustrious",),
    "NoobAI": ("noobai",),
}
_BY_IDENTIFIER = {identifier: name for name, identifiers in _BASE_MODELS.items() for identifier in identifiers}


def base_model_name(text: str) -> str:
    """Return the usual name of a base model for an identifier or a repository of it; any other text as it is."""
    head, _, tail = text.partition("/")  # "flux-1-dev/lora", "black-forest-labs/FLUX.1-dev"
    return _known_base_model(head) or _known_base_model(tail) or text


def _known_base_model(text: str) -> str | None:
    identifier = re.sub(r"[^a-z0-9]", "", text[:200].lower()).removesuffix("diffusers")
    return _BY_IDENTIFIER.get(identifier)


def model_facts(header: Mapping[str, Any], inferred: Architecture | None = None) -> dict[str, Any]:
    """Return the facts that a header states, and those ``inferred`` from the tensors where it states none."""
    facts: dict[str, Any] = {}
    for fact, fields in _FIELDS.items():
        put_text(facts, fact, next(_texts_of(header, fields), ""))
    if not _URL.fullmatch(facts.get("repo_url", "")):
        facts.pop("repo_url", None)
    put_words(facts, trained_words(header))
    architecture = next(_texts_of(header, _ARCHITECTURE), inferred.name if inferred is not None else "")
    put_text(facts, "architecture", architecture)
    put_text(facts, "base_model", base_model(header, inferred))
    if any(header.get(field) for field in PICTURES):
        facts["has_picture"] = True
    return facts


def base_model(header: Mapping[str, Any], inferred: Architecture | None = None) -> str:
    """Return the base model that a header states, or that the architecture implies, "" if none.

    The architecture in a GGUF file is the least precise: converters give one to a family of models.
    """
    stated = next(_texts_of(header, _BASE_MODEL), "")
    if stated:
        return base_model_name(stated)
    implied = inferred.base_model if inferred is not None else None
    architecture = next(_texts_of(header, _ARCHITECTURE[:1]), "")
    by_architecture = _known_base_model(architecture.partition("/")[0])
    if by_architecture is not None:
        return implied if implied is not None and implied.startswith(by_architecture) else by_architecture
    if implied is not None:
        return implied
    by_architecture = _known_base_model(next(_texts_of(header, _ARCHITECTURE[1:]), ""))
    return by_architecture or next(_texts_of(header, ("general.base_model.0.name",)), "")


def trained_words(header: Mapping[str, Any]) -> list[str]:
    """Return the trigger words and phrases of a model, each once.

    Texts are JSON lists, or phrases: a comma is part of a phrase, since order matters there.
    """
    for fields in (_WORDS, _WORDS_MORE):
        found = [word for field in fields if field in header for word in _words_of(header[field])]
        if found:
            return [*dict.fromkeys(found)]
    return []


def put_text(facts: dict[str, Any], fact: str, text: Any) -> None:
    """Set a fact to a text in one line, shortened for lists; leave it out if the text is empty."""
    if not isinstance(text, str) or not text:
        return
    shown = shortened(_TEXT.sub(" ", text[: 4 * _LIMITS[fact]]).strip(), _LIMITS[fact])
    if shown:
        facts[fact] = shown


def put_words(facts: dict[str, Any], words: Iterable[str]) -> None:
    """Set the trained words, as many as lists show."""
    shown: list[str] = []
    room = MAX_WORDS_BYTES
    for word in words:
        text = shortened(_TEXT.sub(" ", word).strip(), room)
        room -= len(text.encode()) + 3
        if not text or room < 0 or len(shown) == _MAX_WORDS:
            break
        shown.append(text)
    if shown:
        facts["trained_words"] = [*dict.fromkeys(shown)]


def shortened(text: str, limit: int) -> str:
    """Return a text that has at most ``limit`` bytes as JSON; an ellipsis marks a shortened one."""
    text = text[:limit]
    if len(msgspec.json.encode(text)) - 2 <= limit:
        return text
    while text and len(msgspec.json.encode(text)) + 1 > limit:
        text = text[: max(len(text) - 8, len(text) * 3 // 4)] if len(text) > 16 else text[:-1]
    return f"{text}…" if text else ""


def plain_text(value: Any) -> str | None:
    """Return a header's value as a text: numbers in digits, anything else but text is None."""
    if isinstance(value, str):
        if value.isascii():
            return value
        return "".join(c for c in value if not "\ud800" <= c <= "\udfff")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return None


def _texts_of(header: Mapping[str, Any], fields: Iterable[str]) -> Iterator[str]:
    for field in fields:
        value = header.get(field)
        if value is None:  # most fields of most headers
            continue
        text = plain_text(value)
        if text and text.strip() and text.strip().lower() not in ("none", "null", "unknown", "n/a"):
            yield text.strip()


def _words_of(value: Any) -> Iterator[str]:
    if isinstance(value, str) and value.lstrip().startswith("[") and len(value) <= _MAX_JSON:
        with contextlib.suppress(ValueError, msgspec.DecodeError, RecursionError):  # else a phrase in brackets
            value = msgspec.json.decode(value)
    for word in value if isinstance(value, list) else [value]:
        text = plain_text(word)
        if text and text.strip(" ,"):
            yield text.strip(" ,")
