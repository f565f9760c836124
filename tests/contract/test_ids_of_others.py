"""Every operation that takes an id, with the ids of another user's things in every state they can be in.

Another user's request is refused, or finds nothing; nothing of the owner's changes by it; and the same request does for
the owner what it is for. An operation that is in neither table fails the tests.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from aiohttp import FormData
from comfy_assets_node.comfy_assets.assets.export_selection import ExportSelection
from comfy_assets_node.comfy_assets.background.tasks import Task
from comfy_assets_node.routes import INTERCEPTORS, ROUTES
from support.files import picture

pytestmark = pytest.mark.slow
UUID = "00000000-0000-4000-8000-0000000000aa"
GRAPH = {"nodes": [{"id": 1, "type": "LoadImage", "widgets_values": ["x.png", "image"]}], "version": 0.4}


@dataclass(frozen=True)
class Case:
    """A request of Bob's that names something of Ann's, the statuses that Bob and then Ann get, and what Bob is told.

    Words in braces, in the path and in all texts of the body, are ids of ``World``. ``told`` are members of what Bob
    is answered.
    """

    method: str
    path: str
    bob: int
    ann: int
    body: Any = None
    form: Mapping[str, str] | None = None
    told: Mapping[str, Any] = field(default_factory=dict)
    ids: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.body or self.form or ''}"


def each(states: Mapping[str, tuple[int, int]], method: str, path: str, **more: Any) -> list[Case]:
    """The same request for things in several states: {name: (Bob's status, Ann's status)}."""
    return [
        Case(method, path.replace("{}", f"{{{name}}}"), *statuses, **_filled(more, {"": f"{{{name}}}"}))
        for name, statuses in states.items()
    ]


def _filled(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        for name, text in names.items():
            value = value.replace(f"{{{name}}}", text)
        return value
    if isinstance(value, dict):
        return {key: _filled(item, names) for key, item in value.items()}
    return [_filled(item, names) for item in value] if isinstance(value, list) else value


ASSET = {"upload": (404, 200), "output": (404, 200), "missing": (404, 200), "deleted": (404, 404)}
ASSET_LIST = {"upload": (400, 201), "output": (400, 201), "deleted": (400, 400)}
COLLECTION = {"collection": (404, 200), "deleted_collection": (404, 404)}
STATES = ("pending", "in_progress", "completed", "failed", "cancelled")
JOB = dict.fromkeys(STATES, (403, 200))
HISTORY = dict.fromkeys(STATES, (403, 200))
WORKFLOW = {"workflow": (403, 200), "published": (403, 200), "deleted_workflow": (404, 404)}
OWN_WORKFLOW = {"workflow": (404, 200), "published": (404, 200), "deleted_workflow": (404, 404)}
ACTIVE = ("pending", "in_progress")

CASES: dict[str, list[Case]] = {
    "checkAssetByHash": [Case("HEAD", "/api/assets/hash/{upload_hash}", 404, 200)],
    "listAssets": [Case("GET", "/api/assets?hash={upload_hash}", 200, 200, told={"total": 0})],
    "getAssetById": each(ASSET, "GET", "/api/assets/{}"),
    "getAssetContent": each({**ASSET, "missing": (404, 404)}, "GET", "/api/assets/{}/content"),
    "updateAsset": [
        *each(ASSET, "PUT", "/api/assets/{}", body={"name": "mine.png"}),
        *each(
            {"upload": (404, 200), "deleted": (404, 404)},
            "PUT",
            "/api/assets/{bobs_or_anns}",
            body={"preview_id": "{}"},
        ),
    ],
    "deleteAsset": each(
        {
            "upload": (404, 409),
            "output": (404, 204),
            "missing": (404, 204),
            "deleted": (404, 404),
        },  # the first is shared
        "DELETE",
        "/api/assets/{}",
    ),
    "restoreAsset": each({"upload": (404, 404), "deleted": (404, 200)}, "POST", "/api/assets/{}/restore"),
    "listAssetUses": each(ASSET, "GET", "/api/assets/{}/uses"),
    "showAssetInFolder": each(
        {**dict.fromkeys(ASSET, (404, 403)), "missing": (404, 404), "deleted": (404, 404)},
        "POST",
        "/api/assets/{}/show-in-folder",
    ),
    "listTrash": [
        Case("GET", "/api/trash?name_contains=deleted", 200, 200, told={"entries": [], "total": 0, "size": 0})
    ],
    "getTrashThumbnail": each({"upload": (404, 404), "deleted": (404, 200)}, "GET", "/api/trash/{}/thumbnail"),
    "restoreTrashEntry": each({"upload": (404, 404), "deleted": (404, 200)}, "POST", "/api/trash/{}/restore"),
    "deleteTrashEntry": each({"upload": (404, 404), "deleted": (404, 204)}, "DELETE", "/api/trash/{}"),
    # What is removed is the user's own, as the tests of the trash show.
    "emptyTrash": [Case("POST", "/api/trash/empty", 202, 202, {})],
    "batchAssets": each(
        dict.fromkeys(("upload", "output", "missing"), (200, 200)),
        "POST",
        "/api/assets/batch",
        body={"action": "tag", "tags": ["mine"], "ids": ["{}"]},
        told={"status": "completed"},
    ),
    "undoBatch": each({"batch": (404, 200)}, "POST", "/api/assets/batch/{}/undo", body={}),
    "addAssetTags": each(ASSET, "POST", "/api/assets/{}/tags", body={"tags": ["mine"]}),
    "removeAssetTags": each(ASSET, "DELETE", "/api/assets/{}/tags", body={"tags": ["anns"]}),
    "createAsset": [
        *each({"upload": (400, 201), "deleted": (400, 400)}, "POST", "/api/assets", form={"preview_id": "{}"}),
        *each(
            {"upload": (400, 200), "output": (400, 200), "missing": (400, 200), "deleted": (400, 201)},
            "POST",
            "/api/assets",
            form={"id": "{}"},
            told={"code": "INVALID_ID"},
        ),
    ],
    # Bob may ask for it: his archive has nothing of hers, as the tests of exports show.
    "createAssetExport": [
        *each(dict.fromkeys(ASSET, (202, 202)), "POST", "/api/assets/export", body={"asset_ids": ["{}"]}),
        *each(dict.fromkeys(STATES, (202, 202)), "POST", "/api/assets/export", body={"job_ids": ["{}"]}),
        Case("POST", "/api/assets/export", 404, 202, {"collection_id": "{collection}"}),
    ],
    "downloadExport": each({"export": (404, 200)}, "GET", "/api/assets/exports/{}"),
    "downloadExportContent": [
        *each({"export": (404, 200)}, "GET", "/api/assets/exports/{}/content"),
        *each({"export": (404, 404)}, "GET", "/api/assets/exports/{}/content?token=x"),
    ],
    "postAssetsFromWorkflow": [
        *each(
            dict.fromkeys(("upload", "output", "deleted"), (200, 200)),
            "POST",
            "/api/assets/from-workflow",
            body={"workflow_api_json": {"1": {"class_type": "x", "inputs": {"image": "asset:{}"}}}},
            told={"assets": []},
        ),
        Case(
            "POST",
            "/api/assets/from-workflow",
            200,
            200,
            {
                "workflow_api_json": {
                    "1": {"class_type": "x", "inputs": {"image": "{upload_hash}", "file": "upload.png"}}
                }
            },
            told={"assets": []},
        ),
    ],
    "createAssetFromHash": [
        Case("POST", "/api/assets/from-hash", 404, 200, {"hash": "{upload_hash}", "tags": ["input"]}),
        Case("POST", "/api/assets/from-hash", 404, 404, {"hash": "{deleted_hash}", "tags": ["input"]}),
    ],
    "viewFile": [
        Case("GET", "/api/view?filename={upload_hash}&res=64", 404, 200),
    ],
    "listJobs": [
        Case("GET", "/api/jobs?workflow_id={job_workflow}", 200, 200, told={"jobs": []}),
        Case("GET", "/api/jobs?asset_id={upload}", 200, 200, told={"jobs": []}),
    ],
    "cancelJobs": each({**dict.fromkeys(STATES, (404, 200))}, "POST", "/api/jobs/cancel", body={"job_ids": ["{}"]}),
    "getJobDetail": each(JOB, "GET", "/api/jobs/{}"),
    "listJobAssets": each(JOB, "GET", "/api/jobs/{}/assets"),
    "getJobProgress": each(JOB, "GET", "/api/jobs/{}/progress"),
    "cancelJob": each(dict.fromkeys(STATES, (404, 200)), "POST", "/api/jobs/{}/cancel"),
    "deleteJob": each(dict.fromkeys(STATES, (404, 204)), "DELETE", "/api/jobs/{}"),
    "getJobStatus": each(JOB, "GET", "/api/job/{}/status"),
    "manageQueue": [
        *each(dict.fromkeys(STATES, (200, 200)), "POST", "/api/queue", body={"delete": ["{}"]}, told={"deleted": []}),
        Case("POST", "/api/queue", 200, 200, {"clear": True}, told={"cleared": True}),
    ],
    "interruptJob": [
        *each(dict.fromkeys(STATES, (200, 200)), "POST", "/api/interrupt", body={"prompt_id": "{}"}),
        Case("POST", "/api/interrupt", 200, 200, {}),
    ],
    "getHistoryForPrompt": each(HISTORY, "GET", "/api/history_v2/{}"),
    "manageHistory": [
        *each(dict.fromkeys(STATES, (200, 200)), "POST", "/api/history", body={"delete": ["{}"]}, told={"deleted": []}),
        Case("POST", "/api/history", 200, 200, {"clear": True}, told={"cleared": True}),
    ],
    "getWorkflow": each(WORKFLOW, "GET", "/api/workflows/{}"),
    "updateWorkflow": each(OWN_WORKFLOW, "PATCH", "/api/workflows/{}", body={"name": "mine"}),
    "deleteWorkflow": each(
        {"workflow": (404, 204), "published": (404, 204), "deleted_workflow": (404, 404)}, "DELETE", "/api/workflows/{}"
    ),
    "restoreWorkflow": each(
        {"workflow": (404, 404), "published": (404, 404), "deleted_workflow": (404, 200)},
        "POST",
        "/api/workflows/{}/restore",
    ),
    "getWorkflowContent": each(WORKFLOW, "GET", "/api/workflows/{}/content"),
    "forkWorkflow": each(
        {"workflow": (403, 201), "published": (403, 201), "deleted_workflow": (404, 404)},
        "POST",
        "/api/workflows/{}/fork",
        body={"source_version": 1},
    ),
    "createWorkflow": [  # where a workflow comes from is a note that names nobody
        *each(
            {"workflow": (201, 201), "deleted_workflow": (201, 201)},
            "POST",
            "/api/workflows",
            body={"workflow_json": GRAPH, "forked_from_workflow_id": "{}"},
        ),
        Case("POST", "/api/workflows", 201, 201, {"workflow_json": {**GRAPH, "id": "{workflow}"}, "name": "copy"}),
        Case(
            "POST", "/api/workflows", 201, 201, {"workflow_json": {"nodes": [], "x": "asset:{upload}"}, "name": "names"}
        ),
    ],
    "listWorkflowVersions": each(WORKFLOW, "GET", "/api/workflows/{}/versions"),
    "createWorkflowVersion": each(
        {"workflow": (403, 201), "published": (403, 201), "deleted_workflow": (404, 404)},
        "POST",
        "/api/workflows/{}/versions",
        body={"base_version": 1, "workflow_json": {**GRAPH, "version": 1}},
    ),
    "listWorkflowRequirements": each(WORKFLOW, "GET", "/api/workflows/{}/requirements"),
    "exportWorkflow": each(
        {"workflow": (403, 202), "published": (403, 202), "deleted_workflow": (404, 404)},
        "POST",
        "/api/workflows/{}/export",
        body={},
    ),
    "relinkWorkflow": each(
        {"workflow": (403, 422), "published": (403, 422), "deleted_workflow": (404, 404)},
        "POST",
        "/api/workflows/{}/relink",
        body={"base_version": 1, "links": [{"name": "none.png", "asset_id": UUID}]},
    ),
    "getWorkflowVersion": each(WORKFLOW, "GET", "/api/workflows/{}/versions/1"),
    "getUserdataFilePublish": [Case("GET", "/api/userdata/workflows%2Fpublished.json/publish", 404, 200)],
    "postUserdataFilePublish": [
        Case("POST", "/api/userdata/workflows%2Fpublished.json/publish", 404, 200, {"asset_ids": []}),
        *each(
            {"upload": (400, 200), "deleted": (400, 400)},
            "POST",
            "/api/userdata/workflows%2F{bobs_or_anns_file}.json/publish",
            body={"asset_ids": ["{}"]},
        ),
    ],
    "deleteUserdataFilePublish": [Case("DELETE", "/api/userdata/workflows%2Fpublished.json/publish", 404, 204)],
    # Whoever has the id of a share may read what is shared: that is what it is for.
    "getPublishedWorkflow": each({"share": (200, 200), "withdrawn": (404, 404)}, "GET", "/api/workflows/published/{}"),
    "getPublishedAssetContent": [
        Case("GET", "/api/workflows/published/{share}/assets/{shared_asset}/content", 200, 200),
        Case("GET", "/api/workflows/published/{share}/assets/{upload}/content", 404, 404),
        Case("GET", "/api/workflows/published/{withdrawn}/assets/{withdrawn_asset}/content", 404, 404),
    ],
    "importPublishedAssets": [
        Case(
            "POST", "/api/assets/import", 200, 200, {"share_id": "{share}", "published_asset_ids": ["{shared_asset}"]}
        ),
        Case("POST", "/api/assets/import", 400, 400, {"share_id": "{share}", "published_asset_ids": ["{upload}"]}),
        Case(
            "POST",
            "/api/assets/import",
            404,
            404,
            {"share_id": "{withdrawn}", "published_asset_ids": ["{withdrawn_asset}"]},
        ),
    ],
    "createAssetDownload": each(
        {"upload": (400, 400)},  # Bob must not use her picture, and she gets to know that it is no link
        "POST",
        "/api/assets/download",
        body={"source_url": "no link", "preview_id": "{}"},
    ),
    "listCollections": [Case("GET", "/api/collections?asset_id={upload}", 200, 200, told={"collections": []})],
    "createCollection": each(ASSET_LIST, "POST", "/api/collections", body={"name": "x {}", "asset_ids": ["{}"]}),
    "getCollection": each(COLLECTION, "GET", "/api/collections/{}"),
    "updateCollection": [
        *each(COLLECTION, "PATCH", "/api/collections/{}", body={"description": "mine"}),
        Case("PATCH", "/api/collections/{own_collection}", 404, 200, {"cover_id": "{upload}"}),
    ],
    "deleteCollection": each(
        {"collection": (404, 204), "deleted_collection": (404, 404)}, "DELETE", "/api/collections/{}"
    ),
    "restoreCollection": each(
        {"collection": (404, 404), "deleted_collection": (404, 200)}, "POST", "/api/collections/{}/restore"
    ),
    "addCollectionAssets": [
        *each(COLLECTION, "POST", "/api/collections/{}/assets", body={"asset_ids": ["{own}"]}),
        Case("POST", "/api/collections/{own_collection}/assets", 400, 200, {"asset_ids": ["{upload}"]}),
    ],
    "removeCollectionAssets": each(COLLECTION, "DELETE", "/api/collections/{}/assets", body={"asset_ids": ["{own}"]}),
    "moveCollectionAssets": [
        *each(COLLECTION, "POST", "/api/collections/{}/order", body={"asset_ids": ["{upload}"]}),
        Case("POST", "/api/collections/{own_collection}/order", 400, 400, {"asset_ids": ["{upload}"]}),
    ],
    "getSavedSearch": each({"search": (404, 200)}, "GET", "/api/saved-searches/{}"),
    "replaceSavedSearch": each(
        {"search": (404, 200)}, "PUT", "/api/saved-searches/{}", body={"name": "x", "query": {}}
    ),
    "deleteSavedSearch": each({"search": (404, 204)}, "DELETE", "/api/saved-searches/{}"),
    "getSecret": each({"secret": (404, 200)}, "GET", "/api/secrets/{}"),
    "updateSecret": each({"secret": (404, 200)}, "PATCH", "/api/secrets/{}", body={"name": "renamed"}),
    "replaceSecret": each({"secret": (404, 200)}, "PUT", "/api/secrets/{}", body={"name": "renamed"}),
    "deleteSecret": each({"secret": (404, 204)}, "DELETE", "/api/secrets/{}"),
    "getTask": each({"task": (404, 200), "ended_task": (404, 200)}, "GET", "/api/tasks/{}"),
    "cancelTask": each({"running_task": (404, 204), "ended_task": (404, 409)}, "DELETE", "/api/tasks/{}"),
}

# Operations that name nothing that somebody has.
WITHOUT_IDS = {
    "cancelAssetSeed",
    "createSavedSearch",
    "createSecret",
    "freeMemory",
    "getApiPage",
    "getPanelPage",
    "getAssetSeedStatus",
    "getAssetTagHistogram",
    "changePassword",
    "addLoginUser",
    "changeLoginUser",  # of administrators, like the following ones: tried with other users in test_login
    "createLoginUserLink",
    "getLoginUserUse",
    "listLoginUsers",
    "removeLoginUser",
    "createLoginLink",
    *("getOAuthMetadata", "getAuthorizePage", "authorizeProgram", "exchangeAuthorizationCode"),
    "createToken",
    "endSession",  # tried with two users in test_login
    "endSessions",
    "listSessions",
    "listTokens",
    "revokeToken",  # the same
    "getLogin",
    "getLoginPage",
    "signIn",
    "signOut",
    "getGlobalSubgraph",
    "getGlobalSubgraphs",
    "getHealth",
    "getHistory",
    "getMaskLayers",
    "getNodeReplacements",
    "getOpenApiDocument",
    "getQueueInfo",
    "getRemoteAssetMetadata",
    "getUser",
    "getVhsQueryVideo",
    "listAssetFolders",
    "listAssetFacets",
    "getNetwork",
    "importWorkflow",
    "listAssetDays",
    "listSavedSearches",
    "listBatches",
    "listSecretProviders",
    "listSecrets",
    "listTags",
    "listTasks",
    "listWorkflows",
    "pauseAssetSeed",
    "pruneAssets",
    "resumeAssetSeed",
    "seedAssets",
    "submitFeedback",
}

# The host's operations that requests pass through on their way, and where they are tried with two users.
BY_THE_HOST = {
    "queue": "test_users_apart",
    "interrupt": "test_users_apart",
    "free": "memory is everybody's",
    "history": "test_users_apart",
    "prompt": "test_a_prompt_that_names_anothers_things",
    "upload": "test_users_apart",
    "userdata": "each user has a folder of their own",
    "v2": "each user has a folder of their own",
    "settings": "each user has settings of their own",
    "view_metadata": "headers of models, which are everybody's",
    "view": "files by their names are everybody's, those by a hash are viewFile's",
    "users": "names of users",
    "experiment": "names of models",
    "global_subgraphs": "names of subgraphs",
    "internal": "names of files, and the log",
    "features": "no ids",
}


def test_every_operation_is_in_the_table() -> None:
    operations = {route.operation.id for route in ROUTES}
    assert operations == set(CASES) | WITHOUT_IDS
    assert set(CASES) & WITHOUT_IDS == set()
    for operation, cases in CASES.items():
        paths = {route.path for route in ROUTES if route.operation.id == operation}
        assert cases and paths, operation
    assert {path.path.removeprefix("/api").split("/")[1] for path in INTERCEPTORS} == set(BY_THE_HOST)


async def _until_cancelled(task: Task) -> None:
    await asyncio.to_thread(task.token.sleep, 60)


png = partial(picture, size=(8, 4))


class World:
    """Ann's things, by the names that cases call them."""

    def __init__(self, library: Any, api_of: Any, prompts: Any) -> None:
        self.library, self.prompts = library, prompts
        self.ann, self.bob = api_of(library).as_user("ann"), api_of(library).as_user("bob")
        self.ids: dict[str, str] = {}
        self.bobs: dict[str, str] = {}
        self.colors = 100

    async def build(self) -> World:
        await self._make_assets()
        await self._make_jobs()
        await self._make_workflows()
        await self._make_tasks()
        await self._make_collections()
        body = {"name": "search", "query": {"q": "anns"}}
        self.ids["search"] = (await self.ann.send("POST", "/api/saved-searches", 201, json=body)).json["id"]
        await self._make_batch()
        key = {"name": "Civitai", "provider": "civitai", "secret_value": "key-of-ann"}
        self.ids["secret"] = (await self.ann.send("POST", "/api/secrets", 201, json=key)).json["id"]
        return self

    async def upload(self, api: Any, red: int, name: str, **fields: str) -> Any:
        form = FormData()
        form.add_field("file", png(red), filename=name)
        form.add_field("tags", json.dumps(["input", "anns"]))
        for key, value in fields.items():
            form.add_field(key, value)
        return (await api.send("POST", "/api/assets", 201, data=form)).json

    async def _make_assets(self) -> None:
        for red, name in enumerate(("upload", "deleted", "missing", "own"), 1):
            made = await self.upload(self.ann, red, f"{name}.png")
            self.ids[name], self.ids[f"{name}_hash"] = made["id"], made["hash"]
        self.bobs["own"] = (await self.upload(self.bob, 50, "bobs.png"))["id"]
        await self.ann.send("DELETE", f"/api/assets/{self.ids['deleted']}", 204)
        (self.library.base / "input" / "missing.png").unlink()

    async def _make_batch(self) -> None:
        body = {"action": "rate", "rating": 3, "ids": [self.ids["upload"]]}
        self.ids["batch"] = (await self.ann.send("POST", "/api/assets/batch", json=body)).json["batch_id"]

    async def _make_jobs(self) -> None:
        self.library.write("output/made_00001_.png", png(9))
        owned = {"owner": "ann", "workflow_id": UUID}
        self.ids["job_workflow"] = UUID
        self.ids["completed"] = self.prompts.run(**owned)
        self.library.host.hooks.notify(_Finished(self.ids["completed"]))
        await self.library.services.outputs.drain()
        (output,) = (await self.ann.get("/api/assets", name_contains="made"))["assets"]
        self.ids["output"] = output["id"]
        self.ids["failed"] = self.prompts.submit(**owned)
        self.prompts.start()
        self.prompts.fail()
        self.ids["cancelled"] = self.prompts.submit(**owned)
        self.prompts.queue.cancel(self.ids["cancelled"])
        self.ids["in_progress"] = self.prompts.submit(**owned)
        self.prompts.start()
        self.ids["pending"] = self.prompts.submit(**owned)

    async def _make_workflows(self) -> None:
        for name in ("workflow", "deleted_workflow", "published", "taken_back"):
            self.ids[name] = await self._save(self.ann, name)
        self.bobs["own_file"] = self.ids["own_file"] = "plain"
        for api in (self.ann, self.bob):
            await self._save(api, "plain")
        await self.ann.send("DELETE", f"/api/workflows/{self.ids['deleted_workflow']}", 204)
        for name, file in (("share", "published"), ("withdrawn", "taken_back")):
            url = f"/api/userdata/workflows%2F{file}.json/publish"
            share = (await self.ann.send("POST", url, json={"asset_ids": [self.ids["upload"]]})).json
            self.ids[name] = share["share_id"]
            self.ids["shared_asset" if name == "share" else "withdrawn_asset"] = share["assets"][0]["id"]
        await self.ann.send("DELETE", "/api/userdata/workflows%2Ftaken_back.json/publish", 204)

    async def _save(self, api: Any, name: str) -> str:
        body = {"workflow_json": GRAPH, "name": name}
        return str((await api.send("POST", "/api/workflows", 201, json=body)).json["id"])

    async def _make_tasks(self) -> None:
        for name, state in (("task", "running"), ("ended_task", "completed")):
            task_id = uuid.uuid4()
            self.ids[name] = str(task_id)
            async with self.library.services.db.transaction() as tx:
                await tx.execute(
                    "INSERT INTO tasks (id, owner, name, idempotency_key, status, payload, created_at, updated_at)"
                    " VALUES (?, 'ann', 'asset_export', ?, ?, '{}', 5, 5)",
                    (task_id.bytes, str(task_id), state),
                )
        running = await self.library.services.tasks.spawn(Task("asset_export", {}, "ann"), _until_cancelled)
        self.ids["running_task"] = str(running.id)
        selection = ExportSelection(asset_ids=(self.ids["upload"],))
        exporting = await self.library.services.exports.start(selection, "ann")
        await exporting.done.wait()
        self.ids["export"] = exporting.result["export_name"]

    async def _make_collections(self) -> None:
        for api, ids in ((self.ann, self.ids), (self.bob, self.bobs)):
            for name in ("collection", "deleted_collection", "own_collection"):
                if api is self.ann or name == "own_collection":
                    body = {"name": name, "asset_ids": [] if name == "own_collection" else [self.ids["upload"]]}
                    ids[name] = (await api.send("POST", "/api/collections", 201, json=body)).json["id"]
        await self.ann.send("DELETE", f"/api/collections/{self.ids['deleted_collection']}", 204)

    async def request(self, api: Any, case: Case, status: int) -> Any:
        """What the user is answered, who must get this status."""
        names = {**self.ids, **(self.bobs if api.user == "bob" else {})}
        names["bobs_or_anns"], names["bobs_or_anns_file"] = names["own"], names["own_file"]
        options: dict[str, Any] = {}
        if case.body is not None:
            options["json"] = _filled(case.body, names)
        if case.form is not None:
            form = FormData()
            self.colors += 1  # each is content that nobody has
            form.add_field("file", png(self.colors), filename="new.png")
            for key, value in case.form.items():
                form.add_field(key, _filled(value, names))
            options["data"] = form
        path = str(_filled(case.path, names))
        answer = await api.send(case.method, path, status, **options)
        return answer.json if answer.headers.get("Content-Type", "").startswith("application/json") else None

    async def snapshot(self) -> Any:
        """All that Ann can see."""
        seen: dict[str, Any] = {}
        for path in (
            "/api/assets?limit=500",
            "/api/tags",
            "/api/jobs",
            "/api/history_v2",
            "/api/workflows",
            "/api/secrets",
            "/api/collections",
            "/api/saved-searches",
        ):
            seen[path] = await self.ann.get(path)
        tasks = (await self.ann.get("/api/tasks"))["tasks"]
        seen["tasks"] = [task for task in tasks if task["task_name"] != "asset_search"]  # the server's upkeep
        for state in STATES:
            seen[state] = await self.ann.get(f"/api/jobs/{self.ids[state]}")
        for name in ("workflow", "published"):
            seen[name] = await self.ann.get(f"/api/workflows/{self.ids[name]}/content")
        seen["share"] = await self.ann.get(f"/api/workflows/published/{self.ids['share']}")
        seen["trash"] = sorted(
            (entry.id, entry.name) for entry in await self.library.services.trash.entries() if entry.owner == "ann"
        )
        seen["queue"] = await self.ann.get("/api/queue")
        files = [path for path in self.library.base.rglob("*") if path.is_file() and "bob" not in path.parts]
        seen["files"] = {
            str(path): path.read_bytes()
            for path in files
            if "__comfy_assets" not in path.parts and path.name not in ("bobs.png", "new.png")
        }
        return seen


