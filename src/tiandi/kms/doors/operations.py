"""The door for operators: health, metrics, the view of ETSI GS QKD 015; administration is in the module beside it.

/healthz and /readyz are for everybody with a certificate and tell no more than yes or no; all else is for operators.
"""

from __future__ import annotations

from typing import Any

import msgspec
from litestar.exceptions import NotFoundException
from litestar.handlers import ASGIRouteHandler
from litestar.types import HTTPScope, Receive

from tiandi.errors import NotAuthorised, StateError
from tiandi.kms.doors import administration
from tiandi.kms.doors.answers import Answer, document_route, parameters, path_segments, require_method, route
from tiandi.kms.operating import etsi015
from tiandi.kms.operating.metrics import MEDIA_TYPE, read_snapshot
from tiandi.kms.operating.operations import VERSION, Operations
from tiandi.kms.tls.identities import SCOPE_KEY, ClientCertificate, caller_identity


class Ready(msgspec.Struct, frozen=True):
    """Whether this process can serve, and which check says so."""

    ready: bool
    checks: dict[str, bool]


class _Door:
    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    async def health(self, scope: HTTPScope, _: Receive) -> Answer:
        """The process is up: nothing is looked at."""
        _asked_by_anybody(scope)
        return Answer(200, b'{"status":"up"}')

    async def readiness(self, scope: HTTPScope, _: Receive) -> Answer:
        _asked_by_anybody(scope)
        checks = await self._operations.checks()
        body = Ready(checks.ready, {name: not problem for name, problem in msgspec.structs.asdict(checks).items()})
        return Answer(200 if body.ready else 503, msgspec.json.encode(body))

    async def metrics(self, scope: HTTPScope, _: Receive) -> Answer:
        _asked_by_operator(scope)
        operations = self._operations
        checks = await operations.checks()
        try:
            snapshot = await operations.entity.database.run(read_snapshot)
        except StateError:
            snapshot = None
        body = operations.metrics.exposition(snapshot, ready=checks.ready, draining=operations.entity.draining)
        return Answer(200, body, media_type=MEDIA_TYPE)

    async def node(self, scope: HTTPScope, _: Receive) -> Answer:
        caller_identity(scope, "operator")
        if path_segments(scope) != ["restconf", "data", etsi015.NODE]:
            raise NotFoundException("no such path")
        _asked_by_operator(scope)
        entity = self._operations.entity
        view: dict[str, Any] = etsi015.node_view(entity.kme_id, VERSION, entity.directory, await entity.account(), draining=entity.draining)
        return Answer(200, msgspec.json.encode(view), media_type=etsi015.MEDIA_TYPE)


def routes(operations: Operations) -> list[ASGIRouteHandler]:
    """The routes of this door, of administration, and of their OpenAPI document."""
    door = _Door(operations)
    return [
        route("/healthz", door.health),
        route("/readyz", door.readiness),
        route("/metrics", door.metrics),
        route("/restconf", door.node, is_mount=True),
        administration.administration_route(operations),
        document_route("operations.json"),
    ]


def _asked_by_anybody(scope: HTTPScope) -> None:
    certificate: object = (scope.get("extensions") or {}).get(SCOPE_KEY)
    if not isinstance(certificate, ClientCertificate):
        raise NotAuthorised("this door is for callers with a certificate")
    require_method(scope, ("GET",))
    parameters(scope, ())


def _asked_by_operator(scope: HTTPScope) -> None:
    caller_identity(scope, "operator")
    require_method(scope, ("GET",))
    parameters(scope, ())
