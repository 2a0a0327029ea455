"""The provider table: the class of every HTTP status, and the advice for a person."""

import pytest

from receiver.domain.responses import CONFIGURABLE_CLASSES, STATUS_RULES, ResponseClass, find_status_rule

LISTED = {
    200: (ResponseClass.READ_BODY, "codes inside the body"),
    201: (ResponseClass.READ_BODY, "can be used"),
    202: (ResponseClass.ACCEPTED, "wait for a completion callback"),
    204: (ResponseClass.DONE, "nothing further to do"),
    400: (ResponseClass.REJECTED, "Fix the payload"),
    401: (ResponseClass.PAUSE, "API key"),
    402: (ResponseClass.PAUSE, "Settle the account"),
    403: (ResponseClass.REJECTED, "access rights"),
    404: (ResponseClass.REJECTED, "Check the URL or resource id"),
    405: (ResponseClass.REJECTED, "HTTP method"),
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
BY_FIRST_DIGIT = {
    1: ResponseClass.REJECTED,
    2: ResponseClass.READ_BODY,
    3: ResponseClass.REJECTED,
    4: ResponseClass.REJECTED,
    5: ResponseClass.PROVIDER_ERROR,
}


@pytest.mark.parametrize(("status", "response_class", "advice"), [(status, *row) for status, row in LISTED.items()])
def test_listed_status_has_class_and_advice_of_provider_page(
    status: int, response_class: ResponseClass, advice: str
) -> None:
    rule = find_status_rule(status)
    assert rule.response_class is response_class
    assert advice in rule.advice


def test_table_has_all_rows() -> None:
    assert STATUS_RULES.keys() == LISTED.keys()


@pytest.mark.parametrize("status", [100, 101, 199, 203, 206, 299, 300, 308, 399, 406, 418, 499, 501, 505, 524, 599])
def test_unlisted_status_is_classified_by_first_digit(status: int) -> None:
    assert find_status_rule(status).response_class is BY_FIRST_DIGIT[status // 100]


def test_every_status_has_class_and_advice() -> None:
    rules = {status: find_status_rule(status) for status in range(100, 600)}
    expected = {status: BY_FIRST_DIGIT[status // 100] for status in rules} | {
        s: response_class for s, (response_class, _) in LISTED.items()
    }
    assert {status: rule.response_class for status, rule in rules.items()} == expected
    assert all(rule.advice.strip() for rule in rules.values())


@pytest.mark.parametrize(("name", "response_class"), CONFIGURABLE_CLASSES.items())
@pytest.mark.parametrize("status", [100, 200, 204, 302, 402, 404, 409, 504])
def test_configured_class_overrides_the_table(status: int, name: str, response_class: ResponseClass) -> None:
    rule = find_status_rule(status, {status: response_class})
    assert rule.response_class is response_class
    assert rule.advice == f"{find_status_rule(status).advice} (status_codes: {name})"
    assert find_status_rule(status + 1, {status: response_class}) == find_status_rule(status + 1)


@pytest.mark.parametrize("status", [429, 500, 503, 599])
def test_status_that_is_retried_anyway_keeps_its_class(status: int) -> None:
    assert find_status_rule(status, {status: ResponseClass.RETRY}) == find_status_rule(status)


@pytest.mark.parametrize("status", [600, 999])
def test_status_beyond_599_is_rejected_with_advice(status: int) -> None:
    assert find_status_rule(status).response_class is ResponseClass.REJECTED
    assert "base URL" in find_status_rule(status).advice
