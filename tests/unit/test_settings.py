"""Settings: what is good, every fault at once and with its place, and that no secret is ever shown."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from receiver.domain.backoff import RetryPolicy
from receiver.domain.jobs import JobStatus
from receiver.domain.sending import OnAmbiguous, RetryRules
from receiver.providers.base import CallbackSettings, PollPolicy, SendPolicy
from receiver.providers.cecula import Cecula, CeculaSync
from receiver.providers.sandbox import SandboxProvider
from receiver.settings import Settings, SettingsError, load_settings
from receiver.signatures.base import CallbackAuth, fingerprint_secret
from receiver.signatures.standard_webhooks import StandardWebhooks, decode_key
from tests.factories import SECRET

RECEIVER = Path(sys.executable).with_name("receiver")
OLD_SECRET = "whsec_bm90IHNvIHNlY3JldCBhZnRlciBhbGw="

LEAST = f"""
[providers.acme]
kind = "sandbox"
base_url = "https://api.acme.example"
auth = {{ scheme = "bearer", secret = "sk_live_4242" }}
signature = {{ scheme = "standard-webhooks", secrets = ["{SECRET}"] }}
"""
WHOLE = """
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
WHOLE_ENVIRONMENT = {
    "ACME_URL": "https://api.acme.example:8443/sms/",
    "ACME_API_KEY": "sk_live_4242",
    "ACME_SECRET": SECRET,
    "ACME_SECRET_OLD": OLD_SECRET,
    "DATABASE_URL": "postgresql://receiver:hunter2@db.example,standby.example/receiver",
    "RECEIVER_HOME": "/var/lib/receiver",
    "PORT": "9000",
    "WEB_CONCURRENCY": "4",
    "RECEIVER_PUBLIC_URL": "https://callbacks.example/in/",
    "RECEIVER_SECRET_KEY": "a-secret-key-of-cookies",
    "RECEIVER_ADMIN_KEY": "an-admin-key-of-length",
    "RECEIVER_MAX_BODY": "2048",
    "LOG_LEVEL": "DEBUG",
    "LOG_FORMAT": "console",
    "UNRELATED": "left alone",
}
SECRETS = ["sk_live_4242", SECRET, OLD_SECRET, "hunter2", "a-secret-key-of-cookies", "an-admin-key-of-length"]

