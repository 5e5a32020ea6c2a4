"""Classifies a folder of radiographs and prints a short table: what ``make demo`` runs.

python examples/demo.py FOLDER OUTPUT
"""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

SOME_FAILED = 3


def main(folder: str, output: Path) -> int:
    """Runs ``chestx predict`` as a user would and shows what came of it."""
    command = [str(Path(sys.executable).with_name("chestx")), "predict", folder]
    print("$", "chestx predict", folder, "--output", output, "--overwrite", flush=True)
    done = subprocess.run([*command, "--output", str(output), "--overwrite"], check=False)
    # One sample is damaged on purpose, so that "some failed" is the expected end.
    if done.returncode not in (0, SOME_FAILED):
        return done.returncode
    with open(output / "results.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    print(f"\n{'file':<38} {'decision':<13} what it says")
    for row in rows:
        said = row["interpretation"]
        print(f"{Path(row['path']).name:<38} {row['decision']:<13} {said}")
    print(f"\nOpen {output}/report.html in a browser; every number is in {output}/results.csv,")
    print(f"and a picture for each image in {output}/heatmaps.")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python examples/demo.py FOLDER OUTPUT")
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
