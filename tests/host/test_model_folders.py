"""What the library lists for the loaders of a category is what the server lists for them, links included."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.files import safetensors
from support.windows import symbolic_links

pytestmark = symbolic_links

CATEGORIES = ("checkpoints", "diffusion_models", "loras", "vae", "upscale_models")
EXTRA = """
shared:
    base_path: {base}
    loras: all/loras
    vae: all
"""


def fill(base: Path) -> Path:
    """Link folders into several categories, to a folder above and to nowhere."""
    for number, name in enumerate(
        (
            "store/both/d.safetensors",
            "store/both/deep/e.safetensors",
            "models/checkpoints/real/r.safetensors",
            "all/loras/l.safetensors",
            "all/v.safetensors",
            "output/picture.safetensors",
        )
    ):
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_bytes(safetensors(number))
    links: dict[str, str | Path] = {
        "models/checkpoints/both": base / "store/both",
        "models/diffusion_models/both": base / "store/both",
        "models/diffusion_models/real": "../checkpoints/real",
        "models/upscale_models/away": base / "unplugged",
        "input/link": "../output",
    }
    for link, target in links.items():
        (base / link).parent.mkdir(parents=True, exist_ok=True)
        (base / link).symlink_to(target)
    (base / "paths.yaml").write_text(EXTRA.format(base=base))
    return base


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, start: Any) -> Iterator[Any]:
    base = fill(tmp_path_factory.mktemp("models"))
    with start(base, "--extra-model-paths-config", str(base / "paths.yaml")) as server:
        server.wait_until_read()
        yield server


@pytest.mark.parametrize("category", CATEGORIES)
def test_loaders_and_the_library_list_the_same(server: Any, category: str) -> None:
    names = server.get(f"/api/models/{category}").json
    page = server.get(f"/api/assets?include_tags=model_type:{category}&limit=500").json
    assert sorted(asset["loader_path"] for asset in page["assets"]) == sorted(names)


def test_the_models_are_there(server: Any) -> None:
    """So that the lists above are not equal by being empty."""
    listed = {name: set(server.get(f"/api/models/{name}").json) for name in CATEGORIES}
    assert listed["diffusion_models"] == {"both/d.safetensors", "both/deep/e.safetensors", "real/r.safetensors"}
    assert (listed["loras"], listed["vae"]) == ({"l.safetensors"}, {"loras/l.safetensors", "v.safetensors"})


def test_an_output_is_listed_once(server: Any) -> None:
    page = server.get("/api/assets?name_contains=picture").json
    assert [asset["file_path"] for asset in page["assets"]] == ["output/picture.safetensors"]