BAD_ENVIRONMENT = {
    "DATABASE_URL": "hunter2 is no DSN",
    "PORT": "sk-port",
    "WEB_CONCURRENCY": "0",
    "RECEIVER_PUBLIC_URL": "ftp://sk-public",
    "RECEIVER_SECRET_KEY": "sk-short",
    "RECEIVER_ADMIN_KEY": "sk-brief",
    "RECEIVER_MAX_BODY": "-1",
    "LOG_LEVEL": "sk-loud",
    "LOG_FORMAT": "sk-xml",
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


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(toml: str = LEAST, **environ: str) -> Settings:
    """Load settings with `receiver.toml` in the working directory."""
    Path("receiver.toml").write_text(toml)
    return load_settings(environ)


def faults(toml: str = LEAST, **environ: str) -> list[str]:
    """Give the faults of settings that must have some."""
    with pytest.raises(SettingsError) as caught:
        load(toml, **environ)
    assert str(caught.value) == "; ".join(caught.value.faults)
    return caught.value.faults


def places(told: list[str]) -> set[str]:
    """Give the places of faults: a variable's name, or the path in the file."""
    return {fault.removeprefix("receiver.toml: ").partition(": ")[0] for fault in told}


def with_line(line: str) -> str:
    """Give the least file, with one more line about its provider."""
    return f"{LEAST}\n{line}\n"


def test_nothing_at_all_is_good_and_means_the_defaults() -> None:
    assert load_settings({}) == Settings(
        database_url=None,
        home=Path(".receiver"),
        port=8_000,
        web_concurrency=2,
        public_url="http://127.0.0.1:8000",
        trusted_proxies=(),
        log_level="INFO",
        log_format="json",
        max_body=1 << 20,
        rate_limit=60_000,
        secret_key=None,
        admin_key=None,
        providers={},
    )


def test_every_variable_is_read() -> None:
    settings = load(WHOLE, **WHOLE_ENVIRONMENT)
    assert settings.database_url == "postgresql://receiver:hunter2@db.example,standby.example/receiver"
    assert (settings.home, settings.port, settings.web_concurrency) == (Path("/var/lib/receiver"), 9_000, 4)
    assert settings.public_url == "https://callbacks.example/in"
    assert settings.callback_url("acme-2") == "https://callbacks.example/in/callbacks/acme-2"
    assert (settings.log_level, settings.log_format, settings.max_body) == ("DEBUG", "console", 2_048)
    assert (settings.secret_key, settings.admin_key) == ("a-secret-key-of-cookies", "an-admin-key-of-length")


def test_every_setting_of_a_provider_is_read_and_variables_are_put_in() -> None:
    provider = load(WHOLE, **WHOLE_ENVIRONMENT).providers["acme-2"]
    assert isinstance(provider, SandboxProvider)
    assert (provider.name, provider.origin, provider.base_path) == ("acme-2", "https://api.acme.example:8443", "/sms")
    assert provider.retry_rules == RetryRules(RetryPolicy(attempts=3, base=0.5, max=20.0), OnAmbiguous.RETRY)
    assert provider.send_policy == SendPolicy(max_concurrency=4, connect_timeout=0.5, timeout=2.5)
    assert provider.poll_policy == PollPolicy(deadline=60.0, first_after=1.0, max_interval=8.0, give_up_after=40.0)
    assert (provider.api_key, provider.idempotent) == ("sk_live_4242", False)
    assert provider.callback_settings == CallbackSettings(
        CallbackAuth(
            StandardWebhooks([decode_key(SECRET), decode_key(OLD_SECRET)], 60.0),
            fingerprints=(fingerprint_secret(SECRET), fingerprint_secret(OLD_SECRET)),
        )
    )


def test_a_provider_has_the_defaults_of_the_contract() -> None:
    provider = load().providers["acme"]
    assert isinstance(provider, SandboxProvider)
    assert provider.retry_rules == RetryRules(RetryPolicy(attempts=8, base=1.0, max=300.0), OnAmbiguous.HOLD)
    assert provider.send_policy == SendPolicy(max_concurrency=16, connect_timeout=5.0, timeout=15.0)
    assert provider.poll_policy == PollPolicy(
        deadline=259_200.0, first_after=60.0, max_interval=3_600.0, give_up_after=86_400.0
    )
    assert provider.idempotent
    assert provider.callback_settings == CallbackSettings(
        CallbackAuth(StandardWebhooks([decode_key(SECRET)], 300.0), fingerprints=(fingerprint_secret(SECRET),))
    )


def test_what_half_a_table_leaves_out_has_the_same_defaults() -> None:
    provider = load(with_line("retry = { attempts = 2 }\npoll = { max_interval = 70 }")).providers["acme"]
    assert provider.retry_rules.retry == RetryPolicy(attempts=2, base=1.0, max=300.0)
    assert provider.poll_policy == PollPolicy(
        deadline=259_200.0, first_after=60.0, max_interval=70.0, give_up_after=86_400.0
    )


@pytest.mark.parametrize("name", ["PORT", "RECEIVER_ADMIN_KEY", "RECEIVER_PUBLIC_URL", "RECEIVER_CONFIG", "LOG_LEVEL"])
def test_an_empty_variable_counts_as_absent(name: str) -> None:
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
def test_a_database_is_named_by_a_url_or_a_connection_string(dsn: str) -> None:
    assert load(DATABASE_URL=dsn).database_url == dsn


@pytest.mark.parametrize(
    "dsn", ["hunter2", "postgresql://u:p@ss:word@/db?nonsense=1", "host=one port", "mysql://u@h/db", "dbname=\udcff"]
)
def test_a_database_url_that_libpq_cannot_read_is_a_fault_at_start(dsn: str) -> None:
    [fault] = faults(DATABASE_URL=dsn)
    assert fault.startswith("DATABASE_URL: ")
    assert dsn not in fault


def test_every_fault_of_environment_and_file_is_told_at_once_with_its_place() -> None:
    told = faults(BAD_FILE, **BAD_ENVIRONMENT)
    assert places(told) == BAD_ENVIRONMENT.keys() | BAD_FILE_FAULTS
    assert all(fault.partition(": ")[2] for fault in told)


def test_a_fault_shows_the_value_only_of_a_key_that_is_never_secret() -> None:
    told = "\n".join(faults(BAD_FILE, **BAD_ENVIRONMENT))
    assert "sk-" not in told
    assert "hunter2" not in told
    assert "; it is 'maybe'" in told


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('poll = "often"', "receiver.toml: providers.acme.poll: Invalid input type"),
        ("max_concurrency = 1.5", "receiver.toml: providers.acme.max_concurrency: Not a valid integer"),
        ('max_concurrency = "4"', "receiver.toml: providers.acme.max_concurrency: Not a valid integer"),
        ('colour = "red"', "receiver.toml: providers.acme.colour: is not a key of this table; check its spelling"),
        (
            "retry = { tries = 3 }",
            "receiver.toml: providers.acme.retry.tries: is not a key of this table; check its spelling",
        ),
        ('on_ambiguous = "pray"', "receiver.toml: providers.acme.on_ambiguous: Must be one of: hold, retry"),
        (
            'idempotent = "env:NOWHERE"',
            "receiver.toml: providers.acme.idempotent: the environment variable NOWHERE is not set",
        ),
    ],
)
def test_a_fault_says_where_it_is_and_what_was_expected(line: str, fault: str) -> None:
    assert fault in {told.partition("; it is ")[0] for told in faults(with_line(line))}


