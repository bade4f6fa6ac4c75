"""Entanglement swapping along a chain of quantum memories: waiting times, end-to-end states and key, expected and sampled.

Neighbouring nodes try to entangle their memories until a herald says that it worked; a node whose memories on both sides are entangled
swaps; when every inner node has swapped the ends share a pair. The idea: Briegel, Duer, Cirac, Zoller 1998,
doi:10.1103/PhysRevLett.81.5932; with memories and linear optics: Sangouard, Simon, de Riedmatten, Gisin 2011, doi:10.1103/RevModPhys.83.33.

The ends measure their halves as soon as their link is heralded, as BBM92 allows, so only the memories of inner nodes wait and decohere.
All noise is of Pauli type and commutes with swapping: a state depends on the summed storage time alone. Left out: the time that word
of a swap takes to the ends and to links that must start anew, purification, more memories per node, dark counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from tiandi.constants import LIGHT_SPEED_IN_FIBRE_KM_PER_S
from tiandi.errors import InputError
from tiandi.limits import require_within
from tiandi.protocols.information import binary_entropy, plob_bound
from tiandi.protocols.teleportation import compose, dephasing, depolarising, error_rates
from tiandi.units import transmittance_from_loss

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Memory:
    """A quantum memory: coherence falls as exp(-t / ``coherence_time_s``), by dephasing (phi+ to phi-) or by depolarising.

    ``efficiency`` is that of reading it out; the swap notices a loss. After ``cutoff_s`` without a swap its content is discarded with
    everything it is entangled with. Raises InputError on a field out of its range.
    """

    coherence_time_s: float
    efficiency: float = 1.0
    noise: Literal["dephasing", "depolarising"] = "dephasing"
    cutoff_s: float = math.inf

    def __post_init__(self) -> None:
        require_within("coherence_time_s", self.coherence_time_s, 1e-9, math.inf)
        require_within("efficiency", self.efficiency, 1e-3, 1.0)
        require_within("cutoff_s", self.cutoff_s, 0.0, math.inf)
        if self.noise not in ("dephasing", "depolarising"):
            raise InputError("noise", self.noise, "must be dephasing or depolarising")


@dataclass(frozen=True)
class RepeaterChain:
    """Elementary links in a row, one memory for each end of each link; a single link is direct transmission with the same equipment.

    ``link_efficiency`` is the chance of an attempt without fibre (emission, coupling, detectors, the Bell measurement half-way), and
    ``link_fidelity`` that of the heralded Werner pair. An attempt takes ``preparation_s`` and the time of light along the link: half of
    it out to a station in the middle, half back for the herald. A swap succeeds with ``swap_probability`` if both memories are read,
    and makes a Werner pair of ``swap_fidelity`` out of two perfect ones. ``order`` is to swap whatever can be swapped, or only
    equal halves (2^k links, the nesting of Briegel et al. 1998). Raises InputError on a field out of its range.
    """

    link_lengths_km: tuple[float, ...]
    memory: Memory
    attenuation_db_per_km: float = 0.2
    link_efficiency: float = 0.5
    link_fidelity: float = 1.0
    swap_probability: float = 1.0
    swap_fidelity: float = 1.0
    preparation_s: float = 0.0
    order: Literal["as soon as possible", "doubling"] = "as soon as possible"

    def __post_init__(self) -> None:
        links = len(self.link_lengths_km)
        require_within("number of link_lengths_km", links, 1, 1024)
        for length_km in self.link_lengths_km:
            require_within("link_lengths_km", length_km, 1e-3, 1000.0)
        require_within("attenuation_db_per_km", self.attenuation_db_per_km, 0.0, 2.5)
        require_within("link_efficiency", self.link_efficiency, 1e-9, 1.0)
        require_within("link_fidelity", self.link_fidelity, 0.25, 1.0)
        require_within("swap_probability", self.swap_probability, 1e-3, 1.0)
        require_within("swap_fidelity", self.swap_fidelity, 0.25, 1.0)
        require_within("preparation_s", self.preparation_s, 0.0, 1.0)
        require_within("cutoff_s", self.memory.cutoff_s, self.attempts_s.max(), math.inf)
        if self.order not in ("as soon as possible", "doubling"):
            raise InputError("order", self.order, "must be as soon as possible, or doubling")
        if self.order == "doubling" and links & (links - 1):
            raise InputError("link_lengths_km", self.link_lengths_km, "must be 2, 4, 8... links to be swapped by doubling")

    @property
    def length_km(self) -> float:
        """Fibre from end to end [km]."""
        return sum(self.link_lengths_km)

    @property
    def attempts_s(self) -> Array:
        """Duration of an attempt [s] of each link, (links,)."""
        return self.preparation_s + np.array(self.link_lengths_km) / LIGHT_SPEED_IN_FIBRE_KM_PER_S

    @property
    def link_probabilities(self) -> Array:
        """Probability that an attempt succeeds on each link, (links,)."""
        return self.link_efficiency * transmittance_from_loss(self.attenuation_db_per_km * np.array(self.link_lengths_km))

    @property
    def swap_success(self) -> float:
        """Probability that a swap succeeds, both memories read."""
        return self.swap_probability * self.memory.efficiency**2


@dataclass(frozen=True)
class DeliveredPairs:
    """End-to-end pairs: the time [s] each took from a fresh start (n,), and how long its memories waited in sum [s] (n,)."""

    waiting_s: Array
    storage_s: Array


def _attempts(decay: Array, generator: np.random.Generator) -> Array:
    """Attempts up to and with the first success, geometric, for ``decay`` = -log(1 - probability); shape as given."""
    return np.maximum(1.0, np.ceil(generator.standard_exponential(decay.shape) / decay))


def _entangled_with(condemned: Mask, swapped: Mask) -> Mask:
    """Links (n, links) in the same run of swapped nodes (n, links - 1) as a condemned link."""
    run, hit = np.zeros(condemned.shape, np.intp), np.zeros_like(condemned)
    np.cumsum(~swapped, axis=1, out=run[:, 1:])
    trial, link = np.nonzero(condemned)
    hit[trial, run[trial, link]] = True
    return np.take_along_axis(hit, run, axis=1)


class _UnderWay:
    """Chains on their way to a pair. Time counts in shortest attempts, so that equal links keep step without rounding."""

    def __init__(self, chain: RepeaterChain, trials: int, generator: np.random.Generator) -> None:
        self.generator, self.swap_success, self.unit_s = generator, chain.swap_success, float(chain.attempts_s.min())
        with np.errstate(divide="ignore"):
            self.decay = -np.log1p(-chain.link_probabilities)
        self.duration = chain.attempts_s / self.unit_s
        # A cut-off of whole attempts must not put links out of step by rounding.
        cutoff = chain.memory.cutoff_s / self.unit_s
        self.cutoff = float(np.rint(cutoff)) if math.isclose(cutoff, np.rint(cutoff), rel_tol=1e-9) else cutoff
        self.node = np.arange(1, self.decay.size)
        # A node may swap once all nodes closer than this have.
        self.reach = self.node & -self.node if chain.order == "doubling" else np.ones_like(self.node)
        self.trial, self.now = np.arange(trials), np.zeros(trials)
        self.ready = self.duration * _attempts(np.tile(self.decay, (trials, 1)), generator)
        self.swapped, self.stored = np.zeros((trials, self.node.size), bool), np.zeros((trials, self.node.size))

    def _may_swap(self) -> Mask:
        swapped = np.zeros(self.ready.shape, np.intp)
        np.cumsum(self.swapped, axis=1, out=swapped[:, 1:])
        within = swapped[:, self.node + self.reach - 1] - swapped[:, self.node - self.reach]
        return ~self.swapped & (within == 2 * self.reach - 2)

    def advance(self) -> None:
        """To the next swaps or discards of each chain; those of one moment happen together, whichever end of the chain they are near."""
        left, right = self.ready[:, :-1], self.ready[:, 1:]
        earlier, later = np.minimum(left, right), np.maximum(left, right)
        swap_at = np.where(self._may_swap(), np.maximum(later, self.now[:, None]), np.inf)
        in_time = swap_at - earlier <= self.cutoff * (1.0 + 1e-9)
        event = np.where(self.swapped, np.inf, np.where(in_time, swap_at, earlier + self.cutoff))
        self.now = event.min(axis=1)
        due = event == self.now[:, None]
        succeeded = due & in_time
        # What a swap of this moment makes possible still comes before a discard.
        expired = due & ~in_time & ~succeeded.any(axis=1, keepdims=True)
        succeeded[succeeded] = self.generator.random(np.count_nonzero(succeeded)) < self.swap_success
        failed = due & in_time & ~succeeded
        self.stored[succeeded] = (2.0 * self.now[:, None] - earlier - later)[succeeded]
        self.swapped |= succeeded
        condemned = np.zeros(self.ready.shape, bool)
        condemned[:, :-1] = failed | (expired & (left == earlier))
        condemned[:, 1:] |= failed | (expired & (right == earlier))
        lost = _entangled_with(condemned, self.swapped)
        trial, link = np.nonzero(lost)
        self.ready[lost] = self.now[trial] + self.duration[link] * _attempts(self.decay[link], self.generator)
        self.swapped &= ~(lost[:, :-1] | lost[:, 1:])

    def take_finished(self) -> tuple[NDArray[np.intp], Array, Array]:
        """Trials that are over, with their waiting and storage times [s]; the others go on."""
        over = self.swapped.all(axis=1)
        finished = self.trial[over], self.now[over] * self.unit_s, self.stored[over].sum(axis=1) * self.unit_s
        for name in ("trial", "now", "ready", "swapped", "stored"):
            setattr(self, name, getattr(self, name)[~over])
        return finished


def sample_pairs(chain: RepeaterChain, pairs: int, generator: np.random.Generator) -> DeliveredPairs:
    """``pairs`` end-to-end pairs, each from a fresh start, exact in distribution.

    Attempts that fail are not visited. Work grows with failed swaps and discards: a cut-off far shorter than a link's mean waiting time
    is slow, and so are failing swaps of many links as soon as possible. Raises InputError on a number of pairs outside [1, 10^7].
    """
    require_within("pairs", pairs, 1, 10**7)
    under_way = _UnderWay(chain, pairs, generator)
    if len(chain.link_lengths_km) == 1:
        return DeliveredPairs(under_way.ready[:, 0] * under_way.unit_s, np.zeros(pairs))
    waiting, storage = np.empty(pairs), np.empty(pairs)
    while under_way.trial.size:
        under_way.advance()
        trial, waited, stored = under_way.take_finished()
        waiting[trial], storage[trial] = waited, stored
    return DeliveredPairs(waiting, storage)


def slowest_of(links: int, probability: float) -> float:
    """Mean number of attempts until each of ``links`` has succeeded, with ``probability`` per attempt.

    Sum over k of (-1)^(k+1) binomial(links, k) / (1 - (1 - p)^k): Bernardes, Praxmeyer, van Loock 2011, doi:10.1103/PhysRevA.83.012323;
    two links give (3 - 2 p) / (p (2 - p)). Raises InputError beyond 32 links, where the alternating sum loses half of its digits.
    """
    require_within("links", links, 1, 32)
    require_within("probability", probability, 1e-300, 1.0)
    failing = math.log1p(-probability) if probability < 1.0 else -math.inf
    return math.fsum((-1) ** (k + 1) * math.comb(links, k) / -math.expm1(k * failing) for k in range(1, links + 1))


def expected_two_links(chain: RepeaterChain) -> tuple[float, float]:
    """Mean time [s] from a fresh start to a pair, and mean coherence exp(-storage / coherence time) of pairs, over two equal links.

    The first link to stand waits for as many attempts as the cut-off allows, then everything starts anew, as after a swap that failed.
    Raises InputError unless the links are two and equal and the cut-off, if any, is a whole number of attempts.
    """
    probability, attempt_s = float(chain.link_probabilities[0]), float(chain.attempts_s[0])
    if len(chain.link_lengths_km) != 2 or not math.isclose(*chain.link_lengths_km, rel_tol=1e-12):
        raise InputError("link_lengths_km", chain.link_lengths_km, "must be two equal links")
    patience = chain.memory.cutoff_s / attempt_s
    if math.isfinite(patience) and not math.isclose(patience, round(patience), rel_tol=1e-9):
        raise InputError("cutoff_s", chain.memory.cutoff_s, f"must be a whole number of attempts of {attempt_s:g} s")
    failing = math.log1p(-probability) if probability < 1.0 else -math.inf
    fading = -attempt_s / chain.memory.coherence_time_s
    together = probability / (2.0 - probability)
    later = (1.0 - together) * -math.expm1(patience * failing)
    attempts = (1.0 / (2.0 - probability) + later) / probability / (together + later)
    kept = probability * math.exp(fading) * math.expm1(patience * (failing + fading)) / math.expm1(failing + fading)
    return attempts * attempt_s / chain.swap_success, min(1.0, (together + (1.0 - together) * kept) / (together + later))


def end_to_end_state(chain: RepeaterChain, coherence: ArrayLike) -> Array:
    """Bell-diagonal weights (..., 4) of pairs whose memories kept ``coherence`` (...), exp(-storage / coherence time).

    Werner links and swaps contract by (4 F - 1) / 3 each. The state is linear in the coherence: its mean over pairs gives their mixture.
    Raises InputError on a coherence outside [0, 1].
    """
    swaps = len(chain.link_lengths_km) - 1
    operations = ((4.0 * chain.link_fidelity - 1.0) / 3.0) ** (swaps + 1) * ((4.0 * chain.swap_fidelity - 1.0) / 3.0) ** swaps
    return compose(depolarising(operations), (dephasing if chain.memory.noise == "dephasing" else depolarising)(coherence))


@dataclass(frozen=True)
class ChainKey:
    """Asymptotic secret key of a chain [bit], and what no protocol without a repeater exceeds on the same fibre, per attempt."""

    bit_per_pair: float
    secret_key_rate_bps: float
    bit_per_attempt: float
    plob_bit_per_attempt: float


def chain_key(chain: RepeaterChain, waiting_s: float, coherence: float, *, error_correction_efficiency: float = 1.0) -> ChainKey:
    """Key of BBM92 with nearly all pairs in Z: 1 - f h(QBER in Z) - h(QBER in X) a pair, from mean waiting time [s] and coherence.

    Bennett, Brassard, Mermin 1992, doi:10.1103/PhysRevLett.68.557; Shor and Preskill 2000, doi:10.1103/PhysRevLett.85.441. Attempts are
    counted on the busiest link; each sends one photon in two modes and is held against twice the PLOB bound of the whole fibre, as Luong
    et al. 2016 count modes (recalled; doi:10.1007/s00340-016-6373-4). Finite blocks carry less. Raises InputError on a waiting time
    that is not positive, a coherence outside [0, 1] or an efficiency of error correction below 1.
    """
    require_within("waiting_s", waiting_s, 1e-12, math.inf)
    require_within("error_correction_efficiency", error_correction_efficiency, 1.0, 10.0)
    in_x, in_z = error_rates(end_to_end_state(chain, coherence))
    secret = max(0.0, float(1.0 - error_correction_efficiency * binary_entropy(in_z) - binary_entropy(in_x)))
    direct = transmittance_from_loss(chain.attenuation_db_per_km * chain.length_km)
    return ChainKey(
        bit_per_pair=secret,
        secret_key_rate_bps=secret / waiting_s,
        bit_per_attempt=secret / waiting_s * float(chain.attempts_s.min()),
        plob_bit_per_attempt=2.0 * float(plob_bound(direct)),
    )


def plob_crossing_km(chain: RepeaterChain, *, longest_km: float = 1000.0) -> float:
    """Shortest fibre [km] over which two equal links like ``chain``'s carry more than the PLOB bound; infinite if none to ``longest_km``.

    By the closed form, attempts growing with the links; the lengths and the cut-off, which is in seconds, of ``chain`` are left out.
    """
    patient = replace(chain.memory, cutoff_s=math.inf)

    def advantage(length_km: float) -> float:
        halved = replace(chain, link_lengths_km=(length_km / 2, length_km / 2), memory=patient)
        key = chain_key(halved, *expected_two_links(halved))
        return key.bit_per_attempt - key.plob_bit_per_attempt

    # Over the first hundred metres the bound is above any key of one pair per attempt.
    lengths_km = np.geomspace(0.1, longest_km, 500)
    ahead = np.flatnonzero([advantage(length_km) > 0.0 for length_km in lengths_km])
    return float(brentq(advantage, lengths_km[ahead[0] - 1], lengths_km[ahead[0]])) if ahead.size else math.inf
