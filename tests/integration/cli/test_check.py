"""`receiver provider check`: all errors at once, the URL to register, and whether the account works."""

import json
import os
import subprocess
from collections.abc import Sequence
from contextlib import chdir
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from receiver.cli.main import commands
from tests.support.declared_service import CONFIG, TOKEN
from tests.support.oauth_provider import CLIENT_SECRET, oauth_provider
from tests.support.processes import RECEIVER, build_provider_toml
from tests.support.provider import Reply, listening
from tests.support.tls import write_certificate

INVALID_CONFIG = """
[providers.acme]
kind = "declared"
base_url = "api.acme.example"
auth = { scheme = "digest", secret = "sk" }
max_concurency = 4
retry = { attempts = 0 }
[providers.acme.operations.render]
method = "FETCH"
path = "v1/renders"
[providers.acme.response]
code = "status"
[providers.acme.callback]
reference = "id["
status = "state"
statuses = { DONE = "finished" }
[providers.acme.poll]
path = "/v1/renders/{references}"
encoding = "xml"
[providers.acme.lookup]
path = "/v1/renders?ref={order}"
not_found = "failed"
[providers.acme.signature]
scheme = "hmac"
header = "X-Acme-Signature"
encoding = "base85"
signed = "{body}{salt}"
secrets = ["env:ACME_SECRET"]
"""
KEYS = [
    "base_url",
    "auth.scheme",
    "max_concurency",
    "retry.attempts",
    "operations.render.method",
    "operations.render.path",
    "response.codes",
    "callback.reference",
    "callback.statuses.DONE",
    "poll.encoding",
    "poll.batch",
    "lookup.not_found",
    "lookup.reference",
    "signature.encoding",
    "signature.signed",
    "signature.secrets.0",
]
CECULA = """
[providers.cecula]
kind = "cecula"
base_url = "{url}/cecula"
auth = {{ scheme = "bearer", secret = "key" }}
signature = {{ scheme = "token", secrets = ["an-unguessable-token"] }}
"""


def run_check(directory: Path, config: str | None, *arguments: str, **environ: str) -> Result:
    """Run the command in this process, with no other variables than these; without a file if `config` is None."""
    if config is not None:
        (directory / "receiver.toml").write_text(config)
    runner = CliRunner(env={**dict.fromkeys(os.environ), **environ})
    with chdir(directory):
        return runner.invoke(commands, ["provider", "check", *arguments], catch_exceptions=False)


def run_check_process(
    directory: Path, config: str, *arguments: str, **environ: str
) -> subprocess.CompletedProcess[str]:
    (directory / "receiver.toml").write_text(config)
    command = [RECEIVER, "provider", "check", *arguments]
    return subprocess.run(
        command, env=os.environ | environ, cwd=directory, capture_output=True, text=True, timeout=60, check=False
    )


def test_check_reports_all_errors_at_once(tmp_path: Path) -> None:
    result = run_check(tmp_path, INVALID_CONFIG)
    assert result.exit_code == 2
    assert "Traceback" not in result.stderr
    lines = result.stderr.splitlines()
    assert len(lines) == len(KEYS)
    for key in KEYS:
        assert any(f"receiver.toml: providers.acme.{key}: " in line for line in lines), (key, result.stderr)


@pytest.mark.parametrize(("config", "cause"), [(None, "does not exist"), ("# none yet", "declares none")])
@pytest.mark.parametrize("arguments", [(), ("--json",), ("acme", "--offline")])
def test_check_without_providers_fails(
    tmp_path: Path, config: str | None, cause: str, arguments: Sequence[str]
) -> None:
    result = run_check(tmp_path, config, *arguments)
    message = f"error: There are no providers: {tmp_path / 'receiver.toml'} {cause}.\n"
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", message)


@pytest.mark.parametrize(("status", "code"), [(200, 0), (401, 1)])
def test_check_requests_balance_and_sender_names(tmp_path: Path, status: int, code: int) -> None:
    with listening() as provider:
        provider.script("check-balance", Reply(status, b'{"balance": "118.00"}'))
        provider.script("identities", Reply(status, b'["Cecula", "DartPro"]'))
        result = run_check(tmp_path, CECULA.format(url=provider.url), "--json")
    assert result.exit_code == code, result.stderr
    [cecula] = json.loads(result.stdout)["providers"]
    assert cecula["callback_url"].endswith("/callbacks/cecula/an-unguessable-token")
    assert ("118.00" in cecula["account"]["balance"]) == (status == 200)


def test_check_requests_an_access_token(tmp_path: Path) -> None:
    with oauth_provider() as provider:
        result = run_check(tmp_path, provider.build_toml())
        assert "  access token: issued, expires in 3599 s" in result.stdout
        assert "not tested" not in result.stdout
        provider.token_replies = [Reply(400, b'{"error": "invalid_client"}')]
        failed_result = run_check(tmp_path, provider.build_toml())
    assert "access token: the token endpoint responded with 400: invalid_client" in failed_result.stdout
    assert (result.exit_code, failed_result.exit_code) == (0, 1)
    assert CLIENT_SECRET not in result.stdout + failed_result.stdout


