"""What may stand in a scenario file: topology, equipment, run and plan, each kept apart."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from tiandi.control.topology import NodeKind, TrustClass
from tiandi.errors import ScenarioError

FORMAT_VERSION = 1

Labels = dict[str, str]
Count = Annotated[int, msgspec.Meta(ge=1)]
Place = Annotated[list[float], msgspec.Meta(min_length=2, max_length=3)]
"""Latitude and longitude [deg], and perhaps altitude [m]."""


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of everything in a scenario file: no field may be misspelt."""


class NodeEntry(Entry, frozen=True, kw_only=True):
    """A node; see `tiandi.control.topology.Node`. A satellite has no place."""

    name: str
    kind: NodeKind
    source: str
    latitude_deg: float | None = None
    longitude_deg: float | None = None
    altitude_m: float = 0.0
    trust: TrustClass = "own"
    telescopes: Count = 1


class NodeListEntry(Entry, frozen=True, kw_only=True):
    """Many nodes alike, each in a line: its name and its place."""

    kind: NodeKind
    source: str
    places: dict[str, Place]
    trust: TrustClass = "own"
    telescopes: Count = 1


class Joint(Entry, frozen=True, kw_only=True):
    """What joins two nodes."""

    ends: tuple[str, str]

    @property
    def name(self) -> str:
        return f"{self.ends[0]} - {self.ends[1]}"


class FibreEntry(Joint, frozen=True, kw_only=True):
    """A fibre link; the first end has the transmitter.

    ``systems`` pairs of modules work side by side on it; a measured ``rate_bps`` of one of them goes before the forecast in studies.
    ``switch`` names the optical switch that it goes through.
    """

    length_km: float
    equipment: str
    source: str
    systems: Count = 1
    switch: str = ""
    rate_bps: float | None = None


class LineEntry(Entry, frozen=True, kw_only=True):
    """A trunk line ``through`` some nodes. Each span has a length, a number of equal ``hops``, and ``systems`` on each hop.

    Between hops stand trusted relays, "NAME relay 1" and so on, at interpolated places. One number holds for every span.
    """

    name: str
    through: Annotated[list[str], msgspec.Meta(min_length=2)]
    length_km: list[float]
    equipment: str
    source: str
    hops: Count | list[Count] = 1
    systems: Count | list[Count] = 1


class SwitchEntry(Entry, frozen=True, kw_only=True):
    """An optical switch; see `tiandi.control.topology.Switch`."""

    name: str
    source: str
    at_once: Count = 1


class GatewayLinkEntry(Joint, frozen=True, kw_only=True):
    """Key that another network shares with this one at a gateway, at a rate that was agreed [bit/s]."""

    rate_bps: float
    source: str


class OrbitEntry(Entry, frozen=True, kw_only=True):
    """A designed orbit (`tiandi.physics.constellation.designed_orbit`) at ``epoch``, else at the start of the plan's window.

    Without an altitude it is that of the satellite's data sheet; without an inclination it is sun-synchronous.
    """

    altitude_km: float | None = None
    inclination_deg: float | None = None
    eccentricity: float = 0.0
    node_deg: float = 0.0
    argument_of_perigee_deg: float = 0.0
    mean_anomaly_deg: float = 0.0
    epoch: str | None = None


class Spacecraft(Entry, frozen=True, kw_only=True):
    """What a satellite is: ``sheet`` names a data sheet of `tiandi.physics.spacecraft`; what is given here goes before it."""

    name: str
    source: str
    sheet: str = ""
    transmitter: str = ""
    buffer_bit: float | None = None
    contact_limit_s: float | None = None
    slew_s: float | None = None
    sunlit_allowed: bool | None = None


class SatelliteEntry(Spacecraft, frozen=True, kw_only=True):
    """A satellite, whose orbit is two lines of elements, or a design, or that of its data sheet."""

    line1: str | None = None
    line2: str | None = None
    orbit: OrbitEntry | None = None


class ConstellationEntry(Spacecraft, frozen=True, kw_only=True):
    """A Walker constellation; see `tiandi.physics.constellation.walker_constellation`. Its satellites are nodes "NAME 1-1" and so on."""

    total: int
    planes: int
    altitude_km: float
    inclination_deg: float | None = None
    phasing: int = 0
    pattern: Literal["delta", "star"] = "delta"
    first_node_deg: float = 0.0
    trust: TrustClass = "own"
    epoch: str | None = None


