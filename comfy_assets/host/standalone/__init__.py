"""Our own small server: the core API of ComfyUI without ComfyUI.

It speaks the API, not the diffusion. Prompts are validated, queued, executed and reported as ComfyUI does it,
but the only nodes are a handful that load, make, change and save images; there is no torch, no sampler and no
model loading. It exists to try the project on any machine, to develop clients, and to test.
"""

from .frontend import WebFiles, installed_page
from .host import StandaloneHost

__all__ = ["StandaloneHost", "WebFiles", "installed_page"]
