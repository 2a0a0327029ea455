"""The metrics that the guide lists are those of the service, and the dashboard and the alerts use no others."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.acceptance.guides import ROOT, Service, parse_table, read_guide

GUIDE = read_guide("docs/metrics.md")
DASHBOARD = json.loads((ROOT / "docs/grafana.json").read_text())
ROWS = ["Now", "Receiving", "API", "Sending", "Following up", "Postgres and processes"]
SUFFIXES = re.compile(r"_(total|bucket|count|sum)$")
TARGET_LABELS = {"instance", "le"}
"""Labels that Prometheus adds, and that of a histogram's buckets."""
WITHOUT_SAMPLES = {
    "receiver_lookups",  # no provider of the quickstart has lookups
    "receiver_last_callback_age_seconds",
    "receiver_missing_callback_ratio",
    "receiver_oldest_open_job_age_seconds",
    "receiver_provider_lowered_rate",
}
"""Metrics that may have no samples here."""


def parse_documented() -> Mapping[str, set[str]]:
    """Return the labels of each metric of the guide's tables."""
    rows = [*parse_table(GUIDE, "metric"), *parse_table(GUIDE, "metric of a worker")]
    return {
        SUFFIXES.sub("", name): set(re.findall(r"`(\w+)`", labels))
        for names, labels, _ in rows
        for name in re.findall(r"receiver_\w+", names)
    }


DOCUMENTED = parse_documented()


def list_expressions() -> Iterator[str]:
    """Yield the queries of the dashboard and of the alerts, with values instead of Grafana's variables."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"].replace("$__rate_interval", "5m").replace("$provider", ".*")
    for line in re.findall(r"expr: (?:>-\n)?((?:.|\n)*?)\n        for:", (ROOT / "docs/alerts.yml").read_text()):
        yield " ".join(line.split())


EXPRESSIONS = list(list_expressions())


def find_labels(expression: str) -> set[str]:
    """Return the labels that a query selects, groups or joins by."""
    groups = re.findall(r"\b(?:by|on) \(([\w, ]*)\)", expression)
    selectors = re.findall(r"\{([^{}]*)\}", expression)
    selected = [label for selector in selectors for label in re.findall(r"(\w+)\s*(?:=|!)", selector)]
    return {label.strip() for group in groups for label in group.split(",")} | set(selected)


def find_metrics(expression: str) -> set[str]:
    return {SUFFIXES.sub("", name) for name in re.findall(r"receiver_\w+", expression)}


@pytest.fixture(scope="module")
def served(guide_service: Service) -> Mapping[str, set[str]]:
    """The labels of the metrics that the service serves after some traffic, of those without samples the documented."""
    payload = {"client_reference": "metrics", "to": ["2348030000000"], "text": "hello"}
    call = {"provider": "sandbox", "operation": "send", "payload": payload}
    headers = {"content-type": "application/json"}
    submitted = guide_service.api.call("POST", "/v1/requests", json.dumps(call).encode(), headers)
    assert submitted.status == 202, submitted
    assert guide_service.api.call("GET", "/v1/requests").status == 200
    labels: dict[str, set[str]] = {}
    for text in guide_service.scrape():
        for family in text_string_to_metric_families(text):
            used = {label for sample in family.samples for label in sample.labels} - TARGET_LABELS
            if not family.samples and family.name in WITHOUT_SAMPLES:
                used = DOCUMENTED[family.name]
            labels[family.name] = labels.get(family.name, set()) | used
    return labels


def test_guide_lists_all_metrics_with_their_labels(served: Mapping[str, set[str]]) -> None:
    assert served == DOCUMENTED


def test_dashboard_and_alerts_use_served_metrics(served: Mapping[str, set[str]]) -> None:
    assert len(EXPRESSIONS) > 60
    for expression in EXPRESSIONS:
        metrics = find_metrics(expression)
        assert metrics, expression
        assert metrics <= served.keys(), expression
        assert find_labels(expression) <= TARGET_LABELS.union(*(served[name] for name in metrics)), expression


def test_dashboard_shows_most_metrics(served: Mapping[str, set[str]]) -> None:
    shown = {name for expression in EXPRESSIONS for name in find_metrics(expression)}
    assert served.keys() - shown == set()


def test_legends_name_labels_of_their_query() -> None:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            legend_labels = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            is_raw = " by (" not in target["expr"]
            assert legend_labels <= find_labels(target["expr"]) | ({"instance"} if is_raw else set()), target


def test_panels_are_laid_out_in_rows_without_overlap() -> None:
    panels: list[dict[str, Any]] = DASHBOARD["panels"]
    assert [panel["title"] for panel in panels if panel["type"] == "row"] == ROWS
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


def test_expressions_are_valid(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed; on Debian it is in the package prometheus")
    rules = [{"record": f"query:{number}", "expr": expression} for number, expression in enumerate(EXPRESSIONS)]
    path = tmp_path / "rules.json"  # which is YAML
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    check = subprocess.run([promtool, "check", "rules", path], capture_output=True, text=True, check=False)
    assert (check.returncode, f"{len(rules)} rules found" in check.stdout) == (0, True), check
