"""What inputs offer, in every way in which nodes declare them."""

from __future__ import annotations

from typing import Any

import pytest
from comfy_assets_node.comfy_assets.host.base import declared_choices

NAMES = ["a", "b"]


@pytest.mark.parametrize(
    ("declared", "choices"),
    [
        ({"required": {"x": (NAMES,)}}, NAMES),
        ({"required": {"x": [NAMES]}}, NAMES),
        ({"required": {"x": (NAMES, {"image_upload": True})}}, NAMES),
        ({"required": {"x": (tuple(NAMES), {})}}, tuple(NAMES)),
        ({"optional": {"x": (NAMES,)}}, NAMES),
        ({"required": {"y": (["c"],)}, "optional": {"x": (NAMES,)}}, NAMES),
        ({"required": {"x": ("COMBO", {"options": NAMES})}}, NAMES),
        ({"required": {"x": ("COMBO", {"options": NAMES, "multiselect": True})}}, NAMES),
        ({"required": {"x": ([], {})}}, []),
        ({"required": {"x": ("COMBO", {"remote": {"route": "/files"}})}}, None),
        ({"required": {"x": ("COMBO",)}}, None),
        ({"required": {"x": ("COMBO", None)}}, None),
        ({"required": {"x": ("STRING", {"options": NAMES})}}, None),
        ({"required": {"x": ("IMAGE",)}}, None),
        ({"required": {"x": ()}}, None),
        ({"required": {"x": "IMAGE"}}, None),
        ({"hidden": {"x": (NAMES,)}}, None),
        ({"required": {"y": (NAMES,)}}, None),
        ({"required": None, "optional": {"x": (NAMES,)}}, NAMES),
        ({}, None),
    ],
)
def test_the_choices_of_an_input(declared: Any, choices: Any) -> None:
    assert declared_choices(declared, "x") == choices
