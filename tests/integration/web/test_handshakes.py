"""Handshakes and probes over HTTP: statuses and headers, and that nothing but samples is stored of them."""

import hmac
import json
import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from receiver.devtools.scratch import scratch_database
from receiver.store.connections import Connection, connect
from tests.support.declared_service import build_declared_table, find_status
from tests.support.http import Response
from tests.support.processes import ADMIN_KEY, Web, assert_ends_well, running_web, wait_for
from tests.support.tls import HttpsServer, running_https_server, write_certificate

SECRET, TOKEN = "a-secret-of-the-provider", "a-token-of-the-test_"
SIGNATURE = f'scheme = "hmac"\nheader = "X-Sig"\nsecrets = ["{SECRET}"]'
NOTIFY_ENVIRON = {
    "RECEIVER_NOTIFY_HOSTS": "shop.example",
    "RECEIVER_NOTIFY_NETWORKS": "127.0.0.0/8",
    "RECEIVER_NOTIFY_SECRETS": "whsec_YSBzZWNyZXQgb2YgMjQgYnl0ZXMuLi4u",
}
CONFIRM = 'kind = "confirm", when = { Type = "SubscriptionConfirmation" }, url = "SubscribeURL"'
HANDSHAKES = {
    "plain": "",
    "graph": 'handshake = { kind = "post-echo", echo = "query:validationToken", signed = false }',
    "woo": 'handshake = { kind = "ping", when = { webhook_id = "*" }, signed = false }',
    "okta": 'handshake = { kind = "get-echo", echo = "header:X-Check", reply = { verification = "{echo}" } }',
    "asana": 'handshake = { kind = "header-echo", header = "X-Hook-Secret" }',
    "adobe": """ack = { echo_header = "X-Client", headers = { X-Fixed = "yes" }, body = '{"ok":true}' }""",
    "browser": 'handshake = { kind = "get" }',
    "momo": 'methods = ["POST", "PUT"]',
    "sns": f'handshake = {{ {CONFIRM}, allowed_hosts = ["localhost", "*.sns.localhost"] }}',
}


@pytest.fixture(scope="module")
def https_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpsServer]:
    """An HTTPS server that `handshake_web` trusts."""
    certificate = write_certificate(tmp_path_factory.mktemp("tls") / "server.pem", "localhost")
    with running_https_server(certificate) as running:
        yield running


@pytest.fixture(scope="module")
def handshake_dsn(server: str, template: str) -> Iterator[str]:
    """The DSN of the database of `handshake_web`."""
    with scratch_database(server, template=template) as scratch_dsn:
        yield scratch_dsn


@pytest.fixture(scope="module")
def handshake_web(
    handshake_dsn: str, https_server: HttpsServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Web]:
    """A web process with providers that check the URL."""
    config = "".join(build_declared_table(name, SIGNATURE, callback) for name, callback in HANDSHAKES.items())
    config += build_declared_table("token", f'scheme = "token"\nsecrets = ["{TOKEN}"]')
    environ = {**NOTIFY_ENVIRON, "SSL_CERT_FILE": str(https_server.certificate)}
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        running_web(tmp_path_factory.mktemp("web"), handshake_dsn, config, listener, **environ) as running,
    ):
        yield running
        assert_ends_well(running)


@pytest.fixture
def connection(handshake_dsn: str) -> Iterator[Connection]:
    """A connection to the database of `handshake_web`."""
    with closing(connect(handshake_dsn)) as opened:
        yield opened


def sign(body: bytes) -> dict[str, str]:
    return {"x-sig": hmac.new(SECRET.encode(), body, "sha256").hexdigest(), "content-type": "application/json"}


def build_report(reference: str) -> bytes:
    return json.dumps({"id": reference, "state": "DONE"}).encode()


def find_samples(web: Web, provider: str) -> list[Any]:
    """Return the refused deliveries of a provider, the newest first."""
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    listed = web.call("GET", f"/v1/callbacks?provider={provider}&verdict=refused", headers=headers)
    return list(listed.json["items"])


def show(web: Web, sample: Any) -> Any:
    return web.call("GET", f"/v1/callbacks/{sample['id']}", headers={"authorization": f"Bearer {ADMIN_KEY}"}).json


