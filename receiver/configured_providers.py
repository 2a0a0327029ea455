"""The providers of `receiver.toml`, with the secrets in `env:` and `file:`: all faults are reported at once.

A message names the path in the file, and what was expected. It shows a value only as the file has it, and only under a
key that never holds a secret; a value that came from `env:NAME` or `file:PATH` is never shown.

gunicorn's master imports this module, see `receiver.web.gunicorn_conf` for what it must not import.
"""

import time
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import structlog
from marshmallow import ValidationError
from marshmallow.exceptions import SCHEMA

from receiver.account_tables import ACCOUNTS, Fault, assign_faults, build_account_table
from receiver.domain.accounts import NAME_RULE, is_valid_name, join_account
from receiver.domain.egress import PRODUCT
from receiver.domain.errors import ReceiverError
from receiver.egress import resolve_egress
from receiver.providers.base import Provider
from receiver.providers.registry import build_provider
from receiver.providers.webhook import PROVIDER_NAME
from receiver.references import ReferenceResolver
from receiver.schemas.settings import EnvironmentSchema

DEFAULT_CONFIG = "receiver.toml"
RESERVED_NAMES: Mapping[str, str] = {PROVIDER_NAME: "webhook notifications", "catalog": "the admin pages"}
"""The names that no provider may have, and what uses them."""
SETTINGS_EXIT_CODE = 2
"""The exit code of a process whose settings have faults."""

_MAX_SHOWN_CHARS = 80
_NO_PROVIDERS_REMEDY = "run `receiver provider add`, or set RECEIVER_CONFIG to the file that declares them, and restart"
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


_log = structlog.get_logger(__name__)


class SettingsError(ReceiverError):
    """The settings have faults. `faults` lists all of them, each with its place and remedy."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__(" ".join(faults))
        self.faults = faults

    @property
    def report(self) -> str:
        """The faults as lines of text."""
        return "\n".join(f"settings: {fault}" for fault in self.faults)


@dataclass(frozen=True, slots=True)
class ConfiguredProviders:
    """The providers of the configuration file.

    Attributes:
        providers: by name, accounts included.
        digests: a digest of each provider's table, by which a change is noticed when the file is read again.
    """

    providers: Mapping[str, Provider] = field(repr=False)
    digests: Mapping[str, bytes] = field(default_factory=dict, repr=False)


def load_variables(environ: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """Return the settings that are environment variables, and the faults of those that are not among them."""
    try:
        return EnvironmentSchema().load(dict(environ)), []
    except ValidationError as error:
        faults = [f"{name}: {message}" for name, message in flatten_messages(error.messages_dict)]
        return error.valid_data if isinstance(error.valid_data, dict) else {}, faults


def load_providers(environ: Mapping[str, str], previous: ConfiguredProviders | None = None) -> ConfiguredProviders:
    """Read and validate the configuration file.

    Args:
        environ: the environment variables, which name the file and may contain secrets.
        previous: the providers in use, when the file is read again: one that has not changed stays the same object.

    Raises:
        SettingsError: with every fault of the file.
    """
    variables, _ = load_variables(environ)
    path = _get_path(variables)
    loader = _ProviderLoader(path, environ, get_user_agent(variables), variables.get("secret_keys", ()), previous)
    faults: list[str] = []
    loader.load(_read_tables(path, faults, required=variables.get("config") is not None))
    faults += loader.faults
    if faults:
        raise SettingsError(faults)
    return ConfiguredProviders(loader.providers, loader.digests)


def explain_no_providers(environ: Mapping[str, str]) -> str:
    """Return as a sentence why there are no providers, for a configuration file without faults."""
    variables, _ = load_variables(environ)
    path = _get_path(variables).absolute()
    return f"There are no providers: {path} {'declares none' if path.exists() else 'does not exist'}."


def report_no_providers(configured: ConfiguredProviders, environ: Mapping[str, str]) -> None:
    """Log a warning if there are no providers: the process runs, but nothing can be sent or received."""
    if not configured.providers:
        _log.warning("providers.not_found", reason=explain_no_providers(environ), remedy=_NO_PROVIDERS_REMEDY)


def get_public_url(variables: Mapping[str, Any]) -> str:
    """Return the base URL that providers call, by default that of the web process on this machine."""
    return (variables.get("public_url") or f"http://127.0.0.1:{variables['port']}").rstrip("/")


def get_user_agent(variables: Mapping[str, Any]) -> str:
    """Return the value of `User-Agent`; by default with the URL of this service, so that its operator can be found."""
    public_url = variables.get("public_url")
    return variables.get("user_agent") or f"{PRODUCT}{f' (+{public_url})' if public_url else ''}"


def _get_path(variables: Mapping[str, Any]) -> Path:
    return Path(variables.get("config") or DEFAULT_CONFIG)


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
        previous: ConfiguredProviders | None,
    ) -> None:
        self.providers: dict[str, Provider] = {}
        self.digests: dict[str, bytes] = {}
        self.faults: list[str] = []
        self._path = path
        self._environ = environ
        self._user_agent = user_agent
        self._fingerprint_keys = [key.encode() for key in secret_keys or ("",)]
        self._previous = previous

    def load(self, tables: Mapping[str, Any]) -> None:
        """Build the providers of the tables below `providers`."""
        for name, table in tables.items():
            place = f"{self._path}: providers.{name}"
            if not is_valid_name(name):
                self.faults.append(f"{place}: Not a valid provider name: {NAME_RULE}.")
            if name in RESERVED_NAMES:
                self.faults.append(f"{place}: Reserved name: {RESERVED_NAMES[name]} use it. Choose another.")
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
                self.providers[name] = replace(provider, egress=egress, fingerprint_keys=self._fingerprint_keys)
        except ValidationError as error:
            faults += [
                Fault(key, f"{resolver.redact(key, message)}{_format_value(table, key)}")
                for key, message in flatten_messages(error.messages_dict)
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


def flatten_messages(messages: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield each of marshmallow's messages as a sentence, with its place."""
    if isinstance(messages, Mapping):
        for key, inner in messages.items():
            inside = place and (place if key == SCHEMA else f"{place}.{key}")
            yield from flatten_messages(inner, inside or str(key))
    elif isinstance(messages, list):
        for message in messages:
            yield from flatten_messages(message, place)
    else:
        message = str(messages)
        yield place, message if message.endswith("?") else f"{message.rstrip('.')}."
