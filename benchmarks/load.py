"""Load by wrk: closed loop, 64 connections, bounded in time, to the loopback interface only."""

import re
import subprocess
import tempfile
from pathlib import Path

import attrs

from benchmarks.processes import LOAD_CORE, pinned

CONNECTIONS = 64
UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}

ITEMS = (
    '[{"itemId":"ITEM-LAPTOP-1","quantity":1,"price":999.99},{"itemId":"ITEM-MOUSE-2","quantity":2,"price":10.5},'
    '{"itemId":"ITEM-CAMERA-3","quantity":1,"price":100.25}]'
)
CREATE = """
local n = 0
request = function()
  n = n + 1
  local body = '{{"orderId":"{prefix}-' .. n .. '","customerId":"CUST-1","currency":"USD","items":{items}}}'
  return wrk.format("POST", "{path}", nil, body)
end
"""
CREATE_INVENTED = """
wrk.headers["Content-Type"] = "application/json"
local n = 0
request = function()
  n = n + 1
  return wrk.format("POST", "/api/create-order", nil, '{{"orderId":"{prefix}-' .. n .. '","numItems":3}}')
end
"""
UPDATE = """
local n = 0
request = function()
  n = n + 1
  return wrk.format("PUT", "/api/update-order", nil, '{{"orderId":"{prefix}-' .. n .. '","status":"confirmed"}}')
end
"""
READ = """
math.randomseed({seed})
request = function()
  return wrk.format("GET", "/api/order-details?orderId={prefix}-" .. math.random(1, {count}))
end
"""
GET = """
request = function() return wrk.format("GET", "{path}") end
"""
ACKNOWLEDGED = """
local acknowledged
init = function() acknowledged = io.open("{path}", "w") end
response = function(status, headers, body)
  if status == 201 then acknowledged:write(string.match(body, '"orderId":"([^"]+)"'), "\\n") end
end
"""
DONE = """
done = function(summary, latency, requests)
  io.write(string.format("RESULT %d %d %d %f %f %d\\n", summary.requests, summary.duration,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50), latency:percentile(99), summary.errors.status))
end
"""


@attrs.frozen
class Run:
    """One closed-loop run: requests per second, latencies in ms, answers that were not 2xx, broken connections."""

    rps: float
    p50_ms: float
    p99_ms: float
    requests: int
    refused: int
    broken: int


def wrk(port: int, script: str, seconds: int) -> Run:
    """Run a script against a loopback port."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "load.lua"
        path.write_text(script + DONE)
        command = [*pinned(LOAD_CORE), "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(path)]
        answer = subprocess.run([*command, f"http://127.0.0.1:{port}"], capture_output=True, text=True, check=True)
    found = re.search(r"RESULT (\d+) (\d+) (\d+) ([\d.]+) ([\d.]+) (\d+)", answer.stdout)
    if found is None:
        raise SystemExit(f"wrk said: {answer.stdout}{answer.stderr}")
    requests, micros, broken = int(found[1]), int(found[2]), int(found[3])
    return Run(requests / micros * 1e6, float(found[4]) / 1e3, float(found[5]) / 1e3, requests, int(found[6]), broken)


def wrk_acknowledged(port: int, script: str, seconds: int) -> tuple[Run, list[str]]:
    """Run a script of creations; also the ids that were answered 201. Reading the answers costs the load's core a
    little, the server nothing."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "acknowledged"
        run = wrk(port, script + ACKNOWLEDGED.format(path=path), seconds)
        return run, path.read_text().split()


def create(prefix: str, path: str = "/api/create-order") -> str:
    """A script that posts carts of three items, ids counted from 1 behind the prefix."""
    return CREATE.format(prefix=prefix, path=path, items=ITEMS)


def create_invented(prefix: str) -> str:
    """A script that posts ids and a number of items, which the service invents: the seed's request."""
    return CREATE_INVENTED.format(prefix=prefix)


def update(prefix: str) -> str:
    """A script that confirms the orders of a create run, in their order."""
    return UPDATE.format(prefix=prefix)


def read(prefix: str, count: int, seed: int) -> str:
    """A script that reads random orders of a create run."""
    return READ.format(prefix=prefix, count=count, seed=seed)


def get(path: str) -> str:
    """A script that gets one path."""
    return GET.format(path=path)
