"""How fast supply keys cross four hops: five KMEs, each a process; on disk at every node, confirmed end to end, ready at both ends."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from kme_processes import RESERVATION, fdatasync_rate, network
from measure import Figure

KEY_GOAL_US = 1e6 / 5000
KMES = 5
LINK_MEGABYTE = 8
WARM, MEASURED = 8, 100
MICROSECOND = 1e6


def benchmark_kme_relay() -> list[Figure]:
    """Reservations of as many keys as the top-up makes in one, eight under way at once."""
    with tempfile.TemporaryDirectory() as name, network(Path(name), kmes=KMES) as kmes:
        kmes.fill_links(LINK_MEGABYTE)
        first, pairs = kmes.plan.kmes[0], kmes.plan.pairs
        kmes.call(first, "reserve", pairs, WARM)
        before_s = kmes.cpu_s()
        elapsed_s = kmes.call(first, "reserve", pairs, MEASURED)
        spent = {name: after_s - before_s[name] for name, after_s in kmes.cpu_s().items()}
        disk = fdatasync_rate(kmes.folder)
        if kmes.call(first, "ready_count", pairs) != (WARM + MEASURED) * RESERVATION:
            raise RuntimeError("not all keys are ready")
    keys = MEASURED * RESERVATION
    shares = ", ".join(f"{name} {MICROSECOND * seconds / keys:.1f} us" for name, seconds in spent.items())
    what = f"relay a key over {KMES - 1} hops ({keys / elapsed_s:,.0f} keys/s)"
    return [Figure(what, MICROSECOND * elapsed_s / keys, KEY_GOAL_US, "us", f"{shares} a key; disk {disk:,.0f} fdatasync/s")]


if __name__ == "__main__":
    for figure in benchmark_kme_relay():
        print(figure.line())
    sys.exit(0)
