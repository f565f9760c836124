"""What commands print: tables, progress, errors in words, help with examples, and pipes that are closed."""

from __future__ import annotations

import argparse
import errno
import io
import os
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets import cli
from comfy_assets_node.comfy_assets.cli import output
from comfy_assets_node.comfy_assets.cli.output import Column, in_words, print_table, progress_line

CHILD = Path(__file__).resolve().parents[1] / "host/standalone_child.py"
COLUMNS = (Column("TIME"), Column("SIZE", True), Column("NAME"))
ROWS = [("now", "5 B", "[bold]a[/bold]"), ("yesterday", "12 MB", "b\x1b[31m"), ("", "", "ü" * 30)]


class Terminal(io.StringIO):
    """Standard output of a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def printed(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO) -> str:
    monkeypatch.setattr(sys, "stdout", stream)
    print_table(COLUMNS, ROWS)
    return stream.getvalue()


def test_a_plain_table(monkeypatch: pytest.MonkeyPatch) -> None:
    assert printed(monkeypatch, io.StringIO()).splitlines() == [
        "TIME        SIZE  NAME",
        "now          5 B  [bold]a[/bold]",
        "yesterday  12 MB  b\\x1b[31m",
        f"                  {'ü' * 30}",
    ]


def test_a_table_on_a_terminal_has_the_same_content(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    plain = printed(monkeypatch, io.StringIO()).split()
    drawn = printed(monkeypatch, Terminal())
    assert drawn.replace("\x1b[1m", "").replace("\x1b[0m", "").split() == plain
    assert "\x1b[1m" in drawn  # bold heads: it was drawn with rich


def test_a_terminal_without_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert printed(monkeypatch, Terminal()) == printed(monkeypatch, io.StringIO())


@pytest.mark.parametrize(
    ("status", "line"),
    [
        ({"phase": "idle", "scanned": 300}, ""),
        ({"phase": "listing", "scanned": 1300}, "Listing: 1,300 files"),
        ({"phase": "hashing", "total": 300}, "Reading"),  # before anything was counted
        (
            {"phase": "hashing", "hashed": 0, "total": 300, "bytes_hashed": 0, "bytes_total": 900},
            f"Reading [{'.' * 24}]   0% 0/300 files, 0 MB/s",
        ),
        (
            {
                "phase": "hashing",
                "hashed": 1,
                "unreadable": 1,
                "total": 4,
                "bytes_hashed": 5_000_000,
                "bytes_total": 10_000_000,
                "bytes_per_second": 1_000_000,
                "paused": True,
            },
            f"Reading [{'#' * 12}{'.' * 12}]  50% 2/4 files, 1 MB/s, 5 s left (paused: a prompt is running)",
        ),
        (  # all bytes were read, but not all files are recorded
            {"phase": "hashing", "hashed": 299, "total": 300, "bytes_hashed": 900, "bytes_total": 900},
            f"Reading [{'#' * 23}.]  99% 299/300 files, 0 MB/s",
        ),
        (  # files grew meanwhile
            {"phase": "hashing", "hashed": 300, "total": 300, "bytes_hashed": 990, "bytes_total": 900},
            f"Reading [{'#' * 24}] 100% 300/300 files, 0 MB/s",
        ),
    ],
)
def test_progress(status: dict[str, Any], line: str) -> None:
    assert progress_line(status) == line


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "x.zip"), "x.zip does not exist"),
        (PermissionError(errno.EACCES, "Permission denied", "x.zip"), "x.zip cannot be opened: permission denied"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "out"), "out is a folder, not a file"),
        (OSError(errno.ENOSPC, "No space left on device", "a"), "a cannot be written: its disk is full"),
        (OSError(errno.EMFILE, "Too many open files", "a"), "a: too many open files"),
        (OSError(errno.EMFILE, "Too many open files"), "too many open files"),
        (OSError("the folder is gone"), "the folder is gone"),
        (ValueError("of our own"), "of our own"),
        (sqlite3.OperationalError("disk I/O error"), "the library's store cannot be used: disk I/O error"),
    ],
)
def test_errors_in_words(error: BaseException, words: str) -> None:
    assert in_words(error) == words


def test_errors_of_files_on_the_command_line(base: Any, tmp_path: Path) -> None:
    base.scanned()
    absent, broken = tmp_path / "absent.zip", tmp_path / "broken.zip"
    broken.write_bytes(b"PK\3\4 and so on")
    assert base.run("import", str(absent)).err == f"comfy-assets: {absent} does not exist\n"
    assert base.run("import", str(broken)).err.endswith("it is no zip archive, or not a complete one\n")
    assert base.run("duplicates", "--undo", str(absent), "--yes").err == f"comfy-assets: {absent} does not exist\n"
    assert base.run("scan", "--extra-model-paths-config", str(absent)).err == f"comfy-assets: {absent} does not exist\n"


def parsers(parser: argparse.ArgumentParser, *above: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every parser by its words: groups and commands."""
    yield " ".join(above), parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield from parsers(below, *above, name)


