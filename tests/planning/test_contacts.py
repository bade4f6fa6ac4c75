from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from tiandi.clock import julian_dates, parse_utc
from tiandi.control.contact_model import part_bit
from tiandi.control.topology import Link, Node, Topology
from tiandi.errors import ElementsError, InputError
from tiandi.physics.detectors import SILICON
from tiandi.physics.eclipse import sunlit_fraction
from tiandi.physics.equipment import Receiver
from tiandi.physics.moon import moon_elevation_deg, moon_illuminated_fraction
from tiandi.physics.orbit import Station, look_angles, propagate
from tiandi.physics.passes import SatellitePass, Visibility, find_passes
from tiandi.physics.sky import CLEAR_NIGHT, sky_radiance
from tiandi.physics.spacecraft import load_spacecraft
from tiandi.physics.sun import sun_elevation_deg
from tiandi.planning.contacts import ContactTable, tabulate_contacts
from tiandi.planning.inputs import PlannedSatellite, PlannedStation, StudyInputs
from tiandi.planning.pass_key import SkyLink
from tiandi.quantum.channel import DownlinkChannel, UplinkChannel
from tiandi.quantum.link import Forecast, QkdLink

START = parse_utc("2025-03-01")
DAYS = 12
XINGLONG = Station("Xinglong", 40.395867, 117.577458, 890)
STELLENBOSCH = Station("Stellenbosch", -33.93, 18.86, 130)
RECEIVER = Receiver(optics_efficiency=0.3, detector=SILICON, gate_s=1e-9, misalignment=0.01, aperture_m=1.0)
NIGHT = Visibility(10.0, 20.0, -6.0)
SHEETS = load_spacecraft()


def planned(sheet: str, name: str, **more: float) -> PlannedSatellite:
    transmitter = SHEETS[sheet].transmitter
    assert transmitter is not None
    return PlannedSatellite(SHEETS[sheet].elements(START, name, **more), transmitter)


def study(satellites: list[PlannedSatellite], stations: list[PlannedStation]) -> StudyInputs:
    nodes = [Node(satellite.name, "satellite") for satellite in satellites] + [Node(station.name, "ground station") for station in stations]
    links = [Link(f"{a.name} - {b.name}", (a.name, b.name), "downlink") for a in satellites for b in stations]
    return StudyInputs("test", "Test", Topology.of(nodes, links), tuple(satellites), tuple(stations))


def station(place: Station, background_rate_hz: float = 0.0, **more: object) -> PlannedStation:
    receiver = replace(RECEIVER, background_rate_hz=background_rate_hz)
    return PlannedStation(place, receiver, 1.5, "none", **{"visibility": NIGHT} | more)  # type: ignore[arg-type]


LOW = study([planned("jinan-1", "A", node_deg=170.0), planned("jinan-1", "B", node_deg=200.0)], [station(XINGLONG), station(STELLENBOSCH)])


def table(inputs: StudyInputs, days: float = DAYS, **more: int) -> ContactTable:
    return tabulate_contacts(inputs, start=START, end=START + timedelta(days=days), **more)


def forecast(inputs: StudyInputs, satellite: int, ground: int, found: SatellitePass, background_rate_hz: float = 0.0) -> Forecast:
    above, below = inputs.satellites[satellite], inputs.stations[ground]
    receiver = replace(below.receiver, background_rate_hz=background_rate_hz)
    channel = DownlinkChannel(above.transmitter, receiver, found, below.zenith_extinction_db, below.maximum_range_km)
    return QkdLink("a", "b", transmitter=above.transmitter, receiver=receiver, channel=channel).forecast(1e4)


def of_pair(contacts: ContactTable, satellite: int, ground: int) -> np.ndarray:
    return contacts.rows[(contacts.rows["satellite"] == satellite) & (contacts.rows["station"] == ground)]


def passes(inputs: StudyInputs, satellite: int, ground: int, days: float = DAYS) -> list[SatellitePass]:
    below = inputs.stations[ground]
    end = START + timedelta(days=days)
    return find_passes(inputs.satellites[satellite].elements, below.station, start=START, end=end, visibility=below.visibility)


