"""Dockerfile and docker-compose.yml, as far as reading them tells; tests/e2e/test_compose.py runs them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from ordering.entrypoints.settings import OPTIONS, Mode, load
from tests.architecture.test_locks import pins

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE_TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
NEWER_BUILDERS = re.compile(
    r"^# *(syntax|check) *=|^(RUN|COPY|ADD)\b.* --(mount|network|chmod|link|parents|exclude)\b|<<", re.M
)
OURS = ("init", "cart-service", "order-service")


def as_without_environment(text: str) -> Any:  # noqa: ANN401 -- YAML
    """The file with every variable at its default."""
    return yaml.safe_load(re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text))


COMPOSE = as_without_environment(COMPOSE_TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


@pytest.mark.parametrize(
    "line", ["# syntax=docker/dockerfile:1", "RUN --mount=type=cache x", "COPY --chmod=0 a b", "RUN <<E"]
)
def test_the_pattern_knows_newer_syntax(line: str) -> None:
    """Else the next test would show nothing."""
    assert NEWER_BUILDERS.search(line)


def test_every_builder_understands_the_dockerfile() -> None:
    """Debian's docker.io has the classic builder."""
    assert not NEWER_BUILDERS.search(DOCKERFILE)


def test_the_build_context_is_what_the_dockerfile_copies() -> None:
    """Nothing else of a working copy gets near an image: no data folder, no history, no secret."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copied = [
        name for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE) for name in line.split()[:-1]
    ]

    assert "*" in lines
    assert sorted(line.removeprefix("!") for line in lines if line.startswith("!")) == sorted(copied)


def test_the_build_backend_of_the_image_is_pinned() -> None:
    """Its packages are taken by name from the development lock: every name has to be there."""
    (names,) = re.findall(r"/\^\(([\w|-]+)\)==/", DOCKERFILE)
    wanted = set(names.split("|"))
    (backend,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]

    assert backend.partition(">")[0] in wanted
    assert wanted <= set(pins("requirements-dev.lock"))


def test_the_image_is_not_root_and_ends_on_sigterm() -> None:
    """By number, for orchestrators; without a shell in between, for signals."""
    assert "\nUSER 10001:10001\n" in DOCKERFILE
    assert "\nSTOPSIGNAL SIGTERM\n" in DOCKERFILE
    assert '\nENTRYPOINT ["ordering"]\n' in DOCKERFILE


@pytest.mark.parametrize("service", OURS)
def test_the_settings_of_the_containers_are_settings(service: str) -> None:
    """Each name exists and each value can be used; the mode is the cluster's."""
    given = SERVICES[service]["environment"]

    assert set(given) <= {option.name for option in OPTIONS.values()}
    assert load(given).settings.mode is Mode.CLUSTER


@pytest.mark.parametrize("service", OURS)
def test_our_containers_can_do_little(service: str) -> None:
    """Read-only, without capabilities; what runs long is restarted and has time to end well."""
    given = SERVICES[service]

    assert given["read_only"] is True
    assert given["cap_drop"] == ["ALL"]
    assert given["security_opt"] == ["no-new-privileges:true"]
    if service != "init":
        limit = load(given["environment"]).settings.shutdown_seconds
        assert given["restart"] == "unless-stopped"
        assert float(given["stop_grace_period"].removesuffix("s")) >= 2 * limit


def test_every_port_is_published_on_this_machine_only() -> None:
    """Until BIND_ADDRESS says otherwise."""
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]

    assert sorted(port.split(":")[1] for port in published) == ["5432", "8000", "8001", "8081", "9092"]
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert COMPOSE_TEXT.count('- "${BIND_ADDRESS:-127.0.0.1}:') == len(published)


def test_both_forms_of_compose_read_the_file() -> None:
    """docker-compose 1.29 knows no project name and no develop section; a version would choose an older schema."""
    assert set(COMPOSE) - {key for key in COMPOSE if key.startswith("x-")} == {"services", "volumes"}
    assert all("develop" not in service and "pull_policy" not in service for service in SERVICES.values())


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_every_image_can_be_chosen(service: str) -> None:
    """By a variable, with the released version as its default."""
    defaults = dict(re.findall(r"\$\{(\w+_IMAGE):-([^}]*)\}", COMPOSE_TEXT))

    assert SERVICES[service]["image"] in defaults.values()
    assert not SERVICES[service]["image"].endswith(":latest")
