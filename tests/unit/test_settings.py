"""Settings: values and defaults, all faults at once with their places, secret files, and hidden secrets."""

import errno
import os
import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path

import pytest

from receiver.configured_providers import SettingsError
from receiver.domain.backoff import RetryPolicy
from receiver.domain.connections import ConnectionLimits
from receiver.domain.sending import OnAmbiguous, RetryRules
from receiver.providers.base import SendPolicy
from receiver.providers.capabilities import CallbackSettings, PollPolicy
from receiver.providers.sandbox import SandboxSender
from receiver.settings import SERVICE_VARIABLES, Settings, load_settings
from receiver.signatures.base import CallbackAuth, fingerprint_secret
from receiver.signatures.standard_webhooks import StandardWebhooks, decode_key
from tests.support.capabilities import callbacks_of, poller_of
from tests.support.factories import SECRET
from tests.support.settings_files import MINIMAL, append_line, fault_places, faults, load

pytestmark = pytest.mark.usefixtures("directory")  # settings are loaded from it
RECEIVER = Path(sys.executable).with_name("receiver")
OLD_SECRET = "whsec_bm90IHNvIHNlY3JldCBhZnRlciBhbGw="
COMPLETE = """
[providers.acme-2]
kind = "sandbox"
base_url = "env:ACME_URL"
auth = { scheme = "bearer", secret = "env:ACME_API_KEY" }
idempotent = false
max_concurrency = 4
connect_timeout = 0.5
timeout = 2.5
on_ambiguous = "retry"
deadline = 60
retry = { attempts = 3, base = 0.5, max = 20 }
signature = { scheme = "standard-webhooks", tolerance = 60, secrets = ["env:ACME_SECRET", "env:ACME_SECRET_OLD"] }
poll = { first_after = 1, max_interval = 8, give_up_after = 40 }
"""
COMPLETE_ENVIRONMENT = {
    "ACME_URL": "https://api.acme.example:8443/sms/",
    "ACME_API_KEY": "sk_live_4242",
    "ACME_SECRET": SECRET,
    "ACME_SECRET_OLD": OLD_SECRET,
    "DATABASE_URL": "postgresql://receiver:hunter2@db.example,standby.example/receiver",
    "DATABASE_READ_URL": "postgresql://receiver:hunter2@replica.example/receiver",
    "DATABASE_POOL_SIZE": "7",
    "DATABASE_PREPARE": "off",
    "RECEIVER_METRICS_PORT": "9100",
    "RECEIVER_HOME": "/var/lib/receiver",
    "PORT": "9000",
    "WEB_CONCURRENCY": "4",
    "RECEIVER_PUBLIC_URL": "https://callbacks.example/in/",
    "RECEIVER_SECRET_KEY": "a-secret-key-of-cookies",
    "RECEIVER_ADMIN_KEY": "an-admin-key-of-length",
    "RECEIVER_MAX_BODY": "2048",
    "LOG_LEVEL": "DEBUG",
    "LOG_FORMAT": "console",
    "LOG_CALLBACKS": "0.25",
    "UNRELATED": "left alone",
}
SECRETS = ["sk_live_4242", SECRET, OLD_SECRET, "hunter2", "a-secret-key-of-cookies", "an-admin-key-of-length"]
BAD_ENVIRONMENT = {
    "DATABASE_URL": "hunter2 is no DSN",
    "DATABASE_READ_URL": "hunter2 is no DSN",
    "DATABASE_POOL_SIZE": "0",
    "DATABASE_PREPARE": "sk-maybe",
    "RECEIVER_METRICS_PORT": "0",
    "PORT": "sk-port",
    "WEB_CONCURRENCY": "0",
    "RECEIVER_PUBLIC_URL": "ftp://sk-public",
    "RECEIVER_SECRET_KEY": "sk-short",
    "RECEIVER_ADMIN_KEY": "sk-brief",
    "RECEIVER_MAX_BODY": "-1",
    "LOG_LEVEL": "sk-loud",
    "LOG_FORMAT": "sk-xml",
    "LOG_CALLBACKS": "1.5",
}
BAD_FILE = """
colour = "sk-colour"

[providers.Acme]
kind = "kind"

[providers.acme]
kind = "sandbox"
base_url = "sk-url"
auth = { scheme = "scheme", secret = "env:ACME_API_KEY", hint = "sk-hint" }
max_concurrency = 0
timeout = -1
connect_timeout = "soon"
on_ambiguous = "maybe"
deadline = inf
retry = { attempts = 101, base = 0 }
signature = { scheme = "md5", tolerance = nan, secrets = ["sk-not base64", "whsec_", 7] }
poll = { first_after = true }
speed = "sk-speed"

[providers.bare]
kind = "sandbox"
"""
BAD_FILE_FAULTS = {
    "colour",
    "providers.Acme",
    "providers.Acme.kind",
    "providers.acme.base_url",
    "providers.acme.auth.scheme",
    "providers.acme.auth.secret",
    "providers.acme.auth.hint",
    "providers.acme.max_concurrency",
    "providers.acme.timeout",
    "providers.acme.connect_timeout",
    "providers.acme.on_ambiguous",
    "providers.acme.deadline",
    "providers.acme.retry.attempts",
    "providers.acme.retry.base",
    "providers.acme.signature.scheme",
    "providers.acme.signature.tolerance",
    "providers.acme.signature.secrets.2",
    "providers.acme.poll.first_after",
    "providers.acme.speed",
    "providers.bare.base_url",
    "providers.bare.auth",
    "providers.bare.signature",
}
FROM_FILE = MINIMAL.replace('"sk_live_4242"', '"file:api-key"')


