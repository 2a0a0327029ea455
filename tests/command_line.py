"""The command line in tests: run within the process against a service, with a key."""

import json
from dataclasses import dataclass, replace
from typing import Any

from click.testing import CliRunner, Result

from receiver.cli.main import commands
from tests.processes import ADMIN_KEY


@dataclass(frozen=True)
class CommandLine:
    """Commands that talk to the service at a URL."""

    url: str
    key: str = ADMIN_KEY

    def with_key(self, key: str) -> "CommandLine":
        return replace(self, key=key)

    def run(self, *arguments: object, given: str | None = None) -> Result:
        """Run a command; `given` is its stdin."""
        environ = {"RECEIVER_URL": self.url, "RECEIVER_KEY": self.key}
        runner = CliRunner(env=environ)
        return runner.invoke(commands, [str(one) for one in arguments], input=given, catch_exceptions=False)

    def ok(self, *arguments: object, given: str | None = None) -> str:
        """Run what must go well; give what it printed on stdout."""
        result = self.run(*arguments, given=given)
        assert result.exit_code == 0, result.output
        return result.stdout

    def json(self, *arguments: object, given: str | None = None) -> Any:
        """Run what must go well with `--json`; give the document, which must be all there is on stdout."""
        return json.loads(self.ok(*arguments, "--json", given=given))

    def fails(self, *arguments: object, code: int = 1, given: str | None = None) -> str:
        """Run what must not go well; give what it said on stderr. Nothing may be on stdout."""
        result = self.run(*arguments, given=given)
        assert (result.exit_code, result.stdout) == (code, ""), result.output
        return result.stderr
