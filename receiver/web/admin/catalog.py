"""The catalog of providers: the list, and what `receiver provider catalog` prints of one provider."""

import time

from flask import render_template, request

from receiver.domain.jobs import JobStatus
from receiver.providers.catalog.configuration import build_toml
from receiver.providers.catalog.description import (
    FIELD_TITLES,
    describe_entry,
    find_entries,
    group_entries,
)
from receiver.providers.catalog.entries import list_entries, load_entry
from receiver.providers.catalog.facts import URL_FACTS, format_verified
from receiver.providers.catalog.suggestions import format_entry_suggestion
from receiver.web.admin.blueprint import admin
from receiver.web.context import current_context
from receiver.web.problems import ProblemError, ProblemType


@admin.get("/providers/catalog")
def list_catalog() -> str:
    """Show the providers of the catalog that match the filters."""
    for name in list_entries():
        load_entry(name)  # parses the file, the first time
        time.sleep(0)  # serves others between two files
    field, text = (request.args.get(name, "").strip() for name in ("field", "search"))
    return render_template(
        "catalog.html",
        groups=group_entries(find_entries(field, text)),
        field=field,
        text=text,
        field_titles=FIELD_TITLES,
        format_verified=format_verified,
    )


@admin.get("/providers/catalog/<name>")
def show_catalog_entry(name: str) -> str:
    """Show a provider of the catalog, with its callback URL at this installation."""
    try:
        entry = load_entry(name)
    except LookupError:
        suggestion = format_entry_suggestion(name)
        raise ProblemError(ProblemType.NOT_FOUND, f"The catalog has no provider {name}.{suggestion}") from None
    return render_template(
        "catalog_entry.html",
        entry=describe_entry(entry, current_context().settings.public_url),
        table=build_toml(entry, name, with_comments=True),
        field_titles=FIELD_TITLES,
        url_facts=URL_FACTS,
        job_statuses=list(JobStatus),
    )
