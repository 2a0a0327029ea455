"""Fields for locations in a provider's documents, and for maps of its statuses."""

from typing import Any

import pytest
from marshmallow import ValidationError, fields

from receiver.domain.responses import ResponseClass
from receiver.schemas.paths import (
    JsonPathField,
    NamedValues,
    OneOrMore,
    PathTemplate,
    StatusCodes,
    StatusMap,
    ValueLocationField,
    find_meaning,
    normalize_status,
)

STATUSES = {"succeeded": 1, "failed": 2}


def find_errors(field: fields.Field[Any], value: object) -> Any:
    with pytest.raises(ValidationError) as caught:
        field.deserialize(value)
    return caught.value.messages


@pytest.mark.parametrize("path", ["id", "data.items[].id", "$.data.id", '"odd name"'])
def test_json_path_is_kept_as_text(path: str) -> None:
    assert JsonPathField().deserialize(path) == path


@pytest.mark.parametrize("path", ["", "items[", "$.", "a b"])
def test_invalid_json_path_is_rejected(path: str) -> None:
    assert find_errors(JsonPathField(), path) == ["Must be a JMESPath expression such as data.items[].id."]


@pytest.mark.parametrize("location", ["header:X-Id", "query:id", "data.id"])
def test_value_location_is_header_query_or_path(location: str) -> None:
    assert ValueLocationField().deserialize(location) == location


def test_value_location_needs_a_name_or_valid_path() -> None:
    assert find_errors(ValueLocationField(), "header:") == ["Must have a name after header:."]
    assert find_errors(ValueLocationField(), "data[") == ["Must be a JMESPath expression such as data.items[].id."]


def test_single_value_is_loaded_as_list() -> None:
    assert OneOrMore(JsonPathField()).deserialize("a") == ["a"]
    assert OneOrMore(JsonPathField()).deserialize(["a", "b"]) == ["a", "b"]


def test_error_of_single_value_has_no_index() -> None:
    message = "Must be a JMESPath expression such as data.items[].id."
    assert find_errors(OneOrMore(JsonPathField()), "a[") == [message]
    assert find_errors(OneOrMore(JsonPathField()), ["a", "a["]) == {1: [message]}


@pytest.mark.parametrize("path", ["/v1/renders/{reference}", "/", "/a?b={c}&d=e"])
def test_path_template_is_kept_as_text(path: str) -> None:
    assert PathTemplate().deserialize(path) == path


@pytest.mark.parametrize("path", ["v1", "//h/v1", "/a b", "/é", "/{}", "/{1}", "/{a"])
def test_invalid_path_template_is_rejected(path: str) -> None:
    assert find_errors(PathTemplate(), path)[0].startswith("Must be a path such as /v1/renders/{reference}")


def test_errors_of_name_and_value_are_reported_at_the_name() -> None:
    field = NamedValues(keys=JsonPathField(), values=fields.Integer())
    assert find_errors(field, {"a": "x", "b[": 1}) == {
        "a": ["Not a valid integer."],
        "b[": ["Must be a JMESPath expression such as data.items[].id."],
    }


def test_status_is_compared_without_case_and_space() -> None:
    assert normalize_status(" Zugestellt/GROß ") == normalize_status("zugestellt/gross")
    assert normalize_status(None) == ""


def test_status_map_translates_to_own_values() -> None:
    assert StatusMap(STATUSES).deserialize({" DONE": "succeeded", "Error": "failed"}) == {"done": 1, "error": 2}


def test_meaning_of_any_other_status_is_that_of_the_star() -> None:
    statuses = StatusMap(STATUSES).deserialize({"DONE": "succeeded", "*": "failed"})
    assert [find_meaning(statuses, status) for status in ("done", "odd", "*", "", None)] == [1, 2, 2, None, None]
    assert find_meaning({"done": 1}, "odd") is None


def test_status_map_rejects_unknown_values_and_duplicates() -> None:
    assert find_errors(StatusMap(STATUSES), {"DONE": "finished"}) == {"DONE": ["Must be one of: succeeded, failed."]}
    [message] = find_errors(StatusMap(STATUSES), {"DONE": "succeeded", "done ": "failed"})
    assert message == "Must not contain a status twice, whatever its case: done."


def test_status_codes_give_a_class_to_each_status() -> None:
    table = {"402": "pause", "403": "retry", "404": "reject", "409": "accept", "599": "pause"}
    assert StatusCodes().deserialize(table) == {
        402: ResponseClass.PAUSE,
        403: ResponseClass.RETRY,
        404: ResponseClass.REJECTED,
        409: ResponseClass.ACCEPTED,
        599: ResponseClass.PAUSE,
    }


@pytest.mark.parametrize("status", ["99", "600", "5xx", "0402", "402 ", "", "*"])
def test_status_codes_reject_what_is_no_status(status: str) -> None:
    assert find_errors(StatusCodes(), {status: "pause"}) == {status: ["Must be a status from 100 to 599."]}


def test_status_codes_reject_unknown_classes() -> None:
    messages = find_errors(StatusCodes(), {"402": "hold", "403": "pause"})
    assert messages == {"402": ["Must be one of: pause, retry, reject, accept."]}
