"""Parsed responses: why they cannot be parsed, and references that are the ids of our requests."""

from uuid import UUID

import pytest

from receiver.domain.sending import ItemStatus, ParsedResponse, Response, ResponseItem

REQUEST_ID = UUID(int=7)
OWN = ResponseItem(ItemStatus.ACCEPTED, "ref-1", code="1")
UNBOUND = ResponseItem(ItemStatus.ACCEPTED, code="2", uses_request_id=True)


@pytest.mark.parametrize(
    ("problem", "response_problem", "explained"),
    [("not JSON", "cut", "cut"), ("not JSON", None, "not JSON"), (None, "cut", None), (None, None, None)],
)
def test_problem_of_the_response_explains_that_of_its_body(
    problem: str | None, response_problem: str | None, explained: str | None
) -> None:
    parsed = ParsedResponse((OWN,), problem)
    assert parsed.explain(Response(200, {}, b"", response_problem)) == ParsedResponse((OWN,), explained)


def test_items_that_use_the_request_id_are_bound_to_it() -> None:
    bound = ResponseItem(ItemStatus.ACCEPTED, str(REQUEST_ID), code="2", uses_request_id=True)
    parsed = ParsedResponse((OWN, UNBOUND), "cut")
    assert parsed.bind(REQUEST_ID) == ParsedResponse((OWN, bound), "cut")
    plain = ParsedResponse((OWN,))
    assert plain.bind(REQUEST_ID) is plain
