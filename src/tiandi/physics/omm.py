"""Orbit Mean-Elements Messages (OMM) of CCSDS 502.0-B-3: read from text, checked field by field, and given to SGP4."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from io import StringIO
from math import isfinite
from xml.etree.ElementTree import ParseError

from sgp4 import omm
from sgp4.api import Satrec

from tiandi.clock import parse_utc
from tiandi.errors import ElementsError, InputError

LIMITS = {
    "MEAN_MOTION": (0.01, 18.0),
    "ECCENTRICITY": (0.0, 0.999),
    "INCLINATION": (0.0, 180.0),
    "RA_OF_ASC_NODE": (-360.0, 360.0),
    "ARG_OF_PERICENTER": (-360.0, 360.0),
    "MEAN_ANOMALY": (-360.0, 360.0),
    "BSTAR": (-10.0, 10.0),
}
"""What SGP4 needs beside the epoch: revolutions per day, degrees, and drag per Earth radius."""

MEANT_FOR_SGP4 = {
    "CENTER_NAME": ("EARTH",),
    "REF_FRAME": ("TEME",),
    "TIME_SYSTEM": ("UTC",),
    "MEAN_ELEMENT_THEORY": ("SGP4", "SGP/SGP4"),
    "EPHEMERIS_TYPE": ("0", "2"),
}
"""A message that says otherwise in one of these is for another propagator (SGP4-XP has ephemeris type 4)."""

NOT_USED_BY_SGP4 = {
    "CLASSIFICATION_TYPE": "U",
    "OBJECT_ID": "",
    "NORAD_CAT_ID": "0",
    "ELEMENT_SET_NO": "0",
    "REV_AT_EPOCH": "0",
    "EPHEMERIS_TYPE": "0",
    "MEAN_MOTION_DOT": "0",
    "MEAN_MOTION_DDOT": "0",
}
"""Filled in for the record: a message may lack these, and its catalogue number may be longer than the record holds."""

KVN_LINE = re.compile(r"\s*([A-Za-z0-9_]+)\s*=\s*(.*?)\s*(\[[^\]]*\])?\s*")


def parse_omm(text: str) -> list[dict[str, str]]:
    """Every message in ``text``: JSON, XML or KVN ("KEYWORD = value"), values as text. Raises ElementsError when it is none of them."""
    start = text.lstrip()[:1]
    try:
        messages = _from_json(text) if start in ("[", "{") else _from_xml(text) if start == "<" else _from_kvn(text)
    except (ValueError, ParseError, AttributeError, TypeError) as error:
        raise ElementsError("OMM", text[:60], f"must be JSON, XML or KVN of CCSDS 502.0-B: {error}") from None
    if not all(messages) or not messages:
        raise ElementsError("OMM", text[:60], "must hold a message in JSON, XML or KVN of CCSDS 502.0-B")
    return messages


def satellite_from_omm(message: Mapping[str, object]) -> Satrec:
    """The SGP4 record of an OMM's fields. Raises ElementsError naming the first field that is missing or cannot stand."""
    where = f"elements of {_text(message, 'OBJECT_NAME', 'an OMM')}"
    for field, allowed in MEANT_FOR_SGP4.items():
        if str(message.get(field, allowed[0])) not in allowed:
            raise ElementsError(f"{where}, {field}", message[field], f"must be {' or '.join(allowed)}")
    fields = NOT_USED_BY_SGP4 | {field: _number(message, field, where) for field in LIMITS}
    fields["EPOCH"] = _epoch(message, where).strftime("%Y-%m-%dT%H:%M:%S.%f")
    satellite = Satrec()
    omm.initialize(satellite, fields)
    return satellite


def _from_json(text: str) -> list[dict[str, str]]:
    messages = json.loads(text)
    return [
        {field: str(value) for field, value in message.items() if value is not None}
        for message in (messages if isinstance(messages, list) else [messages])
    ]


def _from_xml(text: str) -> list[dict[str, str]]:
    if "<!" in re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL):
        raise ValueError("a declaration of types or entities has no place in it")
    return [{field: value for field, value in message.items() if value} for message in omm.parse_xml(StringIO(text))]


def _from_kvn(text: str) -> list[dict[str, str]]:
    messages: list[dict[str, str]] = []
    for line in filter(str.strip, text.splitlines()):
        if line.split()[0] == "COMMENT":
            continue
        found = KVN_LINE.fullmatch(line)
        if not found:
            raise ValueError(f"{line!r} is not KEYWORD = value")
        if not messages or found[1] == "CCSDS_OMM_VERS":
            messages.append({})
        messages[-1][found[1]] = found[2]
    return messages


def _text(message: Mapping[str, object], field: str, where: str) -> str:
    if message.get(field) in (None, ""):
        raise ElementsError(f"{where}, {field}", None, "must be there")
    return str(message[field])


def _number(message: Mapping[str, object], field: str, where: str) -> str:
    low, high = LIMITS[field]
    text = _text(message, field, where)
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not (isfinite(value) and low <= value <= high):
        raise ElementsError(f"{where}, {field}", text, f"must be a number in [{low:g}, {high:g}]")
    return text


def _epoch(message: Mapping[str, object], where: str) -> datetime:
    """The epoch, written as a calendar date or as year and day of the year."""
    text = _text(message, "EPOCH", where)
    ordinal = re.fullmatch(r"(\d{4})-(\d{3})T(.*)", text)
    try:
        if ordinal:
            text = f"{datetime.strptime(ordinal[1] + ordinal[2], '%Y%j'):%Y-%m-%d}T{ordinal[3]}"
        return parse_utc(text)
    except (ValueError, InputError):
        raise ElementsError(f"{where}, EPOCH", text, "write it as 2016-12-18T21:38:11.331 or 2016-353T21:38:11.331 (UTC)") from None
