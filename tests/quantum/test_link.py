from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from tiandi.distill.records import KeyBlock, ReceiverRecord, TransmitterRecord
from tiandi.errors import ImplausibleStatistics, InputError, PeerAborted, QberTooHigh
from tiandi.physics.equipment import BasisChoice, Receiver, Transmitter
from tiandi.protocols.decoy_bb84 import outcome_probabilities, sample_detections
from tiandi.protocols.event_file import Run, read_run, read_whole, write_blocks
from tiandi.quantum.channel import FibreChannel
from tiandi.quantum.link import Eavesdropper, QkdLink, SecuritySettings


def test_a_block_gives_both_ends_the_same_key(link: QkdLink) -> None:
    block = link.distil(5.0, seed=1)
    alice, bob = block.keys()
    assert alice == bob
    assert not block.aborted
    assert (
        alice.length_bit + block.ledger.authentication_replenished_bit
        <= block.secret_bit
        < alice.length_bit + block.ledger.authentication_replenished_bit + 8
    )


def test_seed_repeats_the_twins_and_not_the_key(link: QkdLink, transmitter: Transmitter, receiver: Receiver) -> None:
    again = QkdLink("Here", "There", transmitter=transmitter, receiver=receiver, channel=FibreChannel(45.0))
    first, second = link.distil(4.0, seed=7), again.distil(4.0, seed=7)
    assert first.ledger.detected == second.ledger.detected
    assert first.ledger.sifted == second.ledger.sifted
    assert first.keys()[0].key != second.keys()[0].key
    assert first.keys()[0].block_id != second.keys()[0].block_id


def test_the_forecast_is_what_blocks_give(link: QkdLink) -> None:
    forecast, block = link.forecast(8.0), link.distil(8.0, seed=3)
    assert block.ledger.detected == pytest.approx(forecast.counts.detected, rel=0.01)
    assert block.ledger.total_sifted_bit == pytest.approx(forecast.counts.sifted.sum(), rel=0.01)
    assert block.secret_bit == pytest.approx(forecast.secret_bit, rel=0.1)


def test_an_eavesdropper_is_noticed_by_both_ends(link: QkdLink) -> None:
    block = link.distil(3.0, seed=1, eavesdropper="intercept-resend")
    assert block.aborted
    assert block.secret_bit == 0
    assert isinstance(block.alice, QberTooHigh)
    assert isinstance(block.bob, QberTooHigh)
    assert block.ledger.qber == pytest.approx(0.255, abs=0.055)  # Five standard deviations of the sample.
    with pytest.raises(QberTooHigh):
        block.keys()


def test_a_link_too_long_gives_no_key(transmitter: Transmitter, receiver: Receiver) -> None:
    link = QkdLink("Here", "Far", transmitter=transmitter, receiver=receiver, channel=FibreChannel(160.0))
    block = link.distil(60.0, seed=1)
    assert block.aborted
    assert block.secret_bit == 0
    assert not isinstance(block.alice, KeyBlock)
    assert link.forecast(60.0).secret_bit == 0


def test_no_key_above_the_bound_of_pirandola(transmitter: Transmitter, receiver: Receiver) -> None:
    """-log2(1 - eta) bits a pulse: Pirandola et al. 2017, doi:10.1038/ncomms15043."""
    for length_km in (1.0, 20.0, 60.0, 90.0):
        channel = FibreChannel(length_km)
        link = QkdLink("Here", "There", transmitter=transmitter, receiver=receiver, channel=channel)
        transmittance = channel.steps(1.0).transmittance[0]
        assert link.forecast(1000.0).secret_bit / (1000.0 * transmitter.clock_hz) < -np.log2(1 - transmittance)


def test_more_loss_never_gives_more_key(transmitter: Transmitter, receiver: Receiver) -> None:
    secret = [
        QkdLink("Here", "There", transmitter=transmitter, receiver=receiver, channel=FibreChannel(length_km)).forecast(100.0).secret_bit
        for length_km in range(10, 150, 10)
    ]
    assert secret == sorted(secret, reverse=True)


def test_blocks_follow_one_another_with_authentication_key_of_their_own(link: QkdLink) -> None:
    for _ in range(12):  # The pre-shared key pays for eight.
        assert not link.distil(4.0).aborted


