"""How the state of a calibration is written as TOML, and read again. Lines of elements are sorted; numbers are rounded by their
uncertainty.

Sections: ``electronics`` (what the instrument said of itself), ``settings.<name>`` (only what differs from electronics just switched on),
``drive_line`` and ``flux_line`` (only lines that reach another qubit than was designed), ``flags``, ``qubit.<parameter>`` and
``coupler.<parameter>`` (value, one standard deviation, laboratory time), ``state.<experiment>`` (state, laboratory time, reason).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.control.graph import STATES, Condition, Progress
from tiandi.computing.control.knowledge import Element, Flag, Knowledge
from tiandi.computing.instruments.instrument import Electronics, Settings, idle
from tiandi.errors import InputError, StateError
from tiandi.limits import require_within

FORMAT = 1
ADVICE = "put it right, or begin anew with `--cold`"
_LETTERS: dict[Element, str] = {"qubit": "q", "coupler": "c"}
_ELEMENTS: dict[str, Element] = {"q": "qubit", "c": "coupler"}
_MOST_TERMS = 16
_MOST_QUBITS = 100_000
LATEST_S = 1e10
"""Laboratory time: three centuries."""


def state_lines(knowledge: Knowledge, condition: Condition, now_s: float) -> Iterator[str]:
    """The lines of a state file."""
    yield f"format = {FORMAT}"
    yield f"now_s = {round(float(now_s), 3)!r}"
    yield from _electronics_lines(knowledge.electronics)
    yield from _settings_lines(knowledge.settings, idle(knowledge.electronics, knowledge.settings.predistortion_amplitude.shape[1]))
    for name in ("drive_line", "flux_line"):
        line = getattr(knowledge, name)
        names = _names("qubit", len(line))
        yield from _section(name, [f"{names[qubit]} = {line[qubit]}" for qubit in np.flatnonzero(line != np.arange(len(line)))])
    ordered = sorted(knowledge.flags, key=lambda flag: (flag.element, flag.index, flag.fault))
    yield from _section(
        "flags",
        [
            f"{_text(f'{_names(flag.element, knowledge.elements(flag.element))[flag.index]} {flag.fault}')} = {_text(flag.reason)}"
            for flag in ordered
        ],
    )
    for name, known in sorted(knowledge.parameters.items()):
        names = _names(known.element, len(known.value))
        rows = zip(names, known.value.tolist(), known.uncertainty.tolist(), known.measured_s.tolist(), strict=True)
        lines = [f"{key} = [{_measured(value, error)}, {round(when, 3)!r}]" for key, value, error, when in rows if not math.isnan(value)]
        yield from _section(f"{known.element}.{_key(name)}", lines)
    for name, progress in sorted(condition.progress.items()):
        names = _names(progress.element, len(progress.state))
        states, times = progress.state.tolist(), progress.measured_s.tolist()
        yield f"\n[state.{_key(name)}]"
        yield f'element = "{progress.element}"'
        for number, key in enumerate(names):
            if states[number]:
                reason = f", {_text(progress.reason[number])}" if number in progress.reason else ""
                yield f'{key} = ["{STATES[states[number]]}", {round(times[number], 3)!r}{reason}]'


def read_state(raw: dict[str, Any], file: str) -> tuple[Knowledge, Condition, float]:
    """What `state_lines` wrote; raises StateError that names file, section and line, and what to do."""
    try:
        if raw.get("format") != FORMAT:
            raise InputError("format", raw.get("format"), f"must be {FORMAT}: {ADVICE}")
        electronics = _read_electronics(_table(raw, "electronics"))
        knowledge = Knowledge(electronics, _read_settings(_table(raw, "settings", needed=False), electronics))
        for name in ("drive_line", "flux_line"):
            for index, line in _elements(_table(raw, name, needed=False), "qubit", electronics.qubits, name):
                getattr(knowledge, name)[index] = _whole(f"{name}", line, electronics.qubits)
        for words, reason in _table(raw, "flags", needed=False).items():
            knowledge.flags.append(_read_flag(knowledge, words, str(reason)))
        for element in get_args(Element):
            for name, lines in _tables(raw, element):
                with _reading(f"[{element}.{name}]"):
                    _read_parameter(knowledge, element, name, lines)
        _require_sane(knowledge)
        condition = Condition()
        for name, lines in _tables(raw, "state"):
            with _reading(f"[state.{name}]"):
                condition.progress[name] = _read_progress(knowledge, name, lines)
        now_s = _number("now_s", raw.get("now_s"))
        require_within("now_s", now_s, 0.0, LATEST_S)
        return knowledge, condition, now_s
    except InputError as error:
        raise StateError(f"{file}: {error.field}", error.value, error.limit) from None


@contextmanager
def _reading(where: str) -> Iterator[None]:
    """Whatever cannot be read within becomes an InputError that says where."""
    try:
        yield
    except InputError:
        raise
    except (LookupError, ArithmeticError, TypeError, ValueError, AttributeError) as error:
        raise InputError(where, str(error), f"is not what stands there in the state of a calibration: {ADVICE}") from None


def _table(raw: dict[str, Any], name: str, *, needed: bool = True) -> dict[str, Any]:
    """A section. Raises InputError where it is something else, or is missing and ``needed``."""
    found = raw.get(name, None if needed else {})
    if not isinstance(found, dict):
        raise InputError(f"[{name}]", "missing" if found is None else found, f"must be a section: {ADVICE}")
    return found


def _tables(raw: dict[str, Any], name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Names and contents of the sections within a section."""
    outer = _table(raw, name, needed=False)
    for inner in outer:
        with _reading(f"[{name}]"):
            yield inner, _table(outer, inner)


