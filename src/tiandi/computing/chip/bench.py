"""The chip at the moment of a program, with its electronics."""

from __future__ import annotations

from dataclasses import dataclass

from tiandi.computing.chip.conditions import Conditions
from tiandi.computing.chip.parameters import Hidden
from tiandi.computing.instruments.instrument import Electronics, Settings


@dataclass(frozen=True, eq=False)
class Bench:
    """What a program meets: hidden parameters, what drift and biases make of them, and how the electronics are set."""

    hidden: Hidden
    electronics: Electronics
    settings: Settings
    now: Conditions
