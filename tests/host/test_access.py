"""Who may use a server over HTTP, and by which paths: the same on the standalone host and on a ComfyUI."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from support.files import picture
from support.requests import multipart
from support.servers import COMFYUI

GRAPH = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 2, "height": 2, "batch_size": 1, "color": 0}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "made"}},
}
PROMPT = json.dumps({"prompt": GRAPH}).encode()
BROWSER = {"User-Agent": "Mozilla/5.0 Chrome/150", "Accept": "*/*"}
WEBSOCKET = {
    "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}  # fmt: skip
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>document.title = "ran"</script></svg>'
LIMITS = {"COMFY_ASSETS_MAX_PROMPT_MB": "1", "COMFY_ASSETS_MAX_IMAGE_EDGE": "16"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, start: Any) -> Iterator[Any]:
    base = tmp_path_factory.mktemp("access")
    with start(base, COMFY_ASSETS_ALLOWED_HOSTS="studio.example, *.cloud.example", **LIMITS) as running:
        for name, content in (
            ("pic.svg", SVG),
            ("page.html", b"<script>1</script>"),
            ("a.pdf", b"%PDF"),
            ("a.txt", b"a"),
        ):
            (base / "input" / name).write_bytes(content)
        (base / "input/held.png").write_bytes(picture(size=(4, 4)))
        running.wait_until_up()
        running.wait_until_read()
        yield running


def state(server: Any) -> tuple[Any, ...]:
    """What a request that is refused must not change."""
    jobs = server.get("/api/jobs").json["pagination"]["total"]
    files = sorted(path.name for folder in ("input", "output") for path in (server.base / folder).iterdir())
    return jobs, files


def requests(server: Any, headers: dict[str, str]) -> Iterator[tuple[str, Any]]:
    """One request of each kind, with these headers."""
    json_type = {"Content-Type": "application/json"}
    body, form_type = multipart([("image", ("evil.png", picture()))])
    for prefix in ("", "/api"):
        yield "page", server.send("GET", prefix + "/queue", headers=headers)
        yield "prompt", server.send("POST", prefix + "/prompt", PROMPT, {**json_type, **headers})
        yield "plain", server.send("POST", prefix + "/prompt", PROMPT, {"Content-Type": "text/plain", **headers})
        yield "history", server.send("POST", prefix + "/history", b'{"clear": true}', {**json_type, **headers})
        yield "upload", server.send("POST", prefix + "/upload/image", body, {**form_type, **headers})
        yield "view", server.send("GET", prefix + "/view?filename=held.png&type=input", headers=headers)
    yield "root", server.send("GET", "/", headers=headers)
    yield "script", server.send("GET", "/extensions/comfy-assets/comfy_assets.js", headers=headers)
    yield "list", server.send("GET", "/api/assets", headers=headers)
    yield "prune", server.send("POST", "/api/assets/prune", headers=headers)
    yield "delete", server.send("DELETE", "/api/assets/x", headers=headers)
    yield "unknown", server.send("GET", "/nothing/here", headers=headers)
    yield "websocket", server.send("GET", "/ws", headers={**WEBSOCKET, **headers})
    yield "preflight", server.send("OPTIONS", "/prompt", headers=headers)


EVIL = "http://evil.example"
FOREIGN = [
    {"Host": "127.0.0.1:{port}", "Origin": EVIL},
    {"Host": "localhost:{port}", "Origin": EVIL},
    {"Host": "0.0.0.0:{port}", "Origin": EVIL},
    {"Host": "[::ffff:7f00:1]:{port}", "Origin": EVIL},
    {"Host": "[::]:{port}", "Origin": EVIL},
    {"Host": "192.168.1.5:{port}", "Origin": EVIL},
    {"Host": "nas.lan:{port}", "Origin": EVIL},
    {"Host": "studio.example", "Origin": EVIL},
    {"Host": "rebind.evil.example:{port}"},
    {
        "Host": "rebind.evil.example:{port}",
        "Origin": "http://rebind.evil.example:{port}",
        "Sec-Fetch-Site": "same-origin",
    },
    {"Host": "127.0.0.1:{port}", "Origin": "http://127.0.0.1"},
    {"Host": "127.0.0.1:{port}", "Origin": "https://127.0.0.1"},
    {"Host": "127.0.0.1", "Origin": "http://127.0.0.1:1"},
    {"Host": "127.0.0.1:{port}", "Origin": "null"},
    {"Host": "127.0.0.1:{port}", "Sec-Fetch-Site": "cross-site"},
    {"Host": "127.0.0.1:{port}", "Sec-Fetch-Site": "same-site", "Sec-Fetch-Dest": "image"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=lambda headers: " ".join(headers.values()))
def test_nothing_is_read_or_changed_by_another_origin(server: Any, headers: dict[str, str]) -> None:
    before = state(server)
    filled = {name: value.format(port=server.port) for name, value in headers.items()}
    for kind, answer in requests(server, filled):
        assert answer.status == 403, kind
        if answer.body:  # ComfyUI's own check, which is older, says nothing
            assert answer.json["code"] in ("ORIGIN_NOT_ALLOWED", "HOST_NOT_ALLOWED")
            assert "COMFY_ASSETS_ALLOWED_HOSTS" in answer.json["message"]
    assert state(server) == before


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Host": "0.0.0.0:{port}", "User-Agent": "curl/8"},
        {"Host": "127.0.0.1:{port}", "Origin": "http://127.0.0.1:{port}", "Sec-Fetch-Site": "same-origin"},
        {"Host": "192.168.1.5:{port}", "Origin": "http://192.168.1.5:{port}"},
        {"Host": "comfyui:{port}"},
        {"Host": socket.gethostname() + ":{port}"},
        {"Host": "studio.example", "Origin": "https://studio.example"},
        {"Host": "x.cloud.example:{port}"},
        {"Host": "pod.rental.example", "X-Forwarded-Proto": "https", "Origin": "https://pod.rental.example"},
    ],
    ids=str,
)
def test_programs_and_the_own_page_are_served(server: Any, headers: dict[str, str]) -> None:
    filled = {name: value.format(port=server.port) for name, value in headers.items()}
    for path in ("/", "/api/assets", "/api/queue", "/queue", "/api/view?filename=held.png&type=input"):
        assert server.send("GET", path, headers=filled).status == 200, path
    json_type = {"Content-Type": "application/json"}
    assert server.send("POST", "/api/prompt", PROMPT, {**json_type, **filled}).status == 200
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("GET", "/ws", headers={**WEBSOCKET, **filled})
    assert connection.getresponse().status == 101
    connection.close()


def test_a_link_from_another_site_opens_the_page(server: Any) -> None:
    navigation = {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert server.get("/", **navigation).status == 200
    assert server.get("/", **{**navigation, "Sec-Fetch-Dest": "iframe"}).status == 403


def test_a_browser_is_led_from_the_unspecified_address_to_loopback(server: Any) -> None:
    for host, target in (("0.0.0.0", "127.0.0.1"), ("[::]", "[::1]"), ("[::ffff:127.0.0.1]", "127.0.0.1")):
        answer = server.get("/api/view?a=%2F", Host=f"{host}:{server.port}", **BROWSER)
        assert answer.status == 307
        assert answer.headers["Location"] == f"http://{target}:{server.port}/api/view?a=%2F"


def test_headers_keep_responses_from_other_origins(server: Any) -> None:
    paths = ("/", "/api/docs", "/api/assets", "/api/view?filename=held.png&type=input", "/nothing", "/extensions")
    for path in paths:
        answer = server.get(path)
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin", path
        policies = answer.headers.get_all("Content-Security-Policy")
        assert sum(policy.count("frame-ancestors 'self'") for policy in policies) == 1, (path, policies)
    for path in ("/", "/assets", "/api/docs"):
        assert server.get(path).headers["X-Frame-Options"] == "SAMEORIGIN", path


# How a path can be written so that aiohttp takes it for the same.
def spellings(path: str) -> list[str]:
    last = path.rindex("/") + 1
    each = [path, path[:last] + f"%{ord(path[last]):02x}" + path[last + 1 :], path[:-1] + f"%{ord(path[-1]):02X}"]
    return [*each, f"/%{ord(path[1]):02x}{path[2:]}"]


def test_limits_hold_for_every_spelling_of_a_path(server: Any) -> None:
    large = json.dumps({"prompt": GRAPH, "extra_data": {"x": "y" * (1 << 20)}}).encode()
    body, form_type = multipart([("image", ("wide.png", picture(size=(17, 17))))])
    for path in (*spellings("/prompt"), *spellings("/api/prompt")):
        answer = server.send("POST", path, large, {"Content-Type": "application/json"})
        assert answer.status in (413, 404, 405), path
    for path in (*spellings("/upload/image"), *spellings("/api/upload/image")):
        assert server.send("POST", path, body, form_type).status in (400, 404, 405), path
    assert not (server.base / "input/wide.png").exists()
    assert server.send("POST", "/%70rompt", PROMPT, {"Content-Type": "application/json"}).status in (200, 404, 405)


OTHER_TYPES = ["text/plain", "text/plain;charset=UTF-8", "application/x-www-form-urlencoded", "multipart/form-data", ""]


@pytest.mark.parametrize("kind", OTHER_TYPES)
def test_json_is_sent_as_json(server: Any, kind: str) -> None:
    headers = {"Content-Type": kind} if kind else {}
    for path in (
        "/api/history",
        "/api/queue",
        "/api/assets/prune",
        "/api/feedback",
        "/api/workflows",
        "/api/interrupt",
    ):
        answer = server.send("POST", path, b'{"clear": true}', headers)
        assert answer.status == 415 and answer.json["code"] == "UNSUPPORTED_MEDIA_TYPE", path
        assert answer.json["details"]["field"] == "Content-Type"
    browser = {**headers, "Origin": server.url}
    for path in ("/prompt", "/api/prompt", "/history", "/queue", "/interrupt", "/free", "/api/users"):
        assert server.send("POST", path, b"{}", browser).status == 415, path
    # Scripts send JSON under whatever type their library takes; the page sends settings as text.
    assert server.send("POST", "/prompt", PROMPT, headers).status == 200
    assert server.send("POST", "/api/settings", b'{"a": 1}', browser).status == 200


def test_an_empty_body_needs_no_type(server: Any) -> None:
    for path in ("/api/interrupt", "/api/assets/prune", "/interrupt"):
        assert server.send("POST", path, headers={"Origin": server.url}).status == 200
        assert server.send("POST", path, headers={"Content-Type": "application/json"}).status == 200


@pytest.mark.parametrize("name", ["pic.svg", "page.html", "a.pdf"])
def test_files_in_which_something_runs_are_sent_as_attachments(server: Any, name: str) -> None:
    stored = server.send("POST", f"/api/userdata/{name}", (server.base / "input" / name).read_bytes())
    assert stored.status == 200
    (asset,) = server.get(f"/api/assets?name_contains={name}").json["assets"]
    view = f"view?filename={name}&type=input"
    content = f"/api/assets/{asset['id']}/content?disposition=inline"
    for path in (
        f"/{view}",
        f"/api/{view}",
        f"/api/%76{view[1:]}",
        f"/api/userdata/{name}",
        f"/userdata/{name}",
        content,
    ):
        answer = server.get(path)
        if answer.status == 404 and "%76" in path:
            continue  # an aiohttp that compares paths as they were sent
        assert answer.status == 200, path
        assert answer.headers["Content-Type"] == "application/octet-stream", path
        assert answer.headers["Content-Disposition"].startswith("attachment;"), path
        assert answer.headers["X-Content-Type-Options"] == "nosniff", path
    assert server.get(content).headers["Cache-Control"] == "private, no-cache"
    for path in ("/view?filename=a.txt&type=input", "/api/view?filename=held.png&type=input"):
        shown = server.get(path)
        assert not (shown.headers["Content-Disposition"] or "").startswith("attachment")
        assert shown.headers["Content-Type"].startswith(("text/plain", "image/png"))


@pytest.mark.parametrize("prefix", ["/api/userdata/", "/userdata/"])
@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("workflows%2F%7Bx%7D.json", "{x}.json"),
        ("workflows/decoded.json", "decoded.json"),
        ("workflows/a/%7By%7D b%2Fmove/z.json".replace(" ", "%20"), "a/{y} b/move/z.json"),
    ],
)
def test_names_that_aiohttp_does_not_match(server: Any, prefix: str, path: str, name: str) -> None:
    text = json.dumps({"nodes": [], "name": name + prefix}).encode()
    saved = server.send("POST", prefix + path, text, {"Content-Type": "text/plain"})
    assert saved.status == 200, saved
    file = server.base / "user/default/workflows" / name
    assert file.read_bytes() == text
    assert server.get(prefix + path).body == text
    names = [each["name"] for each in server.get("/api/workflows?limit=100").json["data"]]
    assert file.stem in names, names
    moved = server.send("POST", f"{prefix}{path}/move/workflows/moved%20{{1}}.json")
    assert moved.status == 200 and not file.exists(), moved
    target = "workflows/moved {1}.json"
    assert (server.base / "user/default" / target).read_bytes() == text
    publish = "/api/userdata/" + quote(target) + "/publish"
    assert server.post(publish, {"asset_ids": []}).status == 200
    assert server.send("DELETE", prefix + quote(target)).status == 204
    assert not (server.base / "user/default" / target).exists()
    assert server.get(prefix + quote(target)).status == 404
    assert server.send("POST", prefix + "../../escaped.json", b"{}").status in (400, 403, 404)


def test_a_folder_named_move(server: Any) -> None:
    """``notes/move/a.json``, decoded by a proxy, is the path of moving ``notes``: it stays where it is."""
    folder = server.base / "user/default/notes"
    folder.mkdir(exist_ok=True)
    (folder / "kept.json").write_text("{}")
    assert server.send("POST", "/api/userdata/notes/move/a.json", b"[1]").status == 200
    assert (folder / "move/a.json").read_bytes() == b"[1]" and (folder / "kept.json").exists()
    assert server.get("/api/userdata/notes/move/a.json").body == b"[1]"
    assert server.send("POST", "/api/userdata/notes/move/a.json/move/notes/move/b.json").status == 200
    assert (folder / "move/b.json").exists() and not (folder / "move/a.json").exists()
    assert server.send("POST", "/api/userdata/notes%2Fkept.json/move/notes%2Fmoved.json").status == 200
    assert (folder / "moved.json").exists()


def test_no_request_forges_a_line_of_the_log(server: Any) -> None:
    server.get("/x%0a%5bERROR%5d%20FORGED%1b%5b31m", **{"Sec-Fetch-Site": "cross-site"})
    server.get("/api/assets", Host="evil.example", Origin="http://evil.example\u009b31m")
    assert "\n[ERROR] FORGED" not in server.log and "FORGED\x1b" not in server.log


def test_a_server_that_others_can_reach_says_so(tmp_path: Any, start: Any) -> None:
    with start(tmp_path, *LISTEN[start.__name__]) as server:
        server.wait_until_up()
        assert server.wait_for("/api/features", lambda features: features["open_to_network"])
        deadline = time.monotonic() + 10
        while "has no login" not in server.log:
            assert time.monotonic() < deadline, server.log[-2000:]
            time.sleep(0.05)


LISTEN = {"standalone": ["--without-login", "--host", "0.0.0.0"], "comfyui": ["--listen", "0.0.0.0"]}


@pytest.mark.comfyui
@pytest.mark.skipif(not COMFYUI, reason="COMFYUI_PATH names no ComfyUI checkout")
def test_an_origin_that_comfyui_admits_is_admitted(tmp_path: Any, start_comfyui: Any) -> None:
    friend = {"Origin": "https://friend.example", "Sec-Fetch-Site": "cross-site"}
    with start_comfyui(tmp_path, "--enable-cors-header", "https://friend.example") as server:
        server.wait_until_up()
        for path in ("/api/assets", "/queue"):
            answer = server.get(path, **friend)
            assert answer.status == 200 and answer.headers["Access-Control-Allow-Origin"] == "https://friend.example"
            assert "Cross-Origin-Resource-Policy" not in answer.headers
            assert server.get(path, Origin="http://evil.example").status == 403
        assert server.send("OPTIONS", "/prompt", headers=friend).status == 200
        policies = " ".join(server.get("/").headers.get_all("Content-Security-Policy"))
        assert "frame-ancestors 'self' https://friend.example" in policies


def test_settings_relax_the_checks(tmp_path: Any, start: Any) -> None:
    settings = {"COMFY_ASSETS_CHECK_ORIGIN": "0"}
    with start(tmp_path, **settings) as server:
        server.wait_until_up()
        assert server.get("/api/assets", Host="other.example").status == 200
        for path in ("/", "/assets"):
            headers = server.get(path, Host="other.example").headers
            assert "X-Frame-Options" not in headers and "Cross-Origin-Resource-Policy" not in headers, path
