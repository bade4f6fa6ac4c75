"""Prints each figure beside its goal and beside a peer on the same work in the same run.

`make bench` installs the peers into an environment of their own and runs everything; a peer that is not there is reported as not run.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # Figures are those of one core; must be said before numpy is imported.
HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from amplification import benchmark_amplification  # noqa: E402
from cascade import benchmark_cascade  # noqa: E402
from cloud import benchmark_cloud  # noqa: E402
from contact_plan import benchmark_contact_plan  # noqa: E402
from contacts import benchmark_contacts  # noqa: E402
from control_bringup import benchmark_control_bringup  # noqa: E402
from control_peers import benchmark_control_peers  # noqa: E402
from correction import benchmark_correction  # noqa: E402
from detections import benchmark_detections  # noqa: E402
from end_to_end import benchmark_end_to_end  # noqa: E402
from engines import benchmark_stabilizer, benchmark_state_vector, benchmark_trajectories  # noqa: E402
from flow import benchmark_flow  # noqa: E402
from gbs_exact import benchmark_gbs_exact  # noqa: E402
from gbs_matrix_product_state import benchmark_gbs_matrix_product_state  # noqa: E402
from gbs_samplers import benchmark_gbs_samplers  # noqa: E402
from gbs_uses import benchmark_gbs_uses  # noqa: E402
from gbs_validate import benchmark_gbs_validate  # noqa: E402
from key_lengths import benchmark_key_lengths  # noqa: E402
from kme_handshakes import benchmark_kme_handshakes  # noqa: E402
from kme_load import benchmark_kme_load  # noqa: E402
from kme_relay import benchmark_kme_relay  # noqa: E402
from kme_store import benchmark_kme_store  # noqa: E402
from ldpc import benchmark_ldpc  # noqa: E402
from living import benchmark_living  # noqa: E402
from main_job import benchmark_main_job  # noqa: E402
from measure import Figure  # noqa: E402
from network_day import benchmark_network_day  # noqa: E402
from passes import benchmark_passes  # noqa: E402
from pulse_evolutions import benchmark_pulse_evolutions  # noqa: E402
from random_circuits import benchmark_random_circuits  # noqa: E402
from routing import benchmark_routing  # noqa: E402
from sifting import benchmark_sifting  # noqa: E402
from study import benchmark_study  # noqa: E402
from viewers import benchmark_viewers  # noqa: E402
from window import benchmark_window  # noqa: E402

BENCHMARKS: dict[str, Callable[[], list[Figure]]] = {
    "detections": benchmark_detections,
    "key_lengths": benchmark_key_lengths,
    "passes": benchmark_passes,
    "contact_plan": benchmark_contact_plan,
    "contacts": benchmark_contacts,
    "flow": benchmark_flow,
    "network_day": benchmark_network_day,
    "routing": benchmark_routing,
    "study": benchmark_study,
    "viewers": benchmark_viewers,
    "window": benchmark_window,
    "living": benchmark_living,
    "sifting": benchmark_sifting,
    "cascade": benchmark_cascade,
    "ldpc": benchmark_ldpc,
    "amplification": benchmark_amplification,
    "end_to_end": benchmark_end_to_end,
    "main_job": benchmark_main_job,
    "kme_load": benchmark_kme_load,
    "kme_handshakes": benchmark_kme_handshakes,
    "kme_store": benchmark_kme_store,
    "kme_relay": benchmark_kme_relay,
    "cloud": benchmark_cloud,
    "state_vector": benchmark_state_vector,
    "trajectories": benchmark_trajectories,
    "stabilizer": benchmark_stabilizer,
    "random_circuits": benchmark_random_circuits,
    "correction": benchmark_correction,
    "pulse_evolutions": benchmark_pulse_evolutions,
    "control_bringup": benchmark_control_bringup,
    "control_peers": benchmark_control_peers,
    "gbs_samplers": benchmark_gbs_samplers,
    "gbs_exact": benchmark_gbs_exact,
    "gbs_matrix_product_state": benchmark_gbs_matrix_product_state,
    "gbs_validate": benchmark_gbs_validate,
    "gbs_uses": benchmark_gbs_uses,
}
USAGE = f"usage: python benchmarks/run.py [--json] [{'] ['.join(BENCHMARKS)}]"


def main() -> int:
    arguments = [argument for argument in sys.argv[1:] if argument != "--json"]
    unknown = set(arguments) - set(BENCHMARKS)
    if unknown:
        print(f"{USAGE}\nno such benchmark: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    figures: list[Figure] = []
    for name in arguments or BENCHMARKS:
        found = BENCHMARKS[name]()
        figures += found
        if "--json" not in sys.argv:
            print(*(figure.line() for figure in found), sep="\n", flush=True)
    if "--json" in sys.argv:
        print(json.dumps([asdict(figure) for figure in figures], indent=1))
    return 0 if all(figure.met for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
