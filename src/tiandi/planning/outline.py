"""The world's coast lines, for maps: no borders of countries, which a map of a network needs none of."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray


@cache
def coast_lines() -> tuple[NDArray[np.float64], ...]:
    """Lines along the coasts, each of shape (n, 2): longitude and latitude [deg]; none crosses the 180th meridian.

    Natural Earth 4.1.0, 1:110 million, land (public domain), from the npm package world-atlas 2.0.2, to 0.01 degree. A line that ends where
    it begins bounds an island or a continent; the arrays must not be written to.
    """
    data = json.loads(files("tiandi.planning").joinpath("data", "coast-110m.json").read_text(encoding="utf-8"))
    lines = tuple(np.cumsum(np.array(steps).reshape(-1, 2), axis=0) * data["unit_deg"] for steps in data["lines"])
    for line in lines:
        line.setflags(write=False)
    return lines
