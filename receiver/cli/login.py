"""`receiver login` and `logout`: profiles, each with the URL of a service and a key for it."""

import os
import sys
from urllib.parse import urlsplit

import click

from receiver.cli.api import ApiError, InvalidKey, Service
from receiver.cli.cells import Column
from receiver.cli.completion import complete_profiles
from receiver.cli.messages import print_message
from receiver.cli.output import print_json
from receiver.cli.process_group import stop_on_signals
from receiver.cli.profiles import (
    DEFAULT_PROFILE,
    NAME_PATTERN,
    Profile,
    build_unknown_profile_error,
    get_profiles_path,
    load_profiles,
    save_profiles,
)
from receiver.cli.table_printer import TablePrinter

_SHOWN_KEY_CHARS = 10
_LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
_PROFILES = (
    Column("profile", "name"),
    Column("used", lambda profile: "by default" if profile["used"] else "", 8),
    Column("URL", "url"),
    Column("key", "key", 9),
)


@click.command()
@click.argument("name", default=DEFAULT_PROFILE, shell_complete=complete_profiles)
@click.option("--url", metavar="URL", help="The URL of the service; by default that of the profile, or RECEIVER_URL.")
@click.option("--list", "show_list", is_flag=True, help="List the profiles.")
@click.option("--json", "as_json", is_flag=True, help="With --list: print one JSON object.")
def login(name: str, url: str | None, show_list: bool, as_json: bool) -> None:
    """Store the URL of a service and a key for it.

    Asks for the key without showing it, or reads it from stdin if that is no terminal, and stores both in the profile
    NAME once the service has accepted the key. All commands use the profile `default` unless --profile or
    RECEIVER_PROFILE names another. RECEIVER_URL and RECEIVER_KEY override profiles.

    Example: receiver login staging --url https://staging.receiver.example
    """
    profiles = load_profiles()
    if show_list:
        _print_profiles(profiles, as_json)
        return
    if as_json:
        raise click.UsageError("--json requires --list.")
    if not NAME_PATTERN.fullmatch(name):
        raise click.BadParameter("Must be letters, digits, dots, hyphens and underscores.", param_hint="NAME")
    url = url or (profiles[name].url if name in profiles else "") or os.environ.get("RECEIVER_URL")
    if not url:
        raise click.UsageError("Pass --url with the URL of the service.")
    Service(url, "", profile=name)  # refuses a malformed URL before somebody enters a key
    profile = Profile(url, _read_key(url))
    _check_key(name, profile)
    save_profiles({**profiles, name: profile})
    print_message(f"stored the profile {name} in {get_profiles_path()}")
    if name != DEFAULT_PROFILE:
        print_message(f"use it with --profile {name}, or set RECEIVER_PROFILE={name}")
    for variable in ("RECEIVER_URL", "RECEIVER_KEY"):
        if os.environ.get(variable):
            print_message(f"{variable} is set and overrides profiles; unset it to use them")


@click.command()
@click.argument("name", default=DEFAULT_PROFILE, shell_complete=complete_profiles)
def logout(name: str) -> None:
    """Remove a stored URL and key.

    The key stays valid; `receiver key revoke` revokes it.
    """
    profiles = load_profiles()
    if name not in profiles:
        raise build_unknown_profile_error(name, profiles)
    save_profiles({other: profile for other, profile in profiles.items() if other != name})
    print_message(f"removed the profile {name}; its key stays valid until it is revoked")


def _read_key(url: str) -> str:
    """Return the key from stdin, which a terminal does not show."""
    parsed = urlsplit(url)
    if parsed.scheme == "http" and parsed.hostname not in _LOCAL_HOSTS:
        print_message(f"warning: {url} has no TLS, so the key can be read on its way")
    if sys.stdin.isatty():
        # A signal must not end the process at once, because the terminal would go on hiding what is typed.
        with stop_on_signals():
            return str(click.prompt(f"Key for {url}", hide_input=True, err=True)).strip()
    return sys.stdin.readline().strip()


def _check_key(name: str, profile: Profile) -> None:
    """Check that the service accepts the key, whatever its scopes are."""
    if not profile.key:
        raise click.UsageError("No key was entered. Use what `receiver key create` printed.")
    try:
        Service(profile.url, profile.key, profile=name).get("requests", query={"limit": 1})
    except InvalidKey:
        raise ApiError(
            f"{profile.url} does not accept the key: it is unknown, revoked or expired. Nothing was stored."
        ) from None
    except ApiError as error:
        raise type(error)(f"{error} Nothing was stored.") from None


def _shorten_key(key: str) -> str:
    """Return the start of a key, as `receiver key list` shows it; of a short key at most a quarter."""
    return f"{key[: min(_SHOWN_KEY_CHARS, len(key) // 4)]}…"


def _print_profiles(profiles: dict[str, Profile], as_json: bool) -> None:
    used = os.environ.get("RECEIVER_PROFILE") or DEFAULT_PROFILE
    items = [
        {"name": name, "url": profile.url, "key": _shorten_key(profile.key), "used": name == used}
        for name, profile in sorted(profiles.items())
    ]
    if as_json:
        print_json({"profiles": items})
    elif items:
        TablePrinter(_PROFILES).show(items)
    else:
        print_message("no profiles; `receiver login --url URL` creates one")
