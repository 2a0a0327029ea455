"""`receiver provider`: list, pause and resume."""

from tests.support.command_service import Service, parse_rows


def test_provider_is_paused_with_a_reason_and_resumed(service: Service) -> None:
    assert "their outage" in service.ok("provider", "pause", "other", "--reason", "their outage")
    table = {row[0]: row[1] for row in parse_rows(service.ok("provider", "list"))}
    assert (table["acme"], table["other"]) == ("active", "paused")
    assert "https://receiver.example/callbacks/other" in service.ok("provider", "list")
    assert service.json("provider", "resume", "other")["paused"] is False


def test_provider_list_counts_what_needs_attention(service: Service, name: str) -> None:
    before = service.json("provider", "list")["items"]
    service.call_back(f"{name}-unmatched")
    needed = next(item["attention"] for item in service.json("provider", "list")["items"] if item["name"] == "acme")
    assert needed["unmatched"] == next(item["attention"]["unmatched"] for item in before if item["name"] == "acme") + 1
    headings, *table = parse_rows(service.ok("provider", "list"))
    [cell] = [row[headings.index("attention")] for row in table if row[0] == "acme"]
    assert f"{needed['unmatched']} unmatched" in cell
