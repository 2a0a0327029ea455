"""People at a terminal: `receiver COMMAND`. Starts processes; exit codes are 0 done, 1 failed, 2 usage."""

from receiver.cli.main import main

__all__ = ["main"]
