"""qkdsec's key rate of decoy BB84 with a finite-size correction, for N links of different loss; prints the seconds.

It solves a semidefinite programme a link. Run by the Python of the peers' environment: python qkdsec_bb84.py N
"""

import json
import sys
import time

import numpy as np
from qkdsec.proofs import BB84, DecoyChannel, key_rate

SIGNAL, DECOY, PULSES = 0.51, 0.12, int(4e7)
BACKGROUND, MISALIGNMENT, EFFICIENCY = 2e-6, 0.01, 0.075


def gain_and_qber(mean: float, transmittance: float) -> tuple[float, float]:
    light = -np.expm1(-mean * transmittance)
    gain = BACKGROUND + light
    return float(gain), float((0.5 * BACKGROUND + MISALIGNMENT * light) / gain)


def main(links: int) -> None:
    seconds = 0.0
    for attenuation_db in np.linspace(0.0, 10.0, links):
        transmittance = EFFICIENCY * 10 ** (-attenuation_db / 10)
        (signal_gain, signal_qber), (decoy_gain, decoy_qber) = (gain_and_qber(mean, transmittance) for mean in (SIGNAL, DECOY))
        start = time.perf_counter()
        channel = DecoyChannel(SIGNAL, DECOY, signal_gain, decoy_gain, BACKGROUND, signal_qber, decoy_qber)
        key_rate(BB84(), channel, n_signals=PULSES)
        seconds += time.perf_counter() - start
    print(json.dumps({"links": links, "seconds": seconds}))


main(int(sys.argv[1]))