@pytest.mark.parametrize("path", ["plain", f"token/{TOKEN}", "okta"])
def test_head_is_answered_without_body(handshake_web: Web, path: str) -> None:
    response = handshake_web.call("HEAD", f"/callbacks/{path}")
    assert (response.status, response.body) == (200, b"")
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
@pytest.mark.parametrize("path", ["nobody", "token", "token/another-token-of-20c"])
def test_probe_of_unknown_url_is_not_found(handshake_web: Web, method: str, path: str) -> None:
    assert handshake_web.call(method, f"/callbacks/{path}").status == 404


def test_options_names_the_methods(handshake_web: Web) -> None:
    for path, allowed in (("plain", "HEAD, OPTIONS, POST"), ("okta", "GET, HEAD, OPTIONS, POST")):
        response = handshake_web.call("OPTIONS", f"/callbacks/{path}")
        assert (response.status, response.body, response.headers["allow"]) == (200, b"", allowed)
        assert "webhook-allowed-origin" not in response.headers


def test_options_permits_senders_of_cloudevents(handshake_web: Web) -> None:
    headers = {"webhook-request-origin": "eventgrid.azure.net", "webhook-request-rate": "120"}
    response = handshake_web.call("OPTIONS", "/callbacks/plain", headers=headers)
    assert (response.status, response.headers["webhook-allowed-origin"]) == (200, "eventgrid.azure.net")
    assert response.headers["webhook-allowed-rate"] == "*"


@pytest.mark.parametrize("origin", ["", "a b", "<script>", "é", "x" * 300])
def test_odd_origin_is_not_permitted(handshake_web: Web, origin: str) -> None:
    headers = {"webhook-request-origin": origin.encode("latin-1").decode("latin-1")}
    response = handshake_web.call("OPTIONS", "/callbacks/plain", headers=headers)
    assert response.status == 200
    assert "webhook-allowed-origin" not in response.headers


def test_post_with_query_and_no_body_is_echoed(handshake_web: Web) -> None:
    headers = {"content-type": "text/plain"}
    response = handshake_web.call("POST", "/callbacks/graph?validationToken=abc%20def", b"", headers)
    assert (response.status, response.body) == (200, b"abc def")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert handshake_web.call("POST", "/callbacks/graph?validationToken=a", b"{}").status == 401
    assert handshake_web.call("POST", f"/callbacks/graph?validationToken={'a' * 1_025}", b"", headers).status == 401


def test_signed_callback_with_query_is_recorded(handshake_web: Web, connection: Connection, reference: str) -> None:
    body = build_report(reference)
    response = handshake_web.call("POST", "/callbacks/graph?validationToken=a", body, sign(body))
    assert (response.status, response.body) == (200, b"")
    assert find_status(connection, "graph", reference) == "succeeded"


def test_unsigned_ping_is_acknowledged_as_form(handshake_web: Web, connection: Connection) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    assert handshake_web.call("POST", "/callbacks/woo", b"webhook_id=5", headers).status == 200
    assert handshake_web.call("POST", "/callbacks/plain", b"webhook_id=5", headers).status in {401, 415}
    assert connection.execute("SELECT count(*) FROM callbacks WHERE provider = 'woo'").fetchone() == (0,)


def test_signed_callback_that_looks_like_ping_is_kept(handshake_web: Web, connection: Connection) -> None:
    body = b'{"webhook_id":5}'
    assert handshake_web.call("POST", "/callbacks/woo", body, sign(body)).status == 400
    query = "DELETE FROM callbacks WHERE provider = 'woo' RETURNING verdict"
    assert connection.execute(query).fetchall() == [("invalid",)]


def test_value_of_header_is_returned_as_json(handshake_web: Web) -> None:
    response = handshake_web.call("GET", "/callbacks/okta", headers={"x-check": "<b>"})
    assert (response.status, response.json) == (200, {"verification": "<b>"})
    assert response.headers["content-type"] == "application/json"


