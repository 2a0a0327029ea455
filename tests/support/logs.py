"""What a module logs."""

from types import ModuleType
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture


def capture_log(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> list[Any]:
    """Return the list that the entries of a module's log go to, whatever level other tests have configured."""
    capture = LogCapture()
    monkeypatch.setattr(module, "_log", structlog.wrap_logger(None, [capture], structlog.BoundLogger))
    return capture.entries
