"""`receiver demo`: the main job, whole, as real processes over real HTTP, checked against the provider's own ledger."""

from receiver.cli.demo.run import run_demo

__all__ = ["run_demo"]
