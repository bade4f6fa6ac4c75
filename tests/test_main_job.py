"""The packaged scenario from the command line to the last bit, as `make run` does it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "state"


@pytest.fixture(scope="module")
def report(state: Path) -> Any:
    command = [sys.executable, "-m", "tiandi", "demo", "--seed", "2016", "--json", "--state", str(state)]
    return json.loads(subprocess.run(command, capture_output=True, check=True, timeout=300).stdout)


def test_every_link_and_pass_gives_secret_key(report: Any) -> None:
    rows = report["links"] + [item["row"] for item in report["passes"]]
    assert len(rows) == 42
    for row in rows:
        assert row["aborted"] is None
        assert 0 < row["secret_bit"] < row["sifted_bit"] - row["leaked_bit"]
        assert 0.005 < row["qber"] < 0.03
        assert row["detected"] < row["pulses"]


def test_the_message_crosses_trunk_and_sky(report: Any) -> None:
    route = [hop["receiver"] for hop in report["route"]]
    assert report["route"][0]["sender"] == "Shanghai Pudong"
    assert route[-1] == "Vienna"
    assert len(route) == 41
    (sky,) = [hop for hop in report["route"] if "Micius" in hop["link"]]
    assert (sky["sender"], sky["receiver"]) == ("Xinglong", "Graz")
    assert report["text"]["received"] == report["text"]["sent"]
    assert report["picture"]["identical"]


def test_the_eavesdropper_is_noticed_and_the_message_refused(report: Any) -> None:
    found = report["eavesdropper"]
    assert found["qber"] == pytest.approx(0.256, abs=0.05)  # Five standard deviations of the sample.
    assert found["secret_bit"] == 0
    assert set(found["noticed"]) == {"Nanjing", "Zhenjiang"}
    assert found["message"] == "refused"
    assert "Nanjing - Zhenjiang is out of service" in found["refusal"]


def test_no_key_that_was_delivered_is_in_any_file(report: Any, state: Path) -> None:
    """Pads are known here from message and ciphertext: none of their bytes may be at rest anywhere."""
    sent, wire = report["text"]["sent"].encode(), bytes.fromhex(report["text"]["wire_hex"])
    pad = bytes(plain ^ cipher for plain, cipher in zip(sent, wire, strict=True))
    files = [path.read_bytes() for path in state.rglob("*") if path.is_file()]
    assert len(files) > 100
    for start in range(0, len(pad) - 8, 8):
        for form in (pad[start : start + 8], pad[start : start + 8].hex().encode()):
            assert not any(form in data for data in files)


def test_the_state_is_whole_and_private(report: Any, state: Path) -> None:
    assert json.loads((state / "report.json").read_text()) == report
    assert (state / "picture-sent.png").read_bytes() == (state / "picture-received.png").read_bytes()
    assert len(list((state / "kme").iterdir())) == 43
    for secret in [*state.rglob("*.key"), *state.rglob("*.sqlite")]:
        assert secret.parent.stat().st_mode & 0o077 == 0 or secret.stat().st_mode & 0o077 == 0
