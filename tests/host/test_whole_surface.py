"""Requests that a machine makes up from an OpenAPI document, right and wrong ones, to every operation in it.

No response has a status, a type or a body that the document does not name; none is a 500, and none fails to come.
``COMFY_ASSETS_EXAMPLES`` is the number of requests of each kind to an operation, few unless it is set, and
``COMFY_ASSETS_DOCUMENT`` a document to go by instead of the contract.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from support.contract import facts_document, original_document, read_document

schemathesis = pytest.importorskip("schemathesis")

from schemathesis.checks import not_a_server_error  # noqa: E402
from schemathesis.generation import GenerationMode  # noqa: E402
from schemathesis.specs.openapi.checks import (  # noqa: E402
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

OWN = os.environ.get("COMFY_ASSETS_DOCUMENT")
EXAMPLES = int(os.environ.get("COMFY_ASSETS_EXAMPLES", "5"))
SEED = 20_260_101
TIMEOUT_S = 20
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
RIGHT, WRONG = GenerationMode.POSITIVE, GenerationMode.NEGATIVE

# Where the contract knows of no refusal and this project has one all the same: of what is malformed, or, as the stock
# server does, of a path that leads out of a user's folder.
REFUSES = {
    "listWorkflows": ("400",),
    "getHistory": ("400",),
    "freeMemory": ("400",),
    "seedAssets": ("400",),
    "getAssetContent": ("400",),
    "subscribeToLogs": ("400",),
    "deleteUserdataFile": ("400", "403"),
    "getUserdata": ("403",),
    "getUserdataFile": ("403",),
    "moveUserdataFile": ("403",),
}
# What keeps the stock server's shape, which its page reads: nulls of nodes, errors as texts, bare paths, times
# of its log as texts.
STOCK = {
    "getNodeInfo", "getUserdata", "getUserdataFile", "deleteUserdataFile", "moveUserdataFile", "postUserdataFile",
    "getInternalFolderPaths", "getInternalLogs", "getInternalLogsRaw",
}  # fmt: skip


def _document() -> dict[str, Any]:
    return read_document(Path(OWN)) if OWN else _as_agreed(original_document() or facts_document())


def _as_agreed(contract: dict[str, Any]) -> dict[str, Any]:
    """The contract where it and the page disagree: addresses begin at the root, a setting is its bare value."""
    refusal = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorResponse"}}}}
    for item in contract["paths"].values():
        for operation in item.values():
            if not isinstance(operation, dict):
                continue
            name = operation.get("operationId", "")
            for status in REFUSES.get(name, ()):
                operation["responses"][status] = {"description": "Malformed", **refusal}
            if name == "getSettingById":
                operation["responses"]["200"]["content"]["application/json"]["schema"] = {}
    _take_out_addresses(contract["components"])
    return contract


def _take_out_addresses(node: Any) -> None:
    if isinstance(node, dict):
        if node.get("format") == "uri":
            del node["format"]
        for item in node.values():
            _take_out_addresses(item)
    elif isinstance(node, list):
        for item in node:
            _take_out_addresses(item)


SCHEMA = schemathesis.openapi.from_dict(_document(), config=schemathesis.Config())
OPERATIONS = {result.ok().definition.raw["operationId"]: result.ok() for result in SCHEMA.get_all_operations()}


def _cases() -> Iterator[Any]:
    """Each operation, with right requests and, as far as there is something to be wrong, with wrong ones."""
    for name, operation in sorted(OPERATIONS.items()):
        yield pytest.param(name, RIGHT, id=f"{name}-right")
        if any(operation.iter_parameters()) or operation.body:
            yield pytest.param(name, WRONG, id=f"{name}-wrong")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, start: Callable[..., Any]) -> Iterator[Any]:
    with start(tmp_path_factory.mktemp("surface")) as running:
        running.wait_until_up()
        running.wait_until_read()
        yield running


@pytest.mark.slow
@pytest.mark.parametrize(("name", "mode"), list(_cases()))
def test_what_is_made_up_is_answered_as_documented(server: Any, name: str, mode: Any) -> None:
    url = f"http://127.0.0.1:{server.port}"
    checks = CHECKS[:2] if name in STOCK and not OWN else CHECKS

    @seed(SEED)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(OPERATIONS[name].as_strategy(generation_mode=mode))
    def answered(case: Any) -> None:
        response = case.call(base_url=url, timeout=TIMEOUT_S)
        case.validate_response(response, checks=checks)

    try:
        answered()
    except Unsatisfiable:
        assert mode is WRONG
        pytest.skip("nothing is wrong here: any text is right")