@pytest.mark.parametrize(
    "line",
    [
        "deadline = 1e12",
        "timeout = 1e12",
        "connect_timeout = 1e12",
        "retry = { max = 1e12 }",
        "poll = { first_after = 1e12 }",
        "poll = { max_interval = 1e12 }",
        "poll = { give_up_after = 1e12 }",
    ],
)
def test_a_duration_that_no_clock_can_hold_is_a_fault_at_start_and_not_on_the_first_job(line: str) -> None:
    assert len(faults(with_line(line))) == 1


@pytest.mark.parametrize("kind", ["[]", "{}", "7", '"carrier-pigeon"', '""'])
def test_an_unknown_kind_is_a_fault_whatever_its_type(kind: str) -> None:
    [fault] = faults(f"[providers.acme]\nkind = {kind}")
    assert fault.startswith("receiver.toml: providers.acme.kind: must be one of: cecula, cecula-legacy, ")


@pytest.mark.parametrize("secret", ["", "with space", "line\n", "tab\t", "grüße", "nul\0"])
def test_a_bearer_secret_that_fits_no_header_is_a_fault(secret: str) -> None:
    told = faults(LEAST.replace('"sk_live_4242"', '"env:KEY"'), KEY=secret)
    assert places(told) == {"providers.acme.auth.secret"}


@pytest.mark.parametrize("name", ["ACME", "acme.sms", "-acme", "a" * 64, "acmé", ""])
def test_a_provider_needs_a_name_that_fits_a_url(name: str) -> None:
    [fault] = faults(LEAST.replace("providers.acme", f'providers."{name}"'))
    assert fault.startswith(f"receiver.toml: providers.{name}: a name is")


@pytest.mark.parametrize(
    ("toml", "place"),
    [
        ("providers = 3", "receiver.toml: providers: must hold one table for each provider"),
        ("[[providers]]", "receiver.toml: providers: must hold one table for each provider"),
        ("[providers]\nacme = 3", "receiver.toml: providers.acme: must be a table"),
        ("[provider.acme]", "receiver.toml: provider: unknown key; only [providers.NAME] tables are known"),
    ],
)
def test_a_file_of_another_shape_is_a_fault(toml: str, place: str) -> None:
    assert faults(toml) == [place]


@pytest.mark.parametrize("content", [b"[providers", b'a = "sk-unclosed', b"a = 1\na = 2", b"\xff\xfe", b"\0"])
def test_a_file_that_is_not_toml_is_a_fault(directory: Path, content: bytes) -> None:
    (directory / "receiver.toml").write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        load_settings({})
    [fault] = caught.value.faults
    assert fault.startswith("receiver.toml: not valid TOML: ")
    assert "sk-" not in fault


