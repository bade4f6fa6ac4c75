"""Computes src/tiandi/distill/data/ldpc-degrees.json: which shares of columns have which degree, for syndromes of different length.

Not a benchmark: run it by hand (`python benchmarks/degree_tables.py`, about ten minutes) when the decoder's evolution has changed. For each
rate it looks for the least work, edges times iterations, at ever smaller syndromes, down to 1.11 times the Shannon limit.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from tiandi.distill.ldpc_decoder import qber_of_entropy
from tiandi.distill.ldpc_evolution import evolve

TABLES = Path(__file__).parents[1] / "src" / "tiandi" / "distill" / "data" / "ldpc-degrees.json"
RATES = (0.0125, 0.016, 0.02, 0.025, 0.032, 0.04, 0.05, 0.064, 0.08, 0.1, 0.125, 0.16, 0.2, 0.25, 0.32, 0.4, 0.5, 0.64)
EFFICIENCIES = (1.3, 1.2, 1.17, 1.15, 1.13, 1.12, 1.11)
HOPELESS = 1e4
COLUMNS = 100_000
ORIGIN = (
    "Shares of columns of circulants by degree, for a rate in parities per bit: the least edges times iterations at 1.11 times the Shannon"
    " limit by density evolution of tiandi's decoder (benchmarks/degree_tables.py)."
)


def degrees_for(rate: float) -> NDArray[np.int64]:
    """Long rows of sparse syndromes take columns of higher degree, which need as many rows."""
    return np.array([2, 3, 4, 6, 10, 20] if rate > 0.38 else [2, 3, 5, 8, 12, 24] if rate > 0.09 else [2, 3, 5, 8, 14, 32])


def shares(point: NDArray[np.float64], rate: float) -> NDArray[np.float64]:
    """Shares of columns from unbounded numbers; degree two has 0.3 to 0.85 of what one chain through all rows would take."""
    chained = rate * (0.3 + 0.55 / (1 + math.exp(-point[0])))
    others = np.exp(np.concatenate([[0.0], point[1:]]))
    return np.concatenate([[chained], (1 - chained) * others / others.sum()])


def work(point: NDArray[np.float64], rate: float, efficiency: float) -> float:
    """Edges times iterations per bit; where the errors do not die out, a large number that falls as they become fewer."""
    degrees, counts = degrees_for(rate), np.rint(shares(point, rate) * COLUMNS).astype(np.int64)
    edges, checks = int((degrees * counts).sum()), round(rate * COLUMNS)
    longer = edges % checks
    low = edges // checks
    evolution = evolve(degrees, counts, np.array([low, low + 1]), np.array([checks - longer, longer]), qber_of_entropy(rate / efficiency))
    if not evolution.converges:
        return HOPELESS * (1 + evolution.unsatisfied[-1])
    return edges / COLUMNS * (evolution.iterations + 1)


def best_shares(rate: float) -> NDArray[np.float64]:
    """Search at ever smaller syndromes, each from where the one before ended."""
    point = np.log([1.0, 0.1, 0.25, 0.1, 0.15])
    for efficiency in EFFICIENCIES:
        simplex = np.vstack([point, point + 0.8 * np.eye(point.size)])
        found = minimize(
            work, point, (rate, efficiency), method="Nelder-Mead", options={"maxfev": 250, "initial_simplex": simplex, "fatol": 0.1}
        )
        if found.fun >= HOPELESS:
            break
        point = np.maximum(found.x, -6.0)
    print(
        f"rate {rate}: {work(point, rate, 1.2):.0f} edge iterations a bit at 1.2 times the limit, {work(point, rate, 1.15):.0f} at 1.15",
        flush=True,
    )
    return shares(point, rate)


def main() -> None:
    lines = []
    for rate in RATES:
        columns = {
            int(degree): round(share, 4) for degree, share in zip(degrees_for(rate), best_shares(rate), strict=True) if share > 0.001
        }
        lines.append("    " + json.dumps({"rate": rate, "columns": columns}))
    head = f'{{\n  "label": "computed",\n  "origin": {json.dumps(ORIGIN)},\n  "tables": [\n'
    TABLES.write_text(head + ",\n".join(lines) + "\n  ]\n}\n")


if __name__ == "__main__":
    main()
