"""Providers of kind `declared`, described completely in `receiver.toml`: requests, callbacks, polls and lookups."""