def test_another_file_may_be_named(directory: Path) -> None:
    (directory / "other.toml").write_text(LEAST)
    settings = load("[providers.bad]", RECEIVER_CONFIG="other.toml")
    assert settings.providers.keys() == {"acme"}


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_a_named_file_that_cannot_be_read_is_a_fault(name: str) -> None:
    [fault] = faults(RECEIVER_CONFIG=name)
    assert fault.startswith(f"RECEIVER_CONFIG: cannot read {name}: ")


def test_no_settings_show_a_secret() -> None:
    settings = load(WHOLE, **WHOLE_ENVIRONMENT)
    shown = f"{settings!r} {settings!s}"
    assert not [secret for secret in SECRETS if secret in shown]
    assert "callbacks.example" in shown


def test_no_provider_shows_a_secret() -> None:
    provider = load(WHOLE, **WHOLE_ENVIRONMENT).providers["acme-2"]
    shown = f"{provider!r} {provider!s}"
    keys = [repr(decode_key(secret))[2:-1] for secret in (SECRET, OLD_SECRET)]
    assert not [secret for secret in SECRETS + keys if secret in shown]
    assert "api.acme.example" in shown


def test_the_web_process_does_not_start_and_tells_every_fault_on_stderr(directory: Path) -> None:
    (directory / "receiver.toml").write_text(BAD_FILE)
    run = subprocess.run([RECEIVER, "web"], check=False, env=BAD_ENVIRONMENT, capture_output=True, timeout=30)
    assert (run.returncode, run.stdout) == (2, b"")
    lines = run.stderr.decode().splitlines()
    assert all(line.startswith("settings: ") for line in lines)
    told = places([line.removeprefix("settings: ") for line in lines])
    assert told == BAD_ENVIRONMENT.keys() | BAD_FILE_FAULTS
    assert b"sk-" not in run.stderr
    assert b"hunter2" not in run.stderr


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h",
        "https://",
        "https://h:99999",
        "https://user:hunter2@h",
        "https://h?key=hunter2",
        "https://h/#top",
        "https://h//v1",
        "https://h/grüße",
        "https://h/v1 ",
        "https://[",
    ],
)
def test_a_url_that_others_cannot_be_built_on_is_a_fault(url: str) -> None:
    [fault] = faults(RECEIVER_PUBLIC_URL=url)
    assert fault.startswith("RECEIVER_PUBLIC_URL: must ")
    assert "hunter2" not in fault


@pytest.mark.parametrize("key", ["a-key-of-sixteen-or-more\n", "ein-schlüssel-mit-umlaut", "a key of sixteen or more"])
def test_an_admin_key_that_no_header_can_carry_is_a_fault(key: str) -> None:
    [fault] = faults(RECEIVER_ADMIN_KEY=key)
    assert fault.startswith("RECEIVER_ADMIN_KEY: ")


CECULA = """
[providers.cecula]
kind = "cecula"
auth = { scheme = "bearer", secret = "key" }
signature = { scheme = "token", secrets = ["an-unguessable-token"] }
"""


NEXT_SECRET = "whsec_YW5vdGhlciBzZWNyZXQgb2YgMjQgYnl0ZXM="
TELLING = {
    "RECEIVER_NOTIFY_HOSTS": "Shop.example., *.hooks.example,10.0.0.5",
    "RECEIVER_NOTIFY_SECRETS": f"{SECRET}, {NEXT_SECRET}",
    "RECEIVER_NOTIFY_NETWORKS": "10.0.0.0/8,fd00::/8",
}


def test_who_may_be_told_is_read() -> None:
    settings = load(**TELLING)
    assert settings.notifier
    assert settings.notifier.rules.hosts == ("shop.example", "*.hooks.example", "10.0.0.5")
    assert [str(network) for network in settings.notifier.rules.networks] == ["10.0.0.0/8", "fd00::/8"]
    assert settings.notifier.keys == (decode_key(SECRET), decode_key(NEXT_SECRET))
    assert settings.providers.keys() == {"acme"}
    assert settings.sent_to.keys() == {"acme", "notify"}
    assert SECRET not in repr(settings)
    assert repr(decode_key(SECRET)) not in repr(settings) + repr(settings.notifier)


