"""What the measurement of the scope rules is made on: altered radiographs, foreign pictures.

Pictures are 8-bit grey, bright is dense; with three channels they are blue, green, red.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from chestx.domain import ChestxError, Radiograph
from chestx.images.reading import decode_radiograph, read_radiograph

Picture = np.ndarray
Alteration = Callable[[Picture, np.random.Generator], Picture]


def to_radiograph(pixels: Picture) -> Radiograph:
    """Through the reader, as a PNG file would come."""
    return decode_radiograph(cv2.imencode(".png", pixels)[1].tobytes())


def invert(pixels: Picture, _: np.random.Generator) -> Picture:
    """Bone dark, air bright."""
    return np.asarray(255 - pixels)


def turn(quarters: int) -> Alteration:
    """Turned anticlockwise by quarter turns."""
    return lambda pixels, _: np.asarray(np.rot90(pixels, quarters))


def scale_contrast(factor: float, *, centre: float | None = None) -> Alteration:
    """Grey values spread or squeezed about the middle one, cut off at black and white."""

    def alter(pixels: Picture, _: np.random.Generator) -> Picture:
        middle = float(np.median(pixels)) if centre is None else centre
        spread = (pixels.astype(np.float32) - middle) * factor + middle
        return np.asarray(np.clip(spread, 0, 255).astype(np.uint8))

    return alter


def crop(height: float, width: float) -> Alteration:
    """A part of the picture, at a place drawn by chance."""

    def alter(pixels: Picture, rng: np.random.Generator) -> Picture:
        rows, columns = (round(n * k) for n, k in zip(pixels.shape, (height, width), strict=True))
        top = int(rng.integers(pixels.shape[0] - rows + 1))
        left = int(rng.integers(pixels.shape[1] - columns + 1))
        return pixels[top : top + rows, left : left + columns]

    return alter


def crop_half(pixels: Picture, rng: np.random.Generator) -> Picture:
    """The left, right, upper or lower half."""
    rows, columns = (n // 2 for n in pixels.shape)
    halves = (pixels[:, :columns], pixels[:, columns:], pixels[:rows], pixels[rows:])
    return halves[int(rng.integers(4))]


def shrink(side: int) -> Alteration:
    """Shorter side as given, in pixels."""

    def alter(pixels: Picture, _: np.random.Generator) -> Picture:
        factor = side / min(pixels.shape)
        height, width = (max(side, round(n * factor)) for n in pixels.shape)
        return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)

    return alter


def enlarge_tiny(pixels: Picture, rng: np.random.Generator) -> Picture:
    """64 pixels, brought back to the size that it had."""
    height, width = pixels.shape
    tiny = shrink(64)(pixels, rng)
    return cv2.resize(tiny, (width, height), interpolation=cv2.INTER_CUBIC)


def blur(pixels: Picture, _: np.random.Generator) -> Picture:
    """By 3 % of the shorter side (standard deviation)."""
    return cv2.GaussianBlur(pixels, (0, 0), 0.03 * min(pixels.shape))


def write_text(lines: tuple[str, ...], *, share: float) -> Alteration:
    """White text from a corner drawn by chance; ``share`` is a letter's height of the picture's."""

    def alter(pixels: Picture, rng: np.random.Generator) -> Picture:
        marked = np.ascontiguousarray(pixels).copy()
        height, width = marked.shape[:2]
        size = share * height / 22
        top = int(rng.choice((0.02, 0.96 - 1.6 * share * len(lines))) * height)
        left = int(rng.choice((0.02, 0.5)) * width) if share < 0.06 else int(0.02 * width)
        for number, line in enumerate(lines, start=1):
            place = (left, top + int(1.6 * share * height * number))
            weight = max(1, round(1.5 * size))
            cv2.putText(marked, line, place, cv2.FONT_HERSHEY_SIMPLEX, size, 255, weight)
        return marked

    return alter


def mark_in_colour(pixels: Picture, rng: np.random.Generator) -> Picture:
    """A yellow or red arrow and a word, on a grey picture; BGR."""
    marked = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_GRAY2BGR)
    height, width = pixels.shape
    colour = ((0, 255, 255), (0, 0, 255))[int(rng.integers(2))]
    tip = (int(rng.uniform(0.3, 0.7) * width), int(rng.uniform(0.3, 0.7) * height))
    tail = (tip[0] - width // 8, tip[1] - height // 8)
    cv2.arrowedLine(marked, tail, tip, colour, max(2, height // 100), tipLength=0.3)
    place = (int(0.03 * width), int(0.1 * height))
    cv2.putText(marked, "R  SUPINE", place, cv2.FONT_HERSHEY_SIMPLEX, height / 450, colour, 2)
    return marked


def save_in_colour(pixels: Picture, _: np.random.Generator) -> Picture:
    """Grey, but stored as a colour JPEG; BGR."""
    colour = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_GRAY2BGR)
    file = cv2.imencode(".jpg", colour, [cv2.IMWRITE_JPEG_QUALITY, 75])[1]
    return np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR))


def tint(pixels: Picture, _: np.random.Generator) -> Picture:
    """Slightly blue all over, as a photographed film; BGR."""
    shades = [pixels.astype(np.float32) * share for share in (1.0, 0.95, 0.9)]
    return np.stack(shades, axis=-1).astype(np.uint8)


def put_on_page(pixels: Picture, _: np.random.Generator) -> Picture:
    """Small on a white page, as out of a paper."""
    height, width = pixels.shape
    page = np.full((height, width), 255, np.uint8)
    small = cv2.resize(pixels, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    page[height // 5 : height // 5 + height // 2, width // 5 : width // 5 + width // 2] = small
    return page


CORNER = ("DOE^JANE 4711", "1961-02-03 F", "PORTABLE AP", "120 kV 2 mAs")
UNMARKED = "grey, saved as a colour JPEG"
PLAIN: dict[str, tuple[Alteration, str]] = {
    "inverted": (invert, "inverted"),
    "turned by 90 degrees": (turn(1), "rotated"),
    "turned by 180 degrees": (turn(2), "rotated"),
    "turned by 270 degrees": (turn(3), "rotated"),
    "low contrast: a twelfth": (scale_contrast(1 / 12, centre=128), "low_contrast"),
    "blank: a fiftieth of the contrast": (scale_contrast(0.02, centre=128), "blank"),
    "tiny: 64 pixels": (shrink(64), "too_small"),
}
"""Made of every image. Name -> alteration, the rule that is meant for it."""

SAMPLED: dict[str, tuple[Alteration, str]] = {
    "low contrast: a quarter": (scale_contrast(0.25, centre=128), "low_contrast"),
    "clipped: window of a third": (scale_contrast(3), "clipped"),
    "clipped: window of a tenth": (scale_contrast(10), "clipped"),
    "coloured marks": (mark_in_colour, "coloured"),
    UNMARKED: (save_in_colour, ""),
    "tinted all over, no marks": (tint, ""),
    "tiny: 160 pixels": (shrink(160), "low_resolution"),
    "tiny: 64 pixels, enlarged again": (enlarge_tiny, ""),
    "cropped: a half": (crop_half, ""),
    "cropped: a quarter": (crop(0.5, 0.5), ""),
    "blurred": (blur, ""),
    "burnt-in text: four lines in a corner": (write_text(CORNER, share=0.03), ""),
    "burnt-in text: large, across": (write_text(("NOT FOR", "DIAGNOSIS"), share=0.12), ""),
    "small on a white page": (put_on_page, ""),
}
"""Made of the sample; no rule's name where no rule is meant for it."""


