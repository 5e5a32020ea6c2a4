"""The picture of a report."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from chestx import domain
from chestx.domain import Finding, OperatingPoint, Report, ScopeReason
from chestx.rendering import bands, overlay, text
from chestx.rendering.overlay import draw_overlay, encode_picture
from chestx.terminology import choose_shown_label, decide_image, interpret

POINT = OperatingPoint(0.5, 0.4, 0.6)
COVID_CAVEAT = (
    "Experimental; not a test for an infection: on a hospital outside the training data this "
    "score separated nothing (AUROC 0.39). It learnt the source."
)
LATERAL = ScopeReason("lateral", "The view is LATERAL; the model was made for frontal views.")


def make_report(
    *,
    preview: np.ndarray | None = None,
    pneumonia: float = 0.93,
    covid: float = 0.02,
    cell: tuple[int, int] | None = (2, 1),
    reasons: tuple[ScopeReason, ...] = (),
    with_any: bool = True,
) -> Report:
    """A report whose map of pneumonia has one hot cell of 7 x 7."""
    if preview is None:
        preview = np.tile(np.linspace(0, 255, 384, dtype=np.uint8), (512, 1))
    findings = tuple(
        Finding(key, display, value, POINT.decide(value), POINT, caveat)
        for key, display, value, caveat in (
            ("PNEUMONIA", "pneumonia", pneumonia, ""),
            ("COVID19", "COVID-19", covid, COVID_CAVEAT),
        )
    )
    total = min(1.0, pneumonia + covid)
    composite = Finding(domain.ANY_FINDING, "any finding", total, POINT.decide(total), POINT)
    any_finding = composite if with_any else None
    maps = np.full((3, 7, 7), -1, np.float32)
    if cell is not None:
        maps[1, cell[0], cell[1]] = 20
    return Report(
        source="image.png",
        sha256="0" * 64,
        header=domain.ImageHeader(format="PNG", rows=preview.shape[0], columns=preview.shape[1]),
        model=domain.ModelIdentity("chestx-default", "0.1", "abcdef0123456789"),
        decision=decide_image(findings, any_finding, scope_reasons=reasons),
        findings=findings,
        any_finding=any_finding,
        probabilities={"NORMAL": 1 - total, "PNEUMONIA": pneumonia, "COVID19": covid},
        scope_reasons=reasons,
        flags=(),
        interpretation=interpret(findings, any_finding, scope_reasons=reasons),
        distance=0.4,
        shown_label=choose_shown_label(findings),
        map_scales={"NORMAL": 10.0, "PNEUMONIA": 10.0, "COVID19": 10.0},
        logits=np.zeros(3, np.float32),
        embedding=np.zeros(4, np.float32),
        maps=maps,
        preview=preview,
    )


def cut_radiograph(picture: np.ndarray, report: Report, *, size: int = 512) -> np.ndarray:
    """The part of the picture that shows the radiograph."""
    assert report.preview is not None
    top = overlay.draw_head(report, picture.shape[1]).shape[0]
    height, width = overlay._fit(report.preview, size).shape
    left = (picture.shape[1] - width) // 2
    return picture[top : top + height, left : left + width]


@pytest.fixture
def spoken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every text that is drawn."""
    said: list[str] = []

    def record(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(sentence: str, **options: Any) -> Any:
            said.append(sentence)
            return function(sentence, **options)

        return wrapped

    monkeypatch.setattr(overlay, "draw_line", record(text.draw_line))
    monkeypatch.setattr(overlay, "draw_paragraph", record(text.draw_paragraph))
    overlay._draw_foot.cache_clear()
    overlay._draw_scale.cache_clear()
    return said


@pytest.mark.parametrize("shape", [(512, 300), (300, 512), (512, 512), (100, 80), (512, 128)])
@pytest.mark.parametrize("cell", [(0, 0), (2, 1), (3, 3), (5, 6), (6, 0)])
def test_a_hot_cell_lands_on_its_place_and_left_stays_left(
    shape: tuple[int, int], cell: tuple[int, int]
) -> None:
    report = make_report(preview=np.full(shape, 100, np.uint8), cell=cell)
    shown = cut_radiograph(draw_overlay(report), report).astype(int)
    colour = np.abs(shown - 100).sum(axis=2)
    height, width = colour.shape
    rows, columns = np.mgrid[:height, :width]
    row = (colour * (rows + 0.5)).sum() / colour.sum() * 7 / height
    column = (colour * (columns + 0.5)).sum() / colour.sum() * 7 / width
    assert abs(row - (cell[0] + 0.5)) < 0.35
    assert abs(column - (cell[1] + 0.5)) < 0.35
    far = (np.abs(rows * 7 / height - cell[0] - 0.5) > 2.1) | (
        np.abs(columns * 7 / width - cell[1] - 0.5) > 2.1
    )
    assert colour[far].max() == 0


def test_without_evidence_the_radiograph_is_shown_exactly_and_nothing_is_written_on_it() -> None:
    report = make_report(cell=None, pneumonia=0.05)
    shown = cut_radiograph(draw_overlay(report), report)
    assert report.preview is not None
    assert (shown == report.preview[..., None]).all()


def test_a_map_is_drawn_on_the_fixed_scale_of_the_card() -> None:
    strong = make_report(preview=np.full((512, 512), 100, np.uint8))
    weak = replace(strong, map_scales={**strong.map_scales, "PNEUMONIA": 100.0})
    change = [
        np.abs(cut_radiograph(draw_overlay(report), report).astype(int) - 100).max()
        for report in (strong, weak)
    ]
    assert change[1] < 0.4 * change[0]


def test_out_of_scope_shows_the_reasons_and_neither_map_nor_probability(
    spoken: list[str],
) -> None:
    report = make_report(reasons=(LATERAL,))
    picture = draw_overlay(report)
    shown = cut_radiograph(picture, report)
    assert report.preview is not None
    assert (shown == report.preview[..., None]).all()
    assert "out of scope" in spoken
    assert any(LATERAL.sentence in said for said in spoken)
    assert not any("0.93" in said or "heatmap" in said for said in spoken)
    other = make_report(reasons=(LATERAL,), pneumonia=0.1)
    assert (draw_overlay(other) == picture).all()


@pytest.mark.parametrize(
    ("values", "headline"),
    [
        ({"pneumonia": 0.93}, "positive: features of pneumonia 0.93"),
        ({"pneumonia": 0.55, "covid": 0.0}, "uncertain: features of pneumonia 0.55"),
        ({"pneumonia": 0.01, "covid": 0.98}, "positive: features of COVID-19 0.98 (experimental)"),
        (
            {"pneumonia": 0.05, "covid": 0.02},
            "negative: features of pneumonia 0.05, features of COVID-19 0.02 (experimental)",
        ),
        (
            {"pneumonia": 0.35, "covid": 0.36},
            "positive: features of pneumonia or COVID-19 (experimental) 0.71",
        ),
    ],
)
def test_the_headline_says_the_decision_and_what_it_rests_on(
    values: dict[str, float], headline: str, spoken: list[str]
) -> None:
    draw_overlay(make_report(**values))  # type: ignore[arg-type]
    assert spoken[0] == headline


def test_everything_that_keeps_a_reader_from_error_is_on_the_picture(spoken: list[str]) -> None:
    report = make_report()
    draw_overlay(report, title="image.png")
    for said in (
        "image.png",
        report.interpretation,
        "pneumonia",
        "0.93",
        "positive",
        "COVID-19",
        "0.02",
        "negative",
        "any of these",
        "0.95",
        "none",
        "strong evidence for pneumonia against the other labels",
        "Fixed scale. A heatmap shows what moved the score; it is not a boundary.",
        domain.CAVEAT,
        "chestx-default 0.1 (abcdef012345)",
    ):
        assert said in spoken, said


def test_the_bar_of_an_experimental_finding_carries_the_word(spoken: list[str]) -> None:
    draw_overlay(make_report())
    assert spoken.count("(experimental)") == 1
    assert spoken[spoken.index("(experimental)") + 1] == "COVID-19"


def test_a_mark_stays_whole_beside_a_name_that_is_too_long() -> None:
    short, long, plain = (np.zeros((20, 216, 3), np.uint8) for _ in range(3))
    overlay._draw_name(short, "name", "Experimental.")
    overlay._draw_name(long, "name " * 40, "Experimental.")
    overlay._draw_name(plain, "name " * 40, "")
    mark = text.draw_line("(experimental)", size=overlay._SIZES.body, width=216)
    for cell in (short, long):
        quiet = (cell == bands.QUIET).all(axis=2)
        assert quiet.sum() == (mark == 255).sum() > 0
    assert not (plain == bands.QUIET).all(axis=2).any()


@pytest.mark.parametrize("values", [(0.93, 0.98), (0.01, 0.98), (0.45, 0.55), (0.3, 0.25)])
def test_the_longest_answers_of_the_shipped_labels_are_not_cut(
    values: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    cut: list[str] = []

    def record(line: str, *_: Any) -> str:
        cut.append(line)
        return line

    monkeypatch.setattr(text, "_cut", record)
    text._draw_line.cache_clear()
    overlay._draw_scale.cache_clear()
    draw_overlay(make_report(pneumonia=values[0], covid=values[1]), title="a.png")
    text._draw_line.cache_clear()
    assert cut == []


def test_labels_that_do_not_exclude_each_other_claim_no_comparison(spoken: list[str]) -> None:
    draw_overlay(make_report(with_any=False))
    assert "strong evidence for pneumonia" in spoken


def test_a_model_without_maps_says_that_there_is_none(spoken: list[str]) -> None:
    report = replace(make_report(), maps=None)
    shown = cut_radiograph(draw_overlay(report), report)
    assert report.preview is not None
    assert (shown == report.preview[..., None]).all()
    assert "No heatmap." in spoken


@pytest.mark.parametrize(
    ("shape", "size", "shown"),
    [
        ((100, 80), 512, (512, 410)),
        ((128, 512), 512, (128, 512)),
        ((512, 128), 512, (512, 128)),
        ((16, 400), 512, (20, 512)),
        ((512, 400), 256, (256, 200)),
        ((400, 512), 1024, (800, 1024)),
        ((1, 512), 512, (1, 512)),
    ],
)
def test_the_radiograph_keeps_its_aspect_ratio_on_a_canvas_of_a_sensible_width(
    shape: tuple[int, int], size: int, shown: tuple[int, int]
) -> None:
    preview = np.full(shape, 128, np.uint8)
    report = make_report(preview=preview)
    picture = draw_overlay(report, size=size)
    assert picture.shape[1] == max(512, shown[1])
    assert cut_radiograph(picture, report, size=size).shape[:2] == shown
    assert 200 < picture.shape[0] - shown[0] < 400


@pytest.mark.parametrize(
    "title",
    ["胸部 صدر חזה छाती ทรวงอก αβγ жщ 흉부.png", "x" * 10_000, "\x00\ud800\u202e\n", " "],
    ids=range(4),
)
def test_any_title_fits(title: str) -> None:
    report = make_report()
    plain = draw_overlay(report, title="a")
    assert draw_overlay(report, title=title).shape == plain.shape


def test_many_labels_with_long_names_fit(spoken: list[str]) -> None:
    findings = tuple(
        Finding(f"L{index}", f"a rather long name of a finding number {index}", 0.9,
                POINT.decide(0.9), POINT)
        for index in range(18)
    )  # fmt: skip
    report = make_report()
    report = replace(
        report,
        findings=findings,
        probabilities={finding.key: 0.9 for finding in findings},
        interpretation=interpret(findings, None),
        shown_label="L0",
        logits=np.zeros(18, np.float32),
        embedding=np.zeros(4, np.float32),
        maps=np.ones((18, 7, 7), np.float32),
        map_scales={finding.key: 1.0 for finding in findings},
    )
    picture = draw_overlay(report)
    assert picture.shape[1] == 512
    assert spoken[0].endswith(", \u2026")


def test_a_report_without_a_preview_is_refused() -> None:
    with pytest.raises(domain.UsageError, match="expected a report with a preview"):
        draw_overlay(replace(make_report(), preview=None))


def test_words_and_marks_contrast_with_their_background() -> None:
    def get_luminance(colour: tuple[int, int, int]) -> float:
        parts = [x / 255 / 12.92 if x <= 10 else ((x / 255 + 0.055) / 1.055) ** 2.4 for x in colour]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    ground = get_luminance(bands.BACKGROUND)
    colours = [bands.TEXT, bands.QUIET, *overlay._DECISION_COLOURS.values()]
    for colour in colours:  # WCAG 2.2, AA for small text
        assert (get_luminance(colour) + 0.05) / (ground + 0.05) >= 4.5
    assert overlay._SIZES.small >= 12


def test_a_probability_bar_has_its_tick_and_its_band() -> None:
    cell = np.zeros((20, 201, 3), np.uint8)
    point = OperatingPoint(0.5, 0.4, 0.7)
    overlay._draw_bar(cell, Finding("A", "a", 0.25, point.decide(0.25), point), (1, 2, 3))
    middle, edge, above = cell[10], cell[6], cell[3]
    assert np.flatnonzero((middle == (1, 2, 3)).all(axis=1)).tolist() == list(range(51))
    band = np.flatnonzero((edge == overlay._BAND).all(axis=1))
    assert (band.min(), band.max()) == (80, 140)
    assert np.flatnonzero((above == bands.TEXT).all(axis=1)).tolist() == [99, 100]


def test_pictures_are_encoded_in_their_colours() -> None:
    picture = draw_overlay(make_report())
    png, jpg = (
        np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))[..., ::-1]
        for data in (encode_picture(picture, format="png"), encode_picture(picture, format="jpg"))
    )
    assert (png == picture).all()
    assert np.abs(jpg.astype(int) - picture).mean() < 4


