"""Which folders belong to the library, and what a folder's position says."""

from __future__ import annotations

from pathlib import Path

import pytest
from comfy_assets_node.comfy_assets.assets.roots import Roots, root_of
from comfy_assets_node.comfy_assets.host.base import HostFolders, LibraryFolder

BASE = Path("/base").absolute()
EXTRA = Path("/drive/sd").absolute()
ST = frozenset({".safetensors", ".ckpt"})

FOLDERS = HostFolders(
    (
        LibraryFolder("models", BASE / "models"),
        LibraryFolder("models", BASE / "models" / "checkpoints", "checkpoints", ST),
        LibraryFolder("models", BASE / "models" / "loras", "loras", ST),
        LibraryFolder("models", BASE / "models" / "loras" / "lycoris", "lycoris", frozenset({".pt"})),
        LibraryFolder("models", BASE / "models" / "unet", "diffusion_models", ST),
        LibraryFolder("models", BASE / "models" / "unet", "unet_gguf", frozenset({".gguf"})),
        LibraryFolder("models", BASE / "models" / "configs", "configs"),
        LibraryFolder("models", EXTRA / "Stable-diffusion", "checkpoints", ST),
        LibraryFolder("models", BASE / "custom_nodes", "custom_nodes"),
        LibraryFolder("input", BASE / "input"),
        LibraryFolder("output", BASE / "output"),
        LibraryFolder("models", BASE / "output" / "loras", "loras", ST),
    ),
    (BASE / "user", BASE / "models" / "code"),
)


@pytest.fixture
def roots() -> Roots:
    return Roots(FOLDERS)


@pytest.mark.parametrize(
    ("path", "kind", "logical", "prefix", "categories"),
    [
        (BASE / "models", "models", "models", None, []),
        (BASE / "models" / "other" / "deep", "models", "models/other/deep", None, []),
        (BASE / "models" / "loras", "models", "models/loras", "", ["loras"]),
        (BASE / "models" / "loras" / "a" / "b", "models", "models/loras/a/b", "a/b", ["loras"]),
        # A category inside another: files in it can be loaded by both; the prefix is that of the inner one.
        (
            BASE / "models" / "loras" / "lycoris" / "x",
            "models",
            "models/loras/lycoris/x",
            "x",
            ["loras", "lycoris"],
        ),
        # One folder, two categories.
        (BASE / "models" / "unet", "models", "models/unet", "", ["diffusion_models", "unet_gguf"]),
        # Extra model paths lie outside the models directory: their logical path is below the category.
        (EXTRA / "Stable-diffusion" / "xl", "models", "models/checkpoints/xl", "xl", ["checkpoints"]),
        (BASE / "input" / "sub", "input", "input/sub", None, []),
        (BASE / "output", "output", "output", None, []),
        # The innermost folder decides: models that a trainer keeps below output are models.
        (BASE / "output" / "loras" / "new", "models", "models/loras/new", "new", ["loras"]),
    ],
)
def test_place(roots: Roots, path: Path, kind: str, logical: str, prefix: str | None, categories: list[str]) -> None:
    place = roots.place(path)
    assert place is not None
    assert (place.kind, place.logical, place.loader_prefix) == (kind, logical, prefix)
    assert place.category_names == categories


@pytest.mark.parametrize(
    "path",
    [
        BASE,
        BASE / "user" / "x",
        BASE / "models" / "code",
        BASE / "models" / "code" / "deep",
        BASE / "custom_nodes",  # a category of servers that holds programs
        BASE / "modelsx",
        EXTRA,
    ],
)
def test_outside_the_library(roots: Roots, path: Path) -> None:
    assert roots.place(path) is None


@pytest.mark.parametrize(
    ("folder", "name", "tags"),
    [
        (BASE / "models", "a.safetensors", ["models"]),
        (BASE / "models" / "loras", "a.safetensors", ["models", "loras", "model_type:loras"]),
        (BASE / "models" / "loras", "A.SAFETENSORS", ["models", "loras", "model_type:loras"]),
        (BASE / "models" / "loras", "a.txt", ["models", "loras"]),
        (BASE / "models" / "loras", "no-suffix", ["models", "loras"]),
        (BASE / "models" / "configs", "any.thing", ["models", "configs", "model_type:configs"]),
        (BASE / "models" / "configs", "no-suffix", ["models", "configs", "model_type:configs"]),
        (
            BASE / "models" / "unet",
            "flux.gguf",
            ["models", "diffusion_models", "unet_gguf", "model_type:unet_gguf"],
        ),
        (BASE / "models" / "loras" / "lycoris", "a.pt", ["models", "loras", "lycoris", "model_type:lycoris"]),
        (BASE / "input", "a.safetensors", ["input"]),
        (BASE / "output" / "x", "a.png", ["output"]),
    ],
)
def test_tags(roots: Roots, folder: Path, name: str, tags: list[str]) -> None:
    place = roots.place(folder)
    assert place is not None
    assert sorted(place.tags_of(name)) == sorted(tags)


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        (None, {BASE / "models", BASE / "input", BASE / "output", EXTRA / "Stable-diffusion"}),
        ({"input"}, {BASE / "input"}),
        ({"models"}, {BASE / "models", BASE / "output" / "loras", EXTRA / "Stable-diffusion"}),
        ({"loras"}, {BASE / "models" / "loras", BASE / "output" / "loras"}),
        ({"loras", "output"}, {BASE / "models" / "loras", BASE / "output"}),
        ({"lycoris"}, {BASE / "models" / "loras" / "lycoris"}),
        ({"checkpoints"}, {BASE / "models" / "checkpoints", EXTRA / "Stable-diffusion"}),
        ({"nothing"}, set()),
        (set(), set()),
    ],
)
def test_walk_roots_are_outermost(roots: Roots, only: set[str] | None, expected: set[Path]) -> None:
    found = roots.walk_roots(None if only is None else frozenset(only))
    assert set(found) == expected
    assert len(found) == len(expected)


