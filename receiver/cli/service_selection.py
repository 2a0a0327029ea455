"""Which service a command calls, and with which key: from the environment, or from a profile of `receiver login`."""

import os
from typing import NamedTuple

import click

from receiver.cli.completion import complete_profiles
from receiver.cli.profiles import select_profile

DEFAULT_URL = "http://127.0.0.1:8000"
_PROFILE = "receiver.profile"


class ServiceSelection(NamedTuple):
    """The service to call. `profile` is the name of the profile whose key is used, if it is one's."""

    url: str
    key: str
    profile: str | None = None


def select_service() -> ServiceSelection:
    """Return the service that `RECEIVER_URL` and `RECEIVER_KEY` name, or for what they do not name, a profile.

    The key of a profile is only used with the URL of this profile. Without a profile, the URL is that of a service on
    this machine, and the key `RECEIVER_ADMIN_KEY`.

    Raises:
        UsageError: both `--profile` and a variable name a service.
        ProfileError: the profile does not exist, or the file cannot be read.
    """
    url, key = os.environ.get("RECEIVER_URL") or "", os.environ.get("RECEIVER_KEY") or ""
    name = _get_profile_option()
    if name is not None and (url or key):
        variables = " and ".join(
            variable for variable, value in (("RECEIVER_URL", url), ("RECEIVER_KEY", key)) if value
        )
        raise click.UsageError(f"--profile would be overridden: {variables} is set. Unset it, or omit --profile.")
    selected = None if url else select_profile(name)
    if selected is not None:
        profile_name, profile = selected
        return ServiceSelection(profile.url, key or profile.key, None if key else profile_name)
    return ServiceSelection(url or DEFAULT_URL, key or os.environ.get("RECEIVER_ADMIN_KEY") or "")


def build_profile_option() -> click.Option:
    """Return the option `--profile` of commands that call the service."""
    return click.Option(
        ["--profile"],
        metavar="NAME",
        shell_complete=complete_profiles,
        expose_value=False,
        callback=_set_profile,
        help="The profile of `receiver login` to use; by default that of RECEIVER_PROFILE.",
    )


def _set_profile(context: click.Context, _: click.Parameter, value: str | None) -> None:
    context.meta[_PROFILE] = value


def _get_profile_option() -> str | None:
    context = click.get_current_context(silent=True)
    name: str | None = context.meta.get(_PROFILE) if context is not None else None
    return name
