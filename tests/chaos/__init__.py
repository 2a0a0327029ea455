"""Long trials of what must hold when things go wrong: `python -m tests.chaos`."""
