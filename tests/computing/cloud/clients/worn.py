"""The twins with a machine on which not everything works: qubit 3 of tianyan176 is disabled, with its couplers."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from tiandi.computing.cloud.limits import ORIGIN, TIANYAN
from tiandi.computing.cloud.machines import Machine, TwinMachine
from tiandi.computing.machines.twin import build_twin

CATALOGUE = "tests.computing.cloud.clients.worn:machines"
DISABLED = 3


class Worn(TwinMachine):
    """A twin with a disabled qubit."""

    @cached_property
    def _twin(self) -> Any:
        twin = build_twin(self._sheet, seed=self._seed)
        qubits, couplers = twin.calibration.qubit_works.copy(), twin.calibration.coupler_works.copy()
        qubits[DISABLED] = False
        couplers[np.any(twin.lattice.couplers == DISABLED, axis=1)] = False
        return replace(twin, calibration=replace(twin.calibration, qubit_works=qubits, coupler_works=couplers))


def machines() -> dict[str, Machine]:
    """What the clients meet."""
    tianyan: list[Machine] = [Worn("tianyan-176", TIANYAN), TwinMachine("tianyan-287", TIANYAN)]
    return {machine.name: machine for machine in [*tianyan, Worn("origin-wukong", ORIGIN)]}
