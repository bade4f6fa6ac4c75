"""The machines behind the cloud: one interface for the server, which must accept at once, and for workers, which run.

A server asks a machine for `Machine.prepare` before it accepts anything, so that stays cheap and imports no compiler; a program whose
reader needs a large library (`Machine.is_slow_to_read`), and a long one, are prepared in a process of their own (see `pool.Reader`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cached_property
from importlib import import_module
from typing import Any, Protocol, runtime_checkable

from tiandi.computing.circuits.circuit import BARRIER, Circuit
from tiandi.computing.circuits.languages import language_of, read_program
from tiandi.computing.circuits.program import Program
from tiandi.computing.cloud.clicks import ClickFigures
from tiandi.computing.cloud.jobs import Outcome
from tiandi.computing.cloud.limits import ORIGIN, TIANYAN, Limit
from tiandi.computing.cloud.photonic import photonic_machines
from tiandi.errors import InputError

THROUGH_CZ = frozenset({"cx", "cy", "swap"})
"""Two-qubit gates that are written with cz where a machine has that."""
_WIDE = re.compile(r"(?<!\w)q(?!\s*\[)|CONTROL|DAGGER")
"""In OriginIR: a line may stand for a gate on every qubit, or for many gates."""
DEFAULT_CATALOGUE = "tiandi.computing.cloud.machines:twins"


class Machine(Protocol):
    """A quantum computer, or its twin."""

    name: str
    limits: tuple[Limit, ...]

    def facts(self) -> dict[str, Any]:
        """What is known of it, fit for JSON: name, maker, qubits and couplers, or modes, native_gates, note, languages."""
        ...

    def calibration(self) -> dict[str, Any]:
        """Its qubits and couplers as they are now, fit for JSON."""
        ...

    def is_slow_to_read(self, program: str, language: str | None) -> bool:
        """Whether it may take long to read, for its reader's imports or for what few words can mean. Raises InputError for no language."""
        ...

    def prepare(self, program: str, language: str | None, *, compile: bool) -> Program:
        """A program's circuit and classical bits. Raises InputError for one that could never run here, naming line or qubit."""
        ...

    def run(self, program: Program, shots: int, *, seed: int, compile: bool) -> Outcome:
        """Run a prepared program. Raises InputError for one that is beyond the machine, with the cost that was computed."""
        ...


@runtime_checkable
class ClickingMachine(Protocol):
    """A photonic machine, whose outcomes are clicks that can be held against the ideal ones."""

    def clicks(self, program: Program, outcome: Outcome) -> ClickFigures:
        """Totals and correlations of an outcome of a prepared program."""
        ...


Catalogue = Callable[[], Mapping[str, Machine]]


def open_catalogue(name: str) -> Mapping[str, Machine]:
    """The machines that the function ``module:function`` gives, or the twins and the machine of a data sheet, a .toml.

    Raises InputError where there is no such function, or no such sheet.
    """
    if name.endswith(".toml"):
        from tiandi.computing.control.sheet import read_sheet  # noqa: PLC0415 - other clouds need no control system.

        machine, others = read_sheet(name).sheet.id, twins()
        if machine in others:
            raise InputError("machines", machine, "is the name of another machine: `tiandi control export sheet --name`")
        return {**others, machine: TwinMachine(machine, TIANYAN, file=name)}
    module, _, function = name.partition(":")
    try:
        found: Catalogue = getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError("machines", name, f"must be module:function ({error})") from None
    return found()


def require_machine(machines: Mapping[str, Machine], name: str) -> Machine:
    """The machine of a name. Raises InputError naming those that exist."""
    if name not in machines:
        raise InputError("machine", name, f"must be one of {', '.join(machines)}")
    return machines[name]


def require_clicks(machine: Machine) -> ClickingMachine:
    """``machine``. Raises InputError unless it is a photonic one."""
    if not isinstance(machine, ClickingMachine):
        raise InputError("machine", machine.name, "has no clicks to tell of: it must be a photonic machine")
    return machine


def require_measured(program: Program) -> Program:
    """``program``. Raises InputError unless it measures something."""
    if not program.classical_bits:
        raise InputError("program", f"{len(program.circuit.operations)} operations", "must measure a qubit, else it has no result")
    return program


