from tiandi.random import secret_bits, secret_bytes, twin_generator


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
