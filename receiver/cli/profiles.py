"""Profiles: the URLs and keys of services, stored by `receiver login`.

They stand in `$XDG_CONFIG_HOME/receiver/profiles.toml`, which only its owner can read.
"""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from receiver.cli.files import replace_file
from receiver.cli.messages import CommandError
from receiver.domain.suggestions import format_suggestion

DEFAULT_PROFILE = "default"
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class Profile(NamedTuple):
    """The URL of a service and a key for it."""

    url: str
    key: str


class ProfileError(CommandError):
    """The profile does not exist, or the file cannot be read or written."""


def get_profiles_path() -> Path:
    """Return the path of the file with the profiles."""
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home, "receiver", "profiles.toml")


def load_profiles() -> dict[str, Profile]:
    """Return all profiles by name.

    Raises:
        ProfileError: the file cannot be read, or is malformed.
    """
    path = get_profiles_path()
    try:
        text = path.read_text(encoding="utf-8")
        # Imported late: many users have no profiles, and the commands that call no service need none.
        import tomllib  # noqa: PLC0415

        tables = tomllib.loads(text).get("profiles", {})
        return {name: Profile(str(table["url"]), str(table["key"])) for name, table in tables.items()}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ProfileError(f"Cannot read {path}: {error.strerror}.") from None
    except (ValueError, AttributeError, KeyError, TypeError):
        raise ProfileError(f"{path} is malformed. Remove it and run `receiver login` again.") from None


def select_profile(name: str | None) -> tuple[str, Profile] | None:
    """Return the profile with this name; without a name, `RECEIVER_PROFILE` or the default one, if there is one.

    Raises:
        ProfileError: there is no profile with the name, or the file cannot be read.
    """
    name = name or os.environ.get("RECEIVER_PROFILE") or None
    profiles = load_profiles()
    selected = name or DEFAULT_PROFILE
    if selected in profiles:
        return selected, profiles[selected]
    if name is None:
        return None
    raise build_unknown_profile_error(name, profiles)


def build_unknown_profile_error(name: str, profiles: Mapping[str, Profile]) -> ProfileError:
    """Return the error for a profile that does not exist."""
    names = ", ".join(sorted(profiles)) or "none"
    suggestion = format_suggestion(name, profiles) or f" Run `receiver login {name} --url URL` to create it."
    return ProfileError(f"No profile has the name {name}. There are: {names}.{suggestion}")


def save_profiles(profiles: Mapping[str, Profile]) -> None:
    """Store all profiles. The file is replaced whole, and only its owner can read it.

    Raises:
        ProfileError: the file cannot be written; the previous one is unchanged.
    """
    path = get_profiles_path()
    text = "".join(
        f"[profiles.{json.dumps(name)}]\nurl = {json.dumps(profile.url)}\nkey = {json.dumps(profile.key)}\n\n"
        for name, profile in sorted(profiles.items())
    )
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(path, text.encode(), mode=0o600)
    except OSError as error:
        raise ProfileError(f"Cannot write {path}: {error.strerror}. No profile was changed.") from None