def make_documents(rng: np.random.Generator) -> Iterator[Picture]:
    """Pages of text, some white on black, some with a drawing."""
    words = ["the", "patient", "chest", "report", "lungs clear", "table", "total", "12", "4711"]
    for number in range(40):
        paper, ink = (255, 0) if number % 4 else (0, 255)
        page = np.full((1000, 800), paper, np.uint8)
        size = float(rng.uniform(0.5, 1.4))
        for y in range(60, 960, int(30 + 30 * size)):
            line = " ".join(rng.choice(words, int(rng.integers(2, 9))))
            cv2.putText(page, line, (40, y), cv2.FONT_HERSHEY_COMPLEX, size, ink, 1)
        if number % 3 == 0:
            cv2.ellipse(page, (400, 500), (220, 130), 0, 0, 360, int(rng.integers(256)), -1)
        yield page


def make_noise(rng: np.random.Generator) -> Iterator[Picture]:
    """White noise and clouds."""
    for number in range(40):
        noise = rng.normal(128, 60, (256, 256))
        if number % 2:
            cloud = cv2.GaussianBlur(noise, (0, 0), float(rng.uniform(1, 30)))
            noise = np.asarray((cloud - cloud.min()) / np.ptp(cloud) * 255)
        yield np.clip(noise, 0, 255).astype(np.uint8)


