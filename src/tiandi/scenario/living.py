"""A network that goes on living: links distil, satellites fly, customers draw keys, on a clock as fast as wanted; one process.

Everything but the sky and the loops of distillation lives on the event loop of `LivingNetwork.host`; views and actions are called there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import msgspec

from tiandi.clock import format_utc, parse_utc
from tiandi.control.routing import RoutePolicy
from tiandi.errors import InputError, NoRoute
from tiandi.kms.etsi014 import KEY_SIZE_BIT
from tiandi.scenario import living_views
from tiandi.scenario.checks import known
from tiandi.scenario.customers import customer_sae
from tiandi.scenario.link_workers import LivingLink
from tiandi.scenario.living_audit import read_audit
from tiandi.scenario.living_core import LivingCore
from tiandi.scenario.network import relay_bit
from tiandi.scenario.view import AuditView, EventView, LinkView, MessageView, NetworkView, NodeView, PairView
from tiandi.service.messaging import Correspondent, SealedText, keys_for_text, require_text

VIEW_KEPT_S = 0.2
SHOWN_CIPHERTEXT_BYTE = 64
BEFORE_PASS_S = 5.0
FIRST_KEY_S, LOOK_AGAIN_S = 8.0, 0.2
"""How long a message waits for the first key of fibres that work, and how often it looks."""
METHOD = "one-time pad with a one-time tag"


class LivingNetwork(LivingCore):
    """A context manager: inside it the network of a scenario lives; see `LivingCore`. It is seen and disturbed by what stands here."""

    # What is seen.

    def view(self) -> NetworkView:
        """Everything at a glance, at most 0.2 s old, and not older than what happened last."""
        now_s, event = asyncio.get_running_loop().time(), self.happenings.next_id
        if self._view is None or self._view[1] != event or now_s - self._view[0] > VIEW_KEPT_S:
            self._view = now_s, event, living_views.network_view(self)
        return self._view[2]

    def link(self, name: str) -> LinkView:
        """One link; for a while it is distilled with all its events. Raises InputError on an unknown name."""
        known("link", name, [*self.workers.links, *self.sky_links])
        if name in self.workers.links:
            self.workers.look_at(name)
        return living_views.link_view(self, name)

    def node(self, name: str) -> NodeView:
        """One node. Raises InputError on an unknown name."""
        known("node", name, self.nodes)
        self._nodes_looked_at[name] = time.monotonic()
        return living_views.node_view(self, name)

    def pair(self, one: str, other: str) -> PairView:
        """Any two nodes. Raises InputError on unknown names, or one name twice."""
        for name in (one, other):
            known("pair", name, self.nodes)
        if one == other:
            raise InputError("pair", one, "must be two different nodes")
        return living_views.pair_view(self, (one, other))

    def subscribe(self) -> AsyncIterator[EventView]:
        """What happens from now on; the iteration ends for who is too slow."""
        return self.happenings.subscribe()

    async def audit(
        self, *, node: str = "", kind: str = "", since: str = "", until: str = "", limit: int = 200, text: str = ""
    ) -> AuditView:
        """What the audit journals of the KMEs hold, newest first: at most ``limit`` lines (1000) of one node, or of all.

        ``kind`` is "link", "supply", "operator" or empty; ``since`` and ``until`` are real times, ISO 8601; ``text`` is sought, in whatever
        case, in nodes, stocks, states and remarks. Raises InputError on what is none of these.
        """
        entities = {self.network.node_of(kme): entity for kme, entity in self.host.entities.items()}
        return await read_audit(entities, node=node, kind=kind, since=since, until=until, limit=limit, text=text)

    # What is done.

    async def send_message(self, sender: str, recipient: str, text: str) -> MessageView:
        """Send ``text`` from one node, or SAE, to another, under keys that both fetch at the doors of their KMEs.

        Raises InputError for an unknown name or a text too long, NoRoute when no way has the key for it, RemoteRefused by a KME.
        """
        require_text(text, "text")
        saes = self._sae("sender", sender), self._sae("recipient", recipient)
        if saes[0] == saes[1]:
            raise InputError("recipient", recipient, "must be another than the sender")
        homes = [self.network.host.directory.home(sae) for sae in saes]
        await self._require_keys(saes, keys_for_text(text))
        route = living_views.route_between(self, *homes)
        wire, plaintext = await asyncio.to_thread(self._exchange, saes, text)
        sealed = msgspec.msgpack.decode(wire, type=SealedText)
        self.totals = msgspec.structs.replace(self.totals, messages=self.totals.messages + 1)
        what = f"{sender} sent {recipient} a message of {len(text.encode())} bytes under {len(sealed.key_ids)} keys"
        ends = self.network.node_of(homes[0]), self.network.node_of(homes[1])
        self.happenings.tell("message", what, pair=ends)
        shown = sealed.ciphertext[:SHOWN_CIPHERTEXT_BYTE].hex()
        return MessageView(sender, recipient, [str(UUID(str(key_id))) for key_id in sealed.key_ids], shown, plaintext, route, METHOD)

    async def _require_keys(self, saes: tuple[str, str], number: int) -> None:
        """Raise NoRoute where ``number`` keys are neither ready for a pair nor can be made.

        Fibres that work and have no key yet, as when the network has just begun, are given a few seconds; nobody waits for a satellite.
        """
        homes = [self.network.host.directory.home(sae) for sae in saes]
        end_s = time.monotonic() + FIRST_KEY_S
        while homes[0] != homes[1]:
            try:
                self.network.controller.routes(homes[0], homes[1], relay_bit(number), 1)
                return
            except NoRoute as error:
                if await self.host.entities[homes[0]].supply.ready_count(*saes, KEY_SIZE_BIT) >= number:
                    return
                if self.clock.paused or time.monotonic() > end_s or not self._is_joined_by_fibre(*homes):
                    raise NoRoute(self.network.node_of(homes[0]), self.network.node_of(homes[1]), error.why) from None
            await asyncio.sleep(LOOK_AGAIN_S)

    def _is_joined_by_fibre(self, source: str, target: str) -> bool:
        """Whether fibres in service join two KMEs, whatever key they have."""
        fibres_only = RoutePolicy(avoid=frozenset(self.sky_links))
        try:
            return bool(self.network.controller.routes(source, target, 0, 1, policy=fibres_only))
        except NoRoute:
            return False

    def _exchange(self, saes: tuple[str, str], text: str) -> tuple[bytes, str]:
        with self.network.key_client(saes[0]) as ours, self.network.key_client(saes[1]) as theirs:
            wire = Correspondent(saes[0], ours).seal_text(saes[1], text)
            return wire, str(Correspondent(saes[1], theirs).open(wire, saes[0]))

    def _sae(self, field_name: str, name: str) -> str:
        """The SAE of that name, or a simulated one at the node of that name."""
        if name in self.network.host.directory.saes:
            return name
        known(field_name, name, self.nodes)
        self.network.enrol(customer_sae(name), name)
        return customer_sae(name)

    async def eavesdrop(self, link: str, on: bool) -> None:
        """Let somebody intercept and resend every pulse of a fibre, or go away. Raises InputError unless it is a fibre."""
        self._fibre(link).eavesdropped = on
        self.workers.disturb(link)
        self.happenings.tell("action", f"An eavesdropper {'listens on' if on else 'has left'} {link}", link=link)

    async def cut(self, link: str, on: bool) -> None:
        """Cut a fibre, or mend it. Raises InputError unless it is a fibre."""
        if self._fibre(link).cut != on:
            self._set_cut(link, on)
            self.happenings.tell("action", f"{link} was {'cut' if on else 'mended'}", link=link)
            if on:
                self._alarm("major", link, "no light arrives: the fibre is cut")
            else:
                for line in self.alarms.of(link):
                    if line.severity == "major":
                        self._clear(line)
                for line in self.alarms.of(link):
                    self._put_out_of_service(line)
            await self._look()

    def _fibre(self, name: str) -> LivingLink:
        known("link", name, self.workers.links)
        return self.workers.links[name]

    async def cloud(self, station: str, on: bool) -> None:
        """Send a cloud over a ground station, or let its climate rule again. Raises InputError unless satellites serve it."""
        known("station", station, self.sky.stations)
        self.sky.cloud(station, on)
        self.happenings.tell("action", f"{'A cloud stands over' if on else 'The climate rules again over'} {station}", node=station)

    async def compromise(self, node: str, on: bool) -> None:
        """Let somebody read all that passes through a node from now on, or no more. Raises InputError on an unknown name."""
        known("node", node, self.nodes)
        if on:
            self.compromised.setdefault(node, {ends: pair.seen.get(node, 0) for ends, pair in self.customers.pairs.items()})
        else:
            self.compromised.pop(node, None)
        self.happenings.tell("action", f"{node} {'is compromised' if on else 'is trusted again'}", node=node)

    async def acknowledge(self, alarm_id: int) -> None:
        """An operator has looked: the alarm is cleared with the next good block. Raises InputError when no such alarm stands."""
        line = self.alarms.acknowledge(alarm_id)
        self.happenings.tell("action", f"Alarm {alarm_id} was acknowledged", link=line.link)
        if line.link not in self.workers.links:
            self._clear(line)

    async def set_speed(self, speed: float) -> None:
        """Simulated seconds a real second that are wanted. Raises InputError out of its limits."""
        self.clock.set_speed(speed)
        self.happenings.tell("speed", f"{speed:g} times real time is wanted")

    async def pause(self, on: bool) -> None:
        """Let simulated time stand still, or go on."""
        self.clock.pause(on)
        self.happenings.tell("speed", "Time stands still" if on else "Time goes on")

    async def jump(self, to: str) -> None:
        """Go on from a later time, or shortly before the next pass; no key is made on fibres in the time between.

        Raises InputError for an earlier time, and when no pass is planned.
        """
        if to == "next pass":
            moment = self.sky.next_pass()
            if moment is None:
                planning = self.sky.has_contacts and not self.sky.is_planned
                raise InputError("jump", to, "contacts are being planned, try again soon" if planning else "no pass is planned")
            moment = max(self.clock.now(), moment - timedelta(seconds=BEFORE_PASS_S))
        else:
            moment = parse_utc(to, "jump")
        self.clock.jump(moment)
        self.workers.skip()
        self.happenings.tell("speed", f"Time jumped to {format_utc(moment)}")
