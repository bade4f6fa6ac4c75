import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tiandi
from tiandi.compiling import COMPILING

LOOPS = """
from tiandi.compiling import kernel

@kernel
def double(x):
    return 2 * x

@kernel
def triple(x):
    return 3 * x
"""

LEAN = """
import numpy as np
from tiandi.compiling import inlined, lean_kernel

@inlined
def last_below(values, end):
    return values[end - 1]

@lean_kernel
def total(values):
    found = 0
    for end in range(1, values.size + 1):
        found += last_below(values[:end], end)
    return found

@lean_kernel
def makes_one(size):
    return np.empty(size).size
"""

LEAN_LOOPS = """
import numpy as np
from numba.core.errors import TypingError
from tiandi.lean import makes_one, total
try:
    makes_one(3)
    refused = False
except TypingError:
    refused = True
print(json.dumps([int(total(np.arange(10))), refused]))
"""

# The loops count as tiandi's own, as only these are spoken of.
PREAMBLE = """
import json, logging, sys
import tiandi
tiandi.__path__.append(sys.argv[1])
from tiandi.compiling import announce_compilation, target_features
said, logged = [], []
class Keep(logging.Handler):
    def emit(self, record):
        logged.append([record.name, record.levelname, record.getMessage()])
logging.getLogger().addHandler(Keep())
logging.getLogger().setLevel(logging.INFO)
"""


class Elsewhere:
    """Runs a script in another process, whose compiled loops are kept in a folder of its own; returns what it prints as JSON."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "loops.py").write_text(LOOPS)

    def run(self, script: str, **settings: str) -> object:
        here = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
        environment = {**here, "NUMBA_CACHE_DIR": str(self._folder / "cache"), **settings}
        command = [sys.executable, "-c", PREAMBLE + script, str(self._folder)]
        return json.loads(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Elsewhere:
    return Elsewhere(tmp_path)


TWO_LOOPS = """
with announce_compilation(said.append):
    from tiandi.loops import double, triple
    results = double(2), triple(2)
print(json.dumps([results, said, logged]))
"""


def test_compiling_is_announced_once_and_what_is_found_compiled_is_not(elsewhere: Elsewhere) -> None:
    assert elsewhere.run(TWO_LOOPS) == [[4, 6], [COMPILING], []]
    assert elsewhere.run(TWO_LOOPS) == [[4, 6], [], []]


def test_without_an_announcement_the_log_says_it_once(elsewhere: Elsewhere) -> None:
    script = "from tiandi.loops import double, triple\ndouble(2), triple(2)\nprint(json.dumps(logged))"
    assert elsewhere.run(script) == [["tiandi", "INFO", COMPILING]]
    assert elsewhere.run(script) == []


def test_the_innermost_announcement_is_told(elsewhere: Elsewhere) -> None:
    script = """
from tiandi.loops import double, triple
with announce_compilation(lambda _: said.append("outer")):
    with announce_compilation(lambda _: said.append("inner")):
        double(2)
        triple(2)
    double(2.0)
triple(2.0)
print(json.dumps([said, len(logged)]))
"""
    assert elsewhere.run(script) == [["inner", "outer"], 1]


def test_compilation_in_another_thread_is_announced(elsewhere: Elsewhere) -> None:
    script = """
from concurrent.futures import ThreadPoolExecutor
from tiandi.loops import double, triple
with announce_compilation(said.append), ThreadPoolExecutor(2) as pool:
    list(pool.map(lambda loop: loop(2), (double, triple)))
print(json.dumps(said))
"""
    assert elsewhere.run(script) == [COMPILING]


def test_the_loops_of_others_are_not_spoken_of(elsewhere: Elsewhere) -> None:
    script = """
import numba
import tiandi.loops  # From here on compilations are heard of.
@numba.njit
def foreign(x):
    return x + 1
with announce_compilation(said.append):
    foreign(1)
foreign(1.0)
print(json.dumps([said, logged]))
"""
    assert elsewhere.run(script) == [[], []]


def test_an_announcement_ends_with_an_error_inside_it(elsewhere: Elsewhere) -> None:
    script = """
from tiandi.loops import double
try:
    with announce_compilation(said.append):
        raise KeyError
except KeyError:
    double(2)
print(json.dumps([said, len(logged)]))
"""
    assert elsewhere.run(script) == [[], 1]


def test_who_compiles_nothing_loads_no_compiler(elsewhere: Elsewhere) -> None:
    script = "with announce_compilation(said.append):\n    print(json.dumps('numba' in sys.modules))"
    assert elsewhere.run(script) is False


FEATURES = "print(json.dumps(sorted(name for name, has in target_features().items() if has)))"


def test_a_lean_loop_takes_arrays_and_makes_none(elsewhere: Elsewhere, tmp_path: Path) -> None:
    """That none can be made shows that references are not counted: the option which says so is not one of numba's documentation."""
    (tmp_path / "lean.py").write_text(LEAN)
    assert elsewhere.run(LEAN_LOOPS) == [45, True]


def test_every_loop_is_made_where_compilation_is_heard_of() -> None:
    source = Path(tiandi.__file__).parent
    makers = [path.name for path in source.rglob("*.py") if "njit(cache=True, nogil=True)" in path.read_text()]
    assert makers == ["compiling.py"]


def test_features_are_those_that_loops_are_compiled_for(elsewhere: Elsewhere) -> None:
    assert elsewhere.run(FEATURES, NUMBA_CPU_FEATURES="+sse2,-avx512f,+avx2") == ["avx2", "sse2"]
    assert elsewhere.run(FEATURES, NUMBA_CPU_NAME="generic") == []


def test_without_avx_no_form_of_it_is_a_feature(elsewhere: Elsewhere) -> None:
    """numba can be told so by a variable of its own, which leaves the processor's name and features unset."""
    features = elsewhere.run(FEATURES, NUMBA_ENABLE_AVX="0")
    assert isinstance(features, list)
    assert not [name for name in features if name.startswith("avx")]
