"""The pictures of the documentation, made anew with the model that the package carries.

    python scripts/make_pictures.py --out docs/images
    python scripts/make_pictures.py --out docs/images --images OUT/images.csv --cxr CXR

The first needs chromium and dcmtk (Debian packages) and makes every picture of the samples: the
heatmaps of the tour, the worklist, the Secondary Capture, the structured report, the
presentation state, and the strip of the batch notebook. With the rows that ``chestx
evaluate`` wrote of the test images also ``failures.jpg``. The two pictures of the quickstart are
of a model that it trains itself and are not made here. Look at each before it is committed.
"""

from __future__ import annotations

import argparse
import base64
import csv
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pydicom
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parents[1]
# The browser that the tests of the page drive: keys, mouse and screenshots without a package.
sys.path.insert(0, str(ROOT))
from tests.export.test_html_in_chromium import Browser  # noqa: E402

SAMPLES = ROOT / "examples" / "samples"
TOUR = {
    "child-pneumonia": "child-3-pneumonia.jpg",
    "child-negative": "child-2-normal.png",
    "adult-uncertain": "adult-3-pneumonia.jpg",
    "adult-monochrome1": "adult-2-no-finding-monochrome1.dcm",
    "adult-pneumonia": "adult-4-pneumonia-jpegls.dcm",
    "inverted": "other-1-inverted.png",
}
REPORTED = "adult-4-pneumonia-jpegls.dcm"
PROGRAMS = ("chestx", "chromium", "dcmdjpls", "dcm2pnm", "dsr2html", "dcmp2pgm")
QUALITY = 80