@pytest.mark.parametrize(("field", "value"), [("epsilon_secrecy", 0.1), ("epsilon_correctness", 0.0), ("qber_limit", 0.2)])
def test_a_promise_out_of_range_is_refused(field: str, value: float) -> None:
    with pytest.raises(InputError, match=field):
        SecuritySettings(**{field: value})


def test_a_block_without_a_pulse_is_refused(link: QkdLink) -> None:
    with pytest.raises(InputError, match="duration_s"):
        link.distil(0.0)


def test_a_block_shows_nothing_of_its_key(link: QkdLink) -> None:
    block = link.distil(4.0, seed=1)
    assert block.keys()[0].key.hex() not in repr(block)
    assert repr(block.keys()[0].key) not in repr(block)


@pytest.mark.parametrize("eavesdropper", ["photon-number-splitting", "unambiguous-discrimination"])
def test_a_link_makes_no_key_under_attacks_that_decoys_notice(link: QkdLink, eavesdropper: Eavesdropper) -> None:
    """Errors stay as they were: it is the counts of decoys that no fibre gives."""
    block = link.distil(10.0, seed=3, eavesdropper=eavesdropper)
    assert isinstance(block.alice, ImplausibleStatistics)
    assert isinstance(block.bob, PeerAborted)
    assert block.ledger.total_leaked_bit == 0


def test_a_link_cannot_tell_a_split_beam_from_the_fibre(link: QkdLink) -> None:
    """And need not: the proof has given the eavesdropper that much."""
    assert not link.distil(10.0, seed=3, eavesdropper="beam-splitting").aborted


@pytest.mark.parametrize("basis_choice", ["passive", "active"])
def test_a_link_with_one_decoy_distils_what_is_forecast(transmitter: Transmitter, receiver: Receiver, basis_choice: BasisChoice) -> None:
    bias = 0.5 if basis_choice == "passive" else 0.8
    link = QkdLink(
        "Here",
        "There",
        transmitter=replace(transmitter, mean_photon_numbers=(0.5, 0.15), probabilities=(0.7, 0.3), x_basis_probability=bias),
        receiver=replace(receiver, basis_choice=basis_choice, x_basis_probability=bias),
        channel=FibreChannel(20.0),
    )
    block = link.distil(20.0, seed=4)
    alice, bob = block.keys()
    assert alice.key == bob.key
    assert block.secret_bit == pytest.approx(link.forecast(20.0).secret_bit, rel=0.05)


def test_an_unknown_eavesdropper_is_refused(link: QkdLink) -> None:
    with pytest.raises(InputError, match="eavesdropper = 'mallory': must be none or one of intercept-resend"):
        link.distil(1.0, eavesdropper="mallory")  # type: ignore[arg-type]


def test_records_from_files_give_key_as_the_twins_do(link: QkdLink, tmp_path: Path) -> None:
    """Each end writes and reads its own file; what distils does not know whether light was real."""
    steps = link.channel.steps(6.0)
    pulses = np.array([int(6.0 * link.transmitter.clock_hz)])
    outcomes = outcome_probabilities(link.transmitter, link.receiver, steps.transmittance)
    records = sample_detections(link.transmitter, link.receiver, outcomes, pulses, np.random.default_rng(3))
    light = link.transmitter.mean_photon_numbers, link.transmitter.probabilities
    for name, record, known in zip(("alice", "bob"), records, (light, ()), strict=True):
        run = Run("decoy BB84", link.transmitter.clock_hz, datetime(2026, 1, 1, tzinfo=UTC), pulses, *known)
        with write_blocks(tmp_path / f"{name}.h5", run, type(record)) as append:
            append(record)
    read = read_whole(tmp_path / "alice.h5", TransmitterRecord), read_whole(tmp_path / "bob.h5", ReceiverRecord)
    run = read_run(tmp_path / "alice.h5")
    block = link.distil_recorded(*read, run)
    alice, bob = block.keys()
    assert alice.key == bob.key
    assert alice.length_bit > 1000
    assert block.pulses == pulses.sum()
    for changes in ({"mean_photon_numbers": (0.4, 0.1, 0.0)}, {"probabilities": (0.6, 0.3, 0.1)}, {"clock_hz": 41e6}):
        with pytest.raises(InputError, match=next(iter(changes))):
            link.distil_recorded(*read, replace(run, **changes))
