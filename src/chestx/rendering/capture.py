"""The picture of a result for a picture archive: large enough to be read fitted to a window.

A viewer fits the whole picture into its window, so what is not radiograph costs the
radiograph's size, and letters are made for a picture that is shown at two thirds. The
radiograph lies in the top left corner and is never written on: no mark of side, no name.
Words stand beside an upright radiograph and below any other, which keeps the picture near
the shape of a window.

The patient's name is not in the picture: a viewer shows it from the header, which stays right
when patients are merged and empty when an object is de-identified; pixels do neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from chestx.domain import CAVEAT, Report
from chestx.rendering.bands import (
    QUIET,
    TEXT,
    Picture,
    Sizes,
    make_band,
    paste_line,
    stack_lines,
)
from chestx.rendering.overlay import (
    draw_answer,
    draw_findings,
    draw_head,
    draw_legend,
    draw_radiograph,
)
from chestx.rendering.text import draw_line, draw_paragraph, measure_text

RADIOGRAPH_SIZE = 1024
"""Longer side of the radiograph in the picture, in pixels."""

BANNER = "AI result, not for diagnosis"

_COLUMN = RADIOGRAPH_SIZE // 2
_SIZES = Sizes(headline=24, body=19, small=17, margin=18, gap=12, bar=14, scale=90, names=0.45)
_BANNER_SIZE = 30
_MOST_LINES = 2


def draw_capture(report: Report, facts: Sequence[tuple[str, str]]) -> Picture:
    """Draws the radiograph with its map, the answer in words, and who gave it to what.

    Args:
        report: with its preview.
        facts: what is said in a table, a name and its value each, in any script.

    Returns:
        RGB. The radiograph takes the top left corner, its longer side ``RADIOGRAPH_SIZE``.

    Raises:
        UsageError: the report has no preview.
    """
    radiograph = draw_radiograph(report, size=RADIOGRAPH_SIZE)
    answer = [_draw_banner(), draw_head(report, _COLUMN, sizes=_SIZES)]
    answer.append(draw_answer(report, _COLUMN, sizes=_SIZES))
    origin = [_draw_facts(facts), _draw_caveat()]
    if report.decision.is_assessed:
        answer.append(draw_findings(report, _COLUMN, sizes=_SIZES))
        origin.insert(0, draw_legend(report, _COLUMN, sizes=_SIZES))
    if radiograph.shape[0] > radiograph.shape[1]:
        return _set_beside(radiograph, np.concatenate(answer + origin))
    words = _set_beside(np.concatenate(answer), np.concatenate(origin))
    return np.concatenate([radiograph, make_band(_SIZES.gap // 2, 2 * _COLUMN), words])


def _set_beside(left: Picture, right: Picture) -> Picture:
    """Two pictures side by side, level at the top."""
    canvas = make_band(max(len(left), len(right)), left.shape[1] + right.shape[1])
    canvas[: len(left), : left.shape[1]] = left
    canvas[: len(right), left.shape[1] :] = right
    return canvas


@lru_cache(maxsize=1)
def _draw_banner() -> Picture:
    inner = _COLUMN - 2 * _SIZES.margin
    lines = draw_paragraph(BANNER, size=_BANNER_SIZE, width=inner, max_lines=2, bold=True)
    return _freeze(stack_lines([(line, TEXT) for line in lines], _COLUMN, _SIZES))


@lru_cache(maxsize=1)
def _draw_caveat() -> Picture:
    inner = _COLUMN - 2 * _SIZES.margin
    lines = draw_paragraph(CAVEAT, size=_SIZES.body, width=inner, max_lines=4, bold=True)
    return _freeze(stack_lines([(line, TEXT) for line in lines], _COLUMN, _SIZES))


def _draw_facts(facts: Sequence[tuple[str, str]]) -> Picture:
    """A row a fact: its name, and its value over as many as two lines."""
    size, margin = _SIZES.small, _SIZES.margin
    left = 2 * margin + max(measure_text(name, size=size) for name, _ in facts)
    room = _COLUMN - left - margin
    rows = [
        (name, draw_paragraph(value, size=size, width=room, max_lines=_MOST_LINES))
        for name, value in facts
    ]
    band = make_band(sum(len(line) for _, lines in rows for line in lines) + _SIZES.gap, _COLUMN)
    top = _SIZES.gap // 2
    for name, lines in rows:
        paste_line(band, draw_line(name, size=size, width=left), top, margin, QUIET)
        for line in lines:
            paste_line(band, line, top, left, TEXT)
            top += len(line)
    return band


def _freeze(band: Picture) -> Picture:
    band.flags.writeable = False
    return band
