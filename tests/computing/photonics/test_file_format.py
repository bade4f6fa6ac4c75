"""Files of samples: written and read again, and hostile ones refused before anything large is made."""

from __future__ import annotations

import io
import json
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiandi.computing.photonics.file_format import read_samples, write_samples
from tiandi.errors import InputError

GENERATOR = np.random.default_rng(1)
HONEST = {
    "modes": 9,
    "samples": 4,
    "detector": "threshold",
    "bins": 1,
    "source": "",
    "machine": "",
    "format": "tiandi-gbs-samples",
    "version": 1,
}


def _npz(at: Path, metadata: object, **arrays: np.ndarray) -> Path:
    np.savez(at, metadata=np.frombuffer(json.dumps(metadata).encode(), np.uint8), **arrays)
    return at


@pytest.mark.parametrize("ending", [".npz", ".csv", ".txt"])
@pytest.mark.parametrize(("detector", "bins", "largest"), [("threshold", 1, 1), ("pseudo-number", 8, 8), ("number", 1, 255)])
def test_what_is_written_is_read(tmp_path: Path, ending: str, detector: str, bins: int, largest: int) -> None:
    samples = GENERATOR.integers(0, largest + 1, (17, 13))
    at = tmp_path / f"samples{ending}"
    write_samples(at, samples, detector=detector, bins=bins, source="chain rule", machine="jiuzhang-2.0-0.15w")  # type: ignore[arg-type]
    read = read_samples(at, modes=13)
    assert np.array_equal(read.samples, samples)
    assert read.samples.dtype == np.uint8
    assert (read.metadata.detector, read.metadata.bins, read.metadata.source) == (detector, bins, "chain rule")
    assert read.metadata.machine == "jiuzhang-2.0-0.15w"


def test_threshold_samples_take_a_bit_each(tmp_path: Path) -> None:
    write_samples(tmp_path / "a.npz", GENERATOR.integers(0, 2, (10_000, 144)))
    assert (tmp_path / "a.npz").stat().st_size < 10_000 * 144 / 8 * 1.05


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 20), st.integers(0, 5), st.integers(0, 1000))
def test_any_shape_comes_back(tmp_path_factory: pytest.TempPathFactory, modes: int, number: int, seed: int) -> None:
    samples = np.random.default_rng(seed).integers(0, 2, (number, modes))
    at = tmp_path_factory.mktemp("any") / "a.npz"
    write_samples(at, samples)
    assert np.array_equal(read_samples(at).samples, samples)


def test_texts_of_others_are_read(tmp_path: Path) -> None:
    at = tmp_path / "a.txt"
    at.write_text("0110\n1001\n\n# source: a friend\n1111\n")
    read = read_samples(at)
    assert read.samples.tolist() == [[0, 1, 1, 0], [1, 0, 0, 1], [1, 1, 1, 1]]
    assert read.metadata.source == "a friend"
    at.write_text("0 3 1\n2, 0,0\n")
    assert read_samples(at, detector="number").samples.tolist() == [[0, 3, 1], [2, 0, 0]]
    with pytest.raises(InputError, match="count"):
        read_samples(at)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# only words\n",
        "0 1\n0 1 0\n",
        "0 -1\n",
        "0 1e9\n",
        "0 256\n",
        "0 x\n",
        "# bins: many\n0 1\n",
        "# detector: eye\n0 1\n",
        "1 ٣\n",
    ],
)
def test_bad_texts_are_refused(tmp_path: Path, text: str) -> None:
    at = tmp_path / "a.csv"
    at.write_text(text, encoding="utf-8")
    with pytest.raises(InputError):
        read_samples(at)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    at = tmp_path / "a.csv"
    at.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="text"):
        read_samples(at)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"format": "other"},
        {"modes": 0},
        {"modes": 10**9},
        {"samples": 10**15},
        {"samples": -1},
        {"samples": 5},
        {"detector": "eye"},
        {"bins": 8},
        {"detector": "pseudo-number"},
        {"more": 1},
        {"source": "x" * 300},
        {"modes": "9"},
    ],
)
def test_metadata_that_cannot_stand_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    samples = np.zeros((4, 9), np.uint8)
    assert read_samples(_npz(tmp_path / "good.npz", HONEST, samples=samples)).metadata.modes == 9
    with pytest.raises(InputError):
        read_samples(_npz(tmp_path / "bad.npz", {**HONEST, **change}, samples=samples))


