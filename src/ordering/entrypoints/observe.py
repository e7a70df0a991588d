"""What a service tells about itself: log lines on stderr, and metrics.

The application reports through the Observer port. Changes of the whole service are logged at INFO, single orders at
DEBUG (the normal path logs nothing per order otherwise), figures go to the metrics that ``metrics.table`` declares.
"""

import logging
import os
import sys
from collections.abc import Mapping
from typing import Any, Final, TextIO, cast

import structlog

from ordering.entrypoints.metrics import Figures, Page, Part
from ordering.entrypoints.metrics.table import OTHER
from ordering.entrypoints.settings import LogFormat, LogLevel
from ordering.entrypoints.streams import LogStream

_LEVELS: Final[Mapping[LogLevel, int]] = {
    LogLevel.DEBUG: logging.DEBUG,
    LogLevel.INFO: logging.INFO,
    LogLevel.WARNING: logging.WARNING,
    LogLevel.ERROR: logging.ERROR,
}


def configure_logging(level: LogLevel, form: LogFormat, service: str) -> Any:  # noqa: ANN401 -- structlog's own type
    """Log to stderr from here on, libraries' warnings included; returns the service's logger."""
    plain = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty() and "NO_COLOR" not in os.environ,
        exception_formatter=structlog.dev.plain_traceback,
        pad_event_to=24,
    )
    as_json = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *(as_json if form is LogFormat.JSON else [plain]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, LogStream(sys.stderr))),
        cache_logger_on_first_use=True,
    )
    logger = structlog.get_logger().bind(service=service)
    _route_libraries(logger)
    return logger


def _route_libraries(logger: Any) -> None:  # noqa: ANN401
    root = logging.getLogger()
    root.handlers[:] = [_Forward(logger)]
    root.setLevel(logging.WARNING)
    logging.getLogger("uvicorn").setLevel(logging.ERROR)  # it warns of every malformed request a client sends


class _Forward(logging.Handler):
    """Hands what libraries log through the standard library to our logger."""

    def __init__(self, logger: Any) -> None:  # noqa: ANN401
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        self._logger.log(record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info)


class ServiceObserver:
    """The Observer port: a logger, and the figures of the metrics page.

    ``parts``: whose metrics there are; both only where both services share a process (in tests).
    """

    def __init__(self, logger: Any, *parts: Part) -> None:  # noqa: ANN401
        self._logger = logger
        self._figures = Figures(frozenset(parts or Part))
        self.page: Final = Page(self._figures)
        """What ``/metrics`` answers; the container tells it what else to show."""
        # The figures' own methods: handing each call on would cost as much as counting does.
        self.counted: Final = self._figures.counted
        self.measured: Final = self._figures.measured
        self.answered: Final = self._figures.answered
        """A request was answered: method, route, status, seconds, code of the problem document if it was refused."""
        self.serves: Final = self._figures.serves
        """A route exists: method, route, status of its success."""
        self._reason: object = None
        """What the last alarm gave as its reason."""

    def refused_unread(self, status: int, code: str) -> None:
        """A connection has answered by itself to what never became a request of any route."""
        self._figures.answered(OTHER, OTHER, status, None, code)

    def cut(self, reason: str) -> None:
        """A connection was cut off without an answer."""
        self.counted("connections_cut", of=reason)

    def changed(self, what: str, **facts: object) -> None:
        self._logger.info(what, **facts)

    def alarmed(self, what: str, **facts: object) -> None:
        self._figures.alarmed(what)
        self._reason = facts.get("reason")
        self._logger.warning(what, **facts)

    def noted(self, what: str, **facts: object) -> None:
        self._logger.debug(what, **facts)

    def refused(self, reason: str) -> None:
        """The service must not start, or must not go on: told once, so not again after an alarm for that reason."""
        if reason != self._reason:
            self._figures.alarmed("service.refused")
            self._logger.error("service.refused", reason=reason)

    def failed(self, what: str, error: BaseException) -> None:
        """Something ended that should not have: with its traceback, for whoever has to find out why."""
        self._figures.alarmed(what)
        self._logger.error(what, error=repr(error), exc_info=error)

    def request_failed(self, request_id: str, error: BaseException) -> None:
        """A request was answered with 500: the traceback belongs here and nowhere else."""
        self._figures.alarmed("request.failed")
        self._logger.error("request.failed", request_id=request_id, error=repr(error), exc_info=error)
