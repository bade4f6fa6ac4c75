"""Mixer calibration: the leak of the local oscillator and the image of a tone, nulled with the spectrum analyser.

A spectrum analyser sees only the size of a wave. Three looks, with two known waves added in turn, give its phase as well:
|c|^2, |c + d|^2 and |c + i d|^2 are linear in c once the first is subtracted. Further rounds, with smaller waves, take away what noise
and the analyser's scale left of the first. The errors are those of Jolin et al. (doi 10.1063/5.0025836).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tiandi.computing.control.experiment import Findings, Look, Measurement
from tiandi.computing.control.experiments.node import HOUR_S, Node, verdicts
from tiandi.computing.control.knowledge import Knowledge
from tiandi.computing.instruments.instrument import Settings, Spectrum, copied
from tiandi.computing.instruments.program import ComplexArray, FloatArray, IntArray

TONE_AMPLITUDE = 0.5
"""Of the tone that the analyser plays (`Instrument.monitor`)."""
ROUNDS = 3
SMALLEST = 3e-4
"""Waves added are as large as what is there, for then the analyser's error counts least, and not smaller than this."""
GOOD_DBC = -55.0
"""Leak and image below this do not move a qubit that sits 10 MHz beside them during a gate."""


def size(level_dbc: FloatArray) -> FloatArray:
    """Amplitude over that of the tone, of a level in dBc."""
    return 10.0 ** (np.asarray(level_dbc, float) / 20.0)


@dataclass(frozen=True)
class Mixer(Node):
    """Nulls each drive line's leak and image. Targets are drive lines, by number."""

    name: str = "mixer"
    title: str = "Mixer calibration"
    valid_s: float = 8.0 * HOUR_S

    def measure(self, knowledge: Knowledge, targets: IntArray) -> Measurement:
        spectrum: Spectrum = yield Look(targets)
        for _ in range(ROUNDS):
            base = copied(knowledge.settings)
            leak, image = [TONE_AMPLITUDE * size(spectrum.leakage_dbc)], [size(spectrum.image_dbc)]
            leak_step, image_step = np.maximum(leak[0], SMALLEST), np.maximum(image[0], SMALLEST)
            for turn in (1.0, 1.0j):
                trial = copied(base)
                trial.drive_offset[targets] += turn * leak_step
                # An imbalance is subtracted where an offset is added.
                trial.drive_imbalance[targets] -= turn * image_step
                yield trial
                look: Spectrum = yield Look(targets)
                leak.append(TONE_AMPLITUDE * size(look.leakage_dbc))
                image.append(size(look.image_dbc))
            settings = copied(base)
            settings.drive_offset[targets] -= _wave(leak, leak_step)
            settings.drive_imbalance[targets] += _wave(image, image_step)
            yield settings
            spectrum = yield Look(targets)
        return self._findings(knowledge.settings, targets, spectrum)

    def _findings(self, settings: Settings, targets: IntArray, spectrum: Spectrum) -> Findings:
        values = {"leakage_dbc": spectrum.leakage_dbc, "image_dbc": spectrum.image_dbc}
        loud = np.maximum(spectrum.leakage_dbc, spectrum.image_dbc) > GOOD_DBC
        return Findings(
            values,
            {name: np.full(len(targets), 1.0) for name in values},
            verdicts(len(targets), (loud, f"leak or image stays above {GOOD_DBC:.0f} dBc after {ROUNDS} rounds")),
            reported=frozenset(values),
        )


def _wave(sizes: list[FloatArray], step: FloatArray) -> ComplexArray:
    """The wave c whose sizes |c|, |c + step|, |c + i step| were seen."""
    alone, real, imaginary = (value**2 for value in sizes)
    return np.asarray(((real - alone - step**2) + 1j * (imaginary - alone - step**2)) / (2.0 * step), np.complex128)
