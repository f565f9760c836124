"""A server on a library of files as real tools write them: words, metadata, documents and previews of each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from support import real_files
from support.real_files import ITSELF, NONE, THUMBNAIL, UNREADABLE, RealFile
from support.servers import HttpServer, standalone

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows cannot store many of the names")


class Shelf:
    """The server, the files, and the assets by the paths of their files."""

    def __init__(self, server: HttpServer, files: list[RealFile]) -> None:
        self.server = server
        self.files = files
        listed = [asset for offset in (0, 500) for asset in self.page(f"offset={offset}")]
        self.assets = {asset["file_path"]: asset for asset in listed}

    def page(self, query: str) -> list[dict[str, Any]]:
        answer = self.server.get(f"/api/assets?limit=500&{query}")
        assert answer.status == 200, answer
        assets: list[dict[str, Any]] = answer.json["assets"]
        return assets

    def found(self, word: str) -> set[str]:
        """The paths of the files that a word finds."""
        return {asset["file_path"] for asset in self.page(f"q={quote(word)}")}

    def check(self, problem: Callable[[RealFile], str]) -> None:
        """Gather the problems of all files."""
        problems = [f"{file.path}: {text}" for file in self.files if (text := problem(file))]
        assert not problems, "\n".join(problems)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    base = tmp_path_factory.mktemp("real")
    files = real_files.real_files()
    sidecars = {path: data for path, (data, _, _) in real_files.sidecars().items()}
    for path, data in [*((file.path, file.data) for file in files), *sidecars.items(),
                       *real_files.owners_of_sidecars().items()]:  # fmt: skip
        write(base / path, data)
    with standalone(base) as server:
        server.wait_until_up()
        server.wait_until_read()
        yield Shelf(server, files)


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def test_every_file_is_listed(shelf: Shelf) -> None:
    assert len({file.path for file in shelf.files}) == len(shelf.files)
    assert len({file.data for file in shelf.files}) == len(shelf.files)
    assert {file.path for file in shelf.files} <= shelf.assets.keys()


def test_words(shelf: Shelf) -> None:
    def problem(file: RealFile) -> str:
        lost = [word for word in file.words if shelf.found(word) != {file.path}]
        return f"not found by {lost}" if lost else ""

    shelf.check(problem)


def test_facts(shelf: Shelf) -> None:
    def problem(file: RealFile) -> str:
        metadata = shelf.assets[file.path]["metadata"]
        wrong = {name: metadata.get(name) for name, value in file.facts.items() if metadata.get(name) != value}
        if file.problem not in metadata.get("error", ""):
            wrong["error"] = metadata.get("error")
        return str(wrong) if wrong else ""

    shelf.check(problem)


def test_documents(shelf: Shelf) -> None:
    def problem(file: RealFile) -> str:
        metadata = shelf.server.get(f"/api/assets/{shelf.assets[file.path]['id']}").json["metadata"]
        lost = [key for key in file.documents if not metadata.get(key)]
        return f"has no {lost}" if lost else ""

    shelf.check(problem)


def test_previews(shelf: Shelf) -> None:
    def problem(file: RealFile) -> str:
        url = shelf.assets[file.path].get("preview_url")
        if file.preview == NONE:
            return f"a preview: {url}" if url and "res=" in url else ""
        if not url:
            return "" if file.preview == UNREADABLE else "no preview"
        answer = shelf.server.get(url)
        kind = (answer.headers["Content-Type"] or "").partition(";")[0]
        if file.preview == UNREADABLE:
            return "" if answer.status == 400 or "res=" not in url else f"{answer.status} {kind}"
        shown = {THUMBNAIL: ("image/jpeg",), ITSELF: ("image/svg+xml",)}[file.preview]
        return "" if answer.status == 200 and kind in shown else f"{url}: {answer.status} {kind}"

    shelf.check(problem)


def test_sidecars_belong_to_their_files(shelf: Shelf) -> None:
    lost: dict[str, Any] = {}
    for path, (_, words, owner) in real_files.sidecars().items():
        for word in words:
            if owner not in (found := shelf.found(word)):
                lost[path] = found
    assert lost == {}
