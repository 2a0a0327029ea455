"""Settings from the environment and `receiver.toml`, validated together at start: all faults are reported at once."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from receiver.configured_providers import (
    ConfiguredProviders,
    SettingsError,
    get_public_url,
    get_user_agent,
    load_providers,
    load_variables,
)
from receiver.domain.accounts import build_callback_path
from receiver.domain.connections import ConnectionLimits
from receiver.domain.egress import Egress
from receiver.domain.targets import TargetRules
from receiver.providers.base import Provider
from receiver.providers.webhook import PROVIDER_NAME, build_notify_provider
from receiver.schemas.settings import CONNECTION_LIMITS
from receiver.signatures.base import CallbackAuth

DATABASE_VARIABLES = ("DATABASE_URL",)
"""The environment variables that commands require which work directly on the database."""
SERVICE_VARIABLES = (*DATABASE_VARIABLES, "RECEIVER_SECRET_KEY")
"""The environment variables that web and worker require."""

_REMEDIES = {"DATABASE_URL": "Set it to a Postgres server (postgresql://…). Only serve and demo start an embedded one."}
"""What to do about a variable that is required and missing, besides to set it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The validated configuration of a process.

    Attributes:
        database_url: a DSN; None if it is not set, where `serve` starts the embedded Postgres below `home`.
        database_read_url: the DSN of a replica for lists and statistics; None if there is none.
        database_pool_size: the maximum number of connections in a process's pool.
        database_prepare: whether statements are prepared: `on`, `off`, or `auto` where no pooler is in between.
        environment: the name of the environment, which pages show, such as `production`; may be empty.
        metrics_port: the port on which the worker serves its metrics; None for none.
        max_body_bytes: the largest callback body, in bytes.
        secret_keys: the keys of `RECEIVER_SECRET_KEY`; the first is used for what is new. Empty if it is not set.
        rate_limit_per_minute: calls per minute of an API key that has no limit of its own.
        notify_provider: sends webhook notifications; None where `RECEIVER_NOTIFY_HOSTS` is not set.
        connection_limits: the limits of connections to a web process.
        log_callbacks: the share of callbacks that are logged, from 0 to 1.
        digests: see `ConfiguredProviders`.
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
    environment: str = ""
    log_callbacks: float = 0.0

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
    def configured(self) -> ConfiguredProviders:
        """The providers as they were read from the configuration file."""
        return ConfiguredProviders(self.providers, self.digests)

    def configure(self, configured: ConfiguredProviders) -> "Settings":
        """Return the same settings with other providers."""
        return replace(self, providers=configured.providers, digests=configured.digests)

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
        return auth.public_url or f"{self.public_url}{build_callback_target(configured.name, auth)}"


def build_callback_target(provider: str, auth: CallbackAuth) -> str:
    """Return the path of a provider's callback URL as it reaches us, with the URL token if there is one."""
    return "/".join([build_callback_path(provider), *auth.tokens[:1]])


def load_settings(
    environ: Mapping[str, str], *, required: Collection[str] = (), configured: ConfiguredProviders | None = None
) -> Settings:
    """Read and validate all settings.

    Args:
        environ: the environment variables.
        required: the names of variables without which the process cannot run, such as `SERVICE_VARIABLES`.
        configured: the providers, if the configuration file has been read already.

    Raises:
        SettingsError: with every fault of the environment and the file.
    """
    variables, faults = load_variables(environ)
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
    try:
        configured = configured or load_providers(environ)
    except SettingsError as error:
        faults += error.faults
    if faults or configured is None:
        raise SettingsError(faults)
    user_agent = get_user_agent(variables)
    del variables["config"], variables["user_agent"]
    variables["public_url"] = get_public_url(variables)
    variables["home"] = Path(variables["home"])
    hosts, keys, networks = (variables.pop(name) for name in ("notify_hosts", "notify_secrets", "notify_networks"))
    egress = Egress(user_agent, variables.pop("notify_proxy") or None, proxy_from_environment=False)
    notify_provider = build_notify_provider(TargetRules(hosts, networks), keys, egress=egress) if hosts else None
    connection_limits = ConnectionLimits(
        **{name: variables.pop(name) for name in CONNECTION_LIMITS}, trusted_proxies=variables["trusted_proxies"]
    )
    return Settings(
        providers=configured.providers,
        digests=configured.digests,
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
