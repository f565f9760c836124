"""The folders below a base directory, in ComfyUI's layout, model folders in other places, and the lists of models."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from aiohttp import web

from ...fs.paths import extended_path, plain, real_path, unlimited
from ...ignored_files import NO_PATTERNS
from ...names import FileType, UnsafeName, relative_parts, split_annotation
from ...store_guard import is_protected
from ..base import HostFolders, LibraryFolder
from .http import Refusal, RouteTable, json_response

log = logging.getLogger("comfy_assets.standalone")

DATA_DIRECTORY = "__comfy_assets"
# In a base directory, the first of these that is there is read; the second is the name of earlier versions.
EXTRA_PATHS_FILES = ("extra_paths.yaml", "extra_model_paths.yaml")
DIRECTORIES = ("input", "output", "temp", "user")

WEIGHTS = frozenset({".ckpt", ".pt", ".pt2", ".bin", ".pth", ".safetensors", ".pkl", ".sft"})
ANY_FILE: frozenset[str] = frozenset()

# Loader category -> (folders under models/, suffixes its loaders accept). In the order /models lists them.
CATEGORIES: Mapping[str, tuple[tuple[str, ...], frozenset[str]]] = {
    "checkpoints": (("checkpoints",), WEIGHTS),
    "configs": (("configs",), frozenset({".yaml"})),
    "loras": (("loras",), WEIGHTS),
    "vae": (("vae",), WEIGHTS),
    # Some categories have a second folder, with the name of an earlier version or of a kind that loads alike.
    "text_encoders": (("text_encoders", "clip"), WEIGHTS),
    "diffusion_models": (("unet", "diffusion_models"), WEIGHTS),
    "clip_vision": (("clip_vision",), WEIGHTS),
    "style_models": (("style_models",), WEIGHTS),
    "embeddings": (("embeddings",), WEIGHTS),
    # Not a suffix: these models are whole folders, so no file matches.
    "diffusers": (("diffusers",), frozenset({"folder"})),
    "vae_approx": (("vae_approx",), WEIGHTS),
    "controlnet": (("controlnet", "t2i_adapter"), WEIGHTS),
    "gligen": (("gligen",), WEIGHTS),
    "upscale_models": (("upscale_models",), WEIGHTS),
    "latent_upscale_models": (("latent_upscale_models",), WEIGHTS),
    "hypernetworks": (("hypernetworks",), WEIGHTS),
    "photomaker": (("photomaker",), WEIGHTS),
    "classifiers": (("classifiers",), ANY_FILE),
    "model_patches": (("model_patches",), WEIGHTS),
    "audio_encoders": (("audio_encoders",), WEIGHTS),
    "background_removal": (("background_removal",), WEIGHTS),
    "frame_interpolation": (("frame_interpolation",), WEIGHTS),
    "geometry_estimation": (("geometry_estimation",), WEIGHTS),
    "optical_flow": (("optical_flow",), WEIGHTS),
    "detection": (("detection",), WEIGHTS),
}

_CODE_CATEGORY = "custom_nodes"
_HIDDEN_CATEGORIES = frozenset({"configs"})  # not in the list with folders, as in ComfyUI
# Current names of categories of earlier versions.
_RENAMED = {"unet": "diffusion_models", "clip": "text_encoders"}


@dataclass(frozen=True)
class ExtraFolder:
    """A folder of a category. ``is_first`` puts it before the category's own folders, where new files go."""

    category: str
    path: Path
    is_first: bool = False