class _Finished:
    """What the host tells of a prompt that has made the file that ``Prompts.run`` names."""

    def __init__(self, prompt_id: str) -> None:
        self.prompt_id = prompt_id
        self.outputs = {"2": {"images": [{"filename": "made_00001_.png", "subfolder": "", "type": "output"}]}}


@pytest.fixture
async def world(make_library: Any, api_of: Any, prompts_of: Any) -> World:
    library = await make_library(users=frozenset({"ann", "bob"}))
    await library.scan()
    return await World(library, api_of, prompts_of(library)).build()


@pytest.mark.slow
@pytest.mark.parametrize("operation", sorted(CASES))
async def test_nobody_reaches_anothers_things(world: World, operation: str) -> None:
    before = await world.snapshot()
    for case in CASES[operation]:
        told = await world.request(world.bob, case, case.bob)
        for name, value in case.told.items():
            assert told[name] == value, (str(case), told)
        if case.bob == 200 and told is not None and operation != "getPublishedWorkflow":
            text = json.dumps(told)
            named = [
                name
                for name, thing in world.ids.items()
                # The failures of a batch name the assets as the request does.
                if thing in text and name not in ("share", "shared_asset") and operation != "batchAssets"
            ]
            assert named == [], str(case)
        assert await world.snapshot() == before, str(case)
    for case in CASES[operation]:  # the owner can do all of it as before
        await world.request(world.ann, case, case.ann)
