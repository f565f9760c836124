"""Texts of prompts that name no file: they are not looked up again for a few seconds, and no longer."""

from __future__ import annotations

from pathlib import Path

import pytest
from comfy_assets_node.routes import prompts
from comfy_assets_node.routes.prompts import AbsentNames

FOLDERS = (Path("input"), Path("output"))


def test_absent_names_are_looked_up_again_after_a_while() -> None:
    now = [100.0]
    names = AbsentNames(lambda: now[0])
    assert names.unknown(FOLDERS, ["a", "b"]) == ["a", "b"]
    names.add(FOLDERS, ["a"])
    assert names.unknown(FOLDERS, ["a", "b"]) == ["b"]
    assert names.unknown(FOLDERS[:1], ["a"]) == ["a"], "other folders may have it"
    now[0] += 5
    assert names.unknown(FOLDERS, ["a", "b"]) == ["a", "b"]


def test_few_names_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompts, "_MAX_ABSENT", 3)
    names = AbsentNames(lambda: 0.0)
    for text in ("a", "b", "c", "d"):
        names.add(FOLDERS, [text])
    assert names.unknown(FOLDERS, ["a", "b", "c", "d"]) == ["a", "b", "c"]
    names.add(FOLDERS, ["long" * 100])
    assert names.unknown(FOLDERS, ["long" * 100]) != []
