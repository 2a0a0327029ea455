"""Error messages and exit codes of commands."""

import signal

import pytest

from receiver.cli.errors import FAILED, USAGE, report_errors
from receiver.cli.process_group import StopRequested
from receiver.configured_providers import SettingsError
from receiver.domain.errors import ReceiverError


@pytest.mark.parametrize(
    ("error", "code", "printed"),
    [
        (SettingsError(["PORT: high", "LOG_LEVEL: loud"]), USAGE, "settings: PORT: high\nsettings: LOG_LEVEL: loud\n"),
        (ReceiverError("It does not work."), FAILED, "error: It does not work.\n"),
        (StopRequested(signal.SIGTERM), 143, "stopped by SIGTERM\n"),
        (StopRequested(signal.SIGINT), 130, "stopped by SIGINT\n"),
    ],
)
def test_error_is_printed_and_determines_exit_code(
    error: BaseException, code: int, printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught, report_errors():
        raise error
    assert caught.value.code == code
    assert capsys.readouterr() == ("", printed)


def test_programming_error_is_raised_unchanged() -> None:
    with pytest.raises(KeyError), report_errors():
        raise KeyError("name")


def test_context_without_error_ends_normally(capsys: pytest.CaptureFixture[str]) -> None:
    with report_errors():
        pass
    assert capsys.readouterr() == ("", "")
