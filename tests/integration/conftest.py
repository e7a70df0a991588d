"""The real parts that tests of this folder share."""

from tests.services.registries import registry

__all__ = ["registry"]
