"""The picture of a result for a picture archive."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from chestx.domain import (
    CAVEAT,
    Decision,
    Finding,
    ImageHeader,
    ModelIdentity,
    OperatingPoint,
    Report,
    ScopeReason,
    UsageError,
)
from chestx.rendering import bands, capture, overlay
from chestx.rendering.capture import RADIOGRAPH_SIZE, draw_capture
from chestx.rendering.overlay import draw_heatmap
from chestx.rendering.text import get_line_height, measure_text

POINT = OperatingPoint(0.5, 0.4, 0.6)
FACTS = (("Study", "Chest PA"), ("Model", "m 1 (abc)"))


def make_report(shape: tuple[int, int] = (1024, 800), *, findings: int = 2) -> Report:
    """A report of a ramp, its map hot at the top right."""
    ramp = np.linspace(0, 255, shape[0] * shape[1]).astype(np.uint8).reshape(shape)
    keys = [f"F{number}" for number in range(findings)]
    maps = np.zeros((findings, 7, 7), np.float32)
    maps[:, 1, 5] = 1
    return Report(
        source="",
        sha256="",
        header=ImageHeader(format="PNG", rows=shape[0], columns=shape[1]),
        model=ModelIdentity("m", "1", "0"),
        decision=Decision.POSITIVE,
        findings=tuple(Finding(key, key, 0.9, POINT.decide(0.9), POINT) for key in keys),
        any_finding=None,
        probabilities=dict.fromkeys(keys, 0.9),
        scope_reasons=(),
        flags=(),
        interpretation="Features of F0 found.",
        distance=None,
        shown_label="F0",
        map_scales=dict.fromkeys(keys, 1.0),
        logits=np.zeros(findings, np.float32),
        embedding=np.zeros(1, np.float32),
        maps=maps,
        preview=ramp,
    )


def refuse(report: Report) -> Report:
    """The same, out of scope."""
    return replace(
        report, decision=Decision.OUT_OF_SCOPE, scope_reasons=(ScopeReason("lateral", "Lateral."),)
    )


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((1024, 800), (1024, 800)),
        ((800, 1024), (800, 1024)),
        ((300, 300), (1024, 1024)),
        ((2000, 100), (1024, 51)),
        ((100, 2000), (51, 1024)),
        ((2000, 16), (1024, 8)),
    ],
)
def test_the_radiograph_lies_top_left_with_its_map_and_nothing_else(
    shape: tuple[int, int], size: tuple[int, int]
) -> None:
    report = make_report(shape)
    assert report.preview is not None
    method = cv2.INTER_CUBIC if size[0] > shape[0] else cv2.INTER_AREA
    preview = np.asarray(cv2.resize(report.preview, size[::-1], interpolation=method))
    picture = draw_capture(report, FACTS)
    expected = draw_heatmap(preview, report, key="F0")
    assert (picture[: size[0], : size[1]] == expected).all()
    assert max(size) == RADIOGRAPH_SIZE


@pytest.mark.parametrize("shape", [(1024, 840), (840, 1024), (1024, 1024), (900, 1000)])
@pytest.mark.parametrize("window", [(1920, 1080), (1200, 1600), (960, 1080)])
def test_the_smallest_words_can_be_read_where_the_picture_is_fitted_to_a_window(
    shape: tuple[int, int], window: tuple[int, int]
) -> None:
    height, width = draw_capture(make_report(shape), FACTS * 4).shape[:2]
    scale = min(window[0] / width, window[1] / height)
    assert capture._SIZES.small * scale >= 11
    assert max(height, width) < 1.5 * RADIOGRAPH_SIZE


def test_out_of_scope_is_shown_without_map_scale_or_bars() -> None:
    report = make_report((800, 1024))
    assert report.preview is not None
    picture = draw_capture(refuse(report), FACTS)
    assert (picture[:800] == report.preview[..., None]).all()
    assert picture.shape[0] < draw_capture(report, FACTS).shape[0]
    colours = {tuple(colour) for colour in np.unique(picture[800:].reshape(-1, 3), axis=0)}
    assert overlay._DECISION_COLOURS["out_of_scope"] in colours
    assert overlay._DECISION_COLOURS["positive"] not in colours


def test_what_keeps_a_reader_from_error_is_on_every_picture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []

    def record(text: str, **options: object) -> list[np.ndarray]:
        said.append(text)
        return [np.zeros((20, 20), np.uint8)]

    monkeypatch.setattr(capture, "draw_paragraph", record)
    monkeypatch.setattr(overlay, "draw_paragraph", record)
    capture._draw_banner.cache_clear()
    capture._draw_caveat.cache_clear()
    overlay._draw_scale.cache_clear()
    try:
        draw_capture(make_report(), FACTS)
        draw_capture(refuse(make_report()), FACTS)
    finally:
        capture._draw_banner.cache_clear()
        capture._draw_caveat.cache_clear()
        overlay._draw_scale.cache_clear()
    for text in (capture.BANNER, CAVEAT, "Chest PA", "m 1 (abc)", "out of scope", "positive: "):
        assert any(line.startswith(text) for line in said), text
    assert "Fixed scale. A heatmap shows what moved the score; it is not a boundary." in said


def test_the_banner_is_larger_than_all_other_words() -> None:
    sizes = capture._SIZES
    assert max(sizes.headline, sizes.body, sizes.small) < capture._BANNER_SIZE
    width = measure_text(capture.BANNER, size=capture._BANNER_SIZE, bold=True)
    assert width <= capture._COLUMN - 2 * sizes.margin


@pytest.mark.parametrize(
    "value",
    [
        "胸部正面",
        "흉부 후전방",
        "Рентген грудной клетки",
        "Ακτινογραφία θώρακος",
        "صورة الصدر",
        "צילום חזה",
        "छाती",
    ],
)
def test_the_study_speaks_its_own_script(value: str) -> None:
    band = capture._draw_facts((("Study", value),))
    assert band.shape[0] == get_line_height(capture._SIZES.small) + capture._SIZES.gap
    name = 2 * capture._SIZES.margin + measure_text("Study", size=capture._SIZES.small)
    ink = np.abs(band[:, name:].astype(int) - bands.BACKGROUND).max(axis=2)
    assert (ink > 100).sum() > 100
    # What has no letter in any font shows as boxes.
    boxes = capture._draw_facts((("Study", "\U0001f980" * len(value)),))
    assert (boxes != band).any()


def test_a_very_long_value_takes_two_lines_and_stays_in_its_column() -> None:
    band = capture._draw_facts((("Study", "W" * 400), ("View", "PA")))
    rows = 2 * get_line_height(capture._SIZES.small) + get_line_height(capture._SIZES.small)
    assert band.shape[:2] == (rows + capture._SIZES.gap, capture._COLUMN)
    assert (band[:, -capture._SIZES.margin + 1 :] == bands.BACKGROUND).all()


def test_many_findings_make_the_picture_longer_and_leave_none_out() -> None:
    few, many = (draw_capture(make_report(findings=count), FACTS) for count in (2, 40))
    assert few.shape[0] == RADIOGRAPH_SIZE < many.shape[0]
    assert (many[RADIOGRAPH_SIZE:, :800] == bands.BACKGROUND).all()


def test_the_same_report_gives_the_same_picture() -> None:
    first, second = (draw_capture(make_report(), FACTS) for _ in range(2))
    assert (first == second).all()


def test_without_a_preview_there_is_nothing_to_draw() -> None:
    with pytest.raises(UsageError, match="expected a report with a preview"):
        draw_capture(replace(make_report(), preview=None), FACTS)
