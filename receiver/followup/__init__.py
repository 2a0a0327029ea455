"""A job stays silent: ask the provider, and at the deadline say that nobody knows."""
