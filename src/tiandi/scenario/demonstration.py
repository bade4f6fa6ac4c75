"""The main job, once: grow keys, manage them, spend them on a message; then again with somebody listening."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import msgspec

from tiandi.clock import SimulatedClock, format_utc
from tiandi.control.link_states import LinkStates
from tiandi.control.routing import Router
from tiandi.errors import InputError, NoRoute, RelayFailed
from tiandi.quantum.link import Eavesdropper, LinkBlock
from tiandi.random import twin_generator
from tiandi.scenario.checks import LINK_JOINT
from tiandi.scenario.network import RunningNetwork, relay_bit, relay_topology
from tiandi.scenario.report import MODEL_NOTES, EavesdropperReport, Hop, LinkRow, PassRow, PictureReport, Report, TextReport
from tiandi.scenario.scenario import PlannedLink, Scenario
from tiandi.scenario.state import state_folder
from tiandi.service.messaging import Correspondent, SealedFile, SealedText, keys_for_file, keys_for_text, require_text

Notify = Callable[[str, int, int], None]
"""Told of progress: what is being done, steps done, steps in all."""

FORECAST_MARGIN = 1.2
"""Blocks come out within some per cent of their forecast; only what is clearly too much is refused beforehand."""
FIRST_ROUND, SECOND_ROUND = "first round", "eavesdropped round"


@dataclass(frozen=True)
class Pictures:
    """The picture as bytes before, on the wire and after."""

    sent: bytes
    wire: bytes
    received: bytes


@dataclass(frozen=True)
class Exchange:
    """One round of messages between the two applications."""

    route: list[Hop]
    text: TextReport
    picture: PictureReport
    pictures: Pictures


def demonstrate(
    scenario: Scenario,
    *,
    seed: int | None = None,
    text: str | None = None,
    eavesdropped_link: str | None = None,
    state: Path | None = None,
    notify: Notify = lambda what, done, total: None,
) -> tuple[Report, Pictures]:
    """Run ``scenario`` once and, with ``eavesdropped_link``, once more while somebody intercepts and resends there.

    ``seed`` makes the twins repeat. ``state`` keeps stores, certificates and pictures in a new folder. Raises InputError on bad
    input, before light is sent, and NoRoute or RelayFailed when the links made too little key for the first message.
    """
    text = scenario.file.run.message.text if text is None else text
    require_text(text)
    if eavesdropped_link is not None:
        scenario.require_fibre_link(eavesdropped_link, "eavesdropper")
    elapsed_s: dict[str, float] = {}
    with state_folder(state, scenario.name) as folder:
        with _timed(elapsed_s, "plan"):
            planned = scenario.fibre_links() + scenario.downlinks()
            _require_enough_key(scenario, planned, text)
        with _timed(elapsed_s, "start"):
            notify("starting key management entities", 0, 1)
            clock = SimulatedClock(scenario.window[0] if scenario.file.run.sky else datetime.now(UTC))
            network = RunningNetwork(scenario, folder, clock)
        with network:
            with _timed(elapsed_s, "distil"):
                blocks = _distil_all(planned, seed, notify)
            with _timed(elapsed_s, "manage and send"):
                notify("relaying keys, sending messages", 0, 1)
                _let_passes_end(clock, planned)
                handed_over = _fill_stores(network, blocks)
                first = _exchange(network, scenario, text)
            eavesdropper = None
            if eavesdropped_link is not None:
                with _timed(elapsed_s, "eavesdropped round"):
                    notify(f"once more, with an eavesdropper on {eavesdropped_link}", 0, 1)
                    target = next(item for item in planned if item.link.name == eavesdropped_link)
                    clock.advance(target.duration_s)
                    attacked = _distil(target, seed, SECOND_ROUND, "intercept-resend")
                    eavesdropper = _eavesdropped_round(network, scenario, attacked, text)
            accounts = network.accounts()
        report = Report(
            scenario=scenario.name,
            title=scenario.title,
            seed=seed,
            links=[LinkRow.of(block) for item, block in zip(planned, blocks, strict=True) if item.satellite_pass is None],
            passes=[_pass_row(item, block) for item, block in zip(planned, blocks, strict=True) if item.satellite_pass is not None],
            handed_over_bit=handed_over,
            key_count=first.text.keys + first.picture.keys,
            route=first.route,
            text=first.text,
            picture=first.picture,
            eavesdropper=eavesdropper,
            accounts=accounts,
            elapsed_s=elapsed_s,
            notes=(*MODEL_NOTES, *scenario.file.run.notes),
        )
        if state is not None:
            _write_results(folder, report, first.pictures)
    return report, first.pictures


def _require_enough_key(scenario: Scenario, planned: list[PlannedLink], text: str) -> None:
    """Raise InputError when no way through the network is expected to have the key that ``text`` and the picture take."""
    forecast = {item.link.name: item.link.forecast(item.duration_s).secret_bit * FORECAST_MARGIN for item in planned}
    # Each end of a link sends under half of a block; a satellite hands over its halves, of which each station sends under half.
    states = LinkStates(relay_topology(scenario.file.topology, str))
    for fibre in scenario.file.topology.fibres:
        states.update(fibre.name, stock_bit=int(forecast[fibre.name] / 2))
    for hand_over in scenario.file.topology.hand_overs:
        least = min(forecast[f"{hand_over.satellite}{LINK_JOINT}{station}"] for station in hand_over.stations)
        states.update(hand_over.name, stock_bit=int(least / 4))
    homes = {application.sae: application.node for application in scenario.file.topology.applications}
    options = scenario.file.run.message
    wanted_bit = relay_bit(keys_for_text(text) + keys_for_file(scenario.picture_path.read_bytes()))
    try:
        Router(states).find_routes(homes[options.sender], homes[options.recipient], wanted_bit=wanted_bit)
    except NoRoute as error:
        raise InputError("message", f"{len(text.encode())} bytes", f"is more than this network is expected to carry: {error.why}") from None


def _fill_stores(network: RunningNetwork, blocks: list[LinkBlock]) -> dict[str, int]:
    """Give every block to its two KMEs and let the satellites hand over; returns bits handed over by link."""
    for block in blocks:
        network.receive(block)
    return network.hand_over_all()


def _let_passes_end(clock: SimulatedClock, planned: list[PlannedLink]) -> None:
    """Move the clock to the end of the last pass."""
    ends = [item.satellite_pass.end for item in planned if item.satellite_pass is not None]
    if ends:
        clock.advance((max(ends) - clock.now()).total_seconds())


@contextmanager
def _timed(elapsed_s: dict[str, float], what: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    elapsed_s[what] = round(time.perf_counter() - start, 3)


def _distil(item: PlannedLink, seed: int | None, round_name: str, eavesdropper: Eavesdropper = "none") -> LinkBlock:
    generator = twin_generator(seed, round_name, item.link.name)
    return item.link.distil(item.duration_s, generator=generator, eavesdropper=eavesdropper)


def _distil_all(planned: list[PlannedLink], seed: int | None, notify: Notify) -> list[LinkBlock]:
    """One block of every link, as many links at a time as there are cores; the hot loops run without the interpreter's lock."""
    notify("sending light and distilling keys (compiling first)", 0, len(planned))
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="qkd-link") as workers:
        futures = [workers.submit(_distil, item, seed, FIRST_ROUND) for item in planned]
        try:
            for done, _ in enumerate(as_completed(futures), start=1):
                notify("sending light and distilling keys", done, len(planned))
            return [future.result() for future in futures]
        except BaseException:
            workers.shutdown(wait=True, cancel_futures=True)
            raise


