"""The life of a key bit: its states, and which may follow which. The tables of the documentation are drawn from here.

Link key is shared with a neighbouring KME and pays, bit for bit, for what is sent there. Supply keys are made for a pair of SAEs and
are carried to the KMEs of both under link key. Every change of a bit's state is entered in the ledger, and the ledger refuses
whatever these tables do not allow.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where a bit of key stands. The last five are ends: the bit is gone from the store, and only the ledger remembers it."""

    RECEIVED = "received"
    STORED = "stored"
    RESERVED = "reserved"
    HELD = "held"
    UNCERTAIN = "uncertain"
    READY = "ready"
    SPENT = "spent"
    RELAYED = "relayed"
    DELIVERED = "delivered"
    VOIDED = "voided"
    EXPIRED = "expired"


MEANING = {
    State.RECEIVED: "a QKD link handed it over; nobody knows yet whether the peer's copy is the same",
    State.STORED: "both ends have compared tags: equal, ready to be spent",
    State.RESERVED: "made for a pair of SAEs and sent on its way; nobody may use it",
    State.HELD: "arrived at the slave's KME, not yet confirmed by the master's",
    State.UNCERTAIN: "asked about and not answered: never handed out, never given to others, asked about again",
    State.READY: "at both KMEs, confirmed end to end",
    State.SPENT: "used as one-time pad or as key of a tag, and destroyed",
    State.RELAYED: "passed on to the next node, and destroyed here",
    State.DELIVERED: "handed to the SAE it is for, committed before the answer left, and destroyed here",
    State.VOIDED: "given up by both KMEs, and destroyed",
    State.EXPIRED: "too old, and destroyed",
}

LINK_KEY: dict[State, frozenset[State]] = {
    State.RECEIVED: frozenset({State.STORED, State.SPENT, State.VOIDED, State.EXPIRED}),
    State.STORED: frozenset({State.SPENT, State.VOIDED, State.EXPIRED}),
}
"""Link key at one KME. Of a block the first 32 bytes are spent on comparing the rest."""

SUPPLY_KEY: dict[State, frozenset[State]] = {
    State.RESERVED: frozenset({State.READY, State.UNCERTAIN, State.VOIDED, State.EXPIRED}),
    State.HELD: frozenset({State.READY, State.RELAYED, State.VOIDED, State.EXPIRED}),
    State.UNCERTAIN: frozenset({State.READY, State.VOIDED}),
    State.READY: frozenset({State.DELIVERED, State.RELAYED, State.UNCERTAIN, State.VOIDED, State.EXPIRED}),
}
"""Supply keys at one KME, for one SAE."""

FIRST = {"link": {State.RECEIVED}, "supply": {State.RESERVED, State.HELD, State.READY}}
"""In which states key of each kind may enter a KME."""

LIFE = {"link": LINK_KEY, "supply": SUPPLY_KEY}
LIVING = frozenset(LINK_KEY) | frozenset(SUPPLY_KEY)
"""States in which the bit is in the store."""
