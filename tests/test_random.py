import numpy as np

from tiandi.random import secret_bits, secret_bytes, twin_generator, unpredictable_choice


def test_a_twin_repeats_with_its_seed_and_name() -> None:
    assert twin_generator(7, "a", "b").random() == twin_generator(7, "a", "b").random()


def test_other_seeds_and_names_give_other_twins() -> None:
    draws = {twin_generator(seed, *names).random() for seed in (1, 2) for names in (("a",), ("b",), ("a", "b"))}
    assert len(draws) == 6


def test_without_a_seed_a_twin_never_repeats() -> None:
    assert twin_generator(None, "a").random() != twin_generator(None, "a").random()


def test_secrets_never_repeat() -> None:
    assert secret_bytes(16) != secret_bytes(16)
    assert secret_bits(129).size == 129
    assert 400 < secret_bits(1000).sum() < 600  # Six standard deviations: one false alarm in 5e8.


def test_a_sample_is_spread_evenly_and_never_the_same_twice() -> None:
    """Each place is drawn equally often, to five sigma; two samples of one length differ."""
    draws, count, size = 400, 1000, 100
    drawn = np.zeros(count)
    for _ in range(draws):
        chosen = unpredictable_choice(count, size)
        assert chosen.size == size
        assert (np.diff(chosen) > 0).all()
        drawn[chosen] += 1
    share = size / count
    assert np.abs(drawn / draws - share).max() < 5.5 * np.sqrt(share * (1 - share) / draws)
    assert (unpredictable_choice(count, size) != unpredictable_choice(count, size)).any()
