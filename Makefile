# What contributors and .ci/run run; see CONTRIBUTING.md.
UV = python3 -m uv
TAG =

.PHONY: setup check test test-marked docs mutation release-check

setup:
	$(UV) sync --locked

check:
	$(UV) run ruff check
	$(UV) run ruff format --check
	$(UV) run mypy
	$(UV) run lint-imports

test:
	$(UV) run pytest

# .ci/run installs the programs without which some of these tests are skipped or fail. The trials judge times: with more
# than two at once, they fail on two cores.
test-marked:
	$(UV) run --all-groups pytest -m "(browser or codegen or containers or slow) and not chaos"
	$(UV) run --all-groups pytest --numprocesses=2 -m chaos

# The pages that are generated from the code.
docs:
	$(UV) run python -m tests.acceptance.commands_reference
	$(UV) run python -m tests.tooling.catalog_page
	$(UV) run python -m tests.tooling.journeys --write

# `make mutation MUTANTS='receiver.domain.backoff*'` tries those of one module.
MUTANTS =
mutation:
	$(UV) run --group mutation mutmut run $(MUTANTS)
	$(UV) run --group mutation mutmut results | grep -v ": not checked"

# With TAG, also that the tag is that of the version and that the changelog has a dated section for it.
release-check:
	rm -rf dist
	$(UV) build --quiet
	$(UV) run --group release twine check --strict dist/*
	$(UV) run python -m tests.tooling.release $(TAG)
