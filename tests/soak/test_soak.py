"""The soak in a small size; ``make soak`` runs it for ten minutes at half load, in either mode."""

from __future__ import annotations

import pytest

from tests.e2e.crash_system import embedded
from tests.soak.soak import Plan, soak

pytestmark = [pytest.mark.process, pytest.mark.slow]

SMALL = Plan(seconds=20.0, rate=100.0)
"""A rate that any machine bears: how fast it is must not matter here."""

PATIENT = {"ORDERING_ADMISSION_SECONDS": "60", "ORDERING_REQUEST_SECONDS": "60", "BROKER_OUTAGE": "accept"}
"""A machine that stands still for some seconds makes nothing be refused."""


def test_what_the_services_hold_does_not_grow_under_a_steady_load() -> None:
    """Memory, descriptors, threads and WAL; every answer is 2xx, and everything is published and visible at the end."""
    with embedded(**PATIENT) as system:
        outcome = soak(system, SMALL)

    print(outcome.report())
    assert not outcome.broken(), outcome.report()
    assert outcome.findings.events > 1_000, outcome.report()
