"""The quickstart: its commands lead to a finished job."""

import re

from tests.acceptance.guides import Service, extract_section, parse_blocks, read_guide

GUIDE = read_guide("docs/quickstart.md")


def test_quickstart_leads_to_a_finished_job(guide_service: Service) -> None:
    submit, show = [
        block.text for block in parse_blocks(GUIDE) if block.heading == "Submit a request" and block.language == "sh"
    ]
    function, _, commands = submit.partition("\n")
    assert function == 'receiver() { python3 -m uv run receiver "$@"; }'
    submitted = guide_service.sh(commands)
    [request_id] = re.findall(r"^request +(\S+)$", submitted, re.MULTILINE)
    wait_command, show_command = show.splitlines()
    waited = guide_service.sh(wait_command, REQUEST_ID=request_id)
    [job_id] = re.findall(r"^(\S+) +succeeded ", waited, re.MULTILINE)
    shown = guide_service.sh(show_command, JOB_ID=job_id)
    statuses = re.findall(r"`([A-Z]+)`", extract_section(GUIDE, "Submit a request"))
    assert statuses == ["ACK", "SENT", "DELIVERED"]
    assert [status for status in statuses if status not in shown] == []
