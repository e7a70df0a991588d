"""The documentation: pages that work without internet, and a document that says what the validator does."""

import json
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ordering.domain.currencies import CURRENCIES
from ordering.domain.errors import Code, Fault
from ordering.domain.fields import ID_LENGTH_MAX
from ordering.domain.inputs import ITEMS_MAX, NUM_ITEMS_MAX, QUANTITY_MAX
from ordering.domain.money import AMOUNT_LIMIT
from ordering.domain.parameters import read_order_id, read_topic_name
from ordering.domain.status import OrderStatus
from ordering.entrypoints import container
from ordering.entrypoints.http import docs_pages, headers
from ordering.entrypoints.http.docs_pages import docs_routes, installed_files
from ordering.entrypoints.http.requests import Call
from tests.http.stand_ins import StandIns
from tests.http.systems import in_process

SERVICES = {"cart": 0, "order": 1}
EXPECTED = {
    "cart": {"/api/create-order": {"post"}, "/api/update-order": {"put"}},
    "order": {"/api/order-details": {"get"}, "/api/getAllOrderIdsFromTopic": {"get"}, "/api/stats": {"get"}},
}
COMMON = {"/", "/health", "/health/live", "/health/ready", "/metrics"}
STATUSES = {
    "/api/create-order": {"201", "400", "405", "409", "413", "422", "500", "503"},
    "/api/update-order": {"200", "400", "404", "405", "409", "412", "413", "422", "500", "503"},
    "/api/order-details": {"200", "400", "404", "405", "409", "500", "503"},
    "/api/getAllOrderIdsFromTopic": {"200", "400", "404", "405", "500", "503"},
    "/api/stats": {"200", "400", "405", "500", "503"},
    "/health/ready": {"200", "405", "500", "503"},
}


async def document_of(service: str) -> dict[str, Any]:
    """The service's OpenAPI document."""
    async with in_process(StandIns().apps()[SERVICES[service]]) as client:
        answer = await client.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    return dict(answer.json())


def walked(value: object) -> Iterator[dict[str, Any]]:
    """Every object in a JSON value."""
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from walked(item)
    elif isinstance(value, list):
        for item in value:
            yield from walked(item)


@pytest.mark.parametrize("service", SERVICES)
async def test_every_route_is_documented_with_every_status_it_answers(service: str) -> None:
    """The paths of the contract and no others."""
    paths = (await document_of(service))["paths"]
    assert set(paths) == {*EXPECTED[service], *COMMON}
    for path, methods in EXPECTED[service].items():
        assert set(paths[path]) == methods
    for path, statuses in STATUSES.items():
        for operation in paths.get(path, {}).values():
            assert set(operation["responses"]) == statuses


@pytest.mark.parametrize("service", SERVICES)
async def test_the_document_is_whole(service: str) -> None:
    """Every reference leads somewhere, every operation has an id of its own, a summary and described responses."""
    document = await document_of(service)
    schemas = document["components"]["schemas"]
    references = {found["$ref"] for found in walked(document) if "$ref" in found}
    assert references <= {f"#/components/schemas/{name}" for name in schemas}
    assert {reference.rsplit("/", 1)[1] for reference in references} == set(schemas)
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    for operation in operations:
        assert operation["summary"]
        assert all(response["description"] for response in operation["responses"].values())
        for parameter in operation.get("parameters", []):
            assert parameter["in"] in {"query", "header"}
            assert parameter["schema"]["type"] in {"string", "integer", "number", "boolean"}


@pytest.mark.parametrize("service", SERVICES)
async def test_refusals_are_documented_as_problem_documents(service: str) -> None:
    """With the closed list of codes."""
    document = await document_of(service)
    for path, operations in document["paths"].items():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                if status >= "400" and (path, status) != ("/health/ready", "503"):
                    schema = response["content"]["application/problem+json"]["schema"]
                    assert schema == {"$ref": "#/components/schemas/ProblemBody"}
    assert sorted(document["components"]["schemas"]["Code"]["enum"]) == sorted(Code)


