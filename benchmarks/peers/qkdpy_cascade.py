"""qkdpy's Cascade on keys of a given length and error rate; prints its processor seconds, the parities told and how many keys stayed wrong.

Both ends are one function, which sees both keys; a parity that Alice would tell is a sum of her bits. Counting these takes less than a
hundredth of the time. Run by the Python of the peers' environment: python qkdpy_cascade.py KEY_BIT QBER KEYS
"""

import builtins
import json
import sys
import time

import numpy as np
from qkdpy.key_management import error_correction

ENDS = 2


def main(key_bit: int, qber: float, keys: int) -> None:
    generator = np.random.default_rng(1)
    sums, seconds, wrong = 0, 0.0, 0

    def counted(bits: list[int]) -> int:
        nonlocal sums
        sums += 1
        return builtins.sum(bits)

    error_correction.sum = counted
    for _ in range(keys):
        bits = generator.integers(0, 2, key_bit)
        ends = bits.tolist(), (bits ^ (generator.random(key_bit) < qber)).tolist()
        start = time.process_time()
        alice_key, bob_key = error_correction.ErrorCorrection.cascade(*ends)
        seconds += time.process_time() - start
        wrong += alice_key != bob_key
    print(json.dumps({"keys": keys, "bits": keys * key_bit, "seconds": seconds, "told": sums // ENDS, "wrong": wrong}))


main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
