"""Filters of lists: what a form sends, as the API takes it."""

import pytest

from receiver.web.admin.lists import FilterField, ListPage, build_url, normalize_filters


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({"status": "", "reference": " ref "}, {"reference": "ref"}),
        ({"provider": "acme/eu"}, {"provider": "acme", "account": "eu"}),
        ({"provider": "acme/eu", "account": "us"}, {"provider": "acme/eu", "account": "us"}),
        ({"metadata": "order = 7=8"}, {"metadata.order": "7=8"}),
        ({"metadata": "metadata.order=7"}, {"metadata.order": "7"}),
        ({"metadata": "order"}, {"metadata": "order"}),
        ({"metadata": "=7"}, {"metadata": "=7"}),
        ({"created_from": "2026-11-23T14:00"}, {"created_from": "2026-11-23T14:00:00Z"}),
        ({"created_to": "2026-11-23T14:00:01.5"}, {"created_to": "2026-11-23T14:00:01.5Z"}),
        ({"created_to": "2026-11-23T14:00:01+02:00"}, {"created_to": "2026-11-23T14:00:01+02:00"}),
        ({"reference": "2026-11-23T14:00"}, {"reference": "2026-11-23T14:00"}),
    ],
)
def test_filters_are_sent_as_the_api_takes_them(sent: dict[str, str], expected: dict[str, str]) -> None:
    assert normalize_filters(sent) == expected


@pytest.mark.parametrize(
    ("kind", "filters", "expected"),
    [
        ("time", {"name": "2026-11-23T14:00:01+02:00"}, "2026-11-23T12:00:01"),
        ("time", {"name": "yesterday"}, "yesterday"),
        ("time", {}, ""),
        ("provider", {"name": "acme", "account": "eu"}, "acme/eu"),
        ("text", {"name": "2026-11-23T14:00:01+02:00"}, "2026-11-23T14:00:01+02:00"),
    ],
)
def test_form_shows_the_filters_as_people_write_them(kind: str, filters: dict[str, str], expected: str) -> None:
    assert ListPage(filters, []).get_value(FilterField("name", "Name", kind)) == expected


def test_rare_filters_are_unfolded_while_one_has_a_value() -> None:
    fields = [FilterField("often", "Often", is_rare=False), FilterField("rare", "Rare")]
    assert ListPage({"often": "1"}, []).is_folded(fields)
    assert not ListPage({"rare": "1"}, []).is_folded(fields)


def test_url_takes_filters_of_any_name() -> None:
    filters = {"_external": "1", "_scheme": "javascript", "endpoint": "x"}
    assert build_url("/admin/requests", filters) == "/admin/requests?_external=1&_scheme=javascript&endpoint=x"