def _number(where: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(where, "missing" if value is None else value, f"must be a number: {ADVICE}")
    return float(value)


def _names(element: Element, count: int) -> list[str]:
    width = len(str(max(count - 1, 0)))
    return [f"{_LETTERS[element]}{number:0{width}d}" for number in range(count)]


def _text(words: str) -> str:
    return json.dumps(words, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(name: str) -> str:
    return name if name and all(letter.isascii() and (letter.isalnum() or letter in "_-") for letter in name) else _text(name)


def _section(name: str, lines: list[str]) -> Iterator[str]:
    if lines:
        yield f"\n[{name}]"
        yield from lines


def _measured(value: float, error: float) -> str:
    """Value and uncertainty, the latter with two digits and the former to the same place."""
    if not (0.0 < error < math.inf):
        return f"{value!r}, {error!r}"
    rounded = float(f"{error:.1e}")
    places = 1 - math.floor(math.log10(rounded))
    return f"{round(value, places)!r}, {rounded!r}"


def _electronics_lines(electronics: Electronics) -> Iterator[str]:
    yield "\n[electronics]"
    for each in fields(electronics):
        value = getattr(electronics, each.name)
        yield f"{each.name} = {_text(value) if isinstance(value, str) else _plain(value)}"


def _plain(value: Any) -> str:
    """Numbers and nested lists of numbers; a complex number is [real, imaginary]."""
    if isinstance(value, np.ndarray):
        whole = np.stack([value.real, value.imag], axis=-1) if np.iscomplexobj(value) else value
        return repr(whole.tolist())
    if isinstance(value, complex | np.complexfloating):
        return f"[{float(value.real)!r}, {float(value.imag)!r}]"
    return repr(value.item() if isinstance(value, np.generic) else value)


def _settings_lines(settings: Settings, cold: Settings) -> Iterator[str]:
    for each in fields(settings):
        value, default = getattr(settings, each.name), getattr(cold, each.name)
        if isinstance(value, dict):
            yield from _section(
                f"settings.{each.name}", [f'"{line} {other}" = {float(share)!r}' for (line, other), share in sorted(value.items())]
            )
        elif isinstance(value, np.ndarray):
            same = np.isclose(value, default, rtol=0, atol=0, equal_nan=True)
            changed = np.flatnonzero(~same.reshape(len(value), -1).all(axis=1))
            names = _names("coupler" if each.name.startswith("coupler_") else "qubit", len(value))
            yield from _section(f"settings.{each.name}", [f"{names[one]} = {_plain(value[one])}" for one in changed])
        elif value != default:
            yield f"\n[settings.{each.name}]"
            yield f"value = {float(value)!r}"
    yield "\n[settings.predistortion_terms]"
    yield f"value = {settings.predistortion_amplitude.shape[1]}"


def _read_electronics(raw: dict[str, Any]) -> Electronics:
    found: dict[str, Any] = {}
    for each in fields(Electronics):
        where = f"[electronics] {each.name}"
        if each.name not in raw:
            raise InputError(where, "missing", f"must be there; an older version knew no such field: {ADVICE}")
        with _reading(where):
            found[each.name] = _of_kind(str(each.type), where, raw[each.name])
    require_within("[electronics] qubits", found["qubits"], 1, _MOST_QUBITS)
    for each in fields(Electronics):
        held = found[each.name]
        if not isinstance(held, np.ndarray):
            continue
        count = len(held) if each.name == "couplers" else len(found["couplers"]) if "coupl" in each.name else found["qubits"]
        shape = (count, 2) if each.name in ("couplers", "position") else (count,)
        if held.size != math.prod(shape) or (held.size and held.shape != shape):
            raise InputError(f"[electronics] {each.name}", held.shape, f"must have the shape {shape}")
        found[each.name] = held.reshape(shape)
    ends = found["couplers"]
    if ends.size and not 0 <= ends.min() <= ends.max() < found["qubits"]:
        raise InputError("[electronics] couplers", ends.max().item(), f"must be qubits from 0 to {found['qubits'] - 1}")
    return Electronics(**found)


def _of_kind(kind: str, where: str, value: Any) -> Any:
    """A word, a number, or an array of numbers, as a field of Electronics is declared."""
    if kind == "float":
        return _number(where, value)
    if kind in ("str", "int"):
        if type(value).__name__ != kind:
            raise InputError(where, value, f"must be a {'text' if kind == 'str' else 'whole number'}: {ADVICE}")
        return value
    array = np.array(value)
    if not isinstance(value, list) or (array.size and array.dtype.kind not in ("i" if kind == "IntArray" else "if")):
        raise InputError(where, value, f"must be a list of {'whole ' if kind == 'IntArray' else ''}numbers: {ADVICE}")
    return array.astype(np.int64 if kind == "IntArray" else np.float64)


def _require_sane(knowledge: Knowledge) -> None:
    """Numbers that people changed must still be numbers: a bias of nan would go on into the instrument."""
    for each in fields(knowledge.settings):
        held = getattr(knowledge.settings, each.name)
        values = np.array(list(held.values())) if isinstance(held, dict) else np.asarray(held)
        if each.name != "discriminator" and not np.isfinite(values).all():
            raise InputError(f"[settings.{each.name}]", "nan or inf", "must be finite")
    for name, known in knowledge.parameters.items():
        if np.isinf(known.value).any() or (known.uncertainty < 0).any():
            raise InputError(f"[{known.element}.{name}]", "inf, or less than 0", "must be finite, standard deviations not negative")


def _read_settings(raw: dict[str, Any], electronics: Electronics) -> Settings:
    terms = _table(raw, "predistortion_terms", needed=False).get("value", 3)
    settings = idle(electronics, _whole("[settings.predistortion_terms]", terms, _MOST_TERMS + 1))
    known = {each.name for each in fields(settings)}
    for name in raw:
        if name == "predistortion_terms":
            continue
        if name not in known:
            raise InputError("settings", name, f"must be one of {', '.join(sorted(known))}")
        with _reading(f"[settings.{name}]"):
            _read_setting(settings, name, _table(raw, name))
    return settings


def _read_setting(settings: Settings, name: str, lines: dict[str, Any]) -> None:
    held = getattr(settings, name)
    if isinstance(held, dict):
        for words, share in lines.items():
            line, other = words.split()
            held[int(line), int(other)] = _number(f"[settings.{name}] {words}", share)
    elif isinstance(held, np.ndarray):
        element: Element = "coupler" if name.startswith("coupler_") else "qubit"
        for index, value in _elements(lines, element, len(held), f"settings.{name}"):
            held[index] = _unpacked(value, held)
    else:
        setattr(settings, name, _number(f"[settings.{name}] value", lines.get("value")))


def _unpacked(value: Any, held: NDArray[Any]) -> Any:
    if not np.iscomplexobj(held):
        return np.asarray(value, float)
    pairs = np.asarray(value, float)
    return pairs[..., 0] + 1j * pairs[..., 1]


def _elements(lines: dict[str, Any], element: Element, count: int, section: str) -> Iterator[tuple[int, Any]]:
    letter = _LETTERS[element]
    for key, value in lines.items():
        if not (key[:1] == letter and key[1:].isascii() and key[1:].isdigit() and int(key[1:]) < count):
            raise InputError(f"[{section}]", key, f"must be a {element}: {letter} and a number below {count}")
        yield int(key[1:]), value


def _whole(field: str, value: Any, below: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < below:
        raise InputError(field, value, f"must be a whole number from 0 to {below - 1}")
    return value


def _read_flag(knowledge: Knowledge, words: str, reason: str) -> Flag:
    name, _, fault = words.partition(" ")
    element = _ELEMENTS.get(name[:1])
    if element is None or not fault:
        raise InputError("[flags]", words, "must be an element, a space and what is wrong with it")
    (index, _), *_ = _elements({name: None}, element, knowledge.elements(element), "flags")
    return Flag(element, index, fault, reason)


def _read_parameter(knowledge: Knowledge, element: Element, name: str, lines: dict[str, Any]) -> None:
    rows = list(_elements(lines, element, knowledge.elements(element), f"{element}.{name}"))
    targets = np.array([index for index, _ in rows], np.int64)
    numbers = np.array([row for _, row in rows], float).reshape(len(rows), -1)
    if numbers.shape[1] != 3:
        raise InputError(f"[{element}.{name}]", numbers.shape[1], "numbers on a line must be 3: value, standard deviation, laboratory time")
    knowledge.learn(element, name, targets, numbers[:, 0], numbers[:, 1], measured_s=np.nan)
    knowledge.parameters[name].measured_s[targets] = numbers[:, 2]


def _read_progress(knowledge: Knowledge, name: str, lines: dict[str, Any]) -> Progress:
    word = str(lines.get("element"))
    if word[:1] not in _ELEMENTS or word not in get_args(Element):
        raise InputError(f"[state.{name}] element", word, f"must be one of {', '.join(get_args(Element))}")
    element = _ELEMENTS[word[:1]]
    size = knowledge.elements(element)
    progress = Progress(element, np.zeros(size, np.int8), np.full(size, np.nan))
    rest = {key: value for key, value in lines.items() if key != "element"}
    for index, (word, when, *reason) in _elements(rest, element, size, f"state.{name}"):
        if word not in STATES:
            raise InputError(f"[state.{name}]", word, f"must be one of {', '.join(STATES)}")
        progress.state[index], progress.measured_s[index] = STATES.index(word), float(when)
        if reason:
            progress.reason[index] = str(reason[0])
    return progress
