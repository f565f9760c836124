"""Kinds of media, told from the name and the media type of an asset. Pure.

The tables are the one definition of kinds: ``kind_of`` reads them, and the store makes an SQL expression of them.
"""

from __future__ import annotations

KINDS = ("image", "video", "audio", "3d", "model", "text", "other")  # in the order of ``sort=kind``

MODEL_SUFFIXES = ("safetensors", "sft", "ckpt", "pt", "pth", "bin", "gguf", "onnx")
# Media types of models; what a name or a type says of a model comes before all else.
MODEL_TYPES = ("application/safetensors", "application/gguf", "application/x-pytorch")
# By the part of the media type before the slash. A type of JSON is a text: a workflow, mostly.
MAIN_TYPES = {"image": "image", "video": "video", "audio": "audio", "text": "text", "model": "3d"}
TEXT_SUBTYPE = "json"

# Other words for kinds in searches.
SYNONYMS = {
    "images": "image", "picture": "image", "pictures": "image", "videos": "video", "sound": "audio", "sounds": "audio",
    "models": "model", "texts": "text",
}  # fmt: skip


def kind_of(name: str, mime_type: str) -> str:
    """Return the kind of an asset."""
    main, _, subtype = mime_type.partition("/")
    if name.lower().rpartition(".")[2] in MODEL_SUFFIXES and "." in name:
        return "model"
    if mime_type in MODEL_TYPES:
        return "model"
    return MAIN_TYPES.get(main, "text" if subtype == TEXT_SUBTYPE else "other")