class BaseFolders:
    """The folders of a server with the base directory ``base``. The constructor touches no disk.

    ``extra``: model folders in other places, whose categories may be new. ``directories``: other places of
    ``DIRECTORIES``, by name.
    """

    def __init__(
        self, base: Path, extra: Sequence[ExtraFolder] = (), directories: Mapping[str, Path] | None = None
    ) -> None:
        self.base = Path(os.path.abspath(base))  # noqa: PTH100  not resolve(): links stay as the user named them
        self.models = self.base / "models"
        self.input, self.output, self.temp, self.user = (
            (directories or {}).get(name, self.base / name) for name in DIRECTORIES
        )
        self.custom_nodes = self.base / "custom_nodes"
        self._code = [self.custom_nodes, *(each.path for each in extra if each.category == _CODE_CATEGORY)]
        self._models = {
            category: ([self.models / name for name in names], suffixes)
            for category, (names, suffixes) in CATEGORIES.items()
        }
        self.patterns = NO_PATTERNS
        self._own = [path for paths, _ in self._models.values() for path in paths]
        self._add(each for each in extra if each.category != _CODE_CATEGORY)

    def _add(self, extra: Iterable[ExtraFolder]) -> None:
        for each in extra:
            paths, _ = self._models.setdefault(each.category, ([], ANY_FILE))
            if each.path in paths:
                if not each.is_first:
                    continue
                paths.remove(each.path)
            paths.insert(0 if each.is_first else len(paths), each.path)

    def library(self) -> HostFolders:
        """Return the folders of the library, and the excluded folders inside the base directory."""
        categories = tuple(
            LibraryFolder("models", path, category, extensions)
            for category, (paths, extensions) in self._models.items()
            for path in paths
        )
        return HostFolders(
            folders=(
                LibraryFolder("models", self.models),
                *categories,
                LibraryFolder("input", self.input),
                LibraryFolder("output", self.output),
            ),
            excluded=(self.user, self.temp, *self._code),
            temp=self.temp,
            patterns=self.patterns,
        )

    def category_paths(self, category: str) -> tuple[Path, ...]:
        """Return the folders of a loader category. Raise KeyError for an unknown category."""
        return tuple(self._models[category][0])

    def categories(self) -> list[str]:
        """Return the names of the loader categories."""
        return list(self._models)

    def category_suffixes(self, category: str) -> frozenset[str]:
        """Return the suffixes that a category's loaders accept; an empty set means any. Raise KeyError."""
        return self._models[category][1]

    @property
    def code(self) -> Sequence[Path]:
        """The folders of node packs."""
        return tuple(self._code)

    def of_type(self, file_type: str) -> Path | None:
        """Return the folder that the API calls "input", "output" or "temp", None for any other type."""
        return {"input": self.input, "output": self.output, "temp": self.temp}.get(file_type)

    def annotated(self, name: str, default: FileType = "input") -> Path:
        """Return the file that a node's value names: ``a/b.png``, or ``a/b.png [output]`` for another folder.

        The file need not exist. Raise UnsafeName for a name that could lead outside the folder.
        """
        bare, file_type = split_annotation(name)
        folder = self.of_type(file_type or default)
        if folder is None:
            raise UnsafeName("there is no such folder")
        path = folder.joinpath(*relative_parts(bare))
        if is_protected(path):
            raise UnsafeName("the file belongs to the library's store")
        return path

    def prepare(self) -> None:
        """Create the missing folders of the base directory, and those that replace them.

        A folder that cannot be created, as where a link leads to a drive that is away, is logged: the others work.
        """
        for path in (*self._own, self.input, self.output, self.temp, self.user, self.custom_nodes):
            try:
                path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                then = "Restart the server" if path == self.user else "It is used"
                log.warning("%s %s as soon as it is there.", _mkdir_problem(path, error), then)

    def empty_temp(self) -> None:
        """Remove everything in temp. Files that another program has open stay until the next start."""
        with contextlib.suppress(FileNotFoundError):
            for entry in os.scandir(self.temp):
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    with contextlib.suppress(OSError):
                        os.unlink(entry.path)  # noqa: PTH108

    def model_names(self, category: str) -> list[str]:
        """List the files of a category, relative to its folders. Raise KeyError."""
        return sorted({name for _, _, name in self.models_of(category)})

    def models_of(self, category: str) -> Iterator[tuple[int, Path, str]]:
        """Yield the files of a category, each with the index and path of its folder. Raise KeyError."""
        extensions = self._models[category][1]
        for index, root in enumerate(self.category_paths(category)):
            for name in sorted(_files_below(root)):
                if not extensions or Path(name).suffix.lower() in extensions:
                    yield index, root, name