async def test_documented_bounds_are_the_validators() -> None:
    """One number in two places would drift apart."""
    schemas = (await document_of("cart"))["components"]["schemas"]
    cart, item = schemas["CartOrder"]["properties"], schemas["CartItem"]["properties"]
    for identifier in (cart["orderId"], item["itemId"], cart["customerId"]["anyOf"][0]):
        assert (identifier["minLength"], identifier["maxLength"]) == (1, ID_LENGTH_MAX)
        assert identifier["pattern"] == f"^[A-Za-z0-9._:-]{{1,{ID_LENGTH_MAX}}}$"
    assert (cart["items"]["minItems"], cart["items"]["maxItems"]) == (1, ITEMS_MAX)
    assert (item["quantity"]["minimum"], item["quantity"]["maximum"]) == (1, QUANTITY_MAX)
    assert item["price"]["type"] == "number"
    whole, exact = item["price"]["oneOf"]
    assert (whole["type"], whole["minimum"], whole["maximum"]) == ("integer", 1, AMOUNT_LIMIT - 1)
    assert (exact["type"], exact["exclusiveMinimum"], exact["exclusiveMaximum"]) == ("number", 0, AMOUNT_LIMIT)
    assert exact["not"] == {"type": "integer"}
    generated = schemas["GeneratedOrder"]["properties"]["numItems"]
    assert (generated["minimum"], generated["maximum"]) == (1, NUM_ITEMS_MAX)
    assert cart["currency"]["anyOf"][0]["enum"] == sorted(CURRENCIES)
    assert sorted(schemas["OrderStatus"]["enum"]) == sorted(OrderStatus)
    assert schemas["CartOrder"]["required"] == ["orderId", "items"]
    assert schemas["CartItem"]["required"] == ["itemId", "quantity", "price"]
    assert schemas["StatusChange"]["required"] == ["orderId", "status"]


@given(st.data())
def test_documented_patterns_are_the_validators(data: st.DataObject) -> None:
    """What the document allows is accepted, and of names and ids nothing else is."""
    cart, order = (parameters_of(document) for document in container.openapi_documents().values())
    for name, accepted in (
        ("Idempotency-Key", lambda value: not isinstance(headers.idempotency_key(value), Fault)),
        ("If-Match", lambda value: not isinstance(headers.if_match(value), Fault)),
        ("X-Request-Id", lambda value: headers.acceptable_request_id(value) == value),
    ):
        schema = cart[name]
        value = data.draw(st.from_regex(pattern_of(schema), fullmatch=True).filter(partial(fits, schema=schema)))
        assert accepted(value), (name, value)
    for name, read in (("topicName", read_topic_name), ("orderId", read_order_id)):
        schema = order[name]
        likely = st.text(st.sampled_from("aZ0._-: \n/é"), max_size=70)
        text = data.draw(likely | st.from_regex(pattern_of(schema), fullmatch=True))
        allowed = bool(re.search(pattern_of(schema), text)) and fits(text, schema)
        if text == text.strip():  # white space around an id is removed, and the document only says so in words
            assert allowed == (not isinstance(read(text, name), Fault)), (name, text)


def parameters_of(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Every parameter's schema by its name."""
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    return {found["name"]: found["schema"] for operation in operations for found in operation.get("parameters", [])}


def pattern_of(schema: dict[str, Any]) -> str:
    """A document's pattern as Python has it, where ``$`` also stands before a last line feed."""
    assert schema["pattern"].endswith("$")
    return str(schema["pattern"][:-1]) + r"\Z"


def fits(text: str, schema: dict[str, Any]) -> bool:
    """Whether a text has a length that the document allows."""
    return int(schema.get("minLength", 0)) <= len(text) <= int(schema.get("maxLength", 10_000))


@pytest.mark.parametrize("service", SERVICES)
async def test_links_lead_to_operations_and_from_members_that_are_there(service: str) -> None:
    """Each names an operation of the same document, parameters that it has, and members of the answer."""
    document = await document_of(service)
    operations = {
        operation["operationId"]: operation for path in document["paths"].values() for operation in path.values()
    }
    followed = 0
    for operation in operations.values():
        for response in operation["responses"].values():
            for link in response.get("links", {}).values():
                target = operations[link["operationId"]]
                assert set(link["parameters"]) <= {parameter["name"] for parameter in target["parameters"]}
                schema = response["content"]["application/json"]["schema"]
                members = _documented(schema, document)
                for source in [*link["parameters"].values(), *link.get("requestBody", {}).values()]:
                    if source.startswith("$response.body#/"):
                        assert source.removeprefix("$response.body#/").partition("/")[0] in dict(members)  # type: ignore[call-overload]
                    elif source.startswith("$response.header."):
                        assert source.removeprefix("$response.header.") in response["headers"]
                followed += 1
    assert followed >= 2


async def test_answers_have_exactly_the_documented_members() -> None:
    """No member is missing in the document, none is promised that does not come."""
    stand_ins = StandIns()
    cart_app, order_app = stand_ins.apps()
    async with in_process(cart_app) as cart, in_process(order_app) as order:
        answers = [
            ("cart", "/api/create-order", await cart.post("/api/create-order", json={"orderId": "x", "numItems": 2})),
            ("cart", "/", await cart.get("/")),
            ("cart", "/health/ready", await cart.get("/health/ready")),
            ("order", "/api/order-details", await order.get("/api/order-details?orderId=x")),
            (
                "order",
                "/api/getAllOrderIdsFromTopic",
                await order.get("/api/getAllOrderIdsFromTopic?topicName=order-events&limit=1"),
            ),
            ("order", "/api/stats", await order.get("/api/stats")),
            ("order", "/", await order.get("/")),
            ("order", "/health", await order.get("/health")),
        ]
    documents = {service: await document_of(service) for service in SERVICES}
    for service, path, answer in answers:
        document = documents[service]
        (operation,) = document["paths"][path].values()
        schema = operation["responses"][str(answer.status_code)]["content"]["application/json"]["schema"]
        assert _keys(answer.json()) == _documented(schema, document), path


def _keys(value: object) -> object:
    """The members of an answer, nested; lists by their first object."""
    if isinstance(value, dict):
        return {key: None if key == "byStatus" else _keys(item) for key, item in value.items()}
    return [_keys(value[0])] if isinstance(value, list) and value and isinstance(value[0], dict) else None


def _documented(schema: dict[str, Any], document: dict[str, Any]) -> object:
    """The members a schema promises, nested."""
    if "$ref" in schema:
        return _documented(document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]], document)
    if "properties" in schema:
        return {key: _documented(item, document) for key, item in schema["properties"].items()}
    items = _documented(schema["items"], document) if "$ref" in schema.get("items", {}) else None
    return None if items is None else [items]


