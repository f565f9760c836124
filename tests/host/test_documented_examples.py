"""The examples in the docs are run, against a server with the sample library; their answers are compared.

A fenced block whose info string is ``sh example``, ``python example`` or ``ts example`` is run, those of a page one
after the other as a reader would: Python in one session, shell commands with the variables of the answers before,
TypeScript as a module beside the official SDK. A block ``json answer`` or ``text answer`` after it shows what it
prints: members that are not shown are not compared, ``…`` stands for anything, and a text ``$NAME`` for a value that
later commands of the page have as ``$NAME``.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.cli.serve import make_sample_library
from support.typescript import find_sdk

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SERVER = "127.0.0.1:8188"  # as the docs have it
FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
NEEDED = {"sh": ("sh", "curl"), "python": (), "ts": ("node",)}


@dataclass(frozen=True)
class Example:
    """A block that is run, and the block that shows what it prints, if there is one."""

    place: str
    code: str
    line: int
    answer: str | None = None
    answer_kind: str = ""


def examples(page: Path, language: str) -> list[Example]:
    """A page's examples in a language. Raises AssertionError for an answer that nothing precedes."""
    found: list[Example] = []
    mine = False
    text = page.read_text(encoding="utf-8")
    for block in FENCE.finditer(text):
        kind, _, role = block["info"].partition(" ")
        line = text.count("\n", 0, block.start("text")) + 1
        if role == "example":
            mine = kind == language
            if mine:
                found.append(Example(f"{page.name}:{line}", block["text"], line))
        elif role == "answer" and mine:
            last = found.pop()
            assert last.answer is None, f"{last.place} has two answers"
            found.append(Example(last.place, last.code, last.line, block["text"], kind))
    return found


class Differs(AssertionError):
    """What an example prints is not what the docs show."""


def compare(shown: Any, found: Any, variables: dict[str, str], at: str = "") -> None:
    """Hold an answer against what is shown of it; fills in the variables. Raises Differs."""
    if isinstance(shown, dict) and isinstance(found, dict):
        for name, value in shown.items():
            if name not in found:
                raise Differs(f"{at}: no {name} among {', '.join(found)}")
            compare(value, found[name], variables, f"{at}.{name}")
    elif isinstance(shown, list) and isinstance(found, list):
        if len(shown) > len(found):
            raise Differs(f"{at}: {len(shown)} items are shown, there are {len(found)}")
        for index, value in enumerate(shown):
            compare(value, found[index], variables, f"{at}[{index}]")
    elif isinstance(shown, str) and (name := re.fullmatch(r"\$([A-Z_]+)", shown)):
        if variables.setdefault(name[1], str(found)) != str(found):
            raise Differs(f"{at}: {shown} is {variables[name[1]]} by now, and here it is {found}")
    elif not (_alike(shown, found) if isinstance(shown, str) else shown == found and type(shown) is type(found)):
        raise Differs(f"{at}: {shown!r} is shown, {found!r} was found")


def _alike(shown: str, found: object) -> bool:
    if shown == "…":
        return True
    pattern = ".*".join(re.escape(part) for part in shown.split("…"))
    return isinstance(found, str) and re.fullmatch(pattern, found, re.DOTALL) is not None


def check(example: Example, printed: str, variables: dict[str, str]) -> None:
    """Compare what was printed with what is shown. Raises Differs."""
    if example.answer is None:
        return
    try:
        if example.answer_kind == "json":
            compare(json.loads(example.answer), json.loads(printed), variables)
        else:
            compare(example.answer.splitlines(), printed.splitlines(), variables)
    except (Differs, ValueError) as error:
        raise Differs(f"{example.place}: {error}\nprinted: {printed[:2000]}") from error


