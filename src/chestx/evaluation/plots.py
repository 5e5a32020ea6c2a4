"""The plots of an evaluation as SVG: the same bytes for the same figures, no state kept.

Made for a page of 720 pixels, for print, and for readers who see colours otherwise: a curve
is told by its dashes as well, and everything that colour says stands in words somewhere.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.font_manager import fontManager, get_font
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import StrMethodFormatter

from chestx.domain import OperatingPoint
from chestx.evaluation.result import Confusion, Point, ReliabilityBin, RiskPoint
from chestx.rendering.glyphs import BOLD, FOLDER, FONTS, choose_font, has_glyph
from chestx.shapes import Float

MAX_CURVES = 9
"""More than these in one plot cannot be told apart."""
_MAX_LABEL = 44

# Okabe and Ito's colours without the yellow that white paper swallows.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#5B3A8E", "#7A5C1E")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))
_WHOLE, _QUIET, _GRID = "#111111", "#5a6470", "#d9dee4"
# matplotlib types the names one by one; a wrong one raises.
_SETTINGS: dict[Any, Any] = {
    "svg.hashsalt": "chestx",
    "svg.fonttype": "path",
    "font.size": 9.5,
    "axes.edgecolor": _QUIET,
    "axes.unicode_minus": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "grid.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "lines.linewidth": 1.7,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A line of a plot.

    Attributes:
        label: its words in the legend.
        points: in order.
        marks: points of it that are shown, e.g. where the card decides.
        is_whole: all images together; drawn in black.
    """

    label: str
    points: Sequence[Point]
    marks: Sequence[Point] = ()
    is_whole: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A row of a forest plot.

    Attributes:
        label: what was measured.
        value, low, high: the figure and its interval; None where none was taken.
        kind: ``whole`` for all images, ``part`` for some, ``baseline`` for a guess without lungs.
        note: at the right, e.g. the number of images.
    """

    label: str
    value: float
    low: float | None
    high: float | None
    kind: Literal["whole", "part", "baseline"] = "part"
    note: str = ""


def draw_roc(curves: Sequence[Curve]) -> bytes:
    """Sensitivity over 1 - specificity."""
    with mpl.rc_context(_SETTINGS):
        figure, axes = _make_axes((5.6, 4.9), curves)
        axes.plot([0, 1], [0, 1], color=_QUIET, linewidth=1, linestyle=(0, (1, 2)))
        _draw_curves(axes, curves)
        axes.set_xlabel("1 - specificity (false alarms among those without)")
        axes.set_ylabel("sensitivity (found among those with)")
        return _encode(figure)


def draw_precision_recall(curves: Sequence[Curve]) -> bytes:
    """PPV over sensitivity. What is good depends on the share of positives, which labels name."""
    with mpl.rc_context(_SETTINGS):
        figure, axes = _make_axes((5.6, 4.9), curves)
        _draw_curves(axes, curves)
        axes.set_xlabel("sensitivity")
        axes.set_ylabel("positive predictive value in these images")
        return _encode(figure)


def draw_risk_coverage(curves: Sequence[Curve]) -> bytes:
    """Share of wrong answers over the share of images that are answered."""
    with mpl.rc_context(_SETTINGS):
        figure, axes = _make_axes((7.2, 3.8), curves)
        _draw_curves(axes, curves)
        highest = max((point.y for curve in curves for point in curve.points), default=1.0)
        axes.set_ylim(0, max(0.02, 1.08 * highest))
        axes.set_xlabel("coverage (share of the assessed images that is answered)")
        axes.set_ylabel("share of wrong answers among them")
        return _encode(figure)


def to_curve_points(points: Sequence[RiskPoint]) -> tuple[Point, ...]:
    """Coverage as x and risk as y, for :func:`draw_risk_coverage`."""
    return tuple(Point(point.coverage, point.risk, float("nan")) for point in points)


def draw_reliability(
    bins: Sequence[ReliabilityBin], probabilities: Float[np.ndarray, " n"]
) -> bytes:
    """Observed share over predicted probability with Wilson bars; below, how often each was said.

    Args:
        bins: images of like probability.
        probabilities: of all images behind the bins.
    """
    with mpl.rc_context(_SETTINGS):
        figure = Canvas(figsize=(5.2, 5.6), layout="constrained")
        axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        axes.plot([0, 1], [0, 1], color=_QUIET, linewidth=1, linestyle=(0, (1, 2)))
        x = [item.predicted for item in bins]
        y = np.array([item.observed for item in bins])
        lower = np.maximum(0, y - np.array([item.low for item in bins]))
        upper = np.maximum(0, np.array([item.high for item in bins]) - y)
        axes.errorbar(
            x, y, yerr=[lower, upper], color=_COLOURS[0], fmt="o-", markersize=4.5,
            linewidth=1.2, elinewidth=1.2, capsize=2.5,
        )  # fmt: skip
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), ylabel="observed share")
        below.hist(probabilities, bins=np.linspace(0, 1, 26).tolist(), color=_COLOURS[0])
        below.set(xlabel="predicted probability", ylabel="images")
        return _encode(figure)


def draw_scores(
    positives: Float[np.ndarray, " p"],
    negatives: Float[np.ndarray, " q"],
    *,
    score: str,
    point: OperatingPoint | None,
) -> bytes:
    """How the score lies in images with and without, with threshold and abstention band.

    The counts are on a logarithmic scale.
    """
    with mpl.rc_context(_SETTINGS):
        figure = Canvas(figsize=(7.2, 3.9), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True)
        edges = np.linspace(0, 1, 41).tolist()
        for axes, values, words, colour in (
            (upper, positives, "with", _COLOURS[1]),
            (lower, negatives, "without", _COLOURS[0]),
        ):
            axes.hist(values, bins=edges, color=colour)
            axes.set_ylabel("images")
            if len(values):
                # A few wrong answers beside hundreds of right ones must be seen.
                axes.set_yscale("log")
                axes.set_ylim(bottom=0.6)
                axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
                axes.minorticks_off()
            axes.set_title(f"{words} ({len(values):,})", loc="left", fontsize=9.5)
            if point is not None:
                axes.axvspan(point.uncertain_low, point.uncertain_high, color="#e8e2c8", zorder=0)
                axes.axvline(point.threshold, color=_WHOLE, linewidth=1.2)
        lower.set(xlim=(0, 1), xlabel=_shorten(score))
        if point is not None:
            words = f"threshold {point.threshold:.3f}"
            if point.uncertain_low < point.uncertain_high:
                words += f"; undecided {point.uncertain_low:.3f} to {point.uncertain_high:.3f}"
            upper.set_title(words, loc="right", fontsize=9, color=_QUIET)
        return _encode(figure)


def draw_confusion(confusion: Confusion) -> bytes:
    """Counts by reference standard and answer; the shade is the share of the row."""
    with mpl.rc_context({**_SETTINGS, "axes.grid": False}):
        counts = np.array(confusion.counts, dtype=np.float64).reshape(len(confusion.rows), -1)
        totals = counts.sum(axis=1, keepdims=True)
        shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
        width = min(9.5, 2.4 + 1.1 * len(confusion.columns))
        figure = Canvas(figsize=(width, 1.5 + 0.62 * len(confusion.rows)), layout="constrained")
        axes = figure.subplots()
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for (row, column), count in np.ndenumerate(counts):
            axes.text(
                column, row, f"{count:,.0f}\n{100 * shares[row, column]:.1f} %",
                ha="center", va="center", color="white" if shares[row, column] > 0.55 else _WHOLE,
            )  # fmt: skip
        names = [_shorten(name.replace("_", " ")) for name in confusion.columns]
        axes.set_xticks(range(len(names)), names, rotation=20 if len(names) > 5 else 0)
        axes.set_yticks(range(len(confusion.rows)), [_shorten(name) for name in confusion.rows])
        axes.set(xlabel="answer", ylabel="reference standard")
        axes.spines[:].set_visible(False)
        return _encode(figure)


def draw_forest(bars: Sequence[Bar], *, name: str, chance: float | None = None) -> bytes:
    """Figures with their intervals below each other.

    Args:
        bars: from top to bottom.
        name: of the figure, below the axis.
        chance: what guessing gives; a dotted line.
    """
    with mpl.rc_context(_SETTINGS):
        figure = Canvas(figsize=(7.4, 0.9 + 0.27 * len(bars)), layout="constrained")
        axes = figure.subplots()
        ends = [chance] if chance is not None else []
        for row, bar in enumerate(bars):
            colour = {"whole": _WHOLE, "part": _COLOURS[0], "baseline": _COLOURS[1]}[bar.kind]
            marker = {"whole": "D", "part": "o", "baseline": "s"}[bar.kind]
            interval = ""
            if bar.low is not None and bar.high is not None:
                axes.plot([bar.low, bar.high], [row, row], color=colour, linewidth=1.5)
                interval = f" ({bar.low:.3f} to {bar.high:.3f})"
                ends += [bar.low, bar.high]
            filling = "white" if bar.kind == "baseline" else colour
            axes.plot([bar.value], [row], marker, color=colour, mfc=filling, markersize=5.5)
            ends.append(bar.value)
            axes.annotate(
                f"{bar.value:.3f}{interval}  {_shorten(bar.note)}", (1, row), (6, 0),
                xycoords=("axes fraction", "data"), textcoords="offset points", va="center",
                fontsize=8.5,
            )  # fmt: skip
        if chance is not None:
            axes.axvline(chance, color=_QUIET, linewidth=1, linestyle=(0, (1, 2)))
        low, high = min(ends, default=0.0), max(ends, default=1.0)
        margin = 0.04 * max(high - low, 0.05)
        axes.set_xlim(low - margin, high + margin)
        axes.set_yticks(range(len(bars)), [_shorten(bar.label) for bar in bars])
        axes.set_ylim(len(bars) - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(name)
        return _encode(figure)


def _make_axes(size: tuple[float, float], curves: Sequence[Curve]) -> tuple[Canvas, Axes]:
    """A plot of shares with a line of legend below it for each curve."""
    width, height = size
    height += 0.2 * min(len(curves), MAX_CURVES + 1)
    figure = Canvas(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    return figure, axes


def _draw_curves(axes: Axes, curves: Sequence[Curve]) -> None:
    handles, labels = [], []
    parts = 0
    for curve in curves[:MAX_CURVES]:
        colour: str = _WHOLE
        dashes = _DASHES[0]
        if not curve.is_whole:
            colour, dashes = _COLOURS[parts % len(_COLOURS)], _DASHES[parts % len(_DASHES)]
            parts += 1
        x, y = [point.x for point in curve.points], [point.y for point in curve.points]
        axes.plot(x, y, color=colour, linestyle=dashes, zorder=3 if curve.is_whole else 2)
        for mark in curve.marks:
            axes.plot([mark.x], [mark.y], "o", color=colour, mec="white", markersize=8, zorder=4)
        handles.append(Line2D([], [], color=colour, linestyle=dashes))
        # A leading space: a label that begins with an underscore would be left out.
        labels.append(f" {_shorten(curve.label, 90)}")
    if len(curves) > MAX_CURVES:
        handles.append(Line2D([], [], linestyle="none"))
        labels.append(f" {len(curves) - MAX_CURVES} more are not drawn")
    axes.figure.legend(handles, labels, loc="outside lower center", fontsize=8.5, handlelength=3)


def _shorten(text: str, most: int = _MAX_LABEL) -> str:
    """One line that can be drawn, cut in the middle where it is long."""
    line = " ".join("".join(map(_make_drawable, text)).split())
    half = (most - 3) // 2
    return line if len(line) <= most else f"{line[:half]} ... {line[-half:]}"


def _encode(figure: Canvas) -> bytes:
    for text in figure.findobj(Text):
        _set_text(text)
    stream = io.BytesIO()
    with warnings.catch_warnings():
        # Many long labels can leave no room for the axes; the picture is drawn all the same.
        warnings.filterwarnings("ignore", message="constrained_layout not applied")
        if engine := figure.get_layout_engine():
            # Here, because saving would draw everything once more only to lay it out.
            engine.execute(figure)
            figure.set_layout_engine("none")
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return stream.getvalue()


def _set_text(text: Text) -> None:
    """Text is text: a dollar sign starts no formula, and any script finds its letters."""
    text.set_parse_math(False)
    letters = dict.fromkeys(text.get_text())
    fonts = dict.fromkeys([FONTS[0], *(choose_font(letter, "") for letter in letters)])
    text.set_fontfamily([_register_font(font) for font in fonts])


def _make_drawable(character: str) -> str:
    if not character.isprintable():
        return " "
    return character if any(has_glyph(font, character) for font in FONTS) else "?"


@cache
def _register_font(name: str) -> str:
    """Makes a bundled font known to matplotlib and gives its family."""
    for path in {FOLDER / name, FOLDER / BOLD if name == FONTS[0] else FOLDER / name}:
        fontManager.addfont(Path(path))
    return get_font(str(FOLDER / name)).family_name