def test_empty_environment_means_defaults() -> None:
    assert load_settings({}) == Settings(
        database_url=None,
        home=Path(".receiver"),
        port=8_000,
        web_concurrency=2,
        public_url="http://127.0.0.1:8000",
        trusted_proxies=(),
        log_level="INFO",
        log_format="json",
        max_body_bytes=1 << 20,
        rate_limit_per_minute=60_000,
        secret_keys=(),
        admin_key=None,
        providers={},
    )


def test_environment_variables_are_loaded() -> None:
    settings = load(COMPLETE, **COMPLETE_ENVIRONMENT)
    assert settings.database_url == "postgresql://receiver:hunter2@db.example,standby.example/receiver"
    assert (settings.home, settings.port, settings.web_concurrency) == (Path("/var/lib/receiver"), 9_000, 4)
    assert settings.public_url == "https://callbacks.example/in"
    assert settings.callback_url("acme-2") == "https://callbacks.example/in/callbacks/acme-2"
    assert (settings.log_level, settings.log_format, settings.max_body_bytes) == ("DEBUG", "console", 2_048)
    assert settings.database_read_url == COMPLETE_ENVIRONMENT["DATABASE_READ_URL"]
    assert (settings.database_pool_size, settings.database_prepare, settings.metrics_port) == (7, "off", 9_100)
    assert (settings.secret_keys, settings.admin_key) == (("a-secret-key-of-cookies",), "an-admin-key-of-length")


def test_several_secret_keys_are_live_at_once() -> None:
    settings = load_settings({"RECEIVER_SECRET_KEY": "a-new-key-of-length, an-old-key-of-length"})
    assert settings.secret_keys == ("a-new-key-of-length", "an-old-key-of-length")


def test_credentials_have_fingerprints_under_all_secret_keys() -> None:
    new, old = "a-new-key-of-length", "an-old-key-of-length"
    [rotated, before, after] = [
        load(COMPLETE, **{**COMPLETE_ENVIRONMENT, "RECEIVER_SECRET_KEY": keys}).providers["acme-2"]
        for keys in (f"{new},{old}", old, new)
    ]
    assert before.fingerprint != after.fingerprint
    assert (rotated.fingerprint, rotated.former_fingerprints) == (after.fingerprint, [before.fingerprint])