def _mkdir_problem(path: Path, error: OSError) -> str:
    """Return a sentence that says why a folder cannot be created."""
    link = next((each for each in (path, *path.parents) if each.is_symlink() and not each.exists()), None)
    if link is not None:
        return f"The folder {path} is missing: {link} links to {link.readlink()}, which is not there."
    return f"The folder {path} cannot be created: {error.strerror or error}."


def _files_below(root: Path) -> Iterator[str]:
    """Yield every file below a folder, relative, with forward slashes. Links are followed, each real folder once."""
    visited: set[str] = set()  # a link to a parent folder would never end
    for directory, subdirectories, names in os.walk(unlimited(root), followlinks=True):
        real = str(real_path(directory))
        if real in visited:
            subdirectories.clear()
            continue
        visited.add(real)
        subdirectories[:] = [name for name in subdirectories if name != ".git"]
        parent = Path(plain(directory)).relative_to(root)
        yield from ((parent / name).as_posix() for name in names)


@dataclass(frozen=True)
class ExtraPaths:
    """The content of a file of ``EXTRA_PATHS_FILES``: model folders, and places of ``DIRECTORIES`` by name."""

    folders: Sequence[ExtraFolder] = ()
    directories: Mapping[str, Path] = field(default_factory=dict)


def read_base_paths(base: Path) -> ExtraPaths:
    """Return what the file in a base directory says; nothing if there is none. Raise the errors of ``read_paths``."""
    found = [base / name for name in EXTRA_PATHS_FILES if (base / name).is_file()]
    if not found:
        return ExtraPaths()
    for ignored in found[1:]:
        log.warning("%s is ignored because %s is there, which replaces it.", ignored, found[0].name)
    return read_paths(found[0], is_main=found[0].name == EXTRA_PATHS_FILES[0])


def read_extra_folders(file: Path) -> list[ExtraFolder]:
    """Return the model folders of another file, such as one of earlier versions. Raise the errors of ``read_paths``."""
    return list(read_paths(file).folders)


def read_paths(file: Path, *, is_main: bool = False) -> ExtraPaths:
    """Return the folders of a file in its order, read as ComfyUI does; they need not exist.

    Relative paths start from the file's folder. ``is_main``: the file is ``extra_paths.yaml``, which may also move
    ``DIRECTORIES``, and stands for every folder below a ``base_path`` that is named after a category. Raise OSError if
    the file cannot be read, ValueError with its name if it is malformed or PyYAML is not installed. Blocks.
    """
    try:
        import yaml  # type: ignore[import-untyped]
    except ImportError as error:
        raise ValueError(f"{file} can only be read with PyYAML (pip install pyyaml)") from error
    reader = _PathsReader(Path(os.path.abspath(file)).parent, is_main)  # noqa: PTH100  links stay as they are named
    try:
        for section in _mapping(yaml.safe_load(file.read_text(encoding="utf-8"))).values():
            reader.read(_mapping(section))
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"{file} is malformed: {error}") from error
    return ExtraPaths(reader.folders, reader.directories)


def _mapping(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"names and values are expected, not {value!r}")
    return {str(name): each for name, each in value.items()}