def test_the_same_report_gives_the_same_picture_from_any_thread() -> None:
    report = make_report()
    expected = draw_overlay(report, title="胸部 صدر.png")
    same: list[bool] = []

    def draw() -> None:
        for _ in range(5):
            picture = draw_overlay(report, title="胸部 صدر.png")
            same.append(bool((picture == expected).all()))

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert same == [True] * 20


def test_a_drawn_picture_does_not_change_the_report_or_a_later_picture() -> None:
    report = make_report()
    assert report.preview is not None
    before = report.preview.copy()
    picture = draw_overlay(report)
    kept = picture.copy()
    picture[:] = 0
    assert (draw_overlay(report) == kept).all()
    assert (report.preview == before).all()


def test_a_real_radiograph_stays_readable_under_the_strongest_map(cxr: Path) -> None:
    path = next((cxr / "images").rglob("*.jpg"), None) or next((cxr / "images").rglob("*.jpeg"))
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert image is not None
    report = replace(make_report(preview=image), maps=np.full((3, 7, 7), 99, np.float32))
    shown = cut_radiograph(draw_overlay(report), report)
    plain = overlay._fit(image, 512)
    covered = cv2.cvtColor(shown, cv2.COLOR_RGB2GRAY)
    assert np.corrcoef(plain.ravel(), covered.ravel())[0, 1] > 0.99
    assert covered.std() > 0.35 * plain.std()
