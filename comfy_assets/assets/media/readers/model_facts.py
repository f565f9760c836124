"""The facts of models under the names that ComfyUI's page reads: from headers, and from descriptions beside models.

Trainers write headers: known are the Stability AI Model Metadata Standard (``modelspec.…``), kohya's trainer
(``ss_…``), ai-toolkit, and the plain names that Civitai and ComfyUI use. A header is a mapping of texts; other values
come from writers that ignore the format, and are read as far as they make sense.

Managers of models write descriptions in JSON: known are the responses of Civitai that Civitai Helper saves
(``NAME.civitai.info``), those of StabilityMatrix (``NAME.cm-info.json``), LoRA Manager (``NAME.metadata.json``) and
SwarmUI, and what users enter in A1111 (``NAME.json``). Each becomes a header, so that all else treats it as one.
"""

from __future__ import annotations

import contextlib
import html
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from .... import json_limits
from ....errors import BodyTooLargeError, InvalidBodyError
from ....json_limits import JsonLimits
from .architectures import Architecture
from .base import ByteSource, Contents, Format

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
_MAX_WORDS_BYTES = 640  # of all trained words in lists
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

# Descriptions in files beside models.
_MAX_FILE = 4 << 20  # bytes: decoding holds the interpreter lock; the largest have some hundred kilobytes
# A value takes a hundred bytes of memory, whatever its text.
_JSON_LIMITS = JsonLimits(values=100_000, containers=30_000)
_MAX_DESCRIPTION = 20_000  # characters
_MAX_TAGS = 100
_TAG = re.compile(r"<[^<>]{0,2000}>")
_OBJECT = re.compile(rb"(?:\xef\xbb\xbf)?\s*\{")
# Members near the beginning of each kind of description; graphs and other JSON files have none of them.
_MEMBERS = re.compile(
    rb'"(?:trainedWords|baseModel|modelId|modelVersions|TrainedWords|ModelName|ModelId|model_name|base_model'
    rb"|activation text|sd version|preferred weight|modelspec\.\w+)\"\s*:"
)
_GRAPH = re.compile(rb'"(?:class_type|last_node_id|last_link_id|widgets_values)"\s*:')


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
    _put_words(facts, _trained_words(header))
    architecture = next(_texts_of(header, _ARCHITECTURE), inferred.name if inferred is not None else "")
    put_text(facts, "architecture", architecture)
    put_text(facts, "base_model", _base_model(header, inferred))
    if any(header.get(field) for field in PICTURES):
        facts["has_picture"] = True
    return facts


def _base_model(header: Mapping[str, Any], inferred: Architecture | None = None) -> str:
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


def _trained_words(header: Mapping[str, Any]) -> list[str]:
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
    shown = _shortened(_TEXT.sub(" ", text[: 4 * _LIMITS[fact]]).strip(), _LIMITS[fact])
    if shown:
        facts[fact] = shown


def _put_words(facts: dict[str, Any], words: Iterable[str]) -> None:
    """Set the trained words, as many as lists show."""
    shown: list[str] = []
    room = _MAX_WORDS_BYTES
    for word in words:
        text = _shortened(_TEXT.sub(" ", word).strip(), room)
        room -= len(text.encode()) + 3
        if not text or room < 0 or len(shown) == _MAX_WORDS:
            break
        shown.append(text)
    if shown:
        facts["trained_words"] = [*dict.fromkeys(shown)]


def _shortened(text: str, limit: int) -> str:
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


def _matches(head: bytes) -> bool:
    return _OBJECT.match(head) is not None and _MEMBERS.search(head) is not None and _GRAPH.search(head) is None


def _read(contents: Contents, source: ByteSource) -> None:
    if source.size > _MAX_FILE:
        contents.omitted.add("header")
        return
    text = source.read(0, _MAX_FILE).removeprefix(b"\xef\xbb\xbf")
    try:
        json_limits.check(text, _JSON_LIMITS)
        found = msgspec.json.decode(text)
    except BodyTooLargeError:
        contents.omitted.add("header")
        return
    except (ValueError, msgspec.DecodeError, RecursionError, InvalidBodyError):
        contents.problems.append("The file is not valid JSON.")
        return
    if not isinstance(found, dict):
        return
    header = _described(found)
    contents.facts |= model_facts(header)
    if header:
        contents.texts["header"] = msgspec.json.encode(header)


