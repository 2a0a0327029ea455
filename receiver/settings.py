"""Settings from the environment and `receiver.toml`, validated together at start: all faults are reported at once.

A message names the variable or the path in the file, and what was expected. It shows a value only as the file has it,
and only under a key that never holds a secret; a value that came from `env:NAME` or `file:PATH` is never shown.
"""

import time
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

from marshmallow import ValidationError
from marshmallow.exceptions import SCHEMA
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from receiver.account_tables import ACCOUNTS, Fault, assign_faults, build_account_table
from receiver.domain.accounts import NAME_RULE, build_callback_path, is_valid_name, join_account
from receiver.domain.connections import ConnectionLimits
from receiver.domain.egress import PRODUCT, Egress
from receiver.domain.errors import ReceiverError
from receiver.domain.targets import TargetRules
from receiver.egress import resolve_egress
from receiver.providers.base import Provider
from receiver.providers.registry import build_provider
from receiver.providers.webhook import PROVIDER_NAME, build_notify_provider
from receiver.references import ReferenceResolver
from receiver.schemas.settings import CONNECTION_LIMITS, EnvironmentSchema

DATABASE_VARIABLES = ("DATABASE_URL",)
"""The environment variables that commands require which work directly on the database."""
SERVICE_VARIABLES = (*DATABASE_VARIABLES, "RECEIVER_SECRET_KEY")
"""The environment variables that web and worker require."""
DEFAULT_CONFIG = "receiver.toml"

_REMEDIES = {"DATABASE_URL": "Set it to a Postgres server (postgresql://…). Only serve and demo start an embedded one."}
"""What to do about a variable that is required and missing, besides to set it."""
_MAX_SHOWN_CHARS = 80
# fmt: off
_HARMLESS = frozenset({
    "algorithm", "algorithm_header", "allow_from", "assignment", "attempts", "base", "batch", "body", "callback_token",
    "callback_url", "code", "codes", "connect_timeout", "deadline", "decode_url", "detail", "echo", "encoding",
    "event_id", "failures", "fetch", "first_after", "format", "give_up_after", "idempotency_header", "idle_timeout",
    "items", "json_field", "key_encoding", "kind", "max", "max_concurrency", "max_interval", "max_per_second", "method",
    "methods", "not_found", "not_found_after", "occurred_at", "on_ambiguous", "open_for", "path", "read_once",
    "reference", "reference_reuse_after", "request", "request_id", "scheme", "separator", "set_separator", "signed",
    "status", "superseding", "time_unit", "time_zone", "timeout", "timestamp", "token_at", "tolerance", "trust",
    "unit", "user_id",
})
# fmt: on


