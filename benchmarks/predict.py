"""``chestx predict`` against what one would otherwise write, on the same images.

python benchmarks/predict.py IMAGES... [--images 200] [--rounds 3] [--handwritten-python PYTHON]

The other side is HANDWRITTEN below: torchxrayvision's DenseNet121 (random weights: speed is
the same and nothing is downloaded) and Grad-CAM of the grad-cam package, image by image, an
overlay each, with as many threads as chestx uses cores. It needs an interpreter that has both:

    python -m venv handwritten
    handwritten/bin/pip install torchxrayvision grad-cam
    python benchmarks/predict.py IMAGES --handwritten-python handwritten/bin/python

IMAGES are PNG or JPEG files or folders of them, taken in turn until there are ``--images``
copies; what is printed says how often the content repeats. Each figure is a whole process
from start to exit, as ``chestx predict`` in a subprocess with its overlays and report. The
sides take turns (A B C A B C ...), after one image each that fills the file cache; ratios
are within a round. CPU time is that of the process and its children by ``wait4``, memory
the summed PSS (shared pages count once) of the process tree.

Turns do not make a busy machine fair: torch's threads wait for each other at every layer, and
where other programs hold a core they wait, spinning, many times longer than they compute
(measured: a forward pass of 0.1 s on one thread took 5 s on two). That would flatter chestx.
Run it on an idle machine, or with ``--cores 1``, which holds every side to one core and one thread.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chestx.images.cores import count_usable_cores

HANDWRITTEN = '''
"""python handwritten.py IMAGES OUTPUT THREADS"""
import csv, sys, time
from pathlib import Path

import cv2
import numpy as np
import skimage.io
import torch
import torchvision
import torchxrayvision as xrv
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.image import show_cam_on_image

images, output = Path(sys.argv[1]), Path(sys.argv[2])
torch.set_num_threads(int(sys.argv[3]))
output.mkdir(parents=True)

model = xrv.models.DenseNet(weights=None).eval()
transform = torchvision.transforms.Compose(
    [xrv.datasets.XRayCenterCrop(), xrv.datasets.XRayResizer(224)]
)
cam = GradCAM(model=model, target_layers=[model.features.denseblock4])

start = time.perf_counter()
with open(output / "results.csv", "w", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(["path", *xrv.datasets.default_pathologies])
    for path in sorted(images.iterdir()):
        image = xrv.datasets.normalize(skimage.io.imread(path), 255)
        if image.ndim == 3:
            image = image[:, :, :3].mean(2)
        image = transform(image[None])
        # One forward and one backward pass: the map of the highest score, and the scores.
        heat = cam(input_tensor=torch.from_numpy(image)[None], targets=None)[0]
        probabilities = torch.sigmoid(cam.outputs)[0].tolist()
        grey = (image[0] + 1024) / 2048
        overlay = show_cam_on_image(np.stack([grey] * 3, -1).astype(np.float32), heat)
        cv2.imwrite(str(output / f"{path.stem}.jpg"), overlay)
        writer.writerow([path, *probabilities])
print(time.perf_counter() - start)
'''

SUFFIXES = {".png", ".jpg", ".jpeg"}
SAMPLE_S = 0.2


@dataclass(frozen=True, slots=True)
class Run:
    """One process from start to exit.

    Attributes:
        wall_s, cpu_s: whole process; CPU with all children.
        loop_s: without start and end, by the process's own clock.
        peak_mb: highest PSS of the process tree.
        stages: stage -> processor seconds; empty for the hand-written program.
        decisions: decision -> images; likewise.
    """

    wall_s: float
    cpu_s: float
    loop_s: float
    peak_mb: float
    stages: dict[str, float] = field(default_factory=dict)
    decisions: dict[str, int] = field(default_factory=dict)


def list_tree(root: int) -> list[int]:
    """A process and its descendants, as they are now."""
    found, waiting = [], [root]
    while waiting:
        found.append(waiting.pop())
        for task in Path("/proc", str(found[-1]), "task").glob("*/children"):
            try:
                waiting += [int(child) for child in task.read_text().split()]
            except OSError:
                continue
    return found


def read_pss(pid: int) -> float:
    """Megabytes; pages that processes share are divided among them. 0 for one that is gone."""
    try:
        lines = Path("/proc", str(pid), "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def time_process(command: Sequence[str]) -> tuple[float, float, float, str]:
    """Wall seconds, CPU seconds, peak megabytes and standard output of a process tree."""
    wall, cpu, seen, text = watch_process(command)
    return wall, cpu, max(seen), text


def watch_process(
    command: Sequence[str], *, every_s: float = SAMPLE_S
) -> tuple[float, float, list[float], str]:
    """The same with the megabytes of every look at it, the first of them 0."""
    done, seen = threading.Event(), [0.0]
    with tempfile.TemporaryFile("w+") as said:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)

        def watch() -> None:
            while not done.wait(every_s):
                seen.append(sum(read_pss(pid) for pid in list_tree(process.pid)))

        watcher = threading.Thread(target=watch)
        watcher.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        done.set()
        watcher.join()
        said.seek(0)
        text = said.read()
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)}\nended with exit code {process.returncode}:\n{text}")
    return wall, usage.ru_utime + usage.ru_stime, seen, text


def run_chestx(images: Path, output: Path, *options: str) -> Run:
    """``chestx predict`` as a user runs it."""
    program = str(Path(sys.executable).with_name("chestx"))
    wall, cpu, peak, _ = time_process(
        [program, "predict", str(images), "-o", str(output), "-q", *options]
    )
    record = json.loads((output / "run.json").read_text(encoding="utf-8"))
    with open(output / "results.csv", encoding="utf-8", newline="") as file:
        decisions = Counter(row["decision"] for row in csv.DictReader(file))
    require_complete(images, rows=decisions.total(), overlays=output / "heatmaps")
    return Run(wall, cpu, record["seconds"], peak, record["stage_cpu_seconds"], dict(decisions))


def run_handwritten(images: Path, output: Path, *, python: str, threads: int) -> Run:
    """The program above, in its own interpreter."""
    script = output.with_suffix(".py")
    script.write_text(HANDWRITTEN, encoding="utf-8")
    wall, cpu, peak, text = time_process(
        [python, str(script), str(images), str(output), str(threads)]
    )
    rows = len((output / "results.csv").read_text(encoding="utf-8").splitlines()) - 1
    require_complete(images, rows=rows, overlays=output)
    return Run(wall, cpu, float(text.split()[-1]), peak)


def require_complete(images: Path, *, rows: int, overlays: Path) -> None:
    """Ends the benchmark where a side has left out a row or an overlay."""
    expected, pictures = len(list(images.iterdir())), len(list(overlays.glob("*.jpg")))
    if (rows, pictures) != (expected, expected):
        sys.exit(f"{expected} images, but {rows} rows and {pictures} overlays in {overlays}")


def copy_images(sources: Sequence[Path], folder: Path, count: int) -> int:
    """Fills a folder with ``count`` copies, sources in turn; returns how many differ."""
    files = [path for source in sources for path in list_images(source)]
    if not files:
        sys.exit(f"expected PNG or JPEG files or folders of them, got none in {sources}")
    folder.mkdir()
    for position in range(count):
        source = files[position % len(files)]
        shutil.copyfile(source, folder / f"{position:05d}{source.suffix.lower()}")
    return min(count, len(files))


def list_images(source: Path) -> list[Path]:
    """A file itself, or the images of a folder, sorted."""
    if source.is_file():
        return [source]
    return sorted(path for path in source.rglob("*") if path.suffix.lower() in SUFFIXES)


def describe(values: Sequence[float], *, digits: int) -> str:
    """Median and range."""
    low, middle, high = (
        f"{value:.{digits}f}" for value in (min(values), statistics.median(values), max(values))
    )
    return f"{middle} ({low} to {high})"


def print_side(name: str, runs: Sequence[Run], images: int) -> None:
    """Speed, CPU time and memory of one side, with medians and ranges."""
    lines = {
        "images/s": describe([images / run.wall_s for run in runs], digits=2),
        "wall, s": describe([run.wall_s for run in runs], digits=2),
        "  of it start and end, s": describe([run.wall_s - run.loop_s for run in runs], digits=2),
        "CPU-ms per image": describe([1e3 * run.cpu_s / images for run in runs], digits=1),
        "peak PSS, MB": describe([run.peak_mb for run in runs], digits=0),
    }
    print(f"\n{name}")
    for label, text in lines.items():
        print(f"  {label:<28}{text}")
    for stage in runs[0].stages:
        each = [1e3 * run.stages[stage] / images for run in runs]
        print(f"  {f'stage {stage}, CPU-ms an image':<28}{describe(each, digits=2)}")
    if runs[0].decisions:
        print(f"  decisions: {runs[0].decisions}")


def compare(
    ours: Sequence[Run], theirs: Sequence[Run], value: Callable[[Run], float]
) -> list[float]:
    """Theirs over ours, round by round."""
    return [value(b) / value(a) for a, b in zip(ours, theirs, strict=True)]


def main() -> None:
    """Prints the figures; the last line is for programs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sources", nargs="+", type=Path, metavar="IMAGES")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--handwritten-python", default=sys.executable)
    parser.add_argument("--cores", type=int, help="hold all sides to so many; default: all")
    args = parser.parse_args()
    if args.cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-args.cores :])
    threads = count_usable_cores()
    if threads > 1 and os.getloadavg()[0] > 0.5:
        print("WARNING: the machine is busy; with several threads the ratio will be too high")
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        one, many = root / "one", root / "many"
        copy_images(args.sources, one, 1)
        different = copy_images(args.sources, many, args.images)
        python = args.handwritten_python
        sides: dict[str, Callable[[Path, Path], Run]] = {
            "chestx": run_chestx,
            "chestx --no-report": lambda i, o: run_chestx(i, o, "--no-report"),
            "hand-written": lambda i, o: run_handwritten(i, o, python=python, threads=threads),
        }
        print(
            f"{args.images} files, {different} different; {args.rounds} rounds; {threads} threads"
        )
        print(f"{platform.platform()}, Python {platform.python_version()}")
        for number, (name, run) in enumerate(sides.items()):
            print(f"one image, {name}: {run(one, root / f'one-{number}').wall_s:.2f} s")
        runs: dict[str, list[Run]] = {name: [] for name in sides}
        for turn in range(args.rounds):
            print(f"round {turn + 1}, load average {os.getloadavg()[0]:.2f}:", end="", flush=True)
            for number, (name, run) in enumerate(sides.items()):
                output = root / f"out-{turn}-{number}"
                runs[name].append(run(many, output))
                print(f" {name} {runs[name][-1].wall_s:.2f} s;", end="", flush=True)
                shutil.rmtree(output)
            print()
    for name, done in runs.items():
        print_side(name, done, args.images)
    ours, theirs = runs["chestx"], runs["hand-written"]
    ratios = compare(ours, theirs, lambda run: run.wall_s)
    print("\nhand-written over chestx, round by round")
    print(f"  {'wall':<28}{describe(ratios, digits=2)}")
    for label, pair, value in (
        ("wall, --no-report", runs["chestx --no-report"], lambda run: run.wall_s),
        ("wall without start and end", ours, lambda run: run.loop_s),
        ("CPU", ours, lambda run: run.cpu_s),
    ):
        print(f"  {label:<28}{describe(compare(pair, theirs, value), digits=2)}")
    speeds = [
        statistics.median(args.images / run.wall_s for run in side) for side in (ours, theirs)
    ]
    print(
        f"ratio_vs_handwritten={statistics.median(ratios):.2f} "
        f"chestx_images_per_s={speeds[0]:.2f} handwritten_images_per_s={speeds[1]:.2f}"
    )


if __name__ == "__main__":
    main()
