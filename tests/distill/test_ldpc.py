import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tiandi.bits import BitArray
from tiandi.distill import ldpc_decoder
from tiandi.distill.ldpc import LdpcCorrector, LdpcPlan, LdpcTeller
from tiandi.distill.ldpc_codes import CodeName, QuasiCyclicCode, build_code, split_rows, split_syndrome
from tiandi.distill.ldpc_decoder import entropy_bit, find_errors, qber_of_entropy
from tiandi.distill.ldpc_evolution import LARGEST_MESSAGE, MAXIMUM_ITERATIONS, STEPS_PER_ITERATION, evolve
from tiandi.distill.ldpc_vectors import shuffle_flag
from tiandi.errors import InputError, ProtocolViolation

SMALL = CodeName(rows=12, columns=60, circulant=128)


def reconcile(plan: LdpcPlan, alice_bits: BitArray, bob_bits: BitArray) -> tuple[BitArray, LdpcCorrector, int]:
    """Bob's key afterwards, Bob himself, and the number of bits that travelled."""
    alice, bob = LdpcTeller(plan, alice_bits), LdpcCorrector(plan, bob_bits)
    travelled = 0
    while bob.query is not None:
        told = alice.tell(bob.query)
        travelled += told.size
        bob.absorb(told)
    assert alice.leaked_bit == bob.leaked_bit
    return bob.corrected, bob, travelled


def random_key(key_bit: int, qber: float, generator: np.random.Generator) -> tuple[BitArray, BitArray]:
    alice_bits = generator.integers(0, 2, key_bit, dtype=np.uint8)
    return alice_bits, alice_bits ^ (generator.random(key_bit) < qber).astype(np.uint8)


def dense_matrix(code: QuasiCyclicCode) -> NDArray[np.uint8]:
    """The parity-check matrix, one circulant after the other."""
    matrix = np.zeros((code.row_starts.size - 1, code.circulant, code.columns, code.circulant), np.uint8)
    unit = np.eye(code.circulant, dtype=np.uint8)
    for row in range(code.row_starts.size - 1):
        for edge in range(code.row_starts[row], code.row_starts[row + 1]):
            matrix[row, :, code.edge_columns[edge]] ^= np.roll(unit, code.edge_shifts[edge], axis=1)
    return matrix.reshape(matrix.shape[0] * code.circulant, -1)


# Codes.


def test_a_name_tells_a_code_apart() -> None:
    first, other = build_code(SMALL), build_code(CodeName(12, 60, 128, seed=1))
    build_code.cache_clear()
    again = build_code(SMALL)
    assert again is not first
    for field in ("row_starts", "edge_columns", "edge_shifts"):
        assert np.array_equal(getattr(first, field), getattr(again, field))
    assert not np.array_equal(first.edge_shifts, other.edge_shifts)


def test_a_code_is_the_same_on_every_machine() -> None:
    """First edges as they came out when the construction was written."""
    code = build_code(SMALL)
    assert code.edge_columns[:6].tolist() == [50, 6, 31, 27, 14, 40]
    assert code.edge_shifts[:6].tolist() == [113, 101, 35, 17, 99, 96]


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("circulant", {"circulant": 64}),
        ("circulant", {"circulant": 200}),
        ("rows", {"rows": 3}),
        ("rows", {"rows": 60}),
        ("split_rows", {"split_rows": 13}),
    ],
)
def test_a_code_that_cannot_be_is_refused(field: str, changes: dict[str, int]) -> None:
    with pytest.raises(InputError, match=field):
        replace(SMALL, **changes)


def test_a_syndrome_is_the_product_with_the_matrix() -> None:
    bits = np.random.default_rng(1).integers(0, 2, SMALL.code_bit, dtype=np.uint8)
    for name in (SMALL, SMALL.split(5)):
        product = dense_matrix(build_code(name)).astype(np.int64) @ bits % 2
        assert np.array_equal(build_code(name).syndrome(bits).ravel(), product)


