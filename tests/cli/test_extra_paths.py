"""Folders elsewhere: extra_paths.yaml, and extra_model_paths.yaml of earlier versions, on the command line."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp import FormData
from comfy_assets_node.comfy_assets.cli import main
from comfy_assets_node.comfy_assets.cli.store import host_on
from comfy_assets_node.comfy_assets.host.base import LibraryFolder
from comfy_assets_node.comfy_assets.host.standalone import (
    ExtraFolder,
    StandaloneHost,
    read_base_paths,
    read_extra_folders,
)

FILE = "extra_model_paths.yaml"
NEW = "extra_paths.yaml"


@pytest.fixture
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("drive")


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # On Windows a path such as /d is on the drive of the file that has it, and of the current folder for the tests.
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(Path("/home/someone").absolute()))
    monkeypatch.setenv("MODELS", "all models")


@pytest.mark.parametrize(
    ("text", "folders"),
    [
        ("", []),
        ("comfyui:\n", []),
        ("a:\n  base_path: /d\n  loras: models/loras/\n", [("loras", "/d/models/loras", False)]),
        (
            "a:\n  base_path: /d\n  loras: |\n    one\n    two\n",
            [("loras", "/d/one", False), ("loras", "/d/two", False)],
        ),
        ("a:\n  loras: near\nb:\n  vae: /far/vae\n", [("loras", "{here}/near", False), ("vae", "/far/vae", False)]),
        ("a:\n  base_path: up/../x\n  vae: ./y/../z\n", [("vae", "{here}/x/z", False)]),
        ("a:\n  base_path: ~/$MODELS\n  vae: v\n", [("vae", "/home/someone/all models/v", False)]),
        ("a:\n  is_default: true\n  base_path: /d\n  vae: v\n", [("vae", "/d/v", True)]),
        ("a:\n  clip: /c\n  unet: /u\n", [("text_encoders", "/c", False), ("diffusion_models", "/u", False)]),
        ("a:\n  my_models: /m\n", [("my_models", "/m", False)]),
        ("a:\n  output: /o\n", [("output", "/o", False)]),  # not a directory in files of earlier versions
        (
            "a:\n  base_path: /d\n  is_default: true\n  custom_nodes: n\n"
            "  models:\n    base_path: m\n    vae: v\n    clip: |\n      a/\n      /b\n",
            [
                ("custom_nodes", "/d/n", True),
                ("vae", "/d/m/v", True),
                ("text_encoders", "/d/m/a", True),
                ("text_encoders", "/b", True),
            ],
        ),
        (
            "a:\n  models:\n    is_default: true\n    loras: l\nb:\n  models: all\n",
            [("loras", "{here}/l", True), ("models", "{here}/all", False)],
        ),
    ],
)
def test_what_the_file_says(tmp_path: Path, text: str, folders: list[tuple[str, str, bool]]) -> None:
    file = tmp_path / "paths.yaml"
    file.write_text(text)
    wanted = [ExtraFolder(c, Path(p.format(here=tmp_path)).absolute(), first) for c, p, first in folders]
    assert read_extra_folders(file) == wanted


def test_the_new_file_replaces_the_old_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / FILE).write_text("a:\n  loras: /old\n")
    assert read_base_paths(tmp_path).folders == [ExtraFolder("loras", Path("/old").absolute())]
    assert not caplog.records
    (tmp_path / NEW).write_text("a:\n  loras: /new\n")
    assert read_base_paths(tmp_path).folders == [ExtraFolder("loras", Path("/new").absolute())]
    (record,) = caplog.records
    assert FILE in record.getMessage() and NEW in record.getMessage()


def test_a_base_path_stands_for_its_folders_of_models(tmp_path: Path) -> None:
    """Existing folders without an entry: directly below the base path, or below that of the block ``models``."""
    for name in ("loras", "vae", "unet", "custom_nodes", "input", "other", "models/vae", "models/clip_vision"):
        (tmp_path / name).mkdir(parents=True)
    text = f"a:\n  base_path: {tmp_path}\n  vae: else\nb:\n  base_path: {tmp_path}\n  models:\n    base_path: models\n"
    (tmp_path / NEW).write_text(text)
    found = read_base_paths(tmp_path)
    assert found.folders == [
        ExtraFolder("vae", tmp_path / "else"),
        ExtraFolder("loras", tmp_path / "loras"),
        ExtraFolder("vae", tmp_path / "models/vae"),
        ExtraFolder("clip_vision", tmp_path / "models/clip_vision"),
    ]
    assert read_extra_folders(tmp_path / NEW)[0] == found.folders[0] and len(found.folders) > 1


def test_directories_elsewhere(base: Any, drive: Path) -> None:
    """Every command finds the store in the folder of users, and the files in the other ones."""
    (drive / "out").mkdir()
    (drive / "out/a.png").write_bytes(b"picture")
    base.write("output/b.png", b"another picture")
    text = f"a:\n  base_path: {drive}\n  output: out\n  input: in/\n  temp: t\n  user: people\n"
    (base.path / NEW).write_text(text)
    assert base.run("scan").status == 0
    assert not base.store.exists() and (drive / "people/__comfy_assets/library.db").is_file()
    ran = base.run("status", "--json")
    assert ran.status == 0 and json.loads(ran.out)["store"] == str(drive / "people/__comfy_assets/library.db")
    folders = host_on(base.path).folders()
    assert {folder.kind: folder.path for folder in folders.folders if folder.kind in ("input", "output")} == {
        "input": drive / "in",
        "output": drive / "out",
    }
    assert folders.temp == drive / "t" and {drive / "people", drive / "t"} <= set(folders.excluded)


@pytest.mark.parametrize("name", [FILE, NEW])
@pytest.mark.parametrize(
    "text", ["a: [", "- a", "a: b", "a:\n  loras: [x]\n", "a:\n  base_path: 1\n  loras: x\n", "\xff"]
)
def test_a_malformed_file_is_named_and_nothing_is_done(base: Any, text: str, name: str) -> None:
    base.write("models/loras/a.safetensors", b"a")
    (base.path / name).write_bytes(text.encode("latin-1"))
    ran = base.run("scan")
    assert ran.status == 1 and name in ran.err and "malformed" in ran.err
    assert not base.store.exists()


def test_commands_that_need_only_the_store_do_not_read_the_old_file(base: Any) -> None:
    base.write("models/loras/a.safetensors", b"a")
    assert base.run("scan").status == 0
    (base.path / FILE).write_text("a: [")
    assert base.run("status").status == base.run("trash", "list").status == 0
    (base.path / NEW).write_text("a: [")
    assert base.run("status").status == 1  # it may have moved the store


def test_without_pyyaml_the_file_is_not_passed_over(base: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Passing it over would mark all models on the other drive as missing."""
    (base.path / FILE).write_text("a:\n  loras: x\n")
    monkeypatch.setitem(sys.modules, "yaml", None)
    ran = base.run("scan")
    assert ran.status == 1 and "pip install pyyaml" in ran.err


