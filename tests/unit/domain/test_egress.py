"""Proxies: how they are written, and which one the environment names for an origin."""

from pathlib import Path

import pytest

from receiver.domain.egress import Egress, Proxy, TlsFiles, find_environment_proxy

ORIGIN = "https://api.acme.example"
PROXY = Proxy("proxy.example", 3128)


@pytest.mark.parametrize(
    ("text", "proxy", "shown"),
    [
        ("http://proxy.example:3128", PROXY, "http://proxy.example:3128"),
        ("proxy.example:3128", PROXY, "http://proxy.example:3128"),
        ("http://Proxy.Example/", Proxy("proxy.example", 80), "http://proxy.example:80"),
        ("http://me:p%40ss@proxy.example", Proxy("proxy.example", 80, "me:p@ss"), "http://proxy.example:80"),
        ("http://me@proxy.example", Proxy("proxy.example", 80, "me:"), "http://proxy.example:80"),
        ("http://[::1]:3128", Proxy("::1", 3128), "http://[::1]:3128"),
    ],
)
def test_proxy_is_parsed_and_shown_without_credentials(text: str, proxy: Proxy, shown: str) -> None:
    assert Proxy.parse(text) == proxy
    assert str(Proxy.parse(text)) == shown
    assert "ss" not in repr(Proxy.parse(text))


@pytest.mark.parametrize(
    "text",
    [
        "https://proxy.example",
        "socks5://proxy.example:1080",
        "http://",
        "http://proxy.example:0",
        "http://proxy.example:99999",
        "http://proxy.example/path",
        "http://proxy.example?a=1",
        "http://proxy example",
    ],
)
def test_other_text_is_no_proxy(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Proxy.parse(text)


def test_credentials_are_sent_as_basic_authentication() -> None:
    assert Proxy.parse("http://me:secret@proxy.example").authorization == "Basic bWU6c2VjcmV0"
    assert PROXY.authorization == ""


@pytest.mark.parametrize(
    "environ",
    [
        {"https_proxy": "http://proxy.example:3128", "HTTPS_PROXY": "http://other.example"},
        {"HTTPS_PROXY": "http://proxy.example:3128", "http_proxy": "http://other.example"},
        {"ALL_PROXY": "http://proxy.example:3128", "HTTP_PROXY": "http://other.example"},
        {"all_proxy": "proxy.example:3128", "HTTPS_PROXY": ""},
    ],
)
def test_environment_names_a_proxy_for_each_scheme(environ: dict[str, str]) -> None:
    assert find_environment_proxy(environ, ORIGIN) == PROXY


def test_environment_without_a_variable_names_no_proxy() -> None:
    assert find_environment_proxy({"http_proxy": "http://proxy.example:3128"}, ORIGIN) is None


@pytest.mark.parametrize(
    "no_proxy",
    [
        "*",
        "api.acme.example",
        "other.example, acme.example",
        "other.example ACME.EXAMPLE",
        ".acme.example",
        "*.acme.example",
        "example:443",
    ],
)
@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY"])
def test_no_proxy_lists_hosts_that_are_reached_directly(name: str, no_proxy: str) -> None:
    environ = {"HTTPS_PROXY": "http://proxy.example:3128", name: no_proxy}
    assert find_environment_proxy(environ, ORIGIN) is None


@pytest.mark.parametrize(
    "no_proxy",
    ["", "cme.example", "example:8443", "v1.api.acme.example", "10.0.0.0/8", ":443", "example:https", "fd00::443"],
)
def test_no_proxy_does_not_list_other_hosts(no_proxy: str) -> None:
    environ = {"HTTPS_PROXY": "http://proxy.example:3128", "NO_PROXY": no_proxy}
    assert find_environment_proxy(environ, ORIGIN) == PROXY


@pytest.mark.parametrize(
    ("origin", "no_proxy"),
    [
        ("https://10.1.2.3", "10.0.0.0/8"),
        ("https://10.1.2.3", "10.9.9.9/8"),
        ("https://10.1.2.3:8443", "10.1.2.3:8443"),
        ("https://[fd00::1]:8443", "fd00::/8"),
        ("https://[fd00::1]", "[fd00::1]"),
        ("https://[fd00::1]:8443", "[fd00::1]:8443"),
    ],
)
def test_no_proxy_lists_addresses_and_networks(origin: str, no_proxy: str) -> None:
    environ = {"HTTPS_PROXY": "http://proxy.example:3128"}
    assert find_environment_proxy(environ, origin) == PROXY
    assert find_environment_proxy({**environ, "NO_PROXY": no_proxy}, origin) is None


@pytest.mark.parametrize(
    "origin", ["http://127.0.0.1:8000", "https://localhost", "http://[::1]", "http://api.localhost:81"]
)
def test_this_machine_is_reached_directly(origin: str) -> None:
    assert find_environment_proxy({"ALL_PROXY": "http://proxy.example"}, origin) is None


def test_variable_without_a_usable_proxy_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"^ALL_PROXY must be http://\[USER:PASSWORD@\]HOST\[:PORT\]\.") as error:
        find_environment_proxy({"ALL_PROXY": "socks5://me:secret@proxy.example"}, ORIGIN)
    assert "secret" not in str(error.value)
    assert find_environment_proxy({"ALL_PROXY": "socks5://p", "NO_PROXY": "acme.example"}, ORIGIN) is None


def test_token_endpoint_has_a_proxy_of_its_own_in_the_environment_only() -> None:
    token_proxy = Proxy("other.example", 80)
    named = Egress("me", PROXY, token_proxy=token_proxy)
    assert named.for_token_endpoint() == Egress("me", token_proxy, token_proxy=token_proxy)
    own = Egress("me", PROXY, proxy_from_environment=False, token_proxy=token_proxy)
    assert own.for_token_endpoint() == own


def test_only_an_own_proxy_leads_to_other_hosts() -> None:
    own = Egress("me", PROXY, proxy_from_environment=False)
    assert own.for_other_hosts() == own
    assert Egress("me", PROXY).for_other_hosts() == Egress("me")
    assert Egress(tls=TlsFiles(Path("ca.pem"))).for_other_hosts() == Egress()
