"""Files of node packs besides their nodes: example workflows, translations and subgraph blueprints."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

log = logging.getLogger("comfy_assets.packs")

# The folders of a pack that may hold example workflows. Packs used several names before the first became standard.
TEMPLATE_FOLDERS = ("example_workflows", "example", "examples", "workflow", "workflows")
_TRANSLATION_FILES = ("nodeDefs.json", "commands.json", "settings.json")


@dataclass(frozen=True)
class Blueprint:
    """A subgraph of a node pack that can be used like a node."""

    path: Path
    name: str
    node_pack: str

    @property
    def id(self) -> str:
        """The id that ComfyUI computes for it."""
        return hashlib.sha256(f"custom_node{self.path.as_posix()}".encode()).hexdigest()

    def read(self) -> str | None:
        """Return the text of the file; None if it cannot be read."""
        try:
            return self.path.read_text(encoding="utf-8")
        except (OSError, ValueError):
            return None

    def describe(self) -> dict[str, Any]:
        """Return its entry in a list of blueprints."""
        return {"source": "custom_node", "name": self.name, "info": {"node_pack": self.node_pack}}


def templates(folders: Iterable[Path]) -> dict[str, list[str]]:
    """Return the names of the example workflows by pack, without packs that have none."""
    found: dict[str, list[str]] = {}
    for pack in _packs(folders):
        names = [path.stem for folder in TEMPLATE_FOLDERS for path in sorted((pack / folder).glob("*.json"))]
        if names:
            found.setdefault(pack.name, []).extend(names)
    return found


def template_file(folders: Iterable[Path], pack_name: str, parts: Sequence[str]) -> Path | None:
    """Return a file in the example folders of a pack, None if there is none. ``parts`` must be validated names."""
    for pack in _packs(folders):
        if pack.name == pack_name:
            paths = (pack.joinpath(folder, *parts) for folder in TEMPLATE_FOLDERS)
            return next((path for path in paths if path.is_file()), None)
    return None


def blueprints(folders: Iterable[Path]) -> dict[str, Blueprint]:
    """Return the subgraphs of all packs by id."""
    found = (
        Blueprint(path, path.stem, f"custom_nodes.{pack.name}")
        for pack in _packs(folders)
        for path in sorted((pack / "subgraphs").glob("*.json"))
    )
    return {blueprint.id: blueprint for blueprint in found}


def translations(folders: Iterable[Path], more_packs: Iterable[Path] = ()) -> dict[str, Any]:
    """Return the translations of all packs by language. If two packs have the same key, the later one wins.

    ``more_packs`` are folders of packs outside ``folders``.
    """
    found: dict[str, Any] = {}
    for pack in (*_packs(folders), *more_packs):
        for language in _folders_in(pack / "locales"):
            texts = {**_read(language / "main.json")}
            for name in _TRANSLATION_FILES:
                if more := _read(language / name):
                    texts[Path(name).stem] = more
            if texts:
                found[language.name] = _merged(found.get(language.name, {}), texts)
    return found


def _packs(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in folders:
        yield from _folders_in(folder)


def _folders_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("[!.]*") if path.is_dir())


def _read(path: Path) -> dict[str, Any]:
    """Return the texts in a file; none if it is missing or malformed."""
    try:
        texts = json.loads(path.read_text(encoding="utf-8-sig"))  # Windows editors add a byte order mark
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError):
        log.warning("The translations in %s cannot be read.", path)
        return {}
    return texts if isinstance(texts, dict) else {}


def _merged(first: Any, second: Any) -> Any:
    if not (isinstance(first, dict) and isinstance(second, dict)):
        return second
    return {**first, **{key: _merged(first.get(key), value) for key, value in second.items()}}
