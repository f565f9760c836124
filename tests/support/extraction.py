"""What the readers find in bytes, alike from memory and from disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from comfy_assets_node.comfy_assets.assets.media.metadata import FileMetadata, extract, extract_path


def found(data: bytes, tmp_path: Path, name: str = "file") -> FileMetadata:
    """Extract from memory and from disk, and compare."""
    path = tmp_path / name
    path.write_bytes(data)
    contents = extract(name, data)
    assert extract_path(name, path) == contents
    return contents


def texts(contents: FileMetadata) -> dict[str, Any]:
    """Return the documents, decoded."""
    return {key: json.loads(text) for key, text in contents.documents.items()}
