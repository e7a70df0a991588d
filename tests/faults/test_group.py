"""The consumer group and its topic under faults, in the small size, with more time than ``make faults`` gives."""

from __future__ import annotations

import pytest

from tests.faults.outcome import SLACK
from tests.faults.parts import Parts
from tests.faults.scenarios import run

pytestmark = [pytest.mark.process, pytest.mark.slow]


def _holds(name: str, parts: Parts) -> None:
    outcome = run(name, parts, "small")
    assert not outcome.broken(SLACK), outcome.report()


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_members_come_and_go_cleanly_without_a_long_stall(parts: Parts, protocol: str) -> None:
    """Five zeros under either group protocol, and no position ever goes back."""
    _holds(f"group-churn-{protocol}", parts)


def test_a_killed_members_partitions_move_after_its_session(parts: Parts) -> None:
    """The survivors go on with theirs, and answer, meanwhile."""
    _holds("group-member-killed", parts)


def test_a_member_that_was_frozen_applies_nothing_twice(parts: Parts) -> None:
    """It comes back with records that others have applied, lets go of its partitions and is a member again."""
    _holds("group-member-frozen", parts)


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_restart_of_a_static_member_moves_nothing(parts: Parts, protocol: str) -> None:
    """Within its session it has the partitions it had, and the other member hears of nothing."""
    _holds(f"group-static-member-{protocol}", parts)


def test_a_static_member_that_crashed_comes_back_by_itself(parts: Parts) -> None:
    """Under the protocol of KIP-848 the broker refuses its name at first, and its client gives up for good."""
    _holds("group-static-member-crashed", parts)


def test_the_brokers_own_positions_mean_nothing(parts: Parts) -> None:
    """Whatever a tool sets them to: nothing is skipped, nothing applied twice."""
    _holds("group-offsets-moved", parts)


def test_a_topic_that_grows_is_warned_of_and_read(parts: Parts) -> None:
    """Keys stay in the partitions they were in, also after the cart service's restart."""
    _holds("topic-grown", parts)


def test_a_topic_that_was_made_anew_stops_its_consumer_with_an_alarm(parts: Parts) -> None:
    """Also after a restart; nothing is reset, nothing of the new topic is applied, the rows it had still answer."""
    _holds("topic-recreated", parts)


def test_another_cluster_is_refused_with_an_alarm(parts: Parts) -> None:
    """And its own cluster is taken up again as if nothing had been."""
    _holds("topic-elsewhere", parts)


def test_lost_history_stops_its_consumer_with_an_alarm(parts: Parts) -> None:
    """The record after the stored position is gone: going on would be a silent gap."""
    _holds("topic-trimmed", parts)


def test_any_instance_shows_what_was_just_written(parts: Parts) -> None:
    """Also one that does not read the order's partition; and each lists all ids."""
    _holds("group-read-elsewhere", parts)


def test_a_read_model_in_a_file_must_read_every_partition(parts: Parts) -> None:
    """Two of them in a group are both not ready, with the reason; the one that stays has everything."""
    _holds("group-of-files", parts)
