"""`receiver callback send`: what it signs is accepted by the web process, and what it cannot sign is refused."""

import json
import os
import re
import shlex
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from receiver.cli.main import commands
from receiver.devtools.scratch import scratch_database
from receiver.store.connections import Connection, connect
from tests.support.declared_service import CONFIG, TOKEN, build_declared_table, find_status
from tests.support.private_keys import export_private_pem
from tests.support.processes import ADMIN_KEY, Web, assert_ends_well, build_provider_toml, running_web
from tests.support.signing_keys import PrivateKey, export_pem, get_ec_key, get_ed25519_key

SENT_CONFIG = "".join(
    [
        CONFIG,
        build_provider_toml(),
        build_declared_table(
            "mailer", f"scheme = 'ecdsa'\nheader = 'X-Sig'\nkeys = ['''{export_pem(get_ec_key())}''']"
        ),
        build_declared_table("fetched", "scheme = 'rsa'\nheader = 'X-Sig'\njwks_url = 'https://keys.example/jwks'"),
        build_declared_table("topics", "scheme = 'sns'\ntopic_arn = 'arn:aws:sns:eu-west-1:123456789012:jobs'").replace(
            'reference = "id"\nstatus = "state"', 'reference = "Message.id"\nstatus = "Message.state"'
        ),
        build_declared_table("joined", 'scheme = "github"\nsecrets = ["new secret"]').replace(
            'status = "state"', "status = \"join('.', [type, state])\""
        ),
        """
[providers.phone]
kind = "twilio"
account_sid = "AC1"
auth_token = "a-twilio-token"
[providers.payouts]
kind = "flutterwave"
secret_key = "a-secret-key"
secret_hash = "a-secret-hash"
[providers.silent]
kind = "declared"
base_url = "http://127.0.0.1:9"
callback = { reference = "id", status = "state", statuses = { DONE = "succeeded" } }
signature = { scheme = "hmac", header = "X-Sig", signed = "{body}" }
[providers.silent.accounts.north]
signature = { secrets = ["secret-of-north"] }
[providers.silent.accounts.south]
signature = { secrets = ["secret-of-south"] }
""",
    ]
)


@dataclass(frozen=True)
class Sender:
    """The command, with the settings of a web process that runs behind a proxy, and the database of that process."""

    web: Web
    config: Path
    connection: Connection

    @property
    def environ(self) -> dict[str, str]:
        variables = {"PORT": str(self.web.port), "RECEIVER_PUBLIC_URL": "https://receiver.example"}
        return {**variables, "RECEIVER_CONFIG": str(self.config)}

    def run(self, *arguments: str, stdin: bytes = b"") -> Result:
        runner = CliRunner(env={**dict.fromkeys(os.environ), **self.environ})
        return runner.invoke(commands, ["callback", "send", *arguments], input=stdin, catch_exceptions=False)

    def ok(self, *arguments: str, stdin: bytes = b"") -> str:
        result = self.run(*arguments, stdin=stdin)
        assert result.exit_code == 0, result.output
        return result.stdout

    def fails(self, *arguments: str, code: int = 2) -> str:
        result = self.run(*arguments)
        assert (result.exit_code, result.stdout) == (code, ""), result.output
        return result.stderr

    def find_status(self, provider: str, reference: str) -> str | None:
        return find_status(self.connection, provider, reference)


@pytest.fixture(scope="module")
def sender(server: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sender]:
    """The command and a web process, for this module only."""
    directory = tmp_path_factory.mktemp("sending")
    with (
        scratch_database(server, template=template) as dsn,
        closing(connect(dsn)) as connection,
        socket.create_server(("127.0.0.1", 0)) as listener,
        running_web(directory, dsn, SENT_CONFIG, listener) as web,
    ):
        yield Sender(web, directory / "web.toml", connection)
        assert_ends_well(web)


@pytest.mark.parametrize("provider", ["hook", "plivo", "rewritten", "getter", "parts", "by-query"])
def test_sample_of_declared_provider_is_accepted(sender: Sender, provider: str, reference: str) -> None:
    sender.ok(provider, "--reference", reference, "--status", "DONE")
    assert sender.find_status(provider, reference) == "succeeded"


