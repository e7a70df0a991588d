"""Schemathesis over both running services: thousands of requests made from their own OpenAPI documents.

The documents are tested with them: an answer that its document does not promise is a failure here.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.e2e.running import System, environment, running

ROOT = Path(__file__).parents[2]
CONFIG = Path(__file__).with_name("schemathesis.toml")
EXAMPLES = {"cart": 200, "order": 50}
"""Random cases per operation, beside those that Schemathesis makes by itself for bounds, methods and links."""
CREATED_LEAST = 0.2
EXCLUDED = {"negative_data_rejection", "positive_data_acceptance"}
pytestmark = [pytest.mark.process, pytest.mark.slow]


@attrs.frozen
class Outcome:
    """What Schemathesis said of one service. ``answers`` counts answers by method, path and status."""

    status: int
    printed: str
    report: dict[str, Any]
    answers: Counter[tuple[str, str, int]]
    checks: frozenset[str]

    def share(self, method: str, path: str) -> float:
        """How many of an operation's cases were answered 2xx."""
        found = {status: count for (verb, at, status), count in self.answers.items() if (verb, at) == (method, path)}
        return sum(count for status, count in found.items() if 200 <= status < 300) / sum(found.values())


def schemathesis(service: str, url: str, folder: Path) -> Outcome:
    """One run of its command."""
    reports = {kind: folder / f"{service}.{kind}" for kind in ("json", "ndjson")}
    ended = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", "--no-color", "--config-file", CONFIG, "run", f"{url}/openapi.json"]
        + ["--max-examples", str(EXAMPLES[service]), "--report", ",".join(reports), "--output-truncate", "false"]
        + [word for kind, path in reports.items() for word in (f"--report-{kind}-path", str(path))],
        cwd=folder,  # it leaves files behind
        env={**environment(folder), "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert reports["json"].exists(), ended.stdout + ended.stderr
    answers: Counter[tuple[str, str, int]] = Counter()
    checks: set[str] = set()
    for line in reports["ndjson"].read_text().splitlines():
        recorder = json.loads(line).get("ScenarioFinished", {}).get("recorder", {})
        for exchange in recorder.get("interactions", {}).values():
            request, response = exchange["request"], exchange["response"]
            path = request["uri"].removeprefix(url).partition("?")[0]
            answers[request["method"], path, response["status_code"] if response else 0] += 1
        checks |= {check["name"] for made in recorder.get("checks", {}).values() for check in made}
    report = json.loads(reports["json"].read_text())
    return Outcome(ended.returncode, ended.stdout + ended.stderr, report, answers, frozenset(checks))


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """Both services, the cart first: what it creates is what the order service can show."""
    folder = tmp_path_factory.mktemp("schemathesis")
    with running(folder / "data", ORDERING_MODE="embedded", ORDERING_SEED="1") as system:
        _given(system)
        return {
            service: schemathesis(service, url, folder)
            for service, url in (("cart", system.cart), ("order", system.order))
        }


def _given(system: System) -> None:
    """The order of the document's examples."""
    assert system.place("ORDER-001") == 201
    assert system.call("GET", f"{system.order}/api/order-details?orderId=ORDER-001&wait=20")[0] == 200


@pytest.mark.parametrize("service", EXAMPLES)
def test_no_request_gets_an_answer_that_the_document_does_not_promise(
    service: str, outcomes: dict[str, Outcome]
) -> None:
    """Neither a 5xx, nor an undocumented status, type, header or body, in any phase."""
    outcome = outcomes[service]
    assert outcome.status == 0, outcome.printed
    assert (outcome.report["failures"], outcome.report["errors"]) == ([], [])
    assert outcome.report["operations"]["tested"] == outcome.report["operations"]["total"] >= 7
    assert {phase["status"] for phase in outcome.report["phases"].values()} == {"success"}
    assert outcome.report["test_cases"]["generated"] >= 500
    statuses = {status for _, _, status in outcome.answers}
    assert not {status for status in statuses if status >= 500 or status == 0}
    print(f"\n{service}: {outcome.report['test_cases']['generated']} cases, seed {outcome.report['seed']}")


@pytest.mark.parametrize("service", EXAMPLES)
def test_every_check_but_the_two_ran(service: str, outcomes: dict[str, Outcome]) -> None:
    """What the configuration turns off is off, and nothing else is."""
    assert not outcomes[service].checks & EXCLUDED
    expected = {
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
        "unsupported_method",
        "allow_header_conformance",
    }
    assert expected <= outcomes[service].checks


def test_a_fifth_of_all_creates_succeeds(outcomes: dict[str, Outcome]) -> None:
    """So the requests get past the validator; counted over all phases, whatever the case was made for."""
    share = outcomes["cart"].share("POST", "/api/create-order")
    print(f"\n{share:.1%} of the create cases were answered 2xx")
    assert share >= CREATED_LEAST


def test_orders_that_were_created_are_changed_and_read(outcomes: dict[str, Outcome]) -> None:
    """The links between the operations lead somewhere."""
    assert outcomes["cart"].answers["PUT", "/api/update-order", 200] >= 20
    assert outcomes["order"].answers["GET", "/api/order-details", 200] >= 20
    assert outcomes["order"].answers["GET", "/api/getAllOrderIdsFromTopic", 200] >= 10
