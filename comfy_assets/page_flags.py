"""Feature flags for ComfyUI's page: the panels of its own that this library can serve.

The page receives them when it connects, and in ``GET /api/features``. It ignores flags that it does not know. A flag
whose feature needs more than this table says is set by the function that decides on it, listed in ``CONDITIONAL``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .config import Config
from .downloads.service import import_flags

# Flags of features that always work. The page's versions that know them: docs/compatibility.md.
ALWAYS: Mapping[str, Any] = {
    "assets": True,  # Media Assets, the model library and the pickers read /api/assets
    "supports_model_type_tags": True,  # models are grouped by their tags model_type:…
    "asset_deletion_enabled": True,  # inputs and models can be deleted too
    "asset_rename_enabled": True,  # pages up to 1.55
}
# Each returns further flags for the settings.
CONDITIONAL: tuple[Callable[[Config], Mapping[str, Any]], ...] = (import_flags,)


def page_flags(config: Config) -> dict[str, Any]:
    """Return all flags by name; none if the settings turn them off."""
    if not config.feature_flags:
        return {}
    flags = dict(ALWAYS)
    for decide in CONDITIONAL:
        flags.update(decide(config))
    return flags
