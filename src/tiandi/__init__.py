"""tiandi (sky and ground): China's quantum programme as running software.

>>> import tiandi
>>> link = tiandi.load_scenario("shanghai-vienna").link("Jinan - Tai'an")
>>> block = link.distil(30, seed=2016)
>>> alice, bob = block.keys()
>>> alice.key == bob.key
True

Names are imported when they are first used, so that ``import tiandi`` takes no time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tiandi.errors import TiandiError
    from tiandi.physics.detectors import Detector
    from tiandi.physics.equipment import Receiver, Transmitter
    from tiandi.physics.orbit import Elements, Station
    from tiandi.physics.passes import SatellitePass, Visibility, find_passes
    from tiandi.quantum.channel import DownlinkChannel, FibreChannel, InterSatelliteChannel, UplinkChannel
    from tiandi.quantum.link import LinkBlock, QkdLink, SecuritySettings
    from tiandi.scenario.demonstration import demonstrate
    from tiandi.scenario.scenario import Scenario, load_scenario

__version__ = "0.1.0"

__all__ = [
    "Detector",
    "DownlinkChannel",
    "Elements",
    "FibreChannel",
    "InterSatelliteChannel",
    "LinkBlock",
    "QkdLink",
    "Receiver",
    "SatellitePass",
    "Scenario",
    "SecuritySettings",
    "Station",
    "TiandiError",
    "Transmitter",
    "UplinkChannel",
    "Visibility",
    "demonstrate",
    "find_passes",
    "load_scenario",
]

_HOMES = {
    "errors": ["TiandiError"],
    "physics.detectors": ["Detector"],
    "physics.equipment": ["Receiver", "Transmitter"],
    "physics.orbit": ["Elements", "Station"],
    "physics.passes": ["SatellitePass", "Visibility", "find_passes"],
    "quantum.channel": ["DownlinkChannel", "FibreChannel", "InterSatelliteChannel", "UplinkChannel"],
    "quantum.link": ["LinkBlock", "QkdLink", "SecuritySettings"],
    "scenario.demonstration": ["demonstrate"],
    "scenario.scenario": ["Scenario", "load_scenario"],
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'tiandi' has no attribute {name!r}")
    return getattr(import_module(f"tiandi.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