@pytest.mark.parametrize(
    "arrays",
    [
        {"samples": np.full((4, 9), 2, np.uint8)},
        {"samples": np.zeros((4, 9), np.int64)},
        {"samples": np.zeros((9, 4), np.uint8)},
        {"samples": np.asfortranarray(np.zeros((4, 9), np.uint8))},
        {"samples": np.array([{"a": 1}] * 4, dtype=object)},
        {"packed": np.full((4, 2), 255, np.uint8)},
        {"other": np.zeros((4, 9), np.uint8)},
    ],
)
def test_arrays_that_metadata_does_not_tell_are_refused(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    with pytest.raises(InputError):
        read_samples(_npz(tmp_path / "a.npz", HONEST, **arrays))


def test_a_bomb_is_refused_by_its_size_alone(tmp_path: Path) -> None:
    at = tmp_path / "a.npz"
    head = io.BytesIO()
    np.save(head, np.frombuffer(json.dumps(HONEST).encode(), np.uint8))
    with zipfile.ZipFile(at, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata.npy", head.getvalue())
        archive.writestr("samples.npy", b"\0" * 50_000_000)
    with pytest.raises(InputError, match="samples"):
        read_samples(at)
    with zipfile.ZipFile(at, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata.npy", b"\0" * 50_000_000)
    with pytest.raises(InputError, match="metadata"):
        read_samples(at)


def test_other_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there"):
        read_samples(tmp_path / "none.npz")
    (tmp_path / "a.npz").write_bytes(b"PK no zip")
    with pytest.raises(InputError, match="npz"):
        read_samples(tmp_path / "a.npz")
    (tmp_path / "a.bin").write_bytes(b"")
    with pytest.raises(InputError, match="end in"):
        read_samples(tmp_path / "a.bin")
    with pytest.raises(InputError, match="end in"):
        write_samples(tmp_path / "b.bin", np.zeros((1, 2), int))
    with pytest.raises(InputError, match="count"):
        write_samples(tmp_path / "b.npz", np.full((1, 2), 2))
    with pytest.raises(InputError, match="whole numbers"):
        write_samples(tmp_path / "b.npz", np.zeros((1, 2)))
    write_samples(tmp_path / "c.npz", np.zeros((1, 2), int))
    with pytest.raises(InputError, match="modes"):
        read_samples(tmp_path / "c.npz", modes=3)
    with pytest.raises(InputError, match="detector"):
        read_samples(tmp_path / "c.npz", detector="number")


def test_headers_that_lie_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    """Of metadata, an array of a terabyte; of samples, objects, a header that does not end or nests, a damaged stream."""
    at = tmp_path / "a.npz"

    def written(name: str, content: bytes) -> Path:
        head = io.BytesIO()
        np.save(head, np.frombuffer(json.dumps(HONEST).encode(), np.uint8))
        with zipfile.ZipFile(at, "w", zipfile.ZIP_DEFLATED) as archive:
            if name != "metadata.npy":
                archive.writestr("metadata.npy", head.getvalue())
            archive.writestr(name, content)
        return at

    def npy(header: str, content: bytes = b"") -> bytes:
        text = header.encode() + b"\n"
        return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + content

    huge = npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000,), }")
    objects = npy("{'descr': '|O', 'fortran_order': False, 'shape': (4, 9), }", b"\0" * 36)
    endless = npy("{'descr': '|u1', 'fortran_order': False, 'shape': (4, 9), (((", b"\0" * 36)
    nested = npy("(" * 900 + ")" * 900, b"\0" * 36)
    for name, content in (("metadata.npy", huge), ("samples.npy", objects), ("samples.npy", endless), ("samples.npy", nested)):
        with pytest.raises(InputError):
            read_samples(written(name, content))
    raw = bytearray(
        written("samples.npy", npy("{'descr': '|u1', 'fortran_order': False, 'shape': (4, 9), }", bytes(range(36)))).read_bytes()
    )
    place = raw.index(b"samples.npy") + 11
    raw[place : place + 40] = b"\xff" * 40
    at.write_bytes(raw)
    with pytest.raises(InputError, match="npz"):
        read_samples(at)


def test_texts_of_endless_lines_and_of_many_words_take_little_memory(tmp_path: Path) -> None:
    """A million columns, comments that pile up, and many samples of one mode."""
    at = tmp_path / "a.csv"
    for line in ("0," * 1_000_000, "0" * 1_000_000, "# " + "x" * 1_000_000):
        at.write_text(line)
        with pytest.raises(InputError, match="line of less than"):
            read_samples(at)
    at.write_text("".join(f"# word {number}: {'x' * 50}\n" for number in range(20_000)) + "1\n" * 50_000)
    tracemalloc.start()
    read = read_samples(at)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert read.samples.shape == (50_000, 1)
    assert most < 1e6
