"""What is logged cannot forge a line, whatever the names and requests in it say."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest
from comfy_assets_node.comfy_assets.logs import escaped

FORGED = "x\r\n[ERROR] FORGED \x1b[31m\x1b]0;PWNED\x07\x9b2J\u2028y\u202ez\ud800"


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What a handler of the root logger writes."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("[%(levelname)s] %(message)s"))
    logging.getLogger().addHandler(handler)
    yield stream
    logging.getLogger().removeHandler(handler)


@pytest.mark.parametrize("name", ["comfy_assets", "comfy_assets.http", "comfy_assets.made_later"])
def test_arguments_and_messages_stay_on_one_line(written: io.StringIO, name: str) -> None:
    log = logging.getLogger(name)
    log.warning("a name: %s, quoted: %r", FORGED, FORGED)
    log.warning("a message " + FORGED)
    lines = written.getvalue().splitlines()
    assert len(lines) == 2 and all(line.startswith("[WARNING] a ") for line in lines)
    assert all(character.isprintable() for line in lines for character in line)
    assert "\\x1b[31m" in lines[0] and "\\r\\n[ERROR]" in lines[0]


def test_lines_of_a_traceback_are_set_in(written: io.StringIO) -> None:
    try:
        raise RuntimeError(FORGED)
    except RuntimeError:
        logging.getLogger("comfy_assets.http").exception("it failed")
    first, *others = written.getvalue().splitlines()
    assert first == "[ERROR] it failed"
    assert len(others) > 3 and all(line.startswith("  ") and line.isprintable() for line in others)


def test_escaping_twice_changes_nothing_more() -> None:
    assert escaped(escaped(FORGED)) == escaped(FORGED)
    assert escaped("Größe 图片 C:\\x \U0001f600") == "Größe 图片 C:\\x \U0001f600"
