"""The panel's files: what comes from strangers stays text, nothing needs a secure context, types are the API's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.routes import HOST_OPERATIONS, ROUTES, openapi

ROOT = Path(__file__).resolve().parents[2]
SOURCES = {
    path.relative_to(ROOT / "web").as_posix(): path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "web").rglob("*js"))
    if "vendor" not in path.parts  # programs of others, as they are published
}
CODE = "\n".join(SOURCES.values())
STYLES = {path.relative_to(ROOT / "web/panel").as_posix(): path for path in (ROOT / "web").rglob("*.css")}
# The interfaces of api.d.ts and the schemas of the API's document.
BODIES = {
    "Asset": "Asset",
    "AssetPage": "ListAssetsResponse",
    "ExecutionError": "ExecutionError",
    "Job": "JobEntry",
    "JobDetail": "JobDetailResponse",
    "JobPage": "JobsListResponse",
    "JobProgress": "JobProgress",
    "NodeProgress": "NodeProgress",
    "Publication": "WorkflowPublishInfo",
    "SeedStatus": "SeedStatus",
    "Workflow": "WorkflowResponse",
    "WorkflowContent": "WorkflowVersionContentResponse",
    "WorkflowVersion": "WorkflowVersionResponse",
}
SECURE_CONTEXT = (
    r"navigator\.(?:clipboard|serviceWorker|storage|share|canShare|locks|mediaDevices|wakeLock|credentials|geolocation"
    r"|usb|gpu|keyboard)\b|crypto\.(?:randomUUID|subtle)\b|show(?:Save|Open)FilePicker|showDirectoryPicker|\bcaches\."
    r"|cookieStore|SharedArrayBuffer|new Notification\(|PaymentRequest|EyeDropper|queryLocalFonts"
)


@pytest.mark.parametrize("name", SOURCES)
def test_no_markup_is_made_of_data(name: str) -> None:
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", SOURCES[name])


@pytest.mark.parametrize("name", SOURCES)
def test_nothing_needs_a_secure_context(name: str) -> None:
    """Most servers are opened by plain http from another machine, where browsers lack these interfaces."""
    used = set(re.findall(SECURE_CONTEXT, SOURCES[name]))
    assert used == ({"navigator.clipboard"} if name == "panel/shared/clipboard.mjs" else set())


@pytest.mark.parametrize("name", SOURCES)
def test_modules_are_small_and_say_what_they_are_for(name: str) -> None:
    text = SOURCES[name]
    assert text.startswith("/**") and len(text.splitlines()) <= 300 and "TODO" not in text


def test_every_import_leads_to_a_file() -> None:
    for name, text in SOURCES.items():
        for target in re.findall(r"""(?:from|import)\s*\(?\s*"(\.[^"]+)\"""", text):
            if not target.startswith("../../scripts/"):  # the page's own
                assert ((ROOT / "web" / name).parent / target).resolve().is_file(), (name, target)


def test_every_style_sheet_is_loaded() -> None:
    assert sorted(re.findall(r'"([\w/]+\.css)"', SOURCES["panel/shared/styles.mjs"])) == sorted(STYLES)


@pytest.mark.parametrize("name", STYLES)
def test_every_class_with_a_style_is_used(name: str) -> None:
    classes = set(re.findall(r"\.(ca-[a-z-]+)", STYLES[name].read_text(encoding="utf-8")))
    assert classes - set(re.findall(r"(?<!-)\bca-[a-z-]+", CODE)) == set()


@pytest.fixture(scope="module")
def schemas() -> Any:
    return openapi.document(ROUTES, HOST_OPERATIONS)["components"]["schemas"]


@pytest.mark.parametrize("name", BODIES)
def test_types_of_bodies_are_those_of_the_api(schemas: Any, name: str) -> None:
    """Members are documented, and only those that the server always sends are required."""
    text = (ROOT / "web/panel/api.d.ts").read_text(encoding="utf-8")
    interface = re.search(rf"^export interface {name}\b[^{{]*\{{\n(.*?)^\}}", text, re.MULTILINE | re.DOTALL)
    assert interface is not None
    members = dict(re.findall(r"^  (\w+)(\??):", interface[1], re.MULTILINE))
    schema = schemas[BODIES[name]]
    assert members and members.keys() <= schema["properties"].keys()
    assert {member for member, optional in members.items() if not optional} <= set(schema["required"])
