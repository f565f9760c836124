"""Feature flags for ComfyUI's page: the panels of its own that this library can serve.

The page receives them when it connects, and in ``GET /api/features``. It ignores flags that it does not know.
docs/compatibility.md lists the versions of the page that know them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .config import Config

# Flags of features that always work.
ALWAYS: Mapping[str, Any] = {
    "assets": True,  # Media Assets, the model library and the pickers read /api/assets
    "supports_model_type_tags": True,  # models are grouped by their tags model_type:…
    "asset_deletion_enabled": True,  # inputs and models can be deleted too
    "asset_rename_enabled": True,  # pages up to 1.55
}
# Flags of import by link.
DOWNLOADS: Mapping[str, Any] = {
    "model_upload_button_enabled": True,  # the button
    "private_models_enabled": True,  # the button opens the import wizard instead of an advertisement
    "user_secrets_enabled": True,  # keys: the wizard mentions them, and signed-in users have them in their settings
}


def page_flags(config: Config) -> dict[str, Any]:
    """Return all flags by name; none if the settings turn them off."""
    if not config.feature_flags:
        return {}
    return {**ALWAYS, **DOWNLOADS} if config.downloads else dict(ALWAYS)
