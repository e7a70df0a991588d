"""Running services, made of their use cases and whatever mode the settings choose."""

import asyncio
import contextlib
from contextlib import AsyncExitStack

from ordering.application.failures import StoreUnavailable
from ordering.entrypoints.container import kill_points
from ordering.entrypoints.container.embedded import embedded_cart, embedded_order
from ordering.entrypoints.container.gauges import show_cart, show_order
from ordering.entrypoints.container.opening import Opening, extra
from ordering.entrypoints.container.parts import Cart, Order
from ordering.entrypoints.observe import ServiceObserver
from ordering.entrypoints.service import Service
from ordering.entrypoints.settings import Mode, Settings


def service(part: str, settings: Settings, observer: ServiceObserver) -> Service:
    """One service, not running yet. Raises one of REFUSALS, or StoreUnavailable."""
    exits = AsyncExitStack()
    if part == "cart":
        cart, opening = _cart(settings, observer, exits)
        kill_points.arm(settings, observer, store=cart.store, publisher=cart.publisher)
        return cart_service(cart, exits, opening)
    order, opening = _order(settings, observer, exits)
    kill_points.arm(settings, observer, views=order.views, source=order.source)
    return order_service(order, exits, opening)


def _cart(settings: Settings, observer: ServiceObserver, exits: AsyncExitStack) -> tuple[Cart, Opening]:
    if settings.effective_mode is not Mode.CLUSTER:
        return embedded_cart(settings, observer, exits), ()
    with extra("kafka"):
        from ordering.entrypoints.container import cluster  # noqa: PLC0415 -- its drivers are extras

    return cluster.cluster_cart(settings, observer, exits)


def _order(settings: Settings, observer: ServiceObserver, exits: AsyncExitStack) -> tuple[Order, Opening]:
    if settings.effective_mode is not Mode.CLUSTER:
        return embedded_order(settings, observer, exits), ()
    with extra("kafka"):
        from ordering.entrypoints.container import cluster  # noqa: PLC0415 -- its drivers are extras

    return cluster.cluster_order(settings, observer, exits)


def cart_service(cart: Cart, exits: AsyncExitStack, opening: Opening = ()) -> Service:
    """Committer, relay and trimmer beside the HTTP app; a stop stores what is queued and publishes what is stored."""
    commit, relay, store = cart.commit(), cart.relay(), cart.store()
    page = show_cart(cart)

    async def give_up_the_lease() -> None:
        await page.close()
        with contextlib.suppress(StoreUnavailable):  # it expires by itself
            await store.release()

    return Service(
        app=cart.admitted(),
        opening=opening,
        loops={"committer": commit.run, "relay": relay.run, "trimmer": cart.trimmer().run},
        finishing=frozenset({"committer"}),
        stop=commit.stop,
        drain=relay.drain,
        farewell=give_up_the_lease,
        exits=exits,
    )


def order_service(order: Order, exits: AsyncExitStack, opening: Opening = ()) -> Service:
    """The consumer beside the HTTP app. It may stop at any moment: rows and positions move together."""

    async def consume() -> None:
        await consumer.run()
        # Halted: the log is not the one this read model was filled from. What it has still answers, readiness says
        # why it goes no further, and only people can decide what to do.
        await asyncio.Event().wait()

    async def hear_of_others() -> None:
        await views.follow(waiters.notify)

    async def nothing_waits(_seconds: float) -> bool:
        return True

    page = show_order(order)
    consumer, views, waiters = order.consumer(), order.views(), order.waiters()
    return Service(
        app=order.admitted(),
        opening=opening,
        loops={"consumer": consume, "news": hear_of_others},
        finishing=frozenset(),
        stop=waiters.stop,
        drain=nothing_waits,
        farewell=page.close,
        exits=exits,
    )
