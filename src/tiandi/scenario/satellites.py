"""The satellites of a scenario: their orbits and transmitters, from two lines, a design, or a data sheet of `tiandi.physics.spacecraft`."""

from __future__ import annotations

from datetime import datetime
from functools import partial

from tiandi.clock import parse_utc
from tiandi.errors import ScenarioError
from tiandi.physics.constellation import designed_orbit, sun_synchronous_inclination_deg
from tiandi.physics.orbit import Elements
from tiandi.physics.spacecraft import Spacecraft, load_spacecraft
from tiandi.scenario import schema
from tiandi.scenario.checks import known, named


def spacecraft_of(entry: schema.Spacecraft) -> Spacecraft | None:
    """The data sheet that a satellite names, or None. Raises ScenarioError when there is no such sheet."""
    if not entry.sheet:
        return None
    known(f"topology.satellites ({entry.name}).sheet", entry.sheet, load_spacecraft())
    return load_spacecraft()[entry.sheet]


def elements_of(entry: schema.SatelliteEntry, epoch: datetime) -> Elements:
    """The elements of a satellite; a designed orbit without an epoch of its own holds at ``epoch``.

    Raises ElementsError on lines that cannot be, ScenarioError on an orbit out of its limits.
    """
    if entry.line1 is not None and entry.line2 is not None:
        return Elements(entry.name, entry.line1, entry.line2)
    where = f"topology.satellites ({entry.name}).orbit"
    orbit = entry.orbit or schema.OrbitEntry()
    if orbit.epoch is not None:
        epoch = named(where, partial(parse_utc, orbit.epoch, "epoch"))
    altitude_km = orbit.altitude_km
    if altitude_km is None:
        sheet = spacecraft_of(entry)
        if sheet is None:
            raise ScenarioError(f"{where}.altitude_km", None, "must be there without a data sheet")
        return named(where, lambda: sheet.elements(epoch, entry.name, orbit.node_deg, orbit.mean_anomaly_deg))
    inclination_deg = orbit.inclination_deg
    if inclination_deg is None:
        inclination_deg = named(where, partial(sun_synchronous_inclination_deg, altitude_km, orbit.eccentricity))
    return named(
        where,
        lambda: designed_orbit(
            entry.name,
            epoch=epoch,
            altitude_km=altitude_km,
            inclination_deg=inclination_deg,
            eccentricity=orbit.eccentricity,
            node_deg=orbit.node_deg,
            argument_of_perigee_deg=orbit.argument_of_perigee_deg,
            mean_anomaly_deg=orbit.mean_anomaly_deg,
        ),
    )
