"""Machines for the page: twins, one with qubits and couplers that do not work, one of light, and one without a lattice that never ends."""

from __future__ import annotations

from typing import Any

from tests.computing.cloud.toys import Sleeper
from tiandi.computing.cloud.limits import ORIGIN, TIANYAN
from tiandi.computing.cloud.machines import Machine, TwinMachine
from tiandi.computing.cloud.photonic import PhotonicMachine

CATALOGUE = "tests.computing.cloud.shown:machines"
BROKEN_QUBITS, BROKEN_COUPLER = (7, 40), 60


class Damaged(TwinMachine):
    """Tells that some of it is disabled."""

    def calibration(self) -> dict[str, Any]:
        told = super().calibration()
        for qubit in told["qubits"]:
            qubit["works"] = qubit["qubit"] not in BROKEN_QUBITS
        for coupler in told["couplers"]:
            coupler["works"] = coupler["coupler"] != BROKEN_COUPLER and not set(coupler["qubits"]) & set(BROKEN_QUBITS)
        return told


def machines() -> dict[str, Machine]:
    """By name."""
    shown = (
        TwinMachine("tianyan-176", TIANYAN),
        Damaged("origin-wukong", ORIGIN),
        TwinMachine("zuchongzhi-3.2", TIANYAN),
        PhotonicMachine("jiuzhang-2.0-0.15w"),
        Sleeper("sleeper-60000"),
    )
    return {machine.name: machine for machine in shown}