def test_offline_check_validates_settings_only(tmp_path: Path) -> None:
    result = run_check(tmp_path, CECULA.format(url="http://127.0.0.1:9"), "--offline")
    assert result.exit_code == 0
    assert "register this URL: http://127.0.0.1:8000/callbacks/cecula/an-unguessable-token" in result.stdout
    assert "  our account: not tested (--offline)\n" in result.stdout


def test_account_that_cannot_be_tested_is_named(tmp_path: Path) -> None:
    result = run_check(tmp_path, build_provider_toml())
    assert (result.exit_code, result.stderr) == (0, "")
    assert "  our account: not tested (the provider has no endpoint that tells whether it works)\n" in result.stdout


def test_check_shows_proxy_and_certificates(tmp_path: Path) -> None:
    certificate = write_certificate(tmp_path / "ca.pem", "ca")
    config = CECULA.format(url="https://app.cecula.example") + f'tls = {{ ca_file = "{certificate}" }}'
    environ = {"HTTPS_PROXY": "http://me:hunter2@127.0.0.1:9"}
    result = run_check(tmp_path, config, "--offline", **environ)
    assert result.exit_code == 0, result.stderr
    assert f"  proxy: http://127.0.0.1:9\n  ca_file: {certificate}\n" in result.stdout
    [cecula] = json.loads(run_check(tmp_path, config, "--json", **environ).stdout)["providers"]
    assert (cecula["proxy"], cecula["tls"]) == ("http://127.0.0.1:9", {"ca_file": str(certificate)})
    assert (
        "cannot connect to app.cecula.example:443 through the proxy http://127.0.0.1:9" in cecula["account"]["balance"]
    )
    assert "hunter2" not in str(cecula)


HANDSHAKES = """
[providers.acme]
kind = "declared"
base_url = "http://127.0.0.1:9"
signature = {{ scheme = "github", secrets = ["secret"] }}
[providers.acme.callback]
reference = "id"
status = "state"
statuses = {{ DONE = "succeeded" }}
handshake = [{{ kind = "get-echo", echo = "query:challenge" }}, {{ kind = "ping"{when} }}]
"""


def test_check_lists_handshakes(tmp_path: Path) -> None:
    result = run_check(tmp_path, HANDSHAKES.format(when=', when = { type = "ping" }'), "--offline")
    assert result.exit_code == 0, result.stderr
    assert "checks of the URL: get-echo, ping" in result.stdout
    result = run_check(tmp_path, HANDSHAKES.format(when=""), "--offline")
    assert "receiver.toml: providers.acme.callback.handshake.1.when: Missing data" in result.stderr


UNSIGNED_BODY = """
[providers.acme]
kind = "declared"
base_url = "http://127.0.0.1:9"
callback = {{ reference = "id", status = "state", statuses = {{ DONE = "succeeded" }} }}
signature = {{ scheme = "plivo-v2", secrets = ["secret"]{trust} }}
{poll}
"""


@pytest.mark.parametrize(
    ("trust", "poll", "proof"),
    [
        ('trust = "sender"', "", "each nonce is accepted for one callback only"),
        ('trust = "confirm"', 'poll = { path = "/{reference}" }', "A final status only triggers a poll"),
    ],
)
def test_check_reports_what_callbacks_prove(tmp_path: Path, trust: str, poll: str, proof: str) -> None:
    result = run_check(tmp_path, UNSIGNED_BODY.format(trust=f", {trust}", poll=poll), "--offline")
    assert result.exit_code == 0, result.stderr
    assert proof in result.stdout


def test_check_refuses_unsigned_body_without_trust(tmp_path: Path) -> None:
    result = run_check(tmp_path, UNSIGNED_BODY.format(trust="", poll=""), "--offline")
    assert result.exit_code == 2
    assert "receiver.toml: providers.acme.signature.trust: The signature does not cover the body" in result.stderr


def test_unknown_provider_lists_configured_providers(tmp_path: Path) -> None:
    result = run_check(tmp_path, CECULA.format(url="http://127.0.0.1:9"), "acme")
    assert result.exit_code == 1
    assert "Must be one of: cecula" in result.stderr


PACKAGE = """
from receiver.schemas.settings import ProviderSettingsSchema
from receiver.providers.registry import ProviderKind


class Settings(ProviderSettingsSchema):
    pass


def build(provider, table):
    raise NotImplementedError("built: " + provider.name)


KIND = ProviderKind(Settings, build)
"""


def test_kind_is_loaded_from_entry_point(tmp_path: Path) -> None:
    (tmp_path / "carrier.py").write_text(PACKAGE)
    metadata = tmp_path / "carrier-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[receiver.providers]\ncarrier-pigeon = carrier:KIND\n")
    config = CECULA.format(url="http://127.0.0.1:9").replace('"cecula"', '"carrier-pigeon"').replace("auth", "#")
    result = run_check_process(tmp_path, config, PYTHONPATH=str(tmp_path))
    assert "built: cecula" in result.stderr


def test_check_prints_url_to_register(tmp_path: Path) -> None:
    result = run_check_process(tmp_path, CONFIG, "hook", RECEIVER_PUBLIC_URL="https://receiver.example")
    assert result.returncode == 0
    assert f"https://receiver.example/callbacks/hook/{TOKEN}" in result.stdout
