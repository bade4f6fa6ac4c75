"""The OpenAPI 3.1 document of the cloud's own API, made from the table of its operations."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

import msgspec

from tiandi.computing.cloud.answers import Problem
from tiandi.computing.cloud.operations import Operation
from tiandi.computing.cloud.photonic import PhotonicJob

_REFUSALS = {
    "400": "What was asked for cannot be: field, value and limit say why.",
    "401": "No API key, or none that is known here.",
    "404": "No such path, job or machine.",
    "405": "Another method is asked for.",
    "408": "The body took too long.",
    "409": "The job is not in the state for this.",
    "413": "The body is too long.",
    "415": "The body is not JSON.",
    "429": "A quota is used up, or too many streams are open.",
    "500": "A fault of the cloud.",
    "503": "The store cannot be used: try again.",
}
_KEY_HEADER = {
    "name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-~]+$"},
    "description": "Repeated with the same body, the request makes no second job.",
}  # fmt: skip
_EVENTS = {
    "get": {
        "operationId": "get_events",
        "summary": "Jobs of this user as they change",
        "description": 'Server-sent events: "job" with a Job, whose id is the number of the change. Whoever comes again with Last-Event-ID '
        "gets each job that changed meanwhile as it is now.",
        "parameters": [{"name": "Last-Event-ID", "in": "header", "schema": {"type": "string", "pattern": "^[0-9]{1,15}$"}}],
        "responses": {
            "200": {"description": "The stream, without end.", "content": {"text/event-stream": {"schema": {"type": "string"}}}},
            **{status: {"$ref": f"#/components/responses/{status}"} for status in _REFUSALS},
        },
    }
}


def openapi_document(operations: Iterable[Operation]) -> bytes:
    """The document in JSON."""
    operations = list(operations)
    kinds = [Problem, PhotonicJob, *(kind for operation in operations for kind in (operation.body, operation.answers) if kind is not None)]
    schemas, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    schema_of = dict(zip(kinds, schemas, strict=True))
    paths: dict[str, Any] = {"/api/v1/events": _EVENTS}
    for operation in operations:
        described = _described(operation, schema_of)
        paths.setdefault(f"/api/v1{operation.path}", {})[operation.method.lower()] = described
    for path, name in (("/openapi.json", "get_document"), ("/healthz", "get_health")):
        good = {"description": "As it says.", "content": {"application/json": {"schema": {"type": "object"}}}}
        paths[path] = {"get": {"operationId": name, "security": [], "responses": {"200": good}}}
    problem = {"application/problem+json": {"schema": schema_of[Problem]}}
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "A cloud of quantum computers",
                "version": version("tiandi"),
                "description": "Jobs for twins of published machines. Times are UTC.",
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": "/"}],
            "security": [{"key": []}],
            "paths": paths,
            "components": {
                "schemas": components,
                "responses": {status: {"description": text, "content": problem} for status, text in _REFUSALS.items()},
                "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "An API key of tiandi cloud users."}},
            },
        }
    )


def _described(operation: Operation, schema_of: dict[Any, Any]) -> dict[str, Any]:
    names = re.findall(r"\{(\w+)\}", operation.path)
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}} for name in names
    ]
    parameters += [{"name": name, "in": "query", "schema": schema} for name, schema in (operation.query or {}).items()]
    content = {"application/json": {"schema": {"type": "object"} if operation.answers is None else schema_of[operation.answers]}}
    responses: dict[str, Any] = {"200": {"description": operation.summary, "content": content}}
    if operation.is_creating:
        parameters.append(_KEY_HEADER)
        responses = {
            "201": {"description": "The job was made.", "content": content},
            "200": {"description": "The same request had made this job before.", "content": content},
        }
    described: dict[str, Any] = {
        "operationId": operation.handle.__name__.strip("_") + "_" + operation.method.lower(),
        "summary": operation.summary,
        "parameters": parameters,
        "responses": {**responses, **{status: {"$ref": f"#/components/responses/{status}"} for status in _REFUSALS}},
    }
    if operation.body is not None:
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema_of[operation.body]}}}
    return described
