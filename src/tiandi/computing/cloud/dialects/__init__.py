"""What the cloud speaks beside its own API, so that clients written for other clouds reach it as they are."""

from __future__ import annotations

from litestar.handlers import ASGIRouteHandler

from tiandi.computing.cloud.dialects import origin, tianyan
from tiandi.computing.cloud.service import Cloud


def routes(cloud: Cloud) -> list[ASGIRouteHandler]:
    """The routes of every dialect, for `server.create_app`."""
    return [*tianyan.routes(cloud), *origin.routes(cloud)]
