"""SeQUeNCe's BB84 over 50 km with the clock, loss and detectors of our trunk link; prints seconds for N pulses.

Run by the Python of the peers' environment: python sequence_bb84.py N
"""

import json
import logging
import sys
import time

from sequence.components.optical_channel import ClassicalChannel, QuantumChannel
from sequence.kernel.timeline import Timeline
from sequence.qkd.BB84 import pair_bb84_protocols
from sequence.topology.node import QKDNode

CLOCK_HZ = 40e6
MEAN_PHOTON_NUMBER = 0.5
PICOSECOND_PER_SECOND = 1e12
CLASSICAL_DELAY_S = 0.01


def main(pulses: int) -> None:
    logging.disable(logging.CRITICAL)
    duration_s = pulses / CLOCK_HZ
    timeline = Timeline((duration_s + CLASSICAL_DELAY_S) * PICOSECOND_PER_SECOND)
    alice, bob = QKDNode("alice", timeline, stack_size=1), QKDNode("bob", timeline, stack_size=1)
    for seed, node in enumerate((alice, bob)):
        node.set_seed(seed)
        node.update_lightsource_params("frequency", CLOCK_HZ)
        node.update_lightsource_params("mean_photon_num", MEAN_PHOTON_NUMBER)
        for detector in range(2):
            for name, value in (("efficiency", 0.075), ("dark_count", 500), ("count_rate", 5e5), ("time_resolution", 100)):
                node.update_detector_params(detector, name, value)
    pair_bb84_protocols(alice.protocol_stack[0], bob.protocol_stack[0])
    for sender, receiver in ((alice, bob), (bob, alice)):
        quantum = QuantumChannel(f"quantum {sender.name}", timeline, distance=50e3, polarization_fidelity=0.99, attenuation=0.0002)
        quantum.set_ends(sender, receiver.name)
        classical = ClassicalChannel(f"classical {sender.name}", timeline, distance=50e3)
        classical.set_ends(sender, receiver.name)
    timeline.init()
    alice.protocol_stack[0].push(int(pulses * MEAN_PHOTON_NUMBER), 1, duration_s * PICOSECOND_PER_SECOND)
    start = time.perf_counter()
    timeline.run()
    print(json.dumps({"pulses": pulses, "seconds": time.perf_counter() - start}))


main(int(sys.argv[1]))
