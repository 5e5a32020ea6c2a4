"""One picture for one report: the radiograph with its heatmap, and the answer in words.

The image is never written on. Above it stand the answer and the file's name; below
it everything that keeps a reader from taking the colours for more than they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import cv2
import numpy as np
from jaxtyping import UInt8

from chestx.domain import CAVEAT, Finding, FindingDecision, Report, UsageError
from chestx.rendering.colours import lay_over
from chestx.rendering.text import Mask, draw_line, draw_paragraph, get_line_height, measure_text
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

Picture = UInt8[np.ndarray, "_height _width 3"]
Colour = tuple[int, int, int]

MIN_WIDTH = 512
JPEG_QUALITY = 88
PNG_COMPRESSION = 1

_BACKGROUND: Colour = (18, 20, 24)
_TEXT: Colour = (238, 240, 243)
_QUIET: Colour = (176, 182, 190)
_TRACK: Colour = (58, 62, 70)
_BAND: Colour = (122, 128, 138)
# Told apart with any colour vision; the word always stands beside the colour.
_DECISION_COLOURS: dict[str, Colour] = {
    "positive": (255, 140, 82),
    "uncertain": (245, 208, 80),
    "out_of_scope": (222, 160, 222),
    "negative": (116, 190, 240),
}
_MARGIN = 12
_GAP = 8
_HEADLINE, _BODY, _SMALL = 20, 14, 12
_BAR_HEIGHT = 10
_MARK_GAP = 3
_LEGEND_GREY = 96
_SCALE_WIDTH = 96  # at least
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
    if report.preview is None:
        raise UsageError(
            "overlay: expected a report with a preview of its radiograph, got one without; "
            "analyse the image with previews switched on"
        )
    image = _fit(report.preview, size)
    finding = _find_shown(report)
    if finding is None:
        shown = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    else:
        shown = draw_heatmap(image, report, key=finding.key)
    width = max(MIN_WIDTH, shown.shape[1])
    bands = [_draw_head(report, title, width), _centre(shown, width)]
    bands.append(_draw_answer(report, width))
    if report.decision.is_assessed:
        bands.append(_draw_findings(report, width))
        bands.append(
            _draw_legend(finding, against_others=report.any_finding is not None, width=width)
        )
    bands.append(_draw_foot(str(report.model), describe_calibration(report.model), width))
    return np.concatenate(bands)


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
    canvas = _make_band(picture.shape[0], width)
    left = (width - picture.shape[1]) // 2
    canvas[:, left : left + picture.shape[1]] = picture
    return canvas


def _draw_head(report: Report, title: str, width: int) -> Picture:
    """The decision with what it rests on, and the title."""
    inner = width - 2 * _MARGIN
    colour = _DECISION_COLOURS[report.decision.value]
    headline = write_headline(report.decision, report.findings, report.any_finding)
    masks = draw_paragraph(headline, size=_HEADLINE, width=inner, max_lines=3, bold=True)
    lines = [(mask, colour) for mask in masks]
    if title:
        line = draw_line(title, size=_BODY, width=inner, shorten="middle")
        lines.append((line, _QUIET))
    return _stack(lines, width)


def _format(finding: Finding) -> str:
    return format_probability(finding.probability, operating_point=finding.operating_point)


def _draw_answer(report: Report, width: int) -> Picture:
    inner = width - 2 * _MARGIN
    lines = draw_paragraph(report.interpretation, size=_BODY, width=inner, max_lines=_MOST_LINES)
    return _stack([(line, _TEXT) for line in lines], width)


def _draw_findings(report: Report, width: int) -> Picture:
    """A row a finding: name, probability as a bar and as a number, decision."""
    rows = [(finding.display, finding) for finding in report.findings]
    if report.any_finding:
        rows.append((ENGLISH.any_of_these, report.any_finding))
    widest = max(measure_text(add_mark(name, x.caveat), size=_BODY) for name, x in rows)
    names = min(int(0.4 * width), widest + 2)
    words = max(measure_text(name_decision(d), size=_BODY) for d in FindingDecision) + 2
    figures = max(measure_text(_format(finding), size=_BODY) for _, finding in rows) + 2
    left = _MARGIN + names + _MARGIN
    right = width - _MARGIN - words - figures - 2 * _MARGIN
    row = get_line_height(_BODY)
    band = _make_band(len(rows) * row + get_line_height(_SMALL) + _GAP, width)
    for index, (name, finding) in enumerate(rows):
        top = index * row
        colour = _DECISION_COLOURS[finding.decision.value]
        _draw_name(band[top : top + row, : _MARGIN + names], name, finding.caveat)
        _draw_bar(band[top : top + row, left:right], finding, colour)
        number = draw_line(_format(finding), size=_BODY, width=figures)
        _paste(band, number, top, right + _MARGIN, _TEXT)
        word = draw_line(name_decision(finding.decision), size=_BODY, width=words)
        _paste(band, word, top, right + figures + 2 * _MARGIN, colour)
    key = draw_line(ENGLISH.bar_key, size=_SMALL, width=width - 2 * _MARGIN)
    _paste(band, key, len(rows) * row, _MARGIN, _QUIET)
    return band


def _draw_name(cell: Picture, name: str, caveat: str) -> None:
    """A name with the mark of its caveat, which stays whole where the name is shortened."""
    room = cell.shape[1] - _MARGIN
    if caveat:
        mark = draw_line(f"({get_mark(caveat)})", size=_BODY, width=room)
        room -= mark.shape[1] + _MARK_GAP
    line = draw_line(name, size=_BODY, width=room, shorten="middle")
    _paste(cell, line, 0, _MARGIN, _TEXT)
    if caveat:
        _paste(cell, mark, 0, _MARGIN + line.shape[1] + _MARK_GAP, _QUIET)


def _draw_bar(cell: Picture, finding: Finding, colour: Colour) -> None:
    """Probability 0 to 1 from left to right; the band without decision; a tick at the threshold."""
    top = (cell.shape[0] - _BAR_HEIGHT) // 2
    bar = cell[top : top + _BAR_HEIGHT]
    last = bar.shape[1] - 1
    point = finding.operating_point
    bar[:] = _TRACK
    low, high = round(point.uncertain_low * last), round(point.uncertain_high * last)
    if point.uncertain_high > point.uncertain_low:
        bar[:, low : high + 1] = _BAND
    bar[3:-3, : round(finding.probability * last) + 1] = colour
    tick = round(point.threshold * last)
    cell[top - 3 : top + _BAR_HEIGHT + 3, max(0, tick - 1) : tick + 1] = _TEXT


def _draw_legend(finding: Finding | None, *, against_others: bool, width: int) -> Picture:
    if finding is None:
        line = draw_line(ENGLISH.no_map, size=_SMALL, width=width - 2 * _MARGIN)
        return _stack([(line, _QUIET)], width)
    return _draw_scale(describe_map(finding, against_others=against_others), width)


@lru_cache(maxsize=64)
def _draw_scale(high: str, width: int) -> Picture:
    """The colour scale as it looks over middle grey, its ends in words; read-only."""
    low = draw_line(ENGLISH.map_low, size=_SMALL, width=width)
    room = width - 2 * _MARGIN - low.shape[1] - 2 * _GAP - _SCALE_WIDTH
    ends = draw_paragraph(high, size=_SMALL, width=room, max_lines=2)
    row = get_line_height(_SMALL)
    left = _MARGIN + low.shape[1] + _GAP
    right = width - _MARGIN - max(end.shape[1] for end in ends) - _GAP
    strip = np.linspace(0, 255, right - left).round().astype(np.uint8)[None].repeat(12, axis=0)
    top = (row - strip.shape[0]) // 2
    scale = _make_band(len(ends) * row, width)
    scale[top : top + strip.shape[0], left:right] = lay_over(
        np.full_like(strip, _LEGEND_GREY), strip
    )
    _paste(scale, low, 0, _MARGIN, _TEXT)
    for index, end in enumerate(ends):
        _paste(scale, end, index * row, right + _GAP, _TEXT)
    notes = f"{ENGLISH.map_scale} {ENGLISH.map_caveat}"
    lines = draw_paragraph(notes, size=_SMALL, width=width - 2 * _MARGIN, max_lines=3)
    band = np.concatenate([scale, _stack([(line, _QUIET) for line in lines], width)])
    band.flags.writeable = False
    return band


@lru_cache(maxsize=64)
def _draw_foot(model: str, calibration: str, width: int) -> Picture:
    """The caveat, who spoke, and whether for this site; read-only."""
    inner = width - 2 * _MARGIN
    lines = [
        (line, _TEXT) for line in draw_paragraph(CAVEAT, size=_SMALL, width=inner, max_lines=3)
    ]
    for text in (model, calibration):
        lines.append((draw_line(text, size=_SMALL, width=inner, shorten="middle"), _QUIET))
    band = _stack(lines, width)
    band.flags.writeable = False
    return band


def _stack(lines: Sequence[tuple[Mask, Colour]], width: int) -> Picture:
    """Lines below each other in a band with a gap above and below."""
    band = _make_band(sum(mask.shape[0] for mask, _ in lines) + _GAP, width)
    top = _GAP // 2
    for mask, colour in lines:
        _paste(band, mask, top, _MARGIN, colour)
        top += mask.shape[0]
    return band


def _make_band(height: int, width: int) -> Picture:
    row = np.tile(np.asarray(_BACKGROUND, np.uint8), (1, width, 1))
    return row.repeat(height, axis=0)


def _paste(band: Picture, mask: Mask, top: int, left: int, colour: Colour) -> None:
    """Inks a mask onto the plain background of a band."""
    height, width = mask.shape
    inks = cv2.LUT(cv2.cvtColor(mask, cv2.COLOR_GRAY2RGB), _get_inks(colour))
    band[top : top + height, left : left + width] = inks[: band.shape[0] - top]


@lru_cache(maxsize=32)
def _get_inks(colour: Colour) -> UInt8[np.ndarray, "1 levels=256 3"]:
    """Coverage -> colour between the background and the ink."""
    steps = np.linspace(0, 1, 256)[:, None]
    inks = np.asarray(_BACKGROUND) * (1 - steps) + np.asarray(colour) * steps
    return np.asarray(inks.round().astype(np.uint8)[None])
