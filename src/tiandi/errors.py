"""Every error that tiandi raises on purpose.

TiandiError
├── InputError                 what a user gave: names field, value and limit
│   ├── ScenarioError          a scenario file or one of its fields
│   ├── ElementsError          two-line elements: checksum, format, age
│   ├── NoPassError            no usable pass in the window asked for
│   └── StateError             a state directory, a port
├── DistillationAborted        a block of key was destroyed; both ends say why
│   ├── QberTooHigh            .qber above .limit
│   ├── TooFewDetections       .detected below .minimum
│   ├── ImplausibleStatistics  counts that no honest channel gives
│   ├── NoSecretKey            the proof covers no bit of this block
│   ├── VerificationFailed     the two ends still differ after every retry
│   ├── AuthenticationFailed   a tag does not match: somebody else speaks
│   ├── ProtocolViolation      a message that this state does not allow
│   └── PeerAborted            the other end gave up first; .reason
├── KeysExhausted              .available_bit below .wanted_bit
├── KeyNotFound                a key identifier that this store cannot hand out
├── RequestRefused             a request to a KME out of its limits, in the words of the standard
├── NotAuthorised              a caller who may not have what it asks for
├── NoRoute                    no path of links in service from .source to .target
├── RelayFailed                a key relay that stopped at .node
├── MessageRejected            a message whose tag does not verify
├── KmeUnreachable             no conversation with a KME came about
└── RemoteRefused              the far end's answer: .status and .message
"""

from __future__ import annotations


class TiandiError(Exception):
    """Base of all errors that tiandi raises on purpose."""


class InputError(TiandiError):
    """Bad input: ``field``, ``value`` and ``limit`` say what was given and what would do."""

    def __init__(self, field: str, value: object, limit: str) -> None:
        self.field, self.value, self.limit = field, value, limit
        super().__init__(f"{field} = {value!r}: {limit}")


class ScenarioError(InputError):
    """A scenario that cannot be found or read, or a field in it that cannot stand."""


class ElementsError(InputError):
    """Two-line elements that fail their checksum, or are too far from the date asked for."""


class NoPassError(InputError):
    """A window of time in which no usable pass lies."""


class StateError(InputError):
    """A state directory or a port that cannot be used."""


class DistillationAborted(TiandiError):
    """A block whose key was destroyed. Nothing of it was handed out."""


class QberTooHigh(DistillationAborted):
    """The quantum bit error rate (QBER) is above what the link allows."""

    def __init__(self, qber: float, limit: float) -> None:
        self.qber, self.limit = qber, limit
        super().__init__(f"QBER {qber:.3f} is above the limit of {limit:.3f}")


class TooFewDetections(DistillationAborted):
    """Too little light arrived to say anything about the channel."""

    def __init__(self, detected: int, minimum: int) -> None:
        self.detected, self.minimum = detected, minimum
        super().__init__(f"{detected} sifted detections are fewer than the {minimum} that a block needs")


class ImplausibleStatistics(DistillationAborted):
    """Counts that no honest channel gives."""


class NoSecretKey(DistillationAborted):
    """The proof covers no bit of this block."""


class VerificationFailed(DistillationAborted):
    """The two ends' keys still differ after every retry."""


class AuthenticationFailed(DistillationAborted):
    """A tag does not match its transcript: a message was changed, or is not the peer's."""


class ProtocolViolation(DistillationAborted):
    """A message that cannot be decoded, or that this state does not allow."""


class PeerAborted(DistillationAborted):
    """The other end gave up first."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"the peer aborted: {reason}")


class KeysExhausted(TiandiError):
    """A stock holds less key than is wanted."""

    def __init__(self, stock: str, available_bit: int, wanted_bit: int) -> None:
        self.stock, self.available_bit, self.wanted_bit = stock, available_bit, wanted_bit
        super().__init__(f"{stock} holds {available_bit} bit of key, {wanted_bit} bit are wanted")


class KeyNotFound(TiandiError):
    """A key identifier that this store does not hold, or has handed out already."""


class RequestRefused(TiandiError):
    """A request to a KME that is out of its limits; the text is the standard's where it has one."""


class NotAuthorised(TiandiError):
    """A caller who may not have what it asks for."""


class NoRoute(TiandiError):
    """No path of links in service joins two nodes."""

    def __init__(self, source: str, target: str, why: str) -> None:
        self.source, self.target, self.why = source, target, why
        super().__init__(f"no route for key from {source} to {target}: {why}")


class RelayFailed(TiandiError):
    """A key relay that did not reach its end; the key was destroyed."""

    def __init__(self, node: str, why: str) -> None:
        self.node, self.why = node, why
        super().__init__(f"key relay stopped at {node}: {why}")


class MessageRejected(TiandiError):
    """A message that was changed on its way, or whose key is not the sender's."""


class KmeUnreachable(TiandiError):
    """No conversation with a KME came about: nobody listens, or one side does not accept the other's certificate."""


class RemoteRefused(TiandiError):
    """The far end of a connection refused, with its status and its words."""

    def __init__(self, status: int, message: str) -> None:
        self.status, self.message = status, message
        super().__init__(f"refused with status {status}: {message}")
