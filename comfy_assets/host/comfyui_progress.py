"""Progress, cached nodes and previews in the messages that ComfyUI sends to pages.

The messages pass ``send_sync`` on the thread that executes prompts, whether a page is connected or not. Only those of
a known shape are reported; anything else is the server's own business.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .execution import NodePreview, ProgressListeners

# Numbers of binary messages (``BinaryEventTypes`` of ComfyUI's protocol.py), which are part of its protocol. The first
# is sent to pages that do not understand the second, and says neither the prompt nor the node.
_PREVIEW, _PREVIEW_OF_NODE = 2, 4
_PROGRESS, _CACHED = "progress_state", "execution_cached"


class ProgressMessages:
    """Reports the progress in messages to ``listeners``. ``server`` is the ``PromptServer``."""

    def __init__(self, server: Any) -> None:
        self.listeners = ProgressListeners()
        self._server = server
        self._readers = {
            _PROGRESS: self._read_progress,
            _CACHED: self._read_cached,
            _PREVIEW: self._read_preview,
            _PREVIEW_OF_NODE: self._read_preview_of_node,
        }

    def read(self, event: Any, data: Any) -> None:
        """Report a message, if it is about progress."""
        try:
            reader = self._readers.get(event)
        except TypeError:  # packs may send events that cannot be keys
            return
        if reader is not None:
            reader(data)

    def _read_progress(self, data: Any) -> None:
        if isinstance(data, Mapping) and isinstance(data.get("nodes"), Mapping):
            self.listeners.progressed(str(data.get("prompt_id")), data["nodes"])

    def _read_cached(self, data: Any) -> None:
        if isinstance(data, Mapping) and isinstance(data.get("nodes"), (list, tuple)):
            self.listeners.cached(str(data.get("prompt_id")), list(map(str, data["nodes"])))

    def _read_preview(self, data: Any) -> None:
        prompt_id = getattr(self._server, "last_prompt_id", None)
        node_id = getattr(self._server, "last_node_id", None)
        if prompt_id is not None:
            self._report_picture(str(prompt_id), "" if node_id is None else str(node_id), data)

    def _read_preview_of_node(self, data: Any) -> None:
        if not isinstance(data, (list, tuple)) or len(data) != 2 or not isinstance(data[1], Mapping):
            return
        picture, about = data
        node_id = about.get("display_node_id") or about.get("node_id") or ""
        self._report_picture(str(about.get("prompt_id")), str(node_id), picture)

    def _report_picture(self, prompt_id: str, node_id: str, data: Any) -> None:
        """Report a picture, which is (format, image of Pillow, largest edge or None)."""
        if not isinstance(data, (list, tuple)) or len(data) < 2 or not hasattr(data[1], "save"):
            return
        edge = data[2] if len(data) > 2 and isinstance(data[2], int) else None
        self.listeners.previewed(prompt_id, NodePreview(node_id, data[1], edge))
