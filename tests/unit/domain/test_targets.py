"""Which URLs and addresses may be called: the rules, and attempts to get around them."""

import re
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.targets import (
    Target,
    TargetNotAllowed,
    TargetRules,
    explain_refused_addresses,
    normalize_host,
    normalize_host_pattern,
)

RULES = TargetRules(("shop.example", "*.hooks.example", "93.184.216.34", "10.0.0.5", "2606:2800:220:1::1"))
PRIVATE = TargetRules(("shop.example", "localhost", "10.0.0.5", "::1"), [ip_network("10.0.0.0/8"), ip_network("::1")])


def urls(rules: TargetRules) -> st.SearchStrategy[str]:
    return st.from_regex(rules.pattern, fullmatch=True)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://shop.example/webhook", Target("https", "shop.example", 443, "/webhook")),
        ("https://shop.example", Target("https", "shop.example", 443, "/")),
        ("https://shop.example?a=%20b&c", Target("https", "shop.example", 443, "/?a=%20b&c")),
        ("HTTPS://SHOP.Example:8443/Webhook", Target("https", "shop.example", 8443, "/Webhook")),
        ("https://shop.example./webhook", Target("https", "shop.example", 443, "/webhook")),
        ("https://a.hooks.example/", Target("https", "a.hooks.example", 443, "/")),
        ("https://a.b-c.hooks.example/", Target("https", "a.b-c.hooks.example", 443, "/")),
        ("https://93.184.216.34/", Target("https", "93.184.216.34", 443, "/")),
        ("https://[2606:2800:0220:0001::1]:444/", Target("https", "2606:2800:220:1::1", 444, "/")),
    ],
)
def test_url_of_allowed_host_is_parsed(url: str, target: Target) -> None:
    assert RULES.parse(url) == target


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "visible ASCII"),
        ("https://shop.example/ü", "visible ASCII"),
        ("https://shop.example/a b", "visible ASCII"),
        ("https://shop.example/\r\nx: y", "visible ASCII"),
        ("https://shop.example/webhook\n", "visible ASCII"),
        ("https://shop.example/" + "a" * 2_000, "2,000"),
        ("shop.example/webhook", "https://"),
        ("//shop.example/webhook", "https://"),
        ("ftp://shop.example/", "https://"),
        ("file:///etc/passwd", "https://"),
        ("http://shop.example/", "RECEIVER_NOTIFY_NETWORKS"),
        ("https://user@shop.example/", "user"),
        ("https://user:word@shop.example/", "user"),
        ("https://evil.example@shop.example/", "user"),
        ("https://shop.example@evil.example/", "user"),
        ("https://evil.example\\@shop.example/", "user"),
        ("https://evil.example\\.shop.example/", "name a host"),
        ("https://shop.example\\evil.example/", "name a host"),
        ("https://shop.example#@evil.example/", "fragment"),
        ("https://shop.example/#", "fragment"),
        ("https://evil.example/", "RECEIVER_NOTIFY_HOSTS"),
        ("https://shop.example.evil.example/", "RECEIVER_NOTIFY_HOSTS"),
        ("https://evilshop.example/", "RECEIVER_NOTIFY_HOSTS"),
        ("https://a.shop.example/", "RECEIVER_NOTIFY_HOSTS"),
        ("https://hooks.example/", "RECEIVER_NOTIFY_HOSTS"),
        ("https://evilhooks.example/", "RECEIVER_NOTIFY_HOSTS"),
        ("https://*.hooks.example/", "name a host"),
        ("https://.hooks.example/", "name a host"),
        ("https://a..hooks.example/", "name a host"),
        ("https://shop.example../", "name a host"),
        ("https://shop.ex%61mple/", "name a host"),
        ("https://shop%2eexample/", "name a host"),
        ("https:///webhook", "name a host"),
        ("https://:443/", "name a host"),
        ("https://shop.example:0/", "https://shop.example/webhook"),
        ("https://shop.example:65536/", "https://shop.example/webhook"),
        ("https://shop.example:x/", "https://shop.example/webhook"),
        ("https://shop.example:-1/", "https://shop.example/webhook"),
        ("https://[shop.example/", "https://shop.example/webhook"),
        ("https://[::1%25eth0]/", "name a host"),
        ("https://shop.example//evil.example/", "//"),
        ("https://10.0.0.5/", "RECEIVER_NOTIFY_NETWORKS"),
        ("https://127.0.0.1/", "RECEIVER_NOTIFY_HOSTS"),
        ("https://2130706433/", "RECEIVER_NOTIFY_HOSTS"),
        ("https://0x7f.1/", "RECEIVER_NOTIFY_HOSTS"),
        ("https://[::ffff:93.184.216.34]/", "RECEIVER_NOTIFY_HOSTS"),
    ],
)
def test_other_urls_are_refused_with_remedy(url: str, reason: str) -> None:
    with pytest.raises(TargetNotAllowed, match=reason.replace(".", r"\.")):
        RULES.parse(url)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            "https://shop.example/" + "a" * 1_980,
            "Must be a URL of visible ASCII characters, at most 2,000 characters.",
        ),
        ("https://[shop.example/", "Must be a URL such as https://shop.example/webhook."),
        (
            "http://shop.example/",
            "Must begin with https://; http:// is allowed only for addresses in RECEIVER_NOTIFY_NETWORKS.",
        ),
        ("https://user@shop.example/", "Must not contain a user or a fragment."),
        (
            "https://shop.example:0/",
            (
                "Must be a URL such as https://shop.example/webhook, with a port from 1 to 65535 and a path that does "
                "not begin with //."
            ),
        ),
        ("https:///webhook", "Must name a host, such as https://shop.example/webhook."),
        ("https://evil.example/", "The host evil.example is not allowed. Add it to RECEIVER_NOTIFY_HOSTS."),
        ("https://10.0.0.5/", "10.0.0.5: not a public address. Add its network to RECEIVER_NOTIFY_NETWORKS."),
    ],
)
def test_refusal_names_rule_and_remedy(url: str, message: str) -> None:
    with pytest.raises(TargetNotAllowed) as refusal:
        RULES.parse(url)
    assert str(refusal.value) == message


