"""The same bits on every processor. Both ends of a link compute for themselves, and theirs need not be alike.

As a script, this prints the digest of one kind of work done here, and which forms of the loops did it.
"""

import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tiandi.compiling import target_features
from tiandi.distill.amplification import ROUNDED_SEED_BIT, toeplitz_hash, toeplitz_seed_bit
from tiandi.distill.cascade import CascadeAnswerer, CascadeCorrector
from tiandi.distill.cascade_plan import CascadePlan, block_levels, last_subsets
from tiandi.distill.ldpc import LdpcCorrector, LdpcPlan, LdpcTeller
from tiandi.distill.ldpc_vectors import shuffle_flag
from tiandi.distill.vectors import LANES_BY_FEATURES, lanes_available

QBER = 0.03


def noisy_keys(key_bit: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    generator = np.random.default_rng(1)
    alice_bits = generator.integers(0, 2, key_bit, dtype=np.uint8)
    return alice_bits, alice_bits ^ (generator.random(key_bit) < QBER).astype(np.uint8)


def amplify() -> bytes:
    """Long enough for the exact product, and for transforms in several stages."""
    generator = np.random.default_rng(2)
    input_bit, output_bit = 2_000_003, 400_001
    seed_bit = toeplitz_seed_bit(input_bit, output_bit)
    assert seed_bit > ROUNDED_SEED_BIT
    bits, seed = (generator.integers(0, 2, size, dtype=np.uint8) for size in (input_bit, seed_bit))
    return toeplitz_hash(bits, seed, output_bit).tobytes()


def cascade() -> bytes:
    """All that either end says, and what Bob ends up with."""
    frames, frame_bit = 20, 4096
    alice_bits, bob_bits = noisy_keys(frames * frame_bit - 100)
    levels, subsets = block_levels(QBER, frame_bit), last_subsets(frames)
    plan = CascadePlan.checked(key_bit=alice_bits.size, frames=frames, levels=levels, subsets=subsets, seed=bytes(16))
    alice, bob = CascadeAnswerer(plan, alice_bits), CascadeCorrector(replace(plan), bob_bits)
    said: list[bytes] = []
    while bob.questions:
        answer = alice.answer(bob.questions)
        said += [repr(bob.questions).encode(), answer]
        bob.absorb(answer)
    assert (bob.corrected == alice_bits).all()
    return b"".join(said) + bob.corrected.tobytes()


def ldpc() -> bytes:
    """The same; the decoder's tables come out of floating point."""
    alice_bits, bob_bits = noisy_keys(200_000)
    plan = LdpcPlan.for_key(alice_bits.size, QBER)
    alice, bob = LdpcTeller(plan, alice_bits), LdpcCorrector(plan, bob_bits)
    said: list[bytes] = []
    while (query := bob.query) is not None:
        told = alice.tell(query)
        said += [repr(query).encode(), bytes(told)]
        bob.absorb(told)
    assert (bob.corrected == alice_bits).all()
    return b"".join(said) + bob.corrected.tobytes()


WORK: dict[str, Callable[[], bytes]] = {"amplify": amplify, "cascade": cascade, "ldpc": ldpc}


def show(name: str) -> None:
    forms = {"lanes": len(lanes_available()[0]), "shuffle": bool(shuffle_flag())}
    print(json.dumps({"digest": hashlib.sha256(WORK[name]()).hexdigest(), **forms}))


def run_elsewhere(name: str, settings: dict[str, str]) -> dict[str, object]:
    here = {variable: value for variable, value in os.environ.items() if not variable.startswith("NUMBA_CPU")}
    command = [sys.executable, str(Path(__file__)), name]
    done = subprocess.run(command, env={**here, **settings}, capture_output=True, text=True, check=True)
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


@cache
def digest_here(name: str) -> object:
    return run_elsewhere(name, {})["digest"]


def without_avx512() -> dict[str, str]:
    """This processor, with the widest vectors switched off."""
    kept = {name: has and not name.startswith("avx512") for name, has in target_features().items()}
    return {"NUMBA_CPU_FEATURES": ",".join(f"{'+' if has else '-'}{name}" for name, has in kept.items())}


def without_avx() -> dict[str, str]:
    """The same by a switch of numba's own, which changes no name: a loop with wider vectors would end the process."""
    return {"NUMBA_ENABLE_AVX": "0"}


def second_level() -> dict[str, str]:
    """What every x86-64 processor since 2009 has: vectors of 128 bits and no carry-less products."""
    if platform.machine().lower() not in {"x86_64", "amd64"}:
        pytest.skip("another family of processors")
    return {"NUMBA_CPU_NAME": "x86-64-v2", "NUMBA_CPU_FEATURES": ""}


@pytest.mark.parametrize(
    ("name", "processor"),
    [
        ("amplify", without_avx512),
        ("cascade", without_avx512),
        pytest.param("amplify", without_avx, marks=pytest.mark.slow),
        pytest.param("ldpc", without_avx512, marks=pytest.mark.slow),
        *(pytest.param(name, second_level, marks=pytest.mark.slow) for name in WORK),
    ],
)
def test_every_processor_makes_the_same_bits(name: str, processor: Callable[[], dict[str, str]], tmp_path: Path) -> None:
    answer = run_elsewhere(name, {**processor(), "NUMBA_CACHE_DIR": str(tmp_path)})
    assert answer["digest"] == digest_here(name)
    assert not answer["shuffle"]
    forbidden = {without_avx512: {"avx512f"}, without_avx: {"avx512f", "avx2"}, second_level: {"pclmul", "avx512f", "avx2"}}[processor]
    assert answer["lanes"] in [count for count, wanted in LANES_BY_FEATURES.items() if not forbidden & set(wanted)]


if __name__ == "__main__":
    show(sys.argv[1])
