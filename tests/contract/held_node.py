"""A node for tests of the standalone host that is executed until it is released or interrupted."""

from __future__ import annotations

import time
from typing import Any

from comfy_assets_node.comfy_assets.host.standalone.nodes import InputTypes, Node, Result, Run


class Hold(Node):
    """Waits until it is interrupted, or the input folder holds a file named ``release``."""

    returns = ("IMAGE",)

    def input_types(self) -> InputTypes:
        return {"required": {"image": ("IMAGE",)}}

    def execute(self, run: Run, **inputs: Any) -> Result:
        deadline = time.monotonic() + 20
        while not (self.folders.input / "release").exists():
            run.progress(1, 2)
            time.sleep(0.005)
            assert time.monotonic() < deadline, "nobody released the node"
        return Result((inputs["image"],))
