"""Belief propagation by the package ldpc on syndromes that it is given; prints the seconds a frame takes and how many were right.

Run by the Python of the peers' environment: python ldpc_belief_propagation.py FILE, where FILE (NumPy .npz) has the ``checks`` and
``bits`` of the ones of a parity-check matrix, the ``qber``, and the ``errors`` of some frames.
"""

import json
import sys
import time

import numpy as np
from scipy.sparse import csr_matrix

from ldpc import BpDecoder

ITERATIONS = 60


def main(path: str) -> None:
    data = np.load(path)
    errors = data["errors"]
    ones = np.ones(data["checks"].size, np.uint8)
    matrix = csr_matrix((ones, (data["checks"], data["bits"])), shape=(int(data["checks"].max()) + 1, errors.shape[1]))
    decoder = BpDecoder(matrix, error_rate=float(data["qber"]), max_iter=ITERATIONS, bp_method="product_sum", schedule="serial")
    seconds, right = 0.0, 0
    for frame in errors:
        syndrome = (matrix.astype(np.int64) @ frame % 2).astype(np.uint8)
        start = time.perf_counter()
        found = decoder.decode(syndrome)
        seconds += time.perf_counter() - start
        right += int(np.array_equal(found, frame))
    print(json.dumps({"seconds": seconds / len(errors), "right": right}))


main(sys.argv[1])
