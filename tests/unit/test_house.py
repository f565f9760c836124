"""The rules of the house: who may import whom, and what the packaging files say of the checkout."""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Container, Iterator
from functools import cache
from pathlib import Path

import pytest
from support.sources import parsed

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it where Python does not

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "comfy_assets"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def sources() -> Iterator[Path]:
    """Every module that is installed."""
    yield ROOT / "__init__.py"
    yield ROOT / "__main__.py"
    yield from sorted(CORE.rglob("*.py"))
    yield from sorted((ROOT / "routes").rglob("*.py"))


@cache
def imports(path: Path) -> tuple[str, ...]:
    """The modules a file imports: relative ones as ``comfy_assets.db.files``, others as written."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[str]:
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = (*base, *(node.module or "").split(".")) if node.module else base
            yield ".".join(module)
            yield from (".".join((*module, alias.name)) for alias in node.names)


def module(path: Path) -> str:
    """The dotted name of a file below the root."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


# Which modules may import a third-party package or an inner layer.
ALLOWED = [
    ("aiohttp", ("comfy_assets.host", "routes")),
    ("aiosqlite", ("comfy_assets.db",)),
    ("torch", ("comfy_assets.host",)),
    ("server", ("comfy_assets.host.comfyui",)),
    ("folder_paths", ("comfy_assets.host.comfyui",)),
    ("routes", ("routes", "comfy_assets.plugin")),
    ("comfy_assets.plugin", ("comfy_assets.cli", "comfy_assets.plugin", "")),
    ("comfy_assets.app", ("routes", "comfy_assets.cli", "comfy_assets.plugin", "comfy_assets.app")),
    ("comfy_assets.composition", ("comfy_assets.app",)),
    ("comfy_assets.host.comfyui", ("comfy_assets.plugin",)),
    ("comfy_assets.host.standalone", ("comfy_assets.cli", "comfy_assets.host.standalone")),
]
# Inner layers know nothing of outer ones.
FORBIDDEN = [
    (
        "comfy_assets.db",
        (
            "comfy_assets.assets",
            "comfy_assets.background",
            "comfy_assets.downloads",
            "comfy_assets.host",
            "comfy_assets.workflows",
        ),
    ),
    (
        "comfy_assets.fs",
        (
            "comfy_assets.assets",
            "comfy_assets.background",
            "comfy_assets.db",
            "comfy_assets.downloads",
            "comfy_assets.host",
            "comfy_assets.jobs",
            "comfy_assets.workflows",
        ),
    ),
    ("comfy_assets.jobs", ("comfy_assets.downloads", "comfy_assets.workflows")),
    ("comfy_assets.assets", ("comfy_assets.downloads", "comfy_assets.workflows")),
    ("comfy_assets.downloads", ("comfy_assets.jobs", "comfy_assets.workflows")),
    (
        "comfy_assets.background",
        (
            "comfy_assets.assets",
            "comfy_assets.downloads",
            "comfy_assets.host",
            "comfy_assets.jobs",
            "comfy_assets.workflows",
        ),
    ),
    ("comfy_assets.models", ("comfy_assets.db", "comfy_assets.assets", "comfy_assets.host")),
    ("comfy_assets.errors", ("comfy_assets.",)),
    (
        "comfy_assets.host",
        ("comfy_assets.db", "comfy_assets.assets", "comfy_assets.background", "comfy_assets.downloads"),
    ),
    ("routes", ("comfy_assets.db",)),
]


def within(name: str, prefix: str) -> bool:
    """Whether a module is the one named or lies in it."""
    return name == prefix or name.startswith(prefix.rstrip(".") + ".")


@pytest.mark.parametrize(("imported", "importers"), ALLOWED)
def test_only_these_import_it(imported: str, importers: tuple[str, ...]) -> None:
    offenders = [
        module(path)
        for path in sources()
        if any(within(name, imported) for name in imports(path))
        and not any(within(module(path), allowed) or module(path) == allowed for allowed in importers)
        and module(path) != "__init__"
    ]
    assert offenders == []


@pytest.mark.parametrize(("layer", "outer"), FORBIDDEN)
def test_layers_do_not_import_outwards(layer: str, outer: tuple[str, ...]) -> None:
    offenders = [
        (module(path), name)
        for path in sources()
        if within(module(path), layer)
        for name in imports(path)
        if any(within(name, other) for other in outer)
    ]
    assert offenders == []


