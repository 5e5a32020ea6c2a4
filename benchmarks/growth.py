"""Time and memory of ``chestx predict`` from a hundred files to a hundred thousand.

python benchmarks/growth.py IMAGES... [--counts 100,1000,10000,100000] [--predict-options ...]

The files are hard links to a few real ones (links where they lie on another disk), so the disk's
cache holds them all and what grows is chestx alone. There is no report and no overlay unless
``--pictures`` is given: over 20,000 images ``chestx predict`` writes no report, and a run that
has one cannot be compared with a run that has none. Time is of the whole process, memory the
highest summed PSS of the process tree (pages that processes share count once), and also its
median over the second half of the run, where growth would show best.

The fit is of time over files by least squares of relative errors: seconds to start and
milliseconds an image; the largest error of the line says whether it is one.
Exit code 1 where memory grew by more than ``--most-growth`` megabytes from the second count.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from predict import watch_process
from speed_inputs import list_images

SAMPLE_S = 0.5


@dataclass(frozen=True, slots=True)
class Growth:
    """One run.

    Attributes:
        files: how many.
        wall_s, cpu_s: of the whole process tree.
        peak_mb, late_mb: highest PSS, and its median over the second half of the run.
    """

    files: int
    wall_s: float
    cpu_s: float
    peak_mb: float
    late_mb: float


def link_files(folder: Path, sources: Sequence[Path], count: int) -> None:
    """Fills a folder with links to sources in turn, a thousand to a subfolder."""
    for position in range(count):
        source = sources[position % len(sources)].resolve()
        target = folder / f"{position // 1000:04d}" / f"{position:06d}{source.suffix.lower()}"
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except OSError:
            target.symlink_to(source)


def run_predict(folder: Path, output: Path, count: int, options: Sequence[str]) -> Growth:
    """``chestx predict`` on a folder, watched."""
    program = str(Path(sys.executable).with_name("chestx"))
    command = [program, "predict", str(folder), "-o", str(output), "-q", *options]
    wall, cpu, seen, _ = watch_process(command, every_s=SAMPLE_S)
    with open(output / "results.csv", encoding="utf-8") as file:
        rows = sum(1 for _ in file) - 1
    if rows != count:
        sys.exit(f"{count} files, but {rows} rows")
    late = statistics.median(seen[len(seen) // 2 :])
    return Growth(count, wall, cpu, max(seen), late)


def fit_line(files: Sequence[int], seconds: Sequence[float]) -> tuple[float, float, float]:
    """Seconds to start, seconds a file, and the largest relative error of the line."""
    counts, values = np.array(files, float), np.array(seconds)
    sides = np.stack([np.ones_like(counts), counts], axis=1) / values[:, None]
    (start, each), *_ = np.linalg.lstsq(sides, np.ones_like(values), rcond=None)
    errors = (start + each * counts) / values - 1
    return float(start), float(each), float(np.abs(errors).max())


def main() -> None:
    """Prints a line a count, then the fit; the last line is for programs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sources", nargs="+", type=Path, metavar="IMAGES")
    parser.add_argument("--counts", default="100,1000,10000,100000")
    parser.add_argument("--different", type=int, default=8, help="files that differ")
    parser.add_argument("--pictures", action="store_true", help="write overlays and the report")
    parser.add_argument("--most-growth", type=float, default=100.0, metavar="MB")
    parser.add_argument("--predict-options", default="", help="more options of chestx predict")
    parser.add_argument("--scratch", type=Path, help="where links and results go; default: /tmp")
    args = parser.parse_args()
    sources = list_images(args.sources)[: args.different]
    counts = [int(count) for count in args.counts.split(",")]
    options = args.predict_options.split()
    if not args.pictures:
        options += ["--no-report", "--no-heatmaps"]
    print(f"{len(sources)} different files; chestx predict {' '.join(options)}")
    print("  files    wall, s     CPU, s  CPU-ms each   peak PSS, MB  second half, MB")
    found: list[Growth] = []
    for count in counts:
        with tempfile.TemporaryDirectory(dir=args.scratch) as scratch:
            folder, output = Path(scratch) / "in", Path(scratch) / "out"
            link_files(folder, sources, count)
            one = run_predict(folder, output, count, options)
            shutil.rmtree(folder)
        found.append(one)
        print(
            f"{one.files:7d} {one.wall_s:10.1f} {one.cpu_s:10.1f} {1e3 * one.cpu_s / count:12.1f} "
            f"{one.peak_mb:14.0f} {one.late_mb:16.0f}  load {os.getloadavg()[0]:.1f}",
            flush=True,
        )
    files = [one.files for one in found]
    for name, seconds in (
        ("wall", [one.wall_s for one in found]),
        ("CPU", [one.cpu_s for one in found]),
    ):
        start, each, error = fit_line(files, seconds)
        print(f"{name}: {start:.2f} s + {1e3 * each:.2f} ms a file, off by {error:.1%} at most")
    # The first count is over before every child has started and every cache has filled.
    base = found[min(1, len(found) - 1)].late_mb
    grown = max(one.late_mb for one in found[1:] or found) - base
    wall = fit_line(files, [one.wall_s for one in found])
    print(
        f"ms_per_file={1e3 * wall[1]:.3f} worst_error={wall[2]:.3f} "
        f"peak_mb={max(one.peak_mb for one in found):.0f} growth_mb={grown:.0f}"
    )
    sys.exit(1 if grown > args.most_growth else 0)


if __name__ == "__main__":
    main()
