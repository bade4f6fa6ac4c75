"""What a master SAE's request comes to: its quota, its wishes, one deadline; keys from the stock, or made for this request alone.

Keys that nothing in the stock is like are made to order: for several slaves, younger than the stock's, over more paths than the pair's
policy says, or over another kind of route. Such keys are kept apart, and voided at both ends when the request cannot be answered.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from tiandi.errors import KeysExhausted, NoRoute, RelayFailed, RequestRefused
from tiandi.kms import etsi014
from tiandi.kms.etsi014 import KeyRequest, SupplyOptions
from tiandi.kms.keys import SupplyKey
from tiandi.kms.store.supply_keys import NO_WISH, Wanted
from tiandi.kms.supply import forgetting
from tiandi.kms.supply import stock_keeping as supply
from tiandi.kms.supply.quotas import Quotas

if TYPE_CHECKING:
    from tiandi.kms.entity import KeyManagementEntity, Plan


class Orders:
    """The requests of one KME's masters."""

    def __init__(self, entity: KeyManagementEntity) -> None:
        self._entity = entity
        self._quotas = Quotas()

    async def deliver(self, master: str, slaves: Sequence[str], request: KeyRequest) -> list[SupplyKey]:
        """Keys as they were asked for. Raises RequestRefused, or KeysExhausted, NoRoute or RelayFailed; what was not delivered does not
        count towards the quota."""
        rates = {slave: rate for slave in slaves if (rate := self._entity.directory.policy(master, slave).maximum_bps) is not None}
        bit = request.number * request.size
        taken: list[str] = []
        try:
            for slave, rate_bps in rates.items():
                self._quotas.take((master, slave), rate_bps, bit, least_bit=self._entity.limits.key_size)
                taken.append(slave)
            return await self._deliver(master, slaves, request)
        except Exception:
            for slave in taken:
                self._quotas.give_back((master, slave), rates[slave], bit)
            raise

    async def _deliver(self, master: str, slaves: Sequence[str], request: KeyRequest) -> list[SupplyKey]:
        end_s = time.monotonic() + supply.WAIT_FOR_KEYS_S
        mandatory, optional = request.mandatory_options(), request.optional_options()
        must, should = _wanted(mandatory, SupplyOptions()), _wanted(mandatory, optional)
        if should != must:
            # Half the time, so that there is some left for keys that are only what they must be.
            with suppress(KeysExhausted, NoRoute, RelayFailed):
                return await self._supply(master, slaves, request, should, end_s - supply.WAIT_FOR_KEYS_S / 2)
        try:
            return await self._supply(master, slaves, request, must, end_s)
        except (KeysExhausted, NoRoute):
            if must == NO_WISH:
                raise
            raise RequestRefused(etsi014.EXTENSION_NOT_MET) from None

    async def _supply(self, master: str, slaves: Sequence[str], request: KeyRequest, wanted: Wanted, end_s: float) -> list[SupplyKey]:
        if len(slaves) == 1:
            stock = self._entity.supply
            if wanted == NO_WISH:
                return await stock.deliver(master, slaves[0], size_bit=request.size, number=request.number, end_s=end_s)
            with suppress(KeysExhausted):
                return await stock.deliver_wanted(master, slaves[0], size_bit=request.size, number=request.number, wanted=wanted)
        return await self._make_to_order(master, slaves, request, wanted, end_s)

    async def _make_to_order(
        self, master: str, slaves: Sequence[str], request: KeyRequest, wanted: Wanted, end_s: float
    ) -> list[SupplyKey]:
        left_s = end_s - time.monotonic()
        if wanted.maximum_age_ms is not None:
            left_s = min(left_s, wanted.maximum_age_ms / 1000)
        try:
            async with asyncio.timeout(left_s):
                return await self._make(await self._plan(master, slaves, request, wanted))
        except TimeoutError:
            raise RelayFailed(self._entity.kme_id, "keys made for this request did not become ready in time") from None

    async def _plan(self, master: str, slaves: Sequence[str], request: KeyRequest, wanted: Wanted) -> Plan:
        """How keys of that kind would travel. Raises NoRoute where they cannot."""
        policy = self._entity.directory.policy
        plan = await self._entity.plan(
            master,
            slaves,
            size_bit=request.size,
            count=request.number,
            paths=max(wanted.minimum_paths, *(policy(master, slave).paths for slave in slaves)),
            route_type=wanted.route_type,
            kept_apart=True,
        )
        if plan.reservation.paths < wanted.minimum_paths or wanted.route_type not in (None, plan.reservation.route_type):
            raise NoRoute(self._entity.kme_id, " ".join(sorted(set(plan.homes.values()))), "there is none of that kind")
        return plan

    async def _make(self, plan: Plan) -> list[SupplyKey]:
        entity, r = self._entity, plan.reservation
        try:
            await entity.make(plan)
            return await entity.database.run(entity.supply_keys.deliver_all, r.prefix, r.first_index, r.count)
        except BaseException:  # Nobody else may have them, and nobody waits any more, be it only because the caller has left.
            entity.exchange.later(entity.database.run(forgetting.void, entity, r.prefix, r.first_index))
            raise


def _wanted(mandatory: SupplyOptions, also: SupplyOptions) -> Wanted:
    """What both ask for; the mandatory goes first."""
    age_s = min((age for age in (mandatory.maximum_age_s, also.maximum_age_s) if age is not None), default=None)
    return Wanted(
        route_type=mandatory.route_type or also.route_type,
        maximum_age_ms=None if age_s is None else age_s * 1000,
        minimum_paths=max(mandatory.minimum_disjoint_paths or 1, also.minimum_disjoint_paths or 1),
    )