@pytest.mark.parametrize(("words", "parser"), list(parsers(cli._parser())), ids=lambda each: str(each)[:30])
def test_every_help_has_examples_that_can_be_run(words: str, parser: argparse.ArgumentParser) -> None:
    text = parser.format_help()
    _, found, examples = text.partition("\nexamples:\n")
    assert found, words
    for line in examples.splitlines():
        command = shlex.split(line, comments=True)
        assert command[0] == "comfy-assets" and line.startswith(f"  comfy-assets {words}".rstrip()), line
        if ">" in command:
            command = command[: command.index(">")]
        cli._parser().parse_args(command[1:])  # raises SystemExit if it is refused


@pytest.mark.parametrize(
    "arguments",
    [
        ["--verbose", "jobs", "list", "--base-directory", "BASE"],
        ["--base-directory", "BASE", "jobs", "list", "--verbose"],
        ["jobs", "--base-directory", "BASE", "--verbose", "list"],
    ],
)
def test_general_options_stand_before_and_after_the_command(arguments: list[str]) -> None:
    options = cli._parser().parse_args(arguments)
    assert (options.verbose, options.base_directory) == (True, Path("BASE"))
    options = cli._parser().parse_args(["jobs", "list"])
    assert (options.verbose, options.base_directory) == (False, None)


def run_into_closed_pipe(*arguments: str) -> tuple[int, str]:
    """Run the command as a process whose output nobody reads; return its status and what it complained of."""
    process = subprocess.Popen([sys.executable, CHILD, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    errors = process.stderr.read().decode()
    process.stderr.close()
    return process.wait(60), errors


def test_a_closed_pipe_is_no_error(base: Any) -> None:
    base.write("input/a.png", b"the same")
    base.write("output/b.png", b"the same")
    base.scanned()
    for command in (["assets", "list"], ["duplicates"], ["--help"]):
        options = [] if command == ["--help"] else ["--base-directory", str(base.path)]
        assert run_into_closed_pipe(*command, *options) == (141, ""), command


def test_every_command_stops_when_nobody_reads(base: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    base.write("input/a.png", b"a")
    base.scanned()

    class ClosedPipe(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    commands = (["status"], ["verify"], ["jobs", "list"], ["workflows", "list"], ["shares", "list"], ["trash", "list"])
    for command in commands:
        monkeypatch.setattr(sys, "stdout", ClosedPipe())
        assert cli.main([*command, "--base-directory", str(base.path)]) == 141, command


def test_a_full_disk_is_an_error(base: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    base.scanned()

    class FullDisk(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(sys, "stdout", FullDisk())
    assert cli.main(["status", "--base-directory", str(base.path)]) == 1
    assert "no space left" in base.capture.readouterr().err


@pytest.mark.parametrize(
    ("milliseconds", "expected"),
    [
        (-11_644_473_600_000, "1601-01-01T00:00:00Z"),  # an unset time of NTFS
        (-1_000, "1969-12-31T23:59:59Z"),
        (32_535_216_000_000, "3001-01-01T00:00:00Z"),
        (1 << 62, "9999-12-31T23:59:59Z"),
        (-(1 << 62), "0001-01-01T00:00:00Z"),
    ],
)
def test_times_that_windows_cannot_convert(monkeypatch: pytest.MonkeyPatch, milliseconds: int, expected: str) -> None:
    """Windows refuses times before 1970 and after 3000; a list with such a file is shown all the same."""

    class OfWindows(datetime):
        @classmethod
        def fromtimestamp(cls, *_: Any, **__: Any) -> Any:
            raise OSError(22, "Invalid argument")

        def astimezone(self, *_: Any) -> Any:
            raise OSError(22, "Invalid argument")

    monkeypatch.setattr(output, "datetime", OfWindows)
    monkeypatch.setattr(output, "_EPOCH", OfWindows(1970, 1, 1, tzinfo=timezone.utc))
    assert output.written_time(milliseconds) == expected
    assert output.local_time(milliseconds) == expected.replace("T", " ").replace("Z", "+00:00")


def test_times_have_the_zone_of_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    assert output.written_time(1_795_521_600_000) == "2026-11-24T12:00:00Z"
    local = output.local_time(1_795_521_600_000)
    assert local[10] == " " and local[-6] in "+-"