@pytest.mark.parametrize(("maximum_range_km", "within"), [(2000.0, 5e-3), (1000.0, 1.2e-2)])
def test_each_contact_has_the_key_that_the_link_forecasts_in_steps_of_a_second(maximum_range_km: float, within: float) -> None:
    """The link drops what is left of its last second; cut to a range it begins and ends at a whole one, 1 % of two minutes."""
    inputs = replace(LOW, stations=tuple(replace(item, maximum_range_km=maximum_range_km) for item in LOW.stations))
    contacts, compared = table(inputs), 0
    for satellite in range(2):
        for ground in range(2):
            rows = of_pair(contacts, satellite, ground)
            near = [item for item in passes(inputs, satellite, ground) if item.closest_km < maximum_range_km]
            assert len(rows) == len(near)
            for row, item in zip(rows, near, strict=True):
                expected = forecast(inputs, satellite, ground, item)
                assert row["sifted_bit"] == pytest.approx(expected.counts.sifted.sum(), rel=within)
                assert row["secret_bit"] == pytest.approx(expected.secret_bit, rel=within, abs=500)
                assert row["end_s"] - row["start_s"] == pytest.approx(expected.duration_s, abs=1.5)
                assert row["closest_km"] == pytest.approx(item.closest_km, abs=1e-6)
                compared += expected.secret_bit > 1e4
    assert compared > 10


def test_moon_and_twilight_brighten_the_background_of_the_data_sheet() -> None:
    """Against a link whose background is that of the sky at the highest point; over a pass twilight changes more than moonlight."""
    dark_hz = 30.0
    inputs = study([planned("jinan-1", "A", node_deg=170.0)], [station(XINGLONG, dark_hz, visibility=Visibility(10.0, 20.0, 90.0))])
    rows = of_pair(table(inputs, 20), 0, 0)
    night = day = 0
    for row, item in zip(rows, passes(inputs, 0, 0, 20), strict=True):
        moment = julian_dates(item.culmination, [0.0])
        sun_deg = float(sun_elevation_deg(XINGLONG, moment)[0])
        lit = float(moon_illuminated_fraction(moment)[0])
        radiance = sky_radiance(sun_deg, moon_elevation_deg=moon_elevation_deg(XINGLONG, moment)[0], illuminated_fraction=lit)
        expected = forecast(inputs, 0, 0, item, min(dark_hz * float(radiance) / CLEAR_NIGHT, 1e9))
        if sun_deg < -18.0:
            assert row["secret_bit"] == pytest.approx(expected.secret_bit, rel=0.02)
            assert row["secret_bit"] <= forecast(inputs, 0, 0, item, dark_hz).secret_bit * 1.005
            night += 1
        elif sun_deg > 0.0:
            assert row["secret_bit"] == 0.0
            day += 1
    assert min(night, day) > 5


def test_workers_and_the_order_of_satellites_change_nothing() -> None:
    told: list[float] = []
    one = table(LOW, 4)
    two = tabulate_contacts(LOW, start=START, end=START + timedelta(days=4), workers=2, progress=told.append)
    assert (one.rows == two.rows).all()
    assert told == [0.5, 1.0]
    assert one.satellites == ("A", "B")
    assert one.stations == ("Xinglong", "Stellenbosch")
    swapped = table(replace(LOW, satellites=LOW.satellites[::-1]), 4)
    assert of_pair(swapped, 1, 0)["secret_bit"] == pytest.approx(of_pair(one, 0, 0)["secret_bit"], rel=1e-12)


def test_windows_side_by_side_share_the_contacts_out() -> None:
    whole, middle = table(LOW, 6), START + timedelta(days=3.3)
    parts = [tabulate_contacts(LOW, start=start, end=end).rows for start, end in ((START, middle), (middle, START + timedelta(days=6)))]
    assert sorted(np.concatenate([part["secret_bit"] for part in parts])) == pytest.approx(sorted(whole.rows["secret_bit"]), rel=1e-6)


