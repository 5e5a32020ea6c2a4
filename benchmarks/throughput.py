"""Images a second: chestx, what one would otherwise write, and what the machine allows.

python benchmarks/throughput.py IMAGES... [--kinds png,dicom-raw] [--sides one,default:f32] ...

IMAGES are real radiographs (PNG or JPEG, or folders of them); ``speed_inputs.py`` makes files
of every kind of them. The sides take turns on the same files, round by round:

    one        handwritten.py: DenseNet121 and Grad-CAM of the grad-cam package, image by image
    batch      eight at a time in bfloat16, Grad-CAM by the book
    MODEL:P    ``chestx predict`` with ``default``, a model folder, or an architecture with
               random weights (needs torch), at precision P: f32 or bf16

Every file gets a row in results.csv, and an overlay file unless it says ``without``; a side that
leaves one out ends the benchmark. Images a second are without the start of the program
(by each program's own clock, the start of chestx's child processes included); processor time
is of the whole process tree less what one image alone takes; memory is the highest summed PSS.

The bound is measured in the same round, in processor time, by as many processes as there are cores
at once (``bound.py``): decoding alone (OpenCV, for JPEG simplejpeg, for DICOM chestx's reader) and
the model alone on ready inputs. With C cores it is C / (decode + model); no program that decodes
the whole image by these decoders and runs this model can be faster.
``fraction`` is images a second over the bound: it falls on a machine that others use. ``CPU
fraction`` is processor time over processor time, and falls hardly at all.

A small run, under three minutes:

    python benchmarks/throughput.py IMAGES --kinds png --sides one,default:f32 --images 100 \\
        --handwritten-images 12 --rounds 2 --overlays with
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bound import measure_together
from predict import describe, time_process
from speed_inputs import KINDS, list_images, make_inputs
from speed_models import make_folder

from chestx.images.cores import count_usable_cores

HANDWRITTEN = Path(__file__).with_name("handwritten.py")
SIDES = (
    "one",
    "batch",
    *(f"{model}:{precision}" for model in ("default", "resnet18", "resnet34", "densenet121")
      for precision in ("f32", "bf16")),
)  # fmt: skip
OVERLAYS = ("with", "without")


@dataclass(frozen=True, slots=True)
class Run:
    """One side on one kind of file.

    Attributes:
        rate: images a second.
        cpu_ms: processor time an image, without what one image alone takes.
        peak_mb: highest PSS of the process tree.
        stages: stage -> processor milliseconds an image, of chestx.
    """

    rate: float
    cpu_ms: float
    peak_mb: float
    stages: dict[str, float] = field(default_factory=dict)


class Bench:
    """Runs the sides, each with the start that was measured once."""

    def __init__(self, args: argparse.Namespace, root: Path) -> None:
        self.args, self.root, self.cores = args, root, count_usable_cores()
        self.starts: dict[tuple[str, str], float] = {}
        self.serial = 0

    def run(self, side: str, files: Path, overlays: str) -> Run:
        """One side on all files of a folder."""
        if (side, overlays) not in self.starts:
            one = self.root / "one"
            shutil.rmtree(one, ignore_errors=True)
            fill(one, sorted(files.iterdir())[:1], 1)
            self.starts[side, overlays] = self._time(side, one, overlays)[1]
        count = len(list(files.iterdir()))
        loop, cpu, peak, stages = self._time(side, files, overlays)
        cpu_ms = 1e3 * (cpu - self.starts[side, overlays]) / max(count - 1, 1)
        each = {name: 1e3 * value / count for name, value in stages.items()}
        return Run(count / loop, cpu_ms, peak, each)

    def _time(
        self, side: str, files: Path, overlays: str
    ) -> tuple[float, float, float, dict[str, float]]:
        self.serial += 1
        output = self.root / f"out-{self.serial}"
        handwritten = side in ("one", "batch")
        command = self._handwritten if handwritten else self._chestx
        _, cpu, peak, text = time_process(command(side, files, output, overlays))
        count = len(list(files.iterdir()))
        stages: dict[str, float] = {}
        if handwritten:
            loop = float(text.split()[-2])
        else:
            record = json.loads((output / "run.json").read_text(encoding="utf-8"))
            loop, stages = record["seconds"], record["stage_cpu_seconds"]
        rows = len((output / "results.csv").read_text(encoding="utf-8").splitlines())
        pictures = len(list((output if handwritten else output / "heatmaps").glob("*.jpg")))
        wanted = (count if handwritten else count + 1, count if overlays == "with" else 0)
        if (rows, pictures) != wanted:
            sys.exit(f"{side}: {count} files, but {rows} lines and {pictures} overlays")
        shutil.rmtree(output)
        return loop, cpu, peak, stages

    def _handwritten(self, side: str, files: Path, output: Path, overlays: str) -> list[str]:
        python, threads = self.args.handwritten_python, str(self.cores)
        drawn = "overlays" if overlays == "with" else "none"
        return [python, str(HANDWRITTEN), str(files), str(output), threads, side, drawn]

    def _chestx(self, side: str, files: Path, output: Path, overlays: str) -> list[str]:
        model, precision = side.rsplit(":", 1)
        folder = make_folder(model, precision, self.root / "models")
        program = str(Path(sys.executable).with_name("chestx"))
        command = [program, "predict", str(files), "-o", str(output), "-q", "-m", folder]
        command += ["--precision", precision, "--no-report", *self.args.predict_options.split()]
        return command if overlays == "with" else [*command, "--no-heatmaps"]


def fill(folder: Path, sources: Sequence[Path], count: int) -> Path:
    """A folder of hard links to sources in turn."""
    folder.mkdir(parents=True)
    for position in range(count):
        source = sources[position % len(sources)]
        os.link(source, folder / f"{position:06d}{source.suffix}")
    return folder


def measure_kind(kind: str, sources: Sequence[Path], bench: Bench) -> dict[str, list[float]]:
    """All rounds of one kind of file; prints them and gives ratios and fractions."""
    args, root = bench.args, bench.root
    made = make_inputs(kind, sources[: args.different], root / kind / "made")
    large = fill(root / kind / "many", made, args.images)
    small = fill(root / kind / "few", made, args.handwritten_images)
    megabytes = statistics.mean(path.stat().st_size for path in made) / 1e6
    print(f"\n{kind}: {len(made)} different files of {megabytes:.2f} MB")
    folder = str(made[0].parent)
    runs: dict[tuple[str, str], list[Run]] = defaultdict(list)
    needed: dict[str, list[float]] = defaultdict(list)
    for turn in range(args.rounds):
        print(f"  round {turn + 1}, load {os.getloadavg()[0]:.1f}:", end="", flush=True)
        needed["decode"].append(measure_together(["decode", folder], bench.cores))
        for side in args.sides:
            if side not in ("one", "batch"):
                model, precision = side.rsplit(":", 1)
                path = make_folder(model, precision, root / "models")
                taken = measure_together(["model", path, precision, folder], bench.cores)
                needed[side].append(taken)
            for overlays in args.overlays:
                files = small if side in ("one", "batch") else large
                runs[side, overlays].append(bench.run(side, files, overlays))
                print(f" {side} {runs[side, overlays][-1].rate:.1f}/s;", end="", flush=True)
        print()
    shutil.rmtree(root / kind)
    return print_kind(runs, needed, bench)


def print_kind(
    runs: dict[tuple[str, str], list[Run]], needed: dict[str, list[float]], bench: Bench
) -> dict[str, list[float]]:
    """Prints a block a side; gives the figures of the last line, with overlays where made."""
    found: dict[str, list[float]] = defaultdict(list)
    print(
        f"  decode alone, all cores at it, CPU-ms an image: {describe(needed['decode'], digits=2)}"
    )
    for (side, overlays), done in runs.items():
        print(f"  {side}, {overlays} overlays")
        print(f"    images/s          {describe([run.rate for run in done], digits=2)}")
        print(f"    CPU-ms an image   {describe([run.cpu_ms for run in done], digits=1)}")
        print(f"    peak PSS, MB      {describe([run.peak_mb for run in done], digits=0)}")
        for name in done[0].stages:
            each = describe([run.stages[name] for run in done], digits=2)
            print(f"    stage {name:<11} {each}")
        if side in needed:
            both = [a + b for a, b in zip(needed["decode"], needed[side], strict=True)]
            bounds = [1e3 * bench.cores / ms for ms in both]
            shares = [run.rate / bound for run, bound in zip(done, bounds, strict=True)]
            cpu = [ms / run.cpu_ms for run, ms in zip(done, both, strict=True)]
            print(f"    model alone, CPU-ms {describe(needed[side], digits=2)}")
            print(f"    bound, images/s   {describe(bounds, digits=1)}")
            print(f"    fraction          {describe(shares, digits=3)}")
            print(f"    CPU fraction      {describe(cpu, digits=3)}")
            if side == bench.args.headline and overlays == bench.args.overlays[0]:
                found["fraction"] += shares
                found["cpu_fraction"] += cpu
                found["rate"] += [run.rate for run in done]
        if side != "one" and ("one", overlays) in runs:
            ratios = [a.rate / b.rate for a, b in zip(done, runs["one", overlays], strict=True)]
            print(f"    over image by image, wall {describe(ratios, digits=2)}")
            cpu = [b.cpu_ms / a.cpu_ms for a, b in zip(done, runs["one", overlays], strict=True)]
            print(f"    over image by image, CPU  {describe(cpu, digits=2)}")
            if side == bench.args.headline and overlays == bench.args.overlays[0]:
                found["ratio"] += ratios
                found["cpu_ratio"] += cpu
    return found


def choose(text: str, known: Sequence[str]) -> list[str]:
    """Names with commas; ends the program for one that is not known."""
    names = text.split(",")
    unknown = [name for name in names if name not in known and ":" not in name]
    if unknown:
        sys.exit(f"expected some of {', '.join(known)}, got {unknown[0]!r}")
    return names


def main() -> None:
    """Prints the figures; the last line is for programs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sources", nargs="+", type=Path, metavar="IMAGES")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--sides", default=",".join(SIDES))
    parser.add_argument("--overlays", default=",".join(OVERLAYS))
    parser.add_argument("--headline", default="default:f32", help="side of the last line")
    parser.add_argument("--images", type=int, default=400, help="files for chestx")
    parser.add_argument("--handwritten-images", type=int, default=40, help="for the other sides")
    parser.add_argument("--different", type=int, default=8, help="files that differ")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cores", type=int, help="hold all sides to so many; default: all")
    parser.add_argument("--predict-options", default="", help="more options of chestx predict")
    parser.add_argument("--handwritten-python", default=sys.executable)
    args = parser.parse_args()
    args.kinds, args.sides = choose(args.kinds, list(KINDS)), choose(args.sides, SIDES)
    args.overlays = choose(args.overlays, OVERLAYS)
    if args.cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-args.cores :])
    cores = count_usable_cores()
    print(
        f"{cores} cores and threads; {args.images} files for chestx, {args.handwritten_images} ",
        end="",
    )
    print(f"for the hand-written sides; {args.rounds} rounds")
    if os.getloadavg()[0] > 0.5:
        print("WARNING: the machine is busy: only ratios of CPU time mean something")
    found: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        (root / "models").mkdir()
        bench = Bench(args, root)
        for kind in args.kinds:
            for name, values in measure_kind(kind, list_images(args.sources), bench).items():
                found[f"{name}_{kind}"] = values
                if kind == args.kinds[0]:
                    found[name] = values
    middle = {name: statistics.median(values) for name, values in found.items()}
    print(
        f"\nratio_vs_handwritten={middle.pop('ratio', float('nan')):.2f} "
        f"fraction_of_bound={middle.pop('fraction', float('nan')):.3f} "
        + " ".join(f"{name}={value:.3f}" for name, value in middle.items())
    )


if __name__ == "__main__":
    main()
