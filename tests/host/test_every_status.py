"""Each operation of the contract with each status that it documents: a request that is answered so, or why none can be.

The statuses that everything has are asked for alike: 401 of a server with several users by one it does not know, 500
of a server whose store cannot be opened.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.contract import facts_contract
from support.files import picture
from support.requests import multipart
from support.status_walker import Case, ServerWorld, take

pytestmark = pytest.mark.slow

NONE = "00000000-0000-4000-8000-000000000000"
UNKNOWN_HASH = "blake3:" + "0" * 64
NEW = "new"  # stands for a picture that was never sent before


@dataclass(frozen=True)
class Ask:
    """A request. ``{names}`` in path and body stand for what the world holds; ``user`` asks the shared server."""

    path: str = ""
    json: Any = None
    form: Mapping[str, Any] | None = None
    data: bytes | None = None
    user: str | None = None


NO_STORE = "it needs nothing of the store, and answers without"
STOCK = "the stock server's own answer, which has no such status"
HERE = "files are on this machine: nothing is redirected"
FREE = "nobody pays here"
ANYBODY = "it answers anybody"

VIDEO = "input/held.mp4"
FILE = {"file": NEW}
WORKFLOW = {"workflow_json": {"nodes": []}, "name": "one"}
GRAPH = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 2, "height": 2, "batch_size": 1, "color": 0}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "made"}},
}
ONE, GONE = "/api/assets/{asset}", f"/api/assets/{NONE}"
JOB, NO_JOB = "/api/jobs/{job}", f"/api/jobs/{NONE}"
FLOW, NO_FLOW = "/api/workflows/{workflow}", f"/api/workflows/{NONE}"
ANNS = "/api/workflows/{anns_workflow}"

EVERY: dict[str, dict[int, Ask | str]] = {
    "listAssets": {200: Ask("/api/assets"), 400: Ask("/api/assets?limit=0")},
    "createAsset": {
        201: Ask("/api/assets", form=FILE),
        200: Ask("/api/assets", form={"file": "held", "hash": "{hash}"}),
        400: Ask("/api/assets", form={"name": "x"}),
        413: Ask("/api/assets", form={"file": "large"}),
        415: Ask("/api/assets", data=b"content"),
    },
    "deleteAsset": {204: Ask("/api/assets/{doomed_asset}"), 404: Ask(GONE), 409: Ask("/api/assets/{used_asset}")},
    "getAssetById": {200: Ask(ONE), 404: Ask(GONE)},
    "updateAsset": {
        200: Ask(ONE, json={"name": "other.png"}), 400: Ask(ONE, json={"name": ".."}),
        404: Ask(GONE, json={"name": "x"}),
    },
    "getAssetContent": {200: Ask(ONE + "/content"), 302: HERE, 404: Ask(GONE + "/content"), 401: ANYBODY},
    "removeAssetTags": {
        200: Ask(ONE + "/tags", json={"tags": ["x"]}), 400: Ask(ONE + "/tags", json={"tags": []}),
        404: Ask(GONE + "/tags", json={"tags": ["x"]}), 422: Ask(ONE + "/tags", json={"tags": ["missing"]}),
    },
    "addAssetTags": {
        200: Ask(ONE + "/tags", json={"tags": ["x"]}), 400: Ask(ONE + "/tags", json={"tags": []}),
        404: Ask(GONE + "/tags", json={"tags": ["x"]}), 422: Ask(ONE + "/tags", json={"tags": ["missing"]}),
    },
    "createAssetFromHash": {
        201: Ask("/api/assets/from-hash", json={"hash": "{spare_hash}", "tags": ["a"], "name": "ref.png"}),
        200: Ask("/api/assets/from-hash", json={"hash": "{hash}", "tags": ["a"], "name": "ref.png"}),
        400: Ask("/api/assets/from-hash", json={"hash": "x", "tags": ["a"]}),
        404: Ask("/api/assets/from-hash", json={"hash": UNKNOWN_HASH, "tags": ["a"]}),
    },
    "checkAssetByHash": {
        200: Ask("/api/assets/hash/{hash}"), 400: Ask("/api/assets/hash/x"),
        404: Ask(f"/api/assets/hash/{UNKNOWN_HASH}"),
    },
    "pruneAssets": {200: Ask("/api/assets/prune")},
    "seedAssets": {200: Ask("/api/assets/seed", json={})},
    "cancelAssetSeed": {200: Ask("/api/assets/seed/cancel")},
    "getAssetSeedStatus": {200: Ask("/api/assets/seed/status")},
    "getAssetTagHistogram": {200: Ask("/api/assets/tags/refine"), 400: Ask("/api/assets/tags/refine?limit=0")},
    "getEmbeddings": {200: Ask("/api/embeddings")},
    "getModelFolders": {200: Ask("/api/experiment/models"), 500: STOCK},
    "getModelsInFolder": {
        200: Ask("/api/experiment/models/loras"), 404: Ask("/api/experiment/models/none"), 500: STOCK,
    },
    "getExtensions": {200: Ask("/api/extensions")},
    "getFeatures": {200: Ask("/api/features")},
    "submitFeedback": {
        201: Ask("/api/feedback", json={"type": "general"}), 400: Ask("/api/feedback", json={"type": "praise"}),
    },
    "getMaskLayers": {
        200: Ask("/api/files/mask-layers?filename=clipspace-mask-1.png"),
        404: Ask("/api/files/mask-layers?filename=clipspace-mask-2.png"),
    },
    "freeMemory": {200: Ask("/api/free", json={})},
    "getGlobalSubgraphs": {200: Ask("/api/global_subgraphs"), 500: STOCK},
    "getGlobalSubgraph": {
        200: "a pack must bring one: the standalone host's own tests",
        404: Ask("/api/global_subgraphs/none"), 500: STOCK,
    },
    "manageHistory": {
        200: Ask("/api/history", json={"delete": [NONE]}), 400: Ask("/api/history", json={"unknown": 1}),
    },
    "getHistory": {200: Ask("/api/history_v2")},
    "getHistoryForPrompt": {200: Ask("/api/history_v2/{job}"), 404: Ask(f"/api/history_v2/{NONE}")},
    "getI18n": {200: Ask("/api/i18n")},
    "interruptJob": {200: Ask("/api/interrupt", json={}), 500: NO_STORE},
    "getJobStatus": {
        200: Ask("/api/job/{job}/status"), 403: Ask("/api/job/{anns_job}/status", user="bob"),
        404: Ask(f"/api/job/{NONE}/status"),
    },
    "listJobs": {200: Ask("/api/jobs"), 400: Ask("/api/jobs?limit=0")},
    "getJobDetail": {200: Ask(JOB), 403: Ask("/api/jobs/{anns_job}", user="bob"), 404: Ask(NO_JOB)},
    "cancelJob": {200: Ask(JOB + "/cancel"), 400: Ask("/api/jobs/x/cancel"), 404: Ask(NO_JOB + "/cancel")},
    "cancelJobs": {
        200: Ask("/api/jobs/cancel", json={"job_ids": ["{job}"]}), 400: Ask("/api/jobs/cancel", json={"job_ids": []}),
        404: Ask("/api/jobs/cancel", json={"job_ids": [NONE]}),
    },
    "getNodeReplacements": {200: Ask("/api/node_replacements"), 500: STOCK},
    "getNodeInfo": {200: Ask("/api/object_info")},
    "getPromptInfo": {200: Ask("/api/prompt"), 401: STOCK, 500: STOCK},
    "executePrompt": {
        200: Ask("/api/prompt", json={"prompt": GRAPH}), 400: Ask("/api/prompt", json={"prompt": []}), 402: FREE,
        413: Ask("/api/prompt", json={"prompt": {}, "extra_data": {"x": "large"}}), 429: FREE,
        500: "prompts are taken without the store too", 503: "there is one server, and it answers",
    },
    "getQueueInfo": {200: Ask("/api/queue"), 400: "it has no parameters", 500: NO_STORE},
    "manageQueue": {
        200: Ask("/api/queue", json={"delete": [NONE]}), 400: Ask("/api/queue", json={"unknown": 1}), 500: NO_STORE,
    },
    "getAllSettings": {200: Ask("/api/settings")},
    "updateMultipleSettings": {200: Ask("/api/settings", json={"a": 1}), 400: Ask("/api/settings", json=[1])},
    "getSettingById": {200: Ask("/api/settings/a"), 404: "a setting that is not there is null, which the page reads"},
    "updateSettingById": {200: Ask("/api/settings/a", json=1), 400: Ask("/api/settings/a", data=b"{")},
    "getSystemStats": {200: Ask("/api/system_stats"), 401: ANYBODY},
    "listTags": {200: Ask("/api/tags"), 400: Ask("/api/tags?limit=0")},
    "listTasks": {200: Ask("/api/tasks"), 422: Ask("/api/tasks?limit=0")},
    "getTask": {200: Ask("/api/tasks/{task}"), 404: Ask(f"/api/tasks/{NONE}")},
    "uploadImage": {
        200: Ask("/api/upload/image", form={"image": NEW}), 400: Ask("/api/upload/image", form={"a": "b"}),
        401: ANYBODY, 500: STOCK,
    },
    "uploadMask": {
        200: Ask(
            "/api/upload/mask",
            form={"image": NEW, "original_ref": '{"filename": "held.png", "type": "input", "subfolder": ""}'},
        ),
        400: Ask("/api/upload/mask", form={"a": "b"}), 401: ANYBODY, 500: STOCK,
    },
    "getUser": {200: Ask("/api/user")},
    "getUserdata": {
        200: Ask("/api/userdata?dir=notes"), 400: Ask("/api/userdata"), 404: Ask("/api/userdata?dir=none"),
        500: STOCK,
    },
    "deleteUserdataFile": {
        204: Ask("/api/userdata/notes%2Fdoomed.txt"), 404: Ask("/api/userdata/none.txt"), 500: STOCK,
    },
    "getUserdataFile": {
        200: Ask("/api/userdata/notes%2Fa.txt"), 400: "an empty name is another path",
        404: Ask("/api/userdata/none.txt"), 500: STOCK,
    },
    "postUserdataFile": {
        200: Ask("/api/userdata/notes%2Fb.txt", data=b"b"), 400: "an empty name is another path",
        403: Ask("/api/userdata/..%2F..%2Fx.txt", data=b"b"),
        409: Ask("/api/userdata/notes%2Fa.txt?overwrite=false", data=b"b"), 500: STOCK,
    },
    "moveUserdataFile": {
        200: Ask("/api/userdata/notes%2Fmoving.txt/move/notes%2Fmoved.txt"), 400: "an empty name is another path",
        404: Ask("/api/userdata/none.txt/move/x.txt"),
        409: Ask("/api/userdata/notes%2Fa.txt/move/notes%2Fheld.txt?overwrite=false"), 500: STOCK,
    },
    "getUserdataFilePublish": {
        200: Ask("/api/userdata/workflows%2Fheld.json/publish"),
        404: Ask("/api/userdata/workflows%2Fnone.json/publish"),
    },
    "postUserdataFilePublish": {
        200: Ask("/api/userdata/workflows%2Fheld.json/publish", json={"asset_ids": []}),
        400: Ask("/api/userdata/workflows%2Fheld.json/publish", json={"asset_ids": 1}),
        404: Ask("/api/userdata/workflows%2Fnone.json/publish", json={"asset_ids": []}),
    },
    "getUsersInfo": {200: Ask("/api/users"), 401: ANYBODY},
    "getVhsQueryVideo": {
        200: Ask("/api/vhs/queryvideo?filename=held.mp4"), 400: Ask("/api/vhs/queryvideo?filename=none.mp4"),
    },
    "viewFile": {
        200: Ask("/api/view?filename=held.png&type=input"), 302: HERE, 400: Ask("/api/view?filename=..%2Fx&type=input"),
        404: Ask("/api/view?filename=none.png&type=input"), 500: STOCK,
    },
    "getWorkflowTemplates": {200: Ask("/api/workflow_templates")},
    "listWorkflows": {200: Ask("/api/workflows")},
    "createWorkflow": {201: Ask("/api/workflows", json=WORKFLOW), 422: Ask("/api/workflows", json={"name": "x"})},
    "deleteWorkflow": {204: Ask("/api/workflows/{doomed_workflow}"), 404: Ask(NO_FLOW)},
    "getWorkflow": {200: Ask(FLOW), 403: Ask(ANNS, user="bob"), 404: Ask(NO_FLOW)},
    "updateWorkflow": {
        200: Ask(FLOW, json={"name": "two"}), 404: Ask(NO_FLOW, json={"name": "two"}), 422: Ask(FLOW, json={"name": 2}),
    },
    "getWorkflowContent": {
        200: Ask(FLOW + "/content"), 403: Ask(ANNS + "/content", user="bob"), 404: Ask(NO_FLOW + "/content"),
    },
    "forkWorkflow": {
        201: Ask(FLOW + "/fork", json={"source_version": 1}),
        403: Ask(ANNS + "/fork", json={"source_version": 1}, user="bob"),
        404: Ask(NO_FLOW + "/fork", json={"source_version": 1}), 422: Ask(FLOW + "/fork", json={}),
    },
    "createWorkflowVersion": {
        201: Ask(FLOW + "/versions", json={"base_version": 1, "workflow_json": {"nodes": [1]}}),
        403: Ask(ANNS + "/versions", json={"base_version": 1, "workflow_json": {"nodes": [1]}}, user="bob"),
        404: Ask(NO_FLOW + "/versions", json={"base_version": 1, "workflow_json": {}}),
        409: Ask(FLOW + "/versions", json={"base_version": 9, "workflow_json": {"nodes": [2]}}),
        422: Ask(FLOW + "/versions", json={"workflow_json": {}}),
    },
    "getPublishedWorkflow": {
        200: Ask("/api/workflows/published/{share}"), 404: Ask("/api/workflows/published/none"),
        413: "it takes a smaller limit after publishing: the tests of shares",
    },
    "getHealth": {200: Ask("/health"), 503: "asked for with the store that cannot be opened, below"},
    "getInternalFolderPaths": {200: Ask("/internal/folder_paths")},
    "getInternalLogs": {200: Ask("/internal/logs")},
    "getInternalLogsRaw": {200: Ask("/internal/logs/raw")},
    "subscribeToLogs": {200: Ask("/internal/logs/subscribe", json={"clientId": "page", "enabled": True})},
}  # fmt: skip
# What the contract has refused in plain text.
IN_PLAIN_TEXT = {"getUserdata", "getUserdataFile", "postUserdataFile", "deleteUserdataFile", "moveUserdataFile"}


DOCUMENTED = facts_contract().statuses()


# Refusals of the host itself: pages read the stock server's form of them, which has more members.
OF_ANOTHER_FORM = {"executePrompt", "getGlobalSubgraph", "getModelsInFolder", "viewFile"}


def _asks(operation: str) -> Ask:
    """The request that is well answered."""
    return next(ask for status, ask in EVERY[operation].items() if status < 300 and isinstance(ask, Ask))


def _cases() -> Iterator[Any]:
    for operation, (_, statuses) in DOCUMENTED.items():
        for status in statuses:
            ask = EVERY.get(operation, {}).get(status)
            if isinstance(ask, Ask):
                yield pytest.param(operation, status, ask, id=f"{operation}-{status}")


def _general(status: int) -> list[str]:
    """The operations that document the status, and are not said to be without it."""
    return [
        operation
        for operation, (_, statuses) in DOCUMENTED.items()
        if status in statuses and status not in EVERY[operation]
    ]


def test_the_table_is_complete() -> None:
    """Every status of every operation is asked for or has its reason, and nothing else is in the table."""
    general = {401, 500}
    for operation, (_, statuses) in DOCUMENTED.items():
        table = EVERY.get(operation, {})
        assert set(statuses) - general <= set(table), operation
        assert set(table) <= set(statuses) | general, operation
    assert set(EVERY) == set(DOCUMENTED)


class World(ServerWorld):
    """A server with something of everything on it."""

    pictures = 0

    def options(self, ask: Ask) -> dict[str, Any]:
        """The body and the headers of a request."""
        if ask.form is not None:
            body, headers = multipart(self.parts(ask.form))
            return {"body": body, "headers": headers}
        if ask.json is not None:
            text = self.filled(json.dumps(ask.json)).replace('"large"', json.dumps("x" * (3 << 19)))
            return {"body": text.encode(), "headers": {"Content-Type": "application/json"}}
        return {"body": ask.data}

    def parts(self, form: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        """The parts of a form, the file last."""
        for name, value in sorted(form.items(), key=lambda entry: entry[0] in ("file", "image")):
            yield name, (f"{value}.png", self.file(value)) if name in ("file", "image") else self.filled(value)

    def file(self, name: str) -> bytes:
        if name == NEW:
            self.pictures += 1
        content = picture((self.pictures if name == NEW else 200, 0, 0, 255))
        return content + (bytes(3 << 19) if name == "large" else b"")

    def ask(self, method: str, ask: Ask, **headers: str) -> Any:
        options = self.options(ask)
        return self.send(
            method, self.filled(ask.path), body=options["body"], headers={**options.get("headers", {}), **headers}
        )


def furnish(base: Path) -> None:
    """Files of which the requests speak."""
    for folder in ("input/clipspace", "user/default/notes", "user/default/workflows"):
        (base / folder).mkdir(parents=True, exist_ok=True)
    (base / "input/held.png").write_bytes(picture((200, 0, 0, 255)))
    (base / "input/spare.png").write_bytes(picture((202, 0, 0, 255)))
    (base / "input/clipspace/clipspace-mask-1.png").write_bytes(picture((201, 0, 0, 255)))
    for name in ("a", "held", "doomed", "moving"):
        (base / f"user/default/notes/{name}.txt").write_text(name)
    (base / "user/default/workflows/held.json").write_text('{"nodes": []}')


LIMITS = {"COMFY_ASSETS_MAX_UPLOAD_MB": "1", "COMFY_ASSETS_MAX_PROMPT_MB": "1"}
# Nothing is indexed later than its request: what a refusal leaves is compared with what was there before.
LIMITS |= {"COMFY_ASSETS_FOLLOW": "0"}


def finished_job(server: Any, **headers: str) -> str:
    answer = server.post("/api/prompt", {"prompt": GRAPH}, **headers)
    assert answer.status == 200, answer
    job = str(answer.json["prompt_id"])
    server.wait_for(f"/api/jobs/{job}", lambda found: found["status"] == "completed", **headers)
    return job


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, start: Callable[..., Any], write_video: Any) -> Iterator[World]:
    base = tmp_path_factory.mktemp("world")
    furnish(base)
    if importlib.util.find_spec("av") is not None:
        write_video(base / VIDEO)
    with start(base, **LIMITS) as server:
        server.wait_until_up()
        server.wait_until_read()
        made = World(server)
        held = server.get("/api/assets?name_contains=held.png").json["assets"][0]
        spare = server.get("/api/assets?name_contains=spare.png").json["assets"][0]
        names = {"asset": held["id"], "hash": held["hash"], "spare_hash": spare["hash"], "job": finished_job(server)}
        for name in ("doomed_asset", "used_asset"):
            names[name] = made.ask("POST", Ask("/api/assets", form={"file": NEW, "name": f"{name}.png"})).json["id"]
        load = {"id": 1, "type": "LoadImage", "widgets_values": ["used_asset.png", "image"]}
        for name, graph in (("workflow", {"nodes": []}), ("doomed_workflow", {}), ("using", {"nodes": [load]})):
            names[name] = server.post("/api/workflows", {"workflow_json": graph}).json["id"]
        server.post("/api/assets/from-hash", {"hash": held["hash"], "tags": ["a"], "name": "ref.png"})
        publish = server.post("/api/userdata/workflows%2Fheld.json/publish", {"asset_ids": []})
        names["share"] = publish.json["share_id"]
        names["task"] = server.get("/api/tasks").json["tasks"][0]["id"]
        made.ids.update(names)
        yield made


@pytest.fixture(scope="module")
def shared_world(tmp_path_factory: pytest.TempPathFactory, start: Callable[..., Any]) -> Iterator[World]:
    """A server with several users, and what Ann has there."""
    with start(tmp_path_factory.mktemp("shared"), "--multi-user", **LIMITS) as server:
        server.wait_until_up()
        ids = {name: str(server.post("/api/users", {"username": name}).json) for name in ("ann", "bob")}
        server.wait_until_read(**{"comfy-user": ids["ann"]})
        ann = {"comfy-user": ids["ann"]}
        names = {
            **ids,
            "anns_job": finished_job(server, **ann),
            "anns_workflow": server.post("/api/workflows", WORKFLOW, **ann).json["id"],
        }
        missing = ("asset", "hash", "job", "doomed_asset", "used_asset", "workflow", "doomed_workflow", "task", "share")
        yield World(server, {**dict.fromkeys(missing, NONE), "hash": UNKNOWN_HASH, **names}, user=ids["ann"])


@pytest.fixture(scope="module")
def broken_world(tmp_path_factory: pytest.TempPathFactory, start: Callable[..., Any]) -> Iterator[World]:
    """A server with a file in the place of its store's folder."""
    base = tmp_path_factory.mktemp("broken")
    (base / "user").mkdir()
    (base / "user/__comfy_assets").write_text("not a folder")
    with start(base) as server:
        server.wait_until_up()
        missing = ("asset", "job", "doomed_asset", "used_asset", "workflow", "doomed_workflow", "task", "share")
        yield World(server, {**dict.fromkeys(missing, NONE), "hash": UNKNOWN_HASH})


