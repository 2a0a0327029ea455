"""The egress of providers: what the environment and the files of a table lead to, and the errors in them."""

from pathlib import Path

import pytest

from receiver.domain.egress import PRODUCT, Egress, Proxy, TlsFiles
from tests.support.factories import SECRET
from tests.support.settings_files import MINIMAL, append_line, faults, load
from tests.support.tls import write_certificate

PROXY = Proxy("proxy.example", 3128)


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of a test, with `receiver.toml`."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load_egress(toml: str = MINIMAL, **environ: str) -> Egress:
    return load(toml, **environ).providers["acme"].egress


def find_proxy(line: str = "", **environ: str) -> Proxy | None:
    return load_egress(append_line(line), **environ).proxy


def test_own_proxy_replaces_that_of_the_environment() -> None:
    environ = {"HTTPS_PROXY": "http://other.example", "NO_PROXY": "*"}
    assert find_proxy('proxy = "http://proxy.example:3128"', **environ) == PROXY
    assert find_proxy('proxy = "env:P"', P="proxy.example:3128") == PROXY


@pytest.mark.parametrize("value", ["", "none"])
def test_no_proxy_can_be_configured(value: str) -> None:
    egress = load_egress(append_line(f'proxy = "{value}"'), HTTPS_PROXY="http://proxy.example")
    assert (egress.proxy, egress.proxy_from_environment) == (None, False)


def test_environment_names_the_proxy_of_providers_alone() -> None:
    environ = {
        "HTTPS_PROXY": "http://proxy.example:3128",
        "RECEIVER_NOTIFY_HOSTS": "shop.example",
        "RECEIVER_NOTIFY_SECRETS": "whsec_bm90IHJlYWxseSBhIHNlY3JldCBhdCBhbGw=",
    }
    settings = load(**environ)
    assert settings.providers["acme"].egress.proxy == PROXY
    assert settings.notify_provider
    assert settings.notify_provider.egress.proxy is None
    settings = load(**environ, RECEIVER_NOTIFY_PROXY="http://notify.example")
    assert settings.notify_provider
    assert settings.notify_provider.egress.proxy == Proxy("notify.example", 80)


def test_token_endpoint_has_the_proxy_of_its_own_host() -> None:
    toml = f"""
        [providers.acme]
        kind = "declared"
        base_url = "https://api.acme.example"
        auth = {{ scheme = "oauth2", token_url = "https://auth.example/token", client_id = "i", client_secret = "s" }}
        signature = {{ scheme = "standard-webhooks", secrets = ["{SECRET}"] }}
        callback = {{ reference = "id", status = "state", statuses = {{ DONE = "succeeded" }} }}
    """
    environ = {"HTTPS_PROXY": "http://proxy.example:3128", "NO_PROXY": "auth.example"}
    egress = load_egress(toml, **environ)
    assert (egress.proxy, egress.for_token_endpoint().proxy) == (PROXY, None)
    egress = load_egress(toml, **environ | {"NO_PROXY": "api.acme.example"})
    assert (egress.proxy, egress.for_token_endpoint().proxy) == (None, PROXY)
    egress = load_egress(f'{toml}\nproxy = "http://proxy.example:3128"', **environ)
    assert egress.for_token_endpoint().proxy == PROXY


@pytest.mark.parametrize("text", ["socks5://me:hunter2@proxy.example", "https://me:hunter2@proxy.example", "http://"])
def test_other_kinds_of_proxies_are_refused(text: str) -> None:
    form = "http://[USER:PASSWORD@]HOST[:PORT]"
    assert faults(append_line(f'proxy = "{text}"')) == [
        f"receiver.toml: providers.acme.proxy: Must be {form}, or none."
    ]
    assert faults(RECEIVER_NOTIFY_PROXY=text) == [f"RECEIVER_NOTIFY_PROXY: Must be {form}, or none."]
    [fault] = faults(ALL_PROXY=text)
    assert fault.startswith(f"receiver.toml: providers.acme.proxy: The environment variable ALL_PROXY must be {form}.")
    assert "hunter2" not in fault


def test_files_are_found_beside_the_configuration(directory: Path) -> None:
    write_certificate(directory / "ca.pem", "ca")
    write_certificate(directory / "own.pem", "own")
    line = f'tls = {{ ca_file = "ca.pem", cert_file = "{directory}/own.pem", key_file = "own.pem" }}'
    files = load_egress(append_line(line)).tls
    assert files == TlsFiles(Path("ca.pem"), directory / "own.pem", Path("own.pem"))
    assert load_egress().tls == TlsFiles()


@pytest.mark.parametrize(
    ("tls", "key", "message"),
    [
        ('ca_file = "missing.pem"', "tls.ca_file", "Cannot read the file missing.pem: No such file or directory."),
        ('ca_file = "."', "tls.ca_file", "Cannot read the file .: Is a directory."),
        ('ca_file = "text.pem"', "tls.ca_file", "Must contain certificates in PEM format."),
        ('cert_file = "text.pem"', "tls.cert_file", "Must contain a certificate in PEM format, and its key"),
        ('cert_file = "own.pem", key_file = "ca.pem"', "tls.key_file", "Must contain the key of the certificate in"),
        ('cert_file = "own.pem", key_file = "missing.pem"', "tls.key_file", "Cannot read the file missing.pem"),
        ('cert_file = "encrypted.pem"', "tls.cert_file", "The key is encrypted."),
        ('cert_file = "encrypted.pem", key_file = "encrypted.pem"', "tls.key_file", "The key is encrypted."),
        ('key_file = "own.pem"', "tls.cert_file", "Required if key_file is set."),
    ],
)
def test_file_that_cannot_be_used_is_reported(directory: Path, tls: str, key: str, message: str) -> None:
    for name in ("ca", "own"):
        write_certificate(directory / f"{name}.pem", name)
    write_certificate(directory / "encrypted.pem", "encrypted", passphrase=b"hunter2")
    (directory / "text.pem").write_text("hello")
    [fault] = faults(append_line(f"tls = {{ {tls} }}"))
    assert fault.startswith(f"receiver.toml: providers.acme.{key}: {message}")


def test_files_without_https_are_refused(directory: Path) -> None:
    write_certificate(directory / "ca.pem", "ca")
    toml = append_line('tls = { ca_file = "ca.pem" }').replace("https://", "http://")
    assert faults(toml) == ["receiver.toml: providers.acme.tls: Only used with a base_url that begins with https://."]


def test_user_agent_names_the_service_and_its_url() -> None:
    assert load_egress().user_agent == PRODUCT
    public_url = "https://callbacks.example"
    assert load_egress(RECEIVER_PUBLIC_URL=public_url).user_agent == f"{PRODUCT} (+{public_url})"
    assert load_egress(RECEIVER_USER_AGENT="Acme-Jobs/2 (ops@acme.example)").user_agent == (
        "Acme-Jobs/2 (ops@acme.example)"
    )
    assert faults(RECEIVER_USER_AGENT="two\nlines") == [
        "RECEIVER_USER_AGENT: Must contain only printable ASCII characters."
    ]
