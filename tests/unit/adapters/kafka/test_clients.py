"""What the promises rest on in the configuration of every Kafka client, whatever the operator sets."""

import pytest

from ordering.adapters.kafka.connection import GroupProtocol, KafkaConnection
from ordering.application.failures import Refused

OPERATORS = {"security.protocol": "PLAINTEXT", "linger.ms": "5", "session.timeout.ms": "9000", "retries": "7"}


@pytest.mark.parametrize("options", [{}, OPERATORS])
def test_a_producer_waits_for_all(options: dict[str, str]) -> None:
    """An acknowledgement is the word of every replica in sync, and a repetition by the client is no duplicate."""
    config = KafkaConnection("127.0.0.1:1", options).producer(30.0)
    assert (config["acks"], config["enable.idempotence"]) == ("all", True)
    assert config["message.timeout.ms"] == 30_000
    assert config["allow.auto.create.topics"] is False


@pytest.mark.parametrize("options", [{}, OPERATORS])
@pytest.mark.parametrize("kind", ["classic", "consumer", "reader", "peek"])
def test_a_consumer_moves_no_position_by_itself(kind: str, options: dict[str, str]) -> None:
    """Positions come from our database: the client commits none, stores none, and resets none."""
    connection = KafkaConnection("127.0.0.1:1", options)
    if kind in ("reader", "peek"):
        config = connection.reader() if kind == "reader" else connection.peek()
    else:
        config = connection.member("group", GroupProtocol(kind), None)
    names = ("enable.auto.commit", "enable.auto.offset.store", "auto.offset.reset")
    assert [config[name] for name in names] == [False, False, "error"]


@pytest.mark.parametrize(("options", "session"), [({}, 6_000), (OPERATORS, 9_000)])
def test_a_dead_member_gives_its_partitions_back_after_a_session_that_is_the_operators(
    options: dict[str, str], session: int
) -> None:
    """As docs/operations.md says, "After a crash"; several heartbeats fit into one session."""
    config = KafkaConnection("127.0.0.1:1", options).member("group", GroupProtocol.CLASSIC, None)
    assert int(config["session.timeout.ms"]) == session
    assert int(config["heartbeat.interval.ms"]) * 3 < session


@pytest.mark.parametrize(
    "name",
    [
        "acks",
        "enable.idempotence",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "auto.offset.reset",
        "allow.auto.create.topics",
        "transactional.id",
        "request.required.acks",
        "auto.commit.enable",
    ],
)
def test_what_the_promises_rest_on_is_not_the_operators(name: str) -> None:
    """It is refused by its name: to ignore it silently would be worse."""
    with pytest.raises(Refused, match=f"the Kafka property {name} cannot be set"):
        KafkaConnection("127.0.0.1:1", {name: "1"})
