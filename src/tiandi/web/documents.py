"""What the door serves that does not change: the files of the page, and the OpenAPI document of the API."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import msgspec

from tiandi.web.operations import Operation

HOME = "/"
STATIC = "/static"
DOCUMENT = "/api/openapi.json"
EVENTS = "/api/v1/events"

MEDIA_TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "png": "image/png",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
    "webmanifest": "application/manifest+json",
    "webp": "image/webp",
    "woff2": "font/woff2",
}
"""By the end of a file's name. A file of another name is not served."""

_PARAMETERS = {
    "links": ("link",),
    "nodes": ("node",),
    "stations": ("node",),
    "pairs": ("node", "other_node"),
    "alarms": ("alarm_id",),
}
_REFUSALS = {
    "400": "A request that cannot be met: `message` names field, value and limit.",
    "401": "No session: open one with a one-time link.",
    "403": "A request of another site or without X-Tiandi, or of a viewer where an operator is asked for.",
    "404": "No such path, link, node or alarm.",
    "405": "Another method is asked for.",
    "413": "The body is too long.",
    "415": "The body is not JSON.",
    "421": "The request's Host is not an address of this machine's own.",
    "503": "Too little key, no route, or a fault: nothing was done, try again.",
}


@dataclass(frozen=True)
class StaticFile:
    """A file of the page, held in memory; ``tag`` changes with its content."""

    body: bytes
    media_type: bytes
    tag: bytes


def static_files() -> dict[str, StaticFile]:
    """Every file of the page by its path; ``index.html`` is `HOME`. Nothing but what was found here can be asked for."""
    found = {f"{STATIC}/{name}": _static_file(name, file) for name, file in _files(files("tiandi.web") / "static")}
    if (home := found.get(f"{STATIC}/index.html")) is not None:
        found[HOME] = home
    return found


def _files(folder: Traversable, before: str = "") -> Iterator[tuple[str, Traversable]]:
    for item in folder.iterdir() if folder.is_dir() else ():
        if item.is_dir():
            yield from _files(item, f"{before}{item.name}/")
        elif item.name.rpartition(".")[2] in MEDIA_TYPES:
            yield before + item.name, item


def _static_file(name: str, file: Traversable) -> StaticFile:
    body = file.read_bytes()
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    return StaticFile(body, MEDIA_TYPES[name.rpartition(".")[2]].encode(), tag.encode())


def openapi_document(operations: Iterable[Operation], version: str) -> bytes:
    """The OpenAPI 3.1 document of ``operations``, of the stream and of itself, in JSON."""
    operations = list(operations)
    kinds = [kind for operation in operations for kind in (operation.body, operation.answers) if isinstance(kind, type)]
    schemas, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    schema_of = dict(zip(kinds, schemas, strict=True))
    components["Error"] = {"type": "object", "properties": {"message": {"type": "string"}}, "required": ["message"]}
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        path, names = _named(operation.path)
        paths.setdefault(path, {})[operation.method.lower()] = _described(operation, names, schema_of)
    paths[EVENTS] = {"get": _EVENTS_DESCRIBED}
    own = {"200": {"description": "OpenAPI 3.1", "content": {"application/json": {"schema": {"type": "object"}}}}}
    paths[DOCUMENT] = {"get": {"operationId": "get_document", "summary": "This document", "security": [], "responses": own}}
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "A window on a living network",
            "version": version,
            "description": "Everything that the page shows and does. Times are of the simulated clock, bits are bits of key. "
            "A viewer reads, an operator acts. Every POST needs the headers X-Tiandi: 1 and Origin: http://HOST as in Host.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"session": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": {
                status: {"description": text, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}
                for status, text in _REFUSALS.items()
            },
            "securitySchemes": {"session": {"type": "apiKey", "in": "cookie", "name": "tiandi-PORT", "description": "Set by POST /login."}},
        },
    }
    return msgspec.json.encode(document)


def _named(path: str) -> tuple[str, list[str]]:
    names = list(next((names for part, names in _PARAMETERS.items() if f"/{part}/" in path), ()))
    rest = iter(names)
    return re.sub(r"\{\}", lambda _: f"{{{next(rest)}}}", path), names


def _described(operation: Operation, names: list[str], schema_of: dict[type, Any]) -> dict[str, Any]:
    parameters = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]
    parameters += [{"name": name, "in": "query", "schema": {"type": "string"}} for name in operation.filters]
    if operation.method == "POST":
        parameters.append({"name": "X-Tiandi", "in": "header", "required": True, "schema": {"const": "1"}})
        parameters.append({"name": "Origin", "in": "header", "required": True, "schema": {"type": "string"}})
    good: dict[str, Any] = {"description": operation.summary}
    if operation.answers is not None:
        schema = operation.answers if isinstance(operation.answers, dict) else schema_of[operation.answers]
        good["content"] = {"application/json": {"schema": schema}}
    described: dict[str, Any] = {
        "operationId": operation.handle.__name__.strip("_"),
        "summary": operation.summary,
        "description": f"For {'everybody' if operation.role is None else f'every {operation.role}'}.",
        "parameters": parameters,
        "responses": {
            "204" if operation.answers is None else "200": good,
            **{status: {"$ref": f"#/components/responses/{status}"} for status in _REFUSALS},
        },
    }
    if operation.role is None:
        described["security"] = []
    if operation.body is not None:
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema_of[operation.body]}}}
    return described


_EVENTS_DESCRIBED: dict[str, Any] = {
    "operationId": "events",
    "summary": "The network once a second when it changed, and events as they come",
    "description": 'Server-sent events: "network" with a NetworkView, "event" with an EventView and an id, "lost" with {"events": n} '
    "where more happened than is kept. Whoever comes again with Last-Event-ID gets the events it missed.",
    "parameters": [{"name": "Last-Event-ID", "in": "header", "schema": {"type": "string"}}],
    "responses": {
        "200": {"description": "The stream, without end.", "content": {"text/event-stream": {"schema": {"type": "string"}}}},
        **{status: {"$ref": f"#/components/responses/{status}"} for status in _REFUSALS},
    },
}
