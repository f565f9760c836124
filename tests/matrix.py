"""The compatibility matrix: ``python tests/matrix.py [--python PYTHON] [--output FILE] CHECKOUT…``.

Every operation is asked for on the standalone host and on each ComfyUI checkout named: with each status that is
documented (``test_every_status.py``), and with made-up requests whose answers are held against the project's own
document (``test_whole_surface.py``). Prints operations x servers as a Markdown table, and what failed; ends with 1
when something did. ``PYTHON`` is one that ComfyUI runs with.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import conftest  # noqa: F401  (it loads the checkout as the package)
from comfy_assets_node.routes import HOST_OPERATIONS, ROUTES, openapi

ROOT = Path(__file__).resolve().parent.parent
SUITE = ("tests/host/test_every_status.py", "tests/host/test_whole_surface.py", "tests/host/test_stock_operations.py")
STANDALONE = "standalone"


@dataclass
class Outcome:
    """How an operation has fared on a server: how many requests, or kinds of them, and which went wrong."""

    passed: int = 0
    failed: list[str] = field(default_factory=list)

    def cell(self) -> str:
        """What the table shows."""
        if self.failed:
            return f"✗ {len(self.failed)} of {self.passed + len(self.failed)}"
        return f"✓ {self.passed}" if self.passed else "–"


@dataclass(frozen=True)
class MatrixServer:
    """A server to run the suite against; without a checkout the standalone host."""

    name: str
    checkout: Path | None

    def run(self, python: str, document: Path, report: Path) -> None:
        """Run the suite; the report tells what became of each test."""
        environment = {**os.environ, "COMFY_ASSETS_DOCUMENT": str(document)}
        environment.pop("COMFYUI_PATH", None)
        if self.checkout is not None:
            environment |= {"COMFYUI_PATH": str(self.checkout), "COMFYUI_PYTHON": python}
        marks = "comfyui" if self.checkout is not None else "not comfyui"
        options = ["-q", "--runxfail", "-p", "no:cacheprovider", "-m", marks, f"--junitxml={report}"]
        command = [sys.executable, "-m", "pytest", *options, *SUITE]
        subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, check=False)


def version_of(checkout: Path) -> str:
    """What a ComfyUI calls itself, or else its folder's name."""
    file = checkout / "comfyui_version.py"
    match = re.search(r'"([^"]+)"', file.read_text(encoding="utf-8")) if file.is_file() else None
    return match[1] if match else checkout.name


def outcomes(report: Path, operations: Iterable[str]) -> dict[str, Outcome]:
    """The tests of a report by the operation that their parameters name; those of none are under ""."""
    found = {name: Outcome() for name in (*operations, "")}
    for case in ElementTree.parse(report).iter("testcase"):
        name = case.get("name", "")
        operation = next((part for part in re.split(r"[\[\]-]", name) if part in found), "")
        if case.find("skipped") is not None:
            continue
        if case.find("failure") is None and case.find("error") is None:
            found[operation].passed += 1
        else:
            found[operation].failed.append(name)
    return found


def table(servers: list[str], results: Mapping[str, Mapping[str, Outcome]], operations: Iterable[str]) -> str:
    """Operations x servers in Markdown."""
    names = list(operations)
    lines = [f"| operation | {' | '.join(servers)} |", "|---" * (len(servers) + 1) + "|"]
    lines += [f"| `{name}` | {' | '.join(results[server][name].cell() for server in servers)} |" for name in names]
    conform = [sum(bool(results[s][n].passed and not results[s][n].failed) for n in names) for s in servers]
    lines.append(f"| **conform** | {' | '.join(f'**{count} of {len(names)}**' for count in conform)} |")
    return "\n".join(lines)


def main() -> int:
    """Run the suite against every server, one after the other."""
    parser = argparse.ArgumentParser(description="Which operations work on which servers.")
    parser.add_argument("checkouts", nargs="*", type=Path, help="folders of ComfyUI")
    parser.add_argument("--python", default=sys.executable, help="the Python that ComfyUI runs with")
    parser.add_argument("--output", type=Path, help="a file to write the table to as well")
    options = parser.parse_args()
    servers = [
        MatrixServer(STANDALONE, None),
        *(MatrixServer(version_of(path), path.resolve()) for path in options.checkouts),
    ]
    document = openapi.document(ROUTES, HOST_OPERATIONS)
    operations = sorted(each["operationId"] for item in document["paths"].values() for each in item.values())
    results: dict[str, dict[str, Outcome]] = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "openapi.json"
        file.write_text(json.dumps(document), encoding="utf-8")
        for server in servers:
            report = Path(folder) / "report.xml"
            server.run(options.python, file, report)
            results[server.name] = outcomes(report, operations)
            print(f"{server.name}: done", file=sys.stderr)
    text = table([server.name for server in servers], results, operations)
    print(text)
    if options.output is not None:
        options.output.write_text(text + "\n", encoding="utf-8")
    failed = [(server, name) for server, found in results.items() for each in found.values() for name in each.failed]
    for server_name, name in failed:
        print(f"{server_name}: {name}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
