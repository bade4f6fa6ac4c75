"""qkdpy's Toeplitz hash of a key with a seed of its own; prints the processor seconds.

Run by the Python of the peers' environment: python qkdpy_toeplitz.py KEY_BIT OUTPUT_BIT
"""

import json
import sys
import time

import numpy as np
from qkdpy.key_management.privacy_amplification import PrivacyAmplification


def main(key_bit: int, output_bit: int) -> None:
    key = np.random.default_rng(1).integers(0, 2, key_bit).tolist()
    start = time.process_time()
    hashed = PrivacyAmplification.toeplitz_hashing(key, output_bit)
    print(json.dumps({"bits": key_bit, "seconds": time.process_time() - start, "output_bit": len(hashed)}))


main(int(sys.argv[1]), int(sys.argv[2]))
