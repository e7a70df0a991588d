"""How the generic machinery can fail. Knows no business: codes are text here, out of the domain's closed list.

A NotStored error is the machinery's word that an attempt left nothing behind; OutcomeUnknown that nobody can tell.
"""


class Failure(Exception):
    """Base of what a caller of the machinery may be told. ``code`` is for programs, ``str(error)`` for people."""

    code: str = "internal-error"


class NotStored(Failure):
    """This attempt provably stored nothing; repeating it later is safe. The only family that becomes a 503."""


class BrokerUnavailable(NotStored):
    """Events cannot be delivered, so new changes are refused (or the log cannot be asked)."""

    code = "broker-unavailable"

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"Events cannot be delivered at the moment: {reason}")


class RegistryUnavailable(BrokerUnavailable):
    """The schema registry cannot be asked."""


class StoreUnavailable(NotStored):
    """The store took nothing of this attempt (busy, full, closed)."""

    code = "store-unavailable"

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"The store cannot take changes at the moment: {reason}")


class Overloaded(NotStored):
    """More work is waiting than is allowed to wait; this request was not admitted or was withdrawn in time."""

    code = "overloaded"

    def __init__(self, reason: str) -> None:
        super().__init__(f"Too much work is waiting: {reason}")


class ShuttingDown(NotStored):
    """The service is stopping and takes nothing new."""

    code = "shutting-down"

    def __init__(self) -> None:
        super().__init__("The service is shutting down")


class OutcomeUnknown(Failure):
    """Nobody can tell whether this attempt was stored. Never a 503; repeating the same request is safe."""

    code = "outcome-unknown"

    def __init__(self) -> None:
        super().__init__("It is unknown whether this request was stored; repeat it with the same orderId to find out")


class Refused(Exception):
    """The program must not start with what it was pointed at (somebody else's file, a schema it does not know, a server
    that does not keep what it acknowledges). One line, made for people, that says what to do."""


class WriteRejected(Exception):
    """A batch was rolled back, definitely, because of something in it: the rest may succeed without it."""


class CommitAmbiguous(Exception):
    """The connection or the disk failed while committing: the batch is stored or not, and only asking again tells."""


class StalePosition(Exception):
    """A projection transaction lost its compare-and-set: somebody else moved a position or a row. Nothing stored."""


class LogChanged(Exception):
    """The log is not the one these positions belong to (other cluster, recreated topic, history lost)."""
