"""Why a service is not ready: a code for programs, a sentence for people."""

from enum import StrEnum

import attrs


class CauseCode(StrEnum):
    """Every cause a service can name. Codes are permanent; docs/operations.md says what to do about each."""

    STARTING = "starting"
    SHUTTING_DOWN = "shutting-down"
    # the cart service
    EVENTS_UNDELIVERABLE = "events-undeliverable"
    BACKLOG_FULL = "backlog-full"
    STORE_UNAVAILABLE = "store-unavailable"
    """Of the order service: its read model."""
    # the order service
    LOG_UNAVAILABLE = "log-unavailable"
    REGISTRY_UNAVAILABLE = "registry-unavailable"
    LOG_CHANGED = "log-changed"
    READ_MODEL_CONTENDED = "read-model-contended"
    PARTITIONS_MISSING = "partitions-missing"


@attrs.frozen
class Cause:
    """One cause. ``reason`` names what is wrong and, where there is one, the next step."""

    code: CauseCode
    reason: str
