"""The page itself: what was counted, what is now, what was sampled, and the process."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from math import nan

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from ordering.entrypoints.metrics import table
from ordering.entrypoints.metrics.figures import Figures
from ordering.entrypoints.metrics.samples import Readings, Sample, look
from ordering.entrypoints.metrics.table import Gauge


class Page:
    """Collects the metrics of one service whenever somebody asks."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures
        self._watched: dict[Gauge, Callable[[], float]] = {}
        self._fixed: dict[Gauge, Mapping[tuple[str, ...], float]] = {}
        self._samples: list[Sample] = []
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._registry.register(self)

    # ------------------------------------------------------------------ what it shows

    def watch(self, gauge: Gauge, value: Callable[[], float]) -> None:
        """Ask for this value with every page: it must be at hand."""
        self._watched[gauge] = value

    def fix(self, gauge: Gauge, *labels: str) -> None:
        """A gauge that is always 1: its labels are what it tells."""
        self._fixed[gauge] = {labels: 1.0}

    def sample(
        self,
        source: str,
        take: Callable[[], Awaitable[Readings]],
        shows: Mapping[Gauge, tuple[tuple[str, ...], ...]],
        *,
        fresh_seconds: float = 1.0,
    ) -> None:
        """Ask for these figures when a page is asked for, but not more often than every ``fresh_seconds``."""
        self._samples.append(Sample(source, take, shows, fresh_seconds))

    async def close(self) -> None:
        """Ask nothing any more: what answers is about to be closed."""
        samples, self._samples = self._samples, []
        for sample in samples:
            await sample.cancel()

    # ------------------------------------------------------------------ asked for

    async def text(self) -> bytes:
        """Everything in Prometheus' text format, within a second or so."""
        await look(self._samples)
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        """What the client library prints; within a page of ours only."""
        yield from self._figures.families()
        readings = dict(self._fixed)
        readings |= {gauge: {(): value()} for gauge, value in self._watched.items()}
        for sample in self._samples:
            readings |= sample.readings()
        if self._samples:
            ages = {(sample.source,): sample.age for sample in self._samples}
            readings[table.SAMPLE_UP] = {source: float(age is not None) for source, age in ages.items()}
            readings[table.SAMPLE_AGE] = {source: nan if age is None else age for source, age in ages.items()}
        for gauge in table.GAUGES:
            if gauge in readings:
                family = GaugeMetricFamily(gauge.name, gauge.meaning, labels=list(gauge.labels))
                for labels, value in readings[gauge].items():
                    family.add_metric(list(labels), value)
                yield family
