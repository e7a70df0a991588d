"""Members of the consumer group come, go, die, freeze and come back while clients work."""

from __future__ import annotations

import asyncio
import time

import attrs

from tests.e2e.crash_clients import Ledger
from tests.faults.cluster import PATIENCE, Instance
from tests.faults.load import Pulse, details, load, place, until_ready
from tests.faults.members import Members, Progress, Shares
from tests.faults.outcome import Limit, Outcome, none, worst
from tests.faults.parts import Parts, Trial
from tests.faults.topic import acknowledged
from tests.services.topics import Topics

PARTITIONS = 3
SESSION_SECONDS = 6.0
"""How long a dead member keeps its partitions; under the protocol of KIP-848 the broker of the tests says the same."""
STALL_SECONDS = 10.0
TAKEN_OVER_SECONDS = 11.0
"""The session, and one round of the group after it."""
UNDISTURBED_SECONDS = 3.0
"""How long the survivors' own partitions may stand still meanwhile."""
ANSWER_SECONDS = 2.0
LOST_SECONDS = 10.0
"""How long a frozen member is frozen: longer than its session."""


def churn(parts: Parts, *, protocol: str, changes: int, every: float, pause: float) -> Outcome:
    """One member of three leaves or joins cleanly every few seconds. ``protocol``: who assigns the partitions;
    ``pause``: how long a client rests at most, in seconds."""
    return asyncio.run(_churn(parts, protocol, changes, every, pause))


