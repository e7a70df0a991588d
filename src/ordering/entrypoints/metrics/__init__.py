"""What ``/metrics`` shows: ``table`` declares every metric, ``figures`` holds the numbers, ``samples`` asks for those
that somebody else keeps, and ``page`` prints all of it.
"""

from ordering.entrypoints.metrics.figures import Figures
from ordering.entrypoints.metrics.page import Page
from ordering.entrypoints.metrics.samples import Readings
from ordering.entrypoints.metrics.table import Part

__all__ = ["Figures", "Page", "Part", "Readings"]
