"""The machine itself: its clocks, asyncio's scheduling, and new ids."""

from ordering.adapters.system.runtime import SystemRuntime

__all__ = ["SystemRuntime"]
