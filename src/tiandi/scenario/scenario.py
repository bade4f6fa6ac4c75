"""A scenario: its file read and checked, its links and passes made from it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from functools import cached_property, partial
from importlib import resources
from math import ceil
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from PIL import Image

from tiandi.clock import format_utc, parse_utc
from tiandi.errors import NoPassError, ScenarioError
from tiandi.physics.detectors import Detector
from tiandi.physics.equipment import Receiver, Transmitter
from tiandi.physics.orbit import Elements, Station
from tiandi.physics.passes import SatellitePass, Visibility, find_passes
from tiandi.quantum.channel import DownlinkChannel, FibreChannel
from tiandi.quantum.link import QkdLink, SecuritySettings
from tiandi.scenario import schema
from tiandi.scenario.checks import check_names, known, named, within
from tiandi.scenario.expansion import expand
from tiandi.scenario.reading import read_file
from tiandi.scenario.satellites import elements_of, spacecraft_of
from tiandi.service.messaging import require_file, require_text

DEFAULT_PICTURE = "postcard.png"
USEFUL_SECRET_BIT = 2048
"""A block with less than this is used up by its own authentication and one relayed key."""

Made = TypeVar("Made")


@dataclass(frozen=True)
class PlannedLink:
    """A link and how long its block takes; ``satellite_pass`` and ``published`` for downlinks."""

    link: QkdLink
    duration_s: float
    satellite_pass: SatellitePass | None = None
    published: schema.PublishedPass | None = None


def packaged_scenarios() -> list[str]:
    """Names of the scenarios that come with tiandi."""
    return sorted(item.name.removesuffix(".toml") for item in _data().iterdir() if item.name.endswith(".toml"))


def load_scenario(name: str) -> Scenario:
    """The packaged scenario ``name``, or the one in the TOML file ``name``. Raises ScenarioError naming field, value and limit."""
    if name in packaged_scenarios():
        with resources.as_file(_data() / f"{name}.toml") as path:
            return _read(path)
    path = Path(name)
    if path.suffix != ".toml" or not path.is_file():
        raise ScenarioError("scenario", name, f"must be one of {', '.join(packaged_scenarios())}, or an existing TOML file")
    return _read(path)


def _data() -> Any:
    return resources.files("tiandi.scenario") / "data"


def _read(path: Path) -> Scenario:
    return Scenario(read_file(path), path.parent)


class Scenario:
    """A checked scenario. Raises ScenarioError on names that do not fit together and values out of their range."""

    def __init__(self, file: schema.ScenarioFile, folder: Path) -> None:
        if file.format != schema.FORMAT_VERSION:
            raise ScenarioError("format", file.format, f"must be {schema.FORMAT_VERSION}")
        self.file = file = expand(file)
        self.folder = folder
        self.name, self.title = file.name, file.title
        check_names(file)
        options = file.run
        within("run.block_sifted_bit", options.block_sifted_bit, 10_000, 100_000_000)
        within("run.maximum_block_s", options.maximum_block_s, 1.0, 86_400.0)
        within("run.port_base", options.port_base, 0, 65_535 - len(file.topology.nodes))
        self.security = named(
            "run",
            lambda: SecuritySettings(options.epsilon_secrecy, options.epsilon_correctness, options.qber_limit),
        )
        if options.demonstration is not None:
            self._check_message(options.demonstration)
        self._links = {entry.name: self._fibre_link(number, entry) for number, entry in enumerate(file.topology.fibres)}

    @property
    def picture_path(self) -> Path:
        """The picture that the demonstration sends. Raises ScenarioError in a scenario without a message."""
        picture = self.file.run.message.picture
        return self.folder / picture if picture else Path(str(_data() / DEFAULT_PICTURE))

    def _check_message(self, message: schema.MessageOptions) -> None:
        named("run.message", lambda: require_text(message.text, "text"))
        if not self.picture_path.is_file():
            raise ScenarioError("run.message.picture", message.picture, "must be a file beside the scenario")
        named("run.message", partial(require_file, self.picture_path.stat().st_size, "picture"))
        try:
            with Image.open(self.picture_path) as picture:
                picture.verify()
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise ScenarioError("run.message.picture", message.picture, f"must be a picture: {error}") from None

    # Links.

    def require_fibre_link(self, name: str, field: str) -> None:
        """Raise ScenarioError, with the names nearest to it, unless ``name`` is a fibre link."""
        known(field, name, [entry.name for entry in self.file.topology.fibres])

    def link(self, name: str) -> QkdLink:
        """The fibre link called ``name`` ("Jinan - Tai'an"). Raises ScenarioError when there is none."""
        self.require_fibre_link(name, "link")
        return self._links[name]

    def fibre_links(self) -> list[PlannedLink]:
        """Every fibre link with the duration of its block. Raises ScenarioError for one that key cannot cross."""
        return [self._planned(number, entry) for number, entry in enumerate(self.file.topology.fibres)]

    def _fibre_link(self, number: int, entry: schema.FibreEntry, length_km: float | None = None) -> QkdLink:
        sheet = self.file.equipment.fibre_links[entry.equipment]
        channel = named(
            f"topology.fibres[{number}]",
            lambda: FibreChannel(entry.length_km if length_km is None else length_km, sheet.attenuation_db_per_km, sheet.insertion_loss_db),
        )
        return QkdLink(
            *entry.ends,
            transmitter=self._transmitter(sheet.transmitter),
            receiver=self.receiver(sheet.receiver),
            channel=channel,
            security=self.security,
        )

    def _block_duration_s(self, link: QkdLink) -> float:
        """Whole seconds after which about `RunOptions.block_sifted_bit` bits are sifted, at most `RunOptions.maximum_block_s`."""
        rate_bps = float(link.forecast(1.0).counts.sifted.sum())
        return min(float(ceil(self.file.run.block_sifted_bit / rate_bps)), self.file.run.maximum_block_s)

    def _planned(self, number: int, entry: schema.FibreEntry) -> PlannedLink:
        link = self._links[entry.name]
        duration_s = self._block_duration_s(link)
        if link.forecast(duration_s).secret_bit < USEFUL_SECRET_BIT:
            limit_km = self._longest_useful_km(number, entry)
            why = f"the limit of equipment '{entry.equipment}' is {limit_km:.0f} km"
            if limit_km < 1.0:
                why = f"equipment '{entry.equipment}' makes no key at any length; look at its figures"
            raise ScenarioError(
                f"topology.fibres[{number}].length_km ({entry.name})", entry.length_km, f"no key can cross this link: {why}"
            )
        return PlannedLink(link, duration_s)

    def fibre_rate_bps(self, number: int) -> float:
        """Expected key rate of one system of a fibre [bit/s], block after block. Raises ScenarioError when key cannot cross it."""
        planned = self._planned(number, self.file.topology.fibres[number])
        return planned.link.forecast(planned.duration_s).secret_bit / planned.duration_s

    def _longest_useful_km(self, number: int, entry: schema.FibreEntry) -> float:
        """The greatest length, to 1 km, over which this equipment makes a useful block."""
        low, high = 0.0, entry.length_km
        while high - low > 1.0:
            middle = (low + high) / 2
            link = self._fibre_link(number, entry, middle)
            useful = link.forecast(self._block_duration_s(link)).secret_bit >= USEFUL_SECRET_BIT
            low, high = (middle, high) if useful else (low, middle)
        return low

    def _transmitter(self, name: str) -> Transmitter:
        return _from_sheet(Transmitter, self.file.equipment.transmitters[name], f"equipment.transmitters.{name}")

    def sender(self, satellite: str, named_by_link: str = "") -> Transmitter:
        """The transmitter of a satellite: that which its link names, its own, or that of its data sheet.

        Raises ScenarioError when it has none.
        """
        entry = self._satellites[satellite]
        name = named_by_link or entry.transmitter
        if name:
            return self._transmitter(name)
        sheet = spacecraft_of(entry)
        if sheet is None or sheet.transmitter is None:
            raise ScenarioError(f"topology.satellites ({satellite}).sheet", entry.sheet, "must be of a satellite that sends light down")
        return sheet.transmitter

    def receiver(self, name: str) -> Receiver:
        """The receiver of that name in the scenario's equipment."""
        equipment = self.file.equipment
        sheet = equipment.receivers[name]
        detector = _from_sheet(Detector, equipment.detectors[sheet.detector], f"equipment.detectors.{sheet.detector}")
        return _from_sheet(Receiver, sheet, f"equipment.receivers.{name}", detector=detector)

    # Sky.

    @cached_property
    def window(self) -> tuple[datetime, datetime]:
        """From when to when passes are looked for. Raises ScenarioError in a scenario without a sky."""
        sky = self._sky()
        return parse_utc(sky.start, "run.sky.from"), parse_utc(sky.end, "run.sky.to")

    @cached_property
    def plan_window(self) -> tuple[datetime, datetime]:
        """From when to when a study looks, as the plan says, else the sky. Raises ScenarioError when neither does or it is empty."""
        plan, sky = self.file.plan, self.file.run.sky
        if plan is None and sky is None:
            raise ScenarioError("plan.from", None, "must say when the study begins")
        start, end = self.window if plan is None else (parse_utc(plan.start, "plan.from"), parse_utc(plan.end, "plan.to"))
        if end <= start:
            raise ScenarioError("plan.to", format_utc(end), f"must be later than from = {format_utc(start)}")
        return start, end

    def _sky(self) -> schema.SkyOptions:
        """The sky of the demonstration, or where there is none that of the plan."""
        if self.file.run.sky is not None:
            return self.file.run.sky
        plan = self.file.plan
        if plan is None or not self.file.topology.downlinks:
            raise ScenarioError("scenario", self.name, "has no satellites")
        return schema.SkyOptions(
            start=plan.start,
            end=plan.end,
            elevation_cutoff_deg=plan.elevation_cutoff_deg,
            culmination_deg=plan.culmination_deg,
            sun_elevation_limit_deg=plan.sun_elevation_limit_deg,
        )

    def elements(self, satellite: str) -> Elements:
        """The elements of a satellite. Raises ScenarioError when there is none of that name, ElementsError when its lines cannot be."""
        known("satellite", satellite, self._satellites)
        return elements_of(self._satellites[satellite], self.plan_window[0])

    @cached_property
    def _nodes(self) -> dict[str, schema.NodeEntry]:
        return {entry.name: entry for entry in self.file.topology.nodes}

    @cached_property
    def _satellites(self) -> dict[str, schema.SatelliteEntry]:
        return {entry.name: entry for entry in self.file.topology.satellites}

    def passes(self, *, station: str | None = None, start: datetime | None = None, end: datetime | None = None) -> list[SatellitePass]:
        """Usable passes over every station, or one, in order of time; without times, in the scenario's window.

        Raises ScenarioError for an unknown station or a scenario without a sky, ElementsError when the elements are not of that time.
        """
        self._sky()
        stations = [downlink.station for downlink in self.file.topology.downlinks]
        if station is not None:
            known("station", station, stations)
        found = [
            satellite_pass
            for downlink in self.file.topology.downlinks
            if station in (None, downlink.station)
            for satellite_pass in self._passes_of(downlink, start or self.window[0], end or self.window[1])
        ]
        return sorted(found, key=lambda satellite_pass: satellite_pass.start)

    def downlinks(self) -> list[PlannedLink]:
        """Each downlink with its first usable pass after that of the downlink before it. Raises NoPassError when there is none."""
        planned = []
        if self.file.topology.downlinks:
            start, end = self.window
            for entry in self.file.topology.downlinks:
                passes = self._passes_of(entry, start, end)
                if not passes:
                    window = f"{format_utc(start)} to {format_utc(end)}"
                    raise NoPassError("run.sky", window, f"no usable pass of {entry.satellite} over {entry.station} lies in it; widen it")
                planned.append(self._downlink(entry, passes[0]))
                start = passes[0].end
        return planned

    def _passes_of(self, entry: schema.DownlinkEntry, start: datetime, end: datetime) -> list[SatellitePass]:
        sky = self._sky()
        # The data sheets count the background of a dark sky.
        within("run.sky.sun_elevation_limit_deg", sky.sun_elevation_limit_deg, -90.0, 0.0)
        visibility = named("run.sky", lambda: Visibility(sky.elevation_cutoff_deg, sky.culmination_deg, sky.sun_elevation_limit_deg))
        return find_passes(self.elements(entry.satellite), self.station(entry.station), start=start, end=end, visibility=visibility)

    def station(self, name: str) -> Station:
        """The place of a ground station. Raises ScenarioError when it has none."""
        node = self._nodes[name]
        if node.latitude_deg is None or node.longitude_deg is None:
            raise ScenarioError("topology.nodes", name, "a ground station needs latitude_deg and longitude_deg")
        latitude_deg, longitude_deg = node.latitude_deg, node.longitude_deg
        return named(f"topology.nodes ({name})", lambda: Station(name, latitude_deg, longitude_deg, node.altitude_m))

    def _downlink(self, entry: schema.DownlinkEntry, satellite_pass: SatellitePass) -> PlannedLink:
        transmitter, receiver = self.sender(entry.satellite, entry.transmitter), self.receiver(entry.receiver)
        channel = named(
            f"topology.downlinks ({entry.name})",
            lambda: DownlinkChannel(transmitter, receiver, satellite_pass, entry.zenith_extinction_db, entry.maximum_range_km),
        )
        if not channel.steps().duration_s.size:
            raise ScenarioError(
                f"topology.downlinks ({entry.name}).maximum_range_km",
                entry.maximum_range_km,
                f"the satellite comes no closer than {satellite_pass.closest_km:.0f} km",
            )
        link = QkdLink(entry.satellite, entry.station, transmitter=transmitter, receiver=receiver, channel=channel, security=self.security)
        return PlannedLink(link, satellite_pass.duration_s, satellite_pass, entry.published)


def _from_sheet(made: type[Made], sheet: msgspec.Struct, where: str, **parts: object) -> Made:
    """The equipment of a data sheet: every field of ``made`` that the sheet has, ``parts`` in place of the names it calls them by."""
    given = {item.name: getattr(sheet, item.name) for item in fields(made)}  # type: ignore[arg-type]
    return named(where, lambda: made(**given | parts))