class SettingsError(ReceiverError):
    """The settings have faults. `faults` lists all of them, each with its place and remedy."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__(" ".join(faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Settings:
    """The validated configuration of a process.

    Attributes:
        database_url: a DSN; None if it is not set, where `serve` starts the embedded Postgres below `home`.
        database_read_url: the DSN of a replica for lists and statistics; None if there is none.
        database_pool_size: the maximum number of connections in a process's pool.
        database_prepare: whether statements are prepared: `on`, `off`, or `auto` where no pooler is in between.
        metrics_port: the port on which the worker serves its metrics; None for none.
        max_body_bytes: the largest callback body, in bytes.
        secret_keys: the keys of `RECEIVER_SECRET_KEY`; the first is used for what is new. Empty if it is not set.
        rate_limit_per_minute: calls per minute of an API key that has no limit of its own.
        notify_provider: sends webhook notifications; None where `RECEIVER_NOTIFY_HOSTS` is not set.
        connection_limits: the limits of connections to a web process.
        digests: a digest of each provider's table, by which a change is noticed when the file is read again.
    """

    database_url: str | None = field(repr=False)
    home: Path
    port: int
    web_concurrency: int
    public_url: str
    trusted_proxies: Sequence[IPv4Network | IPv6Network]
    log_level: str
    log_format: str
    max_body_bytes: int
    rate_limit_per_minute: int
    secret_keys: Sequence[str] = field(repr=False)
    admin_key: str | None = field(repr=False)
    providers: Mapping[str, Provider] = field(repr=False)
    notify_provider: Provider | None = field(default=None, repr=False)
    connection_limits: ConnectionLimits = field(default_factory=ConnectionLimits)
    digests: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    database_read_url: str | None = field(default=None, repr=False)
    database_pool_size: int = 5
    database_prepare: str = "auto"
    metrics_port: int | None = None

    @property
    def dsn(self) -> str:
        """The DSN of the database, for processes that load the settings with `DATABASE_URL` required.

        Raises:
            ValueError: `database_url` is None.
        """
        if self.database_url is None:
            raise ValueError("settings.database_url is None: load the settings with DATABASE_URL required")
        return self.database_url

    @property
    def send_targets(self) -> Mapping[str, Provider]:
        """Everything that requests are sent to: the configured providers and `notify`."""
        return {**self.providers, PROVIDER_NAME: self.notify_provider} if self.notify_provider else self.providers

    @property
    def notify_targets(self) -> TargetRules | None:
        """The hosts that may be notified; None where webhook notifications are disabled."""
        return self.notify_provider.target_rules if self.notify_provider else None

    def callback_url(self, provider: str) -> str:
        """Return the URL to register at a provider; "" for one without callbacks.

        It ends with the URL token if there is one, unless the provider has a public URL of its own.
        """
        configured = self.send_targets.get(provider)
        if configured is None or configured.callbacks is None:
            return ""
        auth = configured.callbacks.settings.auth
        return auth.public_url or "/".join([f"{self.public_url}{build_callback_path(provider)}", *auth.tokens[:1]])


def load_settings(
    environ: Mapping[str, str], *, required: Collection[str] = (), previous: Settings | None = None
) -> Settings:
    """Read and validate all settings.

    Args:
        environ: the environment variables.
        required: the names of variables without which the process cannot run, such as `SERVICE_VARIABLES`.
        previous: the settings in use, when they are read again: a provider that has not changed stays the same object.

    Raises:
        SettingsError: with every fault of the environment and the file.
    """
    faults: list[str] = []
    try:
        variables = EnvironmentSchema().load(dict(environ))
    except ValidationError as error:
        faults += [f"{name}: {message}" for name, message in _flatten_messages(error.messages_dict)]
        variables = error.valid_data if isinstance(error.valid_data, dict) else {}
    faults += [
        f"{name}: Missing data for required field. {_REMEDIES.get(name, '')}".rstrip()
        for name in required
        if not environ.get(name)
    ]
    faults += [
        f"{name}: Not a valid URL (postgresql://…) or libpq connection string. In a URL, percent-encode @, / and # "
        "in the password."
        for name in ("DATABASE_URL", "DATABASE_READ_URL")
        if not _is_dsn(variables.get(name.lower()))
    ]
    path = Path(variables.get("config") or DEFAULT_CONFIG)
    user_agent = variables.get("user_agent") or _build_user_agent(variables.get("public_url"))
    loader = _ProviderLoader(path, environ, user_agent, variables.get("secret_keys", ()), previous)
    loader.load(_read_tables(path, faults, required=variables.get("config") is not None))
    faults += loader.faults
    if faults:
        raise SettingsError(faults)
    del variables["config"], variables["user_agent"]
    port = variables["port"]
    variables["public_url"] = (variables["public_url"] or f"http://127.0.0.1:{port}").rstrip("/")
    variables["home"] = Path(variables["home"])
    hosts, keys, networks = (variables.pop(name) for name in ("notify_hosts", "notify_secrets", "notify_networks"))
    egress = Egress(user_agent, variables.pop("notify_proxy") or None, proxy_from_environment=False)
    notify_provider = build_notify_provider(TargetRules(hosts, networks), keys, egress=egress) if hosts else None
    connection_limits = ConnectionLimits(
        **{name: variables.pop(name) for name in CONNECTION_LIMITS}, trusted_proxies=variables["trusted_proxies"]
    )
    return Settings(
        providers=loader.providers,
        digests=loader.digests,
        notify_provider=notify_provider,
        connection_limits=connection_limits,
        **variables,
    )


def _is_dsn(text: str | None) -> bool:
    try:
        params = conninfo_to_dict(text or "")
    except (ProgrammingError, UnicodeEncodeError):
        return False
    # A special character in a password ends the password early. The rest of it must not be shown as the name of a host.
    hosts, ports = str(params.get("host", "")).split(","), str(params.get("port", "")).split(",")
    return not any("@" in host[1:] for host in hosts) and all(port.isdecimal() for port in ports if port)


def _build_user_agent(public_url: str | None) -> str:
    """Return the value of `User-Agent`, with the URL where the operator of this service can be found if it is set."""
    return f"{PRODUCT}{f' (+{public_url})' if public_url else ''}"


class _ProviderLoader:
    """Builds the providers of the configuration file.

    Attributes:
        providers: the providers by name, accounts included.
        digests: a digest of each provider's table with everything that it refers to.
        faults: what is wrong with the file.
    """

    def __init__(
        self,
        path: Path,
        environ: Mapping[str, str],
        user_agent: str,
        secret_keys: Sequence[str],
        previous: Settings | None,
    ) -> None:
        self.providers: dict[str, Provider] = {}
        self.digests: dict[str, bytes] = {}
        self.faults: list[str] = []
        self._path = path
        self._environ = environ
        self._user_agent = user_agent
        self._fingerprint_key = "".join(secret_keys[:1]).encode()
        self._previous = previous

    def load(self, tables: Mapping[str, Any]) -> None:
        """Build the providers of the tables below `providers`."""
        for name, table in tables.items():
            place = f"{self._path}: providers.{name}"
            if not is_valid_name(name):
                self.faults.append(f"{place}: Not a valid provider name: {NAME_RULE}.")
            if name == PROVIDER_NAME:
                self.faults.append(f"{place}: Reserved name: webhook notifications use it. Choose another.")
            if isinstance(table, dict):
                self.faults += [f"{place}.{fault.place}: {fault.message}" for fault in self._load_provider(name, table)]
            else:
                self.faults.append(f"{place}: Not a valid table.")

    def _load_provider(self, name: str, table: Mapping[str, Any]) -> Iterable[Fault]:
        """Build a provider and its accounts; return the faults of its table."""
        accounts = table.get(ACCOUNTS, {})
        if not isinstance(accounts, dict):
            return [Fault(ACCOUNTS, "Not a valid table: it must contain one table for each account.")]
        faults = self._load_table(name, {key: value for key, value in table.items() if key != ACCOUNTS})
        if not accounts:
            return faults
        faults_by_account: dict[str, Sequence[Fault]] = {}
        wrong_names: list[Fault] = []
        for account, own in accounts.items():
            if not is_valid_name(account):
                wrong_names.append(Fault(f"{ACCOUNTS}.{account}", f"Not a valid account name: {NAME_RULE}."))
            elif not isinstance(own, dict):
                wrong_names.append(Fault(f"{ACCOUNTS}.{account}", "Not a valid table."))
            else:
                merged = build_account_table(table, own)
                faults_by_account[account] = self._load_table(join_account(name, account), merged)
                if self._previous:
                    time.sleep(0)  # a process that reads its settings again serves others between two accounts
        return [*wrong_names, *assign_faults(faults, faults_by_account)]

    def _load_table(self, name: str, table: Mapping[str, Any]) -> Sequence[Fault]:
        """Build the provider of one table, unless an equal one is in use already; return the table's faults."""
        resolver = ReferenceResolver(self._environ, self._path.parent)
        resolved = resolver.resolve(table)
        faults = [Fault(key, message) for key, message in resolver.faults.items()]
        digest = sha256(repr((resolved, self._read_tls_files(resolved))).encode(errors="surrogateescape")).digest()
        try:
            if self._previous and not faults and self._previous.digests.get(name) == digest:
                self.providers[name] = self._previous.providers[name]
            else:
                provider = build_provider(name, resolved)
                egress = resolve_egress(provider, self._environ, self._path.parent, self._user_agent)
                self.providers[name] = replace(provider, egress=egress, fingerprint_key=self._fingerprint_key)
        except ValidationError as error:
            faults += [
                Fault(key, f"{resolver.redact(key, message)}{_format_value(table, key)}")
                for key, message in _flatten_messages(error.messages_dict)
                if key not in resolver.faults
            ]
        if faults:
            self.providers.pop(name, None)
        else:
            self.digests[name] = digest
        return faults

    def _read_tls_files(self, table: Mapping[str, Any]) -> Sequence[bytes]:
        """Return the content of the files of a TLS client, which may be renewed under the same name."""
        files = table.get("tls")
        names = [name for name in files.values() if isinstance(name, str)] if isinstance(files, dict) else []
        paths = [self._path.parent / name for name in names]
        with suppress(OSError, ValueError):  # reported when the files are checked
            return [path.read_bytes() for path in paths if path.is_file()]
        return ()


