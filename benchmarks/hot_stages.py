"""Regression guard of speed: processor time of the hot stages over that of plain OpenCV.

python benchmarks/hot_stages.py [IMAGES...]

Seconds differ between machines and with what else runs on them; a ratio taken in one process,
the two sides in turn, hardly does. Each stage stands against a reference loop that does the
least that could be asked in its place. The ratio is the median over the turns. Exit code 1
where one is over its accepted value, which lies a third over what was measured.

Without IMAGES the samples of the package are enlarged.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from speed_inputs import encode_png, enlarge, list_images, make_inputs

from chestx.analysis import Analyzer, judge_image
from chestx.domain import Limits, Report
from chestx.export.table import to_result_row
from chestx.images.preparation import Preparation, prepare_image
from chestx.images.preprocessing import preprocess
from chestx.images.reading import decode_radiograph
from chestx.models.classifier import Classifier
from chestx.rendering.overlay import draw_overlay, encode_picture

SAMPLES = Path(__file__).parents[1] / "examples" / "samples"
TURNS = 15
Call = Callable[[], object]


def compare(stage: Call, reference: Call) -> float:
    """Processor time of a stage over that of its reference, median of turns of both."""
    stage()
    reference()
    ratios = []
    for _ in range(TURNS):
        taken = []
        for call in (stage, reference):
            start = time.thread_time()
            call()
            taken.append(time.thread_time() - start)
        ratios.append(taken[0] / taken[1])
    return statistics.median(ratios)


def make_stages(images: list[Path], scratch: Path) -> dict[str, tuple[Call, Call, float]]:
    """Stage -> what runs, what it is held against, and the accepted ratio."""
    classifier = Classifier.load(threads=1)
    preparation = Preparation(input=classifier.card.input, preview_size=512, limits=Limits())
    files = {
        kind: make_inputs(kind, images[:1], scratch / kind)[0].read_bytes()
        for kind in ("jpeg", "jpeg-small", "dicom-raw", "dicom-rle")
    }
    grey = cv2.imread(str(images[0]), cv2.IMREAD_GRAYSCALE)
    files["png"] = encode_png((enlarge(grey, (1024, 1024), 0) >> 4).astype(np.uint8), 0)
    large = decode_radiograph(files["dicom-raw"]).pixels
    stored = np.frombuffer(files["dicom-raw"][-2 * large.size :], np.uint16).reshape(large.shape)
    image = prepare_image(files["png"], preparation)
    prediction = classifier.predict(image.pixels[None])[0]
    with Analyzer(classifier, workers=0, threads=1) as analyzer:
        report = analyzer.analyze(files["png"])
    assert isinstance(report, Report)
    picture = draw_overlay(report, title="a.png")

    def decode(kind: str) -> Call:
        data = np.frombuffer(files[kind], np.uint8)
        size = (224, 224)

        def run() -> None:
            pixels = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
            cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)

        return run

    def window() -> None:
        shown = cv2.convertScaleAbs(stored, alpha=1 / 16)
        cv2.resize(shown, (224, 224), interpolation=cv2.INTER_AREA)

    def prepare(kind: str) -> Call:
        return lambda: prepare_image(files[kind], preparation)

    def answer() -> None:
        judged = judge_image(image, prediction, classifier=classifier)
        to_result_row(judged, identity=classifier.identity)

    def lay_over() -> None:
        colours = cv2.applyColorMap(image.pixels, cv2.COLORMAP_INFERNO)
        cv2.imencode(".jpg", cv2.resize(colours, picture.shape[1::-1]))

    return {
        "prepare a PNG of 1 MP": (prepare("png"), decode("png"), ACCEPTED["png"]),
        "prepare a JPEG of 3 MP": (prepare("jpeg"), decode("jpeg"), ACCEPTED["jpeg"]),
        "prepare a JPEG of 224": (prepare("jpeg-small"), decode("jpeg-small"), ACCEPTED["small"]),
        "prepare raw DICOM of 7.5 MP": (prepare("dicom-raw"), window, ACCEPTED["raw"]),
        "prepare RLE DICOM of 7.5 MP": (prepare("dicom-rle"), window, ACCEPTED["rle"]),
        "shrink 7.5 MP to the input": (
            lambda: preprocess(large, classifier.card.input),
            lambda: cv2.resize(large, (224, 224), interpolation=cv2.INTER_AREA),
            ACCEPTED["shrink"],
        ),
        "draw and encode an overlay": (
            lambda: encode_picture(draw_overlay(report, title="a.png"), format="jpg"),
            lay_over,
            ACCEPTED["overlay"],
        ),
        "judge and make a row": (answer, decode("jpeg-small"), ACCEPTED["judge"]),
    }


ACCEPTED = {
    "png": 1.6,
    "jpeg": 1.6,
    "small": 7.0,
    "raw": 3.4,
    "rle": 4.8,
    "shrink": 0.55,
    "overlay": 2.3,
    "judge": 2.1,
}


def main(sources: list[Path]) -> None:
    """Prints a line a stage; exit code 1 where one is over its accepted ratio."""
    cv2.setNumThreads(1)
    slow = 0
    with tempfile.TemporaryDirectory() as scratch:
        stages = make_stages(list_images(sources or [SAMPLES]), Path(scratch))
        for name, (stage, reference, accepted) in stages.items():
            ratio = compare(stage, reference)
            slow += ratio > accepted
            verdict = "" if ratio <= accepted else "  SLOWER"
            print(f"{name:<28} {ratio:6.2f} of the reference, accepted {accepted:.2f}{verdict}")
    sys.exit(1 if slow else 0)


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
