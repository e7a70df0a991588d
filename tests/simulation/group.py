"""The consumer group: who reads which partition, as its coordinator sees it; a member may be the last one to know."""

import random
from collections.abc import Callable

from tests.simulation.broker import SimLog
from tests.unit.application.runtime import VirtualRuntime


class Member:
    """One reader as the coordinator knows it. ``owned`` is what it was told, ``mine`` what it shall have."""

    def __init__(self, lives: Callable[[], bool]) -> None:
        self.lives = lives
        """Whether its heart beats: the process runs, whatever it is busy with."""
        self.owned: dict[int, None] = {}
        self.mine: dict[int, None] = {}
        self.heard_at = 0.0
        self.deaf_until = 0.0
        """Until then it goes on with what it owned, whatever the coordinator decided meanwhile."""
        self.must_let_go = False


class Group:
    """Partitions move when members come, go, fall silent, or just so; eagerly (everybody lets go of everything first)
    or cooperatively (only what moves is let go of)."""

    def __init__(self, log: SimLog, runtime: VirtualRuntime, rng: random.Random, saw: Callable[[str], None]) -> None:
        self._log, self._runtime, self._rng, self._saw = log, runtime, rng, saw
        self._eager = rng.random() < 0.5
        self._session = rng.choice((0.5, 3.0))
        self._members: dict[Member, None] = {}
        self._partitions = 0

    def heard(self, member: Member) -> None:
        """A member shows that it lives; whoever has not for a session is out."""
        member.heard_at = self._runtime.monotonic()
        self._expire()
        if member not in self._members:
            self._members[member] = None
            self.rebalance()
        elif self._partitions != len(self._log.partitions):
            self.rebalance()

    def leave(self, member: Member) -> None:
        """It says goodbye."""
        if member in self._members:
            del self._members[member]
            self.rebalance()

    def refresh(self) -> None:
        """A coordinator that comes back counts everybody's silence anew."""
        for member in self._members:
            member.heard_at = self._runtime.monotonic()

    def rebalance(self) -> None:
        """Give every partition to a member; who gets which changes each time."""
        self._partitions = len(self._log.partitions)
        members = list(self._members)
        for member in members:
            member.mine = {}
            member.must_let_go = self._eager
        if not members:
            return
        self._saw("group.eager" if self._eager else "group.cooperative")
        turn = self._rng.randrange(len(members))
        for partition in range(self._partitions):
            members[(turn + partition) % len(members)].mine[partition] = None
        self._log.wake()

    def to_revoke(self, member: Member) -> list[int]:
        """What this member has to let go of now."""
        if member not in self._members or (member.must_let_go and member.owned):
            return list(member.owned)
        return [partition for partition in member.owned if partition not in member.mine]

    def to_assign(self, member: Member) -> list[int]:
        """What this member may have now: nobody who is in the group still owns it."""
        member.must_let_go = False
        if member not in self._members:
            return []
        taken = {partition for other in self._members if other is not member for partition in other.owned}
        return [partition for partition in member.mine if partition not in member.owned and partition not in taken]

    def knows(self, member: Member) -> bool:
        """Whether it is still in the group."""
        return member in self._members

    def _expire(self) -> None:
        if self._log.down is not None:
            return
        now = self._runtime.monotonic()
        silent = []
        for member in self._members:
            if member.lives():
                member.heard_at = now
            elif member.heard_at + self._session < now:
                silent.append(member)
        for member in silent:
            self._saw("group.member_expired")
            del self._members[member]
        if silent:
            self.rebalance()
