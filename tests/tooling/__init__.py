"""Checks of the code that ruff, mypy and import-linter do not offer."""