def walk(world: World, operation: str, status: int, ask: Ask, user: str | None = None, code: str | None = None) -> None:
    """Send the request of a row, as another user if one is given: what is refused changes nothing."""

    def request(_: World) -> dict[str, Any]:
        options = world.options(ask)
        return {**options, "headers": {**options.get("headers", {}), **({"comfy-user": user} if user else {})}}

    keeps_stock_form = operation in IN_PLAIN_TEXT or (operation in OF_ANOTHER_FORM and code is None)
    case = Case(
        id=f"{operation}-{status}",
        method=DOCUMENTED[operation][0],
        path=ask.path,
        status=status,
        expected={} if code is None else {"code": code},
        request=request,
        has_error_response=not keeps_stock_form,
    )
    take(world, case)


@pytest.mark.parametrize(("operation", "status", "ask"), list(_cases()))
def test_a_status(world: World, request: pytest.FixtureRequest, operation: str, status: int, ask: Ask) -> None:
    if operation == "getVhsQueryVideo" and status == 200 and not (world.base / VIDEO).is_file():
        pytest.skip("PyAV is not installed")
    if ask.user is None:
        walk(world, operation, status, ask)
    else:
        shared = request.getfixturevalue("shared_world")
        walk(shared, operation, status, ask, user=shared.ids[ask.user])


@pytest.mark.parametrize("operation", _general(401))
def test_a_user_that_the_server_does_not_know(shared_world: World, operation: str) -> None:
    is_plain = operation in IN_PLAIN_TEXT
    ask = _asks(operation)
    walk(shared_world, operation, 401, ask, user="nobody", code=None if is_plain else "UNAUTHORIZED")
    if is_plain:
        answer = shared_world.ask(DOCUMENTED[operation][0], ask, **{"comfy-user": "nobody"})
        assert answer.status == 401 and answer.headers.get_content_type() == "text/plain", (operation, answer)


@pytest.mark.parametrize("operation", _general(500))
def test_a_store_that_cannot_be_opened(broken_world: World, operation: str) -> None:
    walk(broken_world, operation, 500, _asks(operation), code="STORE_UNAVAILABLE")


def test_health_without_a_store(broken_world: World) -> None:
    assert broken_world.server.get("/health").status == 503
