"""Structured logs on stderr: constant event names with fields, as JSON lines or as text for a console.

In a process that has called `configure_logs`, everything goes this way: the lines of libraries, warnings, uncaught
exceptions, and whatever is written to `sys.stderr`. docs/logs.md lists the events.

gunicorn's master imports this module, see `receiver.web.gunicorn_conf` for what it must not import.
"""

import io
import json
import logging
import os
import sys
import threading
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TextIO

import orjson
import structlog

_STDERR = 2
_JSON_OPTIONS = orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z
_LEVELS = (logging.CRITICAL, logging.ERROR, logging.WARNING, logging.INFO)

_request_id: ContextVar[str] = ContextVar("request_id", default="")
_is_debug = False
_log = structlog.get_logger(__name__)


def configure_logs(level: str, log_format: str, *, captures_stderr: bool = True) -> None:
    """Write all logs of this process to stderr.

    Args:
        level: the lowest level to write, such as `INFO`.
        log_format: `json` or `console`.
        captures_stderr: whether each line that is written to `sys.stderr` becomes an event, if the format is `json`.
            Commands pass False while a person reads their messages there.
    """
    global _is_debug  # noqa: PLW0603  # of the whole process, like the configuration of structlog
    is_json, number = log_format == "json", logging.getLevelNamesMapping()[level]
    _is_debug = number <= logging.DEBUG
    structlog.configure(
        processors=[_add_context, _render_json if is_json else _ConsoleRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=_StderrLogger,
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=number, handlers=[LibraryHandler()], force=True)
    # yoyo logs several lines for each migration.
    logging.getLogger("yoyo").setLevel(logging.NOTSET if _is_debug else logging.WARNING)
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread
    sys.unraisablehook = _log_unraisable
    with suppress(OSError):  # stderr is closed
        os.set_blocking(_STDERR, True)
    if is_json and captures_stderr:
        sys.stderr = StderrLines()


def log_greenlet_errors() -> None:
    """Write uncaught exceptions of greenlets as events; gevent itself writes text."""
    # Imported late: gunicorn's master must not import it before its workers are patched.
    from gevent.hub import Hub  # noqa: PLC0415  # see above

    Hub.print_exception = _log_uncaught_in_greenlet  # type: ignore[method-assign, assignment]  # a method of the hub


def configure_requested_logs(environ: Mapping[str, str]) -> None:
    """Log JSON before the settings are known if `LOG_FORMAT` is set to it, so that their faults are events too."""
    if is_json_requested(environ):
        configure_logs("INFO", "json")


def is_json_requested(environ: Mapping[str, str]) -> bool:
    """Return whether `LOG_FORMAT` is set to `json`, in which case messages for people are events too."""
    return environ.get("LOG_FORMAT") == "json"


def get_message_stream(environ: Mapping[str, str]) -> TextIO:
    """Return where a process writes why it cannot start: text, unless JSON is requested."""
    return sys.stderr if is_json_requested(environ) or sys.__stderr__ is None else sys.__stderr__


def is_debug() -> bool:
    """Return whether DEBUG is logged; for what happens often, so that its fields are built only then."""
    return _is_debug


def set_request_id(request_id: str) -> None:
    """Add `request_id` to all lines of this greenlet from now on; "" for none."""
    _request_id.set(request_id)


def get_request_id() -> str:
    """Return the `request_id` of the lines of this greenlet; "" if there is none."""
    return _request_id.get()


class LibraryHandler(logging.Handler):
    """Writes the lines that libraries log by `logging` as events."""

    def createLock(self) -> None:  # noqa: N802  # the name in the standard library
        """Create no lock: a line is written by one system call."""
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except Exception:  # the arguments do not fit the format
            message = str(record.msg)
        level = next((level for level in _LEVELS if level <= record.levelno), logging.DEBUG)
        _log.log(level, "library.logged", logger=record.name, message=message, exc_info=record.exc_info or None)


class StderrLines(io.TextIOBase):
    """The `sys.stderr` of a process that logs JSON: each line that is written becomes an event, at any `LOG_LEVEL`."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self) -> None:
        super().__init__()
        self._log = structlog.wrap_logger(_StderrLogger(), wrapper_class=structlog.BoundLogger)
        self._rest = ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._write_line(line)
        return len(text)

    def flush(self) -> None:
        rest, self._rest = self._rest, ""
        self._write_line(rest)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return _STDERR

    def _write_line(self, line: str) -> None:
        if line.strip():
            self._log.warning("stderr.written", message=line)


class _StderrLogger:
    """Writes each line by one system call, so that the lines of several processes do not mix."""

    def __init__(self, *_: object) -> None: ...

    def write(self, line: bytes) -> None:
        try:
            while line:
                line = line[os.write(_STDERR, line) :]
        except OSError:  # the disk is full, or nobody reads: the service goes on without its log
            return

    debug = info = warning = error = critical = write


class _ConsoleRenderer:
    """Renders events as text."""

    def __init__(self) -> None:
        self._render = structlog.dev.ConsoleRenderer(colors=os.isatty(_STDERR))

    def __call__(self, logger: Any, name: str, event: MutableMapping[str, Any]) -> bytes:
        return f"{self._render(logger, name, event)}\n".encode(errors="backslashreplace")


def _add_context(_: object, name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    context = {"timestamp": datetime.now(UTC), "level": name, "event": event.pop("event"), "pid": os.getpid()}
    if request_id := _request_id.get():
        context["request_id"] = request_id
    if "exc_info" in event:
        event = structlog.processors.format_exc_info(None, name, event)
    context.update(event)
    return context


def _render_json(_: object, __: str, event: MutableMapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(event, _describe, _JSON_OPTIONS)
    except TypeError:  # a lone surrogate, an integer of more than 64 bits, or a key that is no text
        return json.dumps(event, default=_describe, skipkeys=True).encode() + b"\n"


def _describe(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _log_uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    _log.critical("exception.uncaught", exc_info=(kind, error, traceback))


def _log_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if not issubclass(args.exc_type, SystemExit):
        error = args.exc_value or args.exc_type()
        name = args.thread.name if args.thread else None
        _log.error("exception.uncaught", thread=name, exc_info=(args.exc_type, error, args.exc_traceback))


def _log_uncaught_in_greenlet(
    _: object, context: object, kind: Any, error: Any, traceback: TracebackType | None
) -> None:
    """Log an error that ended a greenlet, without the greenlet's arguments, which may be secret."""
    name = getattr(context, "name", None) or type(context).__name__
    error = error if isinstance(error, BaseException) else kind(error)
    _log.error("exception.uncaught", greenlet=name, exc_info=(kind, error, traceback))


def _log_unraisable(args: "sys.UnraisableHookArgs") -> None:
    error = args.exc_value or args.exc_type()
    _log.error("exception.ignored", message=args.err_msg, exc_info=(args.exc_type, error, args.exc_traceback))
