"""The OpenAPI document: what each route says about itself, laid out; the models' schemas come from msgspec."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, Protocol

import attrs
import msgspec

from ordering.domain.errors import Code
from ordering.entrypoints.http.headers import IDEMPOTENCY_KEY, IF_MATCH, KEY_LENGTH_MAX, REQUEST_ID_LENGTH_MAX
from ordering.entrypoints.http.options import HttpOptions
from ordering.entrypoints.http.problems import STATUS_AND_TITLE
from ordering.entrypoints.http.schemas import ProblemBody

_REFERENCES: Final = "#/components/schemas/{name}"
_PROBLEM_CONTENT: Final = "application/problem+json"
Json = dict[str, Any]


@attrs.frozen
class Parameter:
    """A query parameter or a request header."""

    name: str
    place: str
    schema: Json
    description: str
    required: bool = False


@attrs.frozen
class Documentation:
    """What a route promises.

    ``body`` are the models a request body may have, one of them. ``answer`` is the model (or media type) of success,
    ``problems`` the codes it may refuse with beside those every route may.
    """

    summary: str
    description: str
    tag: str
    answer: type[msgspec.Struct] | str
    status: int = 200
    body: tuple[type[msgspec.Struct], ...] = ()
    parameters: tuple[Parameter, ...] = ()
    problems: tuple[Code, ...] = ()
    entity_tag: bool = False
    not_ready: type[msgspec.Struct] | None = None
    links: Mapping[str, Json] = attrs.field(factory=dict)
    """What to do with a success next: OpenAPI link objects by name."""


class Documented(Protocol):
    """A route, as far as this module looks at it."""

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def documentation(self) -> Documentation | None: ...


REQUEST_ID_PARAMETER: Final = Parameter(
    "X-Request-Id",
    "header",
    {
        "type": "string",
        "minLength": 1,
        "maxLength": REQUEST_ID_LENGTH_MAX,
        "pattern": f"^[!-~]([ -~]{{0,{REQUEST_ID_LENGTH_MAX - 2}}}[!-~])?$",
        "examples": ["checkout-7f3a"],
    },
    "Your id of this request: comes back, and goes into the event's headers and the logs. Replaced if not acceptable.",
)
IDEMPOTENCY_KEY_PARAMETER: Final = Parameter(
    IDEMPOTENCY_KEY,
    "header",
    {
        "type": "string",
        "minLength": 1,
        "maxLength": KEY_LENGTH_MAX,
        "pattern": "^[!#-~]([ -~]*[!-~])?$",
    },
    "The same key with the same body gives the first answer again, byte by byte; with another body 422. Printable "
    "ASCII, new for each order or change, such as a UUID; bare, or as a quoted string, which is the same key.",
)
IF_MATCH_PARAMETER: Final = Parameter(
    IF_MATCH,
    "header",
    {
        "type": "string",
        "pattern": r'^(\*|(W/)?"[!#-~]*"([ ]*,[ ]*(W/)?"[!#-~]*")*)$',
        "examples": ['"1"', "*"],
    },
    "Change the order only if its version (ETag) is one of these.",
)


def document(options: HttpOptions, description: str, routes: Sequence[Documented]) -> Json:
    """The OpenAPI 3.1 document of these routes."""
    documented = [(route, route.documentation) for route in routes if route.documentation is not None]
    models = _models([documentation for _, documentation in documented])
    schemas, components = msgspec.json.schema_components(models, ref_template=_REFERENCES)
    reference = dict(zip(models, schemas, strict=True))
    paths: Json = {}
    for route, documentation in documented:
        operation = {"operationId": route.name, **_operation(documentation, reference)}
        paths.setdefault(route.path, {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": options.service, "version": options.version, "description": description},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": {name: _with_numbers(components[name]) for name in sorted(components)}},
    }


def _models(documentations: Sequence[Documentation]) -> list[type[msgspec.Struct]]:
    found: dict[type[msgspec.Struct], None] = {ProblemBody: None}
    for documentation in documentations:
        for model in (*documentation.body, documentation.answer, documentation.not_ready):
            if isinstance(model, type):
                found[model] = None
    return list(found)


def _operation(documentation: Documentation, reference: Mapping[type[msgspec.Struct], Json]) -> Json:
    operation: Json = {
        "summary": documentation.summary,
        "description": documentation.description,
        "tags": [documentation.tag],
    }
    if documentation.parameters:
        operation["parameters"] = [_parameter(parameter) for parameter in documentation.parameters]
    if documentation.body:
        one = [reference[model] for model in documentation.body]
        schema = one[0] if len(one) == 1 else {"oneOf": one}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    operation["responses"] = _responses(documentation, reference)
    return operation


def _parameter(parameter: Parameter) -> Json:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.required,
        "description": parameter.description,
        "schema": parameter.schema,
    }


def _responses(documentation: Documentation, reference: Mapping[type[msgspec.Struct], Json]) -> Json:
    answer = documentation.answer
    content = {answer: {"schema": {"type": "string"}}}
    if not isinstance(answer, str):
        content = {"application/json": {"schema": reference[answer]}}
    headers = {"X-Request-Id": _header("Yours, or the one we gave.")}
    if documentation.entity_tag:
        headers["ETag"] = _header("The order's version, in quotes.")
    success: Json = {"description": "Success", "headers": headers, "content": content}
    if documentation.links:
        success["links"] = documentation.links
    responses: Json = {str(documentation.status): success}
    codes: dict[int, list[Code]] = {}
    for code in (*documentation.problems, Code.METHOD_NOT_ALLOWED, Code.INTERNAL_ERROR):
        codes.setdefault(STATUS_AND_TITLE[code][0], []).append(code)
    for status in sorted(codes):
        responses[str(status)] = _problem(status, codes[status], reference[ProblemBody])
    if documentation.not_ready is not None:
        responses["503"] = {
            "description": "Not ready",
            "content": {"application/json": {"schema": reference[documentation.not_ready]}},
        }
    return responses


def _problem(status: int, codes: Sequence[Code], schema: Json) -> Json:
    response: Json = {
        "description": f"{HTTPStatus(status).phrase}: {', '.join(codes)}",
        "content": {_PROBLEM_CONTENT: {"schema": schema}},
    }
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        response["headers"] = {"Retry-After": _header("Seconds after which to try again.")}
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        response["headers"] = {"Allow": _header("The methods this path takes.")}
    return response


def _header(description: str) -> Json:
    return {"description": description, "schema": {"type": "string"}}


def _with_numbers(schema: Any) -> Any:  # noqa: ANN401 - any JSON
    """msgspec documents a Decimal as a string; our encoder and our validator know it as a number only."""
    if isinstance(schema, dict):
        walked = {key: _with_numbers(value) for key, value in schema.items()}
        if walked.get("type") == "string" and walked.get("format") == "decimal":
            return {**{key: value for key, value in walked.items() if key != "format"}, "type": "number"}
        return walked
    return [_with_numbers(item) for item in schema] if isinstance(schema, list) else schema
