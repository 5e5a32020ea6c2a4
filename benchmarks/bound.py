"""Processor time of decoding alone, or of the model alone, with every core at it.

python benchmarks/bound.py decode FOLDER
python benchmarks/bound.py model MODEL PRECISION FOLDER

One of the processes that ``throughput.py`` starts, one a core: cores that share execution units
and memory are slower together than one of them alone, and a bound taken from one core alone
could never be reached by a program that uses all. It says ``ready``, waits for a line, works
through FOLDER three times, and says how many images it did and the processor seconds that took;
until its input ends it goes on uncounted, so that no core has an idle neighbour meanwhile.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import simplejpeg

from chestx.domain import InputSpec
from chestx.images.preprocessing import preprocess
from chestx.images.reading import read_radiograph
from chestx.models.classifier import Classifier

TURNS = 3


def decode(path: Path) -> None:
    """Pixels of a file by the fastest decoder that chestx has: of DICOM its own reader."""
    if path.suffix == ".dcm":
        read_radiograph(path)
    elif path.suffix == ".jpg":
        simplejpeg.decode_jpeg(path.read_bytes(), colorspace="GRAY")
    else:
        cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_GRAYSCALE)


def measure_together(arguments: Sequence[str], cores: int) -> float:
    """Processor milliseconds an image while as many processes as there are cores do the same."""
    command = [sys.executable, __file__, *arguments]
    pipe = subprocess.PIPE
    processes = [
        subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(cores)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                sys.exit(f"{' '.join(arguments)}: cannot be measured")
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        images = seconds = 0.0
        for process in processes:
            assert process.stdout is not None
            done, taken = process.stdout.readline().split()
            images, seconds = images + float(done), seconds + float(taken)
    finally:
        for process in processes:
            process.communicate()  # Ends its input.
    return 1e3 * seconds / images


def work(calls: Sequence[Callable[[], object]]) -> None:
    """The part of one process."""
    for call in calls:
        call()
    print("ready", flush=True)
    sys.stdin.readline()
    start = time.process_time()
    for call in [*calls] * TURNS:
        call()
    print(len(calls) * TURNS, time.process_time() - start, flush=True)
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    while not ended.is_set():
        calls[0]()


def main(what: str, *rest: str) -> None:
    """Prints two lines."""
    cv2.setNumThreads(1)
    files = sorted(Path(rest[-1]).iterdir())
    if what == "decode":
        work([lambda path=path: decode(path) for path in files])  # type: ignore[misc]
        return
    model, precision = rest[:2]
    classifier = Classifier.load(model, threads=1, precision=precision)
    inputs = [preprocess(read_radiograph(path).pixels, InputSpec(size=224))[None] for path in files]
    work([lambda x=x: classifier.predict(x) for x in inputs])  # type: ignore[misc]


if __name__ == "__main__":
    main(*sys.argv[1:])