class PublishedPass(Entry, frozen=True, kw_only=True):
    """What an experiment reported of this pass over a station, or of another; ``label`` says how well it is known here."""

    what: str
    same_pass: bool
    sifted_bit: Annotated[int, msgspec.Meta(ge=1)]
    qber: Annotated[float, msgspec.Meta(gt=0, lt=1)]
    secret_bit: Annotated[int, msgspec.Meta(ge=1)]
    label: str
    source: str
    detected: Annotated[int, msgspec.Meta(ge=1)] | None = None


class DownlinkEntry(Entry, frozen=True, kw_only=True):
    """A link from a satellite to a ground station."""

    satellite: str
    station: str
    receiver: str
    zenith_extinction_db: float
    maximum_range_km: float
    source: str
    transmitter: str = ""
    published: PublishedPass | None = None

    @property
    def ends(self) -> tuple[str, str]:
        return self.satellite, self.station

    @property
    def name(self) -> str:
        return f"{self.satellite} - {self.station}"


class DownlinkGroupEntry(Entry, frozen=True, kw_only=True):
    """Downlinks from each of some satellites to each of some stations. Names may be patterns: "*" is every one, "Dawn *" some."""

    satellites: list[str]
    stations: list[str]
    receiver: str
    zenith_extinction_db: float
    maximum_range_km: float
    source: str


class InterSatelliteEntry(Joint, frozen=True, kw_only=True):
    """A link from the first of two satellites, which has the transmitter, to the second."""

    receiver: str
    source: str


class HandOverEntry(Entry, frozen=True, kw_only=True):
    """Two stations that a satellite makes share key, by the exclusive or of its keys with each."""

    satellite: str
    stations: tuple[str, str]

    @property
    def ends(self) -> tuple[str, str]:
        return self.stations

    @property
    def name(self) -> str:
        return f"{self.stations[0]} - {self.stations[1]} (by {self.satellite})"


class ApplicationEntry(Entry, frozen=True, kw_only=True):
    """A secure application entity (SAE) and the node whose KME serves it."""

    sae: str
    node: str


class Topology(Entry, frozen=True, kw_only=True):
    """What there is and how it is joined. Lists, lines, constellations and groups are short for many of the others."""

    nodes: list[NodeEntry] = []
    node_lists: list[NodeListEntry] = []
    fibres: list[FibreEntry] = []
    lines: list[LineEntry] = []
    switches: list[SwitchEntry] = []
    gateway_links: list[GatewayLinkEntry] = []
    satellites: list[SatelliteEntry] = []
    constellations: list[ConstellationEntry] = []
    downlinks: list[DownlinkEntry] = []
    downlink_groups: list[DownlinkGroupEntry] = []
    inter_satellite_links: list[InterSatelliteEntry] = []
    hand_overs: list[HandOverEntry] = []
    applications: list[ApplicationEntry] = []


class TransmitterSheet(Entry, frozen=True, kw_only=True):
    """Data sheet of a transmitter; see `tiandi.physics.equipment.Transmitter`."""

    clock_hz: float
    mean_photon_numbers: tuple[float, ...]
    probabilities: tuple[float, ...]
    x_basis_probability: float
    divergence_full_angle_urad: float | None = None
    pointing_loss_db: float = 0.0
    pointing_jitter_urad: float = 0.0
    labels: Labels = {}


class DetectorSheet(Entry, frozen=True, kw_only=True):
    """Data sheet of a single-photon detector; see `tiandi.physics.detectors.Detector`."""

    efficiency: float
    dark_count_rate_hz: float
    dead_time_s: float = 0.0
    after_pulse_probability: float = 0.0
    after_pulse_lifetime_s: float = 1e-6
    jitter_fwhm_s: float = 0.0
    labels: Labels = {}


class ReceiverSheet(Entry, frozen=True, kw_only=True):
    """Data sheet of a receiver; see `tiandi.physics.equipment.Receiver`. ``detector`` names a sheet of its own."""

    optics_efficiency: float
    detector: str
    gate_s: float
    misalignment: float
    background_rate_hz: float = 0.0
    timing_sigma_s: float = 0.0
    x_basis_probability: float = 0.5
    basis_choice: Literal["passive", "active"] = "passive"
    aperture_m: float | None = None
    labels: Labels = {}


