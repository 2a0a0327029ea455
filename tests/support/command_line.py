"""The command line in tests: runs within the test process, against a service, with a key."""

import json
from dataclasses import dataclass, replace
from typing import Any

from click.testing import CliRunner, Result

from receiver.cli.main import commands
from tests.support.processes import ADMIN_KEY


@dataclass(frozen=True)
class CommandLine:
    """Runs commands against the service at a URL."""

    url: str
    key: str = ADMIN_KEY

    def with_key(self, key: str) -> "CommandLine":
        return replace(self, key=key)

    def run(self, *arguments: object, stdin: str | None = None) -> Result:
        """Run a command and return its result."""
        environ = {"RECEIVER_URL": self.url, "RECEIVER_KEY": self.key}
        runner = CliRunner(env=environ)
        return runner.invoke(commands, [str(argument) for argument in arguments], input=stdin, catch_exceptions=False)

    def ok(self, *arguments: object, stdin: str | None = None) -> str:
        """Run a command that must succeed; return its stdout."""
        result = self.run(*arguments, stdin=stdin)
        assert result.exit_code == 0, result.output
        return result.stdout

    def json(self, *arguments: object, stdin: str | None = None) -> Any:
        """Run a command with `--json` that must succeed; return the document, which must be all of stdout."""
        return json.loads(self.ok(*arguments, "--json", stdin=stdin))

    def fails(self, *arguments: object, code: int = 1, stdin: str | None = None) -> str:
        """Run a command that must fail with nothing on stdout; return its stderr."""
        result = self.run(*arguments, stdin=stdin)
        assert (result.exit_code, result.stdout) == (code, ""), result.output
        return result.stderr
