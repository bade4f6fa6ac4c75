"""What page and report show of a calibration, fit for JSON: NaN becomes None, numbers have at most nine digits."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tiandi.computing.control.curves import CurveKeeper
from tiandi.computing.control.experiment import Curves
from tiandi.computing.control.graph import STATES, Condition, Graph
from tiandi.computing.control.knowledge import Element, Knowledge
from tiandi.computing.instruments.program import FloatArray
from tiandi.errors import InputError

ELEMENTS: dict[str, Element] = {"qubit": "qubit", "coupler": "coupler"}
BIASES: dict[str, Element] = {"flux_bias_v": "qubit", "coupler_bias_v": "coupler"}
"""Settings that are shown as parameters are."""
_STATE = re.compile(r"state:(.+)")


@dataclass(frozen=True)
class Board:
    """A calibration at one moment, to be looked at."""

    graph: Graph
    knowledge: Knowledge
    condition: Condition
    curves: CurveKeeper
    now_s: float
    """Laboratory time."""

    def chip(self) -> dict[str, Any]:
        """The chip, its flags, what is known of it and how far each experiment has come."""
        electronics, knowledge = self.knowledge.electronics, self.knowledge
        counts = self.condition.counts(self.graph, knowledge, self.now_s)
        parameters = {name: known.element for name, known in sorted(dict(knowledge.parameters).items())} | BIASES
        return {
            "name": electronics.name,
            "now_s": round(self.now_s, 3),
            "position": electronics.position.tolist(),
            "couplers": electronics.couplers.tolist(),
            "sound": {element: len(knowledge.sound(element)) for element in ELEMENTS.values()},
            "parameters": [{"name": name, "element": element} for name, element in parameters.items()],
            "experiments": [
                {
                    "name": name,
                    "title": self.graph[name].title,
                    "element": self.graph[name].element,
                    "after": list(self.graph[name].after),
                    "counts": counts[name],
                }
                for name in self.graph.order
            ],
            "flags": [vars(flag) for flag in tuple(knowledge.flags)],
        }

    def parameter(self, name: str) -> dict[str, Any]:
        """One parameter of all elements; "state:rabi" gives the words of an experiment's states. InputError for a name nobody knows."""
        state = _STATE.fullmatch(name)
        if state is not None:
            experiment = self.graph[state[1]]
            numbers = self.condition.state(experiment, self.knowledge, self.now_s)
            return {"name": name, "element": experiment.element, "value": [STATES[number] for number in numbers]}
        if name in BIASES:
            return {"name": name, "element": BIASES[name], "value": listed(getattr(self.knowledge.settings, name))}
        known = self.knowledge.parameters.get(name)
        if known is None:
            raise InputError("parameter", name, f"must be one of {', '.join(sorted([*self.knowledge.parameters, *BIASES]))}")
        return {
            "name": name,
            "element": known.element,
            "value": listed(known.value),
            "uncertainty": listed(known.uncertainty),
            "measured_s": listed(known.measured_s),
        }

    def element(self, kind: str, index: int) -> dict[str, Any]:
        """All that is known of one qubit or coupler. InputError for one that the chip does not have."""
        element = self.require(kind, index)
        knowledge = self.knowledge
        parameters = [
            {"name": name, "value": plain(known.value[index]), "uncertainty": plain(known.uncertainty[index])}
            for name, known in sorted(dict(knowledge.parameters).items())
            if known.element == element and np.isfinite(known.value[index])
        ]
        bias = next(name for name, of in BIASES.items() if of == element)
        return {
            "kind": element,
            "index": index,
            "flags": [vars(flag) for flag in tuple(knowledge.flags) if (flag.element, flag.index) == (element, index)],
            "parameters": [*parameters, {"name": bias, "value": plain(getattr(knowledge.settings, bias)[index]), "uncertainty": None}],
            "experiments": [self._progress(name, index) for name in self.graph.order if self.graph[name].element == element],
        }

    def _progress(self, name: str, index: int) -> dict[str, Any]:
        experiment = self.graph[name]
        progress = self.condition.of(experiment, self.knowledge)
        state = self.condition.state(experiment, self.knowledge, self.now_s)[index]
        return {
            "name": name,
            "title": experiment.title,
            "state": STATES[state],
            "reason": progress.reason.get(index, ""),
            "measured_s": plain(progress.measured_s[index]),
            "curves": bool(np.isin(index, self.curves.elements(name))),
        }

    def fit(self, experiment: str, index: int) -> dict[str, Any]:
        """Data and model of one element. InputError for an experiment that nobody knows or that kept none of it."""
        kind = self.graph[experiment].element
        self.require(kind, index)
        found = self.curves.of(experiment, index)
        if found is None:
            raise InputError(f"{experiment}: {kind}", index, "has no curve: it was not measured, or the experiment draws none")
        return {"experiment": experiment, "title": self.graph[experiment].title, **drawn(found)}

    def require(self, kind: str, index: int) -> Element:
        """The kind of an element that there is. InputError for another."""
        if kind not in ELEMENTS:
            raise InputError("element", kind, f"must be one of {', '.join(ELEMENTS)}")
        element = ELEMENTS[kind]
        last = self.knowledge.elements(element) - 1
        if not 0 <= index <= last:
            raise InputError(kind, index, f"must be from 0 to {last}")
        return element


def drawn(curves: Curves) -> dict[str, Any]:
    """Curves of one target: x (points), y and model (points), or (rows, points) with ``rows``."""
    return {
        "x_name": curves.x_name,
        "y_name": curves.y_name,
        "rows_name": curves.rows_name,
        "x": listed(curves.x[0]),
        "y": listed(curves.y[0]),
        "model": None if curves.model is None else listed(curves.model[0]),
        "rows": None if curves.rows is None else listed(curves.rows),
    }


def plain(value: float) -> float | None:
    """Nine digits, or None for what is no finite number."""
    return float(f"{float(value):.9g}") if np.isfinite(value) else None


def listed(values: FloatArray) -> list[Any]:
    """An array as lists."""
    if np.ndim(values) > 1:
        return [listed(row) for row in values]
    return [plain(value) for value in values]


def encoded(value: object) -> str:
    """JSON that may stand within a page: no tag can begin in it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def chosen_elements(board: Board, qubits: Sequence[int], couplers: Sequence[int]) -> dict[str, dict[str, Any]]:
    """What a report shows of some elements: "qubit:3" -> the element and its fits."""
    found: dict[str, dict[str, Any]] = {}
    for kind, indices in (("qubit", qubits), ("coupler", couplers)):
        for index in indices:
            element = board.element(kind, index)
            fits = {one["name"]: board.fit(one["name"], index) for one in element["experiments"] if one["curves"]}
            found[f"{kind}:{index}"] = {"element": element, "fits": fits}
    return found
