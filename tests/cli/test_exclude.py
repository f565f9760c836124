"""The setting of what is left out of the library, on the command line."""

from __future__ import annotations

from typing import Any

import pytest

NAME = "COMFY_ASSETS_EXCLUDE"


def test_what_the_setting_names_is_not_indexed(base: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ("output/a.png", "output/a.bak", "output/drafts/b.png", "models/loras/c.safetensors"):
        base.write(path, path.encode())
    monkeypatch.setenv(NAME, "*.bak, drafts/")
    assert base.run("scan", "--json").json["files"] == 2
    monkeypatch.delenv(NAME)
    assert base.run("scan", "--json").json["files"] == 4


@pytest.mark.parametrize("command", ["scan", "serve"])
@pytest.mark.parametrize(("patterns", "quoted"), [("*.bak,/mnt/old", "'/mnt/old'"), ("output\\old", "backslash")])
def test_a_malformed_pattern_is_an_error(
    base: Any, monkeypatch: pytest.MonkeyPatch, command: str, patterns: str, quoted: str
) -> None:
    base.write("output/a.png", b"a")
    monkeypatch.setenv(NAME, patterns)
    ran = base.run(command)
    assert ran.status != 0 and NAME in ran.err and quoted in ran.err
    assert not (base.path / "user" / "__comfy_assets" / "library.db").exists()
