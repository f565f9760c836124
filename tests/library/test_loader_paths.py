"""The names that loaders use for a model, where the folders of several categories overlap."""

from __future__ import annotations

from typing import Any

import pytest
from comfy_assets_node.comfy_assets.db import job_links
from comfy_assets_node.comfy_assets.host.base import HostFolders, LibraryFolder

WEIGHTS = frozenset({".safetensors"})
BOTH = {"loras": "l.safetensors", "vae": "loras/l.safetensors"}


@pytest.fixture
async def overlapping(library: Any) -> Any:
    """Loras are a folder inside the one of VAEs, whose loaders also take .pt."""
    usual = library.host.current_folders
    shared = library.base / "all"
    library.host.current_folders = HostFolders(
        (
            *usual.folders,
            LibraryFolder("models", shared / "loras", "loras", WEIGHTS),
            LibraryFolder("models", shared, "vae", WEIGHTS | {".pt"}),
        ),
        usual.excluded,
    )
    for name in ("loras/l.safetensors", "loras/x.pt", "loras/notes.txt", "v.safetensors", "loras/deep/er.safetensors"):
        library.write(f"all/{name}", name.encode())
    library.write("models/loras/own.safetensors")
    await library.scan()
    return library


async def loader_paths(library: Any, **parameters: str) -> dict[str, tuple[str | None, dict[str, str] | None]]:
    found = await library.assets(**parameters)
    return {asset["name"]: (asset.get("loader_path"), asset.get("loader_paths")) for asset in found}


async def test_each_loader_has_its_own_name(overlapping: Any) -> None:
    assert await loader_paths(overlapping) == {
        "l.safetensors": ("l.safetensors", BOTH),
        "er.safetensors": (
            "deep/er.safetensors",
            {"loras": "deep/er.safetensors", "vae": "loras/deep/er.safetensors"},
        ),
        "x.pt": ("loras/x.pt", None),  # loaders of loras do not take it
        "notes.txt": (None, None),
        "v.safetensors": ("v.safetensors", None),
        "own.safetensors": ("own.safetensors", None),
    }
    detail = await overlapping.get(f"/api/assets/{(await overlapping.asset('l.safetensors'))['id']}")
    assert (detail["loader_path"], detail["loader_paths"]) == ("l.safetensors", BOTH)


@pytest.mark.parametrize("parameter", ["tags_all", "include_tags"])
async def test_a_list_for_one_loader_has_its_names(overlapping: Any, parameter: str) -> None:
    found = await loader_paths(overlapping, **{parameter: "models,model_type:vae"})
    assert {name: path for name, (path, _) in found.items()} == {
        "l.safetensors": "loras/l.safetensors",
        "er.safetensors": "loras/deep/er.safetensors",
        "x.pt": "loras/x.pt",
        "v.safetensors": "v.safetensors",
    }
    found = await loader_paths(overlapping, **{parameter: "model_type:loras"})
    assert {path for path, _ in found.values()} == {"l.safetensors", "deep/er.safetensors", "own.safetensors"}
    found = await loader_paths(overlapping, **{parameter: "model_type:vae,model_type:loras"})
    assert {path for path, _ in found.values()} == {"l.safetensors", "deep/er.safetensors"}


@pytest.mark.parametrize("name", [*BOTH.values()])
async def test_a_graph_names_the_file_by_either(overlapping: Any, name: str) -> None:
    folder, _, file = name.rpartition("/")
    rows = await overlapping.services.db.fetch_all(
        f"SELECT d.id FROM {job_links.PLACES}", job_links.place("", folder, file)
    )
    assert len(rows) == 1


async def test_folders_that_overlap_no_longer(overlapping: Any, annotate: Any) -> None:
    asset_id = await annotate(overlapping, "l.safetensors", "mine")
    shared = overlapping.base / "all"
    now = overlapping.host.current_folders
    folders = tuple(folder for folder in now.folders if folder.path != shared / "loras")
    overlapping.host.current_folders = HostFolders(folders, now.excluded)
    await overlapping.scan()
    asset = await overlapping.asset("l.safetensors")
    assert (asset["id"], asset["loader_path"], asset.get("loader_paths")) == (asset_id, "loras/l.safetensors", None)
    assert asset["tags"] == ["models", "vae", "model_type:vae", "mine"]
