"""The folders below a base directory, in ComfyUI's layout, model folders in other places, and the lists of models."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from aiohttp import web

from ...names import FileType, UnsafeName, relative_parts, split_annotation
from ...store_guard import is_protected
from ..base import HostFolders, LibraryFolder
from .http import Refusal, RouteTable, json_response

DATA_DIRECTORY = "__comfy_assets"
EXTRA_PATHS_FILE = "extra_model_paths.yaml"

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

    ``extra``: model folders in other places, whose categories may be new.
    """

    def __init__(self, base: Path, extra: Sequence[ExtraFolder] = ()) -> None:
        self.base = Path(os.path.abspath(base))  # noqa: PTH100  not resolve(): links stay as the user named them
        self.models = self.base / "models"
        self.input = self.base / "input"
        self.output = self.base / "output"
        self.temp = self.base / "temp"
        self.user = self.base / "user"
        self.custom_nodes = self.base / "custom_nodes"
        self._code = [self.custom_nodes, *(each.path for each in extra if each.category == _CODE_CATEGORY)]
        self._models = {
            category: ([self.models / name for name in names], suffixes)
            for category, (names, suffixes) in CATEGORIES.items()
        }
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
        """Create the missing folders inside the base directory."""
        wanted = [*self._own, self.input, self.output, self.temp, self.user, self.custom_nodes]
        for path in wanted:
            path.mkdir(parents=True, exist_ok=True)

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


def _files_below(root: Path) -> Iterator[str]:
    """Yield every file below a folder, relative, with forward slashes. Links are followed, each real folder once."""
    visited: set[str] = set()  # a link to a parent folder would never end
    for directory, subdirectories, names in os.walk(root, followlinks=True):
        real = os.path.realpath(directory)
        if real in visited:
            subdirectories.clear()
            continue
        visited.add(real)
        subdirectories[:] = [name for name in subdirectories if name != ".git"]
        parent = Path(directory).relative_to(root)
        yield from ((parent / name).as_posix() for name in names)


def read_extra_folders(file: Path) -> list[ExtraFolder]:
    """Return the folders of an ``extra_model_paths.yaml`` in its order, read as ComfyUI does; they need not exist.

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
            status = (root / name).stat()
        except OSError:
            continue
        times = {"modified": status.st_mtime, "created": status.st_ctime}
        found.append({"name": name, "pathIndex": index, **times, "size": status.st_size})
    return found