def _described(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts in a description, under the names of headers."""
    if isinstance(found.get("civitai"), dict):  # LoRA Manager keeps the response of Civitai beside the user's changes
        return _of_lora_manager(found) | _without(_described(found["civitai"]), _of_lora_manager(found))
    if "ModelName" in found or "TrainedWords" in found:
        return _of_stability_matrix(found)
    if "modelVersions" in found or "trainedWords" in found or "modelId" in found or "baseModel" in found:
        return _of_civitai(found)
    if "model_name" in found:
        return _of_lora_manager(found)
    return _present(
        {
            **{key: value for key, value in found.items() if key.startswith("modelspec.")},
            "description": _prose(found.get("description")),
            "base_model": found.get("base_model") or found.get("sd version"),
            "trained_words": _words(found.get("activation text") or found.get("trained_words")),
            "notes": _prose(found.get("notes")),
            "negative text": found.get("negative text"),
            "name": found.get("name"),
            "tags": _tags(found.get("tags")),
        }
    )


def _of_civitai(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts in a version of a model, or in a model with its versions, the latest first."""
    versions = found.get("modelVersions")
    model: Mapping[str, Any]
    version: Mapping[str, Any]
    if isinstance(versions, list) and versions and isinstance(versions[0], dict):
        model, version, model_id = found, versions[0], found.get("id")
    else:
        inner = found.get("model")
        model = inner if isinstance(inner, dict) else {}
        version, model_id = found, found.get("modelId")
    creator = model.get("creator") or found.get("creator")
    return _present(
        {
            "name": _named(model.get("name"), version.get("name")),
            "base_model": version.get("baseModel"),
            "trained_words": _words(version.get("trainedWords")),
            "description": _prose(version.get("description")) or _prose(model.get("description")),
            "about": _prose(model.get("description")),
            "author": creator.get("username") if isinstance(creator, dict) else None,
            "repo_url": _civitai_url(model_id, version.get("id")),
            "tags": _tags(model.get("tags") or found.get("tags")),
            "type": model.get("type"),
        }
    )


def _of_stability_matrix(found: Mapping[str, Any]) -> dict[str, Any]:
    return _present(
        {
            "name": _text(found.get("UserTitle")) or _named(found.get("ModelName"), found.get("VersionName")),
            "base_model": found.get("BaseModel"),
            "trained_words": _words(found.get("TrainedWords")),
            "description": _prose(found.get("VersionDescription")) or _prose(found.get("ModelDescription")),
            "about": _prose(found.get("ModelDescription")),
            "repo_url": _civitai_url(found.get("ModelId"), found.get("VersionId")),
            "tags": _tags(found.get("Tags")),
            "type": _text(found.get("ModelType")),
        }
    )


def _of_lora_manager(found: Mapping[str, Any]) -> dict[str, Any]:
    return _present(
        {
            "name": found.get("model_name"),
            "base_model": found.get("base_model"),
            "trained_words": _words(found.get("trained_words") or found.get("trainedWords")),
            "description": _prose(found.get("modelDescription")),
            "notes": _prose(found.get("notes")),
            "tags": _tags(found.get("tags")),
        }
    )


def _present(header: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members that say something: texts and lists of texts."""
    return {key: value for key, value in header.items() if value and isinstance(value, str | list)}


def _without(header: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in header.items() if key not in others}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _named(model: Any, version: Any) -> str:
    """Return the name of a model with that of its version: cards show nothing else of several versions."""
    model, version = _text(model).strip(), _text(version).strip()
    return f"{model} ({version})" if model and version and version not in model else model or version


def _words(value: Any) -> list[str]:
    return _trained_words({"trained_words": value})


def _tags(value: Any) -> list[str]:
    tags = value if isinstance(value, list) else []
    return [*_tag_names(tags[:_MAX_TAGS])]


def _tag_names(tags: list[Any]) -> Iterator[str]:
    for tag in tags:
        name = tag.get("name") if isinstance(tag, dict) else tag
        if isinstance(name, str):
            yield name


def _prose(value: Any) -> str:
    """Return a text without the tags of HTML."""
    text = _text(value)[: 2 * _MAX_DESCRIPTION]
    return html.unescape(_TAG.sub(" ", text)).strip()[:_MAX_DESCRIPTION]


def _civitai_url(model_id: Any, version_id: Any) -> str:
    if not isinstance(model_id, int) or isinstance(model_id, bool) or model_id <= 0:
        return ""
    version = f"?modelVersionId={version_id}" if isinstance(version_id, int) and version_id > 0 else ""
    return f"https://civitai.com/models/{model_id}{version}"


FORMATS = (Format("model-info", "application/json", "text", _matches, _read),)
