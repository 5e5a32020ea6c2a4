"""How long a person waits: ``chestx --help``, and one image from a cold start.

python benchmarks/startup.py [RUNS]

Each figure is a whole process, the median of RUNS (default 9) after one warm-up that
fills the file cache. Targets: help under 0.5 s, one image under 3 s.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SAMPLE = Path(__file__).parents[1] / "examples" / "samples" / "adult-1-no-finding.png"


def time_process(arguments: list[str], runs: int) -> list[float]:
    """Seconds of each run of ``chestx`` after one that is not counted."""
    command = [str(Path(sys.executable).with_name("chestx")), *arguments]
    seconds = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - start)
    return seconds[1:]


def main(runs: int) -> None:
    """Prints a line a figure."""
    with tempfile.TemporaryDirectory() as folder:
        predict = ["predict", str(SAMPLE), "-o", folder, "--overwrite", "-q"]
        cases = {"--help": (["--help"], 0.5), "predict, one PNG": (predict, 3.0)}
        for name, (arguments, target) in cases.items():
            seconds = time_process(arguments, runs)
            print(
                f"{name:<18} median {statistics.median(seconds):.2f} s, "
                f"{min(seconds):.2f} to {max(seconds):.2f}, n={runs}, target {target} s"
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
