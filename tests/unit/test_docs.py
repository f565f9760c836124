"""The docs say what there is: settings, commands, files, tests and tools, in both directions."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets import cli
from comfy_assets_node.comfy_assets.config import Config

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it where Python does not

sys.path.append(str(Path(__file__).resolve().parent))
from docs_pages import CONTRIBUTING, FENCE, PAGES, ROOT, Page, page, quoted, read_from_the_environment, sources

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
# Options that are named and are not ours: ComfyUI's.
OPTIONS_OF_OTHERS = {
    "--cpu", "--disable-assets", "--enable-asset-hashing", "--enable-assets", "--enable-cors-header",
    "--enable-manager",
    "--feature-flag", "--listen", "--max-upload-size", "--output-directory", "--reverse-proxy", "--set-xauthrequest",
    "--user-directory",
}  # fmt: skip
ENVIRONMENT = re.compile(r"\b((?:COMFY[A-Z]*|PANEL)_[A-Z_]+)\b")


class TestSettings:
    """docs/configuration.md beside config.py."""

    TABLE = {next(iter(quoted(row[0]))): row for row in page("docs/configuration.md").table("variable")}

    VALUES = {"COMFY_ASSETS_TRUSTED_PROXIES": "127.0.0.1", "COMFY_ASSETS_PROXY_NEW_USERS": "guest"}

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
        if default == "auto":
            assert Config.from_environment({name: default}) == Config() != Config.from_environment({name: "0"})
            return
        if default == "none":
            other = self.VALUES.get(name, "a.example")
            assert Config.from_environment({name: ""}) == Config() != Config.from_environment({name: other})
            return
        if default.startswith("`"):
            assert Config.from_environment({name: default.strip("`")}) == Config()
            return
        assert default in ("no limit", "the server's own limit")
        seven, none = Config.from_environment({name: "7"}), Config()
        (field,) = (each for each in none.__dataclass_fields__ if getattr(seven, each) != getattr(none, each))
        assert getattr(none, field) is None

    def test_numbers_are_whole_and_at_least_one(self) -> None:
        numbers = {name for name in self.TABLE if self.accepts(name, "2") and not self.accepts(name, "x")}
        assert len(numbers) > 10
        assert {name for name in numbers if self.accepts(name, "1.5") or not self.accepts(name, "1")} == set()
        assert {name for name in numbers if self.accepts(name, "0")} == {"COMFY_ASSETS_THUMBNAIL_CACHE_MB"}

    @staticmethod
    def accepts(name: str, value: str) -> bool:
        try:
            Config.from_environment({name: value})
        except ValueError:
            return False
        return True

    def test_each_that_another_page_names_is_one(self) -> None:
        known = self.TABLE.keys() | read_from_the_environment("tests")
        for each in PAGES:
            for name in re.findall(r"COMFY_ASSETS_[A-Z_]+(?!…)\b", each.text):
                assert name in known or f"{name}…" in each.text, (each.name, name)


def test_variables_of_the_system_that_are_read_are_told_of() -> None:
    assert {
        name
        for name in read_from_the_environment("comfy_assets", "routes")
        if all(name not in each.text for each in PAGES)
    } == set()


def test_variables_of_the_tests_are_told_of_and_none_else() -> None:
    set_by_tests = {"COMFY_ASSETS_MAX_UPLOAD_MB", "COMFY_ASSETS_SCAN", "SDK_TEST_GATES"}
    read = read_from_the_environment("tests") - set_by_tests
    told = {name for span in (*CONTRIBUTING.code, *CONTRIBUTING.lines_of_code) for name in ENVIRONMENT.findall(span)}
    assert told == read


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
    COMMON = {"--base-directory", "--verbose"}  # every command's, told of beside the table
    GENERAL = {option for action in PARSER._actions for option in action.option_strings} - {"-h"}

    def test_the_table_has_each_command_with_its_options(self) -> None:
        table = {}
        for command, _, options in page("docs/command-line.md").table("command"):
            words = re.match(r"`([a-z ]+[a-z])", command)
            assert words is not None, command
            table[words[1]] = {span.split()[0] for span in quoted(options)}
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
                options = {word for word in words if word.startswith("--")} - {"--"}
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
        named = {name for each in PAGES for span in each.code for name in re.findall(r"\b\d{4}_\w+\.sql", span)}
        assert named <= there

    def test_tests_that_are_named_are_there(self) -> None:
        named = {span for each in PAGES for span in each.code if re.fullmatch(r"test_\w+", span)}
        assert len(named) > 20
        tests = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
        assert {name for name in named if f"def {name}(" not in tests} == set()

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
        assert {name for name in folders if f"`{name}`" not in CONTRIBUTING.text} == set()
        scripts = {
            path.name if path.name != "__main__.py" else path.parent.name
            for path in (ROOT / "tests/benchmarks").rglob("*.py")
            if (path.name == "__main__.py" or "__main__" in path.read_text(encoding="utf-8"))
            and not path.stem.endswith("_child")
        }
        listed = {next(iter(quoted(row[0]))) for row in CONTRIBUTING.table("script")}
        assert listed == scripts