class _PathsReader:
    """Collects the folders of a file's sections. ``start``: the folder that relative paths begin at."""

    def __init__(self, start: Path, is_main: bool) -> None:
        self._start = start
        self._is_main = is_main
        self.folders: list[ExtraFolder] = []
        self.directories: dict[str, Path] = {}

    def read(self, section: dict[str, Any]) -> None:
        """Add the folders of a section. Raise ValueError for a value of a wrong type."""
        is_based, base, is_first = _head(section, self._start)
        models = section.pop("models") if isinstance(section.get("models"), dict) else None
        if self._is_main:
            named = [name for name in DIRECTORIES if name in section]
            self.directories |= {name: _path(base, _text(section.pop(name)).strip()) for name in named}
        self._add(section, base, is_first)
        if models is not None:
            self._read_models(_mapping(models), base, is_based, is_first)
        elif self._is_main and is_based:
            self._add_existing(base, section, is_first)

    def _read_models(self, models: dict[str, Any], base: Path, is_based: bool, is_first: bool) -> None:
        """Add the folders of the block ``models``, which only newer versions of ComfyUI know."""
        has_base, base, is_first = _head(models, base, is_first)
        self._add(models, base, is_first)
        if has_base or is_based:
            self._add_existing(base, models, is_first)

    def _add(self, paths: Mapping[str, Any], base: Path, is_first: bool) -> None:
        for category, lines in paths.items():
            for line in filter(None, (line.strip() for line in _text(lines).split("\n"))):
                self.folders.append(ExtraFolder(_RENAMED.get(category, category), _path(base, line), is_first))

    def _add_existing(self, base: Path, named: Collection[str], is_first: bool) -> None:
        """Add the folders of the categories that are not named, as far as they exist."""
        for category in CATEGORIES:
            if category not in named and (base / category).is_dir():
                self.folders.append(ExtraFolder(category, _path(base, category), is_first))


def _head(section: dict[str, Any], start: Path, is_first: bool = False) -> tuple[bool, Path, bool]:
    """Take the settings out of a section: whether it has a base path, that path, and whether its folders are first."""
    is_based = "base_path" in section
    text = os.path.expandvars(Path(_text(section.pop("base_path", ""))).expanduser())
    return is_based, start / text, bool(section.pop("is_default", is_first))


def _path(base: Path, text: str) -> Path:
    return Path(os.path.normpath(base / text))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a path is expected, not {value!r}")
    return value


class ModelRoutes:
    """The routes /models, /embeddings and /experiment/models."""

    def __init__(self, folders: BaseFolders) -> None:
        self._folders = folders

    def routes(self) -> RouteTable:
        return [
            ("GET", "/models", self._list_categories),
            ("GET", "/models/{category}", self._list_names),
            ("GET", "/embeddings", self._list_embeddings),
            ("GET", "/experiment/models", self._list_folders),
            ("GET", "/experiment/models/{folder}", self._list_models),
        ]

    async def _list_categories(self, request: web.Request) -> web.Response:
        return json_response(self._folders.categories())

    async def _list_names(self, request: web.Request) -> web.Response:
        category = request.match_info["category"]
        if category not in self._folders.categories():
            raise Refusal("There is no such category.", status=404)
        return json_response(await asyncio.to_thread(self._folders.model_names, category))

    async def _list_embeddings(self, request: web.Request) -> web.Response:
        """List the embeddings without suffixes, as prompts name them."""
        names = await asyncio.to_thread(self._folders.model_names, "embeddings")
        return json_response([PurePosixPath(name).with_suffix("").as_posix() for name in names])

    async def _list_folders(self, request: web.Request) -> web.Response:
        return json_response(
            [
                {
                    "name": category,
                    "folders": [str(path) for path in self._folders.category_paths(category)],
                    "extensions": sorted(self._folders.category_suffixes(category)),
                }
                for category in self._folders.categories()
                if category not in _HIDDEN_CATEGORIES
            ]
        )

    async def _list_models(self, request: web.Request) -> web.Response:
        category = request.match_info["folder"]
        if category not in self._folders.categories():
            raise Refusal("There is no such folder.", status=404)
        return json_response(await asyncio.to_thread(_describe_models, self._folders, category))


def _describe_models(folders: BaseFolders, category: str) -> list[dict[str, Any]]:
    """List the models of a category, without files that disappear meanwhile."""
    found = []
    for index, root, name in folders.models_of(category):
        try:
            status = extended_path(root, name).stat()
        except OSError:
            continue
        times = {"modified": status.st_mtime, "created": status.st_ctime}
        found.append({"name": name, "pathIndex": index, **times, "size": status.st_size})
    return found