class FibreLinkSheet(Entry, frozen=True, kw_only=True):
    """Which transmitter, receiver and kind of fibre make a link."""

    transmitter: str
    receiver: str
    attenuation_db_per_km: float
    insertion_loss_db: float = 0.0
    labels: Labels = {}


class Equipment(Entry, frozen=True, kw_only=True):
    """Data sheets by name."""

    transmitters: dict[str, TransmitterSheet] = {}
    detectors: dict[str, DetectorSheet] = {}
    receivers: dict[str, ReceiverSheet] = {}
    fibre_links: dict[str, FibreLinkSheet] = {}


class SkyOptions(Entry, frozen=True, kw_only=True, rename={"start": "from", "end": "to"}):
    """When to look for passes, and what makes one usable."""

    start: str
    end: str
    elevation_cutoff_deg: float
    culmination_deg: float
    sun_elevation_limit_deg: float


class MessageOptions(Entry, frozen=True, kw_only=True):
    """What is sent, from whom to whom; the picture is a file beside the scenario, or a postcard that comes with tiandi."""

    sender: str
    recipient: str
    text: str
    picture: str = ""


class EavesdropperOptions(Entry, frozen=True, kw_only=True):
    """On which link somebody intercepts and resends in the second round."""

    link: str


class RunOptions(Entry, frozen=True, kw_only=True, rename={"demonstration": "message"}):
    """What to do. A fibre link sends until it has about ``block_sifted_bit`` sifted bits, at most ``maximum_block_s``.

    ``notes`` say how far to trust this scenario's model. Only the demonstration needs a message; a study needs none.
    """

    block_sifted_bit: int = 500_000
    maximum_block_s: float = 120.0
    epsilon_secrecy: float = 1e-9
    epsilon_correctness: float = 1e-15
    qber_limit: float = 0.11
    port_base: int = 0
    sky: SkyOptions | None = None
    demonstration: MessageOptions | None = None
    eavesdropper: EavesdropperOptions | None = None
    notes: list[str] = []

    @property
    def message(self) -> MessageOptions:
        """What the demonstration sends. Raises ScenarioError in a scenario for studies only."""
        if self.demonstration is None:
            raise ScenarioError("run.message", None, "the demonstration needs it: say who sends what to whom, or use `tiandi plan`")
        return self.demonstration


class DemandTerms(Entry, frozen=True, kw_only=True):
    """How key is wanted; see `tiandi.planning.inputs.Demand`."""

    rate_bps: float
    source: str
    priority: int = 1
    paths: Count = 1
    least_trust: TrustClass = "foreign"
    post_quantum: bool = False


class DemandEntry(DemandTerms, frozen=True, kw_only=True):
    """Key that one pair of nodes wants."""

    ends: tuple[str, str]


class DemandGroupEntry(DemandTerms, frozen=True, kw_only=True):
    """``rate_bps`` in all, shared by every pair of some nodes as weight (else 1) times weight over distance to ``distance_exponent``."""

    nodes: list[str]
    weights: dict[str, float] = {}
    distance_exponent: float = 0.0


class PricesEntry(Entry, frozen=True, kw_only=True):
    """What things cost; see `tiandi.planning.inputs.Prices`."""

    source: str
    currency: str = "EUR"
    satellite: float | None = None
    station: float | None = None
    aperture_per_metre: float | None = None
    relay: float | None = None
    fibre_per_km_year: float | None = None


class PlanOptions(Entry, frozen=True, kw_only=True, rename={"start": "from", "end": "to"}):
    """What a study asks: when, who wants how much key, under which sky, at which prices.

    ``climates`` gives a station, or a pattern of names, its row in the table of cloud; without one its own name is the row's.
    ``climate_file`` is a table of the user's own, beside the scenario.
    """

    start: str
    end: str
    demands: list[DemandEntry] = []
    demand_groups: list[DemandGroupEntry] = []
    climates: dict[str, str] = {}
    climate_file: str = ""
    elevation_cutoff_deg: float = 10.0
    culmination_deg: float = 20.0
    sun_elevation_limit_deg: float = -6.0
    prices: PricesEntry | None = None


class ScenarioFile(Entry, frozen=True, kw_only=True):
    """A whole file."""

    format: int
    name: str
    title: str
    topology: Topology
    equipment: Equipment = Equipment()
    run: RunOptions = RunOptions()
    plan: PlanOptions | None = None
