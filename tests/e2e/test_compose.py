"""docker-compose.yml as it stands, in a container engine: the README's flow, and every container killed in turn.

    INTEGRATION=compose pytest tests/e2e/test_compose.py -s

It needs `docker` with docker-compose 1.29 or Compose v2, and curl. The tests build on each other, in this order.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.cluster_checker import Cluster, check, kept
from tests.e2e.compose import SERVICES, Project, engine
from tests.e2e.crash_checker import Findings
from tests.e2e.crash_clients import Attempt, Client, Ledger, read_ledger
from tests.e2e.running import PATIENCE, until
from tests.e2e.test_readme import as_data, blocks

if os.environ.get("INTEGRATION") != "compose":
    pytest.skip(
        "docker-compose.yml: needs a container engine; `INTEGRATION=compose make test` runs it",
        allow_module_level=True,
    )

pytestmark = [pytest.mark.process, pytest.mark.slow]

SEED = 20_261_126
CLIENTS = 16
PAUSE = 0.4
"""Light load: some 80 changes a second from all clients together."""
LIFE_SECONDS = (0.5, 2.0)
SETTLE_SECONDS = 60.0
"""How long the healed system may take until everything accepted is visible."""
PROGRESS = 50
"""So many acknowledged changes after a repair say that it is one."""


@pytest.fixture(scope="module")
def project(request: pytest.FixtureRequest) -> Iterator[Project]:
    """Built and running, with volumes of its own; nothing of it is left afterwards."""
    if reason := engine():
        pytest.fail(f"INTEGRATION=compose, but there is no container engine: {reason}")
    made = Project(f"ordering-test-{os.getpid()}")
    failed = request.session.testsfailed
    try:
        began = time.monotonic()
        made.build()
        built = time.monotonic() - began
        print(f"\nbuilt in {built:.0f} s, up in {made.up():.0f} s")
        yield made
        if request.session.testsfailed > failed:
            print(made.logs())
    finally:
        made.remove()


@pytest.fixture(scope="module")
def ledger_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the clients were told, outside the system."""
    return tmp_path_factory.mktemp("compose") / "ledger.jsonl"


@pytest.fixture(scope="module")
def ledger(ledger_file: Path) -> Iterator[Ledger]:
    """The same, as clients write it: one for all of them."""
    with closing(Ledger(ledger_file)) as written:
        yield written


def test_the_readme_flow_answers_on_the_published_ports_as_it_is_printed(project: Project) -> None:
    """Every curl command of the README, in its order, against the containers."""
    shown = [(text, answer) for text, kind, answer in blocks() if text.startswith("curl ") and kind == "json"]
    assert len(shown) >= 6

    for text, answer in shown:
        here = text.replace("http://127.0.0.1:8000", project.cart).replace("http://127.0.0.1:8001", project.order)
        command = ["bash", "-euo", "pipefail", "-c", here]
        printed = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout
        assert as_data(printed) == as_data(answer), text


def test_kafkas_own_console_consumer_shows_the_records(project: Project) -> None:
    """The README's order by its key, once for each change, in the topic of the real broker."""
    printed = project.compose(
        *("exec", "-T", "kafka", "/opt/kafka/bin/kafka-console-consumer.sh"),
        *("--bootstrap-server", "kafka:29092", "--topic", "order-events", "--from-beginning"),
        *("--max-messages", "2", "--timeout-ms", "60000"),
        *("--formatter-property", "print.key=true", "--formatter-property", "print.headers=true"),
    )

    assert printed.count("\tORDER-1001\t") == 2, printed
    assert printed.count("ce_type:") == 2, printed


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_killed_under_load_and_started_again_leaves_five_zeros(
    service: str, project: Project, ledger: Ledger, ledger_file: Path
) -> None:
    """kill -9 while clients work; `up -d` alone repairs it, and no promise was broken."""
    before = ledger.acknowledged
    took = asyncio.run(_killed(project, service, ledger))
    findings = _settled(_cluster(project), ledger_file)
    print(f"\n{service} killed, everything up and ready again after {took:.0f} s; in all so far:")
    print(_figures(read_ledger(ledger_file), findings), findings.table(), sep="\n")

    assert findings.all_zero, findings.table()
    assert ledger.acknowledged >= before + 2 * PROGRESS


