"""The output of the demo on stderr: its steps, and the comparison at the end."""

from dataclasses import replace

import pytest

from receiver.cli.demo.compare import Comparison
from receiver.cli.demo.display import DemoDisplay

AGREEING = Comparison(
    requests=2,
    jobs=3,
    by_status={"succeeded": 2, "failed": 1},
    forged=4,
    forged_accepted=0,
    mismatches=[],
    rows={("job", "out_of_order"): (3, 3), ("request", "202"): (2, 2)},
)


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal in which no line wraps."""
    monkeypatch.setenv("COLUMNS", "200")


def print_result(capsys: pytest.CaptureFixture[str], comparison: Comparison) -> str:
    DemoDisplay(2).print_result(comparison, 12.34)
    printed = capsys.readouterr()
    assert printed.out == ""
    return " ".join(printed.err.split())


def test_result_has_a_row_for_each_behavior(capsys: pytest.CaptureFixture[str]) -> None:
    output = print_result(capsys, AGREEING)
    assert "request │ 202 │ 2 │ 2" in output
    assert "job │ out of order │ 3 │ 3" in output
    assert "forged │ wrong key, changed body, stale │ 4 │ 4" in output
    output = print_result(capsys, replace(AGREEING, forged_accepted=1))
    assert "forged │ wrong key, changed body, stale │ 4 │ 3" in output


def test_summary_of_agreement_has_a_check_mark(capsys: pytest.CaptureFixture[str]) -> None:
    assert print_result(capsys, AGREEING).endswith(
        "✓ 2 requests, 3 jobs (1 failed, 2 succeeded), 0 of 4 forged callbacks accepted, 0 mismatches, 12.3 s"
    )


def test_unresolved_jobs_are_explained_if_they_are_intended(capsys: pytest.CaptureFixture[str]) -> None:
    explanation = "unresolved as intended: the sandbox never reports how these jobs ended"
    assert explanation not in print_result(capsys, AGREEING)
    unresolved = replace(AGREEING, by_status={"unresolved": 3})
    assert print_result(capsys, unresolved).endswith(explanation)
    assert explanation not in print_result(capsys, replace(unresolved, mismatches=["job r-1 differs"]))


def test_only_first_mismatches_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    mismatches = [f"job r-{number} differs" for number in range(25)]
    output = print_result(capsys, Comparison(2, 3, {}, 0, 0, mismatches))
    assert output.count("differs") == 20
    assert "✗ 2 requests" in output
    assert "25 mismatches" in output


def test_steps_are_printed_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    display = DemoDisplay(2)
    display.update({("job", "accepted"): 1}, pending=3)
    display.print_step("starting")
    assert capsys.readouterr() == ("", "• starting\n")


def test_progress_is_shown_while_live(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    display = DemoDisplay(7)
    with display.show_live():
        display.update({("request", "queued"): 2, ("request", "accepted"): 1, ("job", "accepted"): 4}, pending=3)
        progress = capsys.readouterr().err
    assert "requests 3 of 7" in progress
    assert "accepted 1 · queued 2" in progress
    assert "jobs 4" in progress
    assert "3 callbacks pending" in progress