@pytest.mark.parametrize(
    "keys", ["short", "a-new-key-of-length,", "a-new-key-of-length,short", ",".join(["k" * 16] * 2)]
)
def test_invalid_secret_keys_are_a_fault_without_the_value(keys: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({"RECEIVER_SECRET_KEY": keys})
    [fault] = caught.value.faults
    assert fault.startswith("RECEIVER_SECRET_KEY: Must ")
    assert "short" not in fault
    assert "kkkk" not in fault


def test_missing_required_variable_is_reported_with_other_faults() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({"PORT": "x", "RECEIVER_SECRET_KEY": ""}, required=SERVICE_VARIABLES)
    assert "RECEIVER_SECRET_KEY: Missing data for required field." in caught.value.faults
    assert "DATABASE_URL: Missing data for required field. Set it to a" in "\n".join(caught.value.faults)
    assert len(caught.value.faults) == 3


def test_dsn_is_that_of_database_url() -> None:
    assert load(DATABASE_URL="dbname=receiver").dsn == "dbname=receiver"
    with pytest.raises(ValueError, match="DATABASE_URL"):
        load().dsn  # noqa: B018  # the property raises


def test_connection_limits_are_loaded() -> None:
    environ = {
        "RECEIVER_TRUSTED_PROXIES": "10.0.0.0/8",
        "RECEIVER_HEADER_TIMEOUT": "1.5",
        "RECEIVER_BODY_TIMEOUT": "2",
        "RECEIVER_RESPONSE_TIMEOUT": "3",
        "RECEIVER_MIN_RATE": "0",
        "RECEIVER_MAX_UNVERIFIED": "33554432",
        "RECEIVER_MAX_INCOMPLETE": "10",
        "RECEIVER_MAX_INCOMPLETE_PER_ADDRESS": "5",
    }
    assert load(**environ).connection_limits == ConnectionLimits(
        header_timeout=1.5,
        body_timeout=2.0,
        response_timeout=3.0,
        min_rate=0,
        max_unverified_bytes=32 << 20,
        max_incomplete=10,
        max_incomplete_per_address=5,
        trusted_proxies=(ip_network("10.0.0.0/8"),),
    )
    assert load().connection_limits == ConnectionLimits()


def test_memory_budget_must_have_room_for_bodies() -> None:
    (fault,) = faults(RECEIVER_MAX_BODY="2000", RECEIVER_MAX_UNVERIFIED="63999")
    assert fault == "RECEIVER_MAX_UNVERIFIED: Must be at least 32 times RECEIVER_MAX_BODY."
    load(RECEIVER_MAX_BODY="2000", RECEIVER_MAX_UNVERIFIED="64000")


def test_provider_table_is_loaded_with_env_references_resolved() -> None:
    provider = load(COMPLETE, **COMPLETE_ENVIRONMENT).providers["acme-2"]
    assert (provider.name, provider.origin, provider.base_path) == ("acme-2", "https://api.acme.example:8443", "/sms")
    assert provider.retry_rules == RetryRules(RetryPolicy(attempts=3, base=0.5, max=20.0), OnAmbiguous.RETRY)
    assert provider.send_policy == SendPolicy(max_concurrency=4, connect_timeout=0.5, timeout=2.5)
    assert provider.deadline == 60.0
    assert poller_of(provider).policy == PollPolicy(first_after=1.0, max_interval=8.0, give_up_after=40.0)
    sender = provider.sender
    assert isinstance(sender, SandboxSender)
    assert (sender.api_key, sender.idempotent) == ("sk_live_4242", False)
    assert callbacks_of(provider).settings == CallbackSettings(
        CallbackAuth(
            StandardWebhooks([decode_key(SECRET), decode_key(OLD_SECRET)], 60.0),
            fingerprints=(fingerprint_secret(SECRET), fingerprint_secret(OLD_SECRET)),
        )
    )


def test_provider_defaults_match_the_contract() -> None:
    provider = load().providers["acme"]
    assert provider.retry_rules == RetryRules(RetryPolicy(attempts=8, base=1.0, max=300.0), OnAmbiguous.HOLD)
    assert provider.send_policy == SendPolicy(max_concurrency=16, connect_timeout=5.0, timeout=15.0)
    assert provider.deadline == 259_200.0
    assert poller_of(provider).policy == PollPolicy(first_after=60.0, max_interval=3_600.0, give_up_after=86_400.0)
    assert isinstance(provider.sender, SandboxSender)
    assert provider.sender.idempotent
    assert callbacks_of(provider).settings == CallbackSettings(
        CallbackAuth(StandardWebhooks([decode_key(SECRET)], 300.0), fingerprints=(fingerprint_secret(SECRET),))
    )


@pytest.mark.parametrize("name", ["PORT", "RECEIVER_ADMIN_KEY", "RECEIVER_PUBLIC_URL", "RECEIVER_CONFIG", "LOG_LEVEL"])
def test_empty_variable_counts_as_absent(name: str) -> None:
    assert load(**{name: ""}) == load()


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql:///receiver?host=%2Ftmp&port=5432&user=postgres",
        "postgres://u:p%40ss@[::1]:5432/db?sslmode=require",
        "postgresql://one,two:5433/db?target_session_attrs=read-write",
        "host=one,two dbname=receiver password='with space'",
    ],
)
def test_database_url_may_be_a_url_or_a_connection_string(dsn: str) -> None:
    assert load(DATABASE_URL=dsn).database_url == dsn


