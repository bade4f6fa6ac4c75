"""cascade-cpp (brunorijsman/cascade-cpp, C++, MIT licence) on frames of a given length; prints what each of its variants took and told.

Its program ``run_experiments`` reads a list of experiments from a JSON file and writes the averages of each into a folder; its two ends run
in one thread, whose processor time it takes. ``original`` is its fastest variant, ``yanetal`` one of those that tell the least. Parities
are counted as we count ours. It keeps the shuffles from one key to the next.
Run by any Python: python cascade_cpp.py RUN_EXPERIMENTS KEY_BIT QBER KEYS
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

VARIANTS = ("original", "yanetal")


def main(binary: str, key_bit: int, qber: float, keys: int) -> None:
    experiment = {"independent_variable": "error_rate", "runs": keys, "algorithm": VARIANTS, "key_size": [key_bit], "error_rate": [qber]}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "experiments.json"
        path.write_text(json.dumps([experiment]))
        command = [binary, "--disable-multi-processing", "--seed", "1", "--output-directory", folder, str(path)]
        subprocess.run(command, capture_output=True, check=True)
        points = {variant: json.loads(next(Path(folder).glob(f"data__algorithm={variant};*")).read_text()) for variant in VARIANTS}
    answers = {
        variant: {
            "keys": keys,
            "bits": keys * point["key_size"],
            "seconds": keys * point["elapsed_process_time"]["average"],
            "told": keys * point["ask_parity_blocks"]["average"],
            "wrong": round(keys * point["remaining_frame_error_rate"]["average"]),
        }
        for variant, point in points.items()
    }
    print(json.dumps(answers))


main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