def _exchange(network: RunningNetwork, scenario: Scenario, text: str) -> Exchange:
    """Relay keys from the sender's KME to the recipient's, and send a text and a picture under them."""
    options = scenario.file.run.message
    picture = scenario.picture_path.read_bytes()
    route, _ = network.relay_keys(options.sender, options.recipient, keys_for_text(text) + keys_for_file(picture))
    with network.key_client(options.sender) as sender_keys, network.key_client(options.recipient) as recipient_keys:
        sender, recipient = Correspondent(options.sender, sender_keys), Correspondent(options.recipient, recipient_keys)
        text_wire = sender.seal_text(options.recipient, text)
        picture_wire = sender.seal_file(options.recipient, picture)
        # These two byte strings are all that travels between the applications, over any channel.
        received_text, received_picture = recipient.open(text_wire, options.sender), recipient.open(picture_wire, options.sender)
    assert isinstance(received_text, str)
    assert isinstance(received_picture, bytes)
    sealed_text = msgspec.msgpack.decode(text_wire, type=SealedText)
    sealed_picture = msgspec.msgpack.decode(picture_wire, type=SealedFile)
    return Exchange(
        _hops(network, scenario, route),
        TextReport(text, sealed_text.ciphertext.hex(), received_text, len(sealed_text.key_ids)),
        PictureReport(len(picture), len(received_picture), received_picture == picture, len(sealed_picture.key_ids)),
        Pictures(picture, b"".join(sealed_picture.blocks), received_picture),
    )