def test_without_hosts_nobody_is_told() -> None:
    settings = load(RECEIVER_NOTIFY_HOSTS="", RECEIVER_NOTIFY_SECRETS=SECRET)
    assert settings.notifier is None
    assert settings.sent_to.keys() == {"acme"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RECEIVER_NOTIFY_HOSTS", "https://shop.example"),
        ("RECEIVER_NOTIFY_HOSTS", "shop.example,"),
        ("RECEIVER_NOTIFY_HOSTS", "*"),
        ("RECEIVER_NOTIFY_HOSTS", "shop.*.example"),
        ("RECEIVER_NOTIFY_SECRETS", ""),
        ("RECEIVER_NOTIFY_SECRETS", "whsec_not base64!"),
        ("RECEIVER_NOTIFY_SECRETS", "whsec_c2hvcnQ="),
        ("RECEIVER_NOTIFY_SECRETS", SECRET.removeprefix("whsec_")),
        ("RECEIVER_NOTIFY_SECRETS", f"{SECRET},whsk_{SECRET[6:]}"),
        ("RECEIVER_NOTIFY_NETWORKS", "10.0.0.0/99"),
    ],
)
def test_what_is_wrong_about_who_may_be_told_is_a_fault_that_shows_no_secret(name: str, value: str) -> None:
    told = faults(**{**TELLING, name: value})
    assert places(told) == {name}
    assert not any(part in fault for fault in told for part in re.split("[, ]", value) if part.startswith("wh"))


def test_the_name_of_what_tells_clients_is_taken() -> None:
    [fault] = faults(LEAST.replace("[providers.acme]", "[providers.notify]"))
    assert "providers.notify: this name is taken" in fault


def test_ceculas_tables_have_what_cecula_documents_as_defaults() -> None:
    settings = load(CECULA)
    provider = settings.providers["cecula"]
    assert isinstance(provider, Cecula)
    assert (provider.origin, provider.base_path) == ("https://app.cecula.com", "/api")
    assert (provider.report_fields.reference, provider.can_poll) == ("id", False)
    assert settings.callback_url("cecula").endswith("/callbacks/cecula/an-unguessable-token")


def test_ceculas_report_fields_words_poll_and_zone_are_configured() -> None:
    more = """
time_zone = "Africa/Lagos"
poll = { path = "/reports/{reference}", first_after = 5 }
callback = { reference = "messageId", status = "state", statuses = { LANDED = "succeeded" } }
"""
    provider = load(CECULA + more).providers["cecula"]
    assert isinstance(provider, Cecula)
    assert (provider.report_fields.reference, provider.report_fields.status) == ("messageId", "state")
    assert provider.statuses["landed"] is JobStatus.SUCCEEDED
    assert provider.statuses["delivrd"] is JobStatus.SUCCEEDED
    assert (provider.poll_path, str(provider.time_zone)) == ("/reports/{reference}", "Africa/Lagos")
    sync = load(CECULA.replace('"cecula"', '"cecula-sync"')).providers["cecula"]
    assert isinstance(sync, CeculaSync)
    assert (sync.report_fields.reference, sync.can_poll) == ("trackingId", True)


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ('time_zone = "Atlantis"', "time_zone"),
        ('callback = { reference = "a[" }', "callback.reference"),
        ('callback = { statuses = { X = "gone" } }', "callback.statuses.X"),
        ('poll = { path = "no-slash" }', "poll.path"),
    ],
)
def test_mistakes_in_ceculas_tables_are_told_with_their_place(line: str, place: str) -> None:
    assert places(faults(f"{CECULA}{line}\n")) == {f"providers.cecula.{place}"}


def test_confirming_without_a_way_to_ask_is_a_fault() -> None:
    confirm = CECULA.replace('"token", ', '"token", trust = "confirm", ')
    assert places(faults(confirm)) == {"providers.cecula.poll.path"}


def test_cecula_without_a_signature_is_told_to_take_a_url_token() -> None:
    [fault] = faults(CECULA.replace("signature", "#"))
    assert "URL token" in fault
