"""One picture for one report: the radiograph with its heatmap, and the answer in words.

The image is never written on. Above it stand the answer and the file's name; below
it everything that keeps a reader from taking the colours for more than they are.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import cv2
import numpy as np

from chestx.domain import CAVEAT, Finding, FindingDecision, Report, UsageError
from chestx.rendering.bands import (
    QUIET,
    TEXT,
    Colour,
    Picture,
    Sizes,
    make_band,
    paste_line,
    stack_lines,
)
from chestx.rendering.colours import lay_over
from chestx.rendering.text import draw_line, draw_paragraph, get_line_height, measure_text
from chestx.shapes import UInt8
from chestx.terminology import (
    ENGLISH,
    add_mark,
    describe_calibration,
    describe_map,
    format_probability,
    get_mark,
    name_decision,
    write_headline,
)

MIN_WIDTH = 512
JPEG_QUALITY = 88
PNG_COMPRESSION = 1

_TRACK: Colour = (58, 62, 70)
_BAND: Colour = (122, 128, 138)
# Told apart with any colour vision; the word always stands beside the colour.
_DECISION_COLOURS: dict[str, Colour] = {
    "positive": (255, 140, 82),
    "uncertain": (245, 208, 80),
    "out_of_scope": (222, 160, 222),
    "negative": (116, 190, 240),
}
_SIZES = Sizes()
_MARK_GAP = 3
_LEGEND_GREY = 96
_MOST_LINES = 14


def draw_overlay(report: Report, *, size: int = 512, title: str = "") -> Picture:
    """Draws the picture of a report.

    Args:
        report: with its preview.
        size: longer side of the radiograph in the picture, in pixels.
        title: e.g. the file's name, in any script; a long one is shortened in the middle.

    Returns:
        RGB, as wide as the radiograph but at least ``MIN_WIDTH``; height follows the text.

    Raises:
        UsageError: the report has no preview.
    """
    shown = draw_radiograph(report, size=size)
    width = max(MIN_WIDTH, shown.shape[1])
    bands = [draw_head(report, width, title=title), _centre(shown, width)]
    bands.append(draw_answer(report, width))
    if report.decision.is_assessed:
        bands += [draw_findings(report, width), draw_legend(report, width)]
    bands.append(_draw_foot(str(report.model), describe_calibration(report.model), width))
    return np.concatenate(bands)


def draw_radiograph(report: Report, *, size: int) -> Picture:
    """Draws the radiograph of a report with the map of its shown finding, where it has one.

    Args:
        report: with its preview.
        size: longer side in pixels; the aspect ratio is kept.

    Raises:
        UsageError: the report has no preview.
    """
    if report.preview is None:
        raise UsageError(
            "overlay: expected a report with a preview of its radiograph, got one without; "
            "analyse the image with previews switched on"
        )
    image = _fit(report.preview, size)
    finding = _find_shown(report)
    if finding is None:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB))
    return draw_heatmap(image, report, key=finding.key)


def draw_heatmap(image: UInt8[np.ndarray, "height width"], report: Report, *, key: str) -> Picture:
    """Lays the map of one label over an image; without a map the image stays grey.

    The map's cells divide the whole image evenly, since the model saw it stretched.
    """
    cells = report.map_of(key)
    if cells is None or not cells.any():
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB))
    height, width = image.shape
    # Curved through the cells on a coarse grid, straight from there: as smooth to the eye
    # as one step, and five times as fast.
    coarse = (max(1, width // 4), max(1, height // 4))
    smooth = cv2.resize(cells, coarse, interpolation=cv2.INTER_CUBIC)
    levels = cv2.convertScaleAbs(np.maximum(smooth, 0), alpha=255)
    return lay_over(image, cv2.resize(levels, (width, height), interpolation=cv2.INTER_LINEAR))


def encode_picture(picture: Picture, *, format: Literal["jpg", "png"]) -> bytes:
    """Encodes an RGB picture as JPEG or PNG."""
    options = {
        "jpg": [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY],
        "png": [cv2.IMWRITE_PNG_COMPRESSION, PNG_COMPRESSION],
    }[format]
    _, data = cv2.imencode(f".{format}", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)
    return data.tobytes()


def _find_shown(report: Report) -> Finding | None:
    """The finding whose map is drawn; None where nothing may be shown."""
    if not report.decision.is_assessed or report.maps is None:
        return None
    return next((x for x in report.findings if x.key == report.shown_label), None)


def _fit(image: UInt8[np.ndarray, "height width"], size: int) -> UInt8[np.ndarray, "rows columns"]:
    """Brings the longer side to a size, aspect ratio kept."""
    scale = size / max(image.shape)
    if scale == 1:
        return image
    height, width = (max(1, round(side * scale)) for side in image.shape)
    interpolation = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    return np.asarray(cv2.resize(image, (width, height), interpolation=interpolation))


def _centre(picture: Picture, width: int) -> Picture:
    if picture.shape[1] == width:
        return picture
    canvas = make_band(picture.shape[0], width)
    left = (width - picture.shape[1]) // 2
    canvas[:, left : left + picture.shape[1]] = picture
    return canvas


def draw_head(report: Report, width: int, *, title: str = "", sizes: Sizes = _SIZES) -> Picture:
    """The decision with what it rests on, and a title."""
    inner = width - 2 * sizes.margin
    colour = _DECISION_COLOURS[report.decision.value]
    headline = write_headline(report.decision, report.findings, report.any_finding)
    masks = draw_paragraph(headline, size=sizes.headline, width=inner, max_lines=3, bold=True)
    lines = [(mask, colour) for mask in masks]
    if title:
        line = draw_line(title, size=sizes.body, width=inner, shorten="middle")
        lines.append((line, QUIET))
    return stack_lines(lines, width, sizes)


def _format(finding: Finding) -> str:
    return format_probability(finding.probability, operating_point=finding.operating_point)


def draw_answer(report: Report, width: int, *, sizes: Sizes = _SIZES) -> Picture:
    """The answer in a sentence or two."""
    inner = width - 2 * sizes.margin
    text = report.interpretation
    lines = draw_paragraph(text, size=sizes.body, width=inner, max_lines=_MOST_LINES)
    return stack_lines([(line, TEXT) for line in lines], width, sizes)


def draw_findings(report: Report, width: int, *, sizes: Sizes = _SIZES) -> Picture:
    """A row a finding: name, probability as a bar and as a number, decision."""
    rows = [(finding.display, finding) for finding in report.findings]
    if report.any_finding:
        rows.append((ENGLISH.any_of_these, report.any_finding))
    size, margin = sizes.body, sizes.margin
    widest = max(measure_text(add_mark(name, x.caveat), size=size) for name, x in rows)
    names = min(int(sizes.names * width), widest + 2)
    words = max(measure_text(name_decision(d), size=size) for d in FindingDecision) + 2
    figures = max(measure_text(_format(finding), size=size) for _, finding in rows) + 2
    left = margin + names + margin
    right = width - margin - words - figures - 2 * margin
    row = get_line_height(size)
    inner = width - 2 * margin
    keys = draw_paragraph(ENGLISH.bar_key, size=sizes.small, width=inner, max_lines=2)
    band = make_band(len(rows) * row + sum(len(key) for key in keys) + sizes.gap, width)
    for index, (name, finding) in enumerate(rows):
        top = index * row
        colour = _DECISION_COLOURS[finding.decision.value]
        _draw_name(band[top : top + row, : margin + names], name, finding.caveat, sizes)
        _draw_bar(band[top : top + row, left:right], finding, colour, sizes)
        number = draw_line(_format(finding), size=size, width=figures)
        paste_line(band, number, top, right + margin, TEXT)
        word = draw_line(name_decision(finding.decision), size=size, width=words)
        paste_line(band, word, top, right + figures + 2 * margin, colour)
    for index, key in enumerate(keys):
        paste_line(band, key, len(rows) * row + index * len(key), margin, QUIET)
    return band


def _draw_name(cell: Picture, name: str, caveat: str, sizes: Sizes = _SIZES) -> None:
    """A name with the mark of its caveat, which stays whole where the name is shortened."""
    room = cell.shape[1] - sizes.margin
    if caveat:
        mark = draw_line(f"({get_mark(caveat)})", size=sizes.body, width=room)
        room -= mark.shape[1] + _MARK_GAP
    line = draw_line(name, size=sizes.body, width=room, shorten="middle")
    paste_line(cell, line, 0, sizes.margin, TEXT)
    if caveat:
        paste_line(cell, mark, 0, sizes.margin + line.shape[1] + _MARK_GAP, QUIET)


def _draw_bar(cell: Picture, finding: Finding, colour: Colour, sizes: Sizes = _SIZES) -> None:
    """Probability 0 to 1 from left to right; the band without decision; a tick at the threshold."""
    top = (cell.shape[0] - sizes.bar) // 2
    bar = cell[top : top + sizes.bar]
    last = bar.shape[1] - 1
    point = finding.operating_point
    bar[:] = _TRACK
    low, high = round(point.uncertain_low * last), round(point.uncertain_high * last)
    if point.uncertain_high > point.uncertain_low:
        bar[:, low : high + 1] = _BAND
    bar[3:-3, : round(finding.probability * last) + 1] = colour
    tick = round(point.threshold * last)
    cell[top - 3 : top + sizes.bar + 3, max(0, tick - 1) : tick + 1] = TEXT


def draw_legend(report: Report, width: int, *, sizes: Sizes = _SIZES) -> Picture:
    """What the colours mean, or that there are none; read-only."""
    finding = _find_shown(report)
    if finding is None:
        line = draw_line(ENGLISH.no_map, size=sizes.small, width=width - 2 * sizes.margin)
        return stack_lines([(line, QUIET)], width, sizes)
    against_others = report.any_finding is not None
    return _draw_scale(describe_map(finding, against_others=against_others), width, sizes)


@lru_cache(maxsize=64)
def _draw_scale(high: str, width: int, sizes: Sizes) -> Picture:
    """The colour scale as it looks over middle grey, its ends in words; read-only."""
    margin, gap, size = sizes.margin, sizes.gap, sizes.small
    low = draw_line(ENGLISH.map_low, size=size, width=width)
    room = width - 2 * margin - low.shape[1] - 2 * gap - sizes.scale
    ends = draw_paragraph(high, size=size, width=room, max_lines=2)
    row = get_line_height(size)
    left = margin + low.shape[1] + gap
    right = width - margin - max(end.shape[1] for end in ends) - gap
    strip = np.linspace(0, 255, right - left).round().astype(np.uint8)[None].repeat(size, axis=0)
    top = (row - strip.shape[0]) // 2
    scale = make_band(len(ends) * row, width)
    scale[top : top + strip.shape[0], left:right] = lay_over(
        np.full_like(strip, _LEGEND_GREY), strip
    )
    paste_line(scale, low, 0, margin, TEXT)
    for index, end in enumerate(ends):
        paste_line(scale, end, index * row, right + gap, TEXT)
    notes = f"{ENGLISH.map_scale} {ENGLISH.map_caveat}"
    lines = draw_paragraph(notes, size=size, width=width - 2 * margin, max_lines=3)
    band = np.concatenate([scale, stack_lines([(line, QUIET) for line in lines], width, sizes)])
    band.flags.writeable = False
    return band


@lru_cache(maxsize=64)
def _draw_foot(model: str, calibration: str, width: int) -> Picture:
    """The caveat, who spoke, and whether for this site; read-only."""
    inner = width - 2 * _SIZES.margin
    lines = [
        (line, TEXT) for line in draw_paragraph(CAVEAT, size=_SIZES.small, width=inner, max_lines=3)
    ]
    for text in (model, calibration):
        lines.append((draw_line(text, size=_SIZES.small, width=inner, shorten="middle"), QUIET))
    band = stack_lines(lines, width, _SIZES)
    band.flags.writeable = False
    return band
