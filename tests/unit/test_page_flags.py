"""Feature flags for ComfyUI's page, and how they reach it on servers of every version."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.host.comfyui import ComfyUIHost
from comfy_assets_node.routes.server import page_flags

SENT = {
    "assets": True,
    "supports_model_type_tags": True,
    "asset_deletion_enabled": True,
    "asset_rename_enabled": True,
}


def comfyui(**arguments: Any) -> ComfyUIHost:
    """A host over a server that was started with these arguments, as far as flags need it."""
    host = ComfyUIHost.__new__(ComfyUIHost)
    host._arguments = SimpleNamespace(**arguments)
    return host


def server_flags(monkeypatch: pytest.MonkeyPatch, flags: dict[str, Any] | None) -> None:
    """Let the server's module hold these flags, or no flags."""
    module = ModuleType("comfy_api.feature_flags")
    if flags is not None:
        module.SERVER_FEATURE_FLAGS = flags  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "comfy_api", ModuleType("comfy_api"))
    monkeypatch.setitem(sys.modules, "comfy_api.feature_flags", module)


def test_what_is_sent() -> None:
    imports = ["model_upload_button_enabled", "private_models_enabled", "user_secrets_enabled"]
    assert page_flags(Config()) == {**SENT, **dict.fromkeys(imports, True)}
    assert page_flags(Config(downloads=False)) == SENT
    assert page_flags(Config(feature_flags=False)) == {}


@pytest.mark.parametrize(
    ("theirs", "arguments", "expected"),
    [
        ({"supports_preview_metadata": True}, {}, {"supports_preview_metadata": True, **SENT}),
        ({"assets": False, "node_replacements": True}, {"feature_flag": []}, {"node_replacements": True, **SENT}),
        (
            {"asset_deletion_enabled": "false"},
            {"feature_flag": ["asset_deletion_enabled=false", "other"]},
            {**SENT, "asset_deletion_enabled": "false"},
        ),
        ({"asset_deletion_enabled": False}, {"feature_flag": None}, SENT),
    ],
)
def test_servers(
    monkeypatch: pytest.MonkeyPatch, theirs: dict[str, Any], arguments: Mapping[str, Any], expected: Mapping[str, Any]
) -> None:
    """The flags replace the server's, but not what its user has set."""
    server_flags(monkeypatch, theirs)
    comfyui(**arguments).add_features(SENT)
    assert theirs == expected


def test_servers_without_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    server_flags(monkeypatch, None)
    comfyui().add_features(SENT)
    monkeypatch.setitem(sys.modules, "comfy_api.feature_flags", None)  # as if there were no such module
    comfyui().add_features(SENT)


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        ({}, None),
        ({"enable_assets": False}, None),
        ({"enable_assets": True}, "without --enable-assets"),
        ({"enable_assets": False, "disable_assets": False}, "with --disable-assets"),
        ({"enable_assets": True, "disable_assets": True}, None),
    ],
)
def test_the_option_that_turns_the_servers_own_index_off(arguments: Mapping[str, bool], option: str | None) -> None:
    advice = comfyui(**arguments).index_option()
    assert (advice is None) if option is None else (advice is not None and option in advice)
