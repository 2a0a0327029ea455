"""Settings from the environment and `receiver.toml`, validated whole at start: every fault is reported at once.

Messages name the variable or the path in the file and what was expected. They show a value only where the file holds it
under a key that is never secret.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

from marshmallow import ValidationError
from marshmallow.exceptions import SCHEMA
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from receiver.domain.errors import ReceiverError
from receiver.domain.targets import TargetRules
from receiver.providers.base import Provider
from receiver.providers.registry import build_provider
from receiver.providers.webhook import NAME, WebhookSender
from receiver.schemas.settings import EnvironmentSchema

DEFAULT_CONFIG = "receiver.toml"
_SHOWN = 80
# fmt: off
_HARMLESS = frozenset({
    "algorithm", "allow_from", "attempts", "base", "batch", "body", "callback_token", "callback_url", "code", "codes",
    "connect_timeout", "deadline", "detail", "echo", "encoding", "event_id", "failures", "fetch", "first_after",
    "format", "give_up_after", "idempotency_header", "items", "json_field", "key_encoding", "kind", "max",
    "max_concurrency", "max_interval", "max_per_second", "method", "methods", "not_found", "not_found_after",
    "occurred_at", "on_ambiguous", "open_for", "path", "read_once", "reference", "request", "request_id", "scheme",
    "separator", "signed", "status", "superseding", "time_unit", "time_zone", "timeout", "timestamp", "token_at",
    "tolerance", "trust", "unit",
})
# fmt: on
_PROVIDER_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


class SettingsError(ReceiverError):
    """The settings have faults; `faults` lists them all, each with its place and remedy."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that is configured.

    `database_url` is None for the embedded Postgres below `home`, `notifier` where clients may not be told.
    """

    database_url: str | None = field(repr=False)
    home: Path
    port: int
    web_concurrency: int
    public_url: str
    trusted_proxies: Sequence[IPv4Network | IPv6Network]
    log_level: str
    log_format: str
    max_body: int
    rate_limit: int
    secret_key: str | None = field(repr=False)
    admin_key: str | None = field(repr=False)
    providers: Mapping[str, Provider] = field(repr=False)
    notifier: WebhookSender | None = field(default=None, repr=False)

    @property
    def sent_to(self) -> Mapping[str, Provider]:
        """All that requests are sent to: the configured providers, and who tells clients."""
        return {**self.providers, self.notifier.name: self.notifier} if self.notifier else self.providers

    def callback_url(self, provider: str) -> str:
        """Give the URL to register at a provider; it ends with the token, if the provider has one."""
        known = self.providers.get(provider)
        token = known.callback_settings.auth.tokens[:1] if known else ()
        return "/".join([f"{self.public_url}/callbacks/{provider}", *token])


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Read and validate all settings.

    Raises:
        SettingsError: with every fault of the environment and the file.
    """
    faults: list[str] = []
    schema = EnvironmentSchema()
    try:
        given = schema.load(dict(environ))
    except ValidationError as error:
        faults += _told(error.messages_dict)
        given = error.valid_data if isinstance(error.valid_data, dict) else {}
    if not _is_dsn(given.get("database_url")):
        faults.append("DATABASE_URL: must be a URL postgresql://… or a connection string of libpq")
    providers = _providers(given.get("config"), environ, faults)
    if faults:
        raise SettingsError(faults)
    del given["config"]
    port = given["port"]
    given["public_url"] = (given["public_url"] or f"http://127.0.0.1:{port}").rstrip("/")
    given["home"] = Path(given["home"])
    notifier = _notifier(given.pop("notify_hosts"), given.pop("notify_secrets"), given.pop("notify_networks"))
    return Settings(providers=providers, notifier=notifier, **given)


def _notifier(
    hosts: Sequence[str], keys: Sequence[bytes], networks: Sequence[IPv4Network | IPv6Network]
) -> WebhookSender | None:
    return WebhookSender.of(TargetRules(hosts, networks), keys) if hosts else None


def _is_dsn(given: str | None) -> bool:
    try:
        conninfo_to_dict(given or "")
    except (ProgrammingError, UnicodeEncodeError):
        return False
    return True


def _providers(config: str | None, environ: Mapping[str, str], faults: list[str]) -> dict[str, Provider]:
    providers: dict[str, Provider] = {}
    for name, table in _tables(config, faults).items():
        place = f"{config or DEFAULT_CONFIG}: providers.{name}"
        if not _PROVIDER_NAME.fullmatch(name):
            faults.append(f"{place}: a name is lower-case letters, digits, - and _, at most 63")
        if name == NAME:
            faults.append(f"{place}: this name is taken by what tells clients; choose another")
        if not isinstance(table, dict):
            faults.append(f"{place}: must be a table")
            continue
        unset: dict[str, str] = {}
        resolved = _resolve(table, environ, place, unset)
        faults += [f"{where}: the environment variable {variable} is not set" for where, variable in unset.items()]
        try:
            providers[name] = build_provider(name, resolved)
        except ValidationError as error:
            told = [f"{place}.{key}: {message}{_shown(table, key)}" for key, message in _flat(error.messages_dict)]
            faults += [fault for fault in told if not any(fault.startswith(f"{where}: ") for where in unset)]
    return providers


def _tables(config: str | None, faults: list[str]) -> dict[str, Any]:
    path = Path(config or DEFAULT_CONFIG)
    if config is None and not path.exists():
        return {}
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        faults.append(f"RECEIVER_CONFIG: cannot read {path}: {error.strerror}")
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        faults.append(f"{path}: not valid TOML: {error}")
        return {}
    faults += [
        f"{path}: {key}: unknown key; only [providers.NAME] tables are known" for key in document.keys() - {"providers"}
    ]
    tables = document.get("providers", {})
    if not isinstance(tables, dict):
        faults.append(f"{path}: providers: must hold one table for each provider")
        return {}
    return tables


def _resolve(value: Any, environ: Mapping[str, str], place: str, unset: dict[str, str]) -> Any:
    """Replace every string ``env:NAME`` by that variable's value, and note in `unset` where there is none."""
    if isinstance(value, dict):
        return {key: _resolve(inner, environ, f"{place}.{key}", unset) for key, inner in value.items()}
    if isinstance(value, list):
        return [_resolve(inner, environ, f"{place}.{index}", unset) for index, inner in enumerate(value)]
    if isinstance(value, str) and value.startswith("env:"):
        name = value.removeprefix("env:")
        if name not in environ:
            unset[place] = name
        return environ.get(name, "")
    return value


def _shown(table: Mapping[str, Any], place: str) -> str:
    """Give the value at a place as it stands in the file, if its key is one that holds no secret."""
    value: Any = table
    names = place.split(".")
    for name in names:
        if isinstance(value, list) and name.isdecimal():
            value = value[int(name)] if int(name) < len(value) else None
        else:
            value = value.get(name) if isinstance(value, Mapping) else None
    known = next((name for name in reversed(names) if not name.isdecimal()), "") in _HARMLESS or "statuses" in names
    return f"; it is {value!r}" if known and isinstance(value, str | int | float) and len(str(value)) <= _SHOWN else ""


def _told(messages: Mapping[str, Any], prefix: str = "") -> list[str]:
    return [f"{prefix}{place}: {message}" for place, message in _flat(messages)]


def _flat(messages: Any, place: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(messages, Mapping):
        for key, inner in messages.items():
            inside = place and (place if key == SCHEMA else f"{place}.{key}")
            yield from _flat(inner, inside or str(key))
    elif isinstance(messages, list):
        for message in messages:
            yield place, str(message).rstrip(".")
    else:
        yield place, str(messages).rstrip(".")