def test_longest_url_and_host_are_allowed() -> None:
    host = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])
    url = f"https://{host}/".ljust(2_000, "a")
    assert TargetRules((host,)).parse(url).host == host
    with pytest.raises(ValueError, match=r".+"):
        normalize_host(f"{host}d")


def test_refused_addresses_are_all_named() -> None:
    assert explain_refused_addresses("http", "10.0.0.5", "::1") == (
        "10.0.0.5, ::1: not allowed by plain http. Add its network to RECEIVER_NOTIFY_NETWORKS."
    )


def test_plain_http_is_limited_to_configured_networks() -> None:
    rules = TargetRules(("93.184.216.34", "10.0.0.5"), [ip_network("10.0.0.0/8")])
    assert rules.parse("http://10.0.0.5/")
    assert rules.parse("https://93.184.216.34/")
    with pytest.raises(TargetNotAllowed, match="plain http"):
        rules.parse("http://93.184.216.34/")


def test_configured_networks_allow_private_hosts_and_plain_http() -> None:
    assert PRIVATE.parse("http://10.0.0.5:9000/x") == Target("http", "10.0.0.5", 9000, "/x")
    assert PRIVATE.parse("http://localhost/").port == 80
    assert PRIVATE.parse("https://[0:0::1]/").host == "::1"


@pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "2606:2800:220:1::1", "64:ff9b::808:808"])
def test_public_addresses_are_allowed(address: str) -> None:
    assert RULES.allows_address("https", address)
    assert not PRIVATE.allows_address("http", address)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.0.0.5",
        "100.64.0.1",
        "127.0.0.1",
        "127.1.2.3",
        "169.254.169.254",
        "172.16.0.1",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.5",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "2002:a00:5::1",
        "2001:0:53aa:64c:0:0:80ff:fffe",
        "2001:db8::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "shop.example",
        "",
    ],
)
def test_non_public_addresses_are_refused(address: str) -> None:
    assert not RULES.allows_address("https", address)


def test_configured_networks_allow_mapped_addresses() -> None:
    for address in ("10.0.0.5", "::ffff:10.1.2.3", "64:ff9b::a00:5", "2002:a00:5::1", "::1"):
        assert PRIVATE.allows_address("http", address)
        assert PRIVATE.allows_address("https", address)
    for address in ("127.0.0.1", "::ffff:192.168.0.1", "fe80::1"):
        assert not PRIVATE.allows_address("https", address)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("Shop.Example.", "shop.example"),
        ("*.Shop.Example", "*.shop.example"),
        ("localhost", "localhost"),
        ("[2606:2800:0::1]", "2606:2800::1"),
        ("10.0.0.5", "10.0.0.5"),
    ],
)
def test_host_pattern_is_normalized(text: str, canonical: str) -> None:
    assert normalize_host_pattern(text) == canonical


@pytest.mark.parametrize(
    "text",
    [
        "",
        "*",
        "*.",
        "*.*.example",
        "a.*.example",
        "*.10.0.0.5",
        "https://shop.example",
        "shop.example:443",
        "-a",
        "a" * 254,
    ],
)
def test_invalid_host_pattern_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        normalize_host_pattern(text)


def test_pattern_does_not_escape_hyphens() -> None:
    # ECMA 262 has no such escape with the flag `u`.
    pattern = TargetRules(("my-shop.example",)).pattern
    assert r"my-shop\.example" in pattern
    assert re.fullmatch(pattern, "https://my-shop.example/")


@pytest.mark.parametrize(("length", "max_count"), [(61, 3), (62, 2), (125, 2), (126, 1), (190, 1), (251, 1)])
def test_pattern_allows_as_many_labels_as_always_fit(length: int, max_count: int) -> None:
    parent = ".".join(["a" * 60] * 4)[:length]
    pattern = TargetRules((f"*.{parent}",)).pattern
    counts = [count for count in range(6) if re.fullmatch(pattern, f"https://{'b.' * count}{parent}/")]
    assert counts == list(range(1, max_count + 1))


@given(st.sampled_from([RULES, PRIVATE]).flatmap(lambda rules: st.tuples(st.just(rules), urls(rules))))
def test_every_url_of_the_pattern_is_parsed(drawn: tuple[TargetRules, str]) -> None:
    rules, url = drawn
    assert rules.parse(url)


@given(st.text(max_size=40), st.sampled_from(["", "https://", "https://shop.example", "https://[", "https://a.hooks."]))
def test_arbitrary_text_never_leads_to_another_host(text: str, start: str) -> None:
    try:
        target = RULES.parse(start + text)
    except TargetNotAllowed:
        return
    assert target.host in RULES.hosts or target.host.endswith(".hooks.example")
