"""The rules of access, as a table: which combinations of Host, Origin and Sec-Fetch headers are accepted."""

from __future__ import annotations

import pytest
from comfy_assets_node.comfy_assets.errors import ApiError
from comfy_assets_node.comfy_assets.host.access import (
    AccessRequest,
    AccessRules,
    HostRedirect,
    is_beyond_this_machine,
    judge,
    parse_allowed_host,
)

RULES = AccessRules(
    allowed_hosts=[parse_allowed_host(each) for each in ("studio.example", "*.cloud.example", "odd.example:8443")],
    own_names={"localhost", "box", "box.local", "box.house.example"},
)
BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Chrome/150"}
NAVIGATION = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
HTTPS = {"X-Forwarded-Proto": "https"}


def asked(headers: dict[str, str], method: str = "GET", scheme: str = "http", rules: AccessRules = RULES) -> object:
    """The verdict in short: None, the code of a refusal, or where to go."""
    verdict = judge(rules, AccessRequest(method, scheme, {name.lower(): [value] for name, value in headers.items()}))
    if isinstance(verdict, ApiError):
        assert verdict.message and "COMFY_ASSETS_ALLOWED_HOSTS" in verdict.message
        return verdict.code
    return verdict.authority if isinstance(verdict, HostRedirect) else None


HOSTS = ["127.0.0.1:8188", "localhost:8188", "0.0.0.0:8188", "[::]:8188", "[::1]:8188", "[::ffff:7f00:1]:8188"]
HOSTS += ["192.168.1.5:8188", "[fe80::1]:8188", "box:8188", "BOX.local:8188", "box.house.example.:8188"]
HOSTS += ["comfyui:8188", "a.localhost", "studio.example", "studio.example:444", "x.y.cloud.example", "127.0.0.1"]
HOSTS += ["odd.example"]


@pytest.mark.parametrize("host", HOSTS)
def test_a_program_and_the_own_page_are_accepted_under_every_own_name(host: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        assert asked({"Host": host, "User-Agent": "curl/8", "Accept": "*/*"}, method) is None
        assert asked({"Host": host, "Origin": f"http://{host}", **BROWSER}, method) is None
        assert asked({"Host": host, "Sec-Fetch-Site": "same-origin", **BROWSER}, method) is None
    assert asked({"Host": host, "Sec-Fetch-Site": "none", **NAVIGATION, **BROWSER}) is None


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example", "https://evil.example", "null", "http://127.0.0.1:9", "http://localhost", "file://", "",
        "http://[::1", "chrome-extension://abc", "http://192.168.1.5:9", "http://studio.example:81",
        "http://z.cloud.example:9", "http://evil.example@127.0.0.1:8188", "http://127.0.0.1:8188.evil.example",
        "http://odd.example:8444", "javascript:0",
    ],
)  # fmt: skip
def test_another_origin_is_refused_under_every_name(host: str, origin: str) -> None:
    for more in ({}, HTTPS, {"Sec-Fetch-Site": "same-origin"}):
        for method in ("GET", "POST", "OPTIONS"):
            assert asked({"Host": host, "Origin": origin, **more}, method) == "ORIGIN_NOT_ALLOWED"


@pytest.mark.parametrize(
    "host", ["rebind.evil.example:8188", "evil.example", "1.2.3.4.nip.io", "localhost.evil.example"]
)
def test_a_name_bound_to_this_server_by_others_is_refused(host: str) -> None:
    own = {"Host": host, "Origin": f"http://{host}"}
    for headers in ({"Host": host}, own, {**own, "Sec-Fetch-Site": "same-origin"}, {**own, **HTTPS}):
        for method in ("GET", "POST"):
            assert asked(headers, method) == "HOST_NOT_ALLOWED", headers
    # What its scripts can set, without what they cannot.
    assert asked({"Host": host, "X-Forwarded-Host": "127.0.0.1:8188", **HTTPS}) == "HOST_NOT_ALLOWED"


