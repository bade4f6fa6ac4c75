"""A window on a living network: the page, and the API behind it, on a loopback address.

`WindowServer` serves a `Watched` network: views as JSON and server-sent events, and what an operator may do to it.
"""

from tiandi.web.server import WindowServer
from tiandi.web.watched import Watched

__all__ = ["Watched", "WindowServer"]
