"""The docs say what the code does: settings, routes, commands, error codes, messages and files, in both directions."""

from __future__ import annotations

import argparse
import ast
import importlib
import pkgutil
import re
import shlex
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import comfy_assets_node
import pytest
from comfy_assets_node.comfy_assets import cli
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.errors import ApiError
from comfy_assets_node.comfy_assets.host.standalone import StandaloneHost
from comfy_assets_node.routes import ROUTES, openapi, prompts

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it where Python does not

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
DOCUMENT = openapi.document(ROUTES)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
# Options that are named and are not ours: ComfyUI's, and those of the tools that contributors use.
OPTIONS_OF_OTHERS = {
    "--cpu", "--enable-asset-hashing", "--enable-assets", "--enable-cors-header", "--listen", "--max-upload-size",
    "--output-directory",
}  # fmt: skip
FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
CODE = r"[A-Z]+(?:_[A-Z]+)+|[A-Z]{8,}"  # what a code of an error looks like


@dataclass(frozen=True)
class Page:
    """A page of the docs."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def prose(self) -> str:
        """Without its blocks of code."""
        return FENCE.sub("", self.text)

    @cached_property
    def code(self) -> list[str]:
        """What stands between backticks in its prose, on one line each."""
        return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", self.prose)]

    @cached_property
    def lines_of_code(self) -> list[str]:
        """The lines of its blocks of shell commands, those that go on in the next one joined."""
        blocks = [block["text"] for block in FENCE.finditer(self.text) if block["info"].split(" ")[0] in ("sh", "")]
        return [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]

    def table(self, heading: str) -> list[list[str]]:
        """The rows of the table whose first column has this heading."""
        body = re.search(rf"^\| {re.escape(heading)} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", self.text, re.MULTILINE)
        assert body is not None, f"{self.name} has no table of {heading}"
        return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in body[1].splitlines()]


def page(name: str) -> Page:
    return Page(ROOT / name)


PAGES = [page(name) for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += [Page(path) for path in sorted((ROOT / "docs").glob("*.md"))]
CONTRIBUTING = page("CONTRIBUTING.md")
EVERYTHING = "\n".join(each.text for each in PAGES)
ALL_CODE = {span for each in PAGES for span in each.code}


def sources(*folders: str) -> Iterator[Path]:
    """The Python files in these folders of the checkout."""
    yield ROOT / "__init__.py"
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def of_project(name: str) -> set[str]:
    """The words of a cell or line that stand between backticks."""
    return set(re.findall(r"`([^`]+)`", name))


class TestSettings:
    """docs/configuration.md beside config.py."""

    TABLE = {next(iter(of_project(row[0]))): row for row in page("docs/configuration.md").table("variable")}

    class Asked(dict[str, str]):
        """An environment that knows what it was asked for."""

        def __init__(self) -> None:
            super().__init__()
            self.names: set[str] = set()

        def get(self, name: str, default: Any = None) -> Any:
            self.names.add(name)
            return default

    def test_each_that_is_read_is_in_the_table_and_no_other(self) -> None:
        asked = self.Asked()
        assert Config.from_environment(asked) == Config()
        assert self.TABLE.keys() == asked.names

    def test_no_other_is_read_anywhere(self) -> None:
        named = {
            name
            for path in [*sources("comfy_assets", "routes"), *(ROOT / "web").rglob("*js")]
            for name in re.findall(r"COMFY_ASSETS_[A-Z_]+", path.read_text(encoding="utf-8"))
        }
        assert named == self.TABLE.keys()

    @pytest.mark.parametrize("name", TABLE)
    def test_its_default_is_the_true_one(self, name: str) -> None:
        default = self.TABLE[name][1]
        if default.isdecimal():
            assert Config.from_environment({name: default}) == Config()
            return
        assert default in ("no limit", "the server's own limit")
        seven, none = Config.from_environment({name: "7"}), Config()
        (field,) = (each for each in none.__dataclass_fields__ if getattr(seven, each) != getattr(none, each))
        assert getattr(none, field) is None

    def test_each_that_another_page_names_is_one(self) -> None:
        known = self.TABLE.keys() | read_from_the_environment("tests")
        for each in PAGES:
            for name in re.findall(r"COMFY_ASSETS_[A-Z_]+(?!…)\b", each.text):
                assert name in known or f"{name}…" in each.text, (each.name, name)


def read_from_the_environment(*folders: str) -> set[str]:
    """The variables that the Python files in these folders read by name."""
    pattern = re.compile(r"""environ(?:\.get\(|\[)\s*["']([A-Z_]+)""")
    return {name for path in sources(*folders) for name in pattern.findall(path.read_text(encoding="utf-8"))}


def test_variables_of_the_system_that_are_read_are_told_of() -> None:
    assert {name for name in read_from_the_environment("comfy_assets", "routes") if name not in EVERYTHING} == set()


def test_variables_of_the_tests_are_told_of_and_none_else() -> None:
    read = read_from_the_environment("tests") - {"COMFY_ASSETS_SCAN"}  # which a benchmark sets
    told = {name for span in (*CONTRIBUTING.code, *CONTRIBUTING.lines_of_code) for name in ENVIRONMENT.findall(span)}
    assert told == read


ENVIRONMENT = re.compile(r"\b((?:COMFYUI|COMFY_ASSETS|PANEL)_[A-Z_]+)\b")


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Every path that a server with the project answers, and by which methods."""
    found: dict[str, set[str]] = defaultdict(set)
    for path, item in DOCUMENT["paths"].items():
        found[path] |= {method.upper() for method in item}
    for route in StandaloneHost(tmp_path_factory.mktemp("base")).application().router.routes():
        if route.resource is not None:
            found[route.resource.canonical].add(route.method)
    return found


class TestRoutes:
    """Paths in the docs beside the document, which has the route table in it, and the routes of the standalone host."""

    MENTION = re.compile(rf"^(?:(?P<method>{'|'.join(METHODS)}) )?(?P<path>/(?!api$)[^\s?#]*)(?:\?(?P<query>\S*))?$")

    def mentions(self) -> Iterator[tuple[str, str, re.Match[str]]]:
        for each in PAGES:
            for span in each.code:
                if match := self.MENTION.match(span):
                    yield each.name, span, match

    def test_every_path_named_is_one(self, known: dict[str, set[str]]) -> None:
        count = 0
        for place, span, match in self.mentions():
            methods = answered(match["path"], known)
            assert methods, f"{place}: nothing is at {span}"
            assert match["method"] in {None, *methods}, f"{place}: {span}, which has {methods}"
            count += 1
        assert count > 80

    def test_every_parameter_named_is_one(self) -> None:
        for place, span, match in self.mentions():
            wanted = {part.partition("=")[0] for part in (match["query"] or "").split("&") if part}
            if wanted and match["path"].startswith("/api/"):
                assert wanted <= parameters(match["method"] or "GET", match["path"]), f"{place}: {span}"

    def test_every_operation_of_ours_is_named(self) -> None:
        named = {(method, shape(path)) for _, span, _ in self.mentions() for method, path in requests(span)}
        for each in PAGES:
            for methods, last, path in re.findall(r"((?:`[A-Z]+`(?:, | and ))+)`([A-Z]+) (/[^`]*)`", each.prose):
                named |= {(method, shape(path)) for method in (*re.findall(r"[A-Z]+", methods), last)}
            named |= {request for block in FENCE.finditer(each.text) for request in in_block(block["text"])}
        missing = [f"{route.method} {route.path}" for route in ROUTES if (route.method, shape(route.path)) not in named]
        assert missing == []


def shape(path: str) -> str:
    """A path with a star for each part that varies."""
    return re.sub(r"\{[^}]*\}+|\$[A-Z]+", "*", path.partition("?")[0])


def requests(span: str) -> Iterator[tuple[str, str]]:
    """The method, GET unless there is one, and path of a span of code."""
    match = TestRoutes.MENTION.match(span)
    if match is not None:
        yield match["method"] or "GET", match["path"]


def in_block(text: str) -> Iterator[tuple[str, str]]:
    """The requests that a block of examples makes with curl or with its function for that."""
    for method, path in re.findall(r"""call\(\s*"([A-Z]+)", f?"([^"]+)\"""", text):
        yield method, shape(path)
    for command in re.split(r"\bcurl ", text.replace("\\\n", " "))[1:]:
        if (url := re.search(r"http://[\w.:]+(/[^\s'\"]*)", command)) is not None:
            method = re.search(r"-X (\w+)", command)
            has_body = re.search(r" -(?:d|F) ", command) and " -G " not in command
            head = "HEAD" if "--head" in command else "GET"
            yield method[1] if method else "POST" if has_body else head, shape(url[1])


def answered(path: str, known: Mapping[str, set[str]]) -> set[str]:
    """The methods of what is at a path; ``…`` at its end stands for anything, ``{…}`` for a part that varies."""
    pattern = re.escape(shape(path).rstrip("…")).replace(r"\*", r"[^/]+") + (".*" if path.endswith("…") else "")
    found: set[str] = set()
    for each, methods in known.items():
        if re.fullmatch(pattern, each) or re.fullmatch(re.sub(r"\\\{.*?\\\}", "[^/]+", re.escape(each)), path):
            found |= methods
    return found


def parameters(method: str, path: str) -> set[str]:
    """The names that a query may have."""
    found: set[str] = set()
    for each, item in DOCUMENT["paths"].items():
        if shape(each) == shape(path) and method.lower() in item:
            found |= {p["name"] for p in item[method.lower()].get("parameters", ()) if p["in"] == "query"}
    return found


def commands(parser: argparse.ArgumentParser, above: str = "") -> Iterator[tuple[str, set[str]]]:
    """Each command that does something, by its words, and its options but --help."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not groups:
        yield above, {option for action in parser._actions for option in action.option_strings} - {"-h", "--help"}
    for group in groups:
        for name, each in group.choices.items():
            yield from commands(each, f"{above} {name}".strip())


class TestCommandLine:
    """docs/command-line.md beside the parser."""

    PARSER = cli._parser()
    COMMANDS = dict(commands(PARSER))
    COMMON = {"--base-directory"}  # every command's, told of above the table
    GENERAL = {option for action in PARSER._actions for option in action.option_strings} - {"-h"}

    def test_the_table_has_each_command_with_its_options(self) -> None:
        table = {}
        for command, _, options in page("docs/command-line.md").table("command"):
            words = re.match(r"`([a-z ]+[a-z])", command)
            assert words is not None, command
            table[words[1]] = {span.split()[0] for span in of_project(options)}
        assert table == {name: options - self.COMMON for name, options in self.COMMANDS.items()}
        assert all(options >= self.COMMON for options in self.COMMANDS.values())

    def test_general_options_are_told_of(self) -> None:
        assert {option for option in self.GENERAL if option not in page("docs/command-line.md").text} == set()

    def lines(self) -> Iterator[tuple[str, str]]:
        """What of the docs is a command of ours, after its name."""
        for each in PAGES:
            for text in (*each.code, *each.lines_of_code):
                for command in text.split("&&"):
                    if command.strip().startswith("comfy-assets "):
                        yield each.name, command.strip().removeprefix("comfy-assets ")
            for span in each.code:
                if span.split()[0] in {name.split()[0] for name in self.COMMANDS} and len(span.split()) > 1:
                    yield each.name, span

    def test_every_command_shown_is_one_and_has_these_options(self) -> None:
        count = 0
        for place, line in self.lines():
            if line.startswith("--") or line.startswith("COMMAND"):
                assert set(re.findall(r"--[a-z-]+", line)) <= self.GENERAL | self.COMMON, (place, line)
                continue
            words = shlex.split(re.sub(r"[\[\]]", "", line), comments=True)
            known = [name for name in self.COMMANDS if words[: len(name.split())] == name.split()]
            is_group = any(name.split()[0] == words[0] for name in self.COMMANDS) and len(words) == 1
            assert known or is_group, f"{place}: comfy-assets {line}"
            if known:
                options = {word for word in words if word.startswith("--")}
                assert options <= self.COMMANDS[known[0]] | {"--help"}, f"{place}: comfy-assets {line}"
            count += 1
        assert count > 30

    def test_every_option_named_alone_is_one(self) -> None:
        ours = self.GENERAL.union(*self.COMMANDS.values()) | OPTIONS_OF_OTHERS
        tools = "\n".join(path.read_text(encoding="utf-8") for path in sources("tests"))
        for each in PAGES:
            for span in each.code:
                if option := re.match(r"--[a-z-]+", span):
                    known = option[0] in ours or (each == CONTRIBUTING and f'"{option[0]}"' in tools)
                    assert known, f"{each.name}: {span}"


def every_error() -> Iterator[type[ApiError]]:
    """The classes of all errors, wherever they are."""
    for module in pkgutil.walk_packages(comfy_assets_node.__path__, "comfy_assets_node."):
        if not module.name.endswith("__main__") and ".tests" not in module.name and ".comfyui" not in module.name:
            importlib.import_module(module.name)
    waiting: list[type[ApiError]] = [ApiError]
    while waiting:
        yield (found := waiting.pop())
        waiting += found.__subclasses__()


class TestErrors:
    """docs/errors.md beside the classes of errors, the words in the routes, and the document."""

    TABLE = {next(iter(of_project(row[0]))): row for row in page("docs/errors.md").table("code")}
    CLASSES = list(every_error())

    def test_every_code_is_in_the_table_and_no_other(self) -> None:
        codes = {error.code for error in self.CLASSES}
        for path in (*(ROOT / "routes").glob("*.py"), ROOT / "comfy_assets/host/standalone/answers.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(CODE, node.value):
                    codes.add(node.value)
        assert self.TABLE.keys() == codes

    def test_its_statuses_are_those_of_the_classes_and_of_the_document(self) -> None:
        statuses: dict[str, set[int]] = defaultdict(set)
        for error in self.CLASSES:
            statuses[error.code].add(error.status)
        for item in DOCUMENT["paths"].values():
            for operation in item.values():
                for status, answer in operation["responses"].items():
                    for code in re.findall(rf"`({CODE})`", answer["description"]):
                        statuses[code].add(int(status))
        told = {code: {int(status) for status in re.findall(r"\d{3}", row[1])} for code, row in self.TABLE.items()}
        assert {code: told[code] for code in statuses} == statuses

    def test_each_is_said_of_an_operation_in_the_document(self) -> None:
        """The others are told of on the page as those of operations that the host answers."""
        said = set(re.findall(rf"`({CODE})`", str(DOCUMENT["paths"])))
        text = page("docs/errors.md").text
        paragraph = next(part for part in text.split("\n\n") if part.startswith("The document says"))
        assert of_project(paragraph) & self.TABLE.keys() == self.TABLE.keys() - said

    def test_every_code_that_a_page_names_is_one(self) -> None:
        others = TestSettings.TABLE.keys() | read_from_the_environment("comfy_assets", "tests")
        others |= {word for command in page("docs/command-line.md").table("command") for word in command[0].split()}
        for each in PAGES:
            for span in each.code if each != CONTRIBUTING else ():
                if re.fullmatch(CODE, span):
                    assert span in self.TABLE or span in others, f"{each.name}: {span}"
            for status, code in re.findall(rf"\b([45]\d\d) `({CODE})`", each.text):
                assert status in self.TABLE[code][1], f"{each.name}: {status} {code}"

    def test_types_of_refused_references_are_told_of(self) -> None:
        types = {kind for kind, _ in prompts._FAULTS.values()}
        for name in ("docs/errors.md", "docs/portability.md"):
            assert {span for span in page(name).code if span.startswith("asset_")} == types


def texts_in_the_code() -> str:
    """Every text in the code, those that are put together from parts with the parts apart."""
    return "\0".join(
        node.value
        for path in sources("comfy_assets", "routes")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def test_messages_that_are_quoted_are_those_of_the_code() -> None:
    texts = re.sub(r"%[sd]", "\0", texts_in_the_code())
    count = 0
    for quoted in re.findall(r'"([^"\n]*)"', FENCE.sub("", page("docs/troubleshooting.md").text)):
        for part in quoted.split("…"):
            assert part.strip() in texts, quoted
        count += 1
    assert count > 10


def test_events_are_told_of_and_no_others() -> None:
    emitted = {
        node.args[0].value
        for path in sources("comfy_assets", "routes")
        if not path.is_relative_to(ROOT / "comfy_assets/host")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "emit"
        if isinstance(node.args[0], ast.Constant)
    }
    assert {next(iter(of_project(row[0]))) for row in page("docs/tasks.md").table("event")} == emitted


class TestHouse:
    """The architecture, and the tools, beside what there is."""

    ARCHITECTURE = page("docs/architecture.md")

    def test_everything_has_its_place(self) -> None:
        packages = [path.parent for path in (ROOT / "comfy_assets").rglob("__init__.py")]
        packages.remove(ROOT / "comfy_assets")
        modules = [path for path in (ROOT / "comfy_assets").glob("*.py") if path.name != "__init__.py"]
        folders = [ROOT / name for name in ("routes", "routes/openapi", "web", "locales", "tests")]
        wanted = {path.relative_to(ROOT).as_posix() for path in (*packages, *modules, *folders)}
        assert {name for name in wanted if f"`{name}`" not in self.ARCHITECTURE.text} == set()

    def test_code_that_is_shown_is_the_code(self) -> None:
        count = 0
        for block in FENCE.finditer(self.ARCHITECTURE.text):
            _, _, name = block["info"].partition(" ")
            assert block["text"] in (ROOT / name).read_text(encoding="utf-8"), name
            count += 1
        assert count > 0

    @pytest.mark.parametrize("each", PAGES, ids=lambda each: each.name)
    def test_files_that_are_named_are_there(self, each: Page) -> None:
        folders = "|".join(
            re.escape(path.name) for path in ROOT.iterdir() if path.is_dir() and path.name[0] not in "._"
        )
        pattern = re.compile(rf"(?:^|[\s=])((?:{folders}|\.ci)/[\w./-]*)")
        for text in (*each.code, *each.lines_of_code):
            for name in pattern.findall(text):
                if not name.startswith(("models/", "input/", "output/")):
                    assert (ROOT / name.rstrip(".")).exists(), f"{each.name}: {text}"

    def test_migrations_that_are_named_are_there(self) -> None:
        there = {path.name for path in (ROOT / "comfy_assets/db/migrations").glob("*.sql")}
        named = {name for span in ALL_CODE for name in re.findall(r"\b\d{4}_\w+\.sql", span)}
        assert named <= there

    def test_extras_are_named_and_no_others(self) -> None:
        named = {
            extra
            for each in PAGES
            for text in (*each.code, *each.lines_of_code)
            for group in re.findall(r"(?:^|\.)\[([a-z,]+)\]", text)
            for extra in group.split(",")
        }
        assert named == PROJECT["project"]["optional-dependencies"].keys()

    def test_markers_are_named_and_no_others(self) -> None:
        markers = {line.partition(":")[0] for line in PROJECT["tool"]["pytest"]["ini_options"]["markers"]}
        text = "\n".join((*CONTRIBUTING.code, *CONTRIBUTING.lines_of_code))
        assert set(re.findall(r"-m (\w+)", text)) - {"pip", "venv"} == markers

    def test_every_folder_of_tests_and_every_benchmark_is_told_of(self) -> None:
        folders = {
            f"tests/{path.name}" for path in (ROOT / "tests").iterdir() if path.is_dir() and "_" not in path.name
        }
        scripts = {
            path.name
            for path in (ROOT / "tests/benchmarks").glob("*.py")
            if "__main__" in path.read_text(encoding="utf-8")
        }
        assert {name for name in folders | scripts if name not in CONTRIBUTING.text} == set()
