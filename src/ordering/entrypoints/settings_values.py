"""How settings become values: kinds, sources, masking, and faults that name the setting, its value and its source."""

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from math import isfinite
from pathlib import Path
from typing import Any, Generic, TypeVar

import attrs

S = TypeVar("S")

ENVIRONMENT = "environment"
DEFAULT = "default"
PREFIX = "ORDERING_"


@attrs.frozen
class Kind:
    """A type of setting: what it is called, and how text becomes its value (ValueError: the rule it breaks)."""

    label: str
    parse: Callable[[str], object]


class Secret(StrEnum):
    """What of a setting's value people must not see."""

    NOTHING = "nothing"
    CREDENTIALS = "credentials"
    """Those inside of a URL, or under a name that says so."""
    ALL = "all"


@attrs.frozen
class Option:
    """One row of the settings table. A name that ends in ``*`` stands for all names that begin like it: the value is
    then what stands behind the prefix, mapped to the variable's value."""

    name: str
    kind: Kind
    default: object
    meaning: str
    secret: Secret = Secret.NOTHING

    @property
    def prefix(self) -> str | None:
        """What names of this option begin with, if it is one for many names."""
        return self.name[:-1] if self.name.endswith("*") else None

    def shown(self, value: object) -> str:
        """The value as people may see it; absent is the empty text."""
        if isinstance(value, Mapping) and self.secret is not Secret.NOTHING:
            return "&".join(f"{name}={_guarded(name, _plain(inner))}" for name, inner in value.items())
        text = _plain(value)
        match self.secret:
            case Secret.ALL:
                return "***" if text else ""
            case Secret.CREDENTIALS:
                return mask(text)
            case Secret.NOTHING:
                return text


def _plain(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(value)
    if isinstance(value, Mapping):
        return "&".join(f"{name}={_plain(inner)}" for name, inner in value.items())
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.15g}"
    return "" if value is None else str(value)


@attrs.frozen
class Fault:
    """One thing wrong with the settings. ``value`` is masked already."""

    name: str
    value: str
    source: str
    message: str

    def __str__(self) -> str:
        value = self.value if len(self.value) <= 60 else f"{self.value[:57]}..."
        return f"{self.name}={value!r} ({self.source}): {self.message}"


class SettingsError(Exception):
    """The settings cannot be used; ``faults`` lists everything that is wrong."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


@attrs.frozen
class Loaded(Generic[S]):
    """Settings, and where each attribute's value came from."""

    settings: S
    sources: Mapping[str, str]


def mask(value: object) -> str:
    """A URL without its credentials: whatever stands before the last @, and secrets in its query (or in properties
    written like one)."""
    bare = re.sub(r"(?s)(://|\A(?![A-Za-z][A-Za-z0-9+.-]*://)).*@", r"\1***@", str(value))
    return re.sub(r"(?i)((?:\A|[?&])[^=&]*(?:password|secret|token|jaas|\.pem)[^=&]*=)[^&]*", r"\1***", bare)


_OF_SECRETS = re.compile(r"PASS|PWD|SECRET|TOKEN|JAAS|PEM|CREDENTIAL|OAUTHBEARER_CONFIG|KEY(?!\w*_LOCATION)")


def _guarded(name: str, value: str) -> str:
    """What people may see of a value under a name that is no setting of ours, but may be one of a secret."""
    return "***" if _OF_SECRETS.search(name) else mask(value)


# ---------------------------------------------------------------------------------------------- kinds


def text(pattern: str = r"\S(?:.*\S)?", rule: str = "must not begin or end with a space") -> Kind:
    """Text that matches a pattern as a whole."""

    def parse(raw: str) -> str:
        if not re.fullmatch(pattern, raw):
            raise ValueError(rule)
        return raw

    return Kind("text", parse)


def flag() -> Kind:
    """Yes or no, as people write it."""
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}

    def parse(raw: str) -> bool:
        if raw.lower() not in words:
            raise ValueError("must be true or false")
        return words[raw.lower()]

    return Kind("`true` or `false`", parse)


def text_list() -> Kind:
    """Texts separated by commas."""
    return Kind("list", lambda raw: tuple(part.strip() for part in raw.split(",") if part.strip()))


def choice(values: type[StrEnum]) -> Kind:
    """One of a closed set."""

    def parse(raw: str) -> StrEnum:
        try:
            return values(raw)
        except ValueError:
            raise ValueError("must be one of " + ", ".join(values)) from None

    return Kind(" or ".join(f"`{value}`" for value in values), parse)


def whole(least: int, most: int) -> Kind:
    """A whole number between bounds."""
    rule = f"must be a whole number from {least} to {most}"

    def parse(raw: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,20}", raw) or not least <= int(raw) <= most:
            raise ValueError(rule)
        return int(raw)

    return Kind("integer", parse)


def port() -> Kind:
    """A TCP port; 0 lets the system choose one."""
    return attrs.evolve(whole(0, 65_535), label="port")