@pytest.mark.parametrize("shape", [(40, 200, 512), (40, 400, 512), (67, 200, 512), (116, 200, 512), (40, 200, 128), (20, 100, 128)])
def test_no_two_checks_share_two_bits(shape: tuple[int, int, int]) -> None:
    """A cycle of four edges is two columns with the same difference of shifts in the same two rows."""
    code = build_code(CodeName(*shape))
    rows = np.repeat(np.arange(shape[0]), np.diff(code.row_starts))
    seen = set()
    for column in range(code.columns):
        edges = np.flatnonzero(code.edge_columns == column)
        for i, first in enumerate(edges):
            for second in edges[:i]:
                difference = (code.edge_shifts[first] - code.edge_shifts[second]) % code.circulant
                pair = (int(rows[first]), int(rows[second]), int(difference))
                assert rows[first] > rows[second]
                assert pair not in seen
                seen.add(pair)


def test_rows_are_filled_evenly_and_columns_of_degree_two_close_no_circle() -> None:
    code = build_code(CodeName(40, 200, 512))
    assert np.ptp(np.diff(code.row_starts)) <= 1
    degrees = np.bincount(code.edge_columns)
    assert degrees.min() == 2
    assert (degrees == 2).sum() < 40


@given(st.integers(0, 12), st.integers(0, 2**32))
def test_halves_of_rows_make_the_syndrome_of_the_split_code(count: int, seed: int) -> None:
    bits = np.random.default_rng(seed).integers(0, 2, SMALL.code_bit, dtype=np.uint8)
    name = SMALL.split(count)
    syndrome = build_code(name).syndrome(bits)
    _, places = split_rows(name)
    assert np.array_equal(split_syndrome(name, build_code(SMALL).syndrome(bits), syndrome[places]), syndrome)
    smaller = split_rows(SMALL.split(count // 2))[0]
    assert np.array_equal(split_rows(name)[0][: count // 2], smaller)


# Density evolution.


@pytest.mark.parametrize(
    ("bit_degree", "check_degree", "threshold"),
    [(3, 6, 0.084), (4, 8, 0.076), (5, 10, 0.068), (3, 5, 0.113), (4, 6, 0.116), (3, 4, 0.167)],
)
def test_regular_codes_are_corrected_up_to_nearly_the_published_limits(bit_degree: int, check_degree: int, threshold: float) -> None:
    """Thresholds of belief propagation, which no rule for combining messages exceeds.

    Richardson and Urbanke 2001, doi:10.1109/18.910577; their figures, recalled.
    """

    def converges(qber: float) -> bool:
        degrees = np.array([bit_degree]), np.array([check_degree])
        return evolve(degrees[0], degrees[1], degrees[1], degrees[0], qber).converges

    assert converges(0.965 * threshold)
    assert not converges(1.01 * threshold)


def test_the_first_answers_are_those_of_the_channel() -> None:
    """Before anything is known, a check of d bits is right about one when the d - 1 others have an even number of errors."""
    qber, degree = 0.03, 9
    evolution = evolve(np.array([3]), np.array([3]), np.array([degree]), np.array([1]), qber)
    odd = (1 - (1 - 2 * qber) ** (degree - 1)) / 2
    steps_per_nat = evolution.prior / np.log((1 - qber) / qber)
    assert evolution.tables[0, 0, evolution.prior] == round(steps_per_nat * np.log((1 - odd) / odd))
    assert evolution.unsatisfied[0] == pytest.approx((1 - (1 - 2 * qber) ** degree) / 2, rel=1e-9)


def test_evolution_predicts_the_share_of_unsatisfied_checks() -> None:
    """Against real decoding, group by group, in the first three iterations: 8 frames, 2560 checks a group (5 sigma: 0.02)."""
    name = CodeName(40, 200, 512)
    evolution = ldpc_decoder.worst_evolution(name)
    code = build_code(name)
    qber = qber_of_entropy(0.2) * 0.88
    bits = np.unique(np.bincount(code.edge_columns), return_counts=True)
    checks = np.unique(np.diff(code.row_starts), return_counts=True)
    expected = evolve(*bits, *checks, qber).unsatisfied
    generator = np.random.default_rng(3)
    seen = np.zeros(3 * STEPS_PER_ITERATION)
    for _ in range(8):
        errors = (generator.random(name.code_bit) < qber).astype(np.uint8)
        seen += slow_decode(name, code.syndrome(errors), iterations=3)[1] / 8
    assert evolution.converges
    assert np.abs(seen - expected[: seen.size]).max() < 0.03


# Decoder.


def slow_decode(name: CodeName, syndrome: BitArray, iterations: int = MAXIMUM_ITERATIONS) -> tuple[BitArray | None, NDArray[np.float64]]:
    """The decoder's rules once more, on whole rows of NumPy integers; also the share of unsatisfied checks of each group of rows."""
    code, evolution = build_code(name), ldpc_decoder.worst_evolution(name)
    _, kinds = np.unique(np.diff(code.row_starts), return_inverse=True)
    belief = np.full((name.columns, name.circulant), evolution.prior)
    messages = np.zeros((code.edge_columns.size, name.circulant), int)
    rows, step, shares = code.row_starts.size - 1, 0, []
    for iteration in range(iterations):
        for group in range(STEPS_PER_ITERATION):
            wrong, checks = 0, 0
            for row in range(group * rows // STEPS_PER_ITERATION, (group + 1) * rows // STEPS_PER_ITERATION):
                edges = slice(code.row_starts[row], code.row_starts[row + 1])
                places = (code.edge_columns[edges, None], (np.arange(name.circulant) + code.edge_shifts[edges, None]) % name.circulant)
                before = belief[places]
                heard = np.where(np.abs(before) > 126, before, np.clip(before - messages[edges], -128, 127))
                sign = syndrome[row] ^ ((heard < 0).sum(axis=0) % 2).astype(np.uint8)
                wrong += int(sign.sum())
                least, second = np.sort(np.minimum(np.abs(heard), LARGEST_MESSAGE), axis=0)[:2]
                table = evolution.tables[step, kinds[row]]
                told = np.where(np.abs(heard) == least, table[second], table[least]).astype(int)
                told = np.where((heard < 0) ^ (sign == 1), -told, told)
                messages[edges] = told
                belief[places] = np.where(np.abs(heard) > 126, heard, np.clip(heard + told, -128, 127))
                checks += name.circulant
            if checks == 0:
                continue
            shares.append(wrong / checks)
            last = evolution.unsatisfied.size - 1
            visited = iteration * STEPS_PER_ITERATION + group
            step = min(visited + 1, last)
            if visited + 1 >= STEPS_PER_ITERATION:
                later = np.flatnonzero(evolution.unsatisfied[STEPS_PER_ITERATION - 1 :] * checks <= wrong)
                step = min((later[0] if later.size else last) + STEPS_PER_ITERATION, last)
        errors = (belief < 0).astype(np.uint8).ravel()
        if np.array_equal(code.syndrome(errors), syndrome):
            return errors, np.array(shares)
    return None, np.array(shares)


@pytest.mark.parametrize(
    "name", [SMALL, CodeName(5, 25, 128), CodeName(30, 90, 192, seed=7), CodeName(40, 120, 256, split_rows=11)], ids=str
)
def test_the_compiled_decoder_follows_the_rules(name: CodeName) -> None:
    """At an error rate where some frames are found and some are not, so that every table is used."""
    generator = np.random.default_rng(2)
    qber = qber_of_entropy(name.syndrome_bit / name.code_bit / 1.25)
    outcomes = set()
    for _ in range(12):
        syndrome = build_code(name).syndrome((generator.random(name.code_bit) < qber).astype(np.uint8))
        slow, _ = slow_decode(name, syndrome)
        fast = find_errors(name, syndrome, name.code_bit)
        assert (slow is None) == (fast is None)
        if slow is not None and fast is not None:
            assert np.array_equal(slow, fast)
        outcomes.add(slow is None)
    assert False in outcomes


def test_tables_are_looked_up_alike_with_and_without_the_instruction() -> None:
    if shuffle_flag() is None:
        pytest.skip("this processor has no AVX-512 VBMI")
    generator = np.random.default_rng(4)
    for qber in (0.02, 0.025, 0.03):
        syndrome = build_code(SMALL).syndrome((generator.random(SMALL.code_bit) < qber).astype(np.uint8))
        by_instruction = ldpc_decoder._find_errors(SMALL, syndrome, SMALL.code_bit, True)
        one_by_one = ldpc_decoder._find_errors(SMALL, syndrome, SMALL.code_bit, None)
        assert (by_instruction is None) == (one_by_one is None)
        assert by_instruction is None or np.array_equal(by_instruction, one_by_one)


FOUND_ELSEWHERE = """
import numpy as np
from tiandi.distill.ldpc_codes import CodeName, build_code
from tiandi.distill.ldpc_decoder import find_errors
name = CodeName(rows=12, columns=60, circulant=128)
generator = np.random.default_rng(6)
for _ in range(5):
    errors = (generator.random(name.code_bit) < 0.024).astype(np.uint8)
    found = find_errors(name, build_code(name).syndrome(errors), name.code_bit)
    print(None if found is None else np.flatnonzero(found).tolist())
"""


@pytest.mark.slow
def test_a_processor_without_vectors_finds_the_same(tmp_path: os.PathLike[str]) -> None:
    """Compiled for the plainest processor of this family, in another process."""
    here = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_CPU")}
    plain = {**here, "NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    outputs = [
        subprocess.run([sys.executable, "-c", FOUND_ELSEWHERE], env=env, capture_output=True, text=True, check=True).stdout
        for env in (here, plain)
    ]
    assert outputs[0] == outputs[1]
    assert outputs[0].count("[") >= 1


@settings(deadline=None, max_examples=30)
@given(st.floats(0.0, 0.06), st.integers(1, SMALL.code_bit), st.integers(0, 2**32))
def test_errors_found_have_the_syndrome(qber: float, frame_bit: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    errors = np.zeros(SMALL.code_bit, np.uint8)
    errors[:frame_bit] = generator.random(frame_bit) < qber
    syndrome = build_code(SMALL).syndrome(errors)
    found = find_errors(SMALL, syndrome, frame_bit)
    if found is not None:
        filled = np.concatenate([found, np.zeros(SMALL.code_bit - frame_bit, np.uint8)])
        assert np.array_equal(build_code(SMALL).syndrome(filled), syndrome)
    if errors.sum() < 20:
        assert found is not None
        assert np.array_equal(found, errors[:frame_bit])


def test_a_syndrome_of_noise_is_given_up() -> None:
    noise = np.random.default_rng(5).integers(0, 2, (12, 128), dtype=np.uint8)
    assert find_errors(SMALL, noise, SMALL.code_bit) is None


@pytest.mark.parametrize("qber", [1e-4, 0.01, 0.11, 0.3, 0.5])
def test_entropy_and_its_inverse(qber: float) -> None:
    assert entropy_bit(qber) == pytest.approx(-qber * np.log2(qber) - (1 - qber) * np.log2(1 - qber), rel=1e-12)
    assert qber_of_entropy(entropy_bit(qber)) == pytest.approx(qber, rel=1e-6)


# Both ends.


@settings(deadline=None, max_examples=25)
@given(st.integers(2048, 60_000), st.floats(0.0, 0.11), st.integers(0, 2**32))
def test_errors_are_corrected(key_bit: int, qber: float, seed: int) -> None:
    alice_bits, bob_bits = random_key(key_bit, qber, np.random.default_rng(seed))
    corrected, bob, travelled = reconcile(LdpcPlan.for_key(key_bit, qber), alice_bits, bob_bits)
    # The words of a short code of low rate lie so close that errors may lead to another one, which verification finds.
    assert np.array_equal(corrected, alice_bits) or (key_bit < 10_000 and qber > 0.08)
    assert bob.leaked_bit <= travelled


@pytest.mark.parametrize(("qber", "efficiency"), [(0.01, 1.20), (0.02, 1.19), (0.05, 1.17), (0.08, 1.16), (0.11, 1.15)])
def test_leak_is_close_to_the_shannon_limit(qber: float, efficiency: float) -> None:
    key_bit = 800_000
    alice_bits, bob_bits = random_key(key_bit, qber, np.random.default_rng(int(1000 * qber)))
    corrected, bob, travelled = reconcile(LdpcPlan.for_key(key_bit, qber), alice_bits, bob_bits)
    assert np.array_equal(corrected, alice_bits)
    assert bob.repeated_frames == 0
    assert bob.leaked_bit == travelled
    assert travelled < efficiency * entropy_bit(qber) * key_bit


@pytest.mark.slow
@pytest.mark.parametrize(
    ("qber", "efficiency"), [(0.005, 1.20), (0.01, 1.19), (0.02, 1.18), (0.03, 1.18), (0.05, 1.17), (0.08, 1.16), (0.11, 1.15)]
)
def test_fewer_than_one_frame_in_a_hundred_needs_more(qber: float, efficiency: float) -> None:
    """1500 frames or more of a fixed seed; every frame is right in the end.

    At the highest rate seen, 0.5 % at a QBER of 0.5 %, another seed would fail once in a hundred; at the 0.2 % of others with 7e-7.
    """
    frames = repeated = leaked = bits = 0
    generator = np.random.default_rng(int(1e4 * qber))
    while frames < 1500:
        key_bit = 4_000_000
        alice_bits, bob_bits = random_key(key_bit, qber, generator)
        corrected, bob, _ = reconcile(LdpcPlan.for_key(key_bit, qber), alice_bits, bob_bits)
        assert np.array_equal(corrected, alice_bits)
        frames, repeated, leaked, bits = frames + bob.plan.frames, repeated + bob.repeated_frames, leaked + bob.leaked_bit, bits + key_bit
    assert repeated < 0.01 * frames
    assert leaked < efficiency * entropy_bit(qber) * bits


@pytest.mark.parametrize("true_qber", [0.021, 0.024, 0.03])
def test_a_little_more_is_told_when_there_are_more_errors_than_expected(true_qber: float) -> None:
    key_bit = 500_000
    plan = LdpcPlan.for_key(key_bit, 0.02)
    alice_bits, bob_bits = random_key(key_bit, true_qber, np.random.default_rng(8))
    corrected, bob, travelled = reconcile(plan, alice_bits, bob_bits)
    assert np.array_equal(corrected, alice_bits)
    assert bob.leaked_bit == travelled
    assert travelled < 1.36 * entropy_bit(true_qber) * key_bit


def test_at_last_the_frames_are_told() -> None:
    key_bit = 30_001
    plan = LdpcPlan(key_bit, frames=3, rows=20, circulant=128)
    alice_bits, bob_bits = random_key(key_bit, 0.5, np.random.default_rng(9))
    alice, bob = LdpcTeller(plan, alice_bits), LdpcCorrector(plan, bob_bits)
    rounds = 0
    while bob.query is not None:
        bob.absorb(alice.tell(bob.query))
        rounds += 1
    assert np.array_equal(bob.corrected, alice_bits)
    assert rounds == plan.stages
    assert alice.leaked_bit == 3 * plan.frame_bit


def test_stages_double_and_all_bits_told_are_counted() -> None:
    plan = LdpcPlan(100_000, frames=1, rows=40, circulant=512)
    assert plan.splits == (0, 2, 3, 5, 10, 20, 40)
    told = np.cumsum([plan.stage_bit(stage) for stage in range(plan.stages)])
    assert [plan.leaked_bit(np.array([stages])) for stages in range(plan.stages + 1)] == [0, *told[:-1], 100_000]
    assert told[:3].tolist() == [40 * 512, 42 * 512, 43 * 512]


@pytest.mark.parametrize(("key_bit", "qber"), [(2047, 0.02), (100_000, 0.13), (100_000, -0.1), (100_000, float("nan"))])
def test_a_key_or_a_qber_out_of_range_is_refused(key_bit: int, qber: float) -> None:
    with pytest.raises(InputError):
        LdpcPlan.for_key(key_bit, qber)


def test_another_number_of_bits_is_refused() -> None:
    plan = LdpcPlan.for_key(5000, 0.02)
    with pytest.raises(InputError, match="bits"):
        LdpcTeller(plan, np.zeros(4999, np.uint8))


@given(st.integers(2048, 10**9), st.floats(0.0, 0.12))
def test_every_plan_made_is_accepted(key_bit: int, qber: float) -> None:
    plan = LdpcPlan.for_key(key_bit, qber)
    assert plan == LdpcPlan.checked(key_bit=key_bit, frames=plan.frames, rows=plan.rows, circulant=plan.circulant, seed=plan.seed)


@pytest.mark.parametrize(
    "changes",
    [
        {"frames": 0},
        {"frames": 10**6},
        {"frames": 1, "key_bit": 10**8},
        {"rows": 0},
        {"rows": 10**6},
        {"rows": 256},
        {"circulant": 64},
        {"circulant": 130},
        {"circulant": 2**20},
        {"seed": -1},
        {"seed": 2**64},
        {"key_bit": 10**7, "rows": 4},
    ],
)
def test_a_plan_out_of_range_is_refused(changes: dict[str, int]) -> None:
    with pytest.raises(ProtocolViolation):
        LdpcPlan.checked(**{"key_bit": 30_000, "frames": 2, "rows": 20, "circulant": 128, "seed": 0, **changes})


@pytest.mark.parametrize("frames", [[], [-1], [3], [0, 0], [1, 0], [2**62]])
def test_frames_that_do_not_exist_are_not_told(frames: list[int]) -> None:
    alice = LdpcTeller(LdpcPlan(30_000, frames=3, rows=20, circulant=128), np.zeros(30_000, np.uint8))
    with pytest.raises(ProtocolViolation):
        alice.tell(np.array(frames, np.int64))
    assert alice.leaked_bit == 0


def test_nothing_is_left_to_tell_of_a_frame_told() -> None:
    plan = LdpcPlan(30_000, frames=3, rows=20, circulant=128)
    alice = LdpcTeller(plan, np.zeros(30_000, np.uint8))
    for _ in range(plan.stages):
        alice.tell(np.array([1]))
    with pytest.raises(ProtocolViolation):
        alice.tell(np.array([1, 2]))


def test_answers_of_another_length_and_answers_to_nothing_are_refused() -> None:
    plan = LdpcPlan.for_key(20_000, 0.02)
    bits = np.zeros(20_000, np.uint8)
    alice, bob = LdpcTeller(plan, bits), LdpcCorrector(plan, bits)
    assert bob.query is not None
    told = alice.tell(bob.query)
    assert told.size == bob.expected_bit
    for wrong in (told[:-1], np.append(told, 0).astype(np.uint8)):
        with pytest.raises(ProtocolViolation):
            bob.absorb(wrong)
    bob.absorb(told)
    assert bob.query is None
    assert bob.expected_bit == 0
    for unasked in (told, told[:0]):
        with pytest.raises(ProtocolViolation):
            bob.absorb(unasked)


def test_a_frame_that_belies_its_parities_is_refused() -> None:
    plan = LdpcPlan(30_000, frames=3, rows=20, circulant=128)
    alice_bits, bob_bits = random_key(30_000, 0.5, np.random.default_rng(10))
    alice, bob = LdpcTeller(plan, alice_bits), LdpcCorrector(plan, bob_bits)
    for _ in range(plan.stages - 1):
        assert bob.query is not None
        bob.absorb(alice.tell(bob.query))
    assert bob.query is not None
    told = alice.tell(bob.query)
    told[5] ^= 1
    with pytest.raises(ProtocolViolation):
        bob.absorb(told)


def test_nothing_of_the_key_is_left_after_wiping() -> None:
    plan = LdpcPlan.for_key(5000, 0.02)
    ones = np.ones(5000, np.uint8)
    alice, bob = LdpcTeller(plan, ones), LdpcCorrector(plan, ones)
    alice.wipe()
    bob.wipe()
    assert not bob.corrected.any()
    assert not alice.tell(np.arange(plan.frames)).any()