def test_a_file_that_is_not_there(base: Any) -> None:
    ran = base.run("scan", "--extra-model-paths-config", str(base.path / "nowhere.yaml"))
    assert ran.status == 1 and "nowhere.yaml" in ran.err


def listed(base: Any) -> dict[str, list[str]]:
    rows = base.query(
        "SELECT a.name, l.tags FROM assets a JOIN tag_sets s ON s.id = a.tag_set_id"
        " JOIN asset_tag_lists l ON l.id = a.id"
    )
    return {name: json.loads(tags) for name, tags in rows}


def test_scan_reads_the_file_in_the_base_directory_and_those_that_are_named(base: Any, drive: Path) -> None:
    for name in ("ink.safetensors", "notes.md"):
        (drive / "Lora").mkdir(exist_ok=True)
        (drive / "Lora" / name).write_bytes(name.encode())
    (drive / "own").mkdir()
    (drive / "own/new.thing").write_bytes(b"thing")
    (drive / "nodes").mkdir()
    (drive / "nodes/code.py").write_bytes(b"code")
    (base.path / FILE).write_text(f"a:\n  base_path: {drive}\n  loras: Lora\n  custom_nodes: nodes\n")
    more = base.path / "more.yaml"
    more.write_text(f"b:\n  my_models: {drive / 'own'}\n")
    assert base.run("scan", "--extra-model-paths-config", str(more)).status == 0
    assert listed(base) == {
        "ink.safetensors": ["models", "loras", "model_type:loras"],
        "notes.md": ["models", "loras"],
        "new.thing": ["models", "my_models", "model_type:my_models"],
    }


def test_folders_of_a_host(tmp_path: Path) -> None:
    here = tmp_path.absolute()
    extra = [
        ExtraFolder("loras", here / "first", is_first=True),
        ExtraFolder("loras", here / "last"),
        ExtraFolder("vae", here / "models/vae"),
        ExtraFolder("custom_nodes", here / "nodes"),
    ]
    folders = StandaloneHost(here, extra_folders=extra).folders()

    def paths(category: str) -> list[Path]:
        return [folder.path for folder in folders.folders if folder.category == category]

    assert paths("loras") == [here / "first", here / "models/loras", here / "last"]
    assert paths("vae") == [here / "models/vae"]
    assert here / "nodes" in folders.excluded and not paths("custom_nodes")


async def test_a_model_is_restored_to_where_it_was(
    library: Any, drive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The server knows the folder from its own configuration, the command from the file."""
    from msgspec.structs import replace

    folder = LibraryFolder("models", drive, "vae", frozenset({".safetensors"}))
    library.host.current_folders = replace(
        library.host.current_folders, folders=(*library.host.current_folders.folders, folder)
    )
    form = FormData()
    form.add_field("tags", '["models", "vae"]')
    form.add_field("file", MODEL, filename="v.safetensors")
    async with library.client.post("/api/assets", data=form) as response:
        assert response.status == 201, await response.text()
        asset = await response.json()
    async with library.client.delete(f"/api/assets/{asset['id']}") as response:
        assert response.status == 204
    assert list(drive.iterdir()) == []
    (library.base / FILE).write_text(f"a:\n  vae: {drive}\n")
    arguments = ["trash", "restore", asset["id"], "--base-directory", str(library.base)]
    assert await asyncio.to_thread(main, arguments) == 0
    assert (drive / "v.safetensors").read_bytes() == MODEL
    assert (await library.asset("v.safetensors"))["tags"] == ["models", "vae", "model_type:vae"]


HEADER = b'{"w":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}'
MODEL = len(HEADER).to_bytes(8, "little") + HEADER + bytes(4)
