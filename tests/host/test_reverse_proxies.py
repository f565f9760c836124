"""The examples of docs/reverse-proxies.md with the real Caddy and nginx, in front of a server with the login on."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from support.logins import PASSWORD, login_on
from support.servers import HttpServer, make_base, standalone

pytestmark = pytest.mark.slow

DOCS = Path(__file__).resolve().parents[2] / "docs" / "reverse-proxies.md"
WAIT_S = 30.0
HOST, SITE = "comfy.example.com", "www.example.com"
NAMES = {"COMFY_ASSETS_ALLOWED_HOSTS": f"{HOST} {SITE}"}  # for clients without a browser, such as this one
WEBSOCKET = {
    "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}  # fmt: skip


def program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed (apt-get install {name})")
    return found


def examples(kind: str) -> list[str]:
    """The examples of a language, in their order."""
    return re.findall(rf"```{kind}\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)


def free_port() -> int:
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        return int(chosen.getsockname()[1])


class Provider(BaseHTTPRequestHandler):
    """Stands for Authelia and for oauth2-proxy: the user is the one in the cookie ``signed``."""

    def do_GET(self) -> None:
        user = re.search(r"signed=(\w+)", self.headers.get("Cookie", ""))
        if user is None or not self.path.startswith(("/api/authz/forward-auth", "/oauth2/auth")):
            self.send_response(401)
        else:
            self.send_response(202 if self.path.startswith("/oauth2") else 200)
            self.send_header("Remote-User", user[1])
            self.send_header("X-Auth-Request-User", user[1])
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@dataclass
class Proxy:
    """A running proxy with https, and the path of the server below its host."""

    port: int
    host: str
    root: str
    server: HttpServer
    cookie: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def connect(self) -> http.client.HTTPSConnection:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(self.host, self.port, timeout=WAIT_S, context=context)
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=WAIT_S)
        connection.sock = context.wrap_socket(plain, server_hostname=self.host)
        return connection

    def send(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, dict[str, str], list[str], bytes]:
        """The status, the headers, the cookies and the body of the answer to a path below the root."""
        connection = self.connect()
        try:
            given = {"Cookie": self.cookie, **self.headers, **headers}
            content = None if body is None else json.dumps(body).encode()
            if content is not None:
                given = {"Content-Type": "application/json", "Origin": f"https://{self.host}:{self.port}", **given}
            named = {name: value for name, value in given.items() if value}
            connection.request(method, self.root + path, content, {"Host": f"{self.host}:{self.port}", **named})
            answer = connection.getresponse()
            cookies = answer.headers.get_all("Set-Cookie") or []
            return answer.status, dict(answer.headers), cookies, b"" if answer.status == 101 else answer.read()
        finally:
            connection.close()

    def first_message(self, path: str, **headers: str) -> bytes:
        """The beginning of what a websocket sends by itself."""
        connection = self.connect()
        try:
            named = {"Host": f"{self.host}:{self.port}", "Origin": f"https://{self.host}:{self.port}", **headers}
            if self.cookie:
                named["Cookie"] = self.cookie
            lines = [f"GET {self.root}{path} HTTP/1.1", *(f"{k}: {v}" for k, v in {**named, **WEBSOCKET}.items())]
            connection.sock.sendall("\r\n".join([*lines, "", ""]).encode())
            received = b""
            while b'"status"' not in received and (more := connection.sock.recv(65536)):
                received += more
                if b"\r\n" in received and b" 101 " not in received.partition(b"\r\n")[0]:
                    break
            return received
        finally:
            connection.close()


@pytest.fixture(scope="module")
def provider() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpServer]:
    base = tmp_path_factory.mktemp("behind")
    accounts = login_on(make_base(base))
    key: Any = {"X-API-Key": accounts.create_token("Root", "t", ["admin"])[1]}
    settings = {"COMFY_ASSETS_TRUSTED_PROXIES": "127.0.0.1", **NAMES}
    with standalone(base, **settings) as started:
        started.wait_for("/system_stats", lambda _: True, **key)
        yield started


@pytest.fixture(scope="module")
def authelia_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpServer]:
    base = tmp_path_factory.mktemp("authelia")
    accounts = login_on(make_base(base))
    key: Any = {"X-API-Key": accounts.create_token("Root", "t", ["admin"])[1]}
    settings = {
        "COMFY_ASSETS_TRUSTED_PROXIES": "127.0.0.0/8, ::1",
        "COMFY_ASSETS_PROXY_USER_HEADER": "Remote-User",
        "COMFY_ASSETS_PROXY_NEW_USERS": "guest",
        **NAMES,
    }
    with standalone(base, **settings) as started:
        started.wait_for("/system_stats", lambda _: True, **key)
        yield started


def running(command: list[str], folder: Path, port: int) -> Iterator[None]:
    """Run a proxy until it is to end."""
    environment = {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=environment)
        try:
            deadline = time.monotonic() + WAIT_S
            while True:
                assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()[-2000:]
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    time.sleep(0.05)
            yield
        finally:
            process.terminate()
            process.wait(timeout=WAIT_S)


def caddy(folder: Path, example: str, server: HttpServer, provider: int) -> Iterator[int]:
    port = free_port()
    text = example.replace("127.0.0.1:8188", f"127.0.0.1:{server.port}")
    text = text.replace("127.0.0.1:9091", f"127.0.0.1:{provider}")
    text = re.sub(r"^([a-z.]+) \{", rf"https://\1:{port} {{\n\ttls internal", text, count=1, flags=re.MULTILINE)
    options = "{\n\tadmin off\n\tskip_install_trust\n\tauto_https disable_redirects\n}\n"
    (folder / "Caddyfile").write_text(options + text)
    command = [program("caddy"), "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]
    for _ in running(command, folder, port):
        yield port


def nginx(folder: Path, text: str, server: HttpServer, provider: int) -> Iterator[int]:
    port = free_port()
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    subject = ["-subj", f"/CN={HOST}", "-days", "2", "-nodes", "-newkey", "rsa:2048"]
    made = [str(folder / f"{HOST}.key"), "-out", str(folder / f"{HOST}.pem")]
    subprocess.run(["openssl", "req", "-x509", *subject, "-keyout", *made], check=True, capture_output=True)
    text = text.replace("127.0.0.1:8188", f"127.0.0.1:{server.port}").replace("127.0.0.1:4180", f"127.0.0.1:{provider}")
    text = text.replace("/etc/ssl/", f"{folder}/").replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl")
    temporary = "".join(
        f"    {kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;\n" if os.name == "posix" and os.geteuid() == 0 else ""
    config = (
        f"{user}daemon off;\nerror_log stderr;\npid {folder}/pid;\nevents {{}}\n"
        f"http {{\n    access_log off;\n{temporary}{text}\n}}\n"
    )
    (folder / "nginx.conf").write_text(config)
    command = [program("nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
    for _ in running(command, folder, port):
        yield port


@pytest.fixture(scope="module", params=["caddy", "caddy below a path", "nginx", "nginx below a path"])
def proxy(request: Any, tmp_path_factory: pytest.TempPathFactory, server: HttpServer, provider: int) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("proxy")
    name, _, place = request.param.partition(" ")
    if name == "caddy":
        example = examples("caddyfile")[1 if place else 0]
        for port in caddy(folder, example, server, provider):
            yield Proxy(port, SITE if place else HOST, "/comfy" if place else "", server)
        return
    whole, uri, below, _ = examples("nginx")
    text = uri + re.sub(r"    location / \{.*?\}\n", lambda _: below, whole, flags=re.DOTALL) if place else whole
    for port in nginx(folder, text, server, provider):
        yield Proxy(port, HOST, "/comfy" if place else "", server)


def test_a_server_behind_a_proxy(proxy: Proxy) -> None:
    status, _, _, page = proxy.send("GET", "/", Accept="text/html")
    assert status == 401 and b'id="sign-in"' in page and b'data-root="./"' in page
    assert proxy.send("GET", "/queue")[0] == 401
    status, _, cookies, _ = proxy.send("POST", "/api/login", {"name": "Ada", "password": PASSWORD})
    assert status == 200 and all("Secure" in each and "Path=/" in each for each in cookies)
    session = "; ".join(each.partition(";")[0] for each in cookies)
    signed_in = Proxy(proxy.port, proxy.host, proxy.root, proxy.server, session)
    assert signed_in.send("GET", "/queue")[0] == 200
    # Names of user files have encoded slashes.
    path = "/userdata/workflows%2Fdeep%2Fa%20%C3%A9.json"
    assert signed_in.send("POST", f"/api{path}?overwrite=true", {"nodes": []})[0] == 200
    assert json.loads(signed_in.send("GET", f"/api{path}")[3]) == {"nodes": []}
    assert (proxy.server.base / "user/default/workflows/deep/a é.json").is_file()
    received = signed_in.first_message("/ws?clientId=x")
    assert received.startswith(b"HTTP/1.1 101") and b'"status"' in received
    assert b" 401" in proxy.first_message("/ws?clientId=x").partition(b"\r\n")[0]
    sessions = json.loads(signed_in.send("GET", "/api/login/sessions")[3])["sessions"]
    assert sessions[0]["address"] == "127.0.0.1"
    # Pages of other origins, and of the same site on another port.
    for origin in ("https://evil.example", f"https://{proxy.host}:1", "null"):
        status, _, _, body = signed_in.send("POST", "/prompt", {}, Origin=origin)
        assert (status, json.loads(body)["code"]) == (403, "ORIGIN_NOT_ALLOWED")
    if proxy.root:
        bare = Proxy(proxy.port, proxy.host, "", proxy.server)
        status, headers, _, _ = bare.send("GET", "/comfy")
        assert status in (301, 302) and headers["Location"].endswith("/comfy/")


def test_a_proxy_removes_the_name_that_a_client_sends(proxy: Proxy) -> None:
    """The proxies of the first examples name nobody, although their address is a trusted one."""
    assert proxy.send("GET", "/queue", **{"X-Forwarded-User": "Root"})[0] == 401


def proxy_kind(proxy: Proxy) -> str:
    """The name of a proxy, by the header that it sends."""
    return proxy.send("GET", "/health")[1].get("Server", "")


@pytest.fixture(scope="module", params=["caddy", "nginx"])
def signing_in(
    request: Any,
    tmp_path_factory: pytest.TempPathFactory,
    server: HttpServer,
    authelia_server: HttpServer,
    provider: int,
) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("signing")
    if request.param == "caddy":
        for port in caddy(folder, examples("caddyfile")[2], authelia_server, provider):
            yield Proxy(port, HOST, "", authelia_server)
        return
    whole, *_, locations = examples("nginx")
    text = re.sub(r"    location / \{.*?\}\n", lambda _: locations, whole, flags=re.DOTALL)
    for port in nginx(folder, text, server, provider):
        yield Proxy(port, HOST, "", server)


def test_users_of_a_proxy_that_signs_them_in(signing_in: Proxy) -> None:
    forged = {"X-Forwarded-User": "Root", "Remote-User": "Root", "X-Auth-Request-User": "Root"}
    for headers in ({}, forged):
        assert signing_in.send("GET", "/queue", **headers)[0] in (302, 401)
        assert b" 101" not in signing_in.first_message("/ws?clientId=x", **headers).partition(b"\r\n")[0]
    ada = Proxy(signing_in.port, signing_in.host, "", signing_in.server, "signed=ada")
    for headers in ({}, forged):
        status, _, _, body = ada.send("GET", "/api/login", **headers)
        assert status == 200, body
        who = json.loads(body)
        assert (who["user"], who["role"], who["kind"]) == ("Ada", "member", "proxy")
    assert ada.first_message("/ws?clientId=x").startswith(b"HTTP/1.1 101")
    assert ada.send("POST", "/interrupt", {})[0] == 200
    assert ada.send("POST", "/interrupt", {}, Origin="https://evil.example")[0] == 403
    assert ada.send("GET", "/internal/logs")[0] == 403
    stranger = Proxy(signing_in.port, signing_in.host, "", signing_in.server, "signed=stranger")
    status, _, _, body = stranger.send("GET", "/api/login")
    if "nginx" in proxy_kind(ada):  # whose server adds nobody
        assert (status, json.loads(body)["code"]) == (403, "NOT_PERMITTED")
    else:
        assert (status, json.loads(body)["role"]) == (200, "guest")


def test_the_header_of_others_means_nothing(server: HttpServer) -> None:
    """A client beside the proxy, at another address than the trusted one."""
    if os.name != "posix" or os.uname().sysname == "Darwin":
        pytest.skip("only 127.0.0.1 is loopback there")
    for source, wanted in (("127.0.0.7", 401), ("127.0.0.1", 200)):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=WAIT_S, source_address=(source, 0))
        connection.request("GET", "/queue", headers={"X-Forwarded-User": "Root"})
        assert connection.getresponse().status == wanted
        connection.close()
