"""``ordering topics``: the topic that the events of the cluster mode go through."""

import asyncio
import os

from ordering.application.failures import BrokerUnavailable
from ordering.entrypoints import container
from ordering.entrypoints.process import StartupError
from ordering.entrypoints.settings import Mode, load


def ensure(*, dry_run: bool, grow: bool) -> int:
    """Make or adjust the topic, and print each step; 1 if something differs that only people can change."""
    settings = load(os.environ).settings
    if settings.effective_mode is Mode.EMBEDDED:
        print("the embedded log is made by the cart service at its first start: there is nothing to ensure")
        return 0
    try:
        plan = asyncio.run(container.ensure_topic(settings, dry_run=dry_run, grow=grow))
    except BrokerUnavailable as error:
        raise StartupError(error.reason) from None
    except container.REFUSALS as error:
        raise StartupError(str(error)) from None
    for change in plan.changes:
        print(f"{'done' if plan.carried_out else 'would be done'}  {change}")
    for difference in plan.differences:
        print(f"differs  topic {plan.topic}: {difference}")
    if not plan.changes and not plan.differences:
        print(f"topic {plan.topic} is as it has to be")
    return 1 if plan.differences else 0
