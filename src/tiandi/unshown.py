"""Structs that hold a secret and do not show it."""

from __future__ import annotations

from typing import Any

import msgspec


class Unshown(msgspec.Struct, frozen=True):
    """Of a struct that holds a secret, rich (tables, tracebacks) shows what repr shows, and not its fields."""

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("shown", repr(self))]