def real(least: float, most: float) -> Kind:
    """A finite number between bounds."""

    def parse(raw: str) -> float:
        value = float(_decimal(raw, least, most))
        if not isfinite(value):
            raise ValueError(f"must be a number from {least} to {most}")
        return value

    return Kind("number", parse)


def decimal(least: float, most: float) -> Kind:
    """An exact decimal number between bounds."""
    return Kind("decimal", lambda raw: _decimal(raw, least, most))


def _decimal(raw: str, least: float, most: float) -> Decimal:
    rule = f"must be a number from {least} to {most}"
    if len(raw) > 40:
        raise ValueError(rule)
    try:
        value = Decimal(raw)
    except InvalidOperation:
        raise ValueError(rule) from None
    if not value.is_finite() or not Decimal(str(least)) <= value <= Decimal(str(most)):  # 0.1 is 0.1 and no float
        raise ValueError(rule)
    return value


# ---------------------------------------------------------------------------------------------- sources


def read(
    options: Mapping[str, Option], environ: Mapping[str, str], *, config: str
) -> tuple[dict[str, Any], dict[str, str], list[Fault]]:
    """Values and sources per attribute, and everything wrong with them.

    The environment wins over the file named by the variable ``config``. An empty variable counts as absent. A value
    at fault is left out, so that its default takes its place in further checks.
    """
    file, faults = _file(environ.get(config, ""), config)
    path = environ.get(config, "")
    names = {option.name for option in options.values()}
    faults += _unknown(environ, names | {config}, ENVIRONMENT, only_prefixed=True)
    faults += _unknown(file, names, path, only_prefixed=False)
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for attribute, option in options.items():
        if option.prefix is not None:
            values[attribute], sources[attribute] = _family(option.prefix, environ, file, path)
            continue
        raw, source = _raw(option.name, environ, file, path)
        sources[attribute] = source
        if raw is None:
            continue
        try:
            raw.encode()
            values[attribute] = option.kind.parse(raw)
        except UnicodeEncodeError:
            faults.append(Fault(option.name, option.shown(raw), source, "must be UTF-8"))
        except ValueError as error:
            faults.append(Fault(option.name, option.shown(raw), source, str(error)))
    return values, sources, faults


def _raw(name: str, environ: Mapping[str, str], file: Mapping[str, str], path: str) -> tuple[str | None, str]:
    if environ.get(name):
        return environ[name], ENVIRONMENT
    if name in file:
        return file[name], path
    return None, DEFAULT


def _family(prefix: str, environ: Mapping[str, str], file: Mapping[str, str], path: str) -> tuple[dict[str, str], str]:
    """Every setting whose name begins so, under the rest of its name."""
    found: dict[str, str] = {}
    sources = []
    for given, source in ((file, path), (environ, ENVIRONMENT)):
        ours = {name.removeprefix(prefix): value for name, value in given.items() if name.startswith(prefix) and value}
        found |= ours
        sources += [source] if ours else []
    return found, " and ".join(sources) or DEFAULT


def _file(path: str, config: str) -> tuple[dict[str, str], list[Fault]]:
    """The TOML file's texts by setting name (names are the environment's, in any case)."""
    if not path:
        return {}, []
    import tomllib  # noqa: PLC0415 -- only those who use a file pay for it

    try:
        content = tomllib.loads(Path(path).read_text("utf-8"), parse_float=Decimal)
    except OSError as error:
        return {}, [Fault(config, path, ENVIRONMENT, f"cannot be read: {error.strerror}")]
    except ValueError as error:
        return {}, [Fault(config, path, ENVIRONMENT, f"is not TOML: {error}")]
    texts: dict[str, str] = {}
    faults = []
    for key, value in content.items():
        try:
            texts[key.upper()] = _as_text(value)
        except TypeError as error:
            faults.append(Fault(key.upper(), type(value).__name__, path, str(error)))
    return texts, faults


def _as_text(value: object) -> str:
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return ",".join(value)
    if isinstance(value, (str, int, Decimal)):
        return str(value).lower() if isinstance(value, bool) else str(value)
    raise TypeError("must be text, a number, true, false or a list of texts")


def _unknown(given: Mapping[str, str], known: set[str], source: str, *, only_prefixed: bool) -> list[Fault]:
    """Names nobody knows: in the environment only ours are judged, in our own file all of them."""
    prefixes = tuple(name[:-1] for name in known if name.endswith("*"))
    strange = sorted(
        name
        for name in given
        if name not in known and not name.startswith(prefixes) and (name.startswith(PREFIX) or not only_prefixed)
    )
    return [Fault(name, _guarded(name, given[name]), source, _advice(name, known)) for name in strange]


def _advice(name: str, known: set[str]) -> str:
    bare = name.removeprefix(PREFIX)
    if bare in known:
        return f"is no setting; did you mean {bare}?"
    import difflib  # noqa: PLC0415 -- only needed when something is wrong

    close = difflib.get_close_matches(name, known, n=1) or difflib.get_close_matches(bare, known, n=1)
    return f"is no setting; did you mean {close[0]}?" if close else "is no setting; `ordering config show` lists all"