def main() -> None:
    """Makes the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=Path, help="images.csv of chestx evaluate")
    parser.add_argument("--cxr", type=Path, help="folder of those images")
    arguments = parser.parse_args()
    if (arguments.images is None) != (arguments.cxr is None):
        parser.error("--images and --cxr go together")
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        parser.error(f"{', '.join(missing)}: missing (Debian: apt-get install chromium dcmtk)")
    with tempfile.TemporaryDirectory() as name:
        work, out = Path(name), arguments.out
        out.mkdir(parents=True, exist_ok=True)
        browser = Browser(shutil.which("chromium") or "", work / "profile")
        try:
            show_samples(work / "samples", out, browser)
            show_objects(work, out, browser)
        finally:
            browser.close()
        show_notebook(work, out)
        if arguments.images is not None:
            show_failures(work, out, arguments.images, arguments.cxr)


def predict(inputs: Sequence[Path], results: Path, *options: str) -> dict[str, Path]:
    """Answers; the picture of every file by its name."""
    command = ["chestx", "predict", *map(str, inputs), "-o", str(results), "-q", *options]
    # 3: some file could not be read, as one of the samples cannot.
    if subprocess.run(command, check=False).returncode not in (0, 3):
        raise SystemExit(f"failed: {' '.join(command)}")
    with (results / "results.csv").open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["heatmap"]]
    return {Path(row["path"]).name: results / row["heatmap"] for row in rows}


def show_samples(results: Path, out: Path, browser: Browser) -> None:
    """The tour: heatmaps, the worklist, one image of it with its map."""
    pictures = predict([SAMPLES], results)
    for name, sample in TOUR.items():
        shutil.copyfile(pictures[sample], out / f"{name}.jpg")
    browser.open(results / "report.html", width=1200, height=760)
    browser.wait_for("document.querySelector('#count').textContent !== ''")
    photograph(browser, out / "worklist.png")
    opener = "[...document.querySelectorAll('.row .open')]"
    browser.evaluate(f"{opener}.find((node) => node.textContent === '{REPORTED}').click()")
    browser.press(" ")
    browser.wait_for("document.querySelector('.frame img').complete")
    photograph(browser, out / "worklist-image.png")


def photograph(browser: Browser, path: Path) -> None:
    """What the browser shows, as PNG."""
    answer = browser.call("Page.captureScreenshot", format="png")
    path.write_bytes(base64.b64decode(answer["data"]))


def show_objects(work: Path, out: Path, browser: Browser) -> None:
    """The DICOM objects of one sample as dcmtk draws them."""
    plain = work / "plain.dcm"
    run("dcmdjpls", SAMPLES / REPORTED, plain)
    objects = work / "objects"
    predict([plain], work / "plain", "--dicom", str(objects), "--objects", "sc,sr,gsps")
    run("dcm2pnm", "--write-png", next(objects.glob("*.sc.dcm")), work / "sc.png")
    capture = Image.open(work / "sc.png").convert("RGB")
    height = 1000
    width = round(capture.width * height / capture.height)
    save(capture.resize((width, height), Image.Resampling.LANCZOS), out / "dicom-sc.jpg")
    run("dsr2html", next(objects.glob("*.sr.dcm")), work / "sr.html")
    browser.open(work / "sr.html", width=1000, height=1500)
    photograph(browser, work / "sr.png")
    save(Image.open(work / "sr.png").convert("RGB"), out / "dicom-sr.jpg")
    state = next(objects.glob("*.gsps.dcm"))
    run("dcmp2pgm", "-p", state, plain, work / "grey.pgm")
    save(draw_state(state, Image.open(work / "grey.pgm")), out / "dicom-gsps.jpg")


def draw_state(path: Path, grey: Image.Image, *, side: int = 1000) -> Image.Image:
    """Outlines and words of a presentation state over the radiograph, by their coordinates."""
    picture = grey.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(size=17)
    for note in pydicom.dcmread(path).GraphicAnnotationSequence:
        layer = str(note.GraphicLayer)
        colour = "white" if "TEXT" in layer or "GraphicObjectSequence" not in note else "#f0e442"
        for shape in note.get("GraphicObjectSequence", []):
            scale = side / np.array(grey.size)
            points = np.array(shape.GraphicData, dtype=float).reshape(-1, 2) * scale
            pen.line([tuple(point) for point in points], fill=colour, width=2)
        for text in note.get("TextObjectSequence", []):
            if "BoundingBoxTopLeftHandCorner" in text:
                units = text.BoundingBoxAnnotationUnits
                corner = np.array(text.BoundingBoxTopLeftHandCorner, dtype=float)
            else:
                units, corner = text.AnchorPointAnnotationUnits, np.array(text.AnchorPoint)
            place = corner * side / (1 if units == "DISPLAY" else np.array(grey.size))
            words = str(text.UnformattedTextValue).replace("\r\n", "\n")
            pen.text(
                (float(place[0]), float(place[1])),
                words,
                fill=colour,
                font=font,
                stroke_width=2,
                stroke_fill="black",
            )
    return picture


def show_notebook(work: Path, out: Path) -> None:
    """Three overlays side by side, as the batch notebook shows them."""
    folder = work / "notebook"
    folder.mkdir()
    for name in ("child-3-pneumonia.jpg", "adult-3-pneumonia.jpg"):
        shutil.copyfile(SAMPLES / name, folder / name)
    y, x = np.mgrid[:512, :512]
    rings = (128 + 100 * np.cos(np.hypot(x - 256, y - 256) / 12)).astype(np.uint8)
    cv2.imwrite(str(folder / "rings.png"), rings)
    pictures = predict([folder], work / "notebook-results")
    tiles = []
    for name in ("child-3-pneumonia.jpg", "adult-3-pneumonia.jpg", "rings.png"):
        tile = Image.open(pictures[name]).convert("RGB")
        height = round(tile.height * 308 / tile.width)
        tiles.append(tile.resize((308, height), Image.Resampling.LANCZOS))
    strip = Image.new("RGB", (936, max(tile.height for tile in tiles)))
    for number, tile in enumerate(tiles):
        strip.paste(tile, (314 * number, 0))
    save(strip, out / "notebook-batch.jpg")


def show_failures(work: Path, out: Path, images: Path, cxr: Path) -> None:
    """Test images of two hospitals whose answer is furthest from their label.

    Two adults (NIH) and a child (Kermany) with a finding by the label that are negative, and as
    many without one that are positive.
    """
    with images.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    folder = work / "failures"
    folder.mkdir()
    names: list[str] = []
    for is_finding, decision in ((True, "negative"), (False, "positive")):
        for source, count in (("nih", 2), ("kermany", 1)):
            wrong = [
                row
                for row in rows
                if row["attribute_source"] == source
                and (row["reference"] != "NORMAL") == is_finding
                and row["decision"] == decision
            ]
            wrong.sort(
                key=lambda row: float(row["probability_any_finding"]), reverse=not is_finding
            )
            if len(wrong) < count:
                raise SystemExit(f"{images}: too few wrong answers of {source} to show")
            for row in wrong[:count]:
                kind = "finding" if is_finding else "no-finding"
                names.append(f"{len(names) + 1}-{kind}-by-label{Path(row['path']).suffix}")
                shutil.copyfile(cxr / row["path"], folder / names[-1])
    pictures = predict([folder], work / "failures-results")
    width = 368
    tiles = []
    for name in names:
        tile = Image.open(pictures[name]).convert("RGB")
        height = round(tile.height * width / tile.width)
        tiles.append(tile.resize((width, height), Image.Resampling.LANCZOS))
    upper = max(tile.height for tile in tiles[:3])
    sheet = Image.new("RGB", (3 * width + 2, upper + max(tile.height for tile in tiles[3:])))
    for number, tile in enumerate(tiles):
        sheet.paste(tile, (number % 3 * (width + 1), number // 3 * upper))
    save(sheet, out / "failures.jpg")


def run(*command: object) -> None:
    """A program of dcmtk."""
    subprocess.run([str(part) for part in command], check=True)


def save(picture: Image.Image, path: Path) -> None:
    """As JPEG."""
    picture.save(path, quality=QUALITY, optimize=True)


if __name__ == "__main__":
    main()
