"""Records that repeat are left out of the log and counted."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from comfy_assets_node.comfy_assets import logs
from comfy_assets_node.comfy_assets.logs import LOGGERS, SERVER_LOGGERS, RepeatLimit

ROOT = Path(__file__).resolve().parents[2]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def record(message: str, *arguments: object, line: int = 1) -> logging.LogRecord:
    return logging.LogRecord("some", logging.WARNING, "some.py", line, message, arguments, None)


def test_the_same_record_is_logged_some_times_a_minute() -> None:
    clock = Clock()
    limit = RepeatLimit(clock)
    passed = [limit.filter(record("%s is refused", number)) for number in range(1000)]
    assert passed == [True] * 20 + [False] * 980
    assert limit.filter(record("something else", line=2))
    clock.now = 61.0
    first = record("%s is refused", "x")
    assert limit.filter(first)
    assert first.getMessage() == "x is refused (980 more like this were left out)"
    second = record("%s is refused", "y")
    assert limit.filter(second)
    assert second.getMessage() == "y is refused"


def test_what_is_remembered_is_bounded() -> None:
    limit = RepeatLimit(Clock())
    for number in range(5000):
        assert limit.filter(record("x", line=number))
    assert len(limit._counts) <= logs._MAX_STATEMENTS


def test_every_logger_of_the_project_is_limited() -> None:
    sources = [*(ROOT / "comfy_assets").rglob("*.py"), *(ROOT / "routes").rglob("*.py")]
    named = {
        name for path in sources for name in re.findall(r'getLogger\("([^"]+)"\)', path.read_text(encoding="utf-8"))
    }
    assert named <= {*LOGGERS, *SERVER_LOGGERS}
    logs.limit_repeats()
    logs.limit_repeats()
    for name in LOGGERS:
        assert [type(each) for each in logging.getLogger(name).filters].count(RepeatLimit) == 1
