"""Descriptions of models in JSON files beside them, as managers of models write them.

Known are the responses of Civitai that Civitai Helper saves (``NAME.civitai.info``), those of StabilityMatrix
(``NAME.cm-info.json``), LoRA Manager (``NAME.metadata.json``) and SwarmUI, and what users enter in A1111
(``NAME.json``). Each becomes a mapping with the names that headers have, so that all else treats it as a header.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from .... import json_limits
from ....errors import BodyTooLargeError, InvalidBodyError
from ....json_limits import JsonLimits
from . import model_facts
from .base import ByteSource, Contents, Format

_MAX_FILE = 4 << 20  # bytes: decoding holds the interpreter lock; the largest have some hundred kilobytes
_LIMITS = JsonLimits(values=100_000, containers=30_000)  # a value takes a hundred bytes of memory, whatever its text
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


def _matches(head: bytes) -> bool:
    return _OBJECT.match(head) is not None and _MEMBERS.search(head) is not None and _GRAPH.search(head) is None


def _read(contents: Contents, source: ByteSource) -> None:
    if source.size > _MAX_FILE:
        contents.omitted.add("header")
        return
    text = source.read(0, _MAX_FILE).removeprefix(b"\xef\xbb\xbf")
    try:
        json_limits.check(text, _LIMITS)
        found = msgspec.json.decode(text)
    except BodyTooLargeError:
        contents.omitted.add("header")
        return
    except (ValueError, msgspec.DecodeError, RecursionError, InvalidBodyError):
        contents.problems.append("The file is not valid JSON.")
        return
    if not isinstance(found, dict):
        return
    header = described(found)
    contents.facts |= model_facts.model_facts(header)
    if header:
        contents.texts["header"] = msgspec.json.encode(header)


def described(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts in a description, under the names of headers."""
    if isinstance(found.get("civitai"), dict):  # LoRA Manager keeps the response of Civitai beside the user's changes
        return _of_lora_manager(found) | _without(described(found["civitai"]), _of_lora_manager(found))
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
    return model_facts.trained_words({"trained_words": value})


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