def _read_tables(path: Path, faults: list[str], *, required: bool) -> dict[str, Any]:
    """Return the tables below `providers` of the configuration file, by name."""
    if not required and not path.exists():
        return {}
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        faults.append(f"RECEIVER_CONFIG: Cannot read {path}: {error.strerror}.")
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        faults.append(f"{path}: Not valid TOML: {error}.")
        return {}
    faults += [
        f"{path}: {key}: Unknown key: only [providers.NAME] tables are allowed."
        for key in document.keys() - {"providers"}
    ]
    tables = document.get("providers", {})
    if not isinstance(tables, dict):
        faults.append(f"{path}: providers: Not a valid table: it must contain one table for each provider.")
        return {}
    return tables


def _format_value(table: Mapping[str, Any], place: str) -> str:
    """Return the value at a place as the file has it, if its key never holds a secret."""
    value: Any = table
    keys = place.split(".")
    for key in keys:
        if isinstance(value, list) and key.isdecimal():
            value = value[int(key)] if int(key) < len(value) else None
        else:
            value = value.get(key) if isinstance(value, Mapping) else None
    last = next((key for key in reversed(keys) if not key.isdecimal()), "")
    if last not in _HARMLESS and "statuses" not in keys:
        return ""
    return f" Got {value!r}." if isinstance(value, str | int | float) and len(str(value)) <= _MAX_SHOWN_CHARS else ""


def _flatten_messages(messages: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield each of marshmallow's messages as a sentence, with its place."""
    if isinstance(messages, Mapping):
        for key, inner in messages.items():
            inside = place and (place if key == SCHEMA else f"{place}.{key}")
            yield from _flatten_messages(inner, inside or str(key))
    elif isinstance(messages, list):
        for message in messages:
            yield from _flatten_messages(message, place)
    else:
        message = str(messages)
        yield place, message if message.endswith("?") else f"{message.rstrip('.')}."
