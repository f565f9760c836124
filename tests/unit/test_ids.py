"""New asset ids."""

from __future__ import annotations

import time
import uuid

import pytest
from comfy_assets_node.comfy_assets.ids import new_ids


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_canonical_version_7(count: int) -> None:
    before = time.time_ns() // 1_000_000
    ids = new_ids(count)
    after = time.time_ns() // 1_000_000
    assert len(set(ids)) == count
    for text in ids:
        parsed = uuid.UUID(text)
        assert str(parsed) == text
        assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
        assert before <= parsed.int >> 80 <= after
