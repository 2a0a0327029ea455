"""gunicorn's log as events, without what a caller sent: a callback URL may have a token, and its query a secret.

gunicorn's master imports this module, see `receiver.web.gunicorn_conf` for what it must not import.
"""

import logging
import re
from typing import Any

from gunicorn.glogging import Logger

from receiver.logs import LibraryHandler

_CALLBACK_URL = re.compile(r"(/callbacks/[^/?\s\"']*)[/?][^\s\"']*")
_INVALID_REQUEST = re.compile(r"^(Invalid request from ip=\S*?): .*", re.DOTALL)


class RedactingFilter(logging.Filter):
    """Replaces what follows the provider in callback URLs, and the quoted parts of malformed requests."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact_line(record.getMessage()), ()
        return True


class EventLogger(Logger):
    """gunicorn's logger, which writes events instead of lines of text, with a `RedactingFilter`."""

    def setup(self, cfg: Any) -> None:
        """Configure the handlers as gunicorn does, and add the filter to them."""
        super().setup(cfg)
        for log in (self.error_log, self.access_log):
            for handler in log.handlers:
                handler.addFilter(RedactingFilter())

    def _set_handler(self, log: logging.Logger, output: str, fmt: Any, stream: Any = None) -> None:
        if output == "-":
            log.addHandler(LibraryHandler())
        else:  # a file that `--log-file` or `--access-logfile` names
            super()._set_handler(log, output, fmt, stream)  # type: ignore[misc]  # missing in the types of gunicorn


def redact_line(line: str) -> str:
    """Return a line of the log without secrets."""
    return _CALLBACK_URL.sub(r"\1/…", _INVALID_REQUEST.sub(r"\1", line))
