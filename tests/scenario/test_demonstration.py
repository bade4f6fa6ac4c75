"""The whole way on a small ring: with another way round when one link is tapped, and without."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tests.conftest import RING_SCENARIO
from tests.scenario.test_scenario import Edit, edited
from tiandi.errors import InputError, ScenarioError, StateError
from tiandi.scenario.demonstration import demonstrate
from tiandi.scenario.scenario import load_scenario


@pytest.fixture
def ring(tmp_path: Path) -> Edit:
    return edited(RING_SCENARIO, tmp_path)


def test_a_message_crosses_the_ring_and_goes_round_the_eavesdropper(tmp_path: Path) -> None:
    report, pictures = demonstrate(load_scenario(str(RING_SCENARIO)), seed=1, eavesdropped_link="North - East", state=tmp_path / "state")
    assert report.text.received == report.text.sent == "round the ring"
    assert report.picture.identical
    assert pictures.received == pictures.sent == RING_SCENARIO.with_name("dot.png").read_bytes()
    assert pictures.sent not in pictures.wire
    assert [hop.receiver for hop in report.route] == ["East"]

    eavesdropper = report.eavesdropper
    assert eavesdropper is not None
    assert eavesdropper.qber == pytest.approx(0.255, abs=0.04)
    assert set(eavesdropper.noticed) == {"North", "East"}
    assert all("is above the limit" in what for what in eavesdropper.noticed.values())
    assert eavesdropper.secret_bit == 0
    assert eavesdropper.message == "carried by another way"
    assert [hop.receiver for hop in eavesdropper.route] == ["West", "South", "East"]
    assert eavesdropper.refusal is None

    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == [
        "kme",
        "picture-on-the-wire.bin",
        "picture-received.png",
        "picture-sent.png",
        "pki",
        "report.json",
        "tiandi-state.json",
    ]


def test_without_another_way_the_message_is_refused(ring: Edit) -> None:
    cut = ring(('ends = ["West", "North"]', 'ends = ["West", "East"]'))
    report, _ = demonstrate(cut, seed=1, eavesdropped_link="North - East")
    assert report.eavesdropper is not None
    assert report.eavesdropper.message == "refused"
    assert report.eavesdropper.refusal is not None
    assert "North - East is out of service (QBER" in report.eavesdropper.refusal


def test_the_accounts_of_all_kmes_balance() -> None:
    report, _ = demonstrate(load_scenario(str(RING_SCENARIO)), seed=2)
    keys_bit = 256 * report.key_count
    assert report.accounts["North"]["supply sae-north sae-east master 256"] == {"delivered": keys_bit}
    assert report.accounts["East"]["supply sae-north sae-east slave 256"] == {"delivered": keys_bit}
    spent = {
        (node, stock): sums["spent"] for node, account in report.accounts.items() for stock, sums in account.items() if "spent" in sums
    }
    overhead_bit = 128 + 256
    assert spent == dict.fromkeys([("North", "link kme-east own"), ("East", "link kme-north peer")], keys_bit + overhead_bit)
    for row in report.links:
        stored = row.secret_bit - row.ledger.authentication_replenished_bit
        here, there = row.link.split(" - ")
        halves = [sum(report.accounts[here][f"link kme-{there.lower()} {end}"].values()) for end in ("own", "peer")]
        assert stored - 8 < sum(halves) + 256 <= stored, "256 bits of a block are the key of the tag that compared it"


def test_a_run_repeats_its_twins_with_its_seed() -> None:
    first, second = (demonstrate(load_scenario(str(RING_SCENARIO)), seed=5)[0] for _ in range(2))
    assert [row.detected for row in first.links] == [row.detected for row in second.links]
    assert [row.sifted_bit for row in first.links] == [row.sifted_bit for row in second.links]
    assert first.text.wire_hex != second.text.wire_hex


def test_bad_input_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    scenario, state = load_scenario(str(RING_SCENARIO)), tmp_path / "state"
    with pytest.raises(InputError, match="message"):
        demonstrate(scenario, text="", state=state)
    with pytest.raises(ScenarioError, match="eavesdropper = 'Moon - Earth'"):
        demonstrate(scenario, eavesdropped_link="Moon - Earth", state=state)
    assert list(tmp_path.iterdir()) == []


def test_a_port_in_use_is_named_and_leaves_nothing(ring: Edit, tmp_path: Path) -> None:
    with socket.socket() as taken:
        # Below the ports that the system gives to others, so that those before it are free.
        port = 24_000 + os.getpid() % 4_000
        taken.bind(("127.0.0.1", port))
        taken.listen()
        scenario = ring(("qber_limit = 0.11", f"qber_limit = 0.11\nport_base = {port - 2}"))
        with pytest.raises(StateError, match=rf"run.port_base \(for the KME of South\) = {port}: cannot listen"):
            demonstrate(scenario, state=tmp_path / "out" / "state")
    assert not (tmp_path / "out").exists()


def test_a_message_that_no_hop_can_carry_is_refused_before_light_is_sent(ring: Edit, tmp_path: Path) -> None:
    short = ring(("block_sifted_bit = 300_000", "block_sifted_bit = 160_000"))
    with pytest.raises(InputError, match=r"message = '2048 bytes': is more than this network is expected to carry: North - East holds"):
        demonstrate(short, text="x" * 2048, state=tmp_path / "out" / "state")
    assert not (tmp_path / "out").exists()


def test_the_longest_message_crosses_in_portions(ring: Edit) -> None:
    report, _ = demonstrate(ring(("block_sifted_bit = 300_000", "block_sifted_bit = 900_000")), text="x" * 2048, seed=1)
    assert report.text.received == "x" * 2048
    assert report.key_count == 129