@pytest.mark.parametrize(
    "dsn",
    [
        "hunter2",
        "postgresql://u:p@ss:word@/db?nonsense=1",
        "postgresql://u:p@ss@one/db",
        "postgresql://u:p/ss@one/db",
        "host=one port",
        "host=one port=first",
        "mysql://u@h/db",
        "dbname=\udcff",
    ],
)
def test_unparsable_database_url_is_refused_and_not_shown(dsn: str) -> None:
    [fault] = faults(DATABASE_URL=dsn)
    assert fault.startswith("DATABASE_URL: ")
    assert dsn not in fault


def test_all_faults_are_reported_at_once_with_their_places() -> None:
    messages = faults(BAD_FILE, **BAD_ENVIRONMENT)
    assert fault_places(messages) == BAD_ENVIRONMENT.keys() | BAD_FILE_FAULTS
    assert all(fault.partition(": ")[2] for fault in messages)


def test_faults_show_values_only_of_harmless_keys() -> None:
    text = "\n".join(faults(BAD_FILE, **BAD_ENVIRONMENT))
    assert "sk-" not in text
    assert "hunter2" not in text
    assert " Got 'maybe'." in text


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('poll = "often"', "receiver.toml: providers.acme.poll: Invalid input type."),
        ("max_concurrency = 1.5", "receiver.toml: providers.acme.max_concurrency: Not a valid integer."),
        ('max_concurrency = "4"', "receiver.toml: providers.acme.max_concurrency: Not a valid integer."),
        ('colour = "red"', "receiver.toml: providers.acme.colour: Unknown field. Check its spelling."),
        (
            "retry = { tries = 3 }",
            "receiver.toml: providers.acme.retry.tries: Unknown field. Check its spelling.",
        ),
        ('on_ambiguous = "pray"', "receiver.toml: providers.acme.on_ambiguous: Must be one of: hold, retry."),
        (
            'idempotent = "env:NOWHERE"',
            "receiver.toml: providers.acme.idempotent: The environment variable NOWHERE is not set.",
        ),
    ],
)
def test_fault_names_its_place_and_the_expected_value(line: str, fault: str) -> None:
    assert fault in {message.partition(" Got ")[0] for message in faults(append_line(line))}


@pytest.mark.parametrize("kind", ["[]", "{}", "7", '"carrier-pigeon"', '""'])
def test_unknown_kind_is_refused_whatever_its_type(kind: str) -> None:
    [fault] = faults(f"[providers.acme]\nkind = {kind}")
    assert fault.startswith("receiver.toml: providers.acme.kind: Must be one of: cecula, cecula-legacy, ")