def test_only_pairs_with_a_downlink_and_passes_that_their_station_allows_are_there() -> None:
    topology = LOW.topology.with_changes(remove=["A - Stellenbosch"])
    stations = (LOW.stations[0], replace(LOW.stations[1], visibility=Visibility(10.0, 60.0, -18.0)))
    some = table(replace(LOW, topology=topology, stations=stations))
    assert {(row["satellite"], row["station"]) for row in some.rows} == {(0, 0), (1, 0), (1, 1)}
    assert of_pair(some, 1, 1)["culmination_deg"].min() >= 60.0
    assert (of_pair(some, 1, 0) == of_pair(table(LOW), 1, 0)).all()
    assert (np.diff(of_pair(some, 0, 0)["start_s"]) > 0.0).all()


def test_a_satellite_that_may_not_work_in_sunlight_serves_in_the_shadow_only() -> None:
    careful = replace(LOW, satellites=tuple(replace(item, sunlit_allowed=False) for item in LOW.satellites))
    rows, every = table(careful).rows, table(LOW).rows
    assert 0 < rows.size < every.size
    for row in rows:
        dates = julian_dates(START, np.linspace(row["start_s"], row["end_s"], 9))
        assert sunlit_fraction(propagate(careful.satellites[row["satellite"]].elements, dates), dates).max() == 0.0