def test_orders_schema_ids_and_positions_outlive_the_containers(project: Project, ledger_file: Path) -> None:
    """`down` without `-v`, then `up`: the same as before, nothing published or applied once more, and it goes on."""
    cluster = _cluster(project)
    before = kept(cluster), _schema_ids(project), _settled(cluster, ledger_file)

    project.down()
    print(f"\ndown and up again in {project.up():.0f} s")
    cluster = _cluster(project)
    after = kept(cluster), _schema_ids(project), _settled(cluster, ledger_file)

    assert after == before
    held, ids, findings = before
    assert findings.all_zero
    assert held.positions == held.committed == held.ends
    assert "order-events-value" in ids

    body = {"orderId": "AFTER-THE-RESTART", "numItems": 1}
    assert httpx.post(f"{project.cart}/api/create-order", json=body, timeout=PATIENCE).status_code == 201
    query = {"orderId": "AFTER-THE-RESTART", "wait": "30"}
    assert httpx.get(f"{project.order}/api/order-details", params=query, timeout=PATIENCE).status_code == 200
    assert _settled(cluster, ledger_file).all_zero
    assert _schema_ids(project) == ids


async def _killed(project: Project, service: str, ledger: Ledger) -> float:
    """Let the clients work before, while and after a service is away; the seconds its repair took."""
    rng = random.Random(f"{SEED} {service}")
    stop = asyncio.Event()
    names = [f"{service}-{number}" for number in range(CLIENTS)]
    clients = [Client(name, project.cart, ledger, rng.randrange(2**32), PAUSE, again=PAUSE / 2) for name in names]
    working = [asyncio.create_task(client.run(stop)) for client in clients]
    try:
        await _progress(ledger)
        # The moment of the kill is the test's random input, not a wait for something.
        await asyncio.sleep(rng.uniform(*LIFE_SECONDS))
        await asyncio.to_thread(project.kill, service)
        took = await asyncio.to_thread(project.up)
        await _progress(ledger)
    finally:
        stop.set()
        await asyncio.gather(*working)
    return took


async def _progress(ledger: Ledger) -> None:
    """Changes are acknowledged again."""
    wanted = ledger.acknowledged + PROGRESS
    await asyncio.to_thread(until, lambda: ledger.acknowledged >= wanted, f"{PROGRESS} changes acknowledged")


def _cluster(project: Project) -> Cluster:
    """Where the checker reads now: a container that was started again may have another address."""
    return Cluster(project.database, project.brokers)


def _settled(cluster: Cluster, ledger_file: Path) -> Findings:
    """The checker's findings once nothing is missing any more, or when the time for that is over."""
    ledger = read_ledger(ledger_file)
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        findings = check(cluster, ledger)
        if findings.all_zero or time.monotonic() > deadline:
            return findings
        time.sleep(1)  # a database, a broker and two processes: nothing tells when they agree


def _schema_ids(project: Project) -> dict[str, list[tuple[int, int]]]:
    """Per subject: version and id of each schema, as the registry has them."""
    with httpx.Client(base_url=project.registry, timeout=PATIENCE) as http:

        def told(path: str) -> Any:  # noqa: ANN401 -- JSON
            return http.get(path).raise_for_status().json()

        ids = {}
        for subject in told("/subjects"):
            versions = told(f"/subjects/{subject}/versions")
            ids[subject] = [(version, told(f"/subjects/{subject}/versions/{version}")["id"]) for version in versions]
        return ids


def _figures(ledger: dict[str, list[Attempt]], findings: Findings) -> str:
    attempts = [attempt for of_order in ledger.values() for attempt in of_order]
    return (
        f"{CLIENTS} clients, seed {SEED}: {len(attempts)} attempts on {len(ledger)} orders, "
        f"{sum(attempt.acknowledged for attempt in attempts)} acknowledged, "
        f"{sum(attempt.refused for attempt in attempts)} refused with 503, "
        f"{sum(attempt.status is None for attempt in attempts)} without an answer, "
        f"{findings.events} events in the log, {findings.repeated} of them repeated"
    )
