"""The command line `receiver`: starts processes and calls a running service.

Exit codes: 0 done, 1 failed, 2 usage.
"""

from receiver.cli.main import main

__all__ = ["main"]
