"""Structured logs on stderr: constant event names with fields, as JSON lines or as text for a console."""

import logging
import sys

import structlog


def configure_logs(level: str, log_format: str) -> None:
    """Configure structlog for this process.

    Args:
        level: the lowest level to write, such as `INFO`.
        log_format: `json` or `console`.
    """
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if log_format == "json" else structlog.dev.ConsoleRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