@pytest.mark.parametrize(
    ("kind", "suggestion"),
    [
        ("twillio", "twilio"),
        ("Replicate", "replicate"),
        ("cecla", "cecula"),
        ("paystack-transfers", "paystack"),
        ("stripe", "stripe-payments, stripe-payouts or stripe-refunds"),
    ],
)
def test_misspelt_kind_is_suggested(kind: str, suggestion: str) -> None:
    [fault] = faults(f'[providers.acme]\nkind = "{kind}"')
    assert f"or a provider of `receiver provider catalog`. Did you mean {suggestion}?" in fault


@pytest.mark.parametrize("name", ["ACME", "acme.sms", "-acme", "a" * 64, "acmé", ""])
def test_provider_name_must_fit_a_url(name: str) -> None:
    [fault] = faults(MINIMAL.replace("providers.acme", f'providers."{name}"'))
    assert fault.startswith(f"receiver.toml: providers.{name}: Not a valid provider name: ")


@pytest.mark.parametrize(
    ("toml", "place"),
    [
        ("providers = 3", "receiver.toml: providers: Not a valid table: it must contain one table for each provider."),
        ("[[providers]]", "receiver.toml: providers: Not a valid table: it must contain one table for each provider."),
        ("[providers]\nacme = 3", "receiver.toml: providers.acme: Not a valid table."),
        ("[provider.acme]", "receiver.toml: provider: Unknown key: only [providers.NAME] tables are allowed."),
    ],
)
def test_providers_must_be_tables(toml: str, place: str) -> None:
    assert faults(toml) == [place]


@pytest.mark.parametrize("content", [b"[providers", b'a = "sk-unclosed', b"a = 1\na = 2", b"\xff\xfe", b"\0"])
def test_invalid_toml_is_refused(directory: Path, content: bytes) -> None:
    (directory / "receiver.toml").write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        load_settings({})
    [fault] = caught.value.faults
    assert fault.startswith("receiver.toml: Not valid TOML: ")
    assert "sk-" not in fault


def test_receiver_config_names_another_file(directory: Path) -> None:
    (directory / "other.toml").write_text(MINIMAL)
    settings = load("[providers.bad]", RECEIVER_CONFIG="other.toml")
    assert settings.providers.keys() == {"acme"}


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_unreadable_config_file_is_refused(name: str) -> None:
    [fault] = faults(RECEIVER_CONFIG=name)
    assert fault.startswith(f"RECEIVER_CONFIG: Cannot read {name}: ")


def test_repr_of_settings_hides_secrets() -> None:
    settings = load(COMPLETE, **COMPLETE_ENVIRONMENT)
    shown = f"{settings!r} {settings!s}"
    assert not [secret for secret in SECRETS if secret in shown]
    assert "callbacks.example" in shown


def test_repr_of_provider_hides_secrets() -> None:
    provider = load(COMPLETE, **COMPLETE_ENVIRONMENT).providers["acme-2"]
    shown = f"{provider!r} {provider!s}"
    keys = [repr(decode_key(secret))[2:-1] for secret in (SECRET, OLD_SECRET)]
    assert not [secret for secret in SECRETS + keys if secret in shown]
    assert "api.acme.example" in shown


def test_web_process_prints_all_faults_and_exits_2(directory: Path) -> None:
    (directory / "receiver.toml").write_text(BAD_FILE)
    run = subprocess.run([RECEIVER, "web"], check=False, env=BAD_ENVIRONMENT, capture_output=True, timeout=30)
    assert (run.returncode, run.stdout) == (2, b"")
    lines = run.stderr.decode().splitlines()
    assert all(line.startswith("settings: ") for line in lines)
    places = fault_places([line.removeprefix("settings: ") for line in lines])
    assert places == BAD_ENVIRONMENT.keys() | BAD_FILE_FAULTS
    assert b"sk-" not in run.stderr
    assert b"hunter2" not in run.stderr


