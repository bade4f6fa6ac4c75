"""Hostile bytes for both ends of the ETSI GS QKD 004 framing.

    python tests/fuzz/fuzz_streams.py -runs=1000000

The fuzzer is atheris, which takes libFuzzer's options. Every input begins from what honest ends say.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from random import Random
from uuid import UUID

from tiandi.errors import InputError
from tiandi.kms.streams import etsi004
from tiandi.kms.streams.etsi004 import (
    HEADER_BYTE,
    CloseRequest,
    CloseResponse,
    GetKeyRequest,
    GetKeyResponse,
    OpenConnectRequest,
    OpenConnectResponse,
    Qos,
    Status,
    decode_header,
    encode,
)

KSID = UUID("c42fe0b3-dfa7-4872-b170-9d3b63b1f841")
RECORDED = [
    encode(message)
    for message in (
        OpenConnectRequest("qkd://alice", "qkd://bob", Qos(max_bps=40_000, timeout_ms=5000, ttl_s=3600), KSID),
        OpenConnectResponse(Status.SUCCESSFUL, Qos(), KSID),
        OpenConnectResponse(Status.TIMEOUT),
        GetKeyRequest(KSID, 3, 1024),
        GetKeyResponse(Status.SUCCESSFUL, 3, bytes(range(32)), b'{"age":12,"hops":1}'),
        GetKeyResponse(Status.METADATA_SIZE_INSUFFICIENT, needed_byte=40),
        CloseRequest(KSID),
        CloseResponse(Status.SUCCESSFUL),
    )
]


def try_frame(data: bytes) -> None:
    """Read ``data`` as either end would. What is read can be written and read again; what cannot be read is an InputError."""
    with suppress(InputError):
        service, length_byte = decode_header(data[:HEADER_BYTE].ljust(HEADER_BYTE, b"\0"))
        payload = data[HEADER_BYTE : HEADER_BYTE + length_byte]
        for decode in (etsi004.decode_request, etsi004.decode_response):
            with suppress(InputError):
                message = decode(service, payload)
                frame = encode(message)
                assert decode(service, frame[HEADER_BYTE:]) == message


def main() -> None:
    """Fuzz until libFuzzer's options say enough."""
    import atheris  # type: ignore[import-untyped]  # noqa: PLC0415  The rest serves tests that run without the fuzzer.

    atheris.instrument_func(etsi004.decode_request)
    atheris.instrument_func(etsi004.decode_response)

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        random = Random(seed)
        return bytes(atheris.Mutate(data if random.random() < 0.7 else random.choice(RECORDED)[:max_size], max_size))

    atheris.Setup([sys.argv[0], "-max_len=1200", "-timeout=20", "-rss_limit_mb=1024", *sys.argv[1:]], try_frame, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
