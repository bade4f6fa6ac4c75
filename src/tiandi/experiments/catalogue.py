"""Every experiment there is, in the order of the table."""

from __future__ import annotations

from collections.abc import Sequence

from tiandi.errors import InputError
from tiandi.experiments.continuous_variable import CONTINUOUS_VARIABLE
from tiandi.experiments.downlink import JINAN1, MICIUS, MICIUS_RELAY, NETWORK
from tiandi.experiments.entanglement import DEVICE_INDEPENDENT, ENTANGLEMENT, ENTANGLEMENT_KEY
from tiandi.experiments.experiment import Experiment
from tiandi.experiments.fibre import FIBRE_10KM, FIBRE_421KM, GYS
from tiandi.experiments.teleportation import TELEPORTATION
from tiandi.experiments.untrusted_relay import MDI_404KM, TWIN_FIELD_511KM, TWIN_FIELD_833KM, TWIN_FIELD_1002KM

EXPERIMENTS = (
    MICIUS,
    ENTANGLEMENT,
    TELEPORTATION,
    MICIUS_RELAY,
    ENTANGLEMENT_KEY,
    NETWORK,
    JINAN1,
    GYS,
    FIBRE_421KM,
    FIBRE_10KM,
    MDI_404KM,
    TWIN_FIELD_511KM,
    TWIN_FIELD_833KM,
    TWIN_FIELD_1002KM,
    CONTINUOUS_VARIABLE,
    DEVICE_INDEPENDENT,
)


def choose_experiments(names: Sequence[str]) -> list[Experiment]:
    """The experiments called ``names``, or all when there are none. Raises InputError on a name that none has."""
    known = {experiment.name: experiment for experiment in EXPERIMENTS}
    for name in names:
        if name not in known:
            raise InputError("NAME", name, f"must be one of {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(names)] if names else list(EXPERIMENTS)
