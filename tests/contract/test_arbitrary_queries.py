"""Whatever a query says, the answer is a page or a 400 that names the parameter: never a 500."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.examples import examples
from yarl import URL

FILTERS = [
    "tags_all",
    "tags_any",
    "tags_none",
    "include_tags",
    "exclude_tags",
    "name_contains",
    "q",
    "metadata_filter",
    "include_public",
    "kind",
    "rating",
    "favorite",
    "base_model",
    "created_from",
    "created_days",
    "updated_to",
    "utc_offset",
    "size_min",
    "width_max",
    "orientation",
    "missing",
    "used",
    "job_id",
    "limit",
]
FOLDER = ["folder", "folder_recursive"]
PARAMETERS = {
    "/api/assets": [*FILTERS, *FOLDER, "offset", "sort", "order", "hash", "after"],
    "/api/assets/tags/refine": [*FILTERS, *FOLDER],
    "/api/assets/folders": [*FILTERS, "prefix", "depth", "after"],
    "/api/tags": ["prefix", "limit", "offset", "order", "include_zero", "include_public"],
}
bounded = settings(
    max_examples=examples(40, 100),
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

texts = st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass"))
likely = st.sampled_from(
    [
        *[
            "1",
            "0",
            "-1",
            "500",
            "1e3",
            "true",
            "False",
            "name",
            "size",
            "asc",
            "desc",
            "models",
            "output/a",
            "%",
            "_",
            ",",
        ],
        *["%", "_", ",", "{}", '{"a":1}', '{"a":[null,true]}', "[]", "blake3:" + "a" * 64],
        *["W10", "WzEsImNyZWF0ZWRfYXQiLCJkZXNjIiwxLDFd"],
    ]
).map(str.encode)
values = st.one_of(st.binary(max_size=40), texts, likely)


def pairs(path: str) -> Any:
    return st.lists(st.tuples(st.sampled_from(PARAMETERS[path]), values), max_size=4)


@pytest.fixture
async def shelf(library: Any) -> Any:
    """A library that is not empty."""
    for path in ("models/loras/a.safetensors", "output/Größe.png", "input/c.txt"):
        library.write(path)
    await library.scan()
    return library


async def check(api: Any, path: str, query: list[tuple[str, bytes]]) -> None:
    text = "&".join(f"{name}={quote_from_bytes(value)}" for name, value in query)
    answer = await api.send("GET", URL(f"{path}?{text}", encoded=True), None)
    assert answer.status in (200, 400), (query, answer)
    if answer.status == 400:
        assert answer.json["details"]["field"] in {name for name, _ in query}


@pytest.mark.parametrize("path", PARAMETERS)
@bounded
@given(data=st.data())
async def test_any_bytes_for_any_parameter(shelf: Any, api: Any, path: str, data: st.DataObject) -> None:
    await check(api, path, data.draw(pairs(path)))


scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=10))
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
)


@bounded
@given(wanted=st.dictionaries(st.text(max_size=5), documents, max_size=4) | documents)
async def test_any_json_as_a_metadata_filter(shelf: Any, api: Any, wanted: Any) -> None:
    await check(api, "/api/assets", [("metadata_filter", json.dumps(wanted).encode())])


@bounded
@given(
    sort=st.sampled_from(["name", "size", "created_at"]),
    members=st.lists(scalars, max_size=3) | st.tuples(st.integers() | st.text(max_size=10), st.integers()),
)
async def test_any_json_as_a_cursor(shelf: Any, api: Any, sort: str, members: Any) -> None:
    raw = json.dumps([1, sort, "desc", *members]).encode()
    cursor = base64.urlsafe_b64encode(raw).rstrip(b"=")
    await check(api, "/api/assets", [("sort", sort.encode()), ("after", cursor)])
