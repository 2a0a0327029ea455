"""How a callback proves its sender: pure functions over raw bytes, secrets and a given time."""