@dataclass(frozen=True)
class Reader:
    """Somebody who types in the examples of a page, in ComfyUI's folder."""

    server: Any

    def type_in(self, page: Path, language: str) -> int:
        """Run the examples of the page; answers how many there are."""
        variables: dict[str, str] = {}
        session: dict[str, Any] = {"__name__": "examples"}
        found = examples(page, language)
        for example in found:
            code = example.code.replace(SERVER, f"127.0.0.1:{self.server.port}")
            if language == "sh":
                printed = self._sh(example, code, variables)
            else:
                printed = self._python(example, code, session) if language == "python" else self._ts(example, code)
            check(example, printed, variables)
        return len(found)

    def _sh(self, example: Example, code: str, variables: dict[str, str]) -> str:
        run = subprocess.run(
            ["sh", "-euc", code],
            env={**os.environ, **variables},
            cwd=self.server.base,
            capture_output=True,
            encoding="utf-8",
            timeout=30,
        )
        assert run.returncode == 0, f"{example.place}: {run.returncode} {run.stdout}{run.stderr}"
        return run.stdout

    def _ts(self, example: Example, code: str) -> str:
        """Run as a module beside the official SDK; the examples have no types, so that every Node.js reads them."""
        sdk = find_sdk()
        if isinstance(sdk, str):
            pytest.skip(sdk)
        with tempfile.NamedTemporaryFile("w", suffix=".mjs", dir=sdk.folder, encoding="utf-8", delete=False) as module:
            module.write(code)
        try:
            run = subprocess.run(
                [sdk.node, module.name], cwd=self.server.base, capture_output=True, encoding="utf-8", timeout=60
            )
        finally:
            Path(module.name).unlink()
        assert run.returncode == 0, f"{example.place}: {run.returncode} {run.stdout}{run.stderr}"
        return run.stdout

    def _python(self, example: Example, code: str, session: dict[str, Any]) -> str:
        """Run in this process: a failure's traceback shows the line of the page."""
        program = compile("\n" * (example.line - 1) + code, example.place, "exec")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(program, session)
        return printed.getvalue()


@pytest.fixture(scope="module")
def server(start: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server whose library is the sample that the first run makes, all read."""
    base = tmp_path_factory.mktemp("base")
    make_sample_library(base)
    with start(base) as running:
        running.wait_until_read()
        yield running


WITH_EXAMPLES = [(page, language) for page in PAGES for language in NEEDED if examples(page, language)]


@pytest.mark.parametrize(
    ("page", "language"), WITH_EXAMPLES, ids=[f"{page.stem}-{language}" for page, language in WITH_EXAMPLES]
)
def test_examples_work(page: Path, language: str, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for tool in NEEDED[language]:
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    monkeypatch.chdir(server.base)
    monkeypatch.setenv("COMFY_BASE_URL", "")  # what examples set is gone afterwards
    assert Reader(server).type_in(page, language) > 0


def test_every_request_shown_is_run() -> None:
    """Whoever shows a request to the server shows one that is run; files of proxies may name it."""
    shown = [
        f"{page.name}: {block['text'].splitlines()[0]}"
        for page in PAGES
        for block in FENCE.finditer(page.read_text(encoding="utf-8"))
        if SERVER in block["text"] and not block["info"].endswith((" example", " answer", "caddyfile", "nginx"))
    ]
    assert shown == []


@pytest.mark.parametrize(
    ("shown", "found", "difference"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, None),
        ({"a": 1}, {"a": 2}, ".a: 1 is shown, 2 was found"),
        ({"a": 1}, {"a": True}, ".a: 1 is shown, True was found"),
        ({"a": 1}, {"b": 1}, ": no a among b"),
        ([1], [1, 2], None),
        ([1, 2], [1], ": 2 items are shown, there are 1"),
        (["x"], ["y"], "[0]: 'x' is shown, 'y' was found"),
        ("…", 5, None),
        ("blake3:…", "blake3:09ab", None),
        ("blake3:…", "sha256:09ab", ": 'blake3:…' is shown, 'sha256:09ab' was found"),
        (["$ID", "$ID"], ["1", "1"], None),
        (["$ID", "$ID"], ["1", "2"], "[1]: $ID is 1 by now, and here it is 2"),
        ({"a": []}, {"a": {}}, ".a: [] is shown, {} was found"),
    ],
)
def test_what_is_shown_is_compared(shown: Any, found: Any, difference: str | None) -> None:
    if difference is None:
        compare(shown, found, {})
        return
    with pytest.raises(Differs) as caught:
        compare(shown, found, {})
    assert str(caught.value) == difference
