"""`receiver demo`: runs the whole service with real processes over HTTP and checks it against the sandbox's ledger."""

from receiver.cli.demo.run import run_demo

__all__ = ["run_demo"]
