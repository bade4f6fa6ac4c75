from datetime import UTC, datetime

from tiandi.errors import DistillationAborted, NoSecretKey, PeerAborted, QberTooHigh
from tiandi.management.alarms import Alarm, FaultManager

NOW = datetime(2016, 12, 19, tzinfo=UTC)


def alarm_for(faults: FaultManager, *causes: DistillationAborted) -> Alarm:
    return faults.block_aborted("a - b", NOW, dict(zip("ab", causes, strict=True)))


def test_an_eavesdropper_puts_the_link_out_of_service_until_cleared() -> None:
    faults = FaultManager()
    alarm = alarm_for(faults, QberTooHigh(0.25, 0.11), QberTooHigh(0.25, 0.11))
    assert (alarm.severity, alarm.noticed_by) == ("critical", ("a", "b"))
    assert faults.out_of_service("a - b") == "QBER 0.250 is above the limit of 0.110"
    assert faults.alarms == [alarm]
    faults.clear("a - b")
    assert faults.out_of_service("a - b") is None


def test_a_dark_block_is_an_alarm_but_no_attack() -> None:
    faults = FaultManager()
    assert alarm_for(faults, NoSecretKey("too dark"), PeerAborted("too dark")).severity == "major"
    assert faults.out_of_service("a - b") is None
