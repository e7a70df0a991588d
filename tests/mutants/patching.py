"""A broken build: production code with named places of it replaced, in the process that looks for the difference."""

import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import attrs

Sound = Any
"""What stands at a place of the production code: a function, a property, a constant."""

Break = Callable[[Sound], Sound]
"""Given what is there, what the broken build has there instead."""


@attrs.frozen
class Mutant:
    """A broken build. ``hazards`` are those of ``hazards.py`` (none: it breaks a promise of another kind).

    ``places`` are written ``module:name`` or ``module:Class.name``. Whoever looks for the difference is named by
    ``tests``, ids of pytest; if there are none, it is the simulation. ``patience``: seconds, for tests that wait for
    something that a broken build never does (their ``PATIENCE``). ``slow``: needs servers, many seeds, or a while.
    ``harmless``: why nobody will ever notice, for a build that only looks broken.
    """

    name: str
    hazards: tuple[str, ...]
    breaks: str
    places: Mapping[str, Break]
    tests: tuple[str, ...] = ()
    patience: float | None = None
    slow: bool = False
    harmless: str | None = None

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Production code is this broken build within the block."""
        with ExitStack() as stack:
            for place, broken in self.places.items():
                stack.enter_context(_replaced(place, broken))
            for module in {test.partition("::")[0] for test in self.tests if self.patience is not None}:
                place = module.removesuffix(".py").replace("/", ".") + ":PATIENCE"
                stack.enter_context(_replaced(place, lambda _: self.patience))
            yield


MUTANTS: Final[dict[str, Mutant]] = {}
"""All of them by name, in the order of the modules that ``table.py`` imports."""


def mutant(
    name: str,
    *hazards: str,
    at: str | tuple[str, ...],
    by: str | tuple[str, ...] = (),
    also: Mapping[str, Break] | None = None,
    patience: float | None = None,
    slow: bool = False,
    harmless: str | None = None,
) -> Callable[[Break], Break]:
    """Enter a broken build into the table: the decorated function makes what stands ``at`` the places; its docstring
    says in one line what the build does wrong. ``also``: other places and what makes those."""

    def enter(broken: Break) -> Break:
        assert name not in MUTANTS, name
        places = dict.fromkeys((at,) if isinstance(at, str) else at, broken) | dict(also or {})
        tests = (by,) if isinstance(by, str) else by
        MUTANTS[name] = Mutant(name, hazards, inspect.getdoc(broken) or "", places, tests, patience, slow, harmless)
        return broken

    return enter


def found_at(place: str) -> tuple[Any, str, Sound]:
    """Owner, name and what is there now (as it stands in the owner). Raises AttributeError, ModuleNotFoundError."""
    module, _, path = place.partition(":")
    owner: Any = importlib.import_module(module)
    *classes, name = path.split(".")
    for each in classes:
        owner = getattr(owner, each)
    return owner, name, inspect.getattr_static(owner, name)


@contextmanager
def _replaced(place: str, broken: Break) -> Iterator[None]:
    owner, name, sound = found_at(place)
    wrap = type(sound) if isinstance(sound, staticmethod | classmethod) else None
    inherited = name not in vars(owner)
    setattr(owner, name, broken(sound) if wrap is None else wrap(broken(sound.__func__)))
    try:
        yield
    finally:
        if inherited:
            delattr(owner, name)
        else:
            setattr(owner, name, sound)
