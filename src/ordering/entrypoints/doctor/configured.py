"""The settings as a whole: what is misspelt, contradictory or unwise."""

import difflib
from collections.abc import Iterator, Mapping, Sequence

from ordering.application.outage_gate import OutagePolicy
from ordering.entrypoints.doctor.findings import Finding, Level
from ordering.entrypoints.settings import CONFIG, OPTIONS, Mode, Settings, both_ports, load
from ordering.entrypoints.settings_cluster import SecurityProtocol
from ordering.entrypoints.settings_values import DEFAULT, PREFIX, Loaded, SettingsError

CHECK = "settings"
ALIKE = 0.85
"""How much a name must be like a setting's to be taken for a slip (0 to 1, difflib's measure)."""

_HERE = frozenset({"127.0.0.1", "::1", "localhost"})
_BACKLOG = ("backlog_rows", "backlog_seconds", "backlog_free_mib")


def settings_of(environ: Mapping[str, str]) -> tuple[Settings | None, Sequence[Finding]]:
    """The settings (None: they cannot be used) and what is to be said about them."""
    try:
        loaded = load(environ)
    except SettingsError as error:
        hint = "`ordering config show` lists every setting; nothing else can be looked at before these can be used"
        return None, [Finding(Level.FAIL, CHECK, str(fault), hint) for fault in error.faults]
    found = [*_slips(environ), *_contradictions(loaded), *_unwise(loaded.settings)]
    if not found:
        chosen = sum(source != DEFAULT for source in loaded.sources.values())
        mode = loaded.settings.effective_mode
        found = [Finding(Level.OK, CHECK, f"{mode} mode, {chosen} of {len(OPTIONS)} settings chosen")]
    return loaded.settings, found


def _slips(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Names that are almost ours. Those with our own prefix are refused at every start already."""
    known = {option.name for option in OPTIONS.values() if option.prefix is None} | {CONFIG}
    families = tuple(option.prefix for option in OPTIONS.values() if option.prefix is not None)
    for name in sorted(environ):
        if name in known or name.startswith((PREFIX, *families)):
            continue
        close = difflib.get_close_matches(name, known, n=1, cutoff=ALIKE)
        if close:
            yield Finding(Level.WARN, CHECK, f"{name} is no setting of ours", f"did you mean {close[0]}?")


def _contradictions(loaded: Loaded[Settings]) -> Iterator[Finding]:
    """What is set and has no effect, or cannot be meant."""
    settings, sources = loaded.settings, loaded.sources
    try:
        both_ports(loaded)
    except SettingsError as error:
        for fault in error.faults:
            yield Finding(Level.WARN, CHECK, str(fault), "`ordering serve all` refuses this; one service alone runs")
    if settings.effective_mode is Mode.EMBEDDED:
        for name in ("kafka_bootstrap_servers", "schema_registry_url"):
            if sources[name] != DEFAULT:
                hint = "ORDERING_MODE=cluster takes it; or leave it out"
                yield Finding(Level.WARN, CHECK, f"{OPTIONS[name].name} is set, and the mode is embedded", hint)
    if settings.broker_outage is OutagePolicy.REJECT:
        for name in _BACKLOG:
            if sources[name] != DEFAULT:
                hint = "BROKER_OUTAGE=accept takes changes up to it"
                yield Finding(Level.WARN, CHECK, f"{OPTIONS[name].name} means nothing with BROKER_OUTAGE=reject", hint)


def _unwise(settings: Settings) -> Iterator[Finding]:
    """What works and should not stay so."""
    if settings.host not in _HERE:
        hint = "there is no authentication: see that only a gateway reaches it"
        yield Finding(Level.WARN, CHECK, f"API_HOST={settings.host} lets other machines in", hint)
    if settings.effective_mode is not Mode.CLUSTER:
        return
    if settings.mode is Mode.AUTO:
        hint = "with ORDERING_MODE=cluster a misspelt KAFKA_BOOTSTRAP_SERVERS is an error, not another mode"
        yield Finding(Level.WARN, CHECK, "the mode is cluster by ORDERING_MODE=auto", hint)
    if settings.schema_registry_auto_register:
        hint = "for demonstrations only; else `ordering schemas register`"
        yield Finding(Level.WARN, CHECK, "SCHEMA_REGISTRY_AUTO_REGISTER is on", hint)
    brokers = (settings.kafka_bootstrap_servers or "").split(",")
    away = [broker for broker in brokers if broker.strip().rpartition(":")[0].strip("[]") not in _HERE]
    if away and settings.kafka_security_protocol is SecurityProtocol.PLAINTEXT:
        hint = "KAFKA_SECURITY_PROTOCOL=SSL or SASL_SSL, unless that network is yours alone"
        yield Finding(Level.WARN, CHECK, f"events go to {away[0].strip()} in the clear", hint)
