"""gunicorn's own log, without what a caller sent: a callback URL may end with a token, and its query may have a secret.

gunicorn's master imports this module, see `receiver.web.gunicorn_conf` for what it must not import.
"""

import logging
import re
from typing import Any

from gunicorn.glogging import Logger

_CALLBACK_URL = re.compile(r"(/callbacks/[^/?\s\"']*)[/?][^\s\"']*")
_INVALID_REQUEST = re.compile(r"^(Invalid request from ip=\S*?): .*", re.DOTALL)


class RedactingFilter(logging.Filter):
    """Replaces what follows the provider in callback URLs, and the quoted parts of malformed requests."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact_line(record.getMessage()), ()
        return True


class RedactingLogger(Logger):
    """gunicorn's logger with a `RedactingFilter` for its error log and its access log."""

    def setup(self, cfg: Any) -> None:
        """Configure the handlers as gunicorn does, and add the filter to them."""
        super().setup(cfg)
        for log in (self.error_log, self.access_log):
            for handler in log.handlers:
                handler.addFilter(RedactingFilter())


def redact_line(line: str) -> str:
    """Return a line of the log without secrets."""
    return _CALLBACK_URL.sub(r"\1/…", _INVALID_REQUEST.sub(r"\1", line))
