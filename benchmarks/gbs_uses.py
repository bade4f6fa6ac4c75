"""Uses of Gaussian boson sampling beside classical rivals on the same instances, and molecules beside exact spectra.

Which of them needs a quantum device? Figures of searches are ratios of proposals: below 1 the first named does with less.
"""

from __future__ import annotations

import time

import numpy as np
from thewalrus.decompositions import takagi as takagi_of_thewalrus

from measure import Figure
from tiandi.computing.photonics.exact.chain_rule import sample_exact
from tiandi.computing.photonics.gaussian import CountArray, Detectors
from tiandi.computing.photonics.samplers import SAMPLERS
from tiandi.computing.photonics.uses import dense_subgraph as dense
from tiandi.computing.photonics.uses import similarity, vibronic
from tiandi.computing.photonics.uses.clique import cliques_from, maximum_clique
from tiandi.computing.photonics.uses.encoding import BoolArray, encode_graph, takagi

VERTICES, SIZE, GRAPHS, SAMPLES = 24, 10, 8, 1000
CLASSICAL = ("pairs-and-singles", "squashed", "thermal", "distinguishable")
LARGE_VERTICES, LARGE_SIZE, LARGE_SAMPLES = 144, 30, 20_000
MOLECULE_SAMPLES = 10_000


def random_graph(seed: int, vertices: int, share: float) -> BoolArray:
    """Each edge is there with probability ``share``."""
    upper = np.triu(np.random.default_rng(seed).random((vertices, vertices)) < share, 1)
    return upper | upper.T


def drawn(graph: BoolArray, seed: int) -> dict[str, CountArray]:
    """Samples of a graph's machine by every sampler, and the exact ones with their modes in random order."""
    generator = np.random.default_rng(seed)
    machine = encode_graph(graph, mean_photons=8.0, detectors=Detectors())
    found = {"exact": sample_exact(machine, SAMPLES, generator)}
    found |= {name: SAMPLERS[name](machine, generator).sample(SAMPLES, generator) for name in CLASSICAL}
    return found | {"shuffled": dense.shuffled(found["exact"], generator)}


def small_graphs() -> list[Figure]:
    """Proposals until the densest subgraph, and until a maximum clique, are found."""
    tries: dict[str, list[float]] = {}
    starts: dict[str, list[float]] = {}
    steps = []
    for seed in range(GRAPHS):
        graph = random_graph(seed, VERTICES, 0.5)
        best, clique = dense.densest_subgraph(graph, SIZE).edges, len(maximum_clique(graph))
        for name, samples in drawn(graph, seed + 100).items():
            tries.setdefault(name, []).append(dense.expected_tries(graph, dense.subsets_of_size(graph, samples, SIZE), best))
            sizes = np.array([len(cliques_from(graph, row[None], np.random.default_rng(seed)).clique) for row in samples[:200]])
            starts.setdefault(name, []).append(201 / ((sizes == clique).sum() + 1))
        runs = [dense.simulated_annealing(graph, SIZE, 5000, np.random.default_rng(run)).best_after for run in range(20)]
        steps.append(np.mean([np.argmax(run >= best) if run[-1] >= best else len(run) for run in runs]))
    mean = {name: float(np.exp(np.mean(np.log(values)))) for name, values in tries.items()}
    begun = {name: float(np.exp(np.mean(np.log(values)))) for name, values in starts.items()}
    rival = min(CLASSICAL, key=mean.__getitem__)
    words = ", ".join(f"{name} {value:.0f}" for name, value in mean.items()) + f"; annealing {np.mean(steps):.0f} steps"
    others = ", ".join(f"{name} {value:.1f}" for name, value in begun.items())
    title = f"densest {SIZE} of {VERTICES} vertices, {GRAPHS} graphs"
    return [
        Figure(f"{title}: proposals of exact GBS over shuffled ones", mean["exact"] / mean["shuffled"], 1.0, "", words),
        Figure(f"{title}: exact GBS over the best classical sampler, {rival}", mean["exact"] / mean[rival], 2.0, "", words),
        Figure(f"{title}: best classical sampler over exact GBS", mean[rival] / mean["exact"], 2.0, "", words),
        Figure(
            "maximum clique of the same: beginnings of exact GBS over shuffled ones", begun["exact"] / begun["shuffled"], 1.5, "", others
        ),
    ]