def looks(inputs: StudyInputs, times_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether the satellite and the night allow, minute by minute, and the range [km]."""
    below, dates = inputs.stations[0], julian_dates(START, times_s)
    look = look_angles(below.station, propagate(inputs.satellites[0].elements, dates))
    high = look.elevation_deg > below.visibility.elevation_cutoff_deg
    dark = sun_elevation_deg(below.station, dates) < below.visibility.sun_elevation_limit_deg
    return high & dark & (look.range_km < below.maximum_range_km), look.range_km


@pytest.mark.parametrize(("sheet", "more"), [("dawn-geo", {"node_deg": 260.0}), ("dawn-meo", {"node_deg": 40.0})])
def test_a_high_satellite_has_contacts_that_are_cut_to_the_night(sheet: str, more: dict[str, float]) -> None:
    days = 6
    inputs = study([planned(sheet, "Dawn", **more)], [station(XINGLONG, maximum_range_km=45_000.0)])
    rows = table(inputs, days).rows
    times_s = np.arange(0.0, days * 86_400.0, 20.0)
    usable, range_km = looks(inputs, times_s)
    inside = np.zeros(times_s.size, bool)
    for row in rows:
        inside |= (times_s > row["start_s"]) & (times_s < row["end_s"])
        seen = range_km[(times_s >= row["start_s"]) & (times_s <= row["end_s"])]
        assert row["closest_km"] == pytest.approx(seen.min(), rel=1e-3)
        assert row["start_s"] <= row["culmination_s"] <= row["end_s"]
    # They differ at the edges and where less than a minute or a low culmination is left out.
    assert (inside != usable).mean() < 2e-3 + (0.02 if sheet == "dawn-meo" else 0.0)
    assert days - 1 <= rows.size <= 3 * days
    assert rows["sifted_bit"].min() > 0.0


def test_the_key_of_a_geostationary_night_is_that_of_a_steady_link() -> None:
    """Over a night nothing changes but the moon: a channel of one transmittance forecasts the same."""
    inputs = study([planned("dawn-geo", "Dawn", node_deg=260.0)], [station(XINGLONG, maximum_range_km=45_000.0)])
    (row, *_) = table(inputs, 3).rows[1:]
    above, below = inputs.satellites[0], inputs.stations[0]
    dates = julian_dates(START, np.linspace(row["start_s"], row["end_s"], 201))
    look = look_angles(below.station, propagate(above.elements, dates))
    link = SkyLink(above.transmitter, below.receiver, below.zenith_extinction_db)
    each_s = np.full((1, 201), (row["end_s"] - row["start_s"]) / 201)
    sifted_bit, secret_bit = link.expected_key(look.range_km[None], look.elevation_deg[None], duration_s=each_s)
    assert row["sifted_bit"] == pytest.approx(sifted_bit[0], rel=1e-3)
    assert row["secret_bit"] == pytest.approx(secret_bit[0], rel=1e-2)
    assert row["secret_bit"] > 0.0


@pytest.mark.parametrize("sheet", ["micius", "jinan-1", "eagle-1"])
@pytest.mark.parametrize("range_km", [500.0, 700.0, 900.0, 1200.0])
def test_half_of_the_light_proves_the_key_that_a_contact_plan_counts_on(sheet: str, range_km: float) -> None:
    transmitter = SHEETS[sheet].transmitter
    assert transmitter is not None
    link = SkyLink(transmitter, RECEIVER, 2.5)
    steady = np.full((2, 1), range_km), np.full((2, 1), 40.0)
    _, (whole_bit, half_bit) = link.expected_key(*steady, duration_s=np.array([[100.0], [50.0]]))
    assert float(part_bit(0.5, whole_bit)) == pytest.approx(half_bit, rel=0.12, abs=2e3)


def test_an_uplink_to_qeyssat_has_the_key_that_its_channel_forecasts() -> None:
    sheet, sender = SHEETS["qeyssat"], SHEETS["jinan-1"].transmitter
    assert sheet.receiver is not None
    assert sender is not None
    (item, *_) = find_passes(
        sheet.elements(START), XINGLONG, start=START, end=START + timedelta(days=3), visibility=Visibility(10.0, 40.0, 90.0)
    )
    channel = UplinkChannel(sender, sheet.receiver, item, 1.5, wavelength_nm=sheet.wavelength_nm)
    expected = QkdLink("ground", "QEYSSat", transmitter=sender, receiver=sheet.receiver, channel=channel).forecast(1e4)
    offsets_s, look = item.track(1.0)
    link = SkyLink(sender, sheet.receiver, 1.5, uplink_wavelength_nm=sheet.wavelength_nm)
    sifted_bit, secret_bit = link.expected_key(look.range_km[None], look.elevation_deg[None], duration_s=np.ones((1, offsets_s.size)))
    assert sifted_bit[0] == pytest.approx(expected.counts.sifted.sum(), rel=1e-9)
    assert secret_bit[0] == pytest.approx(expected.secret_bit, rel=1e-9)
    down = SkyLink(sender, sheet.receiver, 1.5).transmittance(look.range_km, look.elevation_deg)
    assert (link.transmittance(look.range_km, look.elevation_deg) < down).all()


def test_a_study_without_downlinks_or_passes_has_an_empty_table() -> None:
    assert len(table(replace(LOW, topology=Topology.of(LOW.topology.nodes.values(), [])), 1)) == 0
    pole = station(Station("South Pole", -90.0, 0.0, 2835), visibility=NIGHT)
    assert len(table(study([planned("jinan-1", "A")], [pole]), 2)) == 0


def test_an_empty_window_is_refused() -> None:
    with pytest.raises(InputError, match="must be later"):
        table(LOW, -1)


def test_a_downlink_to_what_is_no_station_is_refused() -> None:
    nodes = [*LOW.topology.nodes.values(), Node("Graz", "ground station")]
    topology = Topology.of(nodes, [Link("A - Graz", ("A", "Graz"), "downlink")])
    with pytest.raises(InputError, match=r"links \(A - Graz\)"):
        table(replace(LOW, topology=topology))


def test_elements_of_another_year_are_refused() -> None:
    old = replace(LOW.satellites[0], elements=SHEETS["micius"].archived_elements(parse_utc("2016-12-19"), "A"))
    with pytest.raises(ElementsError, match="must lie within 30 days"):
        table(replace(LOW, satellites=(old, LOW.satellites[1])))


@pytest.mark.parametrize(
    ("field", "receiver"),
    [
        ("aperture_m", replace(RECEIVER, aperture_m=None)),
        ("x_basis_probability", replace(RECEIVER, x_basis_probability=0.9)),
    ],
)
def test_a_receiver_without_what_is_needed_is_refused(field: str, receiver: Receiver) -> None:
    with pytest.raises(InputError, match=field):
        table(replace(LOW, stations=(replace(LOW.stations[0], receiver=receiver), LOW.stations[1])))


def test_too_many_workers_are_refused() -> None:
    with pytest.raises(InputError, match="workers"):
        table(LOW, workers=0)
