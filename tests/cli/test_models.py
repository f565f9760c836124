"""``comfy-assets models``: unused models and the space that they take."""

from __future__ import annotations

import os
from typing import Any

import pytest

FILES = {
    "models/loras/style.safetensors": 400,
    "models/loras/sub/ink.safetensors": 300,
    "models/checkpoints/old.safetensors": 900,
    "output/picture.png": 5000,
}


@pytest.fixture
def files(base: Any) -> Any:
    for name, size in FILES.items():
        base.write(name, os.urandom(size))
    return base.scanned()


def test_unused_models(files: Any) -> None:
    ran = files.run("models", "unused")
    assert ran.status == 0, ran.err
    lines = ran.out.splitlines()
    assert lines[0].split() == ["SIZE", "CATEGORY", "ID", "FILE"]
    listed = [line.rpartition("  ")[2] for line in lines[1:4]]
    assert listed == [*sorted((name for name in FILES if "models" in name), key=FILES.__getitem__, reverse=True)]
    assert [line.split() for line in lines[-3:-1]] == [["900", "B", "1", "checkpoints"], ["700", "B", "2", "loras"]]
    assert lines[-1] == "3 unused models, 1.6 kB, 3 shown"


def test_unused_models_of_a_category_for_programs(files: Any) -> None:
    ran = files.run("models", "unused", "--category", "loras", "--limit", "1", "--json")
    assert (ran.json["total"], ran.json["size"]) == (2, 700)
    assert ran.json["categories"] == [{"name": "loras", "count": 2, "size": 700}]
    [model] = ran.json["models"]
    assert (model["file_path"], model["size"], model["categories"]) == (
        "models/loras/style.safetensors", 400, ["loras"],
    )  # fmt: skip
    none = files.run("models", "unused", "--category", "vae")
    assert none.status == 0 and none.out.splitlines()[-1] == "0 unused models, 0 B, 0 shown"
