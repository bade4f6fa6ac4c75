"""What the cloud asks of a database: durable transactions in the SQL that SQLite and PostgreSQL share.

Statements write parameters as ``$1``, columns are INTEGER, REAL, TEXT or BLOB, and rows that a transaction will change are read
``FOR UPDATE``. Work is an asynchronous function of a transaction; it may run again when the database asks for it, so it changes nothing
but the database.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

Row = tuple[Any, ...]
Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")


class Transaction(Protocol):
    """An open transaction."""

    async def rows(self, query: str, *values: Any) -> list[Row]:
        """Execute one statement; its rows, if it gives any."""
        ...

    async def execute_many(self, query: str, values: Iterable[Row]) -> None:
        """Execute one statement for each row of values."""
        ...


Work = Callable[Concatenate[Transaction, Arguments], Awaitable[Result]]


class Database(Protocol):
    """A store of one cloud."""

    shared: bool
    """Whether other servers may use the same store."""

    async def run(self, work: Work[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        """Run ``work(transaction, *arguments, **named)``: what it changed survives any crash once this returns, and nothing if it raises.

        Raises StateError when the database cannot be read or written, and whatever ``work`` raises.
        """
        ...

    async def read(self, work: Work[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        """As `run`, for work that changes nothing: it sees what is durable and waits for no commit."""
        ...

    async def close(self) -> None:
        """Wait for transactions under way, then close."""
        ...
