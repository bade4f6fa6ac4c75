"""Two hosts distil key from what their modules recorded: `serve` at one end, `connect` at the other.

Who is Alice and who is Bob follows from whose record an end has, not from who serves. Several blocks are in flight at once, so that one is
worked on while the words of another travel. Work on blocks is done in one thread, in the order in which messages arrive, but for the
rounds of Cascade: the event loop answers these, and moves bytes. Key is on disk at Alice's end before her last word leaves, and at Bob's
when he has read it: where the connection breaks between the two she has a key that he lacks, which is harmless, because nobody uses a key
that the other end does not name.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tiandi.errors import DistillationAborted, InputError, ProtocolViolation
from tiandi.hosts import greeting
from tiandi.hosts.greeting import Hello, agreed_blocks
from tiandi.hosts.link_end import LinkEnd, Report, Tell, TellBlock
from tiandi.hosts.session import CLOSING_S, Session
from tiandi.hosts.wire import CONTROL, Address, Wire, dial, listen

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

MOST_GREETINGS = 16


def _hush(*_: object) -> None:
    """Nobody listens."""


def _everybody(_: Wire) -> bool:
    """Whoever TLS has let through may say hello."""
    return True


async def serve(
    address: Address,
    end: LinkEnd,
    *,
    tls: ssl.SSLContext | None = None,
    admits: Callable[[Wire], bool] = _everybody,
    tell: Tell = _hush,
    tell_block: TellBlock = _hush,
) -> Report:
    """Wait for the other end of the link and distil with it.

    Strangers, those whom ``admits`` does not let say hello, and ends that are not of one mind are sent away, which ``tell`` hears; the next
    may come. Raises InputError for an address that cannot be listened at, and when this end's disk fails it.
    """
    arrivals: asyncio.Queue[Wire] = asyncio.Queue()
    ours = _hello(end)

    def arrive(wire: Wire) -> None:
        if admits(wire):
            arrivals.put_nowait(wire)
        else:
            tell(f"{wire.peer} was sent away: it is not the other end of {end.pool.name}")
            wire.hang_up(DistillationAborted("a stranger"))

    server = await listen(address, tls, arrive)
    try:
        tell(f"listening at {Address(*server.sockets[0].getsockname()[:2])}")
        wire, theirs = await _first_of_one_mind(arrivals, end, ours, tell)
    finally:
        server.close()
    return await Session(wire, end, ours, theirs, tell=tell, tell_block=tell_block).run()


async def connect(
    address: Address,
    end: LinkEnd,
    *,
    tls: ssl.SSLContext | None = None,
    admits: Callable[[Wire], bool] = _everybody,
    tell: Tell = _hush,
    tell_block: TellBlock = _hush,
) -> Report:
    """Distil with the end that serves at ``address``. Raises InputError when nobody answers there, when the two ends are not of one mind,
    and when this end's disk fails it; DistillationAborted when the peer hangs up before the first block, or ``admits`` does not take it."""
    ours = _hello(end)
    wire = await dial(address, tls, end.silence_s)
    if not admits(wire):
        wire.hang_up(stranger := DistillationAborted(f"who answers at {address} is not the other end of {end.pool.name}"))
        raise stranger
    try:
        theirs = await _greet(wire, end, ours)
    except DistillationAborted as error:
        doubt = "does it take this end's certificate?" if tls is not None else "does it expect TLS?"
        raise DistillationAborted(f"{error}, before it said hello; {doubt}") from None
    return await Session(wire, end, ours, theirs, tell=tell, tell_block=tell_block).run()


def _hello(end: LinkEnd) -> Hello:
    """What this end says first. Raises InputError when it has nothing left to distil."""
    if end.recordings.exhausted:
        names = ", ".join(recording.path.name for recording in end.recordings.recordings)
        raise InputError("files", names, "were distilled before (FILE.used beside them): events make key once; record a new run")
    return greeting.hello(
        end.recordings,
        link=end.pool.name,
        pool=end.pool.identifier,
        security=end.security,
        authentication=end.authenticated_by,
        blocks_in_flight=end.blocks_in_flight,
    )


async def _greet(wire: Wire, end: LinkEnd, ours: Hello) -> Hello:
    """What the peer says first. Raises InputError, which the peer is told, unless both ends are of one mind."""
    wire.send(CONTROL, greeting.encode(ours))
    try:
        async with asyncio.timeout(end.silence_s):  # However little it says at a time.
            frame = await wire.receive(end.silence_s)
        theirs = greeting.decode(bytes(frame.payload))
        if frame.number != CONTROL or not isinstance(theirs, Hello):
            raise ProtocolViolation("the peer does not say hello")
        agreed_blocks(end.recordings, ours, theirs, end.security)
    except TimeoutError:
        wire.hang_up(error := DistillationAborted(f"the peer has not said hello within {end.silence_s:g} s"))
        raise error from None
    except (InputError, DistillationAborted) as error:
        wire.send(CONTROL, greeting.encode(greeting.Refusal(str(error)[:1000])))
        await wire.close(CLOSING_S)
        raise
    return theirs


async def _first_of_one_mind(arrivals: asyncio.Queue[Wire], end: LinkEnd, ours: Hello, tell: Tell) -> tuple[Wire, Hello]:
    """The first connection whose hello fits. A few are heard at once, so that a silent stranger keeps nobody out."""
    arrival = asyncio.create_task(arrivals.get())
    greetings: dict[asyncio.Task[Hello], Wire] = {}
    try:
        while True:
            done, _ = await asyncio.wait({arrival, *greetings}, return_when=asyncio.FIRST_COMPLETED)
            for task in [task for task in greetings if task in done]:
                wire = greetings.pop(task)
                error = task.exception()
                if error is None:
                    return wire, task.result()
                if not isinstance(error, InputError | DistillationAborted):
                    raise error
                tell(f"{wire.peer} was sent away: {error}")
            if arrival in done:
                wire = arrival.result()
                arrival = asyncio.create_task(arrivals.get())
                if len(greetings) < MOST_GREETINGS:
                    greetings[asyncio.create_task(_greet(wire, end, ours))] = wire
                else:
                    wire.hang_up(DistillationAborted("too many at the door"))
    finally:
        arrival.cancel()
        for task, wire in greetings.items():
            task.cancel()
            wire.hang_up(DistillationAborted("another came first"))