def api_key(settings: Settings) -> str:
    sender = settings.providers["acme"].sender
    assert isinstance(sender, SandboxSender)
    return sender.api_key


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n"])
def test_file_reference_is_replaced_by_the_text_of_the_file(directory: Path, ending: bytes) -> None:
    (directory / "api-key").write_bytes(b"sk_live_4242" + ending)
    assert api_key(load(FROM_FILE)) == "sk_live_4242"


@pytest.mark.parametrize("content", [b"sk\n\n", b"sk\n\r\n", b"sk\r", b" sk", b"sk \n", "\ufeffsk".encode()])
def test_file_reference_strips_only_one_newline(directory: Path, content: bytes) -> None:
    (directory / "api-key").write_bytes(content)
    assert fault_places(faults(FROM_FILE)) == {"providers.acme.auth.secret"}


def test_relative_file_is_found_beside_the_config_file(directory: Path) -> None:
    (directory / "etc/secrets").mkdir(parents=True)
    (directory / "etc/secrets/key").write_text("sk_live_4242\n")
    (directory / "etc/receiver.toml").write_text(FROM_FILE.replace("api-key", "secrets/key"))
    assert api_key(load_settings({"RECEIVER_CONFIG": "etc/receiver.toml"})) == "sk_live_4242"


def test_file_reference_may_be_absolute_and_in_a_list(directory: Path) -> None:
    path = directory / "secret"
    path.write_text(f"{OLD_SECRET}\n")
    auth = callbacks_of(load(MINIMAL.replace(SECRET, f"file:{path}")).providers["acme"]).settings.auth
    assert auth.fingerprints == (fingerprint_secret(OLD_SECRET),)


@pytest.mark.parametrize("text", ["env:HOME", "file:/etc/hostname"])
@pytest.mark.parametrize("reference", ["file:api-key", "env:KEY"])
def test_resolved_value_is_not_resolved_again(directory: Path, text: str, reference: str) -> None:
    (directory / "api-key").write_text(text)
    settings = load(FROM_FILE.replace("file:api-key", reference), KEY=text, HOME="/root")
    assert api_key(settings) == text


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("missing", "Cannot read the file missing: No such file or directory."),
        ("directory", "Cannot read the file directory: Is a directory."),
        ("binary", "Cannot read the file binary: Not valid UTF-8."),
        ("large", "Cannot read the file large: Larger than 64 KiB."),
        ("marked", "Cannot read the file marked: It begins with a byte order mark. Save it without."),
        ("pipe", "Cannot read the file pipe: Not a regular file."),
        (r"a\u0000b", "Not a valid file name: it contains a NUL character."),
    ],
)
def test_unreadable_files_are_reported_with_all_other_faults(directory: Path, path: str, reason: str) -> None:
    (directory / "directory").mkdir()
    os.mkfifo(directory / "pipe")
    (directory / "binary").write_bytes(b"sk-\xff")
    (directory / "large").write_bytes(b"x" * 65_537)
    (directory / "marked").write_bytes(b"\xef\xbb\xbfsk_live_4242")
    place = "receiver.toml: providers.acme"
    toml = f'{FROM_FILE.replace("api-key", path)}\nspeed = "env:NOWHERE"\nmax_concurrency = 0\n'
    messages = faults(toml, PORT="http")
    assert messages[:3] == [
        "PORT: Not a valid integer.",
        f"{place}.auth.secret: {reason}",
        f"{place}.speed: The environment variable NOWHERE is not set.",
    ]
    assert fault_places(messages[3:]) == {"providers.acme.max_concurrency"}


def test_environment_reference_without_a_name_is_reported() -> None:
    place = "receiver.toml: providers.acme.auth.secret"
    assert faults(FROM_FILE.replace("file:api-key", "env:")) == [
        f"{place}: Must name an environment variable after env:."
    ]


