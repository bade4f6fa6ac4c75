"""Small networks for tests of studies."""

from __future__ import annotations

from datetime import UTC, datetime

from tiandi.control.topology import Link, Node, Topology
from tiandi.physics.constellation import designed_orbit, sun_synchronous_inclination_deg
from tiandi.physics.detectors import Detector
from tiandi.physics.equipment import Receiver, Transmitter
from tiandi.physics.orbit import Station
from tiandi.planning.climates import Climate
from tiandi.planning.inputs import Demand, PlannedSatellite, PlannedStation, Prices, StudyInputs

START = datetime(2026, 1, 1, tzinfo=UTC)
PLACES = {"North": (40.0, 116.0), "West": (43.0, 88.0), "South": (23.0, 113.0), "East": (31.0, 121.0)}
TRANSMITTER = Transmitter(
    clock_hz=625e6,
    mean_photon_numbers=(0.5, 0.1, 0.0),
    probabilities=(0.5, 0.25, 0.25),
    divergence_full_angle_urad=10.0,
    pointing_loss_db=1.5,
)
RECEIVER = Receiver(
    optics_efficiency=0.3, detector=Detector(0.5, 25.0), gate_s=1e-9, misalignment=0.01, background_rate_hz=10.0, aperture_m=0.6
)


def climate(name: str, cloud: float, persistence_h: float = 12.0) -> Climate:
    return Climate(name, (cloud,) * 12, (persistence_h,) * 12, "made for tests", "assumed")


def sky(
    stations: int = 2, satellites: int = 1, *, cloud: float = 0.0, wanted_bps: float = 5.0, prices: Prices | None = None
) -> StudyInputs:
    """Stations that only satellites join, the first of which wants key with each of the others."""
    names = [f"{place}-{turn}" if turn else place for turn in range(5) for place in PLACES][:stations]
    planned = tuple(
        PlannedStation(
            Station(name, PLACES[name.split("-")[0]][0] + place // 4, PLACES[name.split("-")[0]][1] + place // 4), RECEIVER, 1.0, "site"
        )
        for place, name in enumerate(names)
    )
    flying = tuple(
        PlannedSatellite(
            designed_orbit(
                f"S{number}",
                epoch=START,
                altitude_km=500.0,
                inclination_deg=sun_synchronous_inclination_deg(500.0),
                node_deg=100.0 + 20.0 * number,
                mean_anomaly_deg=37.0 * number,
            ),
            TRANSMITTER,
        )
        for number in range(satellites)
    )
    nodes = [
        Node(station.name, "ground station", latitude_deg=station.station.latitude_deg, longitude_deg=station.station.longitude_deg)
        for station in planned
    ]
    links = [Link(f"{one.name}/{other.name}", (one.name, other.name), "downlink") for one in flying for other in planned]
    demands = tuple(Demand((names[0], name), wanted_bps) for name in names[1:])
    topology = Topology.of([*nodes, *(Node(item.name, "satellite") for item in flying)], links)
    climates: dict[str, object] = {"site": climate("site", cloud)}
    return StudyInputs("sky", "A sky for tests", topology, flying, planned, demands, climates, prices)


def chain(rate_bps: float = 1000.0, wanted_bps: float = 400.0) -> StudyInputs:
    """Four nodes on a line of fibres, whose ends want key."""
    nodes = [Node(name) for name in "ABCD"]
    links = [Link(f"{one}{other}", (one, other), "fibre", rate_bps, 60.0) for one, other in ("AB", "BC", "CD")]
    return StudyInputs("chain", "A chain for tests", Topology.of(nodes, links), demands=(Demand(("A", "D"), wanted_bps),))
