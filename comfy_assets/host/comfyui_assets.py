"""The asset feature of ComfyUI itself (0.33 and newer): the files to which it gave ids.

Its messages, history and uploads name files by these ids, and pages send them to ``/api/assets/{id}``, which is ours.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

log = logging.getLogger("comfy_assets")

_MODULE = "app.assets.services"
_MAX_IDS = 1000  # of a call; each takes a query


class ComfyUIAssetIndex:
    """Reads ComfyUI's own table of assets, through the function that its operation ``GET /api/assets/{id}`` uses.

    ComfyUI may change that function at any time. If it fails, an id only stays unknown.
    """

    def files(self, ids: Sequence[str]) -> dict[str, Path]:
        """Return the files of these ids. Blocks: reads ComfyUI's database."""
        try:
            find = importlib.import_module(_MODULE).get_asset_detail
        except (ImportError, AttributeError):
            return {}  # a server without the feature
        found = {asset_id: _file_of(find, asset_id) for asset_id in ids[:_MAX_IDS]}
        return {asset_id: path for asset_id, path in found.items() if path is not None}


def _file_of(find: Callable[..., Any], asset_id: str) -> Path | None:
    try:
        detail = find(reference_id=asset_id)
        path = None if detail is None else detail.ref.file_path
    except Exception as error:  # noqa: BLE001 - of another program, whose feature may be off
        log.debug("The server's own asset feature cannot be asked for %s: %r", asset_id, error)
        return None
    return Path(path) if isinstance(path, str) and path else None
