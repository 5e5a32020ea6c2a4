"""What ``--reduced-jpeg2000`` changes in the answers, and what it saves.

python benchmarks/reduced_jpeg2000.py IMAGES... [--images 40]

IMAGES are real radiographs (PNG or JPEG, or folders of them); so many of them, drawn evenly, are
made lossless JPEG 2000 of 7.5 megapixels (``speed_inputs.py``) and answered whole and reduced.
``--clipped 0.05`` gives each a window that shows so much of its pixels black, and as much white.
The last line is for programs.
"""

from __future__ import annotations

import argparse
import time
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from pydicom import dcmread
from speed_inputs import encode_dicom, list_images

from chestx.analysis import Analyzer
from chestx.domain import Report
from chestx.models.classifier import Classifier


def set_window(data: bytes, low: float, high: float) -> bytes:
    """The same file with another window."""
    data_set = dcmread(BytesIO(data))
    data_set.WindowCenter, data_set.WindowWidth = round((low + high) / 2), round(high - low) + 1
    target = BytesIO()
    data_set.save_as(target)
    return target.getvalue()


def main() -> None:
    """Prints changes and times."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sources", nargs="+", type=Path, metavar="IMAGES")
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--clipped", type=float, default=0.0, metavar="SHARE")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    found = list_images(args.sources)
    places = np.linspace(0, len(found) - 1, min(args.images, len(found))).round().astype(int)
    classifier = Classifier.load(threads=1)
    changes, changed, seconds, judged = [], [], {False: 0.0, True: 0.0}, 0
    with (
        Analyzer(classifier, workers=0, threads=1) as whole,
        Analyzer(classifier, workers=0, threads=1, reduced_jpeg2000=True) as reduced,
    ):
        for place in places:
            pixels = cv2.imread(str(found[place]), cv2.IMREAD_GRAYSCALE)
            data = encode_dicom(np.asarray(pixels), int(place), kind="dicom-j2k")
            if args.clipped:
                ends = np.quantile(np.asarray(pixels, float), (args.clipped, 1 - args.clipped))
                data = set_window(data, *(16 * ends))
            answers = []
            for analyzer in (whole, reduced):
                start = time.process_time()
                answers.append(analyzer.analyze(data))
                seconds[analyzer is reduced] += time.process_time() - start
            first, second = answers
            if not (isinstance(first, Report) and isinstance(second, Report)):
                raise SystemExit(f"{found[place]}: {answers}")
            assert any("of its resolution" in note for note in second.header.notes)
            gaps = [abs(p - second.probabilities[key]) for key, p in first.probabilities.items()]
            changes.append(max(gaps))
            judged += 1
            if first.decision != second.decision:
                changed.append(f"{found[place].name}: {first.decision} -> {second.decision}")
    for line in changed:
        print(line)
    median, high, most = np.quantile(changes, (0.5, 0.95, 1.0))
    print(
        f"images={judged} median_change={median:.4f} p95_change={high:.4f} max_change={most:.4f} "
        f"decisions_changed={len(changed)} whole_ms={1e3 * seconds[False] / judged:.0f} "
        f"reduced_ms={1e3 * seconds[True] / judged:.0f}"
    )


if __name__ == "__main__":
    main()
