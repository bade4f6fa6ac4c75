"""TNO's finite-key rate of decoy BB84 for N links of different loss; prints the seconds.

Run by the Python of the peers' environment: python tno_bb84.py N
"""

import json
import sys
import time

import numpy as np
from tno.quantum.communication.qkd_key_rate.quantum import standard_detector
from tno.quantum.communication.qkd_key_rate.quantum.bb84 import BB84FiniteKeyRateEstimate

MEANS = np.array([0.51, 0.12, 1e-4])
PROBABILITIES = np.array([0.40, 0.42, 0.18])
PULSES = 4e7


def main(links: int) -> None:
    estimate = BB84FiniteKeyRateEstimate(number_of_pulses=PULSES, detector=standard_detector)
    seconds = 0.0
    for attenuation_db in np.linspace(0.0, 10.0, links):
        start = time.perf_counter()
        estimate.compute_rate(
            mu=MEANS,
            attenuation=float(attenuation_db),
            probability_basis_X=0.5 * PROBABILITIES,
            probability_basis_Z=0.5 * PROBABILITIES,
            n_X=int(PULSES / 2),
        )
        seconds += time.perf_counter() - start
    print(json.dumps({"links": links, "seconds": seconds}))


main(int(sys.argv[1]))
