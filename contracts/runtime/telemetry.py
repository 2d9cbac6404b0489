"""Structured logs on stderr: JSON for machines, readable lines on a terminal.

A payload, a key or a token never goes into a log line; request ids and outcomes do.
"""

import json
import logging
import sys
from typing import Any, Literal, TextIO, cast

import orjson
import structlog

from contracts.runtime.log_writer import LogWriter

_writer: LogWriter | None = None


def configure_logging(
    service: str, log_format: Literal["auto", "json", "console"], level: str
) -> None:
    """Sets up structlog for this process; every line carries ``service``."""
    is_readable = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    renderer: Any = (
        structlog.dev.ConsoleRenderer()
        if is_readable
        else structlog.processors.JSONRenderer(serializer=_dumps)
    )
    global _writer
    # Not ``sys.stderr`` itself: the interpreter waits at its end for a lock that a write holds.
    _writer = LogWriter(open(sys.stderr.fileno(), "wb", buffering=0, closefd=False))
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=cast(TextIO, _writer)),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.clear_contextvars()
    logging.basicConfig(handlers=[_Bridge(service)], level=logging.WARNING, force=True)


def log_lines_dropped() -> int:
    """Lines of this process's log that were not written, because nobody reads it, say."""
    return _writer.dropped if _writer is not None else 0


def finish_logging() -> None:
    """Waits for what was logged to be written, a second at most."""
    if _writer is not None:
        _writer.close()


def get_logger(service: str) -> Any:
    """A logger whose lines carry ``service``."""
    return structlog.get_logger(service=service)


class _Bridge(logging.Handler):
    """Passes what libraries log on to structlog, so that there is one format."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._log = get_logger(service)

    def emit(self, record: logging.LogRecord) -> None:
        self._log.log(
            record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info
        )


def _dumps(event: dict[str, Any], default: Any = str, **_: Any) -> str:
    try:
        return orjson.dumps(event, default=default).decode()
    except TypeError:
        # Text that is not Unicode: a file's name may hold lone surrogates (PEP 383).
        return json.dumps(event, default=str)
