"""The docs say what servers answer: paths, parameters, codes of errors, events, messages, in both directions."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import comfy_assets_node
import pytest
from comfy_assets_node.comfy_assets.errors import ApiError
from comfy_assets_node.comfy_assets.host.standalone import StandaloneHost
from comfy_assets_node.routes import HOST_OPERATIONS, ROUTES, openapi, prompts, v2

sys.path.append(str(Path(__file__).resolve().parent))
from docs_pages import CONTRIBUTING, FENCE, PAGES, ROOT, page, quoted, read_from_the_environment, sources
from support.sources import parsed

DOCUMENT = openapi.document(ROUTES, HOST_OPERATIONS)
V2_DOCUMENT: Any = v2.document(v2.ROUTES)
PATHS: dict[str, Any] = {**DOCUMENT["paths"], **V2_DOCUMENT["paths"]}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
CODE = r"[A-Z]+(?:_[A-Z]+)+|[A-Z]{8,}"  # what a code of an error looks like


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Every path that a server with the project answers, and by which methods."""
    found: dict[str, set[str]] = defaultdict(set)
    for path, item in PATHS.items():
        found[path] |= {method.upper() for method in item}
    for route in StandaloneHost(tmp_path_factory.mktemp("base")).application().router.routes():
        if route.resource is not None:
            found[route.resource.canonical].add(route.method)
    return found


class TestRoutes:
    """Paths in the docs beside the document, which has the route table in it, and the routes of the standalone host."""

    MENTION = re.compile(rf"^(?:(?P<method>{'|'.join(METHODS)}) )?(?P<path>/(?!api$)[^\s?#]*)(?:\?(?P<query>\S*))?$")

    OTHERS = frozenset({"/api/agent"})  # paths of applications that are neither of them

    def mentions(self) -> Iterator[tuple[str, str, re.Match[str]]]:
        for each in PAGES:
            for span in each.code:
                if (match := self.MENTION.match(span)) and match["path"].rstrip("…") not in self.OTHERS:
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
        every = [(route.method, route.path) for route in (*ROUTES, *v2.ROUTES)]
        missing = [f"{method} {path}" for method, path in every if (method, shape(path)) not in named]
        assert missing == []


def test_sizes_of_pages_are_those_of_the_document() -> None:
    sizes: dict[str, tuple[str, str, set[str]]] = {}
    for path, item in PATHS.items():
        each = {parameter["name"]: parameter for parameter in item.get("get", {}).get("parameters", ())}
        if "limit" in each:
            schema = each["limit"]["schema"]
            following = {"after", "offset", "cursor"} & each.keys()
            sizes[path] = (f"{schema['maximum']:,}", f"{schema['default']:,}", following)
    rows = page("docs/api.md").table("list")
    assert {next(iter(quoted(path))): (most, default, quoted(by)) for path, most, default, by in rows} == sizes


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
    for each, item in PATHS.items():
        if shape(each) == shape(path) and method.lower() in item:
            found |= {p["name"] for p in item[method.lower()].get("parameters", ()) if p["in"] == "query"}
    return found


def every_error() -> Iterator[type[ApiError]]:
    """The classes of all errors, wherever they are."""
    for module in pkgutil.walk_packages(comfy_assets_node.__path__, "comfy_assets_node."):
        if not module.name.endswith("__main__") and ".host.comfyui" not in module.name:  # which needs ComfyUI
            importlib.import_module(module.name)
    waiting: list[type[ApiError]] = [ApiError]
    while waiting:
        yield (found := waiting.pop())
        waiting += found.__subclasses__()


class TestErrors:
    """docs/errors.md beside the classes of errors, the words in the routes, and the document."""

    TABLE = {next(iter(quoted(row[0]))): row for row in page("docs/errors.md").table("code")}
    CLASSES = list(every_error())

    def test_every_code_is_in_the_table_and_no_other(self) -> None:
        codes = {error.code for error in self.CLASSES}
        for path in (*(ROOT / "routes").glob("*.py"), ROOT / "comfy_assets/host/standalone/http.py"):
            for node in ast.walk(parsed(path)):
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
        own = {error.code for error in self.CLASSES if error is not ApiError}
        said |= own & {code.upper() for code in re.findall(r"`([a-z]+(?:_[a-z]+)+)`", str(V2_DOCUMENT["paths"]))}
        text = page("docs/errors.md").text
        paragraph = next(part for part in text.split("\n\n") if part.startswith("The document says"))
        assert quoted(paragraph) & self.TABLE.keys() == self.TABLE.keys() - said

    def test_every_code_that_a_page_names_is_one(self) -> None:
        others = read_from_the_environment("comfy_assets", "tests") | {"COMFY_API_KEY", "COMFY_BASE_URL"}  # of the SDKs
        others |= {word for command in page("docs/command-line.md").table("command") for word in command[0].split()}
        for each in PAGES:
            for span in each.code if each != CONTRIBUTING else ():
                if re.fullmatch(CODE, span) and not span.startswith("COMFY_ASSETS_"):
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
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def test_messages_that_are_quoted_are_those_of_the_code() -> None:
    texts = re.sub(r"%[sd]", "\0", texts_in_the_code())
    count = 0
    for message in re.findall(r'"([^"\n]*)"', page("docs/troubleshooting.md").prose):
        for part in message.split("…"):
            assert part.strip() in texts, message
        count += 1
    assert count > 10


def test_events_are_told_of_and_no_others() -> None:
    emitted = {
        node.args[0].value
        for path in sources("comfy_assets", "routes")
        if not path.is_relative_to(ROOT / "comfy_assets/host")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "emit"
        if isinstance(node.args[0], ast.Constant)
    }
    assert {next(iter(quoted(row[0]))) for row in page("docs/tasks.md").table("event")} == emitted
