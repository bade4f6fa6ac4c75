"""What may stand in a scenario file: topology, equipment and run options, each kept apart."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

FORMAT_VERSION = 1

Labels = dict[str, str]


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of everything in a scenario file: no field may be misspelt."""


class NodeEntry(Entry, frozen=True, kw_only=True):
    """A trusted node; ground stations and satellites are trusted nodes too. A satellite has no place."""

    name: str
    kind: Literal["trusted node", "ground station", "satellite"]
    source: str
    latitude_deg: float | None = None
    longitude_deg: float | None = None
    altitude_m: float = 0.0


class FibreEntry(Entry, frozen=True, kw_only=True):
    """A fibre link; the first end has the transmitter."""

    ends: tuple[str, str]
    length_km: float
    equipment: str
    source: str

    @property
    def name(self) -> str:
        return f"{self.ends[0]} - {self.ends[1]}"


class SatelliteEntry(Entry, frozen=True, kw_only=True):
    """Two-line elements of a satellite."""

    name: str
    line1: str
    line2: str
    source: str


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
    transmitter: str
    receiver: str
    zenith_extinction_db: float
    maximum_range_km: float
    source: str
    published: PublishedPass | None = None

    @property
    def ends(self) -> tuple[str, str]:
        return self.satellite, self.station

    @property
    def name(self) -> str:
        return f"{self.satellite} - {self.station}"


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
    """What there is and how it is joined."""

    nodes: list[NodeEntry]
    fibres: list[FibreEntry]
    satellites: list[SatelliteEntry] = []
    downlinks: list[DownlinkEntry] = []
    hand_overs: list[HandOverEntry] = []
    applications: list[ApplicationEntry]


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

    transmitters: dict[str, TransmitterSheet]
    detectors: dict[str, DetectorSheet]
    receivers: dict[str, ReceiverSheet]
    fibre_links: dict[str, FibreLinkSheet]


class SkyOptions(Entry, frozen=True, kw_only=True, rename={"start": "from", "end": "to"}):
    """When to look for passes, and what makes one usable."""

    start: str
    end: str
    elevation_cutoff_deg: float
    culmination_deg: float
    sun_elevation_limit_deg: float


class MessageOptions(Entry, frozen=True, kw_only=True):
    """What is sent, from whom to whom; the picture is a file beside the scenario."""

    sender: str
    recipient: str
    text: str
    picture: str


class EavesdropperOptions(Entry, frozen=True, kw_only=True):
    """On which link somebody intercepts and resends in the second round."""

    link: str


class RunOptions(Entry, frozen=True, kw_only=True):
    """What to do. A fibre link sends until it has about ``block_sifted_bit`` sifted bits, at most ``maximum_block_s``.

    ``notes`` say how far to trust this scenario's model.
    """

    block_sifted_bit: int
    maximum_block_s: float
    epsilon_secrecy: float
    epsilon_correctness: float
    qber_limit: float
    message: MessageOptions
    port_base: int = 0
    sky: SkyOptions | None = None
    eavesdropper: EavesdropperOptions | None = None
    notes: list[str] = []


class ScenarioFile(Entry, frozen=True, kw_only=True):
    """A whole file."""

    format: int
    name: str
    title: str
    topology: Topology
    equipment: Equipment
    run: RunOptions