@pytest.mark.parametrize(("provider", "status"), [("sandbox", "DELIVERED"), ("phone", "delivered")])
def test_sample_of_other_kinds_is_accepted(sender: Sender, provider: str, status: str, reference: str) -> None:
    output = sender.ok(provider, "--reference", reference, "--status", status)
    assert output.splitlines()[0].split() == ["provider", provider]
    assert sender.find_status(provider, reference) == "succeeded"


def test_status_is_taken_in_any_case(sender: Sender, reference: str) -> None:
    sender.ok("hub", "--reference", reference, "--status", "error")
    assert sender.find_status("hub", reference) == "failed"


@pytest.mark.parametrize("provider", [["hub"], ["silent", "--account", "south"]])
def test_sample_without_a_request_is_cleared_up_as_advised(sender: Sender, provider: list[str], reference: str) -> None:
    result = sender.run(*provider, "--reference", reference, "--status", "DONE")
    [command] = re.findall(r"needs attention until you run `receiver (.+)`\n", result.stderr)
    query = "SELECT request_id IS NULL, status FROM jobs WHERE reference = %s"
    assert sender.connection.execute(query, [reference]).fetchall() == [(True, "succeeded")]
    environ = {"RECEIVER_URL": f"http://127.0.0.1:{sender.web.port}", "RECEIVER_KEY": ADMIN_KEY}
    tracked = CliRunner(env={**dict.fromkeys(os.environ), **environ}).invoke(commands, shlex.split(command))
    assert tracked.exit_code == 0, tracked.output
    assert sender.connection.execute(query, [reference]).fetchall() == [(False, "succeeded")]


def test_acknowledgement_is_reported(sender: Sender, reference: str) -> None:
    arguments = ("adyen", "--reference", reference, "--status", "DONE")
    assert "acknowledgement  [accepted]" in sender.ok(*arguments)
    report = json.loads(sender.ok(*arguments, "--json"))
    assert (report["status"], report["acknowledgement"], report["detail"]) == (202, "[accepted]", None)


def test_callback_that_asks_for_a_poll_is_accepted(sender: Sender, reference: str) -> None:
    sender.ok("thin", "--reference", reference, "--status", "DONE")
    assert sender.find_status("thin", reference) == "accepted"


def test_account_signs_with_its_own_secret(sender: Sender, reference: str) -> None:
    report = json.loads(
        sender.ok("silent", "--account", "south", "--reference", reference, "--status", "DONE", "--json")
    )
    assert report["url"] == f"http://127.0.0.1:{sender.web.port}/callbacks/silent/a/south"
    assert sender.find_status("silent/south", reference) == "succeeded"
    assert "Must be one of: north, south." in sender.fails("silent", "--account", "nort")
    assert "Must be one of: north, south." in sender.fails("silent")


def test_public_key_requires_the_signing_key(sender: Sender, reference: str, tmp_path: Path) -> None:
    private_keys: dict[str, PrivateKey] = {"own": get_ec_key(), "other": get_ec_key(1), "foreign": get_ed25519_key()}
    keys = {name: str(tmp_path / f"{name}.pem") for name in private_keys}
    for name, private_key in private_keys.items():
        Path(keys[name]).write_bytes(export_private_pem(private_key))
    arguments = ("mailer", "--reference", reference, "--status", "DONE")
    assert "--signing-key FILE" in sender.fails(*arguments)
    assert "none of the public keys" in sender.fails(*arguments, "--signing-key", keys["other"])
    assert "none of the public keys" in sender.fails(*arguments, "--signing-key", keys["foreign"])
    assert "in PEM" in sender.fails(*arguments, "--signing-key", str(sender.config))
    sender.ok(*arguments, "--signing-key", keys["own"])
    assert sender.find_status("mailer", reference) == "succeeded"


@pytest.mark.parametrize("provider", ["fetched", "topics"])
def test_vendors_key_is_named(sender: Sender, provider: str) -> None:
    message = sender.fails(provider, "--reference", "r", "--status", "DONE")
    assert "can sign" in message
    assert "`keys`" in message


def test_unknown_names_are_refused_with_a_suggestion(sender: Sender) -> None:
    assert "Did you mean hub?" in sender.fails("hubb", "--reference", "r", "--status", "DONE")
    message = sender.fails("hub", "--reference", "r", "--status", "DOEN")
    assert "Must be one of: RUNNING, DONE, ERROR." in message


