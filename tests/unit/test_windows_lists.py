"""The lists in tests/windows name what there is, and pin what is downloaded."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it where Python does not

ROOT = Path(__file__).resolve().parents[2]
WINDOWS = ROOT / "tests/windows"
PINNED = re.compile(r"([A-Za-z0-9_.]+)==\S+ --hash=sha256:[0-9a-f]{64}")


def lines(name: str) -> list[str]:
    text = (WINDOWS / name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize("name", ["modules.txt", "known.txt"])
def test_they_name_what_there_is(name: str) -> None:
    for line in lines(name):
        module, _, test = line.partition("  # ")[0].strip().partition("::")
        path = ROOT / module
        assert path.is_file(), line
        function = test.rpartition("::")[2].partition("[")[0]
        assert not function or f"def {function}(" in path.read_text(encoding="utf-8"), line


def test_what_is_left_out_has_a_reason() -> None:
    assert [line for line in lines("known.txt") if not line.partition("  # ")[2]] == []


def test_every_package_is_pinned() -> None:
    pinned = {
        match[1].replace("_", "-").lower() for line in lines("requirements.txt") if (match := PINNED.fullmatch(line))
    }
    assert len(pinned) == len(lines("requirements.txt"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = {re.split(r"[<>=; ]", each)[0].lower() for each in project["dependencies"]}
    assert needed - pinned == set()
