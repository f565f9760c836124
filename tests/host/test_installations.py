"""The folders of ComfyUI Desktop, of Stability Matrix and of the portable version, as those programs make them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.files import picture, safetensors
from support.servers import COMFYUI, HttpServer, comfyui, make_base
from support.windows import symbolic_links

pytestmark = [pytest.mark.slow, symbolic_links]

# extra_models_config.yaml after models were taken over from an older ComfyUI: src/install/installWizard.ts of Desktop.
DESKTOP = """\
# ComfyUI extra_model_paths.yaml for win32
comfyui_migration:
  checkpoints: models/checkpoints/
  loras: models/loras/
  vae: models/vae/
  base_path: {old}
comfyui_desktop:
  is_default: "true"
  custom_nodes: custom_nodes/
  download_model_base: models
  base_path: {base}
desktop_extensions:
  custom_nodes: {resources}/ComfyUI/custom_nodes
"""
# extra_model_paths.yaml of a package whose models are shared by configuration: YamlConfigSharingStrategy.cs.
MATRIX = """\
stability_matrix:
  checkpoints: |-
    {models}/StableDiffusion
  loras: |-
    {models}/Lora
    {models}/LyCORIS
  vae: |-
    {models}/VAE
"""


def fill(folder: Path, *names: str) -> None:
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(number) if path.suffix == ".png" else safetensors(sum(name.encode()) % 256))


def tags_by_path(server: HttpServer) -> dict[str, list[str]]:
    return {each["file_path"]: each["tags"] for each in server.get("/api/assets?limit=500").json["assets"]}


def by_name(server: HttpServer) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in server.get("/api/assets?limit=500").json["assets"]}


def tagged(kind: str) -> list[str]:
    return ["models", kind, f"model_type:{kind}"]


def test_desktop(tmp_path: Path, start: Any) -> None:
    """The folder of the user, an older ComfyUI whose models were taken over, and packs that come with the program."""
    base, old, resources = tmp_path / "Documents" / "ComfyUI", tmp_path / "old ComfyUI", tmp_path / "resources"
    fill(make_base(base), "models/checkpoints/xl/a.safetensors", "models/insightface/b.safetensors", "output/c.png")
    fill(old, "models/loras/d.safetensors", "models/vae/e.safetensors", "output/not mine.png")
    fill(base, "custom_nodes/pack/example.png")
    fill(resources, "ComfyUI/custom_nodes/bundled/example.png")
    file = tmp_path / "AppData" / "extra_models_config.yaml"
    file.parent.mkdir()
    file.write_text(DESKTOP.format(base=base, old=old, resources=resources))
    options = ["--extra-model-paths-config", str(file)]
    if start is comfyui:
        folders = (f"--{name}-directory {base / name}".split(" ", 1) for name in ("user", "input", "output"))
        options += [part for pair in folders for part in pair]
        options += ["--database-url", f"sqlite:///{base / 'user'}/comfyui.db", "--log-stdout"]
    with start(base, *options) as server:
        server.wait_until_read()
        assert tags_by_path(server) == {
            "models/checkpoints/xl/a.safetensors": tagged("checkpoints"),
            "models/insightface/b.safetensors": ["models"],
            "models/loras/d.safetensors": tagged("loras"),
            "models/vae/e.safetensors": tagged("vae"),
            "output/c.png": ["output"],
        }
        listed = {name: server.get(f"/api/models/{name}").json for name in ("checkpoints", "loras")}
        assert listed == {"checkpoints": ["xl/a.safetensors"], "loras": ["d.safetensors"]}
        assert by_name(server)["a.safetensors"]["loader_path"] == "xl/a.safetensors"
        assert "download_model_base" not in json.dumps(server.get("/api/tags?limit=1000").json)
    assert (base / "user" / "__comfy_assets" / "library.db").is_file()


def matrix_data(folder: Path) -> tuple[Path, Path]:
    """The data folder of Stability Matrix: the package, and the shared models."""
    base, models = folder / "Data" / "Packages" / "ComfyUI", folder / "Data" / "Models"
    fill(models, "StableDiffusion/a.safetensors", "Lora/style/b.safetensors", "LyCORIS/c.safetensors")
    fill(models, "VAE/d.safetensors")
    fill(folder / "Data" / "Images" / "Text2Img", "e.png")
    make_base(base)
    shutil.rmtree(base / "models" / "loras")
    (base / "output").rmdir()
    (base / "output").symlink_to(folder / "Data" / "Images" / "Text2Img")
    return base, models


MATRIX_LINKS = {
    "checkpoints": "StableDiffusion", "loras/Lora": "Lora", "loras/LyCORIS": "LyCORIS", "vae": "VAE",
}  # fmt: skip


def link_models(base: Path, models: Path) -> None:
    """As SharedFolders.cs does; a junction is a link to a folder."""
    for name, shared in MATRIX_LINKS.items():
        (base / "models" / name).parent.mkdir(parents=True, exist_ok=True)
        (base / "models" / name).symlink_to(models / shared)


def unlink_models(base: Path) -> None:
    """As Stability Matrix does when it ends, if it is set so."""
    for name in MATRIX_LINKS:
        (base / "models" / name).unlink()


def test_stability_matrix(tmp_path: Path, start: Any) -> None:
    """Models shared by links, without them, and by configuration: assets keep their ids and what users gave them."""
    base, models = matrix_data(tmp_path)
    link_models(base, models)
    with start(base) as server:
        server.wait_until_read()
        assert tags_by_path(server) == {
            "models/checkpoints/a.safetensors": tagged("checkpoints"),
            "models/loras/Lora/style/b.safetensors": tagged("loras"),
            "models/loras/LyCORIS/c.safetensors": tagged("loras"),
            "models/vae/d.safetensors": tagged("vae"),
            "output/e.png": ["output"],
        }
        first = {name: asset["id"] for name, asset in by_name(server).items()}
        for asset_id in first.values():
            assert server.post(f"/api/assets/{asset_id}/tags", {"tags": ["mine"]}).status == 200
    unlink_models(base)
    with start(base) as server:
        server.wait_until_read()
        left = by_name(server)
        assert {name: asset["id"] for name, asset in left.items()} == first
        assert {name for name, asset in left.items() if "missing" in asset["tags"]} == first.keys() - {"e.png"}
    file = base / "extra_model_paths.yaml"
    file.write_text(MATRIX.format(models=models))
    with start(base, *(["--extra-model-paths-config", str(file)] if start is comfyui else [])) as server:
        server.wait_until_read()
        now = by_name(server)
        assert {name: asset["id"] for name, asset in now.items()} == first
        assert all("mine" in asset["tags"] and "missing" not in asset["tags"] for asset in now.values())
        assert {asset["file_path"] for asset in now.values()} == {
            "models/checkpoints/a.safetensors",
            "models/loras/style/b.safetensors",
            "models/loras/c.safetensors",
            "models/vae/d.safetensors",
            "output/e.png",
        }


@pytest.mark.comfyui
@pytest.mark.skipif(not COMFYUI, reason="COMFYUI_PATH names no ComfyUI checkout")
@pytest.mark.parametrize("start", [comfyui], ids=["comfyui"])
def test_a_user_folder_elsewhere(tmp_path: Path, start: Any) -> None:
    """Everything that is kept is in it; neither the base directory nor the pack has any of it."""
    base, user = tmp_path / "base", tmp_path / "users"
    fill(make_base(base), "output/a.png")
    user.mkdir()
    options = ("--windows-standalone-build", "--disable-auto-launch", "--user-directory", str(user))
    with start(base, *options) as server:
        server.wait_until_read()
        asset = by_name(server)["a.png"]
        server.post(f"/api/assets/{asset['id']}/tags", {"tags": ["mine"]})
    assert (user / "__comfy_assets" / "library.db").is_file()
    assert not list((base / "user").iterdir())
    assert not [path for path in (base / "custom_nodes").rglob("*") if path.suffix in (".db", ".jsonl", ".log")]
    shutil.rmtree(base / "custom_nodes")
    with start(make_base(base), *options) as server:
        server.wait_until_read()
        assert by_name(server)["a.png"]["id"] == asset["id"] and "mine" in by_name(server)["a.png"]["tags"]
