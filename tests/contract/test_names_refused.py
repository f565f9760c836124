"""Names that lead elsewhere, in every operation that takes one: refused, and nothing is read or written."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import FormData
from comfy_assets_node.comfy_assets.names import WINDOWS
from comfy_assets_node.routes import (
    ROUTES,
    collections,
    history,
    jobs,
    login,
    login_users,
    oauth,
    queue,
    saved_searches,
)
from support.files import picture
from support.windows import symbolic_links
from yarl import URL

LEADING_OUT = [
    "..", ".", "../x.png", "..\\x.png", "a/../../x.png", "a\\..\\..\\x.png", "a/..", "./x.png", "/etc/passwd", "/x.png",
    "\\x.png", "\\\\server\\share\\x.png", "//server/share/x.png", "C:\\x.png", "c:x.png", "C:/x.png",
    "\\\\?\\C:\\x.png", "\\\\.\\pipe\\x", "x\0.png", "\0", "a/ .. /x.png",
]  # fmt: skip
# Stored under another name that no system has trouble with.
MADE_SAFE = [
    ("a/b.png", "a_b.png"),
    ("a\\b.png", "a_b.png"),
    ("con.png", "_con.png"),
    ("NUL", "_NUL"),
    ("COM1.txt.png", "_COM1.txt.png"),
    ("x\x07\x1f.png", "x__.png"),
    ('<>:"|?*.png', "_______.png"),
    ("dots...", "dots"),
    (" space .png ", "space.png"),
    ("..hidden.png", "hidden.png"),
    (".hidden", "hidden"),
    ("cafe\u0301.png", "café.png"),
    ("🎉.png", "🎉.png"),
    ("...", "file"),
    ("x.tmp", "x.tmp_"),
    ("Thumbs.db", "Thumbs.db_"),
    ("e" * 300 + ".png", "e" * 251 + ".png"),
    ("é" * 200 + ".png", "é" * 125 + ".png"),
    ("lpt9", "_lpt9"),
    ("a%20b.png", "a%20b.png"),
    ("Gr%C3%B6%C3%9Fe.png", "Größe.png"),
]


def upload(file_name: str, number: int, **fields: str) -> FormData:
    """A form whose file has this very name."""
    data = FormData(quote_fields=False)
    data.add_field("file", picture(number), filename=file_name)
    for key, value in fields.items():
        data.add_field(key, value)
    return data


@pytest.fixture
async def shelf(library: Any) -> Any:
    return await furnished(library)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_shelf(module_library: Any) -> Any:
    return await furnished(module_library)


async def furnished(library: Any) -> Any:
    library.write("output/there.png", picture(250))
    library.write("secret.png", picture(251))
    await library.scan()
    async with library.client.post("/api/workflows", json={"workflow_json": {}, "name": "there"}) as response:
        library.workflow = (await response.json())["id"]
    return library


def everything(base: Path) -> set[tuple[str, int]]:
    """The files below the base directory, and those beside it, with the time of each."""
    return {
        (str(path), path.stat().st_mtime_ns)
        for path in (*base.rglob("*"), *base.parent.glob("*"))
        if path.is_file() and not path.name.startswith("library.db")
    }


@dataclass(frozen=True)
class Taker:
    """A place in an operation that takes a name, path or id: how it is asked, and how it refuses."""

    operation: str
    method: str
    path: str
    status: int
    codes: frozenset[str]
    options: Callable[[str, dict[str, Any]], dict[str, Any]] = lambda name, asset: {}


def encoded(name: str) -> str:
    """The name as one segment of a path, dots too, which clients would follow."""
    return "".join(f"%{byte:02X}" for byte in name.encode())


SHOWING = frozenset({"viewFile", "getVhsQueryVideo"})
REFUSED = frozenset({"INVALID_NAME"})
NOT_THERE = frozenset({"ASSET_NOT_FOUND"})
TAGS = frozenset({"INVALID_TAGS"})
QUERY = frozenset({"INVALID_NAME", "INVALID_QUERY"})
ONE = "/api/assets/{name}"
WORKFLOW = "/api/workflows/{workflow}"
NO_WORKFLOW = frozenset({"WORKFLOW_NOT_FOUND"})
NO_EXPORT = frozenset({"EXPORT_NOT_FOUND"})
NO_SHARE = frozenset({"SHARE_NOT_FOUND"})
FILE = "/api/userdata/{name}/publish"
TAKERS = [
    Taker("createAsset", "POST", "/api/assets", 400, REFUSED, lambda n, a: {"data": upload("fine.png", 1, name=n)}),
    Taker(
        "createAsset", "POST", "/api/assets", 400, TAGS,
        lambda n, a: {"data": upload("fine.png", 1, tags=json.dumps(["models", n]))},
    ),
    Taker(
        "createAsset", "POST", "/api/assets", 400, REFUSED,
        lambda n, a: {"json": {"url": "https://a.example/x.png", "name": n}},
    ),
    Taker(
        "createAssetDownload", "POST", "/api/assets/download", 400, TAGS,
        lambda n, a: {"json": {"source_url": "https://a.example/x.bin", "tags": ["models", n]}},
    ),
    Taker(
        "createAsset", "POST", "/api/assets", 400, frozenset({"INVALID_ID"}),
        lambda n, a: {"data": upload("fine.png", 1, id=n)},
    ),
    Taker(
        "createAsset", "POST", "/api/assets", 400, frozenset({"INVALID_PREVIEW_ID"}),
        lambda n, a: {"data": upload("fine.png", 1, preview_id=n)},
    ),
    Taker(
        "createAssetFromHash", "POST", "/api/assets/from-hash", 400, REFUSED,
        lambda n, a: {"json": {"hash": a["hash"], "tags": ["x"], "name": n}},
    ),
    Taker(
        "createAssetFromHash", "POST", "/api/assets/from-hash", 400, frozenset({"INVALID_HASH"}),
        lambda n, a: {"json": {"hash": n, "tags": ["x"]}},
    ),
    Taker("updateAsset", "PUT", "/api/assets/{asset}", 400, REFUSED, lambda n, a: {"json": {"name": n}}),
    Taker(
        "updateAsset", "PUT", "/api/assets/{asset}", 400, frozenset({"INVALID_PREVIEW_ID"}),
        lambda n, a: {"json": {"preview_id": n}},
    ),
    Taker("updateAsset", "PUT", ONE, 404, NOT_THERE, lambda n, a: {"json": {"name": "fine"}}),
    Taker("getAssetById", "GET", ONE, 404, NOT_THERE),
    Taker("getAssetContent", "GET", ONE + "/content", 404, NOT_THERE),
    Taker("deleteAsset", "DELETE", ONE, 404, NOT_THERE),
    Taker("restoreAsset", "POST", ONE + "/restore", 404, NOT_THERE),
    Taker(
        "undoBatch", "POST", "/api/assets/batch/{name}/undo", 404, frozenset({"BATCH_NOT_FOUND"}),
        lambda n, a: {"json": {}},
    ),
    Taker("showAssetInFolder", "POST", ONE + "/show-in-folder", 404, NOT_THERE),
    Taker("listAssetUses", "GET", ONE + "/uses", 404, NOT_THERE),
    Taker("restoreTrashEntry", "POST", "/api/trash/{name}/restore", 404, NOT_THERE),
    Taker("deleteTrashEntry", "DELETE", "/api/trash/{name}", 404, NOT_THERE),
    Taker("getTrashThumbnail", "GET", "/api/trash/{name}/thumbnail", 404, NOT_THERE),
    Taker("addAssetTags", "POST", ONE + "/tags", 404, NOT_THERE, lambda n, a: {"json": {"tags": ["x"]}}),
    Taker("removeAssetTags", "DELETE", ONE + "/tags", 404, NOT_THERE, lambda n, a: {"json": {"tags": ["x"]}}),
    Taker(
        "getMaskLayers", "GET", "/api/files/mask-layers", 404, frozenset({"FILE_NOT_FOUND", "INVALID_QUERY"}),
        lambda n, a: {"params": {"filename": n}},
    ),
    Taker(
        "getVhsQueryVideo", "GET", "/api/vhs/queryvideo", 400, QUERY, lambda n, a: {"params": {"filename": n}},
    ),
    Taker(
        "getVhsQueryVideo", "GET", "/api/vhs/queryvideo", 400, QUERY,
        lambda n, a: {"params": {"filename": "x.mp4", "subfolder": n}},
    ),
    Taker("checkAssetByHash", "HEAD", "/api/assets/hash/{name}", 400, frozenset()),
    Taker(
        "seedAssets", "POST", "/api/assets/seed", 400, frozenset({"INVALID_BODY"}),
        lambda n, a: {"json": {"roots": [n]}},
    ),
    Taker(
        "seedAssets", "POST", "/api/assets/seed", 400, frozenset({"INVALID_BODY"}),
        lambda n, a: {"json": {"roots": [f"models/{n}"]}},
    ),
    Taker(
        "createWorkflow", "POST", "/api/workflows", 422, REFUSED,
        lambda n, a: {"json": {"workflow_json": {}, "name": n}},
    ),
    Taker("updateWorkflow", "PATCH", WORKFLOW, 422, REFUSED, lambda n, a: {"json": {"name": n}}),
    Taker(
        "forkWorkflow", "POST", WORKFLOW + "/fork", 422, REFUSED,
        lambda n, a: {"json": {"source_version": 1, "name": n}},
    ),
    Taker("getWorkflow", "GET", "/api/workflows/{name}", 404, NO_WORKFLOW),
    Taker("deleteWorkflow", "DELETE", "/api/workflows/{name}", 404, NO_WORKFLOW),
    Taker("restoreWorkflow", "POST", "/api/workflows/{name}/restore", 404, NO_WORKFLOW),
    Taker("getWorkflowContent", "GET", "/api/workflows/{name}/content", 404, NO_WORKFLOW),
    Taker("listWorkflowVersions", "GET", "/api/workflows/{name}/versions", 404, NO_WORKFLOW),
    Taker("listWorkflowRequirements", "GET", "/api/workflows/{name}/requirements", 404, NO_WORKFLOW),
    Taker(
        "exportWorkflow", "POST", "/api/workflows/{name}/export", 404, NO_WORKFLOW, lambda n, a: {"json": {}},
    ),
    Taker(
        "relinkWorkflow", "POST", "/api/workflows/{name}/relink", 404, NO_WORKFLOW,
        lambda n, a: {"json": {"base_version": 1, "links": [{"name": "x.png", "asset_id": "x"}]}},
    ),
    Taker(
        "createWorkflowVersion", "POST", "/api/workflows/{name}/versions", 404, NO_WORKFLOW,
        lambda n, a: {"json": {"base_version": 1, "workflow_json": {}}},
    ),
    Taker(
        "getWorkflowVersion", "GET", WORKFLOW + "/versions/{name}", 404, frozenset({"WORKFLOW_VERSION_NOT_FOUND"}),
    ),
    Taker("getUserdataFilePublish", "GET", FILE, 404, NO_WORKFLOW),
    Taker("postUserdataFilePublish", "POST", FILE, 404, NO_WORKFLOW, lambda n, a: {"json": {"asset_ids": []}}),
    Taker("deleteUserdataFilePublish", "DELETE", FILE, 404, NO_WORKFLOW),
    Taker(
        "getUserdataFilePublish", "GET", "/api/userdata/workflows%2F{name}/publish", 404, NO_WORKFLOW,
    ),
    Taker("getPublishedWorkflow", "GET", "/api/workflows/published/{name}", 404, NO_SHARE),
    Taker("getPublishedAssetContent", "GET", "/api/workflows/published/{name}/assets/x/content", 404, NO_SHARE),
    Taker(
        "importPublishedAssets", "POST", "/api/assets/import", 404, NO_SHARE,
        lambda n, a: {"json": {"share_id": n, "published_asset_ids": []}},
    ),
    Taker(
        "createAssetExport", "POST", "/api/assets/export", 400, frozenset({"INVALID_BODY"}),
        lambda n, a: {"json": {"asset_ids": [n]}},
    ),
    Taker("downloadExport", "GET", "/api/assets/exports/{name}", 404, NO_EXPORT),
    Taker("downloadExportContent", "GET", "/api/assets/exports/{name}/content", 404, NO_EXPORT),
    Taker("getGlobalSubgraph", "GET", "/api/global_subgraphs/{name}", 404, frozenset({"SUBGRAPH_NOT_FOUND"})),
    Taker("viewFile", "GET", "/api/view?res=64&filename={name}", 400, QUERY),
    Taker("viewFile", "GET", "/api/view?res=64&filename=there.png&subfolder={name}", 400, QUERY),
    Taker("viewFile", "GET", "/api/view?res=64&filename=there.png&type={name}", 400, QUERY),
]  # fmt: skip


@pytest.mark.parametrize("taker", TAKERS, ids=lambda taker: f"{taker.operation} {taker.path}")
@pytest.mark.asyncio(loop_scope="module")
async def test_what_takes_a_name_refuses_one_that_leads_out(shared_shelf: Any, taker: Taker) -> None:
    shelf = shared_shelf
    before, asset = everything(shelf.base), await shelf.asset("there.png")
    for name in LEADING_OUT:
        if taker.operation in SHOWING and name == "c:x.png" and not WINDOWS:
            continue  # a file of this name may be there
        path = taker.path.format(name=encoded(name), asset=asset["id"], workflow=shelf.workflow)
        url = URL(path, encoded=True)
        async with shelf.client.request(taker.method, url, **taker.options(name, asset)) as response:
            assert response.status == taker.status, (name, await response.text())
            if taker.codes:
                assert (await response.json())["code"] in taker.codes, name
    assert everything(shelf.base) == before
    assert await shelf.assets() == [asset]
    workflows = (await shelf.get("/api/workflows"))["data"]
    assert [(each["name"], each["latest_version"]) for each in workflows] == [("there", 1)]


def test_every_operation_that_takes_a_name_is_there() -> None:
    """The others take no names: listings compare text with what the store holds."""
    others = {
        "listAssets", "getAssetTagHistogram", "listTags", "pruneAssets", "cancelAssetSeed", "getAssetSeedStatus",
        "getHealth", "listWorkflows", "getOpenApiDocument", "getApiPage", "getGlobalSubgraphs", "getNodeReplacements",
        "getPanelPage",
        "listTasks", "getTask", "cancelTask", "getUser", "submitFeedback", "getRemoteAssetMetadata",
        "pauseAssetSeed", "resumeAssetSeed", "postAssetsFromWorkflow", "listAssetFolders",
        "listAssetFacets", "listAssetDays", "getNetwork", "importWorkflow",
        "listTrash", "emptyTrash", "batchAssets", "listBatches",
    }  # fmt: skip
    others |= {f"{verb}Secret" for verb in ("create", "get", "update", "replace", "delete")}
    # Names of collections and saved searches are texts that no file has.
    others |= {route.operation.id for module in (collections, saved_searches) for route in module.ROUTES}
    others |= {"listSecrets", "listSecretProviders"}
    others |= {
        route.operation.id for module in (login, login_users, oauth) for route in module.ROUTES
    }  # names that only the login compares
    others |= {route.operation.id for module in (jobs, queue, history) for route in module.ROUTES}  # ids alone
    assert {taker.operation for taker in TAKERS} == {route.operation.id for route in ROUTES} - others


async def test_a_file_that_is_called_so(shelf: Any) -> None:
    before = everything(shelf.base)
    for number, name in enumerate(LEADING_OUT):
        if set(name) & set("\0\\") or name.startswith("/"):
            continue  # cannot be said in a header, or is no such name any more once the header has been read
        async with shelf.client.post("/api/assets", data=upload(name, number)) as response:
            body = await response.json()
            assert (response.status, body["code"]) == (400, "INVALID_NAME"), (name, body)
    assert everything(shelf.base) == before


async def test_what_is_left_of_an_absolute_name_stays_in_its_folder(shelf: Any) -> None:
    for number, (name, stored) in enumerate(
        [("/etc/passwd", "etc_passwd"), ("//host/share/x.bin", "host_share_x.bin")]
    ):
        async with shelf.client.post("/api/assets", data=upload(name, number)) as response:
            assert (await response.json())["file_path"] == f"input/{stored}"
        assert (shelf.base / "input" / stored).read_bytes() == picture(number)


async def test_names_that_are_made_safe(shelf: Any) -> None:
    for number, (name, stored) in enumerate(MADE_SAFE):
        if any(character < " " for character in name) or '"' in name or "\\" in name:
            continue
        async with shelf.client.post("/api/assets", data=upload(name, number)) as response:
            asset = await response.json()
            assert response.status == 201, (name, asset)
        assert asset["file_path"] == f"input/{stored}", name
        assert (shelf.base / "input" / stored).read_bytes() == picture(number)


async def test_tags_name_no_path(shelf: Any) -> None:
    before = everything(shelf.base)
    for name in ("../loras", "models/loras", "/etc", "C:\\"):
        async with shelf.client.post("/api/assets", data=upload("a.png", 1, tags=f'["models", "{name}"]')) as response:
            assert response.status == 400, name
    assert everything(shelf.base) == before


@symbolic_links
async def test_a_link_in_the_place_of_a_new_file_is_not_followed(shelf: Any) -> None:
    """Neither the file behind it nor one that could be made there is written."""
    (shelf.base / "input/link.png").symlink_to(shelf.base / "secret.png")
    (shelf.base / "input/dangling.png").symlink_to(shelf.base / "not-there.png")
    for name, stored in (("link.png", "link (1).png"), ("dangling.png", "dangling (1).png")):
        async with shelf.client.post("/api/assets", data=upload(name, len(name))) as response:
            assert (await response.json())["file_path"] == f"input/{stored}"
    assert (shelf.base / "secret.png").read_bytes() == picture(251)
    assert not (shelf.base / "not-there.png").exists()
