"""SeQUeNCe's Cascade on frames of its own length at a given error rate; prints what it took and told.

Printed are the processor seconds of both ends, the parities told, and how many frames stayed wrong.
Run by the Python of the peers' environment: python sequence_cascade.py FRAMES QBER
"""

import json
import logging
import sys
import time
from collections import deque
from types import SimpleNamespace

import numpy as np
from sequence.qkd.cascade import Cascade, CascadeMsgType, pair_cascade_protocols

FRAME_BIT = 10240
FIRST_BLOCK_ERRORS = 0.73


def main(frames: int, qber: float) -> None:
    logging.disable(logging.CRITICAL)
    generator = np.random.default_rng(1)
    mail = deque()
    ends = {}
    for name in ("alice", "bob"):
        owner = SimpleNamespace(
            name=name, timeline=SimpleNamespace(now=lambda: 0), send_message=lambda to, message: mail.append((to, message))
        )
        ends[name] = Cascade(owner, f"{name}.cascade")
    alice, bob = ends.values()
    pair_cascade_protocols(alice, bob)
    for end in (alice, bob):
        end.state, end.start_time, end.keylen, end.frame_num, end.k1 = 1, 0, FRAME_BIT, frames, round(FIRST_BLOCK_ERRORS / qber)
        end.bits.append(0)
        end.t1.append(0)
        end.t2.append(-1)
    told, seconds = 0, 0.0
    for _ in range(frames):
        bits = generator.integers(0, 2, FRAME_BIT, dtype=np.uint8)
        keys = [int.from_bytes(np.packbits(key).tobytes()) for key in (bits ^ (generator.random(FRAME_BIT) < qber), bits)]
        start = time.process_time()
        bob.pop(keys[0])
        alice.pop(keys[1])
        while mail:
            to, message = mail.popleft()
            if message.msg_type is CascadeMsgType.CHECKSUMS:
                told += sum(len(checksums) for checksums in message.checksums)
            told += message.msg_type is CascadeMsgType.RECEIVE_FOR_BINARY
            ends[to].received_message("", message)
        seconds += time.process_time() - start
    wrong = frames - sum(left == right for left, right in zip(alice.valid_keys, bob.valid_keys, strict=False))
    print(json.dumps({"keys": frames, "bits": frames * FRAME_BIT, "seconds": seconds, "told": told, "wrong": wrong}))


main(int(sys.argv[1]), float(sys.argv[2]))
