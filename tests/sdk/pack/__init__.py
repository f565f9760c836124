"""The nodes of the tests, as a pack of ComfyUI."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.utils
import folder_paths
from PIL import Image

from . import work

_check = comfy.model_management.throw_exception_if_processing_interrupted


class _Output:
    RETURN_TYPES = ()
    FUNCTION = "execute"
    OUTPUT_NODE = True
    CATEGORY = "tests"


class Work(_Output):
    """Takes some steps, then waits for its gate."""

    @classmethod
    def INPUT_TYPES(cls) -> Any:
        return work.WORK_INPUTS

    def execute(self, steps: int, gate: str, preview: bool, deaf: bool, word: str, image: Any = None) -> dict[str, Any]:
        bar = comfy.utils.ProgressBar(steps)

        def report(step: int, total: int) -> None:
            picture = ("JPEG", Image.new("RGB", (32, 32), (step % 256, 0, 0)), 64) if preview else None
            try:
                bar.update_absolute(step, total, picture)
            except comfy.model_management.InterruptProcessingException:  # ComfyUI looks for interrupts here, too
                if not deaf:
                    raise
                comfy.model_management.interrupt_current_processing()  # as it was

        work.work(report, _check, steps=steps, gate=gate, deaf=deaf)
        return {"ui": {}}


class Fail(_Output):
    """Raises an error."""

    @classmethod
    def INPUT_TYPES(cls) -> Any:
        return work.FAIL_INPUTS

    def execute(self, message: str) -> dict[str, Any]:
        raise ValueError(message)


class WriteFile(_Output):
    """Writes an output of a kind."""

    @classmethod
    def INPUT_TYPES(cls) -> Any:
        return work.FILE_INPUTS

    def execute(self, kind: str, word: str) -> dict[str, Any]:
        return {"ui": work.write_file(Path(folder_paths.get_output_directory()), kind, word)}


class Echo(_Output):
    """Displays what it was given."""

    @classmethod
    def INPUT_TYPES(cls) -> Any:
        return work.ECHO_INPUTS

    @classmethod
    def VALIDATE_INPUTS(cls, input_types: Any) -> bool:
        return True

    def execute(self, value: Any) -> dict[str, Any]:
        return {"ui": work.echo(value)}


class Partner(_Output):
    """Displays a digest of the key that it was given."""

    @classmethod
    def INPUT_TYPES(cls) -> Any:
        return {"required": {}, "hidden": {"key": "API_KEY_COMFY_ORG"}}

    @classmethod
    def IS_CHANGED(cls, **_: Any) -> float:
        return time.time()

    def execute(self, key: str | None = None) -> dict[str, Any]:
        return {"ui": work.fingerprint(key)}


NODE_CLASS_MAPPINGS = {
    "SdkWork": Work,
    "SdkFail": Fail,
    "SdkFile": WriteFile,
    "SdkEcho": Echo,
    "SdkPartner": Partner,
}