def make_patterns(rng: np.random.Generator) -> Iterator[Picture]:
    """Ramps, discs and chequers."""
    y, x = np.mgrid[:256, :256]
    for number in range(30):
        angle = rng.uniform(0, 2 * np.pi)
        ramp = np.cos(angle) * x + np.sin(angle) * y
        disc = 255 - np.hypot(x - rng.uniform(60, 196), y - rng.uniform(60, 196)) * 2
        cell = rng.integers(8, 60)
        chequer = 255 * ((x // cell + y // cell) % 2)
        shades = ((ramp - ramp.min()) / np.ptp(ramp) * 255, np.clip(disc, 0, 255), chequer)
        yield shades[number % 3].astype(np.uint8)


PHOTOGRAPHS = (
    "astronaut",
    "brick",
    "camera",
    "cell",
    "chelsea",
    "coffee",
    "coins",
    "grass",
    "gravel",
    "horse",
    "hubble_deep_field",
    "ihc",
    "microaneurysms",
    "moon",
    "motorcycle_left",
    "motorcycle_right",
    "retina",
    "rocket",
    "clock_motion",
)
DICOM_KINDS = {
    "CT slices": ("693_J2KI", "explicit_VR-UN", "bad_sequence", "CT_small"),
    "MR slices": ("MR-SIEMENS-DICOM-WithOverlays", "MR_small", "examples_overlay"),
    "ultrasound": (
        "JPGLosslessP14SV1_1s_1f_8b", "OBXXXX1A", "color-pl", "gdcm-US-ALOKA-16",
        "examples_jpeg2k", "examples_palette", "examples_rgb_color",
    ),
}  # fmt: skip
"""Files of pydicom that are not, in another coding, among the test rows."""


def gather_foreign(rng: np.random.Generator) -> Iterator[tuple[str, Radiograph]]:
    """Pictures that are no chest radiographs; a DICOM header is taken off."""
    import pydicom.data
    import skimage

    data = Path(skimage.__file__).parent / "data"
    for stem in PHOTOGRAPHS:
        path = next(p for p in (data / f"{stem}.png", data / f"{stem}.jpg") if p.exists())
        picture = read_radiograph(path)
        if picture.header.colourfulness > 0:
            yield "photographs in colour", picture
        yield "photographs made grey", to_radiograph(picture.pixels)
    for face in np.load(data / "lfw_subset.npy")[:100:5]:
        pixels = (255 * face).astype(np.uint8)
        yield "faces", to_radiograph(cv2.resize(pixels, (224, 224)))
    for kind, make in (
        ("documents", make_documents), ("noise", make_noise), ("patterns", make_patterns)
    ):  # fmt: skip
        for pixels in make(rng):
            yield kind, to_radiograph(pixels)
    for kind, stems in DICOM_KINDS.items():
        for stem in stems:
            file = pydicom.data.get_testdata_file(f"{stem}.dcm", download=False)
            if file is None:
                raise SystemExit(f"expected {stem}.dcm of pydicom-data, it is not installed")
            try:
                yield kind, to_radiograph(read_radiograph(str(file)).pixels)
            except ChestxError as error:
                print(f"<!-- {stem}: {error} -->")
