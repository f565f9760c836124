"""Node.js and the official TypeScript SDK, which ``COMFY_TYPESCRIPT_SDK`` names the folder of if not the tests' own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

_OWN = Path(__file__).resolve().parents[1] / "sdk" / "typescript"
LEAST_NODE = 22


@dataclass(frozen=True)
class TypeScriptSdk:
    """The program ``node``, and a folder whose ``node_modules`` has the SDK."""

    node: str
    folder: Path


def find_sdk() -> TypeScriptSdk | str:
    """Return the SDK, or the reason why there is none."""
    node = shutil.which("node")
    if node is None:
        return "Node.js is not installed"
    version = subprocess.run([node, "--version"], capture_output=True, encoding="utf-8", timeout=30).stdout.strip()
    major = re.match(r"v(\d+)\.", version)
    if major is None or int(major[1]) < LEAST_NODE:
        return f"the TypeScript SDK needs Node.js {LEAST_NODE}, not {version}"
    folder = Path(os.environ.get("COMFY_TYPESCRIPT_SDK") or _OWN)
    if not (folder / "node_modules" / "@comfyorg" / "sdk").is_dir():
        return f"npm has not installed the TypeScript SDK in {folder}"
    return TypeScriptSdk(node, folder)