def test_get_that_is_no_handshake_is_kept(handshake_web: Web) -> None:
    response = handshake_web.call("GET", "/callbacks/okta?id=lost&state=DONE")
    assert (response.status, "GET" in response.headers["allow"]) == (405, False)
    [sample] = wait_for(lambda: find_samples(handshake_web, "okta"))
    assert show(handshake_web, sample)["target"] == "/callbacks/okta?id=lost&state=DONE"


def test_plain_get_is_acknowledged_where_configured(handshake_web: Web) -> None:
    assert handshake_web.call("GET", "/callbacks/browser").status == 200
    for path in ("browser?id=1", "plain"):
        assert handshake_web.call("GET", f"/callbacks/{path}").status == 405


def test_returned_header_is_kept_for_admins(handshake_web: Web) -> None:
    secret = "b537207f20cbfa02357cf448134da559e8bd39d61597dcd5631b8012eae53e81"
    response = handshake_web.call("POST", "/callbacks/asana", b"", {"x-hook-secret": secret})
    assert (response.status, response.headers["x-hook-secret"]) == (200, secret)
    [sample] = wait_for(lambda: find_samples(handshake_web, "asana"))
    shown = show(handshake_web, sample)
    assert shown["headers"]["x-hook-secret"] == secret
    assert "secret of later signatures" in shown["explanation"]["causes"][0]
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    assert handshake_web.call("POST", f"/v1/callbacks/{sample['id']}/replay", b"", headers).status == 409
    listed = handshake_web.call("GET", "/v1/providers", headers=headers).json["items"]
    [asana] = [provider for provider in listed if provider["name"] == "asana"]
    assert [refusal["reason"] for refusal in asana["refusals"]] == ["kept_handshake"]


def test_acknowledgement_has_configured_headers(handshake_web: Web, reference: str) -> None:
    body = build_report(reference)
    response = handshake_web.call("POST", "/callbacks/adobe", body, {**sign(body), "x-client": "CBJ-1"})
    assert (response.status, response.json) == (200, {"ok": True})
    assert (response.headers["x-client"], response.headers["x-fixed"]) == ("CBJ-1", "yes")
    assert response.headers["content-type"] == "application/json"
    response = handshake_web.call("POST", "/callbacks/adobe", body, {**sign(body), "x-client": "a b"})
    assert (response.status, "x-client" in response.headers) == (200, False)


def test_put_callback_is_recorded_where_configured(handshake_web: Web, connection: Connection, reference: str) -> None:
    body = build_report(reference)
    assert handshake_web.call("PUT", "/callbacks/plain", body, sign(body)).status == 405
    assert handshake_web.call("PUT", "/callbacks/momo", body, sign(body)).status == 200
    assert find_status(connection, "momo", reference) == "succeeded"


def confirm(web: Web, url: str, **headers: str) -> Response:
    body = json.dumps({"Type": "SubscriptionConfirmation", "SubscribeURL": url}).encode()
    return web.call("POST", "/callbacks/sns", body, {**sign(body), **headers})


def test_confirmation_calls_the_url_once(handshake_web: Web, https_server: HttpsServer) -> None:
    https_server.received.clear()
    url = https_server.url("/200?Token=2")
    assert confirm(handshake_web, url, **{"x-sig": "0" * 64}).status == 401
    assert https_server.received == []
    assert confirm(handshake_web, url).status == 200
    assert len(https_server.received) == 1


def test_failed_confirmation_is_tried_again(handshake_web: Web, https_server: HttpsServer) -> None:
    https_server.received.clear()
    for path in ("/500", "/302"):
        response = confirm(handshake_web, https_server.url(path))
        assert (response.status, response.headers["retry-after"]) == (503, "1")
        assert response.json["type"].endswith(":confirmation-failed")
    assert len(https_server.received) == 2


def test_confirmation_at_another_host_is_refused(handshake_web: Web, https_server: HttpsServer) -> None:
    https_server.received.clear()
    for host in ("127.0.0.1", "sns.localhost", "a.b.sns.localhost", "localhost@127.0.0.1"):
        assert confirm(handshake_web, https_server.url("/200", host)).status == 401
    assert confirm(handshake_web, f"http://localhost:{https_server.port}/200").status == 401
    assert https_server.received == []