DOWNLOADS = "download_model_base"


@pytest.mark.parametrize(
    ("folder", "logical", "prefix", "tags"),
    [
        (BASE / "models" / "loras", "models/loras", "", ["models", "loras", "model_type:loras"]),
        (BASE / "models" / "new", "models/new", None, ["models"]),
        (EXTRA / "loras" / "x", "models/loras/x", "x", ["models", "loras", "model_type:loras"]),
        (EXTRA / "insightface", "models/insightface", None, ["models"]),
    ],
)
def test_the_folder_for_downloads_is_no_category(
    folder: Path, logical: str, prefix: str | None, tags: list[str]
) -> None:
    """As ComfyUI Desktop has it (the whole models directory), and ComfyUI-Manager's docs (one elsewhere)."""
    roots = Roots(
        HostFolders(
            (
                LibraryFolder("models", BASE / "models"),
                LibraryFolder("models", BASE / "models" / "loras", "loras", ST),
                LibraryFolder("models", BASE / "models", DOWNLOADS),
                LibraryFolder("models", EXTRA, DOWNLOADS),
                LibraryFolder("models", EXTRA / "loras", "loras", ST),
            ),
            (),
        )
    )
    assert roots.categories() == {"loras"} and set(roots.walk_roots()) == {BASE / "models", EXTRA}
    assert roots.destination("models") == BASE / "models"
    place = roots.place(folder)
    assert place is not None
    assert (place.logical, place.loader_prefix, [*place.tags_of("a.safetensors")]) == (logical, prefix, tags)


def test_a_folder_below_a_hidden_one_is_walked_on_its_own() -> None:
    hidden = BASE / "models" / ".shared" / "loras"
    roots = Roots(HostFolders((LibraryFolder("models", BASE / "models"), LibraryFolder("models", hidden, "loras"))))
    walked = roots.walk_roots()
    assert walked == [BASE / "models", hidden]
    assert root_of(str(hidden / "x"), walked) == hidden
    assert root_of(str(BASE / "models" / "x"), walked) == BASE / "models"
    assert root_of(str(BASE), walked) is None


def test_excluded_folders_are_no_roots() -> None:
    folders = (LibraryFolder("output", BASE / "user" / "out"), LibraryFolder("input", BASE))
    roots = Roots(HostFolders(folders, (BASE / "user",)))
    assert roots.walk_roots() == [BASE]
    assert roots.is_excluded(BASE / "user" / "out" / "x")
    assert not roots.is_excluded(BASE / "users")


def test_paths_are_made_absolute_and_plain() -> None:
    roots = Roots(HostFolders((LibraryFolder("input", Path("some") / ".." / "input"),)))
    assert roots.walk_roots() == [Path("input").absolute()]


def test_names_for_restricting_a_scan(roots: Roots) -> None:
    assert {"models", "input", "output", "loras", "unet_gguf"} <= roots.names()
    assert "custom_nodes" not in roots.names()


@pytest.mark.parametrize(
    "other",
    [
        (LibraryFolder("models", BASE / "models" / "loras", "loras", frozenset({".pt"})),),
        (LibraryFolder("models", BASE / "models" / "loras", "lora_models", ST),),
        (LibraryFolder("models", BASE / "models", "loras", ST),),
        (LibraryFolder("input", BASE / "models" / "loras"),),
        (
            LibraryFolder("models", BASE / "models" / "loras", "loras", ST),
            LibraryFolder("models", BASE / "models" / "loras", "more", ST),
        ),
    ],
)
def test_the_key_tells_places_apart(other: tuple[LibraryFolder, ...]) -> None:
    folder = BASE / "models" / "loras" / "x"
    usual = Roots(HostFolders((LibraryFolder("models", BASE / "models" / "loras", "loras", ST),))).place(folder)
    changed = Roots(HostFolders(other)).place(folder)
    assert usual is not None and changed is not None
    assert usual.key != changed.key
