"""The provider table: what every HTTP status means, and what a person is advised to do about it."""

import pytest

from receiver.domain.responses import STATUS_RULES, ResponseClass, find_status_rule

LISTED = {
    200: (ResponseClass.READ_BODY, "codes inside the body"),
    201: (ResponseClass.READ_BODY, "can be used"),
    202: (ResponseClass.ACCEPTED, "wait for a completion callback"),
    204: (ResponseClass.DONE, "nothing further to do"),
    400: (ResponseClass.REFUSED, "Fix the payload"),
    401: (ResponseClass.CREDENTIALS, "API key"),
    403: (ResponseClass.REFUSED, "access rights"),
    404: (ResponseClass.REFUSED, "Check the URL or resource id"),
    405: (ResponseClass.REFUSED, "HTTP method"),
    408: (ResponseClass.SLOW_DOWN, "sent again"),
    409: (ResponseClass.DUPLICATE, "Review the input"),
    425: (ResponseClass.SLOW_DOWN, "sent again"),
    429: (ResponseClass.SLOW_DOWN, "Slow down"),
    500: (ResponseClass.PROVIDER_ERROR, "contact the provider"),
    502: (ResponseClass.PROVIDER_ERROR, "Retry after a few minutes"),
    503: (ResponseClass.PROVIDER_ERROR, "Wait and retry"),
    504: (ResponseClass.AMBIGUOUS, "Investigate"),
    523: (ResponseClass.PROVIDER_ERROR, "Contact support"),
}
BY_CLASS = {
    1: ResponseClass.REFUSED,
    2: ResponseClass.READ_BODY,
    3: ResponseClass.REFUSED,
    4: ResponseClass.REFUSED,
    5: ResponseClass.PROVIDER_ERROR,
}


@pytest.mark.parametrize(("status", "response_class", "advice"), [(status, *row) for status, row in LISTED.items()])
def test_a_listed_status_means_what_the_provider_page_says(status: int, response_class: ResponseClass, advice: str) -> None:
    row = find_status_rule(status)
    assert row.response_class is response_class
    assert advice in row.advice


def test_the_table_lists_the_rows_of_the_provider_page_and_those_of_the_sending_table() -> None:
    assert STATUS_RULES.keys() == LISTED.keys()


@pytest.mark.parametrize("status", [100, 101, 199, 203, 206, 299, 300, 308, 399, 402, 418, 499, 501, 505, 524, 599])
def test_an_unlisted_status_is_read_by_its_class(status: int) -> None:
    assert find_status_rule(status).response_class is BY_CLASS[status // 100]


def test_every_status_there_is_has_a_meaning_and_advice() -> None:
    rows = {status: find_status_rule(status) for status in range(100, 600)}
    expected = {status: BY_CLASS[status // 100] for status in rows} | {s: response_class for s, (response_class, _) in LISTED.items()}
    assert {status: row.response_class for status, row in rows.items()} == expected
    assert all(row.advice.strip() for row in rows.values())


@pytest.mark.parametrize("status", [600, 999])
def test_a_status_beyond_http_is_refused_with_advice(status: int) -> None:
    assert find_status_rule(status).response_class is ResponseClass.REFUSED
    assert "base URL" in find_status_rule(status).advice
