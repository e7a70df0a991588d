"""The numbers behind the metrics, kept so that reporting one costs a look-up and an addition.

prometheus-client's own counters and histograms take a lock and search their buckets one by one, three times what this
costs on the request path. Everything here is reported from one event loop; the page turns it into families of the
client library, which prints them.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

from ordering.entrypoints.metrics import table
from ordering.entrypoints.metrics.table import METHODS, OTHER, Part


class Distribution:
    """How often a value was observed, by ranges. ``bounds`` are the upper ends; a value at one belongs to it."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """One more value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Prometheus' cumulative buckets."""
        ends = [*map(str, self.bounds), "+Inf"]
        return list(zip(ends, map(float, accumulate(self.counts)), strict=True))


class _Answers:
    """Answers with one method, route and status."""

    __slots__ = ("count", "seconds")

    def __init__(self, seconds: Distribution) -> None:
        self.count = 0
        self.seconds = seconds


class Figures:
    """What one service has counted and measured since it started."""

    def __init__(self, parts: frozenset[Part]) -> None:
        self._counters = [counter for counter in table.COUNTERS if counter.parts & parts]
        self._histograms = [histogram for histogram in table.HISTOGRAMS if histogram.parts & parts]
        self._counts: dict[str, int] = {counter.what: 0 for counter in self._counters if counter.label is None}
        self._kinds: dict[str, dict[str, int]] = {
            counter.what: dict.fromkeys(counter.values, 0) for counter in self._counters if counter.label is not None
        }
        self._measures = {histogram.what: Distribution(histogram.bounds) for histogram in self._histograms}
        self._alarms = {name: 0 for name, where in table.ALARMS.items() if where & parts} | {OTHER: 0}
        self._refusals = dict.fromkeys(map(str, table.CODES), 0)
        self._answers: dict[tuple[str, str, int], _Answers] = {}
        self._latencies: dict[tuple[str, str], Distribution] = {}
        self._routes: set[str] = {OTHER}

    # ------------------------------------------------------------------ reported

    def counted(self, what: str, amount: int = 1, *, of: str | None = None) -> None:
        """A counter moved. One that is not declared moves nothing: a test keeps the table complete."""
        counts = self._counts if of is None else self._kinds.get(what, {})
        key = what if of is None else of
        if key in counts:
            counts[key] += amount

    def measured(self, what: str, value: float) -> None:
        """A value was observed."""
        measure = self._measures.get(what)
        if measure is not None:
            measure.observe(value)

    def alarmed(self, what: str) -> None:
        """A line was logged that somebody should look at."""
        self._alarms[what if what in self._alarms else OTHER] += 1

    def serves(self, method: str, route: str, status: int) -> None:
        """A route exists, and answers with this status if all goes well."""
        self._routes.add(route)
        for expected in (status, *table.EXPECTED):
            self._first(method, route, expected)

    def answered(self, method: str, route: str, status: int, seconds: float | None, code: str | None) -> None:
        """A request was answered; ``seconds`` is None if nobody measured, ``code`` is that of its problem document, if
        it was refused."""
        answers = self._answers.get((method, route, status))
        if answers is None:
            answers = self._first(method, route, status)
        answers.count += 1
        if seconds is not None:
            answers.seconds.observe(seconds)
        if code is not None and code in self._refusals:
            self._refusals[code] += 1

    def _first(self, method: str, route: str, status: int) -> _Answers:
        """Where a method, route and status are counted: what is none of ours is one of a few, whatever clients send."""
        if method not in METHODS:
            method = OTHER
        if route not in self._routes:
            route = OTHER
        found = self._answers.get((method, route, status))
        if found is None:
            seconds = self._latencies.setdefault((method, route), Distribution(table.SECONDS))
            found = self._answers[method, route, status] = _Answers(seconds)
        return found

    # ------------------------------------------------------------------ shown

    def families(self) -> Iterator[CounterMetricFamily | HistogramMetricFamily]:
        """Everything, as the client library prints it."""
        yield from self._http()
        alarms = CounterMetricFamily(*table.ALARMS_TOTAL, labels=["event"])
        for name, count in self._alarms.items():
            alarms.add_metric([name], count)
        yield alarms
        for counter in self._counters:
            family = CounterMetricFamily(counter.name, counter.meaning, labels=[counter.label] if counter.label else [])
            if counter.label is None:
                family.add_metric([], self._counts[counter.what])
            else:
                for value, count in self._kinds[counter.what].items():
                    family.add_metric([value], count)
            yield family
        for histogram in self._histograms:
            measure = self._measures[histogram.what]
            shown = HistogramMetricFamily(histogram.name, histogram.meaning)
            shown.add_metric([], measure.buckets(), measure.total)
            yield shown

    def _http(self) -> Iterator[CounterMetricFamily | HistogramMetricFamily]:
        requests = CounterMetricFamily(*table.REQUESTS, labels=["method", "route", "status"])
        for (method, route, status), answers in self._answers.items():
            requests.add_metric([method, route, str(status)], answers.count)
        yield requests
        seconds = HistogramMetricFamily(*table.REQUEST_SECONDS, labels=["method", "route"])
        for labels, latency in self._latencies.items():
            seconds.add_metric(list(labels), latency.buckets(), latency.total)
        yield seconds
        refusals = CounterMetricFamily(*table.REFUSALS, labels=["code"])
        for code, count in self._refusals.items():
            refusals.add_metric([code], count)
        yield refusals
