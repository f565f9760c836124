"""The facts and the archive that the Comfy registry would get: complete, and without what only developers need."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.registry import IGNORE_FILE, archive_files

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it where Python does not

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATION: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT, COMFY = CONFIGURATION["project"], CONFIGURATION["tool"]["comfy"]
RAW = PROJECT["urls"]["Repository"].replace("github.com", "raw.githubusercontent.com") + "/main/"
# What the registry and comfy-cli take (comfy_cli/registry/config_parser.py); anything else is dropped with a warning.
SYSTEMS = ("Microsoft", "POSIX", "MacOS", "OS Independent")
ACCELERATORS = {
    "GPU :: NVIDIA CUDA", "GPU :: AMD ROCm", "GPU :: Intel Arc", "NPU :: Huawei Ascend", "GPU :: Apple Metal",
}  # fmt: skip
VERSIONS = re.compile(r"(==|>=|<=|!=|~=|>|<)\d+\.\d+\.\d+")
# What is in the archive beside the code, its page and its texts.
BESIDE = {"__init__.py", "__main__.py", "pyproject.toml", "requirements.txt", "LICENSE", "README.md", "CHANGELOG.md"}

in_a_clone = pytest.mark.skipif(
    shutil.which("git") is None or not (ROOT / ".git").exists(), reason="needs a clone of the repository, and git"
)


def test_the_name_and_the_version() -> None:
    assert re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", PROJECT["name"]) and len(PROJECT["name"]) < 100
    assert re.fullmatch(r"\d+\.\d+\.\d+", PROJECT["version"])
    assert re.fullmatch(r"[a-z][a-z0-9-]*", COMFY["PublisherId"]) and COMFY["DisplayName"]
    assert PROJECT["description"] and set(PROJECT["license"]) == {"text"}
    assert {"Repository", "Documentation", "Issues"} <= set(PROJECT["urls"])  # as comfy-cli spells them


def test_the_classifiers() -> None:
    given = [each.partition(" :: ") for each in PROJECT["classifiers"]]
    systems = [rest for first, _, rest in given if first == "Operating System"]
    assert systems and all(each.startswith(SYSTEMS) for each in systems)
    assert {rest for first, _, rest in given if first == "Environment"} == ACCELERATORS


def test_the_oldest_server_is_one_that_is_tested() -> None:
    assert VERSIONS.fullmatch(COMFY["requires-comfyui"])
    tested = (ROOT / "comfy_assets" / "host" / "comfyui.py").read_text(encoding="utf-8")
    oldest = re.search(r"Tested with ComfyUI (\d+\.\d+\.\d+)", tested)
    assert oldest is not None and COMFY["requires-comfyui"] == f">={oldest[1]}"


@pytest.mark.parametrize(("member", "size"), [("Icon", (400, 400)), ("Banner", (1260, 540))])
def test_the_pictures(member: str, size: tuple[int, int]) -> None:
    """A square of at most 400 pixels, and a banner of 21:9; both in the repository, where the addresses lead."""
    assert COMFY[member].startswith(RAW)
    path = ROOT / COMFY[member].removeprefix(RAW)
    with Image.open(path) as shown:
        assert (shown.format, shown.size) == ("PNG", size)
    assert path.stat().st_size < 100_000
    assert path.with_suffix(".svg").is_file()  # of which it was made


@in_a_clone
def test_the_archive_has_the_pack_and_nothing_for_developers() -> None:
    packed = set(archive_files(ROOT))
    top = {name.partition("/")[0] for name in packed}
    assert top == {"comfy_assets", "routes", "web", "locales", "docs", *BESIDE}
    assert {Path(name).suffix for name in packed if name.startswith("docs/")} == {".md"}
    assert packed >= BESIDE | _installed()
    assert not [name for name in packed if "test" in Path(name).name and name != "comfy_assets/host/testing.py"]
    assert COMFY["includes"] == []  # else files that git ignores would come in


def _installed() -> set[str]:
    """The files that pip installs, which are what the pack needs."""
    tool = CONFIGURATION["tool"]["setuptools"]
    found = set[Path]()
    for package in tool["packages"]:
        folder = ROOT.joinpath(*package.split(".")[1:])
        found.update(folder.glob("*.py"))
        for pattern in tool["package-data"].get(package, ()):
            found.update(path for path in folder.glob(pattern) if path.is_file())
    return {path.relative_to(ROOT).as_posix() for path in found}


@in_a_clone
def test_what_is_made_in_a_clone_is_packed_neither(tmp_path: Path) -> None:
    """Without git, comfy-cli takes every file of the folder that its patterns do not leave out."""
    made = (
        *(".venv/x.py", "comfy_assets/__pycache__/x.pyc", ".pytest_cache/x", ".mypy_cache/x", ".hypothesis/x"),
        *("build/x.py", "dist/x.whl", "comfy_assets.egg-info/x", "node.zip", ".ruff_cache/x"),
    )
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    shutil.copyfile(ROOT / IGNORE_FILE, tmp_path / ".gitignore")
    command = ["git", "-C", str(tmp_path), "check-ignore", *made, "comfy_assets/app.py"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines() == list(made)