class TwinMachine:
    """The twin of a machine, built when it is first asked for. ``seed`` says which of the machines with its ``sheet``.

    Or the one that a ``file`` describes: a data sheet that the control system wrote.
    """

    def __init__(self, name: str, limits: tuple[Limit, ...], seed: int = 1, *, sheet: str | None = None, file: str | None = None) -> None:
        self.name, self.limits, self._seed, self._sheet, self._file = name, limits, seed, sheet or name, file

    @cached_property
    def _twin(self) -> Any:
        if self._file is not None:
            from tiandi.computing.control.sheet import read_sheet  # noqa: PLC0415 - other machines need no control system.

            return read_sheet(self._file)
        from tiandi.computing.machines.twin import build_twin  # noqa: PLC0415 - a server's other machines need not wait for it.

        return build_twin(self._sheet, seed=self._seed)

    @cached_property
    def _works(self) -> tuple[frozenset[int], frozenset[tuple[int, int]]]:
        """Qubits and couplers (smaller qubit first) that work."""
        twin = self._twin
        qubits = frozenset(number for number, works in enumerate(twin.calibration.qubit_works.tolist()) if works)
        pairs = zip(twin.lattice.couplers.tolist(), twin.calibration.coupler_works.tolist(), strict=True)
        return qubits, frozenset((first, second) for (first, second), works in pairs if works and {first, second} <= qubits)

    def facts(self) -> dict[str, Any]:
        """See `Machine.facts`."""
        sheet, lattice = self._twin.sheet, self._twin.lattice
        return {
            "name": self.name, "title": sheet.name, "maker": sheet.maker, "kind": sheet.kind, "year": sheet.year, "size": sheet.size,
            "note": sheet.note, "twin": True, "qubits": lattice.qubit_count, "couplers": len(lattice.couplers),
            "qubits_that_work": len(self._works[0]), "couplers_that_work": len(self._works[1]), "native_gates": list(sheet.native_gates),
        }  # fmt: skip

    def calibration(self) -> dict[str, Any]:
        """See `Machine.calibration`. Errors are Pauli errors; readout_error is the mean of both."""
        data, lattice = self._twin.calibration, self._twin.lattice
        readout = (data.one_for_zero + data.zero_for_one) / 2
        columns = {
            "works": data.qubit_works, "frequency_hz": data.frequency_hz, "anharmonicity_hz": data.anharmonicity_hz, "t1_s": data.t1_s,
            "t2_s": data.t2_s, "single_qubit_error": data.single_qubit_error, "one_for_zero": data.one_for_zero,
            "zero_for_one": data.zero_for_one, "readout_error": readout,
        }  # fmt: skip
        by_qubit = zip(*(column.tolist() for column in columns.values()), strict=True)
        by_coupler = zip(data.coupler_works.tolist(), data.two_qubit_error.tolist(), data.coupling_hz.tolist(), strict=True)
        return {
            "machine": self.name,
            "age_s": data.age_s,
            "single_qubit_gate_s": data.single_qubit_gate_s,
            "two_qubit_gate_s": data.two_qubit_gate_s,
            "readout_s": data.readout_s,
            "qubits": [
                {"qubit": number, "row": row, "column": column, **dict(zip(columns, values, strict=True))}
                for number, ((row, column), values) in enumerate(zip(lattice.position.tolist(), by_qubit, strict=True))
            ],
            "couplers": [
                {"coupler": number, "qubits": pair, "works": works, "two_qubit_error": error, "coupling_hz": coupling_hz}
                for number, (pair, (works, error, coupling_hz)) in enumerate(zip(lattice.couplers.tolist(), by_coupler, strict=True))
            ],
        }

    def is_slow_to_read(self, program: str, language: str | None) -> bool:
        """See `Machine.is_slow_to_read`."""
        name = language_of(program) if language is None else language.lower()
        return name == "openqasm" or (name == "originir" and _WIDE.search(program) is not None)

    def prepare(self, program: str, language: str | None, *, compile: bool) -> Program:
        """See `Machine.prepare`."""
        read = require_measured(read_program(program, language))
        circuit, (qubits, couplers) = read.circuit, self._works
        most_bits = self._twin.lattice.qubit_count + len(read.classical_bits)
        if read.classical_bit_count > most_bits:
            raise InputError("program", f"{read.classical_bit_count} classical bits", f"must be at most {most_bits}, of which all are kept")
        if not compile:
            _require_working(circuit, self.name, self._twin.lattice.qubit_count, qubits, couplers)
            _require_native(circuit, frozenset(self._twin.native_gates))
        elif len(circuit.used_qubits) > len(qubits):
            raise InputError("program", f"{len(circuit.used_qubits)} qubits", f"{self.name} has {len(qubits)} qubits that work")
        return read

    def run(self, program: Program, shots: int, *, seed: int, compile: bool) -> Outcome:
        """See `Machine.run`."""
        from tiandi.computing.cloud.running import run_on_twin  # noqa: PLC0415 - only workers need compilers and engines.

        return run_on_twin(self._twin, program, shots, seed=seed, compile=compile)


def _require_working(circuit: Circuit, name: str, count: int, qubits: frozenset[int], couplers: frozenset[tuple[int, int]]) -> None:
    """Raise InputError where a circuit touches a qubit or coupler of machine ``name`` that does not work or is not there."""
    for qubit in circuit.used_qubits:
        if qubit not in qubits:
            why = "is disabled" if qubit < count else f"is not there: qubits are 0 to {count - 1}"
            raise InputError("qubit", qubit, f"of {name} {why}; ask for compile to have the circuit laid out on qubits that work")
    for operation in circuit.operations:
        if len(operation.qubits) == 2 and operation.name != BARRIER:
            first, second = sorted(operation.qubits)
            if (first, second) not in couplers:
                raise InputError(
                    "coupler",
                    f"{first}-{second}",
                    f"{name} has no working coupler there ({operation.name}); ask for compile to have it routed",
                )


def _require_native(circuit: Circuit, native: frozenset[str]) -> None:
    """Raise InputError for a two-qubit gate that a machine does not have."""
    pairs = {operation.name for operation in circuit.operations if len(operation.qubits) == 2 and operation.name != BARRIER}
    if wrong := sorted(pairs - native - (THROUGH_CZ if "cz" in native else frozenset())):
        raise InputError("gate", wrong[0], f"is not native: use {', '.join(sorted(native))}, or ask for compile")


_TIANYAN_TWINS = ("zuchongzhi-2.0", "zuchongzhi-2.1", "tianyan-176", "tianyan-287", "zuchongzhi-3.0", "zuchongzhi-3.2")
_ORIGIN_TWINS = ("origin-wukong",)


def twins() -> dict[str, Machine]:
    """The twins of the machines that clouds lend, of those of the same makers, and of the photonic Jiuzhang machines."""
    machines: dict[str, Machine] = {name: TwinMachine(name, TIANYAN) for name in _TIANYAN_TWINS}
    machines["tianyan-176-2"] = TwinMachine("tianyan-176-2", TIANYAN, seed=2, sheet="tianyan-176")
    return machines | {name: TwinMachine(name, ORIGIN) for name in _ORIGIN_TWINS} | photonic_machines()
