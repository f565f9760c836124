"""A child process: ``comfy-assets serve`` from the checkout, with the nodes of the tests."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).resolve().parent
sys.path += [str(_FOLDER.parent / "fault"), str(_FOLDER / "pack")]
import work  # noqa: E402
from checkout import load  # noqa: E402
from PIL import Image  # noqa: E402

load()
from comfy_assets_node.comfy_assets.cli import main, store  # noqa: E402
from comfy_assets_node.comfy_assets.host.standalone import StandaloneHost  # noqa: E402
from comfy_assets_node.comfy_assets.host.standalone.nodes import InputTypes, Node, Result, Run  # noqa: E402


class Work(Node):
    """Takes some steps, then waits for its gate."""

    output_node = True

    def input_types(self) -> InputTypes:
        return work.WORK_INPUTS

    def execute(self, run: Run, **inputs: Any) -> Result:
        def report(step: int, total: int) -> None:
            run.report(step, total)
            if inputs["preview"]:
                run.preview(Image.new("RGB", (32, 32), (step % 256, 0, 0)))

        work.work(report, run.check, steps=inputs["steps"], gate=inputs["gate"], deaf=inputs["deaf"])
        return Result()


class Fail(Node):
    """Raises an error."""

    output_node = True

    def input_types(self) -> InputTypes:
        return work.FAIL_INPUTS

    def execute(self, run: Run, **inputs: Any) -> Result:
        raise ValueError(inputs["message"])


class WriteFile(Node):
    """Writes an output of a kind."""

    output_node = True

    def input_types(self) -> InputTypes:
        return work.FILE_INPUTS

    def execute(self, run: Run, **inputs: Any) -> Result:
        return Result(ui=work.write_file(Path(self.folders.output), inputs["kind"], inputs["word"]))


class Echo(Node):
    """Displays what it was given."""

    output_node = True

    def input_types(self) -> InputTypes:
        return work.ECHO_INPUTS

    def execute(self, run: Run, **inputs: Any) -> Result:
        return Result(ui=work.echo(inputs["value"]))


class Partner(Node):
    """Displays a digest of the key that it was given."""

    output_node = True

    def input_types(self) -> InputTypes:
        return {"required": {}, "hidden": {"key": "API_KEY_COMFY_ORG"}}

    def fingerprint(self, literals: Mapping[str, Any]) -> str:
        return secrets.token_hex()

    def execute(self, run: Run, **inputs: Any) -> Result:
        return Result(ui=work.fingerprint(run.extra_data.get("api_key_comfy_org")))


class HostWithNodes(StandaloneHost):
    """The standalone host with the nodes of the tests."""

    def __init__(self, base_directory: Path, **options: Any) -> None:
        super().__init__(base_directory, **options)
        for class_type, node in (
            ("SdkWork", Work),
            ("SdkFail", Fail),
            ("SdkFile", WriteFile),
            ("SdkEcho", Echo),
            ("SdkPartner", Partner),
        ):
            self.nodes.register(class_type, node)


if __name__ == "__main__":
    store.StandaloneHost = HostWithNodes  # type: ignore[misc]
    sys.exit(main(sys.argv[1:]))