def large_graph() -> list[Figure]:
    """A graph of Jiuzhang's size, where samples are approximate: what each finds with as many proposals."""
    graph = random_graph(7, LARGE_VERTICES, 0.5)
    generator = np.random.default_rng(1)
    machine = encode_graph(graph, mean_photons=40.0, detectors=Detectors())
    found, seconds = {}, {}
    for name in ("corrected", "pairs-and-singles", "squashed", "thermal"):
        start = time.perf_counter()
        samples = SAMPLERS[name](machine, generator).sample(LARGE_SAMPLES, generator)
        found[name] = dense.random_search(graph, dense.subsets_of_size(graph, samples, LARGE_SIZE)).edges
        seconds[name] = time.perf_counter() - start
    found["shuffled"] = dense.random_search(graph, dense.subsets_of_size(graph, dense.shuffled(samples, generator), LARGE_SIZE)).edges
    start = time.perf_counter()
    annealed = dense.simulated_annealing(graph, LARGE_SIZE, 1_000_000, generator).edges
    taken = time.perf_counter() - start
    found["greedy"] = dense.greedy(graph, LARGE_SIZE).edges
    words = ", ".join(f"{name} {edges}" for name, edges in found.items()) + f"; annealing {annealed}"
    title = f"densest {LARGE_SIZE} of {LARGE_VERTICES}"
    return [
        Figure(f"{title}: edges of approximate GBS over simulated annealing", found["corrected"] / annealed, 1.0, "", words),
        Figure(f"{title}: a million steps of annealing", taken, 2.0, "s", f"{seconds['corrected']:.1f} s of {LARGE_SAMPLES:,} samples"),
    ]


def similar_graphs() -> list[Figure]:
    """Two families of graphs of 12 vertices and 24 edges: which features tell them apart."""
    generator = np.random.default_rng(3)
    features: dict[str, list[similarity.Features]] = {"events": [], "orbits": [], "walks": []}
    labels = [number % 2 for number in range(40)]
    orbits = [orbit for photons in (2, 4, 6) for orbit in similarity.orbits(photons, 2)]
    for label in labels:
        graph = _with_edges(generator, ring=bool(label))
        machine = encode_graph(graph, mean_photons=1.5)
        samples = sample_exact(machine, 2000, generator)
        features["events"].append(similarity.event_features(samples, [2, 4, 6], 2))
        features["orbits"].append(similarity.orbit_features(samples, orbits))
        features["walks"].append(similarity.closed_walks(graph, 6))
    right = {name: similarity.leave_one_out(values, labels) for name, values in features.items()}
    words = ", ".join(f"{name} {100 * value:.0f} %" for name, value in right.items())
    wrong = 1 - max(right["events"], right["orbits"])
    return [Figure("rings with chords and random graphs of 12 vertices: taken for the other by GBS", 100 * wrong, 40.0, "%", words)]


def _with_edges(generator: np.random.Generator, *, ring: bool) -> BoolArray:
    """24 edges: each vertex to its two next on a ring, a tenth of them moved; or anywhere."""
    graph = np.zeros((12, 12), bool)
    pairs = np.argwhere(np.triu(np.ones((12, 12), bool), 1))
    if ring:
        for first, second in ((i, (i + step) % 12) for i in range(12) for step in (1, 2)):
            graph[first, second] = graph[second, first] = generator.random() < 0.9
    while (left := 24 - graph.sum() // 2) > 0:
        first, second = pairs[generator.integers(len(pairs), size=left)].T
        graph[first, second] = graph[second, first] = True
    return graph


def molecules() -> list[Figure]:
    """The spectrum of formic acid, second-hand parameters: samples, and the classical answers."""
    formic = vibronic.load_molecules()["formic-acid"]
    vibronic.sample_energies(formic, 10, np.random.default_rng(1))
    start = time.perf_counter()
    energies = vibronic.sample_energies(formic, MOLECULE_SAMPLES, np.random.default_rng(1))
    sampled_s = time.perf_counter() - start
    start = time.perf_counter()
    exact = vibronic.exact_spectrum(formic)
    exact_s = time.perf_counter() - start
    off = vibronic.total_variation(vibronic.binned(energies), exact)
    noise = float(np.sqrt(exact.shares * (1 - exact.shares) / MOLECULE_SAMPLES * 2 / np.pi).sum() / 2)
    coherent = vibronic.total_variation(vibronic.exact_spectrum(vibronic.displaced_only(formic)), exact)
    peer = f"exact by Fourier transform: {exact_s:.2f} s; displacement alone {100 * coherent:.0f} % off"
    return [
        Figure(f"formic acid: {MOLECULE_SAMPLES:,} exact samples", sampled_s, 5.0, "s", peer),
        Figure("formic acid, 50/cm: total variation over that of sampling noise", off / noise, 1.3, "", f"{100 * off:.1f} % off; {peer}"),
    ]


def encoding() -> list[Figure]:
    """A graph of 144 vertices taken apart."""
    graph = random_graph(2, 144, 0.5).astype(complex)
    seconds = {}
    for name, work in (("here", takagi), ("thewalrus", takagi_of_thewalrus)):
        start = time.perf_counter()
        for _ in range(5):
            work(graph)
        seconds[name] = (time.perf_counter() - start) / 5
    peer = f"thewalrus {1e3 * seconds['thewalrus']:.0f} ms"
    return [Figure("Takagi decomposition of 144 vertices", 1e3 * seconds["here"], 100.0, "ms", peer)]


def benchmark_gbs_uses() -> list[Figure]:
    """All of them."""
    return [*small_graphs(), *large_graph(), *similar_graphs(), *molecules(), *encoding()]


if __name__ == "__main__":
    for figure in benchmark_gbs_uses():
        print(figure.line())
