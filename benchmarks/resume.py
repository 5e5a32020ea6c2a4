"""Kills a run at random moments until it is done, and compares with an uninterrupted one.

python benchmarks/resume.py [FILES] [ROUNDS]

Every round copies the samples to FILES files (default 120), runs ``chestx predict`` once without a
disturbance, then again with ``--resume``, killed by SIGKILL or SIGINT after a random time, until it
ends by itself. ``results.csv`` and ``studies.csv`` must be equal to the byte, every picture must be
whole, and no child process may be left. Exit code 1 where anything differs.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SAMPLES = Path(__file__).parents[1] / "examples" / "samples"
CHESTX = str(Path(sys.executable).with_name("chestx"))
SEED = 20261121


def fill_inbox(folder: Path, count: int) -> None:
    """So many files of every kind, the damaged one among them."""
    samples = sorted(SAMPLES.iterdir())
    folder.mkdir()
    for number in range(count):
        sample = samples[number % len(samples)]
        shutil.copyfile(sample, folder / f"{number:05d}-{sample.name}")


def run_once(inbox: Path, output: Path, *, kill_after_s: float | None, how: int) -> int | None:
    """One start; None where it was killed before its end."""
    command = [CHESTX, "predict", str(inbox), "-o", str(output), "--resume", "-q"]
    process = subprocess.Popen(command, start_new_session=True)
    try:
        return process.wait(kill_after_s)
    except subprocess.TimeoutExpired:
        process.send_signal(how)
        process.wait()
        return None


def list_children() -> list[int]:
    """Processes that decode for chestx, whoever's they are."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"chestx.images.worker" in words:
            found.append(int(entry.name))
    return found


def compare(whole: Path, pieced: Path) -> list[str]:
    """What differs between the two folders."""
    faults = [
        f"{name} differs"
        for name in ("results.csv", "studies.csv")
        if (whole / name).read_bytes() != (pieced / name).read_bytes()
    ]
    for folder in ("heatmaps", "pictures/views", "pictures/thumbnails", "pictures/maps"):
        for picture in (whole / folder).iterdir():
            other = pieced / folder / picture.name
            if not other.is_file() or other.read_bytes() != picture.read_bytes():
                faults.append(f"{folder}/{picture.name} differs")
    return faults


def main(files: int, rounds: int) -> int:
    """Prints a line a round."""
    chance = random.Random(SEED)
    faults = 0
    with tempfile.TemporaryDirectory() as scratch:
        inbox, whole = Path(scratch) / "in", Path(scratch) / "whole"
        fill_inbox(inbox, files)
        start = time.perf_counter()
        run_once(inbox, whole, kill_after_s=None, how=signal.SIGKILL)
        usual_s = time.perf_counter() - start
        for number in range(rounds):
            pieced = Path(scratch) / f"pieced-{number}"
            how = signal.SIGKILL if number % 3 else signal.SIGINT
            kills, code = 0, None
            before = set(list_children())
            while code is None:
                wait_s = chance.uniform(0.3, 1.2) * usual_s if kills < 12 else None
                code = run_once(inbox, pieced, kill_after_s=wait_s, how=how)
                kills += code is None
            time.sleep(1)
            found = compare(whole, pieced)
            left = [pid for pid in list_children() if pid not in before]
            found += [f"child process {pid} is left" for pid in left]
            faults += len(found)
            print(f"round {number + 1}: {how.name}, {kills} kills, exit {code}, {found or 'equal'}")
    print(f"{files} files, {rounds} rounds, uninterrupted {usual_s:.1f} s, {faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    os.umask(0o077)
    arguments = [int(argument) for argument in sys.argv[1:3]]
    sys.exit(main(*arguments, *(120, 6)[len(arguments) :]))