@pytest.mark.parametrize(
    "arguments",
    [
        ["hub"],
        ["hub", "--reference", "r"],
        ["hub", "--status", "DONE"],
        ["hub", "--body", "-", "--status", "DONE"],
        ["joined", "--reference", "r", "--status", "DONE"],
        ["hub", "--reference", "r", "--status", "DONE", "--header", "X_Y: z"],
        ["hub", "--reference", "r", "--status", "DONE", "--url", "receiver.example"],
        ["hub", "--reference", "r", "--status", "DONE", "--url", "https://receiver.example/?a=b"],
        ["hub", "--reference", "r", "--status", "DONE", "--signing-key", "no-such-file"],
    ],
)
def test_usage_error_names_the_remedy(sender: Sender, arguments: list[str]) -> None:
    assert "Error: " in sender.fails(*arguments)


def test_reference_that_a_sample_cannot_have_is_refused(sender: Sender) -> None:
    arguments = ("--status", "SUCCESSFUL", "--print")
    assert '"id": 4711,' in sender.ok("payouts", "--reference", "4711", *arguments)
    assert "The reference r-1 does not have the form" in sender.fails("payouts", "--reference", "r-1", *arguments)


def test_body_of_a_file_is_sent_as_it_is(sender: Sender, reference: str, tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    body.write_bytes(b'{ "id": "%b",\n "state": "RUNNING" }' % reference.encode())
    sender.ok("numbered", "--body", str(body), "--header", "X-Delivery: 7")
    assert sender.find_status("numbered", reference) == "in_progress"
    sender.ok("numbered", "--body", "-", stdin=b'{"id": "%b", "state": "DONE"}' % reference.encode())
    assert sender.find_status("numbered", reference) == "succeeded"
    sender.ok("getter", "--body", "-", stdin=b"id=%b&state=ERROR\n" % reference.encode())
    assert sender.find_status("getter", reference) == "failed"


def test_refused_callback_exits_with_1(sender: Sender, reference: str) -> None:
    result = sender.run("near", "--reference", reference, "--status", "DONE", "--json")
    report = json.loads(result.stdout)
    assert (result.exit_code, report["status"]) == (1, 401)
    assert "Refused with 401: " in result.stderr
    assert "`receiver callback explain --provider near` shows why." in result.stderr
    assert sender.find_status("near", reference) is None
    message = sender.run("hub", "--body", "-", stdin=b"{}").stderr
    assert "Refused with 400: " in message
    assert "id: Missing the job's reference" in message


def test_other_service_is_told_from_ours(sender: Sender, reference: str) -> None:
    arguments = ("hub", "--reference", reference, "--status", "DONE", "--url")
    origin = f"http://127.0.0.1:{sender.web.port}"
    sender.ok(*arguments, f"{origin}/callbacks/hub")
    assert "runs with other settings" in sender.fails(*arguments, f"{origin}/callbacks/another", code=1)
    assert "Refused with 405" in sender.fails(*arguments, f"{origin}/healthz", code=1)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        assert f"Cannot connect to {url}" in sender.fails(*arguments, url, code=1)


def test_printed_callback_shows_no_secret(sender: Sender, reference: str) -> None:
    shown = sender.ok("hook", "--reference", reference, "--status", "DONE", "--print")
    assert shown.startswith("curl -X POST ")
    assert TOKEN not in shown
    document = json.loads(sender.ok("by-query", "--reference", "r", "--status", "DONE", "--print", "--json"))
    assert document["url"].endswith("/callbacks/by-query?sig=[redacted]")
    assert sender.find_status("hook", reference) is None


def test_printed_command_sends_the_callback(sender: Sender, reference: str) -> None:
    printed = sender.ok("hub", "--reference", reference, "--status", "DONE", "--print")
    subprocess.run(["sh", "-ec", printed], check=True, capture_output=True, timeout=60)
    assert sender.find_status("hub", reference) == "succeeded"


def test_invalid_settings_are_reported(tmp_path: Path) -> None:
    config = tmp_path / "receiver.toml"
    config.write_text("[providers.acme]\nkind = 'unknown'\n")
    runner = CliRunner(env={**dict.fromkeys(os.environ), "RECEIVER_CONFIG": str(config)})
    result = runner.invoke(commands, ["callback", "send", "acme", "--reference", "r"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "providers.acme.kind" in result.stderr
