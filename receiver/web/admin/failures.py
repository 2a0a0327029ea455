"""What a page shows of an error: the same words as the API's problem document."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from receiver.domain.nested_errors import flatten_errors
from receiver.web.problems import build_problem_response


@dataclass(frozen=True, slots=True)
class Failure:
    """An error: its status, its title, what is wrong with the remedy, and the messages for fields of a form.

    `headers` are those that a response with it must have, such as `Retry-After`.
    """

    status: int
    title: str
    detail: str
    errors: Sequence[tuple[str, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    def find_messages(self, name: str) -> Sequence[str]:
        """Return the messages for a field, of which nested ones have the path `name.nested`."""
        return [message for path, message in self.errors if path == name or path.startswith(f"{name}.")]


def describe_failure(error: Exception) -> Failure:
    """Return what a page shows of an error; an error of the service itself is logged."""
    response = build_problem_response(error)
    document = response.get_json(force=True)
    headers = {name: value for name, value in response.headers.items() if name in ("Retry-After", "Allow")}
    errors = [(path, str(message)) for path, message in flatten_errors(document.get("errors", {}))]
    return Failure(document["status"], document["title"], document["detail"], errors, headers)
