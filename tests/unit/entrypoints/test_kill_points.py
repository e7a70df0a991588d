"""Kill points: named by a setting, and nowhere without it. What they do is shown by the crash test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import structlog
from structlog.testing import CapturingLogger

from ordering.entrypoints.container import kill_points
from ordering.entrypoints.container.memory import memory
from ordering.entrypoints.kill_points import KillAt, KillPoint
from ordering.entrypoints.observe import ServiceObserver
from ordering.entrypoints.settings import Settings, load

OF_ORDER = {KillPoint.POLL_APPLY, KillPoint.APPLY_COMMIT, KillPoint.COMMIT_OFFSET, KillPoint.OFFSET_POLL}


@pytest.fixture
def said() -> CapturingLogger:
    """What the service logs."""
    return CapturingLogger()


@pytest.fixture
def observer(said: CapturingLogger) -> ServiceObserver:
    """An observer that logs there."""
    return ServiceObserver(structlog.wrap_logger(said, processors=[]))


def test_the_fourteen_of_them_are_described() -> None:
    """In CONTRIBUTING.md, where the refusal of an unknown name sends people."""
    contributing = (Path(__file__).parents[3] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z-]+)` \| (cart|order) \|", contributing, re.MULTILINE)

    assert len(rows) == 14
    assert rows == [(str(point), "order" if point in OF_ORDER else "cart") for point in KillPoint]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("before-begin", KillAt(KillPoint.BEFORE_BEGIN, 1)),
        ("between-poll-and-apply:20", KillAt(KillPoint.POLL_APPLY, 20)),
    ],
)
def test_a_kill_point_is_a_name_and_perhaps_a_number(given: str, meant: KillAt) -> None:
    """The n-th time that it is reached; the first one by default."""
    assert load({"ORDERING_KILL_AT": given}).settings.kill_at == meant


def test_an_unknown_name_is_refused_with_the_list_of_names() -> None:
    """Nothing is switched on by accident, and nothing is left off by a slip."""
    with pytest.raises(Exception, match="before-begun") as caught:
        load({"ORDERING_KILL_AT": "before-begun"})

    assert all(point in str(caught.value) for point in KillPoint)


def test_without_the_setting_every_port_is_the_adapter_itself(said: CapturingLogger, observer: ServiceObserver) -> None:
    """The normal path has nothing in it that could end it, or cost time."""
    cart, order = memory(Settings(), observer)
    before = cart.store(), cart.publisher(), order.views(), order.source()

    kill_points.arm(Settings(), observer, store=cart.store, publisher=cart.publisher)
    kill_points.arm(Settings(), observer, views=order.views, source=order.source)

    assert (cart.store(), cart.publisher(), order.views(), order.source()) == before
    assert said.calls == []


@pytest.mark.parametrize("point", KillPoint)
def test_a_point_changes_one_port_of_one_service_and_says_so(
    point: KillPoint, said: CapturingLogger, observer: ServiceObserver
) -> None:
    """In the process that does not have the point it means nothing."""
    settings = Settings(kill_at=KillAt(point))
    cart, order = memory(settings, observer)
    ports = (cart.store, cart.publisher), (order.views, order.source)
    before = [[port() for port in of_service] for of_service in ports]

    kill_points.arm(settings, observer, store=cart.store, publisher=cart.publisher)
    kill_points.arm(settings, observer, views=order.views, source=order.source)

    changed = [
        [port() is not was for port, was in zip(now, then, strict=True)]
        for now, then in zip(ports, before, strict=True)
    ]
    assert [any(of_service) for of_service in changed] == [point not in OF_ORDER, point in OF_ORDER]
    assert sum(map(sum, changed)) == 1
    assert [call.kwargs["event"] for call in said.calls] == ["kill_point.armed"]
