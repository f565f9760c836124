"""A small server with the core API of ComfyUI, without ComfyUI and without diffusion.

Prompts are validated, queued, executed and reported as by ComfyUI, but the only nodes are a few that load, create,
change and save images: there is no sampler and no model loading. It serves to try the project on any machine, to
develop clients, and to run tests.
"""

from .folders import EXTRA_PATHS_FILES, ExtraFolder, ExtraPaths, read_base_paths, read_extra_folders
from .frontend import WebFiles, installed_page
from .host import StandaloneHost

__all__ = [
    "EXTRA_PATHS_FILES",
    "ExtraFolder",
    "ExtraPaths",
    "StandaloneHost",
    "WebFiles",
    "installed_page",
    "read_base_paths",
    "read_extra_folders",
]
