"""What a study asks about: a network, its sky and weather, who wants how much key, and what things cost. Plain data, which pickles."""

from __future__ import annotations

from dataclasses import dataclass, field

from tiandi.control.topology import Topology, TrustClass
from tiandi.errors import InputError
from tiandi.limits import require_within
from tiandi.physics.equipment import Receiver, Transmitter
from tiandi.physics.orbit import Elements, Station
from tiandi.physics.passes import Visibility
from tiandi.planning.climates import Climate


@dataclass(frozen=True)
class PlannedSatellite:
    """A satellite of a study; its name is that of a node. ``labels`` say, field by field, how well its data sheet is known.

    It keeps at most ``buffer_bit`` of key. It points at no more than ``contact_limit_s`` a day, which is what its batteries and thermal
    design allow, and takes ``slew_s`` from one station to the next. ``sunlit_allowed`` where its optics may work while the sun is on it.
    """

    elements: Elements
    transmitter: Transmitter
    buffer_bit: float = 1e12
    contact_limit_s: float = 86_400.0
    slew_s: float = 60.0
    sunlit_allowed: bool = True
    labels: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_within(f"satellites ({self.name}).buffer_bit", self.buffer_bit, 0.0, 1e15)
        require_within(f"satellites ({self.name}).contact_limit_s", self.contact_limit_s, 0.0, 86_400.0)
        require_within(f"satellites ({self.name}).slew_s", self.slew_s, 0.0, 3600.0)

    @property
    def name(self) -> str:
        return self.elements.name


@dataclass(frozen=True)
class PlannedStation:
    """A ground station of a study; its name is that of a node. ``climate`` names its row in the table of cloud."""

    station: Station
    receiver: Receiver
    zenith_extinction_db: float
    climate: str
    visibility: Visibility = field(default_factory=lambda: Visibility(10.0, 20.0, -6.0))
    maximum_range_km: float = 2_000.0
    telescopes: int = 1
    slew_s: float = 60.0

    @property
    def name(self) -> str:
        return self.station.name


@dataclass(frozen=True)
class Demand:
    """Key [bit/s] that two nodes want all the time; 0 is served first. ``paths`` node-disjoint ways make a key together.

    Only nodes of at least ``least_trust`` may be on the way. With ``post_quantum`` its keys travel under ML-KEM as well.
    """

    ends: tuple[str, str]
    rate_bps: float
    priority: int = 1
    paths: int = 1
    least_trust: TrustClass = "foreign"
    post_quantum: bool = False

    def __post_init__(self) -> None:
        require_within(f"demands ({self.name}).rate_bps", self.rate_bps, 0.0, 1e12)
        require_within(f"demands ({self.name}).paths", self.paths, 1, 16)
        if self.ends[0] == self.ends[1]:
            raise InputError("demands.ends", self.ends, "must be two different nodes")

    @property
    def name(self) -> str:
        return f"{self.ends[0]} - {self.ends[1]}"


@dataclass(frozen=True)
class Prices:
    """What things cost in ``currency``; None where the scenario does not say. Per year of the study where that is in the name."""

    currency: str = "EUR"
    satellite: float | None = None
    station: float | None = None
    aperture_per_metre: float | None = None
    relay: float | None = None
    fibre_per_km_year: float | None = None
    source: str = ""


@dataclass(frozen=True)
class StudyInputs:
    """Everything a study knows. Links of ``topology`` of the kind "downlink" join satellites and stations of the same names.

    ``notes`` say how far to trust its model. Raises InputError on names that do not fit together.
    """

    name: str
    title: str
    topology: Topology
    satellites: tuple[PlannedSatellite, ...] = ()
    stations: tuple[PlannedStation, ...] = ()
    demands: tuple[Demand, ...] = ()
    climates: dict[str, Climate] = field(default_factory=dict)
    prices: Prices | None = None
    epsilon_secrecy: float = 1e-9
    epsilon_correctness: float = 1e-15
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for where, names in (
            ("satellites", [satellite.name for satellite in self.satellites]),
            ("stations", [station.name for station in self.stations]),
            ("demands.ends", [end for demand in self.demands for end in demand.ends]),
        ):
            for name in names:
                if name not in self.topology.nodes:
                    raise InputError(where, name, "there is no such node")
