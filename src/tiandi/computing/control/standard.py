"""The calibration graph of a chip like Xiaohong: all experiments that come with this package.

Couplers are biased as soon as qubits can be read. That moves the qubits by megahertz, so that spectroscopy and the short Ramsey come once
more before all that is to be exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from importlib import import_module

from tiandi.computing.control.experiment import Experiment
from tiandi.computing.control.experiments import single_qubit_experiments
from tiandi.computing.control.experiments.pairs import pair_experiments
from tiandi.computing.control.experiments.qubit_spectroscopy import IdleSpectroscopy
from tiandi.computing.control.experiments.ramsey import Ramsey, RamseyCoarse
from tiandi.computing.control.graph import Graph
from tiandi.errors import InputError


def standard_graph(*extra: Experiment) -> Graph:
    """Everything, and ``extra``: an experiment whose name is there already takes its place."""
    return Graph(standard_experiments()).with_experiment(*extra)


def standard_experiments() -> tuple[Experiment, ...]:
    """In an order in which they can be measured."""
    single = tuple(
        replace(one, after=(*one.after, "ramsey-coupled")) if isinstance(one, Ramsey) else one for one in single_qubit_experiments()
    )
    again = (
        IdleSpectroscopy(
            name="spectroscopy-coupled", title="Qubit spectroscopy with couplers at their bias", after=("discrimination", "coupler-bias")
        ),
        RamseyCoarse(
            name="ramsey-coupled", title="Ramsey fringes, short window, with couplers at their bias", after=("spectroscopy-coupled",)
        ),
    )
    return (*single, *pair_experiments(), *again)


def experiments_of(name: str) -> tuple[Experiment, ...]:
    """What the function ``module:function`` gives. Raises InputError where there is no such function or it gives something else."""
    module, _, function = name.partition(":")
    try:
        found: Callable[[], Iterable[Experiment]] = getattr(import_module(module), function)
        given = tuple(found())
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise InputError("experiments", name, f"must be module:function that gives experiments ({error})") from None
    wrong = [one for one in given if not callable(getattr(one, "measure", None))]
    if wrong:
        raise InputError("experiments", type(wrong[0]).__name__, "must be experiments: `measure` is missing")
    return given
