"""The number of inputs that generated tests try: few in the default run, many if ``COMFY_ASSETS_THOROUGH`` is set."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

from .windows import SLOWNESS

IS_THOROUGH = bool(os.environ.get("COMFY_ASSETS_THOROUGH"))


def use_profile() -> None:
    """Set no limits of time for single examples: on a busy machine they fail, and say nothing."""
    settings.register_profile("project", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("project")


def examples(few: int, thorough: int) -> int:
    """Return how many examples a test that is slow for each of them tries."""
    return thorough if IS_THOROUGH else max(1, few // SLOWNESS)
