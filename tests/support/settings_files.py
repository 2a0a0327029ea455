"""Settings that a test loads from a `receiver.toml` in its directory."""

from pathlib import Path

import pytest

from receiver.configured_providers import SettingsError
from receiver.settings import Settings, load_settings
from tests.support.factories import SECRET

MINIMAL = f"""
[providers.acme]
kind = "sandbox"
base_url = "https://api.acme.example"
auth = {{ scheme = "bearer", secret = "sk_live_4242" }}
signature = {{ scheme = "standard-webhooks", secrets = ["{SECRET}"] }}
"""


def load(toml: str = MINIMAL, **environ: str) -> Settings:
    """Load settings with `receiver.toml` in the working directory."""
    Path("receiver.toml").write_text(toml)
    return load_settings(environ)


def faults(toml: str = MINIMAL, **environ: str) -> list[str]:
    """Return the faults of invalid settings."""
    with pytest.raises(SettingsError) as caught:
        load(toml, **environ)
    assert str(caught.value) == " ".join(caught.value.faults)
    return caught.value.faults


def fault_places(messages: list[str]) -> set[str]:
    """Return the places of faults: the variable's name, or the path in the file."""
    return {fault.removeprefix("receiver.toml: ").partition(": ")[0] for fault in messages}


def append_line(line: str) -> str:
    """Return the minimal file with one more line in its provider's table."""
    return f"{MINIMAL}\n{line}\n"
