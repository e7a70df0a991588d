"""What a service tells about itself: log lines on stderr, and metrics.

The application reports through the Observer port. Changes of the whole service are logged at INFO, single orders at
DEBUG (the normal path logs nothing per order otherwise), figures go to metrics named ``ordering_...``.
"""

import logging
import os
import sys
from collections.abc import Mapping
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest

from ordering.entrypoints.settings import LogFormat, LogLevel

_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024)
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
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
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
    """The Observer port: a logger, and a registry of metrics. Names come from our code, so they are few."""

    def __init__(self, logger: Any) -> None:  # noqa: ANN401
        self._logger = logger
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._counters: dict[str, Counter] = {}
        self._histograms: dict[str, Histogram] = {}
        self._http_seconds = Histogram(
            "ordering_http_seconds",
            "time to answer a request",
            ("method", "path", "status"),
            registry=self._registry,
            buckets=_SECONDS,
        )
        self._answers: dict[tuple[str, str, str], Histogram] = {}

    def changed(self, what: str, **facts: object) -> None:
        self._logger.info(what, **facts)

    def alarmed(self, what: str, **facts: object) -> None:
        self._logger.warning(what, **facts)

    def noted(self, what: str, **facts: object) -> None:
        self._logger.debug(what, **facts)

    def failed(self, what: str, error: BaseException) -> None:
        """Something ended that should not have: with its traceback, for whoever has to find out why."""
        self._logger.error(what, error=repr(error), exc_info=error)

    def request_failed(self, request_id: str, error: BaseException) -> None:
        """A request was answered with 500: the traceback belongs here and nowhere else."""
        self._logger.error("request.failed", request_id=request_id, error=repr(error), exc_info=error)

    def answered(self, method: str, path: str, status: int, seconds: float) -> None:
        """A request to a documented route was answered."""
        labels = (method, path, str(status))
        answers = self._answers.get(labels)
        if answers is None:
            answers = self._answers[labels] = self._http_seconds.labels(*labels)
        answers.observe(seconds)

    def counted(self, what: str, amount: int = 1) -> None:
        counter = self._counters.get(what)
        if counter is None:
            counter = self._counters[what] = Counter(_name(what), _help(what), registry=self._registry)
        counter.inc(amount)

    def measured(self, what: str, value: float) -> None:
        histogram = self._histograms.get(what)
        if histogram is None:
            buckets = _SECONDS if what.endswith("_seconds") else _SIZES
            histogram = Histogram(_name(what), _help(what), registry=self._registry, buckets=buckets)
            self._histograms[what] = histogram
        histogram.observe(value)

    def metrics(self) -> bytes:
        """Everything counted and measured, in Prometheus' text format."""
        return generate_latest(self._registry)


def _name(what: str) -> str:
    return "ordering_" + "".join(letter if letter.isalnum() else "_" for letter in what)


def _help(what: str) -> str:
    return what.replace("_", " ").replace(".", " ")
