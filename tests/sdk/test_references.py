"""Assets in graphs: handles of the official Python SDK, and references that clients write themselves."""

from __future__ import annotations

import json
from typing import Any

import pytest
from comfy_sdk import Asset, MissingAsset
from support.sdk import SdkServer, load_picture, one_node, picture, picture_file, word

pytestmark = pytest.mark.slow

NOBODY = "00000000-0000-4000-8000-000000000000"


def reference(asset_id: str, **hints: str) -> dict[str, Any]:
    return {"__type": "core/ASSET", "info": {"id": asset_id, **hints}}


@pytest.fixture
def asset(server: SdkServer) -> Asset:
    """A picture that has been uploaded."""
    made = server.client.assets.from_bytes(picture_file(), filename=f"{word()}.png")
    made.commit()
    return made


def values_of(server: SdkServer, value: Any) -> Any:
    """What a node was given for a value."""
    [output] = server.run(one_node("SdkEcho", value=value)).outputs
    return json.loads(output.to_bytes())


def test_a_handle_is_uploaded_and_loaded(server: SdkServer) -> None:
    workflow = server.client.workflows.from_json(load_picture("none"))
    workflow.set_input("1", "image", server.client.assets.from_bytes(picture_file(), filename=f"{word()}.png"))
    job = server.client.run(workflow)
    assert len(job.outputs) == 1


def test_the_id_alone_is_enough(server: SdkServer, asset: Asset) -> None:
    assert len(server.run(load_picture(reference(str(asset.id)))).outputs) == 1


def test_an_output_is_the_input_of_another_job(server: SdkServer) -> None:
    [first] = server.run(picture()).outputs
    [second] = server.run(load_picture(reference(first.id))).outputs
    assert second.id != first.id and second.to_bytes().startswith(b"\x89PNG")


def test_references_in_lists_and_objects_are_replaced(server: SdkServer, asset: Asset) -> None:
    """A list that is a value comes in ``__value__``, as everywhere in ComfyUI; a bare one would be a link."""
    plain = values_of(server, reference(str(asset.id)))
    assert isinstance(plain, str) and plain
    nested = {"files": [reference(str(asset.id)), reference(str(asset.id))], "n": [1, 2], "deep": [[{"a": "b"}]]}
    nested["deep"] = [[reference(str(asset.id))]]
    assert values_of(server, {"__value__": nested}) == {"files": [plain, plain], "n": [1, 2], "deep": [[plain]]}


def test_the_id_decides_not_the_hints(server: SdkServer, asset: Asset) -> None:
    hints = {"hash": "blake3:" + "0" * 64, "file_path": "other.png"}
    assert values_of(server, reference(str(asset.id), **hints)) == values_of(server, reference(str(asset.id)))


@pytest.mark.parametrize("where", ["plain", "nested"])
def test_a_bad_id_is_missing_whatever_the_hash(server: SdkServer, asset: Asset, where: str) -> None:
    bad = reference(NOBODY, hash=asset.hash, file_path=asset.file_path)
    value: Any = bad if where == "plain" else {"__value__": {"files": [reference(str(asset.id)), bad]}}
    with pytest.raises(MissingAsset) as caught:
        server.submit(one_node("SdkEcho", value=value))
    assert caught.value.http_status == 422 and NOBODY in json.dumps([caught.value.message, caught.value.details])


def test_a_deleted_asset_is_missing(server: SdkServer, asset: Asset) -> None:
    asset_id = str(asset.id)
    asset.delete()
    with pytest.raises(MissingAsset):
        server.submit(load_picture(reference(asset_id)))


def test_an_asset_whose_file_is_gone_is_missing(server: SdkServer, asset: Asset) -> None:
    [path] = (server.http.base / "input").rglob(asset.file_path)
    path.unlink()
    with pytest.raises(MissingAsset):
        server.submit(load_picture(reference(str(asset.id))))


def test_a_graph_without_references_is_run_as_it_is(server: SdkServer) -> None:
    """Objects of another type are values."""
    value = {"__value__": {"__type": "core/OTHER", "info": {"id": NOBODY}}}
    assert values_of(server, value) == value["__value__"]
