"""Model folders in other places, read from ``extra_model_paths.yaml`` as ComfyUI reads it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE_NAME = "extra_model_paths.yaml"

# Current names of categories of earlier versions.
_RENAMED = {"unet": "diffusion_models", "clip": "text_encoders"}


@dataclass(frozen=True)
class ExtraFolder:
    """A folder of a category. ``is_first`` puts it before the category's own folders, where new files go."""

    category: str
    path: Path
    is_first: bool = False


def read_extra_folders(file: Path) -> list[ExtraFolder]:
    """Return the folders of a configuration file in its order; they need not exist.

    Relative paths start from the file's folder. Raise OSError if the file cannot be read, ValueError with its name if
    it is malformed or PyYAML is not installed.
    """
    try:
        import yaml  # type: ignore[import-untyped]
    except ImportError as error:
        raise ValueError(f"{file} can only be read with PyYAML (pip install pyyaml)") from error
    try:
        sections = yaml.safe_load(file.read_text(encoding="utf-8"))
        return [folder for section in _mapping(sections).values() for folder in _of_section(_mapping(section), file)]
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"{file} is malformed: {error}") from error


def _mapping(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"names and values are expected, not {value!r}")
    return {str(name): each for name, each in value.items()}


def _of_section(section: dict[str, Any], file: Path) -> Iterator[ExtraFolder]:
    start = Path(os.path.abspath(file)).parent  # noqa: PTH100  not resolve(): links stay as the user named them
    base = start / os.path.expandvars(Path(_text(section.pop("base_path", ""))).expanduser())
    is_first = bool(section.pop("is_default", False))
    for category, lines in section.items():
        for line in filter(None, _text(lines).split("\n")):
            path = Path(os.path.normpath(base / line))
            yield ExtraFolder(_RENAMED.get(category, category), path, is_first)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a path is expected, not {value!r}")
    return value
