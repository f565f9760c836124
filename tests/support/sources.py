"""The parsed sources of the project, each parsed once a process."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path


@cache
def parsed(path: Path) -> ast.Module:
    """Return the syntax tree of a module. It must not be changed."""
    return ast.parse(path.read_text(encoding="utf-8"))