def test_class_names_are_unique() -> None:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for path in sources():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ClassDef):
                found[node.name].append(module(path))
    assert {name: modules for name, modules in found.items() if len(modules) > 1} == {}


def test_no_modules_import_each_other() -> None:
    """No cycle of imports, however long. Imports for the type checker alone are not executed and do not count."""
    paths = {module(path): path for path in sources()}
    graph = {name: executed_imports(path, paths) - {name} for name, path in paths.items()}
    while leaves := {name for name, imported in graph.items() if not imported & graph.keys()}:
        graph = {name: imported for name, imported in graph.items() if name not in leaves}
    assert sorted(graph) == []


def executed_imports(path: Path, modules: Container[str]) -> set[str]:
    """The modules of the project that are imported when a file is."""
    found: set[str] = set()
    package = path.relative_to(ROOT).parent.parts
    for node in parsed(path).body:
        if isinstance(node, ast.ImportFrom) and node.level:
            base = (*package[: len(package) - node.level + 1], *(node.module or "").split("."))
            target = ".".join(part for part in base if part)
            inner = {f"{target}.{alias.name}" for alias in node.names}
            found |= {name for name in inner if name in modules} or {target}
    return found


def test_every_package_is_installed() -> None:
    on_disk = {
        "comfy_assets_node" + "".join(f".{part}" for part in path.parent.relative_to(ROOT).parts) for path in sources()
    }
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == on_disk


def test_requirements_are_the_dependencies() -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").split()
    assert lines == PROJECT["project"]["dependencies"]
    assert not any(re.match(r"torch|.*[<=]=|.*<", line) for line in lines), "nothing is pinned, nothing pulls torch"


def test_no_requirement_replaces_a_package_that_comfyui_accepts() -> None:
    """The lowest versions in the requirements of the oldest supported ComfyUI; it accepts any Pillow."""
    accepted = {"aiohttp": (3, 11, 8), "numpy": (1, 25, 0), "Pillow": (9, 4)}
    lowest = dict(line.split(">=") for line in PROJECT["project"]["dependencies"])
    for name, version in accepted.items():
        assert tuple(map(int, lowest[name].split("."))) <= version, name


def test_the_version_is_stated_once() -> None:
    text = (CORE / "__init__.py").read_text(encoding="utf-8")
    assert f'VERSION = "{PROJECT["project"]["version"]}"' in text


def test_imports_are_relative() -> None:
    """ComfyUI imports the pack under a name made from its path, so no module may name the package."""
    offenders = [module(p) for p in sources() if any(within(n, "comfy_assets_node") for n in imports(p))]
    assert offenders == []


def test_no_posix_only_module_is_imported() -> None:
    posix_only = {"fcntl", "grp", "pwd", "resource", "termios", "posix"}
    found = [module(p) for p in sources() if posix_only & set(imports(p))]
    assert found == ["comfy_assets.fs.atomic"]  # on macOS alone


# Windows refuses these calls while another program has the file open; fs/shared_files repeats them for a moment. Those
# of fs/atomic are for other systems, and the temporary folder of the standalone host is emptied at the next start too.
_REFUSED_WHILE_OPEN = {"unlink", "rmtree", "rename", "replace"}
_MAY_BE_REFUSED = {"fs/shared_files.py", "fs/atomic.py", "host/standalone/folders.py"}
_NO_PATHS = {"shared_files", "files", "folder", "msgspec.structs", "dataclasses"}


def _is_change_of_file(call: ast.Call) -> bool:
    if not isinstance(call.func, ast.Attribute) or call.func.attr not in _REFUSED_WHILE_OPEN:
        return False
    if call.func.attr in ("unlink", "rmtree"):
        return True
    owner = ast.unparse(call.func.value)
    has_one_argument = len(call.args) == 1 and not call.keywords  # ``str.replace`` has two
    return has_one_argument and owner not in _NO_PATHS and not owner.startswith("self._")


def test_files_are_changed_where_open_ones_are_considered() -> None:
    found = [
        f"{path.relative_to(CORE)}:{node.lineno} {ast.unparse(node)[:60]}"
        for path in sorted(CORE.rglob("*.py"))
        if path.relative_to(CORE).as_posix() not in _MAY_BE_REFUSED
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and _is_change_of_file(node)
    ]
    assert found == []
