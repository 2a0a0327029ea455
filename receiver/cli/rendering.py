"""How a request is told to people: where it stands, what can be done about it, and everything that happened to it."""

import click

from receiver.cli.output import Json, format_time, print_facts, print_section
from receiver.cli.tables import ACTIONS, ATTEMPTS, JOBS

_MEANINGS = {
    "unknown": "It was sent, and it is not known whether the provider acted on it: sending it again could do it twice. "
    "Look at the provider; if it did not arrive, `receiver request retry ID`; if it did, `receiver request resolve ID "
    "--status accepted --reference REFERENCE --reason TEXT`, or another status.",
    "rejected": "The provider refused it for good. Mend what `detail` names; then `receiver request retry ID`.",
    "failed": "Its attempts or its time are used up. `receiver request retry ID` sends it again.",
    "cancelled": "It was cancelled before it was sent. `receiver request retry ID` sends it all the same.",
}


def print_request(found: Json) -> None:
    """Print a request for people."""
    print_facts(
        {
            "request": found["id"],
            "status": found["status"],
            "detail": found["detail"],
            "provider": found["provider"],
            "operation": found["operation"],
            "created": format_time(found["created_at"]),
            "due": "" if found["finished_at"] else format_time(found["due_at"]),
            "deadline": "" if found["finished_at"] else format_time(found["deadline_at"]),
            "finished": format_time(found["finished_at"]),
            "told at the end": found["notify_url"],
            "metadata": found["metadata"],
            "payload": found["payload"],
        }
    )
    if found["status"] in _MEANINGS:
        click.echo(f"\n{_MEANINGS[found['status']].replace('ID', found['id'])}")
    print_section("attempts", ATTEMPTS, found.get("attempts", ()))
    print_section("jobs", JOBS, found.get("jobs", ()))
    print_section("actions", ACTIONS, found.get("actions", ()))