def test_file_without_permission_is_reported(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read every file, so that the error is simulated."""

    def refuse(path: Path, *_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    (directory / "receiver.toml").write_text(FROM_FILE)
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: FROM_FILE)
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(SettingsError, match=r"acme\.auth\.secret: Cannot read the file api-key: Permission denied\.$"):
        load_settings({})


def test_file_of_64_kib_is_read(directory: Path) -> None:
    (directory / "api-key").write_bytes(b"x" * 65_535 + b"\n")
    assert api_key(load(FROM_FILE)) == "x" * 65_535


@pytest.mark.parametrize("reference", ["file:value", "env:VALUE"])
@pytest.mark.parametrize(
    "line",
    [
        'kind = "REF"',
        'base_url = "REF"',
        'on_ambiguous = "REF"',
        'auth = { scheme = "REF", secret = "REF" }',
        'signature = { scheme = "hmac", header = "REF", signed = "REF", algorithm = "REF", secrets = ["REF"] }',
        'callback = { reference = "REF", status = "REF", statuses = { DONE = "REF" } }',
        'poll = { path = "REF", reference = "REF", status = "REF" }',
    ],
)
def test_faults_never_show_a_resolved_value(directory: Path, reference: str, line: str) -> None:
    value = "hush[ {hush} 'hush"
    (directory / "value").write_text(value)
    lines = {
        "kind": '"declared"',
        "base_url": '"https://api.acme.example"',
        "callback": '{ reference = "id", status = "state", statuses = { DONE = "succeeded" } }',
        "signature": f'{{ scheme = "github", secrets = ["{SECRET}"] }}',
    }
    key, _, setting = line.replace("REF", reference).partition(" = ")
    toml = "\n".join(f"{name} = {text}" for name, text in {**lines, key: setting}.items())
    messages = faults(f"[providers.acme]\n{toml}\n", VALUE=value)
    assert not [message for message in messages if "hush" in message]


@pytest.mark.parametrize("name", ["notify", "catalog"])
def test_reserved_provider_name_is_refused(name: str) -> None:
    [fault] = faults(MINIMAL.replace("[providers.acme]", f"[providers.{name}]"))
    assert f"providers.{name}: Reserved name: " in fault


def test_public_url_of_a_provider_is_its_callback_url() -> None:
    settings = load(
        append_line('public_url = "https://hooks.acme.example/in"'), RECEIVER_PUBLIC_URL="https://a.example"
    )
    assert settings.callback_url("acme") == "https://hooks.acme.example/in"
    assert callbacks_of(settings.providers["acme"]).settings.auth.public_url == "https://hooks.acme.example/in"


@pytest.mark.parametrize("url", ["hooks.acme.example", "https://hooks.acme.example/in?a=1", "https://u:p@h", "ftp://h"])
def test_invalid_public_url_of_a_provider_is_a_fault(url: str) -> None:
    assert fault_places(faults(append_line(f'public_url = "{url}"'))) == {"providers.acme.public_url"}


def test_only_one_of_two_public_urls_may_be_set() -> None:
    signature = 'signature = { scheme = "square", secrets = ["s"], public_url = "https://a.example" }'
    lines = [signature if line.startswith("signature") else line for line in MINIMAL.splitlines()]
    [fault] = faults("\n".join([*lines, 'public_url = "https://hooks.acme.example/in"']))
    assert fault.startswith("receiver.toml: providers.acme.public_url: Set the whole URL here")


def test_every_misspelt_name_is_answered_with_the_one_it_resembles() -> None:
    toml = """
    [providers.acme]
    kind = "declared"
    base_url = "https://acme.example"
    max_concurency = 3
    [providers.acme.callback]
    boddy = "json"
    reference = "id"
    status = "state"
    statuses = { DONE = "suceeded" }
    [providers.acme.signature]
    scheme = "hmca"
    header = "X-Sig"
    signed = "{timestmp}{body}"
    encodng = "hex"
    secrets = ["s"]
    [providers.globex]
    kind = "declare"
    """
    suggested = {fault.rpartition("Did you mean ")[2] for fault in faults(toml) if "Did you mean" in fault}
    names = ("max_concurrency", "body", "succeeded", "hmac", "encoding", "declared")
    assert {text.partition("?")[0] for text in suggested} == set(names)
    assert not any("?." in fault for fault in faults(toml))
    assert any("{timestamp}" in fault for fault in faults(toml.replace("hmca", "hmac")))