async def _churn(parts: Parts, protocol: str, changes: int, every: float, pause: float) -> Outcome:
    with parts.trial(f"group-churn-{protocol}", KAFKA_GROUP_PROTOCOL=protocol) as trial:
        cart, members = trial.cluster.cart(), Members(trial.cluster, 3)
        await members.start()
        await members.shared(PARTITIONS)
        statuses: list[int] = []
        async with Progress(trial.cluster) as progress, load(cart.url, trial.ledger, "C", pause=pause):
            began = time.monotonic()
            for change in range(changes):
                await asyncio.sleep(max(0.0, began + change * every - time.monotonic()))  # the rate of the churn
                member = members.all[change // 2 % len(members.all)]
                if member.process is None:
                    await members.start(member, wait=False)
                else:
                    statuses.append(await asyncio.to_thread(member.stop))
            await asyncio.sleep(max(0.0, began + changes * every - time.monotonic()))
            seconds, acknowledged = time.monotonic() - began, trial.ledger.acknowledged
        findings = await trial.settled()
        reassigned = sum(member.said('"consumer.assigned"') for member in members.all)
        return Outcome(
            f"{protocol}: {changes} clean changes, one every {every:g} s, at {acknowledged / seconds:.0f} events/s: "
            f"{trial.counts()}, {reassigned} assignments, stalls {_told(progress.stalls)}",
            findings,
            (
                Limit("longest stall of a partition", progress.longest(), STALL_SECONDS),
                none("positions that went back", len(progress.back)),
                none("stops that were not clean", sum(status != 0 for status in statuses)),
            ),
        )


@attrs.define
class _Measured:
    """Of all rounds: seconds the victim's partitions stood still, the survivors' ones, and the slowest answer."""

    taken_over: list[float] = attrs.Factory(list)
    undisturbed: list[float] = attrs.Factory(list)
    slowest: list[float] = attrs.Factory(list)

    def limits(self) -> tuple[Limit, ...]:
        return (
            worst("its partitions stood still", self.taken_over, TAKEN_OVER_SECONDS),
            worst("the survivors' own partitions stood still", self.undisturbed, UNDISTURBED_SECONDS),
            worst("slowest answer of a survivor", self.slowest, ANSWER_SECONDS),
        )

    async def takeover(self, members: Members, progress: Progress, victim: Instance, shares: Shares) -> None:
        """Called when the victim reads no more: returns when all its partitions move again."""
        survivor = next(member for member in members.all if member.process is not None and member is not victim)
        lost = shares[victim.name]
        async with Pulse(survivor, "/api/order-details?orderId=first") as pulse:
            await progress.moved(lost, dict(progress.at))
            await members.shared(PARTITIONS, lambda now: {name: now[name] for name in now if name != victim.name})
            beyond = dict(progress.at)
            await progress.moved(lost, beyond)
        self.taken_over.append(max(progress.stalls.get(partition, 0.0) for partition in lost))
        self.undisturbed.append(
            max((stall for partition, stall in progress.stalls.items() if partition not in lost), default=0.0)
        )
        self.slowest.append(pulse.slowest)


def member_killed(parts: Parts, *, rounds: int) -> Outcome:
    """kill -9 of one member of three under load, and its return, several times."""
    return asyncio.run(_member_killed(parts, rounds))


async def _member_killed(parts: Parts, rounds: int) -> Outcome:
    with parts.trial("group-member-killed") as trial:
        members, measured = await _three(trial), _Measured()
        cart = trial.cluster.cart()
        await _first(cart, members, trial.ledger)
        async with Progress(trial.cluster) as progress, load(cart.url, trial.ledger, "K"):
            for number in range(rounds):
                shares = await members.shared(PARTITIONS)
                victim = members.all[number % len(members.all)]
                await progress.moved(shares[victim.name], dict(progress.at))  # it is at work
                progress.forget()
                await asyncio.to_thread(victim.kill)
                await measured.takeover(members, progress, victim, shares)
                await members.start(victim)
            await members.shared(PARTITIONS)
        return Outcome(
            f"{rounds} members killed: {trial.counts()}",
            await trial.settled(),
            (*measured.limits(), none("positions that went back", len(progress.back))),
        )


def member_frozen(parts: Parts, *, rounds: int) -> Outcome:
    """SIGSTOP of one member of three under load for longer than its session, then SIGCONT, several times."""
    return asyncio.run(_member_frozen(parts, rounds))


async def _member_frozen(parts: Parts, rounds: int) -> Outcome:
    with parts.trial("group-member-frozen") as trial:
        members, measured = await _three(trial), _Measured()
        cart = trial.cluster.cart()
        await _first(cart, members, trial.ledger)
        returned: list[float] = []
        async with Progress(trial.cluster) as progress, load(cart.url, trial.ledger, "Z"):
            for number in range(rounds):
                shares = await members.shared(PARTITIONS)
                zombie = members.all[number % len(members.all)]
                await progress.moved(shares[zombie.name], dict(progress.at))  # it is at work
                progress.forget()
                frozen = time.monotonic()
                zombie.pause()
                await measured.takeover(members, progress, zombie, shares)
                await asyncio.sleep(max(0.0, frozen + LOST_SECONDS - time.monotonic()))  # the scenario's input
                heard, resumed = len(members.news(zombie)), time.monotonic()
                zombie.resume()
                await _lets_go(members, zombie, heard)
                await members.shared(PARTITIONS)
                returned.append(await until_ready(zombie, resumed))
        return Outcome(
            f"{rounds} members frozen for {LOST_SECONDS:g} s each: {trial.counts()}",
            await trial.settled(),
            (
                *measured.limits(),
                worst("a member of the group again", returned, SESSION_SECONDS),
                none("positions that went back", len(progress.back)),
            ),
        )


async def _lets_go(members: Members, member: Instance, heard: int) -> None:
    """Wait until it says that what it read has changed."""
    deadline = time.monotonic() + PATIENCE
    while len(members.news(member)) == heard:
        assert time.monotonic() < deadline, f"{member.name} does not notice that it lost its partitions"
        await asyncio.sleep(0.05)


def static_member(parts: Parts, *, rounds: int, session: float, protocol: str) -> Outcome:
    """A member with a name of its own is restarted within its session, several times: cleanly, and under the classic
    protocol every other time by kill -9."""
    return asyncio.run(_static_member(parts, rounds, session, protocol))


async def _static_member(parts: Parts, rounds: int, session: float, protocol: str) -> Outcome:
    settings = {"KAFKA_GROUP_PROTOCOL": protocol, "KAFKA_CONFIG_SESSION_TIMEOUT_MS": str(round(session * 1_000))}
    with parts.trial("group-static-member", **settings) as trial:
        if protocol == "consumer":  # there the session is the broker's to set, and the part has a short one
            Topics(trial.cluster.bootstrap).set_session(f"{trial.cluster.topic}-group", session)
        cart, members = trial.cluster.cart(), await _named(trial)
        moved, away = 0, []
        restarted, other = members.all
        async with Progress(trial.cluster) as progress, load(cart.url, trial.ledger, "S"):
            shares = await members.shared(PARTITIONS)
            for number in range(rounds):
                heard, stopped, at = len(members.news(other)), time.monotonic(), dict(progress.at)
                kills = number % 2 and protocol == "classic"
                await asyncio.to_thread(restarted.kill if kills else restarted.stop)
                await members.start(restarted)
                again = await members.shared(PARTITIONS)
                await progress.moved(shares[restarted.name], at)
                away.append(time.monotonic() - stopped)
                moved += again != shares
                moved += len(members.news(other)) - heard
        return Outcome(
            f"{protocol}: {rounds} restarts of a static member: {trial.counts()}",
            await trial.settled(),
            (
                none("partitions that moved", moved),
                worst("from its stop until it reads again", away, session),
                none("positions that went back", len(progress.back)),
            ),
        )


def static_member_crashed(parts: Parts, *, rounds: int) -> Outcome:
    """kill -9 of a static member under the protocol of KIP-848: the broker refuses its name until its session ends."""
    return asyncio.run(_static_member_crashed(parts, rounds))


async def _static_member_crashed(parts: Parts, rounds: int) -> Outcome:
    with parts.trial("group-static-member-crashed", KAFKA_GROUP_PROTOCOL="consumer") as trial:
        cart, members = trial.cluster.cart(), await _named(trial)
        back = []
        async with Progress(trial.cluster) as progress, load(cart.url, trial.ledger, "X"):
            for _ in range(rounds):
                await members.shared(PARTITIONS)
                killed = time.monotonic()
                await asyncio.to_thread(members.all[0].kill)
                await members.start(members.all[0], wait=False)
                await members.shared(PARTITIONS)
                back.append(await until_ready(members.all[0], killed))
        return Outcome(
            f"{rounds} static members killed: {trial.counts()}",
            await trial.settled(),
            (
                worst("a member of the group again", back, TAKEN_OVER_SECONDS),
                none("positions that went back", len(progress.back)),
            ),
        )


async def _named(trial: Trial) -> Members:
    members = Members(trial.cluster, 2, lambda number: {"KAFKA_GROUP_INSTANCE_ID": f"member-{number}"})
    await members.start()
    await members.shared(PARTITIONS)
    return members


def offsets_moved(parts: Parts, *, events: int) -> Outcome:
    """The positions that the broker keeps are set to the end, then to the beginning, while the only member is away
    and events come in: they are for the broker's tools alone."""
    return asyncio.run(_offsets_moved(parts, events))


async def _offsets_moved(parts: Parts, events: int) -> Outcome:
    with parts.trial("group-offsets-moved") as trial:
        cart, order = trial.cluster.cart(), trial.cluster.order()
        topics, topic, group = Topics(trial.cluster.bootstrap), trial.cluster.topic, f"{trial.cluster.topic}-group"
        async with Progress(trial.cluster) as progress:
            async with load(cart.url, trial.ledger, "O"):
                await acknowledged(trial, events)
            findings = await trial.settled()
            for to_the_end in (True, False):
                await asyncio.to_thread(order.stop)
                async with load(cart.url, trial.ledger, f"O{to_the_end}"):
                    await acknowledged(trial, events)
                ends = progress.ends if to_the_end else dict.fromkeys(progress.ends, 0)
                await asyncio.to_thread(topics.move, group, topic, ends)
                await asyncio.to_thread(order.start)
                findings = await trial.settled()
                if not findings.all_zero:  # what is missing now may come back with the next change
                    break
        return Outcome(
            f"the broker's positions set to the end and to the beginning, {events} events waiting: {trial.counts()}",
            findings,
            (none("positions that went back", len(progress.back)),),
        )


async def _three(trial: Trial) -> Members:
    members = Members(trial.cluster, 3)
    await members.start()
    await members.shared(PARTITIONS)
    return members


async def _first(cart: Instance, members: Members, ledger: Ledger) -> None:
    """An order that readers can ask for all the time."""
    assert await place(cart, ledger, "first") == 201
    assert (await details(members.all[0], "first")).status_code == 200


def _told(stalls: dict[int, float]) -> str:
    return "/".join(f"{stalls[partition]:.1f}" for partition in sorted(stalls)) + " s"
