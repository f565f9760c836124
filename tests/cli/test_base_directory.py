"""The folder that a command works on, if an option names it, a variable, or the current folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from comfy_assets_node.comfy_assets.cli import main, store

VARIABLE = "COMFY_ASSETS_BASE_DIRECTORY"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run the command in a folder, in which and around which nothing else is found."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(store, "default_base_directory", lambda: tmp_path / "default")

    def run(folder: Path, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.chdir(folder)
        capsys.readouterr()
        return main(arguments), *capsys.readouterr()

    return run


@pytest.fixture
def comfyui(tmp_path: Path) -> Path:
    """A ComfyUI folder with one file."""
    base = tmp_path / "ComfyUI"
    for kind in ("models/checkpoints", "input", "output/2026"):
        (base / kind).mkdir(parents=True)
    (base / "output/2026/a.png").write_bytes(b"a")
    return base


def files_seen(run: Run, folder: Path, *arguments: str) -> int:
    status, out, err = run(folder, *arguments, "scan", "--json")
    assert status == 0, err
    return int(json.loads(out)["files"])


@pytest.mark.parametrize("inside", ["", "output", "output/2026", "models/checkpoints", ".."])
def test_the_folder_around_the_current_one(run: Run, comfyui: Path, inside: str) -> None:
    """In the folder itself, deep in it, and in the folder of the portable version, which has it in it."""
    assert files_seen(run, comfyui / inside) == 1
    assert (comfyui / "user/__comfy_assets/library.db").is_file()
    status, out, _ = run(comfyui / inside, "status", "--json")
    assert status == 0 and json.loads(out)["store"].startswith(str(comfyui))


def test_a_checkout_without_folders_of_files(run: Run, tmp_path: Path) -> None:
    (tmp_path / "fresh/comfy").mkdir(parents=True)
    (tmp_path / "fresh/main.py").touch()
    assert files_seen(run, tmp_path / "fresh/comfy") == 0


def test_the_option_goes_before_the_variable_and_that_before_the_current_folder(
    run: Run, comfyui: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named, other = tmp_path / "named", tmp_path / "other"
    for base, count in ((named, 2), (other, 3)):
        (base / "input").mkdir(parents=True)
        for number in range(count):
            (base / f"input/{number}.png").write_bytes(b"%d" % number)
    assert files_seen(run, comfyui) == 1
    monkeypatch.setenv(VARIABLE, str(named))
    assert files_seen(run, comfyui) == 2
    assert files_seen(run, comfyui, "--base-directory", str(other)) == 3
    status, out, _ = run(comfyui, "scan", "--json", "--base-directory", str(other))
    assert status == 0 and json.loads(out)["files"] == 3


def test_without_any_folder_the_message_says_what_to_do(run: Run, tmp_path: Path) -> None:
    for command in (["status"], ["scan"], ["jobs", "list"], ["assets", "list"], ["trash", "empty", "--yes"]):
        status, out, err = run(tmp_path, *command)
        assert (status, out) == (1, "")
        assert all(text in err for text in ("no ComfyUI folder was found", "--base-directory", VARIABLE)), err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["scan", "status", "verify", "duplicates"])
def test_a_folder_that_is_no_comfyui_is_refused(run: Run, tmp_path: Path, command: str) -> None:
    folder = tmp_path / "notcomfy"
    folder.mkdir()
    (folder / "letter.txt").touch()
    status, out, err = run(tmp_path, command, "--base-directory", str(folder))
    assert (status, out) == (1, "")
    assert err.startswith(f"comfy-assets: {folder} is no ComfyUI folder")
    assert [path.name for path in folder.iterdir()] == ["letter.txt"]


def test_a_folder_in_or_around_a_comfyui_is_refused_with_a_hint(run: Run, comfyui: Path) -> None:
    for folder in (comfyui.parent, comfyui / "output"):
        assert f"Did you mean {comfyui}?" in run(folder, "scan", "--base-directory", str(folder))[2]


@pytest.mark.parametrize(("name", "says"), [("absent", "does not exist"), ("file", "is no folder")])
def test_what_is_no_folder_is_refused(run: Run, tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "file").touch()
    for command in ("scan", "status"):
        status, _, err = run(tmp_path, command, "--base-directory", name)
        assert status == 1 and says in err and name in err