def _hops(network: RunningNetwork, scenario: Scenario, route: list[str]) -> list[Hop]:
    by_satellite = {entry.name: entry.satellite for entry in scenario.file.topology.hand_overs}
    links = [(here, there, network.link_between(here, there)) for here, there in pairwise(route)]
    return [Hop(here, there, link, by_satellite.get(link)) for here, there, link in links]


def _eavesdropped_round(network: RunningNetwork, scenario: Scenario, block: LinkBlock, text: str) -> EavesdropperReport:
    """What ``block``, made under an eavesdropper's eyes, changes: alarm, and the message sent again another way or refused."""
    alarm = network.receive(block)
    if alarm is None:
        raise RuntimeError(f"an eavesdropper on {block.link} went unnoticed: this must never happen")
    route: list[Hop] = []
    refusal = None
    try:
        route = _exchange(network, scenario, text).route
    except (NoRoute, RelayFailed) as error:
        refusal = str(error)
    return EavesdropperReport(
        link=block.link,
        attack="intercept-resend of every pulse",
        qber=block.ledger.qber,
        qber_limit=scenario.file.run.qber_limit,
        noticed=dict(zip(block.ends, (str(block.alice), str(block.bob)), strict=True)),
        secret_bit=block.secret_bit,
        alarm_severity=alarm.severity,
        alarm_time=format_utc(alarm.time),
        message="refused" if refusal else "carried by another way",
        route=route,
        refusal=refusal,
    )


def _pass_row(item: PlannedLink, block: LinkBlock) -> PassRow:
    satellite_pass = item.satellite_pass
    assert satellite_pass is not None
    return PassRow(
        satellite=satellite_pass.elements.name,
        station=satellite_pass.station.name,
        start=format_utc(satellite_pass.start),
        culmination=format_utc(satellite_pass.culmination),
        end=format_utc(satellite_pass.end),
        culmination_deg=satellite_pass.culmination_deg,
        closest_km=satellite_pass.closest_km,
        sun_elevation_deg=satellite_pass.sun_elevation_deg,
        signal_sifted_bit=block.ledger.signal_sifted,
        signal_qber=block.ledger.signal_qber,
        row=LinkRow.of(block),
        published=None if item.published is None else msgspec.to_builtins(item.published),
    )


def _write_results(folder: Path, report: Report, pictures: Pictures) -> None:
    (folder / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1))
    (folder / "picture-sent.png").write_bytes(pictures.sent)
    (folder / "picture-on-the-wire.bin").write_bytes(pictures.wire)
    (folder / "picture-received.png").write_bytes(pictures.received)