# ---------------------------------------------------------------------------------------------- pages


def test_the_static_files_are_installed_here() -> None:
    """The lock has them, so the next test tests what it says."""
    assert installed_files() is not None


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("page", ["/docs", "/redoc"])
async def test_a_page_loads_only_files_of_its_own_origin_that_answer_200(service: str, page: str) -> None:
    """Everything the page names, with a content type a browser accepts under nosniff; and a policy that allows no
    other origin."""
    async with in_process(StandIns().apps()[SERVICES[service]]) as client:
        answer = await client.get(page)
        urls = re.findall(r'(?:src|href)="([^"]+)"', answer.text)
        assert len(urls) >= 3
        for url in urls:
            assert url.startswith("/docs/assets/")
            file = await client.get(url)
            assert file.status_code == 200
            assert len(file.content) == int(file.headers["content-length"]) > 0
            kind = {"js": "text/javascript", "css": "text/css", "png": "image/png"}[url.rsplit(".", 1)[1]]
            assert file.headers["content-type"].startswith(kind)
            assert file.headers["x-content-type-options"] == "nosniff"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "http" not in policy
    assert "<script>" not in answer.text  # inline scripts are not allowed by the policy


async def test_the_pages_read_the_document_from_its_path() -> None:
    """The scripts that start the tools name /openapi.json and nothing else."""
    async with in_process(StandIns().apps()[0]) as client:
        for name in ("start-swagger.js", "start-redoc.js"):
            text = (await client.get(f"/docs/assets/{name}")).text
            assert '"/openapi.json"' in text
            assert "http" not in text


async def test_without_the_package_the_pages_fall_back_to_one_public_origin(tmp_path: Path) -> None:
    """And the policy allows exactly that one."""
    routes = {route.path: route for route in docs_routes({}, "Service", None)}
    assert not any(path.endswith((".css", "bundle.js")) for path in routes)
    for path in ("/docs", "/redoc"):
        reply = await routes[path].endpoint(_call())
        page = reply.body.decode() if isinstance(reply.body, bytes) else reply.body
        urls = re.findall(r'(?:src|href)="([^"]+)"', page)
        assert {url.split("/npm/")[0] for url in urls if not url.startswith("/docs/assets/start-")} == {
            "https://cdn.jsdelivr.net"
        }
        policy = dict(reply.extra)[b"content-security-policy"].decode()
        assert "script-src 'self' https://cdn.jsdelivr.net;" in policy


def test_an_incomplete_package_counts_as_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page without its script would be blank."""
    package = tmp_path / "half_a_sidecar"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('must not be imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(docs_pages, "_PACKAGE", "half_a_sidecar")
    assert installed_files() is None


async def test_the_document_is_the_same_each_time() -> None:
    """Committed copies can be compared."""
    assert json.dumps(await document_of("cart")) == json.dumps(await document_of("cart"))


@pytest.mark.parametrize("service", SERVICES)
async def test_the_exported_document_is_the_served_one(service: str) -> None:
    """But for the version, which the stand-ins make up."""
    served = await document_of(service)
    exported = json.loads(json.dumps(container.openapi_documents()[service]))
    assert {**served, "info": exported["info"]} == exported


def _call() -> Call:
    scope: Any = {"type": "http", "headers": []}
    return Call(scope, None, lambda: "r")  # type: ignore[arg-type]
