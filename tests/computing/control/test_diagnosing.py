"""Diagnoses: data made wrong in one way are called wrong in that way, good data good."""

from __future__ import annotations

import numpy as np
import pytest

from tiandi.computing.control.diagnosing import Diagnosis, amount, diagnose, second_line
from tiandi.computing.control.fitting import fit_damped_cosine, fit_decay, fit_lorentzian, fit_parabola

TARGETS, X, SIGMA = 100, np.linspace(0.0, 1.0, 101), 0.02
RANDOM = np.random.default_rng(11)
NOISE = RANDOM.normal(0.0, SIGMA, (TARGETS, len(X)))


def bell(centre: float, width: float, height: float) -> np.ndarray:
    return height / (1.0 + (2.0 * (X - centre) / width) ** 2)


LINES = {
    "good": (bell(0.5, 0.1, 0.5), "", ""),
    "dip": (-bell(0.5, 0.1, 0.5), "", ""),
    "empty": (np.zeros_like(X), "no signal", "power"),
    "edge": (bell(0.99, 0.1, 0.5), "edge of the scan", "shift"),
    "two": (bell(0.3, 0.05, 0.5) + bell(0.7, 0.05, 0.4), "two lines where one was expected", ""),
    "weak": (bell(0.5, 0.1, 0.08), "contrast too small", "power"),
    "wide": (bell(0.5, 0.9, 0.5), "wide, the scan only", "widen"),
}


@pytest.mark.parametrize("case", LINES)
def test_lines(case: str) -> None:
    signal, words, remedy = LINES[case]
    found = diagnose(fit_lorentzian(X, signal + NOISE, SIGMA), "line", unit="V", least_swing=0.2 if case != "empty" else 0.0)
    share = np.mean([(words in verdict) and bool(verdict) == bool(words) for verdict in found.verdicts])
    assert share > 0.85, found.verdicts[:3]
    if words:
        assert set(found.remedies[[words in verdict for verdict in found.verdicts]]) == {remedy}
        assert not found.good.all()


def test_noise_beyond_shots_is_told() -> None:
    found = diagnose(fit_lorentzian(X, bell(0.5, 0.1, 0.5) + 4.0 * NOISE, SIGMA), "line")
    assert np.mean(["times more than shots explain" in verdict for verdict in found.verdicts]) > 0.9
    assert len(found.needs("average")) > 90


def test_a_second_line_is_found_where_it_is() -> None:
    place, share = second_line(fit_lorentzian(X, bell(0.3, 0.05, 0.5) + bell(0.7, 0.05, 0.3) + NOISE, SIGMA))
    assert np.median(place) == pytest.approx(0.7, abs=0.02)
    assert np.median(share) == pytest.approx(0.5, abs=0.2)
    assert (second_line(fit_lorentzian(X, bell(0.3, 0.05, 0.5) + NOISE, SIGMA))[1] < 0.35).all()


OSCILLATIONS = {
    "good": (5.0, 1.0, "", ""),
    "slow": (0.3, 0.0, "too long for the window|no whole period", "lengthen"),
    "fast": (48.0, 0.0, "aliased", "refine"),
    "overdamped": (3.0, 15.0, "decays before a period|but not as the model|no whole period", "shorten"),
}


@pytest.mark.parametrize("case", OSCILLATIONS)
def test_oscillations(case: str) -> None:
    frequency, rate, words, remedy = OSCILLATIONS[case]
    signal = 0.5 + 0.4 * np.exp(-rate * X) * np.cos(2.0 * np.pi * frequency * X)
    found = diagnose(fit_damped_cosine(X, signal + NOISE, SIGMA), "oscillation", unit="s")
    fitting = [any(word in verdict for word in words.split("|")) and bool(verdict) == bool(words) for verdict in found.verdicts]
    assert np.mean(fitting) > 0.9, found.verdicts[:3]
    assert remedy in set(found.remedies[fitting])


@pytest.mark.parametrize(("time", "words"), [(0.3, ""), (30.0, "too slow|no signal"), (0.004, "over within the first steps")])
def test_decays(time: float, words: str) -> None:
    found = diagnose(fit_decay(X, 0.1 + 0.8 * np.exp(-X / time) + NOISE, SIGMA), "decay", unit="s")
    fitting = [any(word in verdict for word in words.split("|")) and bool(verdict) == bool(words) for verdict in found.verdicts]
    assert np.mean(fitting) > 0.9, found.verdicts[:3]


def test_an_extremum_beyond_the_scan_asks_for_another_place() -> None:
    inside, beyond = (diagnose(fit_parabola(X, (X - place) ** 2 + NOISE, SIGMA), "extremum", unit="V") for place in (0.4, 1.3))
    assert inside.good.all()
    assert len(beyond.needs("shift")) == TARGETS


def test_no_data_is_no_signal_but_said_so() -> None:
    found = diagnose(fit_decay(X, np.full((2, len(X)), np.nan)), "decay")
    assert all("hardly any data" in verdict for verdict in found.verdicts)


def test_the_first_reason_counts_and_carries_its_numbers() -> None:
    found = Diagnosis.clean(3)
    found.blame(np.array([True, False, False]), "off by {size}", "widen", size=np.array(["1 V", "2 V", "3 V"]))
    found.blame(np.array([True, True, False]), "late", "lengthen")
    assert found.verdicts.tolist() == ["off by 1 V", "late", ""]
    assert found.needs("widen", "shift").tolist() == [0]
    assert found.good.tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (5.1234567e9, "Hz", "5.123457 GHz"),
        (3.4e-5, "s", "34 us"),
        (-250e6, "Hz", "-250 MHz"),
        (0.0123, "", "0.0123"),
        (np.nan, "s", "unknown"),
    ],
)
def test_amounts_read_well(value: float, unit: str, text: str) -> None:
    assert amount(value, unit) == text
