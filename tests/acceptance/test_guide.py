"""The provider guide, `docs/providers.md`: its examples work, and it documents every key."""

import re
import shlex
import tomllib
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from marshmallow import Schema

from receiver.cli.main import commands
from receiver.domain.sending import Response
from receiver.providers.registry import ProviderKind, build_provider
from receiver.schemas import (
    computed_values,
    declared,
    declared_acks,
    declared_followup,
    declared_handshakes,
    declared_operations,
)
from receiver.schemas.oauth2 import OAuth2Schema
from receiver.schemas.settings import AuthSchema, TlsSchema
from receiver.schemas.signature_fields import ParameterTableSchema
from receiver.schemas.signatures import SCHEMES, SignatureSchema
from receiver.settings import load_settings
from tests.support.capabilities import sender_of
from tests.support.tls import write_certificate

GUIDE = (Path(__file__).parents[2] / "docs/providers.md").read_text()


def find_code_blocks(text: str, language: str) -> list[str]:
    """Return the code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


TABLES = [
    declared_operations.OperationSchema,
    computed_values.ComputedValueSchema,
    declared.ResponseTableSchema,
    declared.CallbackTableSchema,
    declared_handshakes.HandshakeTableSchema,
    declared_followup.PollTableSchema,
    declared_followup.LookupTableSchema,
    declared_acks.AckTableSchema,
    declared.DeclaredSettingsSchema,
    AuthSchema,
    OAuth2Schema,
    TlsSchema,
    SignatureSchema,
    ParameterTableSchema,
]


def test_toml_examples_are_valid(tmp_path: Path) -> None:
    config = tmp_path / "receiver.toml"
    config.write_text("\n".join(find_code_blocks(GUIDE, "toml")))
    for name in ("ca.pem", "client.pem"):
        write_certificate(tmp_path / name, name)
    (tmp_path / "client.key").symlink_to(tmp_path / "client.pem")
    for path in re.findall(r"file:([a-z/-]+)", config.read_text()):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(f"a-value-of-{path.replace('/', '-')}")
    environ = {name: f"a-value-of-{name.lower()}" for name in re.findall(r"env:([A-Z_]+)", config.read_text())}
    settings = load_settings({"RECEIVER_CONFIG": str(config), **environ})
    assert set(settings.providers) == {
        *("acme", "shop", "parcel", "courier", "pages", "pay", "quiet", "mail", "cecula", "clearing"),
        *("mailer", "bank", "events", "topic", "pubsub", "push", "sheets", "scan", "print", "clinic"),
        *("short", "short-with-defaults", "imitator"),
        *("payouts", "push-payments", "voice/north", "voice/south", "twilio", "messages/north"),
    }


def test_commands_add_the_first_example(tmp_path: Path) -> None:
    [script] = find_code_blocks(GUIDE.partition("\n## From the catalog\n")[2].partition("\n## ")[0], "sh")
    with chdir(tmp_path):
        outputs = [
            CliRunner().invoke(commands, shlex.split(line)[1:], catch_exceptions=False) for line in script.splitlines()
        ]
    assert [output.exit_code for output in outputs] == [0, 0, 0]
    [example, *_] = find_code_blocks(GUIDE, "toml")
    assert tomllib.loads((tmp_path / "receiver.toml").read_text()) == tomllib.loads(example)


def test_short_example_has_the_documented_defaults() -> None:
    environ = {"SHORT_API_KEY": "a-key-of-short", "SHORT_SECRET": "a-secret-of-short"}
    examples = "".join(block for block in find_code_blocks(GUIDE, "toml") if "[providers.short" in block)
    tables = tomllib.loads(re.sub(r"env:([A-Z_]+)", lambda name: environ[name[1]], examples))["providers"]
    short, full = (build_provider("short", tables[name]) for name in ("short", "short-with-defaults"))
    # Compiled paths are equal only to themselves.
    shown, expected = (re.sub("JsonPath object at 0x[0-9a-f]+", "", repr(provider)) for provider in (short, full))
    assert shown == expected


@pytest.mark.parametrize("table", TABLES)
def test_every_key_is_documented(table: type[Schema]) -> None:
    keys = {field.data_key or name for name, field in table().fields.items()}
    assert {key for key in keys if f"`{key}`" not in GUIDE and f"{key} = " not in GUIDE} == set()


def test_listed_schemes_are_available() -> None:
    listed = re.findall(r"`([\w-]+)`", GUIDE.partition("<!-- schemes -->")[2].partition("<!-- /schemes -->")[0])
    described = {"hmac", "digest", "rsa", "ecdsa", "ed25519", "jws", "jwt", "equals", "basic", "token"}
    assert set(listed) | described == set(SCHEMES)


def test_python_example_defines_provider_kind() -> None:
    [source] = find_code_blocks(GUIDE, "python")
    namespace: dict[str, Any] = {"__name__": "pigeon"}
    exec(compile(source, "pigeon", "exec", dont_inherit=True), namespace)  # the guide's own code
    kind = namespace["KIND"]
    assert isinstance(kind, ProviderKind)
    [example] = [tomllib.loads(block) for block in find_code_blocks(GUIDE, "toml") if "[providers.quiet]" in block]
    table = example["providers"]["quiet"]
    table["signature"]["secrets"] = ["an-unguessable-token"]
    pigeon = kind.build(build_provider("quiet", table), kind.settings().load(table))
    assert sender_of(pigeon).interpret(Response(200, {}, b"NL-2026\n")).items[0].reference == "NL-2026"
