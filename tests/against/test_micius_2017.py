"""The pass of 2016-12-19 over Xinglong as the scenario models it, against Liao et al. 2017 (doi:10.1038/nature23655)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tiandi.quantum.link import LinkBlock
from tiandi.random import twin_generator
from tiandi.scenario.scenario import load_scenario

PUBLISHED = json.loads((Path(__file__).parent / "vectors.json").read_text())["micius2017_consistency"]


@pytest.fixture(scope="module")
def block() -> LinkBlock:
    downlink = load_scenario("shanghai-vienna").downlinks()[0]
    return downlink.link.distil(downlink.duration_s, generator=twin_generator(1, "test"))


def test_sifted_key_and_detections_are_within_what_extinction_and_pointing_leave_open(block: LinkBlock) -> None:
    """The documents say 1 % above; 15 % is what is claimed of the model."""
    assert block.ledger.signal_sifted / PUBLISHED["sifted"] == pytest.approx(1.0, abs=0.15)
    assert block.ledger.detected / PUBLISHED["detections"] == pytest.approx(1.0, abs=0.15)


def test_ratio_of_sifted_to_detected(block: LinkBlock) -> None:
    """0.4706 if every click were light; noise takes away a little, binomial spread is 0.00027."""
    # Published +- 0.00027, ours +- 0.00026.
    assert block.ledger.signal_sifted / block.ledger.detected == pytest.approx(PUBLISHED["ratio"], abs=0.001)


def test_qber_within_six_hundredths_of_a_percent(block: LinkBlock) -> None:
    assert block.ledger.signal_qber == pytest.approx(PUBLISHED["qber"], abs=0.0006)


def test_duration_of_key(block: LinkBlock) -> None:
    assert block.duration_s == pytest.approx(273, abs=2)


def test_the_key_is_between_the_published_one_and_what_perfect_error_correction_gives(block: LinkBlock) -> None:
    perfect = PUBLISHED["lim_hoeffding_from_counts"]["1.0"]["hoeffding"]
    assert PUBLISHED["final_key"] < block.secret_bit < 1.01 * perfect  # 1 % more was sifted.
