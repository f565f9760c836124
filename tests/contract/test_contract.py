"""The routes are the contract's operations, and the checks of bodies against its schemas do check."""

from __future__ import annotations

import re
from typing import Any

import jsonschema
import pytest
from comfy_assets_node.routes import ROUTES
from support.contract import Contract, contracts

# Operations of the project's own, beside those of the contract.
EXTENSIONS = {
    "listJobAssets",
    "getJobProgress",
    "listWorkflowVersions",
    "getWorkflowVersion",
    "getOpenApiDocument",
    "getApiPage",
    "getPanelPage",
}
EXTENSIONS |= {"deleteUserdataFilePublish", "getPublishedAssetContent", "importPublishedAssets"}
EXTENSIONS |= {"getRemoteAssetMetadata", "createAssetDownload"}
EXTENSIONS |= {f"{verb}Secret" for verb in ("create", "get", "update", "replace", "delete")}
EXTENSIONS |= {"listSecrets", "listSecretProviders"}
EXTENSIONS |= {"restoreAsset", "restoreWorkflow", "pauseAssetSeed", "resumeAssetSeed"}
# Operations of today's pages and of the hosted service that the contract does not have yet.
EXTENSIONS |= {"cancelTask", "deleteJob", "postAssetsFromWorkflow"}
EXTENSIONS |= {f"{verb}Collection" for verb in ("create", "get", "update", "delete", "restore")}
EXTENSIONS |= {"listCollections", *(f"{verb}CollectionAssets" for verb in ("add", "remove", "move"))}
EXTENSIONS |= {"listSavedSearches", *(f"{verb}SavedSearch" for verb in ("create", "get", "replace", "delete"))}
EXTENSIONS |= {"listAssetFolders", "listAssetFacets", "listAssetDays"}
EXTENSIONS |= {"listAssetUses", "listTrash", "getTrashThumbnail", "restoreTrashEntry", "deleteTrashEntry", "emptyTrash"}
EXTENSIONS |= {"batchAssets", "listBatches", "undoBatch"}
EXTENSIONS |= {"exportWorkflow", "importWorkflow"}
EXTENSIONS |= {"getNetwork", "showAssetInFolder"}
EXTENSIONS |= {"getLoginPage", "getLogin", "signIn", "signOut", "changePassword"}
EXTENSIONS |= {
    "listSessions",
    "endSession",
    "endSessions",
    "listTokens",
    "createToken",
    "revokeToken",
    "createLoginLink",
    *("getOAuthMetadata", "getAuthorizePage", "authorizeProgram", "exchangeAuthorizationCode"),
}
EXTENSIONS |= {"listLoginUsers", "addLoginUser", "changeLoginUser", "removeLoginUser", "createLoginUserLink"}
EXTENSIONS |= {"getLoginUserUse"}
EXTENSIONS |= {"listWorkflowRequirements", "relinkWorkflow"}
EXTENSIONS |= {"createAssetExport", "downloadExport", "downloadExportContent"}


@pytest.fixture(params=contracts())
def document(request: pytest.FixtureRequest) -> Contract:
    """The contract: by its facts, and by the original where the environment names it."""
    return contracts()[request.param]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation.id)
def test_a_route_is_an_operation_of_the_contract(document: Any, route: Any) -> None:
    if route.operation.id in EXTENSIONS:
        taken = {(method, path) for method, path, _ in document.operations.values()}
        assert route.operation.id not in document.operations and (route.method, route.path) not in taken
        return
    method, path, operation = document.operations[route.operation.id]
    assert (route.method, route.path) == (method, path)
    names = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
    assert set(re.findall(r"\{(\w+)\}", route.path)) == names


def test_no_operation_has_two_routes() -> None:
    assert len({route.operation.id for route in ROUTES}) == len(ROUTES)
    assert len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)


@pytest.mark.parametrize(
    "change",
    [
        {"id": "no-uuid"},
        {"created_at": "2024-01-01T00:00:00+00:00"},
        {"created_at": 5},
        {"hash": "blake3:XYZ"},
        {"size": None},
        {"size": 2**63},
        {"tags": [1]},
    ],
)
def test_the_check_of_bodies_finds(document: Any, api: Any, change: dict[str, Any]) -> None:
    entry = {
        "id": "00000000-0000-7000-8000-000000000000",
        "name": "a.png",
        "display_name": None,
        "created_at": "2024-01-01T00:00:00.123Z",
        "updated_at": "2024-01-01T00:00:00Z",
    }
    api.validate(entry, document.schema("GET", "/api/assets/x", 200))
    with pytest.raises(jsonschema.ValidationError):
        api.validate({**entry, **change}, document.schema("GET", "/api/assets/x", 200))


def test_an_error_without_a_code_is_found(document: Any, api: Any) -> None:
    with pytest.raises(jsonschema.ValidationError):
        api.validate({"error": {"message": "no"}}, document.schema("GET", "/api/assets", 400))
