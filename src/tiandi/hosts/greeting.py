"""What two ends tell each other before the first block, and where they must be of one mind.

Nothing here is authentic yet. It need not be: what matters for the key goes into the agreement, the first words of every transcript, and
tags of different transcripts do not match. A greeting finds an honest mistake early, and says which field differs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from tiandi.errors import InputError, ProtocolViolation
from tiandi.hosts.recordings import MOST_FILES, MOST_SPANS, BlockPlan, Recordings, Role, merged, plan_blocks, unused
from tiandi.quantum.agreement import LONGEST_NAME, Agreement

if TYPE_CHECKING:
    from tiandi.quantum.link import SecuritySettings

FORMAT_VERSION = 3
START_TOLERANCE_S = 1.0
"""How far the clocks of two ends of a run may be apart; slots are counted, not timed."""
Authenticated = Literal["one-time tags", "signatures", "either"]
Whole = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
Light = Annotated[tuple[float, ...], msgspec.Meta(max_length=8)]


class FileTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an end says of one of its event files; the light is empty where it does not know it."""

    start_s: float
    """When slot 0 was sent, in seconds since 1970."""
    clock_hz: float
    pulses: Whole
    events: Whole
    mean_photon_numbers: Light
    probabilities: Light
    used: Annotated[tuple[tuple[Whole, Whole], ...], msgspec.Meta(max_length=MOST_SPANS)]


class Hello(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """The first frame of each end."""

    version: int
    link: Annotated[str, msgspec.Meta(max_length=LONGEST_NAME)]
    pool: Annotated[str, msgspec.Meta(max_length=LONGEST_NAME)]
    role: Role
    authentication: Authenticated
    epsilon_secrecy: float
    epsilon_correctness: float
    qber_limit: float
    join: bool
    block_events: Whole | None
    blocks_in_flight: Annotated[int, msgspec.Meta(ge=1, le=64)]
    files: Annotated[tuple[FileTerms, ...], msgspec.Meta(min_length=1, max_length=MOST_FILES)]


class Refusal(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """I hang up, and why."""

    reason: Annotated[str, msgspec.Meta(max_length=1000)]


class Ping(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """The receiver: answer at once."""

    number: int


class Pong(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """The transmitter: I do."""

    number: int


class Begin(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """The receiver: an answer takes so long [s]; now come the blocks."""

    round_trip_s: Annotated[float, msgspec.Meta(ge=0.0, le=60.0)]


class Alive(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """I am at work."""


class Goodbye(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """All keys that I have are on my disk."""


Control = Hello | Refusal | Ping | Pong | Begin | Alive | Goodbye

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Control)


def encode(message: Control) -> bytes:
    """The bytes of a message."""
    return _encoder.encode(message)


def decode(data: bytes) -> Control:
    """The message in ``data``. Raises ProtocolViolation when it is none."""
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolViolation(f"what the peer says cannot be read: {error}") from None


def hello(
    recordings: Recordings, *, link: str, pool: str, security: SecuritySettings, authentication: Authenticated, blocks_in_flight: int
) -> Hello:
    """What the end with these ``recordings`` says first."""
    files = [
        FileTerms(
            start_s=recording.run.start.timestamp(),
            clock_hz=float(recording.run.clock_hz),
            pulses=recording.pulses,
            events=recording.events,
            mean_photon_numbers=tuple(map(float, recording.run.mean_photon_numbers)),
            probabilities=tuple(map(float, recording.run.probabilities)),
            used=tuple(merged(used.spans)),
        )
        for recording, used in zip(recordings.recordings, recordings.used, strict=True)
    ]
    return Hello(
        version=FORMAT_VERSION,
        link=link,
        pool=pool,
        role=recordings.role,
        authentication=authentication,
        epsilon_secrecy=security.epsilon_secrecy,
        epsilon_correctness=security.epsilon_correctness,
        qber_limit=security.qber_limit,
        join=recordings.join,
        block_events=recordings.block_events,
        blocks_in_flight=blocks_in_flight,
        files=tuple(files),
    )


def agreed_blocks(recordings: Recordings, ours: Hello, theirs: Hello, security: SecuritySettings) -> list[BlockPlan]:
    """The blocks that two ends of one mind will distil.

    Raises InputError, naming the field and both values, when they are not of one mind; when no block is left; and for light that no proof
    covers.
    """
    _require_concord(ours, theirs)
    blocks = _remaining_blocks(ours, theirs)
    for file in {block[0].file: block for block in blocks}.values():
        agreement_on(file, recordings, theirs, security)
    return blocks


def _require_concord(ours: Hello, theirs: Hello) -> None:
    """Raise InputError, naming the field and both values, unless two ends can distil with each other."""
    for field in ("version", "link", "epsilon_secrecy", "epsilon_correctness", "qber_limit", "join", "block_events"):
        _require_equal(field, getattr(ours, field), getattr(theirs, field))
    if ours.pool and theirs.pool and ours.pool != theirs.pool:
        raise InputError("pool", ours.link, "must be of one pair at both ends: the peer's has the same name and is of another")
    if "either" not in (ours.authentication, theirs.authentication):
        _require_equal("authentication", ours.authentication, theirs.authentication)
    if ours.role == theirs.role:
        raise InputError("files", f"the {ours.role}'s", "must be one end's here and the other's there: the peer has the same role")
    _require_equal("files", len(ours.files), len(theirs.files))
    for number, (here, there) in enumerate(zip(ours.files, theirs.files, strict=True), 1):
        if abs(here.start_s - there.start_s) > START_TOLERANCE_S:
            apart_s = there.start_s - here.start_s
            raise InputError(f"start of file {number}", f"{apart_s:+.3g} s at the peer", "must be the same: are both files of one run?")
        for field in ("clock_hz", "pulses"):
            _require_equal(f"{field} of file {number}", getattr(here, field), getattr(there, field))
        for field in ("mean_photon_numbers", "probabilities"):
            if getattr(here, field) and getattr(there, field):
                _require_equal(f"{field} of file {number}", getattr(here, field), getattr(there, field))
    transmitter = ours if ours.role == "transmitter" else theirs
    lights = {(file.clock_hz, file.mean_photon_numbers, file.probabilities) for file in transmitter.files}
    if ours.join and len(lights) > 1:
        raise InputError("join", True, "must be left out: the light of the files differs, and one block has one light")


def _require_equal(field: str, here: object, there: object) -> None:
    if here != there:
        raise InputError(field, here, f"must be the same at both ends: the peer has {there!r}")


def _remaining_blocks(ours: Hello, theirs: Hello) -> list[BlockPlan]:
    """The blocks that neither end has spoken of before, the same list at both. Raises InputError when none is left."""
    receiver = ours if ours.role == "receiver" else theirs
    blocks = plan_blocks(
        [file.pulses for file in ours.files], [file.events for file in receiver.files], join=ours.join, block_events=ours.block_events
    )
    used = [(*here.used, *there.used) for here, there in zip(ours.files, theirs.files, strict=True)]
    left = list(unused(blocks, used))
    if not left:
        raise InputError("files", len(ours.files), "were distilled before, here or there (FILE.used); record a new run")
    return left


def agreement_on(block: BlockPlan, recordings: Recordings, theirs: Hello, security: SecuritySettings) -> Agreement:
    """What both ends agree on for one block; the light is what the transmitter's file says, wherever that is."""
    run = recordings.run(block)
    if recordings.role == "receiver":
        light = theirs.files[block[0].file]
        run = replace(run, mean_photon_numbers=light.mean_photon_numbers, probabilities=light.probabilities)
    return Agreement.of(run, theirs.link, security)