@pytest.mark.parametrize(
    ("headers", "verdict"),
    [
        ({"Host": "127.0.0.1:8188", "Origin": "http://127.0.0.1"}, "ORIGIN_NOT_ALLOWED"),
        ({"Host": "127.0.0.1:8188", "Origin": "https://127.0.0.1"}, "ORIGIN_NOT_ALLOWED"),
        ({"Host": "127.0.0.1", "Origin": "http://127.0.0.1:9170"}, "ORIGIN_NOT_ALLOWED"),
        ({"Host": "127.0.0.1", "Origin": "http://127.0.0.1"}, None),
        ({"Host": "127.0.0.1", "Origin": "https://127.0.0.1"}, None),  # TLS that ends at a proxy
        ({"Host": "127.0.0.1:443", "Origin": "https://127.0.0.1"}, None),
        ({"Host": "LOCALHOST:2", "Origin": "HTTP://localhost:2"}, None),
        ({"Host": "[::ffff:127.0.0.1]:2", "Origin": "http://[::ffff:7f00:1]:2"}, None),
        ({"Host": "127.0.0.1:2", "Origin": "http://[::ffff:7f00:1]:2"}, None),
        ({"Host": "127.0.0.1:2", "X-Forwarded-Host": "my.example", "Origin": "https://my.example"}, None),
        ({"Host": "127.0.0.1:2", "X-Forwarded-Host": "my.example, proxy", "Origin": "https://my.example"}, None),
        ({"Host": "127.0.0.1:2", "X-Forwarded-Host": "my.example", "Origin": "http://e.example"}, "ORIGIN_NOT_ALLOWED"),
        ({"Host": "comfyui:8188", "Origin": "https://studio.example", "Sec-Fetch-Site": "same-origin"}, None),
        ({"Host": "comfyui:8188", "Origin": "https://odd.example:8443"}, None),
        ({"Host": ""}, "HOST_NOT_ALLOWED"),
        ({"Host": "a b"}, "HOST_NOT_ALLOWED"),
        ({"Host": "user@127.0.0.1"}, "HOST_NOT_ALLOWED"),
        ({"Host": "127.0.0.1:99999"}, "HOST_NOT_ALLOWED"),
        ({"Host": "[127.0.0.1]"}, "HOST_NOT_ALLOWED"),
        ({}, None),  # HTTP/1.0
        ({"Origin": "http://127.0.0.1"}, "ORIGIN_NOT_ALLOWED"),
        ({"Host": "studio.example.evil.example"}, "HOST_NOT_ALLOWED"),
        ({"Host": "cloud.example"}, "HOST_NOT_ALLOWED"),
        ({"Host": "xcloud.example"}, "HOST_NOT_ALLOWED"),
    ],
)  # fmt: skip
def test_names_and_ports(headers: dict[str, str], verdict: str | None) -> None:
    assert asked(headers, "POST") == verdict


def test_two_hosts_or_origins_are_refused() -> None:
    for twice in ("host", "origin"):
        headers = {"host": ["127.0.0.1:1"], "origin": ["http://127.0.0.1:1"]}
        headers[twice] = [*headers[twice], "http://evil.example" if twice == "origin" else "evil.example"]
        assert judge(RULES, AccessRequest("GET", "http", headers)) is not None


@pytest.mark.parametrize("site", ["cross-site", "same-site", "anything"])
def test_what_another_site_causes_is_refused_unless_the_user_follows_a_link(site: str) -> None:
    headers = {"Host": "127.0.0.1:8188", "Sec-Fetch-Site": site}
    for mode, destination in (
        ("no-cors", "image"),
        ("navigate", "iframe"),
        ("cors", "empty"),
        ("websocket", "websocket"),
    ):
        assert asked({**headers, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": destination}) == "ORIGIN_NOT_ALLOWED"
    assert asked(headers) == "ORIGIN_NOT_ALLOWED"
    assert asked({**headers, **NAVIGATION}) is None
    assert asked({**headers, **NAVIGATION}, "POST") == "ORIGIN_NOT_ALLOWED"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_name_that_is_not_listed_is_taken_from_a_browser_with_a_secure_connection(scheme: str) -> None:
    secure = {"Host": "pod-8188.rental.example", **({} if scheme == "https" else {"X-Forwarded-Proto": "https,http"})}
    for accepted in (
        {"Sec-Fetch-Site": "none", **NAVIGATION},
        {"Sec-Fetch-Site": "cross-site", **NAVIGATION},  # a link in the rental's own page
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://pod-8188.rental.example"},
        {"Origin": "https://pod-8188.rental.example"},  # a websocket
    ):
        assert asked({**secure, **accepted}, scheme=scheme) is None
    for refused in (
        {},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image"},
        {"Origin": "http://pod-8188.rental.example"},
        {"Origin": "https://other.rental.example", "Sec-Fetch-Site": "same-site"},
    ):
        assert asked({**secure, **refused}, scheme=scheme) in ("HOST_NOT_ALLOWED", "ORIGIN_NOT_ALLOWED"), refused
    assert asked({"Host": secure["Host"], "Sec-Fetch-Site": "same-origin"}) == "HOST_NOT_ALLOWED"


@pytest.mark.parametrize(
    ("host", "target"),
    [
        ("0.0.0.0:8188", "127.0.0.1:8188"),
        ("0.0.0.0", "127.0.0.1"),
        ("[::]:8188", "[::1]:8188"),
        ("[0:0::0]:8188", "[::1]:8188"),
        ("[::ffff:127.0.0.1]:8188", "127.0.0.1:8188"),
        ("[::ffff:0:0]:8188", "127.0.0.1:8188"),
    ],
)
def test_browsers_are_led_from_unspecified_and_mapped_addresses_to_loopback(host: str, target: str) -> None:
    assert asked({"Host": host, **BROWSER}) == target
    assert asked({"Host": host, "Accept": "text/html,*/*"}, "HEAD") == target
    assert asked({"Host": host, "User-Agent": "python-requests/2"}) is None
    assert asked({"Host": host, "Sec-Fetch-Site": "none", **NAVIGATION, **BROWSER}) is None
    assert asked({"Host": host, **BROWSER}, "POST") is None  # browsers would send an Origin


@pytest.mark.parametrize("host", ["127.0.0.1:8188", "192.168.1.5", "[::1]", "[fe80::1]:8188", "box:8188", "localhost"])
def test_browsers_stay_at_every_other_address(host: str) -> None:
    assert asked({"Host": host, **BROWSER}) is None


def test_a_request_that_the_user_makes_is_accepted() -> None:
    """Such as a picture whose address was typed: it is no navigation to a page."""
    headers = {"Host": "127.0.0.1:8188", "Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "no-cors", **BROWSER}
    assert asked({**headers, "Sec-Fetch-Dest": "image"}) is None


@pytest.mark.parametrize(
    ("text", "name", "port"),
    [
        ("Studio.Example.:8188", "studio.example", 8188),
        ("[::1]:8188", "::1", 8188),
        ("[::ffff:10.0.0.1]", "10.0.0.1", None),
        ("*.Cloud.example:443", "*.cloud.example", 443),
        (" * ", "*", None),
    ],
)
def test_an_entry_of_the_setting(text: str, name: str, port: int | None) -> None:
    entry = parse_allowed_host(text)
    assert (entry.name, entry.port) == (name, port)


@pytest.mark.parametrize(
    ("origin", "is_own"),
    [
        ("http://studio.example:80", True),
        ("http://studio.example:79", False),
        ("https://studio.example:443", True),
        ("https://studio.example:444", False),
        ("http://studio.example:443", False),
        ("https://odd.example:8443", True),
        ("https://odd.example", False),
    ],
)
def test_an_origin_without_a_port_has_that_of_its_scheme(origin: str, is_own: bool) -> None:
    """Behind a proxy that replaces Host; the setting names the page's."""
    verdict = asked({"Host": "127.0.0.1:8188", "Origin": origin}, "POST")
    assert verdict == (None if is_own else "ORIGIN_NOT_ALLOWED")


def test_pages_in_frames_of_other_origins_load_where_the_setting_names_any() -> None:
    in_frame = {"Host": "127.0.0.1:8188", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    framed = AccessRules(frame_ancestors=["https://notebook.example"])
    for kind in ("iframe", "frame"):
        headers = {**in_frame, "Sec-Fetch-Dest": kind}
        assert asked(headers, rules=framed) is None  # its Content-Security-Policy names who may show it
        assert asked(headers) == "ORIGIN_NOT_ALLOWED"
        assert asked(headers, "POST", rules=framed) == "ORIGIN_NOT_ALLOWED"
    assert asked({**in_frame, "Sec-Fetch-Dest": "image"}, rules=framed) == "ORIGIN_NOT_ALLOWED"


def test_settings_relax_the_rules() -> None:
    foreign = {"Host": "rebind.evil.example", "Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}
    for rules in (AccessRules(is_checked=False), AccessRules(origins={"*"})):
        assert asked(foreign, rules=rules) is None
    everywhere = AccessRules(allowed_hosts=[parse_allowed_host("*")])
    assert asked({"Host": "any.example"}, rules=everywhere) is None
    assert asked(foreign, rules=everywhere) == "ORIGIN_NOT_ALLOWED"
    friend = AccessRules(origins={"https://friend.example"})
    picture = {"Host": "127.0.0.1:1", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image"}
    assert asked({**picture, "Origin": "https://friend.example"}, rules=friend) is None
    assert asked({**picture, "Referer": "https://friend.example/page"}, rules=friend) is None
    assert asked({**picture, "Origin": "https://evil.example"}, rules=friend) == "ORIGIN_NOT_ALLOWED"
    assert asked({**picture, "Referer": "https://friend.example.evil.example/"}, rules=friend) == "ORIGIN_NOT_ALLOWED"


@pytest.mark.parametrize("text", ["http://a.example", "a b", "a/b", "a:b", "", "*.a:0"])
def test_a_malformed_entry_of_the_setting(text: str) -> None:
    with pytest.raises(ValueError):
        parse_allowed_host(text)


@pytest.mark.parametrize(
    ("listening", "is_beyond"),
    [
        ((), False),
        (("127.0.0.1",), False),
        (("127.2.2.2", "::1", "localhost", "[::1]"), False),
        (("0.0.0.0",), True),
        (("127.0.0.1", "::"), True),
        (("192.168.1.5",), True),
        (("",), True),
        (("box.local",), True),
    ],
)
def test_whether_others_can_reach_it(listening: tuple[str, ...], is_beyond: bool) -> None:
    assert is_beyond_this_machine(listening) is is_beyond
